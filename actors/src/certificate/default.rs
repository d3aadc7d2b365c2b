//! The certificate of an appliance that was not given one: self-signed, made at first start.

use std::{collections::BTreeSet, fs, io::ErrorKind, net::IpAddr, path::Path};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};
use time::{Date, Duration, Month, OffsetDateTime, PrimitiveDateTime};
use zeroize::Zeroizing;

use super::{CertificateBundle, CertificateError, from_stored};
use crate::{
    files::read_at_most,
    store::{StoreError, io, make_dir, sync_dir, write_file},
};

const FOLDER: &str = "default-certificate";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const FRESH: &str = "tls.new";

/// Ten years: an appliance in a rack is not watched for the end of its own certificate.
const VALIDITY: Duration = Duration::days(3650);

/// Clocks of machines without time service are off by hours.
const BACKDATED: Duration = Duration::days(1);

/// No clock that is right says less: this was written then. A machine without a battery makes its
/// certificate in 1970 or 2000, and it is to be right once the clock is.
const WRITTEN: Date = match Date::from_calendar_date(2026, Month::November, 1) {
    Ok(date) => date,
    Err(_) => panic!("a date"),
};

/// Larger files are neither a certificate nor a key.
const MAX_FILE: u64 = 1 << 20;

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
/// second to some seconds). Blocks. A certificate that has expired, is not valid yet or is damaged
/// is made anew with the same key, so that clients that pin the key go on. A pair without a usable
/// key is set aside and replaced.
///
/// # Errors
/// The folder cannot be written, or the system gives no randomness.
pub fn load_or_generate(data_dir: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let folder = data_dir.join(FOLDER);
    if fs::symlink_metadata(&folder).is_ok() {
        match load_or_renew(&folder) {
            Ok(bundle) => return Ok(bundle),
            Err(err) => {
                log::error!("the default certificate cannot be used and is made anew: {err}");
                let aside = data_dir.join(format!("{FOLDER}.unusable"));
                remove(&aside)?;
                fs::rename(&folder, &aside).map_err(io("rename", &folder))?;
            }
        }
    }
    generate(data_dir, &folder)?;
    load(&folder)
}

/// Whether the clock finds the certificate expired or not valid yet. A clock that cannot be right
/// finds nothing.
pub(super) fn is_out_of_date(bundle: &CertificateBundle) -> bool {
    is_out_of_date_at(bundle, OffsetDateTime::now_utc())
}

fn is_out_of_date_at(bundle: &CertificateBundle, now: OffsetDateTime) -> bool {
    let facts = bundle.facts();
    // A clock in 1970 cannot tell that a certificate is not valid yet, only that it never will be.
    now.max(written()) > facts.not_after() || now >= written() && now < facts.not_before()
}

fn written() -> OffsetDateTime {
    WRITTEN.midnight().assume_utc()
}

fn load_or_renew(folder: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let bundle = match load(folder) {
        Ok(bundle) => bundle,
        Err(err) => {
            log::warn!("the default certificate cannot be used: {err}");
            return renew(folder);
        }
    };
    if !is_out_of_date(&bundle) {
        return Ok(bundle);
    }
    let facts = bundle.facts();
    log::warn!("the default certificate is valid from {} to {}", facts.not_before, facts.not_after);
    renew(folder).or_else(|err| {
        log::error!("the default certificate is out of date and stays so: {err}");
        Ok(bundle)
    })
}

/// Makes the certificate anew with the key that is there.
fn renew(folder: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let key = read(&folder.join(KEY))?;
    let key = std::str::from_utf8(&key).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    let key = KeyPair::from_pem(key)?;
    let certificate = parameters()?.self_signed(&key)?;
    let (fresh, path) = (folder.join(FRESH), folder.join(CERTIFICATE));
    remove(&fresh)?;
    write_file(&fresh, certificate.pem().as_bytes())?;
    if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
        remove(&path)?;
    }
    fs::rename(&fresh, &path).map_err(io("rename", &fresh))?;
    sync_dir(folder)?;
    let bundle = load(folder)?;
    log::info!("the default certificate is made anew, with the same key");
    Ok(bundle)
}

fn load(folder: &Path) -> Result<CertificateBundle, DefaultCertificateError> {
    let (certificate, key) = (read(&folder.join(CERTIFICATE))?, read(&folder.join(KEY))?);
    Ok(from_stored(&certificate, &key)?)
}

/// What else lies in the place of a file is not waited for.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let bytes = read_at_most(path, MAX_FILE);
    let bytes = bytes.and_then(|bytes| bytes.ok_or_else(|| ErrorKind::NotFound.into()));
    bytes.map_err(io("read", path))
}

/// Removes whatever it is, if it is there.
fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.map_err(io("remove", path))
}

