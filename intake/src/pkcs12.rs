//! Opens PKCS#12 files (.pfx, .p12): private keys and certificates under one passphrase.
//!
//! Written here and not taken from a crate because the kept readers stop at strict DER,
//! count rounds per item instead of per file, and fold every failure into one or two kinds;
//! an administrator needs to hear which one it was.

use aws_lc_rs::{digest, hmac};
use zeroize::Zeroizing;

use super::der::{self, DerError, Items, Node};
use super::encryption::{self, EncryptionError, Purpose, Secret};
use super::limits::{MAX_BLOCKS, WorkBudget};
use super::oid;

/// Explicit context tag 0, in which most things of this format are wrapped.
const WRAPPER: u8 = 0xa0;

/// How deep bags may lie in bags.
const MAX_BAG_DEPTH: usize = 4;

/// What a file holds.
#[derive(Default)]
pub(super) struct Opened {
    /// Private keys as PKCS#8.
    pub(super) keys: Vec<Zeroizing<Vec<u8>>>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Opens a file with the first reading of the passphrase that fits.
pub(super) fn open(
    bytes: &[u8],
    readings: &[Secret],
    budget: &mut WorkBudget,
) -> Result<Opened, EncryptionError> {
    let file = der::definite_form(bytes)?;
    let (outer, _) = der::read(&file)?;
    let mut members = outer.expect(der::SEQUENCE)?.children();
    members.required_tag(der::INTEGER)?;
    let (kind, content) = content_info(&members.required()?)?;
    if kind != oid::PKCS7_DATA {
        return Err(EncryptionError::Unsupported("by public key (PKCS#12 signed data)".to_owned()));
    }
    let safes = Items::of(content).required_tag(der::OCTET_STRING)?.content;
    let mac = members.optional_tag(der::SEQUENCE);

    let mut outcome = Err(EncryptionError::WrongPassphrase);
    for secret in readings {
        if let Some(mac) = mac {
            match verify_mac(&mac, safes, secret, budget) {
                Ok(()) => {}
                Err(EncryptionError::WrongPassphrase) => continue,
                Err(err) => return Err(err),
            }
        }
        outcome = read_safes(safes, secret, budget);
        match outcome {
            Err(EncryptionError::WrongPassphrase) => {}
            // Without a code to check first, a wrong key may yield anything.
            Err(EncryptionError::Malformed) if mac.is_none() => {
                outcome = Err(EncryptionError::WrongPassphrase);
            }
            _ => break,
        }
    }
    outcome
}

/// The type and the wrapped content of a ContentInfo.
fn content_info<'a>(node: &Node<'a>) -> Result<(&'a [u8], &'a [u8]), DerError> {
    let mut members = node.expect(der::SEQUENCE)?.children();
    let kind = members.required_tag(der::OBJECT_ID)?.content;
    Ok((kind, members.required_tag(WRAPPER)?.content))
}

/// Checks the authentication code over `safes`.
fn verify_mac(
    mac: &Node<'_>,
    safes: &[u8],
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<(), EncryptionError> {
    let mut members = mac.children();
    let mut info = members.required_tag(der::SEQUENCE)?.children();
    let mut algorithm = info.required_tag(der::SEQUENCE)?.children();
    let expected = info.required_tag(der::OCTET_STRING)?.content;
    let identifier = algorithm.required_tag(der::OBJECT_ID)?.content;
    let (algorithm, key) = if identifier == oid::PBMAC1 {
        let mut parameters = algorithm.required_tag(der::SEQUENCE)?.children();
        let derivation = parameters.required_tag(der::SEQUENCE)?;
        let scheme = parameters.required_tag(der::SEQUENCE)?;
        let (algorithm, length) = match scheme.children().required_tag(der::OBJECT_ID)?.content {
            oid::HMAC_SHA256 => (hmac::HMAC_SHA256, 32),
            oid::HMAC_SHA384 => (hmac::HMAC_SHA384, 48),
            oid::HMAC_SHA512 => (hmac::HMAC_SHA512, 64),
            other => return Err(EncryptionError::Unsupported(oid::display_name(other))),
        };
        let length = stated_key_length(&derivation).unwrap_or(length);
        (algorithm, encryption::derive_key(&derivation, length, secret.as_bytes(), budget)?)
    } else {
        let (algorithm, hash) = match identifier {
            oid::SHA1 => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &digest::SHA1_FOR_LEGACY_USE_ONLY),
            oid::SHA224 => (hmac::HMAC_SHA224, &digest::SHA224),
            oid::SHA256 => (hmac::HMAC_SHA256, &digest::SHA256),
            oid::SHA384 => (hmac::HMAC_SHA384, &digest::SHA384),
            oid::SHA512 => (hmac::HMAC_SHA512, &digest::SHA512),
            other => return Err(EncryptionError::Unsupported(oid::display_name(other))),
        };
        let salt = members.required_tag(der::OCTET_STRING)?.content;
        let rounds = members.next().map_or(Ok(1), |node| encryption::rounds(&node))?;
        encryption::spend(budget, rounds, 1)?;
        let length = hash.output_len();
        (algorithm, encryption::derive_pkcs12(hash, secret, salt, Purpose::Mac, rounds, length))
    };
    hmac::verify(&hmac::Key::new(algorithm, &key), safes, expected)
        .map_err(|_| EncryptionError::WrongPassphrase)
}

