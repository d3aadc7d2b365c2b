//! Whether one certificate was signed with the key of another.

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

use super::algorithm::{Curve, KeyKind};
use super::oid;
use super::x509::Certificate;

/// Checks the signature of `child`; `None` where the method is not known here.
///
/// Old methods are checked too: this only finds out who belongs to whom, trust is the
/// business of the clients.
pub(super) fn signed_by(child: &Certificate, issuer: &Certificate) -> Option<bool> {
    let method = method(&oid::display_name(&child.signed.algorithm), &issuer.key.kind)?;
    let key = UnparsedPublicKey::new(method, &issuer.key.bits);
    Some(key.verify(&child.signed.content, &child.signed.signature).is_ok())
}

fn method(algorithm: &str, key: &KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (algorithm, key) {
        ("sha1WithRSAEncryption", KeyKind::Rsa { .. }) => {
            &signature::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY
        }
        ("sha256WithRSAEncryption", KeyKind::Rsa { .. }) => {
            &signature::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        }
        // There is no lenient twin for SHA-384, so smaller keys stay unchecked.
        ("sha384WithRSAEncryption", KeyKind::Rsa { bits: 2048.. }) => {
            &signature::RSA_PKCS1_2048_8192_SHA384
        }
        ("sha512WithRSAEncryption", KeyKind::Rsa { .. }) => {
            &signature::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        }
        ("ecdsa-with-SHA1", KeyKind::Ec(Curve::P256)) => &signature::ECDSA_P256_SHA1_ASN1,
        ("ecdsa-with-SHA256", KeyKind::Ec(Curve::P256)) => &signature::ECDSA_P256_SHA256_ASN1,
        ("ecdsa-with-SHA384", KeyKind::Ec(Curve::P256)) => &signature::ECDSA_P256_SHA384_ASN1,
        ("ecdsa-with-SHA512", KeyKind::Ec(Curve::P256)) => &signature::ECDSA_P256_SHA512_ASN1,
        ("ecdsa-with-SHA256", KeyKind::Ec(Curve::P384)) => &signature::ECDSA_P384_SHA256_ASN1,
        ("ecdsa-with-SHA384", KeyKind::Ec(Curve::P384)) => &signature::ECDSA_P384_SHA384_ASN1,
        ("ecdsa-with-SHA512", KeyKind::Ec(Curve::P384)) => &signature::ECDSA_P384_SHA512_ASN1,
        ("ecdsa-with-SHA1", KeyKind::Ec(Curve::P521)) => &signature::ECDSA_P521_SHA1_ASN1,
        ("ecdsa-with-SHA256", KeyKind::Ec(Curve::P521)) => &signature::ECDSA_P521_SHA256_ASN1,
        ("ecdsa-with-SHA384", KeyKind::Ec(Curve::P521)) => &signature::ECDSA_P521_SHA384_ASN1,
        ("ecdsa-with-SHA512", KeyKind::Ec(Curve::P521)) => &signature::ECDSA_P521_SHA512_ASN1,
        ("Ed25519", KeyKind::Ed25519) => &signature::ED25519,
        _ => return None,
    })
}