fn generate(data_dir: &Path, folder: &Path) -> Result<(), DefaultCertificateError> {
    log::info!("making the default certificate of this installation");
    let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
    let certificate = parameters()?.self_signed(&key)?;
    let key_pem = Zeroizing::new(key.serialize_pem());
    // Written aside and renamed, so that a crash leaves no half pair.
    let fresh = data_dir.join(format!("{FOLDER}.new"));
    remove(&fresh)?;
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
    let now = OffsetDateTime::now_utc().max(written());
    parameters.not_before = now - BACKDATED;
    // Past the year 9999 there are no times.
    let last = PrimitiveDateTime::MAX.assume_utc();
    parameters.not_after = now.checked_add(VALIDITY).unwrap_or(last);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn years(count: i64) -> Duration {
        Duration::days(365 * count)
    }

    /// A pair as a clock that was off by `off` made it, `age` ago.
    fn made(data_dir: &Path, off: Duration, age: Duration) {
        let folder = data_dir.join(FOLDER);
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut parameters = parameters().unwrap();
        parameters.not_before = OffsetDateTime::now_utc() + off - age - BACKDATED;
        parameters.not_after = parameters.not_before + VALIDITY;
        remove(&folder).unwrap();
        make_dir(&folder).unwrap();
        write_file(&folder.join(KEY), key.serialize_pem().as_bytes()).unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        write_file(&folder.join(CERTIFICATE), certificate.pem().as_bytes()).unwrap();
    }

    fn fingerprints(bundle: &CertificateBundle) -> (String, String) {
        let facts = bundle.facts();
        (facts.fingerprint_sha256.clone(), facts.spki_sha256.clone())
    }

    #[test]
    fn one_that_is_out_of_date_is_made_anew_with_its_key_and_one_that_is_right_stays() {
        let dir = tempfile::tempdir().unwrap();
        let zero = Duration::ZERO;
        for (name, off, age, stays) in [
            ("made just now", zero, zero, true),
            ("a clock that was three years behind", -years(3), zero, true),
            ("a clock that was 19 hours ahead", Duration::hours(19), zero, true),
            ("nine years old", zero, years(9), true),
            ("made in 1970", -years(56), zero, false),
            ("made in 2000", -years(26), zero, false),
            ("made in 2045", years(19), zero, false),
            ("ten years old", zero, VALIDITY, false),
            ("forty years old", zero, years(40), false),
        ] {
            made(dir.path(), off, age);
            let before = fingerprints(&load(&dir.path().join(FOLDER)).unwrap());
            let bundle = load_or_generate(dir.path()).unwrap();
            let after = fingerprints(&bundle);
            assert_eq!(before.0 == after.0, stays, "{name}");
            assert_eq!(before.1, after.1, "{name}: the key");
            assert!(!is_out_of_date(&bundle), "{name}");
            assert_eq!(
                fingerprints(&load_or_generate(dir.path()).unwrap()),
                after,
                "{name}: again"
            );
        }
    }

    #[test]
    fn clock_that_cannot_be_right_finds_nothing_out_of_date() {
        let dir = tempfile::tempdir().unwrap();
        let bundle = load_or_generate(dir.path()).unwrap();
        let at =
            |year| Date::from_calendar_date(year, Month::May, 1).unwrap().midnight().assume_utc();
        for (year, out_of_date) in [(1, false), (1970, false), (2016, false), (2060, true)] {
            assert_eq!(is_out_of_date_at(&bundle, at(year)), out_of_date, "{year}");
        }
        // One of 1970 is of no use to anybody, whatever the clock says.
        made(dir.path(), -years(56), Duration::ZERO);
        let bundle = load(&dir.path().join(FOLDER)).unwrap();
        assert!(is_out_of_date_at(&bundle, at(1971)) && is_out_of_date_at(&bundle, at(2027)));
    }

    #[test]
    fn what_is_missing_or_damaged_is_made_anew_and_a_usable_key_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        let (certificate, key) = (folder.join(CERTIFICATE), folder.join(KEY));
        type Damage<'a> = &'a dyn Fn();
        let damages: [(&str, bool, Damage<'_>); 11] = [
            ("no certificate", true, &|| remove(&certificate).unwrap()),
            ("an empty certificate", true, &|| fs::write(&certificate, "").unwrap()),
            ("a damaged certificate", true, &|| fs::write(&certificate, "x").unwrap()),
            ("a folder as certificate", true, &|| {
                remove(&certificate).unwrap();
                fs::create_dir_all(certificate.join("x")).unwrap();
            }),
            ("a pipe as certificate", true, &|| {
                remove(&certificate).unwrap();
                nix::unistd::mkfifo(&certificate, nix::sys::stat::Mode::S_IRWXU).unwrap();
            }),
            ("a key of another", true, &|| {
                let other = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048);
                fs::write(&key, other.unwrap().serialize_pem()).unwrap();
            }),
            ("no key", false, &|| remove(&key).unwrap()),
            ("an empty key", false, &|| fs::write(&key, "").unwrap()),
            ("a cut key", false, &|| {
                let text = fs::read_to_string(&key).unwrap();
                fs::write(&key, &text[..text.len() / 2]).unwrap();
            }),
            ("a file as folder", false, &|| {
                remove(&folder).unwrap();
                fs::write(&folder, "x").unwrap();
            }),
            ("a dangling link as folder", false, &|| {
                remove(&folder).unwrap();
                symlink("nowhere", &folder).unwrap();
            }),
        ];
        for (name, key_is_kept, damage) in damages {
            load_or_generate(dir.path()).unwrap();
            damage();
            let before = fs::read(&key).ok();
            let bundle = load_or_generate(dir.path()).unwrap();
            assert_eq!(fs::read(&key).ok() == before, key_is_kept, "{name}");
            let again = load_or_generate(dir.path()).unwrap();
            assert_eq!(fingerprints(&again), fingerprints(&bundle), "{name}");
        }
    }
}
