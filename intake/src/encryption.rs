//! Opens what a passphrase protects: the schemes of PKCS#5 and PKCS#12, old ones included.
//!
//! Only decryption is here. The old ciphers (DES, RC2, MD5) serve to read files that exist;
//! nothing is ever written with them.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use md5::{Digest, Md5};
use zeroize::Zeroizing;

use super::der::{self, DerError, Node};
use super::limits::{MAX_DERIVATION_ROUNDS, MAX_SCRYPT_COST, WorkBudget};
use super::oid;

/// Why something stayed closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum EncryptionError {
    WrongPassphrase,
    Unsupported(String),
    TooMuchWork { asked: String, limit: String },
    Malformed,
}

impl From<DerError> for EncryptionError {
    fn from(_: DerError) -> Self {
        Self::Malformed
    }
}

/// A passphrase in the two encodings that the schemes ask for.
pub(super) struct Secret {
    plain: Zeroizing<Vec<u8>>,
    /// UTF-16, big endian, with a closing zero, as PKCS#12 has it.
    wide: Zeroizing<Vec<u8>>,
}

impl Secret {
    /// The readings of a passphrase that are worth a try, the literal one first.
    pub(super) fn readings(passphrase: &str) -> Vec<Self> {
        let mut readings = vec![Self::new(passphrase)];
        // `curl -F passphrase=<file` sends the line end of the file along.
        let trimmed = passphrase.trim_end_matches(['\r', '\n']);
        if trimmed.len() != passphrase.len() {
            readings.push(Self::new(trimmed));
        }
        // Tools disagree on whether no password still has its closing zero.
        if trimmed.is_empty() {
            readings.push(Self { plain: Zeroizing::default(), wide: Zeroizing::default() });
        }
        readings
    }

    fn new(passphrase: &str) -> Self {
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * passphrase.len() + 2));
        for unit in passphrase.encode_utf16().chain([0]) {
            wide.extend_from_slice(&unit.to_be_bytes());
        }
        Self { plain: Zeroizing::new(passphrase.as_bytes().to_vec()), wide }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.plain
    }
}

/// Decrypts `data` as the AlgorithmIdentifier `scheme` says.
pub(super) fn decrypt(
    scheme: &Node<'_>,
    data: &[u8],
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let mut members = scheme.children();
    let identifier = members.required_tag(der::OBJECT_ID)?.content;
    let (cipher, key, iv) = if identifier == oid::PBES2 {
        let mut parameters = members.required_tag(der::SEQUENCE)?.children();
        let derivation = parameters.required_tag(der::SEQUENCE)?;
        let (cipher, iv) = Cipher::from_scheme(&parameters.required_tag(der::SEQUENCE)?)?;
        let key = derive_key(&derivation, cipher.key_length(), secret.as_bytes(), budget)?;
        (cipher, key, Zeroizing::new(iv.to_vec()))
    } else {
        old_scheme(identifier, &members.required_tag(der::SEQUENCE)?, secret, budget)?
    };
    cipher.decrypt(&key, &iv, data).ok_or(EncryptionError::WrongPassphrase)
}

type CipherKeyIv = (Cipher, Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>);

/// The schemes that name cipher and derivation in one identifier.
fn old_scheme(
    identifier: &[u8],
    parameters: &Node<'_>,
    secret: &Secret,
    budget: &mut WorkBudget,
) -> Result<CipherKeyIv, EncryptionError> {
    let cipher = match identifier {
        oid::PBE_MD5_DES | oid::PBE_SHA1_DES => Cipher::Des,
        oid::PBE_SHA1_3DES_3KEY => Cipher::TripleDes,
        oid::PBE_SHA1_3DES_2KEY => Cipher::TripleDesTwoKeys,
        oid::PBE_SHA1_RC2_128 => Cipher::Rc2(16),
        oid::PBE_SHA1_RC2_40 => Cipher::Rc2(5),
        other => return Err(EncryptionError::Unsupported(oid::display_name(other))),
    };
    let mut parameters = parameters.children();
    let salt = parameters.required_tag(der::OCTET_STRING)?.content;
    let rounds = rounds(&parameters.required()?)?;
    // Two derivations, the longer one of at most two hash blocks.
    spend(budget, rounds, 3)?;
    let (key, iv) = match identifier {
        oid::PBE_MD5_DES => split(first_generation(secret, salt, rounds, |data| {
            Zeroizing::new(Md5::digest(data).to_vec())
        })),
        oid::PBE_SHA1_DES => split(first_generation(secret, salt, rounds, |data| {
            let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data);
            Zeroizing::new(hash.as_ref().to_vec())
        })),
        _ => {
            let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
            let derive =
                |purpose, length| derive_pkcs12(hash, secret, salt, purpose, rounds, length);
            (derive(Purpose::Key, cipher.key_length()), derive(Purpose::Iv, 8))
        }
    };
    Ok((cipher, key, iv))
}

