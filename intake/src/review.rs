//! Judges a finished chain: what is refused, and what is accepted with a warning.

use time::{Duration, OffsetDateTime};

use super::algorithm::{Curve, KeyKind};
use super::error::CertificateError;
use super::facts::timestamp;
use super::limits::{LARGE_CHAIN_SIZE, MAX_CHAIN_SIZE, MIN_RSA_BITS};
use super::upload::Options;
use super::warning::Warning;
use super::x509::Certificate;

/// How long before its end a certificate is worth a warning.
const SOON: Duration = Duration::days(30);

/// Refuses a leaf that no client could use, and collects remarks on leaf and issuers.
pub(super) fn review(
    chain: &[Certificate],
    options: &Options<'_>,
    now: OffsetDateTime,
    warnings: &mut Vec<Warning>,
) -> Result<(), CertificateError> {
    let Some((leaf, issuers)) = chain.split_first() else { return Ok(()) };
    if leaf.version < 3 {
        let (subject, version) = (leaf.title(), leaf.version);
        return Err(CertificateError::OldVersion { subject, version });
    }
    review_time(leaf, options.allow_expired, now, warnings)?;
    review_size(chain, options.allow_large, warnings)?;
    let mut note = |code, message: String| warnings.push(Warning::new(code, message));
    let title = leaf.title();
    if leaf.is_self_issued() {
        note(
            "self-signed",
            format!(
                "the certificate {title} is self-signed; clients trust it only when they were told to"
            ),
        );
    }
    if let Some(message) = missing_names(leaf) {
        note("no-subject-alt-name", message);
    }
    if leaf.is_ca {
        note(
            "ca-as-server",
            format!(
                "the certificate {title} is a CA certificate; some clients refuse one as server certificate"
            ),
        );
    }
    if !leaf.allows_server {
        note(
            "no-server-auth",
            format!(
                "the extended key usage of {title} does not include TLS servers (serverAuth); clients will refuse it"
            ),
        );
    }
    if !leaf.allows_signing {
        note(
            "no-digital-signature",
            format!(
                "the key usage of {title} does not include digitalSignature; many clients will refuse it"
            ),
        );
    }
    if leaf.must_staple {
        note(
            "must-staple",
            format!(
                "the certificate {title} tells clients to insist on a stapled OCSP answer (must-staple), and this appliance sends none; some clients, Firefox among them, will refuse it: ask for a certificate without it"
            ),
        );
    }
    if let Some(message) = uncommon_key(leaf) {
        note("uncommon-key", message);
    }
    for certificate in chain.iter().filter(|certificate| !certificate.is_self_issued()) {
        if let Some(hash) = weak_hash(&certificate.signature_algorithm) {
            note(
                "weak-signature",
                format!(
                    "the certificate {} is signed with {hash}; today's clients refuse that",
                    certificate.title()
                ),
            );
        }
    }
    for issuer in issuers {
        review_issuer(issuer, now, &mut note);
    }
    Ok(())
}

fn review_time(
    leaf: &Certificate,
    allow_expired: bool,
    now: OffsetDateTime,
    warnings: &mut Vec<Warning>,
) -> Result<(), CertificateError> {
    let (subject, clock) = (leaf.title(), timestamp(now));
    let (start, end) = (timestamp(leaf.not_before), timestamp(leaf.not_after));
    if leaf.not_after < now {
        if !allow_expired {
            return Err(CertificateError::Expired { subject, not_after: end, now: clock });
        }
        let message = format!(
            "the certificate {subject} has expired, it ended at {end} (this appliance's clock says {clock}); it was taken because that was asked for"
        );
        warnings.push(Warning::new("expired", message));
    } else if leaf.not_before > now {
        let message = format!(
            "the certificate {subject} is not valid yet, it starts at {start}, and this appliance's clock says {clock}; clients will refuse it until then"
        );
        warnings.push(Warning::new("not-yet-valid", message));
    } else if leaf.not_after - now < SOON {
        let days = (leaf.not_after - now).whole_days();
        let message = format!("the certificate {subject} expires soon, in {days} days, at {end}");
        warnings.push(Warning::new("expires-soon", message));
    }
    Ok(())
}

