//! Private keys: every encoding that people have becomes one PKCS#8 that can sign.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::SigningKey;
use zeroize::{Zeroize, Zeroizing};

use super::algorithm::{self, Curve, KeyKind, PublicKey};
use super::der::{self, DerError, Items, Node};
use super::error::{CertificateError, Part};
use super::kind::Kind;
use super::oid;

/// A key that has been read, checked and tried.
pub(super) struct PrivateKey {
    pub(super) public: PublicKey,
    /// Freshly written, without attributes.
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    pub(super) signing: Arc<dyn SigningKey>,
}

impl PrivateKey {
    /// Reads a plain key; `curve` is what an EC PARAMETERS block in front of it says.
    pub(super) fn read(
        kind: Kind,
        bytes: &[u8],
        curve: Option<&[u8]>,
        part: Part,
    ) -> Result<Self, CertificateError> {
        let parsed = match kind {
            Kind::RsaPrivateKey => Parsed::from_pkcs1(bytes),
            Kind::EcPrivateKey => Parsed::from_sec1(bytes, curve),
            Kind::DsaPrivateKey => Ok(Parsed::unusable(KeyKind::Other("DSA".to_owned()))),
            _ => Parsed::from_pkcs8(bytes),
        };
        let Ok(parsed) = parsed else {
            return Err(CertificateError::UnusableKey {
                part,
                kind: "private".to_owned(),
                reason: "its parts are not where they belong".to_owned(),
            });
        };
        parsed.kind.check_usable(part)?;
        Self::load(parsed.to_pkcs8(), &parsed.kind, part)
    }

    fn load(
        pkcs8: Zeroizing<Vec<u8>>,
        kind: &KeyKind,
        part: Part,
    ) -> Result<Self, CertificateError> {
        let unusable = |reason: &str| CertificateError::UnusableKey {
            part,
            kind: kind.to_string(),
            reason: reason.to_owned(),
        };
        let mut der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.to_vec()));
        let signing = any_supported_type(&der);
        der.zeroize();
        let signing = signing
            .map_err(|_| unusable("its numbers do not belong together, or are out of range"))?;
        let spki = signing.public_key().ok_or_else(|| unusable("it has no public half"))?;
        let public = PublicKey::from_spki(&spki)
            .map_err(|_| unusable("its public half cannot be worked out"))?;
        Ok(Self { public, pkcs8, signing })
    }
}

/// The parts of a key, borrowed from its encoding.
struct Parsed<'a> {
    kind: KeyKind,
    /// What goes into the OCTET STRING of PKCS#8, or the private number of an EC key.
    secret: &'a [u8],
    /// The public point of an EC key, where it is given in full.
    point: Option<&'a [u8]>,
}

impl<'a> Parsed<'a> {
    fn unusable(kind: KeyKind) -> Self {
        Self { kind, secret: &[], point: None }
    }

    fn from_pkcs8(bytes: &'a [u8]) -> Result<Self, DerError> {
        let (outer, _) = der::read(bytes)?;
        let mut members = outer.expect(der::SEQUENCE)?.children();
        members.required_tag(der::INTEGER)?;
        let algorithm = members.required_tag(der::SEQUENCE)?;
        let inner = members.required_tag(der::OCTET_STRING)?.content;
        let bits = || Self::from_pkcs1(inner).map_or(0, |key| key.kind.bits());
        match KeyKind::from_algorithm(&algorithm, bits)? {
            KeyKind::Rsa { .. } => Self::from_pkcs1(inner),
            KeyKind::Ec(curve) => Self::from_sec1_members(inner, Some(KeyKind::Ec(curve))),
            KeyKind::Ed25519 => {
                let seed = Items::of(inner).required_tag(der::OCTET_STRING)?;
                Ok(Self { kind: KeyKind::Ed25519, secret: seed.raw, point: None })
            }
            kind => Ok(Self::unusable(kind)),
        }
    }

    fn from_pkcs1(bytes: &'a [u8]) -> Result<Self, DerError> {
        let (outer, _) = der::read(bytes)?;
        let mut members = outer.expect(der::SEQUENCE)?.children();
        let version = members.required()?.small_integer();
        let modulus = members.required()?.unsigned_integer().ok_or(DerError::Malformed)?;
        if version != Some(0) {
            return Ok(Self::unusable(KeyKind::Other("RSA with more than two primes".to_owned())));
        }
        if members.filter(|member| member.tag == der::INTEGER).count() < 7 {
            return Err(DerError::Malformed);
        }
        let bits = algorithm::bit_length(modulus);
        Ok(Self { kind: KeyKind::Rsa { bits }, secret: outer.raw, point: None })
    }

    fn from_sec1(bytes: &'a [u8], curve: Option<&[u8]>) -> Result<Self, DerError> {
        let named = match curve {
            Some(parameters) => Some(KeyKind::from_curve(&der::read(parameters)?.0)?),
            None => None,
        };
        Self::from_sec1_members(bytes, named)
    }

