//! Kinds of keys, told from algorithm identifiers before the TLS library sees a key.
//!
//! The library folds curve, parameters and size into one refusal, and calls a key with
//! explicit curve parameters a mismatch; here each has its own name.

use std::fmt;

use super::der::{self, DerError, Node};
use super::error::{CertificateError, Part};
use super::limits::{MAX_RSA_BITS, MIN_RSA_BITS};
use super::oid;

/// A named curve that TLS servers use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    pub(super) fn from_oid(identifier: &[u8]) -> Option<Self> {
        match identifier {
            oid::P256 => Some(Self::P256),
            oid::P384 => Some(Self::P384),
            oid::P521 => Some(Self::P521),
            _ => None,
        }
    }

    pub(super) fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => oid::P256,
            Self::P384 => oid::P384,
            Self::P521 => oid::P521,
        }
    }

    /// The bytes of a coordinate or a private number.
    pub(super) fn field_length(self) -> usize {
        self.bits().div_ceil(8)
    }

    pub(super) fn bits(self) -> usize {
        match self {
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }
}

/// What a key is, also when it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Rsa { bits: usize },
    Ec(Curve),
    Ed25519,
    RsaPss,
    ExplicitCurve,
    OtherCurve(String),
    Other(String),
}

impl KeyKind {
    /// Reads an AlgorithmIdentifier; `rsa_bits` tells the size of an RSA key.
    pub(super) fn from_algorithm(
        algorithm: &Node<'_>,
        rsa_bits: impl FnOnce() -> usize,
    ) -> Result<Self, DerError> {
        let mut members = algorithm.expect(der::SEQUENCE)?.children();
        let identifier = members.required_tag(der::OBJECT_ID)?.content;
        Ok(match identifier {
            oid::RSA_ENCRYPTION | oid::RSA_X500 => Self::Rsa { bits: rsa_bits() },
            oid::RSASSA_PSS => Self::RsaPss,
            oid::ED25519 => Self::Ed25519,
            oid::EC_PUBLIC_KEY => Self::from_curve(&members.required()?)?,
            other => Self::Other(oid::display_name(other)),
        })
    }

    /// Reads the parameters of an EC key.
    pub(super) fn from_curve(parameters: &Node<'_>) -> Result<Self, DerError> {
        match parameters.tag {
            der::OBJECT_ID => Ok(match Curve::from_oid(parameters.content) {
                Some(curve) => Self::Ec(curve),
                None => Self::OtherCurve(oid::display_name(parameters.content)),
            }),
            der::SEQUENCE => Ok(Self::ExplicitCurve),
            _ => Err(DerError::Malformed),
        }
    }

    /// Refuses what cannot be served, with the reason.
    pub(super) fn check_usable(&self, part: Part) -> Result<(), CertificateError> {
        match self {
            Self::Rsa { bits } if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(bits) => {
                Err(CertificateError::RsaSize { part, bits: *bits })
            }
            Self::Rsa { .. } | Self::Ec(_) | Self::Ed25519 => Ok(()),
            Self::RsaPss => Err(CertificateError::RsaPss { part }),
            Self::ExplicitCurve => Err(CertificateError::ExplicitCurve { part }),
            Self::OtherCurve(curve) => {
                Err(CertificateError::UnsupportedCurve { part, curve: curve.clone() })
            }
            Self::Other(name) => {
                Err(CertificateError::UnsupportedKeyType { part, name: name.clone() })
            }
        }
    }

    /// The size in bits, 0 where that says nothing.
    pub(super) fn bits(&self) -> usize {
        match self {
            Self::Rsa { bits } => *bits,
            Self::Ec(curve) => curve.bits(),
            Self::Ed25519 => 256,
            Self::RsaPss | Self::ExplicitCurve | Self::OtherCurve(_) | Self::Other(_) => 0,
        }
    }