/// The bytes of the certificates in the TLS message that carries them.
fn size_on_the_wire(chain: &[Certificate]) -> usize {
    // The head of the message, and of each certificate with its extensions (RFC 8446, 4.4.2).
    8 + chain.iter().map(|certificate| certificate.der.len() + 5).sum::<usize>()
}

fn review_size(
    chain: &[Certificate],
    allow_large: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), CertificateError> {
    let (size, limit) = (size_on_the_wire(chain), MAX_CHAIN_SIZE);
    if size > limit && !allow_large {
        return Err(CertificateError::ChainTooLarge { size, limit });
    }
    if size > LARGE_CHAIN_SIZE {
        let message = format!(
            "the certificates have {size} bytes; clients that take less than that end the handshake (Mbed TLS takes 16384, Java 32768, Go and rustls 65535): fewer names or fewer intermediates help"
        );
        warnings.push(Warning::new("large-chain", message));
    }
    Ok(())
}

fn review_issuer(
    issuer: &Certificate,
    now: OffsetDateTime,
    note: &mut impl FnMut(&'static str, String),
) {
    let title = issuer.title();
    if issuer.not_after < now {
        let end = timestamp(issuer.not_after);
        note(
            "issuer-expired",
            format!(
                "the intermediate certificate {title} has expired at {end}; clients will refuse the chain"
            ),
        );
    } else if issuer.not_before > now {
        let start = timestamp(issuer.not_before);
        note(
            "issuer-not-yet-valid",
            format!("the intermediate certificate {title} is not valid before {start}"),
        );
    }
    if !issuer.is_ca {
        note(
            "issuer-not-ca",
            format!(
                "the intermediate certificate {title} is not marked as a CA; clients will refuse the chain"
            ),
        );
    }
    if let KeyKind::Rsa { bits } = issuer.key.kind
        && bits < MIN_RSA_BITS
    {
        note(
            "weak-issuer-key",
            format!(
                "the intermediate certificate {title} has an RSA key of {bits} bits; clients will refuse the chain"
            ),
        );
    }
}

fn missing_names(leaf: &Certificate) -> Option<String> {
    let title = leaf.title();
    let usable = |name: &String| name.starts_with("DNS:") || name.starts_with("IP:");
    match &leaf.alternative_names[..] {
        [] => Some(format!(
            "the certificate {title} has no subjectAltName; browsers will refuse it whatever its common name says"
        )),
        names if !names.iter().any(usable) => Some(format!(
            "the subjectAltName of {title} has neither a DNS name nor an IP address; browsers will refuse it"
        )),
        _ => None,
    }
}

fn uncommon_key(leaf: &Certificate) -> Option<String> {
    let title = leaf.title();
    match &leaf.key.kind {
        kind @ (KeyKind::Ec(Curve::P521) | KeyKind::Ed25519) => Some(format!(
            "the certificate {title} has an {kind} key; common browsers refuse such certificates"
        )),
        _ if leaf.key.is_compressed_point() => Some(format!(
            "the certificate {title} has its EC key as a compressed point; common browsers refuse such certificates"
        )),
        _ => None,
    }
}

fn weak_hash(algorithm: &str) -> Option<&'static str> {
    let algorithm = algorithm.to_ascii_lowercase();
    ["md2", "md5", "sha1"].into_iter().find(|hash| algorithm.contains(hash)).map(
        |hash| match hash {
            "sha1" => "SHA-1",
            "md5" => "MD5",
            _ => "MD2",
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_hashes_are_found_in_the_names_of_algorithms() {
        assert_eq!(weak_hash("sha1WithRSAEncryption"), Some("SHA-1"));
        assert_eq!(weak_hash("ecdsa-with-SHA1"), Some("SHA-1"));
        assert_eq!(weak_hash("md5WithRSAEncryption"), Some("MD5"));
        assert_eq!(weak_hash("sha256WithRSAEncryption"), None);
    }
}
