//! Names the files that are neither PEM nor DER, so that people hear what they picked.

use super::kind::Kind;
use super::text;

/// What `bytes` are when no block was found in them.
pub(super) fn recognise(bytes: &[u8], text: &str) -> Option<Kind> {
    of_magic(bytes).or_else(|| of_text(text.trim_matches(text::is_gap)))
}

fn of_magic(bytes: &[u8]) -> Option<Kind> {
    match bytes {
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => Some(Kind::JavaKeystore),
        [b'P', b'K', 3, 4, ..] | [0x1f, 0x8b, ..] | [b'7', b'z', 0xbc, 0xaf, ..] => {
            Some(Kind::Archive)
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => Some(Kind::Archive),
        [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', ..] => Some(Kind::Archive),
        _ if bytes.get(257..262) == Some(b"ustar") => Some(Kind::Archive),
        [b'%', b'P', b'D', b'F', ..] => Some(Kind::Pdf),
        // A secret or public key packet, old and new packet form.
        [0x95 | 0x99 | 0xc5 | 0xc6, _, _, 3..=6, ..] => Some(Kind::Pgp),
        _ => None,
    }
}

fn of_text(text: &str) -> Option<Kind> {
    let begins =
        |word: &str| text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
    if begins("<!doctype html") || begins("<html") || begins("<head") || begins("<body") {
        return Some(Kind::HtmlText);
    }
    if begins("<?xml") || begins("<rsakeyvalue") {
        return Some(Kind::XmlText);
    }
    if begins("{") || begins("[") {
        return Some(if text.contains("\"kty\"") { Kind::Jwk } else { Kind::JsonText });
    }
    if begins("PuTTY-User-Key-File") {
        return Some(Kind::PuttyKey);
    }
    if begins("ssh-") || begins("ecdsa-sha2-") || begins("---- BEGIN SSH2") {
        return Some(Kind::SshPublicKey);
    }
    is_file_name(text).then_some(Kind::FileName)
}

/// One short word with a suffix or a folder: `curl -F keyfile=server.key` sends that.
fn is_file_name(text: &str) -> bool {
    const SUFFIXES: [&str; 12] =
        ["pem", "key", "crt", "cer", "cert", "der", "pfx", "p12", "p7b", "txt", "csr", "jks"];
    let suffix = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    text.len() <= 255
        && !text.chars().any(char::is_control)
        && (text.contains('.') && SUFFIXES.contains(&suffix.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_strangers_are_named() {
        for (content, kind) in [
            ("<!DOCTYPE html><html>", Kind::HtmlText),
            ("\n {\"keyfile\": 1}", Kind::JsonText),
            ("{\"kty\":\"RSA\"}", Kind::Jwk),
            ("PuTTY-User-Key-File-3: ssh-rsa", Kind::PuttyKey),
            ("ssh-ed25519 AAAA", Kind::SshPublicKey),
            ("/etc/ssl/server.key", Kind::FileName),
            ("%PDF-1.4", Kind::Pdf),
            ("PK\u{3}\u{4}....", Kind::Archive),
        ] {
            assert_eq!(recognise(content.as_bytes(), content), Some(kind), "{content}");
        }
        assert_eq!(recognise(b"secret words", "secret words"), None);
    }
}
