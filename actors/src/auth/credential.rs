//! The admin credential: one htpasswd line with a bcrypt hash.

use std::fmt;

use super::spelling::canonical;
use crate::store::AdminAccess;

/// The only user there is.
pub const ADMIN: &str = "admin";

/// The password of a new or reset appliance.
pub const DEFAULT_PASSWORD: &str = "admin";

/// What bcrypt takes in; the rest of a longer password would be cut silently.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// The cost of the hashes that portcullis writes: about 50 ms of one core.
const COST: u32 = 10;

/// The range that is verified: below it bcrypt does not exist, above it one check takes seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=15;

/// An htpasswd line that has been checked for its form.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    hash: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Why a line of the `users` file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the users file is empty; it must hold one line, admin:$2y$…")]
    Empty,
    #[error("line {0} of the users file has no colon; it must read admin:$2y$…")]
    NoColon(usize),
    #[error("line {line} of the users file is for another user; the only user is admin")]
    OtherUser { line: usize },
    #[error("line {0} of the users file is a second line; only one is allowed")]
    SecondLine(usize),
    #[error(
        "line {line} of the users file has a hash of the kind {kind}, which is not supported; make one with `htpasswd -nbB admin PASSWORD`"
    )]
    Kind { line: usize, kind: &'static str },
    #[error("line {line} of the users file has bcrypt cost {cost}; 4 to 15 are supported")]
    Cost { line: usize, cost: u32 },
    #[error(
        "line {0} of the users file has a damaged bcrypt hash; it must be $2y$, two digits, $ and 53 characters"
    )]
    Damaged(usize),
}

impl Credential {
    /// Reads an htpasswd text of one line (RFC 4648 decoding is the store's work).
    ///
    /// # Errors
    /// Says which line is wrong and why; the hash itself is never repeated.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let mut lines = text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let (number, line) = lines.next().ok_or(CredentialError::Empty)?;
        if let Some((second, _)) = lines.next() {
            return Err(CredentialError::SecondLine(second));
        }
        let (user, hash) = line.split_once(':').ok_or(CredentialError::NoColon(number))?;
        if user != ADMIN {
            return Err(CredentialError::OtherUser { line: number });
        }
        check_hash(hash, number)?;
        Ok(Self { hash: hash.to_owned() })
    }

    /// Hashes a password that [`validate_password`] let through, in its canonical spelling (RFC
    /// 8265: composed letters, ASCII blanks). Takes about 50 ms.
    ///
    /// # Panics
    /// The password is longer than 72 bytes.
    #[must_use]
    pub fn hash(password: &str) -> Self {
        let parts = bcrypt::hash_with_result(canonical(password).as_bytes(), COST)
            .expect("a password of at most 72 bytes and a fixed cost hash");
        Self { hash: parts.format_for_version(bcrypt::Version::TwoY) }
    }

    /// Whether the password is right. Takes milliseconds to seconds: call it on a blocking thread.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        password.len() <= MAX_PASSWORD_BYTES
            && !password.contains(&0)
            && bcrypt::verify(password, &self.hash).unwrap_or(false)
    }

    /// The htpasswd line, without a line end.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{ADMIN}:{}", self.hash)
    }
}

impl AdminAccess {
    /// Access by this password, which [`validate_password`] let through. Hashes: blocks 50 ms.
    #[must_use]
    pub fn password(password: &str) -> Self {
        Self::Htpasswd(Credential::hash(password).line())
    }

    /// Access by the default password. Hashes: blocks 50 ms.
    #[must_use]
    pub fn default_password() -> Self {
        Self::password(DEFAULT_PASSWORD)
    }

    /// Whether it can be used.
    ///
    /// # Errors
    /// Says what is wrong with the stored line.
    pub fn check(&self) -> Result<(), CredentialError> {
        match self {
            Self::Htpasswd(line) => Credential::parse(line).map(drop),
            Self::Open => Ok(()),
        }
    }
}

