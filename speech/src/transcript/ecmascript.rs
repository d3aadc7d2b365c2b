//! Patterns as ECMAScript writes them, in the syntax of the regex crate.

use std::{iter::Peekable, str::Chars};

/// A pattern between slashes, and its flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal<'a> {
    pub(super) pattern: &'a str,
    /// `i`: letters match whatever their case.
    pub(super) ignore_case: bool,
    /// `m`: `^` and `$` match at lines.
    pub(super) multi_line: bool,
    /// `s`: `.` matches the end of a line.
    pub(super) dot_all: bool,
}

/// What of the flags is known; `g` and `u` change nothing: all places are replaced, and patterns
/// are of characters.
const FLAGS: &str = "gimsu";
/// Flags of ECMAScript and of Perl that are not to be had.
const OTHER_FLAGS: &str = "dvyx";
/// What a plain word that begins with a slash hardly has.
const TELLING: [char; 12] = ['\\', '^', '$', '|', '*', '+', '(', ')', '[', ']', '{', '}'];

impl<'a> Literal<'a> {
    /// What stands between slashes; `None` for plain text, which may begin with a slash as well.
    ///
    /// # Errors
    /// It can only be meant as a pattern, and is none.
    pub(super) fn parse(text: &'a str) -> Result<Option<Self>, String> {
        let Some(inner) = text.strip_prefix('/') else { return Ok(None) };
        let Some((pattern, flags)) = inner.rsplit_once('/') else {
            if inner.contains(TELLING) {
                return Err("the slash at its end is missing".into());
            }
            return Ok(None);
        };
        let all_flags = |known: &str| flags.chars().all(|flag| known.contains(flag));
        if pattern.is_empty() {
            return match flags {
                "" => Ok(None),
                _ if all_flags(FLAGS) => Err("there is nothing between the slashes".into()),
                _ => Ok(None),
            };
        }
        let repeated = flags.char_indices().find(|(at, flag)| flags[..*at].contains(*flag));
        if all_flags(FLAGS) && repeated.is_none() {
            let has = |flag| flags.contains(flag);
            let (ignore_case, multi_line, dot_all) = (has('i'), has('m'), has('s'));
            return Ok(Some(Self { pattern, ignore_case, multi_line, dot_all }));
        }
        let letters = flags.chars().all(|flag| flag.is_ascii_alphabetic()) && flags.len() <= 3;
        let meant =
            all_flags(&format!("{FLAGS}{OTHER_FLAGS}")) || (letters && pattern.contains(TELLING));
        match (meant, repeated) {
            (false, _) => Ok(None),
            (true, Some((_, flag))) => Err(format!("the flag {flag} is there twice")),
            (true, None) => {
                let flag = flags.chars().find(|flag| !FLAGS.contains(*flag)).unwrap_or_default();
                Err(format!("the flag {flag} is not to be had; those that are: g, i, m, s and u"))
            }
        }
    }
}

/// The pattern in the syntax of the regex crate.
///
/// # Errors
/// It has what no regular expression has: look-around, back references. They could make a search
/// take for ever.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern.chars().peekable();
    // Whether it is inside a class.
    let mut class = false;
    while let Some(next) = rest.next() {
        match next {
            '\\' => escape(&mut rest, class, &mut out)?,
            '[' if class => out.push_str("\\["),
            '[' => class = open_class(&mut rest, &mut out),
            ']' if class => {
                class = false;
                out.push(']');
            }
            // Operators on classes, which ECMAScript does not have without its flag v.
            '&' | '~' | '-' if class && rest.peek() == Some(&next) => {
                out.push('\\');
                out.push(next);
            }
            '(' if !class => {
                out.push('(');
                group(&rest)?;
            }
            next => out.push(next),
        }
    }
    Ok(out)
}

/// Takes what follows `[`. Whether a class is open then.
fn open_class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> bool {
    let negated = rest.next_if_eq(&'^').is_some();
    if rest.next_if_eq(&']').is_none() {
        out.push_str(if negated { "[^" } else { "[" });
        return true;
    }
    // `[^]` is any character, and `[]` none.
    out.push_str(if negated { "(?s:.)" } else { r"[^\s\S]" });
    false
}

fn group(rest: &Peekable<Chars<'_>>) -> Result<(), String> {
    let ahead: String = rest.clone().take(3).collect();
    match ["?=", "?!", "?<=", "?<!"].iter().find(|look| ahead.starts_with(**look)) {
        Some(look) => Err(format!("({look} looks ahead or behind, which is not to be had here")),
        None => Ok(()),
    }
}