    /// Reads an ECPrivateKey; `outside` is the curve that its surroundings name.
    fn from_sec1_members(bytes: &'a [u8], outside: Option<KeyKind>) -> Result<Self, DerError> {
        let (outer, _) = der::read(bytes)?;
        let mut members = outer.expect(der::SEQUENCE)?.children();
        members.required_tag(der::INTEGER)?;
        let number = members.required_tag(der::OCTET_STRING)?.content;
        let own = match members.optional_tag(0xa0) {
            Some(wrapper) => Some(KeyKind::from_curve(&Items::of(wrapper.content).required()?)?),
            None => None,
        };
        let point = members.optional_tag(0xa1).and_then(|wrapper| {
            Items::of(wrapper.content).next().as_ref().and_then(Node::bit_string)
        });
        // The parameters inside the key win: explicit ones must not hide behind a name.
        let kind = own.or(outside).or_else(|| guess_curve(number)).ok_or(DerError::Malformed)?;
        Ok(Self { kind, secret: number, point: point.filter(|bits| bits.first() == Some(&4)) })
    }

    /// Writes the key afresh.
    fn to_pkcs8(&self) -> Zeroizing<Vec<u8>> {
        let null = der::write(der::NULL, &[]);
        let (identifier, parameters, inner) = match &self.kind {
            KeyKind::Ec(curve) => {
                let parameters = der::write(der::OBJECT_ID, &[curve.oid()]);
                (oid::EC_PUBLIC_KEY, parameters, self.to_sec1(*curve))
            }
            KeyKind::Ed25519 => {
                (oid::ED25519, Zeroizing::default(), Zeroizing::new(self.secret.to_vec()))
            }
            _ => (oid::RSA_ENCRYPTION, null, Zeroizing::new(self.secret.to_vec())),
        };
        let identifier = der::write(der::OBJECT_ID, &[identifier]);
        let algorithm = der::write(der::SEQUENCE, &[&identifier, &parameters]);
        let version = der::write(der::INTEGER, &[&[0]]);
        let inner = der::write(der::OCTET_STRING, &[&inner]);
        der::write(der::SEQUENCE, &[&version, &algorithm, &inner])
    }

    /// The inner form of an EC key, its number brought to the length of the curve.
    fn to_sec1(&self, curve: Curve) -> Zeroizing<Vec<u8>> {
        let number = der::without_leading_zeros(self.secret);
        let zeros = vec![0; curve.field_length().saturating_sub(number.len())];
        let version = der::write(der::INTEGER, &[&[1]]);
        let number = der::write(der::OCTET_STRING, &[&zeros, number]);
        let point = match self.point {
            Some(point) => der::write(0xa1, &[&der::write(der::BIT_STRING, &[&[0], point])]),
            None => Zeroizing::default(),
        };
        der::write(der::SEQUENCE, &[&version, &number, &point])
    }
}

/// The curve of a bare SEC1 key by the length of its number; a wrong guess shows as a
/// mismatch with the certificate, never as a wrong key in use.
fn guess_curve(number: &[u8]) -> Option<KeyKind> {
    let curves = [Curve::P256, Curve::P384, Curve::P521];
    curves.into_iter().find(|curve| curve.field_length() == number.len()).map(KeyKind::Ec)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The private number 1: its public point is the generator of the curve.
    fn sec1(parameters: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut number = [0; 32];
        number[31] = 1;
        let version = der::write(der::INTEGER, &[&[1]]);
        let number = der::write(der::OCTET_STRING, &[&number]);
        der::write(der::SEQUENCE, &[&version, &number, parameters])
    }

    fn read(
        kind: Kind,
        bytes: &[u8],
        curve: Option<&[u8]>,
    ) -> Result<PrivateKey, CertificateError> {
        PrivateKey::read(kind, bytes, curve, Part::Keyfile)
    }

    #[test]
    fn a_key_without_curve_takes_the_one_beside_it() {
        let named = der::write(der::OBJECT_ID, &[oid::P256]);
        let key = read(Kind::EcPrivateKey, &sec1(&[]), Some(&named)).expect("a key");
        assert_eq!(key.public.kind, KeyKind::Ec(Curve::P256));
        let again = read(Kind::PrivateKey, &key.pkcs8, None).expect("own output");
        assert_eq!(again.public, key.public);
    }

    #[test]
    fn explicit_parameters_do_not_hide_behind_a_name() {
        let named = der::write(der::OBJECT_ID, &[oid::P256]);
        let explicit = der::write(0xa0, &[&der::write(der::SEQUENCE, &[])]);
        let outcome = read(Kind::EcPrivateKey, &sec1(&explicit), Some(&named));
        assert_eq!(outcome.err().map(|err| err.code()), Some("explicit-curve"));
    }

    #[test]
    fn a_key_that_is_no_number_of_the_curve_is_unusable() {
        let version = der::write(der::INTEGER, &[&[1]]);
        let number = der::write(der::OCTET_STRING, &[&[0; 32]]);
        let zero = der::write(der::SEQUENCE, &[&version, &number]);
        let outcome = read(Kind::EcPrivateKey, &zero, None);
        assert_eq!(outcome.err().map(|err| err.code()), Some("unusable-key"));
    }
}