fn check_hash(hash: &str, line: usize) -> Result<(), CredentialError> {
    let kind = match hash {
        _ if ["$2a$", "$2b$", "$2x$", "$2y$"].iter().any(|kind| hash.starts_with(kind)) => None,
        _ if hash.starts_with("$apr1$") || hash.starts_with("$1$") => Some("MD5"),
        _ if hash.starts_with("{SHA}") => Some("SHA-1"),
        _ if hash.starts_with("$5$") => Some("SHA-256 crypt"),
        _ if hash.starts_with("$6$") => Some("SHA-512 crypt"),
        _ if hash.starts_with("$y$") || hash.starts_with("$7$") => Some("yescrypt"),
        _ if hash.starts_with("$argon2") => Some("Argon2"),
        _ if hash.starts_with("{PLAIN}") || !hash.starts_with('$') => {
            Some("plain text or DES crypt")
        }
        _ => Some("unknown"),
    };
    if let Some(kind) = kind {
        return Err(CredentialError::Kind { line, kind });
    }
    let bytes = hash.as_bytes();
    let is_hash_char = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    let cost: u32 = hash
        .get(4..6)
        .filter(|cost| cost.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|cost| cost.parse().ok())
        .ok_or(CredentialError::Damaged(line))?;
    if bytes.len() != 60 || bytes[6] != b'$' || !bytes[7..].iter().all(is_hash_char) {
        return Err(CredentialError::Damaged(line));
    }
    if !COSTS.contains(&cost) {
        return Err(CredentialError::Cost { line, cost });
    }
    Ok(())
}

/// Why a new password is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    #[error("the password is empty")]
    Empty,
    #[error(
        "the password is {0} bytes long in UTF-8; bcrypt takes at most 72 bytes, so a longer one would be cut"
    )]
    TooLong(usize),
    #[error("the password contains a control character (NUL, line break or the like)")]
    ControlCharacter,
}

/// Checks a new password: 1 to 72 bytes of UTF-8 in its canonical spelling, without control
/// characters.
///
/// # Errors
/// Gives the reason, never the password.
pub fn validate_password(password: &str) -> Result<(), PasswordError> {
    if password.is_empty() {
        return Err(PasswordError::Empty);
    }
    let password = canonical(password);
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong(password.len()));
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTED: &str = "admin:$2y$05$Q1xPUPRrDoz/40XFn7OZTumWWsjYTyia8z5eI/XzGEHRRx4utr3e2";

    #[test]
    fn the_documented_line_is_the_password_admin() {
        let credential = Credential::parse(&format!("{DOCUMENTED}\n")).unwrap();
        assert!(credential.verify(b"admin"));
        assert!(!credential.verify(b"Admin"));
        assert_eq!(credential.line(), DOCUMENTED);
    }

    #[test]
    fn the_four_spellings_of_bcrypt_verify() {
        for kind in ["$2a$", "$2b$", "$2x$", "$2y$"] {
            let line = DOCUMENTED.replace("$2y$", kind);
            assert!(Credential::parse(&line).unwrap().verify(b"admin"), "{kind}");
        }
    }

    #[test]
    fn other_kinds_are_refused_by_name() {
        let cases = [
            ("", "empty"),
            ("admin", "no colon"),
            ("root:x", "only user is admin"),
            ("admin:$apr1$x$y", "MD5"),
            ("admin:{SHA}abc=", "SHA-1"),
            ("admin:secret", "plain text"),
            ("admin:$2y$31$Q1xPUPRrDoz/40XFn7OZTumWWsjYTyia8z5eI/XzGEHRRx4utr3e2", "cost 31"),
            ("admin:$2y$05$short", "damaged"),
            ("admin:$2y$+5$Q1xPUPRrDoz/40XFn7OZTumWWsjYTyia8z5eI/XzGEHRRx4utr3e2", "damaged"),
        ];
        for (text, expected) in cases {
            let message = Credential::parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
        let two = format!("{DOCUMENTED}\n{DOCUMENTED}\n");
        assert_eq!(Credential::parse(&two), Err(CredentialError::SecondLine(2)));
    }

    #[test]
    fn seventy_two_bytes_are_the_limit() {
        let longest = "a".repeat(72);
        validate_password(&longest).unwrap();
        let credential = Credential::hash(&longest);
        assert!(credential.verify(longest.as_bytes()));
        assert!(!credential.verify("a".repeat(73).as_bytes()));
        assert_eq!(validate_password(&"密".repeat(25)), Err(PasswordError::TooLong(75)));
        assert_eq!(validate_password("a\nb"), Err(PasswordError::ControlCharacter));
        assert_eq!(validate_password(""), Err(PasswordError::Empty));
    }
}