fn escape(rest: &mut Peekable<Chars<'_>>, class: bool, out: &mut String) -> Result<(), String> {
    let reference =
        |name: String| Err(format!("\\{name} is a back reference, which is not to be had here"));
    match rest.next() {
        None => Err("a backslash stands at its end".into()),
        Some('0') if !rest.peek().is_some_and(char::is_ascii_digit) => {
            out.push_str("\\x00");
            Ok(())
        }
        Some(digit) if digit.is_ascii_digit() && !class => reference(digit.into()),
        Some('k') if !class => reference("k".into()),
        Some('b') if class => {
            out.push_str("\\x08");
            Ok(())
        }
        Some('c') if rest.peek().is_some_and(char::is_ascii_alphabetic) => {
            let letter = rest.next().map_or(0, |letter| letter as u32 % 32);
            out.push_str(&format!("\\x{letter:02x}"));
            Ok(())
        }
        Some('u') => {
            unicode(rest, out);
            Ok(())
        }
        // In the regex crate these are ends of words.
        Some(angle @ ('<' | '>')) => {
            out.push(angle);
            Ok(())
        }
        Some(other) => {
            out.push('\\');
            out.push(other);
            Ok(())
        }
    }
}

/// `\u…`: two halves of a character, as UTF-16 has them, are one character.
fn unicode(rest: &mut Peekable<Chars<'_>>, out: &mut String) {
    let half = |text: &str| u16::from_str_radix(text, 16).ok().filter(|_| text.len() == 4);
    let ahead: String = rest.clone().take(10).collect();
    let both = ahead.get(..4).and_then(half).zip(
        ahead.get(4..6).filter(|then| *then == "\\u").and_then(|_| ahead.get(6..10)).and_then(half),
    );
    let decoded = both.and_then(|(high, low)| char::decode_utf16([high, low]).next()?.ok());
    match decoded.filter(|character| u32::from(*character) > 0xffff) {
        Some(character) => {
            rest.nth(9);
            out.push_str(&format!("\\u{{{:x}}}", u32::from(character)));
        }
        None => out.push_str("\\u"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_plain() {
        for text in [
            "",
            "word",
            "and/or",
            "24/7",
            "/",
            "//",
            "/etc/passwd",
            "/etc",
            "/abc",
            "/usr/local/bin",
            "a/i",
            "/home/user",
            "//server/share",
            "/dev/null",
            "s/a/b/g",
            "/bin/ls",
            "/n/a",
        ] {
            assert_eq!(Literal::parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn flags_are_read_and_others_are_named() {
        let flags = |text| {
            let literal = Literal::parse(text).unwrap().unwrap();
            (literal.pattern, literal.ignore_case, literal.multi_line, literal.dot_all)
        };
        assert_eq!(flags("/CLUBS/i"), ("CLUBS", true, false, false));
        assert_eq!(flags("/a/"), ("a", false, false, false));
        assert_eq!(flags("/a/gu"), ("a", false, false, false));
        assert_eq!(flags("/a/smig"), ("a", true, true, true));
        assert_eq!(flags("/a/b/"), ("a/b", false, false, false));
        assert_eq!(flags(r"/a\/b/i"), (r"a\/b", true, false, false));
        for (text, expected) in [
            ("/a/y", "the flag y is not to be had"),
            ("/a/gy", "the flag y"),
            ("/a/v", "the flag v"),
            ("/a/d", "the flag d"),
            ("/CLUBS/x", "the flag x"),
            ("/a+/q", "the flag q"),
            ("/(a)/gI", "the flag I"),
            ("/a/ii", "the flag i is there twice"),
            ("//i", "nothing between the slashes"),
            ("/^abc$", "the slash at its end is missing"),
            ("/(a|b)", "the slash at its end is missing"),
        ] {
            let err = Literal::parse(text).unwrap_err();
            assert!(err.contains(expected), "{text}: {err}");
        }
    }

    #[test]
    fn escapes_and_classes_are_those_of_ecmascript() {
        for (pattern, expected) in [
            (r"\cJ\cj", r"\x0a\x0a"),
            (r"\0", r"\x00"),
            (r"[\b]", r"[\x08]"),
            (r"\b", r"\b"),
            (r"\<a\>", "<a>"),
            (r"\u{1F600}\u0041\x41", r"\u{1F600}\u0041\x41"),
            (r"\uD83D\uDE00", r"\u{1f600}"),
            ("[[a]", r"[\[a]"),
            ("[a&&b~~c]", r"[a\&&b\~~c]"),
            ("[^]", "(?s:.)"),
            ("[]", r"[^\s\S]"),
            (r"[\]]", r"[\]]"),
            (r"a\/b", r"a\/b"),
            ("[(?=]", "[(?=]"),
            (r"(?<name>a)", r"(?<name>a)"),
            (r"\(?=", r"\(?="),
        ] {
            assert_eq!(translate(pattern).as_deref(), Ok(expected), "{pattern}");
        }
        for (pattern, expected) in [
            ("a(?=b)", "(?= looks ahead"),
            ("a(?!b)", "(?! looks ahead"),
            ("(?<=a)b", "(?<= looks ahead or behind"),
            ("(?<!a)b", "(?<! looks"),
            (r"(a)\1", r"\1 is a back reference"),
            (r"(?<a>x)\k<a>", r"\k is a back reference"),
            ("a\\", "a backslash stands at its end"),
        ] {
            let err = translate(pattern).unwrap_err();
            assert!(err.contains(expected), "{pattern}: {err}");
        }
    }
}