/// The derivation of PKCS#5 version 1.
fn first_generation(
    secret: &Secret,
    salt: &[u8],
    rounds: u32,
    hash: impl Fn(&[u8]) -> Zeroizing<Vec<u8>>,
) -> Zeroizing<Vec<u8>> {
    let mut state = Zeroizing::new([secret.as_bytes(), salt].concat());
    for _ in 0..rounds {
        state = hash(&state);
    }
    state
}

fn split(derived: Zeroizing<Vec<u8>>) -> (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>) {
    (Zeroizing::new(derived[..8].to_vec()), Zeroizing::new(derived[8..16].to_vec()))
}

/// Derives a key of `length` bytes as the AlgorithmIdentifier `derivation` says.
pub(super) fn derive_key(
    derivation: &Node<'_>,
    length: usize,
    passphrase: &[u8],
    budget: &mut WorkBudget,
) -> Result<Zeroizing<Vec<u8>>, EncryptionError> {
    let mut members = derivation.children();
    let identifier = members.required_tag(der::OBJECT_ID)?.content;
    let mut parameters = members.required_tag(der::SEQUENCE)?.children();
    let mut key = Zeroizing::new(vec![0; length]);
    if identifier == oid::SCRYPT {
        let salt = parameters.required_tag(der::OCTET_STRING)?.content;
        let mut number =
            || parameters.required()?.small_integer().ok_or(EncryptionError::Malformed);
        let (cost, block, lanes) = (number()?, number()?, number()?);
        let parameters = scrypt_parameters(cost, block, lanes, budget)?;
        scrypt::scrypt(passphrase, salt, &parameters, &mut key)
            .map_err(|_| EncryptionError::Malformed)?;
        return Ok(key);
    }
    if identifier != oid::PBKDF2 {
        return Err(EncryptionError::Unsupported(oid::display_name(identifier)));
    }
    let salt = parameters.required_tag(der::OCTET_STRING)?.content;
    let rounds = rounds(&parameters.required()?)?;
    parameters.optional_tag(der::INTEGER);
    let (algorithm, hash_length) = match parameters.optional_tag(der::SEQUENCE) {
        None => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        Some(function) => match function.children().required_tag(der::OBJECT_ID)?.content {
            oid::HMAC_SHA1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
            oid::HMAC_SHA256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
            oid::HMAC_SHA384 => (pbkdf2::PBKDF2_HMAC_SHA384, 48),
            oid::HMAC_SHA512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
            other => return Err(EncryptionError::Unsupported(oid::display_name(other))),
        },
    };
    spend(budget, rounds, length.div_ceil(hash_length))?;
    let rounds = NonZeroU32::new(rounds).ok_or(EncryptionError::Malformed)?;
    pbkdf2::derive(algorithm, rounds, salt, passphrase, &mut key);
    Ok(key)
}

fn scrypt_parameters(
    cost: u64,
    block: u64,
    lanes: u64,
    budget: &mut WorkBudget,
) -> Result<scrypt::Params, EncryptionError> {
    let product = cost.saturating_mul(block).saturating_mul(lanes);
    if product > MAX_SCRYPT_COST || !budget.spend(product) {
        return Err(EncryptionError::TooMuchWork {
            asked: format!("scrypt with N={cost}, r={block}, p={lanes}"),
            limit: format!("N*r*p = {MAX_SCRYPT_COST}"),
        });
    }
    let (Ok(block), Ok(lanes)) = (u32::try_from(block), u32::try_from(lanes)) else {
        return Err(EncryptionError::Malformed);
    };
    if !cost.is_power_of_two() {
        return Err(EncryptionError::Malformed);
    }
    scrypt::Params::new(cost.ilog2() as u8, block, lanes).map_err(|_| EncryptionError::Malformed)
}

/// Reads a number of rounds; more than can be counted is more than is allowed, too.
pub(super) fn rounds(node: &Node<'_>) -> Result<u32, EncryptionError> {
    let digits = node.unsigned_integer().ok_or(EncryptionError::Malformed)?;
    if digits.len() > 4 {
        return Err(too_many_rounds("more than 4 thousand million".to_owned()));
    }
    match digits.iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte)) {
        0 => Err(EncryptionError::Malformed),
        rounds => Ok(rounds),
    }
}

/// Takes `rounds` times `blocks` from the budget.
pub(super) fn spend(
    budget: &mut WorkBudget,
    rounds: u32,
    blocks: usize,
) -> Result<(), EncryptionError> {
    if budget.spend(u64::from(rounds).saturating_mul(blocks as u64)) {
        return Ok(());
    }
    Err(too_many_rounds(rounds.to_string()))
}

fn too_many_rounds(rounds: String) -> EncryptionError {
    EncryptionError::TooMuchWork {
        asked: format!("{rounds} rounds"),
        limit: format!("{MAX_DERIVATION_ROUNDS} rounds for all items together"),
    }
}

