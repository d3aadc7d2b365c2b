//! What may be told about a certificate bundle: everything but the key.

use std::fmt::Write;

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::x509::Certificate;

/// The public facts of the leaf, and in short those of its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CertificateFacts {
    /// The subject in one line, as RFC 4514 writes names.
    pub subject: String,
    /// The issuer in the same form.
    pub issuer: String,
    /// The subjectAltName entries, like `DNS:localhost` and `IP:127.0.0.1`.
    pub sans: Vec<String>,
    /// The serial number in hexadecimal with colons.
    pub serial: String,
    /// The first second of validity, RFC 3339 in UTC.
    pub not_before: String,
    /// The last second of validity, RFC 3339 in UTC.
    pub not_after: String,
    /// `RSA`, `EC P-256`, `EC P-384`, `EC P-521` or `Ed25519`.
    pub key_type: String,
    /// The size of the key in bits.
    pub key_bits: usize,
    /// The signature algorithm as OpenSSL spells it.
    pub signature_algorithm: String,
    /// SHA-256 over the certificate, upper case with colons.
    pub fingerprint_sha256: String,
    /// SHA-1 over the certificate, upper case with colons; for old tools only.
    pub fingerprint_sha1: String,
    /// The pin of the public key: base64 of SHA-256 over its SubjectPublicKeyInfo.
    pub spki_sha256: String,
    /// Whether the leaf is its own issuer.
    pub self_signed: bool,
    /// How many certificates are served.
    pub chain_length: usize,
    /// The served certificates, leaf first.
    pub chain: Vec<ChainEntry>,
    #[serde(skip)]
    starts: OffsetDateTime,
    #[serde(skip)]
    ends: OffsetDateTime,
}

/// One certificate of the chain in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ChainEntry {
    /// The subject in one line.
    pub subject: String,
    /// The issuer in one line.
    pub issuer: String,
    /// The last second of validity, RFC 3339 in UTC.
    pub not_after: String,
    /// SHA-256 over the certificate, upper case with colons.
    pub fingerprint_sha256: String,
}

impl CertificateFacts {
    /// Describes a chain; it must have a leaf.
    pub(super) fn new(chain: &[Certificate]) -> Self {
        let leaf = &chain[0];
        Self {
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            sans: leaf.alternative_names.clone(),
            serial: serial(&leaf.serial),
            not_before: timestamp(leaf.not_before),
            not_after: timestamp(leaf.not_after),
            key_type: leaf.key.kind.type_name(),
            key_bits: leaf.key.kind.bits(),
            signature_algorithm: leaf.signature_algorithm.clone(),
            fingerprint_sha256: fingerprint(&digest::SHA256, &leaf.der),
            fingerprint_sha1: fingerprint(&digest::SHA1_FOR_LEGACY_USE_ONLY, &leaf.der),
            spki_sha256: STANDARD.encode(digest::digest(&digest::SHA256, &leaf.spki)),
            self_signed: leaf.is_self_issued(),
            chain_length: chain.len(),
            chain: chain.iter().map(ChainEntry::new).collect(),
            starts: leaf.not_before,
            ends: leaf.not_after,
        }
    }

    /// The first second of validity.
    pub fn not_before(&self) -> OffsetDateTime {
        self.starts
    }

    /// The last second of validity.
    pub fn not_after(&self) -> OffsetDateTime {
        self.ends
    }
}

impl ChainEntry {
    fn new(certificate: &Certificate) -> Self {
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            not_after: timestamp(certificate.not_after),
            fingerprint_sha256: fingerprint(&digest::SHA256, &certificate.der),
        }
    }
}

/// A time as people and programs read it: RFC 3339, UTC, whole seconds.
pub(super) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time);
    let time = time.replace_nanosecond(0).unwrap_or(time);
    // Years past 9999 have no RFC 3339 form.
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}

fn fingerprint(algorithm: &'static digest::Algorithm, der: &[u8]) -> String {
    with_colons(digest::digest(algorithm, der).as_ref())
}

/// The number without the zero that only keeps it from being negative.
fn serial(number: &[u8]) -> String {
    match number {
        [0, rest @ ..] if !rest.is_empty() => with_colons(rest),
        _ => with_colons(number),
    }
}

fn with_colons(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 3);
    for byte in bytes {
        if !out.is_empty() {
            out.push(':');
        }
        // Writing to a string cannot fail.
        let _ = write!(out, "{byte:02X}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_are_shown_as_openssl_and_programs_do() {
        assert_eq!(with_colons(&[0, 0xab, 1]), "00:AB:01");
        assert_eq!(timestamp(OffsetDateTime::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