/// The key length that PBKDF2 parameters state, within reason.
fn stated_key_length(derivation: &Node<'_>) -> Option<usize> {
    let parameters = derivation.children().nth(1)?;
    let length = parameters.children().nth(2)?.small_integer()?;
    usize::try_from(length).ok().filter(|length| (1..=64).contains(length))
}

fn read_safes(
    safes: &[u8],
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<Opened, EncryptionError> {
    let safes = der::definite_form(safes)?;
    let (list, _) = der::read(&safes)?;
    let mut reader = BagReader { opened: Opened::default(), secret, budget };
    for safe in list.expect(der::SEQUENCE)?.children() {
        let (kind, content) = content_info(&safe)?;
        match kind {
            oid::PKCS7_DATA => {
                let bags = Items::of(content).required_tag(der::OCTET_STRING)?.content;
                reader.read(bags, MAX_BAG_DEPTH)?;
            }
            oid::PKCS7_ENCRYPTED => {
                let bags = decrypt_safe(content, secret, reader.budget)?;
                reader.read(&bags, MAX_BAG_DEPTH)?;
            }
            _ => {
                let scheme = "by public key (PKCS#12 enveloped data)".to_owned();
                return Err(EncryptionError::Unsupported(scheme));
            }
        }
    }
    Ok(reader.opened)
}

/// Decrypts one encrypted safe.
fn decrypt_safe(
    content: &[u8],
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let mut data = Items::of(content).required_tag(der::SEQUENCE)?.children();
    data.required_tag(der::INTEGER)?;
    let mut info = data.required_tag(der::SEQUENCE)?.children();
    info.required_tag(der::OBJECT_ID)?;
    let scheme = info.required_tag(der::SEQUENCE)?;
    let encrypted = info.required()?;
    match encrypted.tag {
        0x80 => encryption::decrypt(&scheme, encrypted.content, secret, budget),
        // The segmented form.
        0xa0 => {
            let joined = der::joined_segments(encrypted.content);
            encryption::decrypt(&scheme, &joined, secret, budget)
        }
        _ => Err(EncryptionError::Malformed),
    }
}

struct BagReader<'a> {
    opened: Opened,
    secret: &'a Secret,
    budget: &'a mut WorkBudget,
}

impl BagReader<'_> {
    /// Reads a list of bags; kinds that are of no use here are passed over.
    fn read(&mut self, bags: &[u8], depth: usize) -> Result<(), EncryptionError> {
        let depth = depth.checked_sub(1).ok_or(EncryptionError::Malformed)?;
        let bags = der::definite_form(bags)?;
        let (list, _) = der::read(&bags)?;
        for bag in list.expect(der::SEQUENCE)?.children() {
            let mut members = bag.expect(der::SEQUENCE)?.children();
            let kind = members.required_tag(der::OBJECT_ID)?.content;
            let value = members.required_tag(WRAPPER)?.content;
            match kind {
                oid::BAG_KEY => self.add_key(Zeroizing::new(value.to_vec()))?,
                oid::BAG_SHROUDED_KEY => {
                    let key = decrypt_pkcs8(value, self.secret, self.budget)?;
                    self.add_key(key)?;
                }
                oid::BAG_CERTIFICATE => self.add_certificate(value)?,
                oid::BAG_NESTED => self.read(value, depth)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add_key(&mut self, key: Zeroizing<Vec<u8>>) -> Result<(), EncryptionError> {
        if self.opened.keys.len() == MAX_BLOCKS {
            return Err(EncryptionError::Malformed);
        }
        self.opened.keys.push(key);
        Ok(())
    }

    fn add_certificate(&mut self, value: &[u8]) -> Result<(), EncryptionError> {
        let mut members = Items::of(value).required_tag(der::SEQUENCE)?.children();
        if members.required_tag(der::OBJECT_ID)?.content != oid::BAG_X509 {
            return Ok(());
        }
        let wrapped = members.required_tag(WRAPPER)?.content;
        let certificate = Items::of(wrapped).required_tag(der::OCTET_STRING)?.content;
        if self.opened.certificates.len() == MAX_BLOCKS {
            return Err(EncryptionError::Malformed);
        }
        self.opened.certificates.push(certificate.to_vec());
        Ok(())
    }
}

/// Decrypts an EncryptedPrivateKeyInfo.
pub(super) fn decrypt_pkcs8(
    bytes: &[u8],
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let (outer, _) = der::read(bytes)?;
    let mut members = outer.expect(der::SEQUENCE)?.children();
    let scheme = members.required_tag(der::SEQUENCE)?;
    let data = members.required_tag(der::OCTET_STRING)?;
    encryption::decrypt(&scheme, data.content, secret, budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_ends_too_early_is_malformed() {
        let mut budget = WorkBudget::new();
        let outer = der::write(der::SEQUENCE, &[&der::write(der::INTEGER, &[&[3]])]);
        let outcome = open(&outer, &Secret::readings(""), &mut budget);
        assert_eq!(outcome.err(), Some(EncryptionError::Malformed));
    }
}