/// What a value derived by the method of PKCS#12 is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// The derivation of PKCS#12 (RFC 7292, appendix B.2).
pub(super) fn derive_pkcs12(
    hash: &'static digest::Algorithm,
    secret: &Secret,
    salt: &[u8],
    purpose: Purpose,
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = hash.block_len();
    let stretched = |input: &[u8]| -> Zeroizing<Vec<u8>> {
        let size = input.len().div_ceil(block) * block;
        Zeroizing::new(input.iter().copied().cycle().take(size).collect())
    };
    let mut input = Zeroizing::new([&stretched(salt)[..], &stretched(&secret.wide)[..]].concat());
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    while out.len() < length {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose as u8; block]);
        context.update(&input);
        let mut state = context.finish();
        for _ in 1..rounds {
            state = digest::digest(hash, state.as_ref());
        }
        out.extend_from_slice(state.as_ref());
        for chunk in input.chunks_exact_mut(block) {
            // Adds the hash, repeated over the block, and one.
            let mut carry = 1u16;
            for index in (0..block).rev() {
                let sum = u16::from(chunk[index])
                    + u16::from(state.as_ref()[index % hash.output_len()])
                    + carry;
                chunk[index] = sum as u8;
                carry = sum >> 8;
            }
        }
    }
    out.truncate(length);
    out
}

/// A block cipher in CBC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    Des,
    TripleDes,
    TripleDesTwoKeys,
    /// RC2 with a key of so many bytes.
    Rc2(usize),
}

impl Cipher {
    /// Reads the cipher of PBES2 with its initialization vector.
    fn from_scheme<'a>(scheme: &Node<'a>) -> Result<(Self, &'a [u8]), EncryptionError> {
        let mut members = scheme.children();
        let cipher = match members.required_tag(der::OBJECT_ID)?.content {
            oid::AES128_CBC => Self::Aes128,
            oid::AES192_CBC => Self::Aes192,
            oid::AES256_CBC => Self::Aes256,
            oid::DES_CBC => Self::Des,
            oid::DES_EDE3_CBC => Self::TripleDes,
            other => return Err(EncryptionError::Unsupported(oid::display_name(other))),
        };
        Ok((cipher, members.required_tag(der::OCTET_STRING)?.content))
    }

    pub(super) fn key_length(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Aes128 | Self::TripleDesTwoKeys => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
            Self::Rc2(length) => length,
        }
    }

    /// The clear text, or nothing when key and data do not fit each other.
    pub(super) fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Aes128 => decrypt_cbc::<aes::Aes128>(key, iv, data),
            Self::Aes192 => decrypt_cbc::<aes::Aes192>(key, iv, data),
            Self::Aes256 => decrypt_cbc::<aes::Aes256>(key, iv, data),
            Self::Des => decrypt_cbc::<des::Des>(key, iv, data),
            Self::TripleDes => decrypt_cbc::<des::TdesEde3>(key, iv, data),
            Self::TripleDesTwoKeys => decrypt_cbc::<des::TdesEde2>(key, iv, data),
            Self::Rc2(_) => decrypt_cbc::<rc2::Rc2>(key, iv, data),
        }
    }
}

fn decrypt_cbc<C>(key: &[u8], iv: &[u8], data: &[u8]) -> Option<Zeroizing<Vec<u8>>>
where
    C: BlockCipherDecrypt + KeyInit,
{
    let mut buffer = Zeroizing::new(data.to_vec());
    let decryptor = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    let length = decryptor.decrypt_padded::<Pkcs7>(&mut buffer).ok()?.len();
    buffer.truncate(length);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivation_of_pkcs12_gives_the_known_value() {
        // The value that OpenSSL's own test of the same derivation uses.
        let secret = Secret::new("smeg");
        let salt = [0x0a, 0x58, 0xcf, 0x64, 0x53, 0x0d, 0x82, 0x3f];
        let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        let key = derive_pkcs12(hash, &secret, &salt, Purpose::Key, 1, 24);
        assert_eq!(key[..8], [0x8a, 0xaa, 0xe6, 0x29, 0x7b, 0x6c, 0xb0, 0x46]);
    }

    #[test]
    fn rounds_are_bounded_over_the_whole_upload() {
        let mut budget = WorkBudget::new();
        assert_eq!(spend(&mut budget, 1_500_000, 1), Ok(()));
        let Err(EncryptionError::TooMuchWork { asked, limit }) = spend(&mut budget, 600_000, 1)
        else {
            panic!("the budget did not end");
        };
        assert!(asked.contains("600000") && limit.contains("2000000"));
        let huge = der::write(der::INTEGER, &[&[0x7f; 9]]);
        let (node, _) = der::read(&huge).expect("own output");
        assert!(matches!(rounds(&node), Err(EncryptionError::TooMuchWork { .. })));
    }

    #[test]
    fn scrypt_is_bounded_in_memory() {
        let mut budget = WorkBudget::new();
        assert!(scrypt_parameters(1 << 14, 8, 1, &mut budget).is_ok());
        assert!(scrypt_parameters(1 << 20, 8, 1, &mut budget).is_err());
        assert!(scrypt_parameters(u64::MAX, u64::MAX, 2, &mut budget).is_err());
        assert!(scrypt_parameters(1000, 8, 1, &mut budget).is_err());
        assert!(scrypt_parameters(0, 0, 0, &mut budget).is_err());
    }
}
