//! Makes a key and the PKCS#10 request for it.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize, SanType,
};
use zeroize::Zeroizing;

use super::details::{KeyType, RequestDetails, RequestSubject, RequestedName};

/// A fresh key with the request that it has signed.
pub(super) struct Made {
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    /// PEM.
    pub(super) csr: String,
    /// The pin of the public key, in the form of the facts of a certificate.
    pub(super) spki_sha256: String,
}

/// Takes a millisecond for EC, up to some seconds for RSA: call it on a blocking thread.
pub(super) fn make(details: &RequestDetails) -> Result<Made, rcgen::Error> {
    let key = Zeroizing::new(generate(details.key_type)?);
    let request = parameters(details)?.serialize_request(&*key)?;
    let spki = digest::digest(&digest::SHA256, &key.subject_public_key_info());
    Ok(Made {
        pkcs8: Zeroizing::new(key.serialized_der().to_vec()),
        csr: request.pem()?,
        spki_sha256: STANDARD.encode(spki),
    })
}

fn generate(key_type: KeyType) -> Result<KeyPair, rcgen::Error> {
    let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
    match key_type {
        KeyType::EcP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
        KeyType::EcP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => rsa(RsaKeySize::_2048),
        KeyType::Rsa3072 => rsa(RsaKeySize::_3072),
        KeyType::Rsa4096 => rsa(RsaKeySize::_4096),
    }
}

fn parameters(details: &RequestDetails) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = distinguished_name(&details.subject)?;
    for name in &details.names {
        parameters.subject_alt_names.push(match name {
            RequestedName::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
            RequestedName::Address(address) => SanType::IpAddress(*address),
        });
    }
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    match details.key_type {
        KeyType::EcP256 | KeyType::EcP384 => {}
        KeyType::Rsa2048 | KeyType::Rsa3072 | KeyType::Rsa4096 => {
            parameters.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
    }
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

/// From the country down to the name, as directories and authorities order them.
fn distinguished_name(subject: &RequestSubject) -> Result<DistinguishedName, rcgen::Error> {
    let mut name = DistinguishedName::new();
    if let Some(country) = &subject.country {
        // X.520 allows nothing but a PrintableString here.
        let country = DnValue::PrintableString(country.as_str().try_into()?);
        name.push(DnType::CountryName, country);
    }
    let texts = [
        (DnType::StateOrProvinceName, &subject.state),
        (DnType::LocalityName, &subject.locality),
        (DnType::OrganizationName, &subject.organization),
        (DnType::OrganizationalUnitName, &subject.organizational_unit),
        (DnType::CommonName, &subject.common_name),
    ];
    for (kind, text) in texts {
        if let Some(text) = text {
            name.push(kind, text.clone());
        }
    }
    Ok(name)
}
