//! One password, several spellings: some systems type é as one character, others as e and an
//! accent, and what is meant is the same.
//!
//! Passwords are set in the form that RFC 8265 (OpaqueString) gives them: blanks of any kind become
//! the ASCII one, composed characters (NFC). A hash may be older than that rule or come from
//! another tool, so what was sent is tried as it is too, and decomposed.

use icu_normalizer::{ComposingNormalizerBorrowed, DecomposingNormalizerBorrowed};
use zeroize::Zeroizing;

use super::MAX_PASSWORD_BYTES;

/// The form in which a password is hashed.
pub(super) fn canonical(password: &str) -> Zeroizing<String> {
    if password.is_ascii() {
        return Zeroizing::new(password.to_owned());
    }
    let blank = |c: char| if is_other_blank(c) { ' ' } else { c };
    let mapped: Zeroizing<String> = Zeroizing::new(password.chars().map(blank).collect());
    Zeroizing::new(ComposingNormalizerBorrowed::new_nfc().normalize(&mapped).into_owned())
}

/// Everything that a hash of this password may have been made from: one to three spellings, none
/// where nothing of that length is a password.
pub(super) fn spellings(password: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut all = vec![Zeroizing::new(password.to_vec())];
    if !password.is_ascii()
        && let Ok(text) = std::str::from_utf8(password)
    {
        let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text).into_owned();
        let decomposed = Zeroizing::new(decomposed);
        for other in [canonical(text), decomposed] {
            let other = Zeroizing::new(other.as_bytes().to_vec());
            if !all.contains(&other) {
                all.push(other);
            }
        }
    }
    all.retain(|word| word.len() <= MAX_PASSWORD_BYTES && !word.contains(&0));
    all
}

/// The separators of general category Zs besides the ASCII blank.
fn is_other_blank(c: char) -> bool {
    matches!(
        c,
        '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(password: &str) -> Vec<String> {
        let words = spellings(password.as_bytes());
        words.iter().map(|word| String::from_utf8(word.to_vec()).unwrap()).collect()
    }

    #[test]
    fn a_password_has_one_canonical_form() {
        for (sent, form) in [
            ("admin", "admin"),
            (" a b ", " a b "),
            ("Gru\u{308}ße-e\u{301}-A\u{30a}", "Grüße-é-Å"),
            ("Grüße-é-Å", "Grüße-é-Å"),
            ("\u{212b}ngstrom", "Ångstrom"),
            ("wo\u{a0}rd\u{3000}", "wo rd "),
            ("\u{1112}\u{1161}\u{11ab}", "한"),
            ("ｐａｓｓ", "ｐａｓｓ"),
            ("wo😀rd", "wo😀rd"),
        ] {
            assert_eq!(canonical(sent).as_str(), form, "{sent}");
            assert_eq!(canonical(form).as_str(), form, "{sent}: the form is its own form");
        }
    }

    #[test]
    fn old_hashes_are_tried_with_what_they_were_made_from() {
        assert_eq!(all("admin"), ["admin"], "ASCII has one spelling and costs one hash");
        assert_eq!(all("é"), ["é", "e\u{301}"]);
        assert_eq!(all("e\u{301}"), ["e\u{301}", "é"]);
        assert_eq!(all("a\u{a0}é"), ["a\u{a0}é", "a é", "a\u{a0}e\u{301}"]);
        assert_eq!(spellings(&[0xfc, 0xdf]).len(), 1, "what is no text is what it is");
    }

    #[test]
    fn what_bcrypt_would_cut_is_not_tried() {
        assert!(spellings(&[b'a'; 73]).is_empty());
        assert!(spellings(b"a\0b").is_empty());
        // 48 bytes composed, 72 decomposed.
        assert_eq!(all(&"é".repeat(24)).len(), 2);
        assert_eq!(all(&"é".repeat(25)), ["é".repeat(25)]);
        // Too long as sent, but not in the form in which it was set.
        assert_eq!(all(&"e\u{301}".repeat(25)), ["é".repeat(25)]);
    }
}
