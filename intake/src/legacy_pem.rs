//! The old way to encrypt a key: the text of the PEM block, with two header lines.
//!
//! `openssl rsa -aes256 -traditional` and every release before 1.0 write it.

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::encryption::{Cipher, EncryptionError, Secret};

/// The header lines of an encrypted block.
pub(super) struct LegacyEncryption {
    /// What DEK-Info says; empty when that line is missing.
    cipher: String,
    iv: Vec<u8>,
}

impl LegacyEncryption {
    /// The encryption that the header lines tell of, if any.
    pub(super) fn from_headers(headers: &[(String, String)]) -> Option<Self> {
        let value = |wanted: &str| {
            headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| value)
        };
        value("Proc-Type").filter(|value| value.to_ascii_uppercase().contains("ENCRYPTED"))?;
        let (cipher, iv) =
            value("DEK-Info").and_then(|info| info.split_once(',')).unwrap_or_default();
        let cipher = cipher.trim().to_ascii_uppercase();
        let cipher = if is_cipher_name(&cipher) { cipher } else { String::new() };
        Some(Self { cipher, iv: from_hex(iv.trim()).unwrap_or_default() })
    }

    pub(super) fn decrypt(
        &self,
        data: &[u8],
        secret: &Secret,
    ) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
        let (cipher, iv_length) = match self.cipher.as_str() {
            "AES-128-CBC" => (Cipher::Aes128, 16),
            "AES-192-CBC" => (Cipher::Aes192, 16),
            "AES-256-CBC" => (Cipher::Aes256, 16),
            "DES-EDE3-CBC" => (Cipher::TripleDes, 8),
            "DES-EDE-CBC" => (Cipher::TripleDesTwoKeys, 8),
            "DES-CBC" => (Cipher::Des, 8),
            "RC2-CBC" => (Cipher::Rc2(16), 8),
            "" => return Err(EncryptionError::Malformed),
            other => return Err(EncryptionError::Unsupported(other.to_owned())),
        };
        if self.iv.len() != iv_length {
            return Err(EncryptionError::Malformed);
        }
        let key = derive(secret.as_bytes(), &self.iv[..8], cipher.key_length());
        cipher.decrypt(&key, &self.iv, data).ok_or(EncryptionError::WrongPassphrase)
    }
}

/// Chained MD5 over passphrase and salt, one round: what this format prescribes.
fn derive(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
    let mut last = Zeroizing::new(Vec::new());
    while key.len() < length {
        let mut hash = Md5::new();
        hash.update(&*last);
        hash.update(passphrase);
        hash.update(salt);
        last = Zeroizing::new(hash.finalize().to_vec());
        key.extend_from_slice(&last);
    }
    key.truncate(length);
    key
}

/// Only such a word may appear in a message.
fn is_cipher_name(word: &str) -> bool {
    word.len() <= 24 && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 64 || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(info: &str) -> Vec<(String, String)> {
        vec![("Proc-Type".into(), "4,ENCRYPTED".into()), ("DEK-Info".into(), info.into())]
    }

    #[test]
    fn header_lines_are_read() {
        let found =
            LegacyEncryption::from_headers(&headers("AES-256-CBC, 00ff")).expect("encrypted");
        assert_eq!((found.cipher.as_str(), &found.iv[..]), ("AES-256-CBC", &[0, 0xff][..]));
        assert!(LegacyEncryption::from_headers(&[]).is_none());
    }

    #[test]
    fn broken_or_unknown_ciphers_are_told() {
        let outcome = |info: &str| {
            let secret = &Secret::readings("x")[0];
            let found = LegacyEncryption::from_headers(&headers(info)).expect("encrypted");
            found.decrypt(&[0; 16], secret).err()
        };
        assert_eq!(outcome("AES-256-CBC,00"), Some(EncryptionError::Malformed));
        assert_eq!(outcome("nonsense"), Some(EncryptionError::Malformed));
        assert_eq!(
            outcome("CAMELLIA-128-CBC,00"),
            Some(EncryptionError::Unsupported("CAMELLIA-128-CBC".into()))
        );
    }
}
