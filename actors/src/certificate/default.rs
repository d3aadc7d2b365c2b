//! The certificate of an appliance that was not given one: self-signed, made at first start.

use std::{collections::BTreeSet, fs, net::IpAddr, path::Path};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

use super::{CertificateBundle, CertificateError, from_stored};
use crate::store::{StoreError, io, make_dir, sync_dir, write_file};

const FOLDER: &str = "default-certificate";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Ten years: an appliance in a rack is not watched for the end of its own certificate.
const VALIDITY: Duration = Duration::days(3650);

/// Clocks of machines without time service are off by hours.
const BACKDATED: Duration = Duration::days(1);

/// Why there is no default certificate.
#[derive(Debug, thiserror::Error)]
pub enum DefaultCertificateError {
    #[error("the default certificate could not be stored")]
    Store(#[from] StoreError),
    #[error("the default certificate could not be made")]
    Generate(#[from] rcgen::Error),
    #[error("the default certificate could not be used")]
    Unusable(#[from] CertificateError),
}

/// Reads the pair that was made for this installation, or makes it now (RSA-2048, a fraction of a
/// second to some seconds). Blocks. A pair that cannot be used is set aside and replaced.
///
/// # Errors
/// The folder cannot be written, or the system gives no randomness.
pub fn load_or_generate(data_dir: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let folder = data_dir.join(FOLDER);
    if folder.exists() {
        match load(&folder) {
            Ok(bundle) => return Ok(bundle),
            Err(err) => {
                log::error!("the default certificate cannot be used and is made anew: {err}");
                let aside = data_dir.join(format!("{FOLDER}.unusable"));
                let _ = fs::remove_dir_all(&aside);
                fs::rename(&folder, &aside).map_err(io("rename", &folder))?;
            }
        }
    }
    generate(data_dir, &folder)?;
    load(&folder)
}

fn load(folder: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(|source| StoreError::Io { action: "read", path, source })
    };
    let (certificate, key) = (read(CERTIFICATE)?, Zeroizing::new(read(KEY)?));
    Ok(from_stored(&certificate, &key)?)
}

fn generate(data_dir: &Path, folder: &Path) -> Result<(), DefaultCertificateError> {
    log::info!("making the default certificate of this installation");
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let certificate = parameters()?.self_signed(&key)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    // Written aside and renamed, so that a crash leaves no half pair.
    let fresh = data_dir.join(format!("{FOLDER}.new"));
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(io("remove", &fresh))?;
    }
    make_dir(&fresh)?;
    write_file(&fresh.join(KEY), key_pem.as_bytes())?;
    write_file(&fresh.join(CERTIFICATE), certificate.pem().as_bytes())?;
    sync_dir(&fresh)?;
    fs::rename(&fresh, folder).map_err(io("rename", &fresh))?;
    Ok(sync_dir(data_dir)?)
}

fn parameters() -> Result<CertificateParams, rcgen::Error> {
    let host = host_name();
    let mut names = BTreeSet::from(["localhost".to_owned()]);
    names.extend(host.clone());
    let mut parameters = CertificateParams::new(names.into_iter().collect::<Vec<_>>())?;
    parameters.subject_alt_names.extend(addresses().into_iter().map(SanType::IpAddress));
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "portcullis default certificate");
    subject.push(DnType::CommonName, host.unwrap_or_else(|| "appliance".to_owned()));
    parameters.distinguished_name = subject;
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - BACKDATED;
    parameters.not_after = now + VALIDITY;
    parameters.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(parameters)
}

/// The machine's name, if it can stand in a certificate.
fn host_name() -> Option<String> {
    let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
    let fits = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
    fits.then_some(name)
}

/// Every address of the machine, loopback included, link-local ones left out: they mean nothing
/// without their interface.
fn addresses() -> BTreeSet<IpAddr> {
    let mut addresses =
        BTreeSet::from([IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])]);
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.insert(v4.ip().into());
        } else if let Some(v6) = address.as_sockaddr_in6()
            && !v6.ip().is_unicast_link_local()
        {
            addresses.insert(v6.ip().into());
        }
    }
    addresses
}