    /// The type without its size, as the facts give it.
    pub(super) fn type_name(&self) -> String {
        match self {
            Self::Rsa { .. } => "RSA".to_owned(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA {bits}"),
            Self::Ec(curve) => write!(f, "EC P-{}", curve.bits()),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::RsaPss => f.write_str("RSASSA-PSS"),
            Self::ExplicitCurve => f.write_str("EC with explicit curve parameters"),
            Self::OtherCurve(curve) => write!(f, "EC {curve}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}

/// A public key in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    pub(super) kind: KeyKind,
    /// The payload of the BIT STRING.
    pub(super) bits: Vec<u8>,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, DerError> {
        let (outer, _) = der::read(spki)?;
        let mut members = outer.expect(der::SEQUENCE)?.children();
        let algorithm = members.required()?;
        let bits = members.required()?.bit_string().ok_or(DerError::Malformed)?;
        let kind = KeyKind::from_algorithm(&algorithm, || rsa_bits(bits))?;
        Ok(Self { kind, bits: bits.to_vec() })
    }

    /// Whether both are the same number, whatever their algorithm identifiers say.
    pub(super) fn same_numbers(&self, other: &Self) -> bool {
        if self.bits == other.bits {
            return true;
        }
        let numbers = |key: &Self| rsa_numbers(&key.bits).map(|(n, e)| (n.to_vec(), e.to_vec()));
        let rsa = numbers(self).is_some_and(|ours| numbers(other) == Some(ours));
        rsa || same_point(&self.bits, &other.bits) || same_point(&other.bits, &self.bits)
    }

    /// Whether the point is written as one coordinate and a sign.
    pub(super) fn is_compressed_point(&self) -> bool {
        matches!((&self.kind, &self.bits[..]), (KeyKind::Ec(_), [2 | 3, ..]))
    }
}

/// Whether `compressed` is the short form of the point `full`.
fn same_point(compressed: &[u8], full: &[u8]) -> bool {
    match (compressed, full) {
        ([sign @ (2 | 3), x @ ..], [4, coordinates @ ..]) => {
            coordinates.len() == 2 * x.len()
                && coordinates.starts_with(x)
                && coordinates.last().is_some_and(|last| last & 1 == sign & 1)
        }
        _ => false,
    }
}

fn rsa_numbers(bits: &[u8]) -> Option<(&[u8], &[u8])> {
    let (outer, rest) = der::read(bits).ok()?;
    let mut numbers = outer.expect(der::SEQUENCE).ok()?.children();
    let pair = (numbers.next()?.unsigned_integer()?, numbers.next()?.unsigned_integer()?);
    (rest.is_empty() && numbers.next().is_none()).then_some(pair)
}

/// The size of the modulus in an RSAPublicKey; 0 when it cannot be read.
fn rsa_bits(bits: &[u8]) -> usize {
    rsa_numbers(bits).map_or(0, |(modulus, _)| bit_length(modulus))
}

/// The bits of a number without leading zero bytes.
pub(super) fn bit_length(number: &[u8]) -> usize {
    match number.first() {
        Some(first) => number.len() * 8 - first.leading_zeros() as usize,
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(bits: &[u8]) -> PublicKey {
        PublicKey { kind: KeyKind::Ec(Curve::P256), bits: bits.to_vec() }
    }

    #[test]
    fn short_and_full_points_are_the_same_key() {
        assert!(key(&[2, 7, 8]).same_numbers(&key(&[4, 7, 8, 1, 2])));
        assert!(key(&[4, 7, 8, 1, 2]).same_numbers(&key(&[2, 7, 8])));
        assert!(!key(&[3, 7, 8]).same_numbers(&key(&[4, 7, 8, 1, 2])));
        assert!(!key(&[2, 7, 9]).same_numbers(&key(&[4, 7, 8, 1, 2])));
    }

    #[test]
    fn unusable_kinds_are_refused_by_name() {
        let refusal = |kind: KeyKind| kind.check_usable(Part::Keyfile).err().map(|err| err.code());
        assert_eq!(refusal(KeyKind::Rsa { bits: 1024 }), Some("rsa-size"));
        assert_eq!(refusal(KeyKind::Rsa { bits: 16384 }), Some("rsa-size"));
        assert_eq!(refusal(KeyKind::RsaPss), Some("rsa-pss"));
        assert_eq!(refusal(KeyKind::ExplicitCurve), Some("explicit-curve"));
        assert_eq!(refusal(KeyKind::OtherCurve("secp256k1".into())), Some("unsupported-curve"));
        assert_eq!(refusal(KeyKind::Other("DSA".into())), Some("unsupported-key-type"));
        assert_eq!(refusal(KeyKind::Ed25519), None);
    }

    #[test]
    fn bits_are_counted_from_the_first_one() {
        assert_eq!(bit_length(&[0x80, 0]), 16);
        assert_eq!(bit_length(&[1, 0]), 9);
        assert_eq!(bit_length(&[]), 0);
    }
}
