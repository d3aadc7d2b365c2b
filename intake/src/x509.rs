//! One certificate, with everything that the intake asks about it.

use std::net::{Ipv4Addr, Ipv6Addr};

use time::OffsetDateTime;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::algorithm::PublicKey;
use super::der;
use super::name;
use super::oid;

/// A parsed certificate that owns its bytes.
pub(super) struct Certificate {
    pub(super) der: Vec<u8>,
    /// 1 for the oldest form, 3 for today's.
    pub(super) version: u32,
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) serial: Vec<u8>,
    pub(super) not_before: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    pub(super) key: PublicKey,
    pub(super) spki: Vec<u8>,
    /// Names like `DNS:localhost` and `IP:127.0.0.1`.
    pub(super) alternative_names: Vec<String>,
    pub(super) is_ca: bool,
    /// Whether the extended usage, where present, allows a TLS server.
    pub(super) allows_server: bool,
    /// Whether the key usage, where present, allows signing a handshake.
    pub(super) allows_signing: bool,
    /// Whether it tells clients to insist on a stapled OCSP answer.
    pub(super) must_staple: bool,
    pub(super) subject_key_id: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) signature_algorithm: String,
    pub(super) signed: SignedPart,
    subject_raw: Vec<u8>,
    issuer_raw: Vec<u8>,
}

/// What a signature check needs.
pub(super) struct SignedPart {
    pub(super) content: Vec<u8>,
    /// The AlgorithmIdentifier's object identifier.
    pub(super) algorithm: Vec<u8>,
    pub(super) signature: Vec<u8>,
}

impl Certificate {
    /// Parses DER; the error tells the reason in a few words.
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let (rest, parsed) = X509Certificate::from_der(der).map_err(|err| reason(&err))?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow after its end", rest.len()));
        }
        let spki = parsed.public_key().raw;
        let key =
            PublicKey::from_spki(spki).map_err(|_| "its public key cannot be read".to_owned())?;
        let algorithm = parsed.signature_algorithm.algorithm.as_bytes();
        let mut certificate = Self {
            der: der.to_vec(),
            version: parsed.version().0.saturating_add(1),
            subject: name::one_line(parsed.subject().as_raw()),
            issuer: name::one_line(parsed.issuer().as_raw()),
            serial: parsed.raw_serial().to_vec(),
            not_before: parsed.validity().not_before.to_datetime(),
            not_after: parsed.validity().not_after.to_datetime(),
            key,
            spki: spki.to_vec(),
            alternative_names: Vec::new(),
            is_ca: false,
            allows_server: true,
            allows_signing: true,
            must_staple: false,
            subject_key_id: None,
            authority_key_id: None,
            signature_algorithm: oid::display_name(algorithm),
            signed: SignedPart {
                content: parsed.tbs_certificate.as_ref().to_vec(),
                algorithm: algorithm.to_vec(),
                signature: parsed.signature_value.data.to_vec(),
            },
            subject_raw: parsed.subject().as_raw().to_vec(),
            issuer_raw: parsed.issuer().as_raw().to_vec(),
        };
        for extension in parsed.extensions() {
            certificate.note(extension.parsed_extension());
            if extension.oid.as_bytes() == oid::TLS_FEATURE {
                certificate.must_staple = demands_stapling(extension.value);
            }
        }
        Ok(certificate)
    }

    fn note(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                self.alternative_names.extend(names.general_names.iter().map(alternative_name));
            }
            ParsedExtension::BasicConstraints(constraints) => self.is_ca = constraints.ca,
            ParsedExtension::KeyUsage(usage) => self.allows_signing = usage.digital_signature(),
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.allows_server = usage.server_auth || usage.any;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => self.subject_key_id = Some(id.0.to_vec()),
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            _ => {}
        }
    }

    /// Whether it names itself as its issuer.
    pub(super) fn is_self_issued(&self) -> bool {
        self.subject_raw == self.issuer_raw
    }

    /// Whether its issuer goes by the name of `other`.
    pub(super) fn names_as_issuer(&self, other: &Self) -> bool {
        // Some authorities write the same name with other string types.
        self.issuer_raw == other.subject_raw
            || (!self.issuer.is_empty() && self.issuer == other.subject)
    }

    /// Whether the key identifiers of both, where present, tell of the same key.
    pub(super) fn key_ids_agree(&self, issuer: &Self) -> Option<bool> {
        Some(self.authority_key_id.as_ref()? == issuer.subject_key_id.as_ref()?)
    }

    pub(super) fn is_valid_at(&self, now: OffsetDateTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The subject for a message; the first alternative name where the subject is empty.
    pub(super) fn title(&self) -> String {
        match self.alternative_names.first() {
            Some(first) if self.subject.is_empty() => name::quoted(first),
            _ => name::quoted(&self.subject),
        }
    }
}

/// Whether a list of TLS features (RFC 7633) has `status_request` or `status_request_v2`.
fn demands_stapling(value: &[u8]) -> bool {
    let Ok((list, _)) = der::read(value) else { return false };
    list.children().any(|feature| matches!(feature.small_integer(), Some(5 | 17)))
}

fn alternative_name(name: &GeneralName<'_>) -> String {
    let text = match name {
        GeneralName::DNSName(host) => format!("DNS:{host}"),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(bytes) => format!("IP:{}", Ipv4Addr::from(bytes)),
            Err(_) => match <[u8; 16]>::try_from(*bytes) {
                Ok(bytes) => format!("IP:{}", Ipv6Addr::from(bytes)),
                Err(_) => format!("IP:invalid, {} bytes", bytes.len()),
            },
        },
        GeneralName::RFC822Name(address) => format!("email:{address}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DirectoryName(name) => format!("DirName:{}", name::one_line(name.as_raw())),
        GeneralName::RegisteredID(id) => format!("RID:{}", oid::dotted(id.as_bytes())),
        GeneralName::OtherName(id, _) => format!("otherName:{}", oid::dotted(id.as_bytes())),
        GeneralName::X400Address(_) => "X400Name".to_owned(),
        GeneralName::EDIPartyName(_) => "EdiPartyName".to_owned(),
        GeneralName::Invalid(..) => "invalid".to_owned(),
    };
    name::printable(&text)
}

/// The parser's reason without the bytes that some of its errors carry.
fn reason(err: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    use x509_parser::error::X509Error;
    let place = match err {
        x509_parser::nom::Err::Incomplete(_) => return "it is cut short".to_owned(),
        x509_parser::nom::Err::Error(err) | x509_parser::nom::Err::Failure(err) => match err {
            X509Error::InvalidVersion => "version",
            X509Error::InvalidSerial => "serial number",
            X509Error::InvalidAlgorithmIdentifier => "algorithm",
            X509Error::InvalidX509Name => "name",
            X509Error::InvalidDate => "validity date",
            X509Error::InvalidSPKI => "public key",
            X509Error::InvalidExtensions | X509Error::DuplicateExtensions => "list of extensions",
            X509Error::InvalidSignatureValue => "signature",
            _ => return "its bytes are no valid certificate".to_owned(),
        },
    };
    format!("its {place} cannot be read")
}
