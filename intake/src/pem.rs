//! Finds the PEM blocks in a text and decodes them.
//!
//! Only this file names `rustls-pemfile`. That crate is retired: its reader now lives in
//! `rustls-pki-types`, and it gets no more releases. It is used because the project's set of TLS
//! crates fixes it; being confined here, it is replaced in one place. Neither it nor its successor
//! reads the files that people have (byte order marks, two blocks that share a line, tabs after a
//! BEGIN line), and both skip what they do not recognise without a word. So the blocks are found
//! here, written out afresh in the plain form, and only then handed over for decoding.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls_pemfile::Item;
use zeroize::{Zeroize, Zeroizing};

use super::kind::Kind;
use super::limits::MAX_BLOCKS;
use super::text;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One decoded block.
pub(super) struct Block {
    pub(super) label: String,
    /// The line of its BEGIN, counted from 1.
    pub(super) line: usize,
    /// The `Name: value` lines of the old encrypted form.
    pub(super) headers: Vec<(String, String)>,
    /// Empty for a block of a kind that is only named, never read.
    pub(super) der: Zeroizing<Vec<u8>>,
}

/// Why the text cannot be split into blocks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PemError {
    TooMany,
    Marker { line: usize },
    Stray { line: usize },
    Unfinished { label: String, line: usize },
    Mismatch { label: String, end: String, line: usize },
    Damaged { label: String, line: usize, reason: String },
}

/// All blocks of `text`, in their order; text around them is passed over.
///
/// # Errors
///
/// Anything that could hide a block is an error: a certificate that gets lost on the way
/// would be noticed by the clients only.
pub(super) fn blocks(text: &str) -> Result<Vec<Block>, PemError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(begin) = rest.find(BEGIN) {
        if blocks.len() == MAX_BLOCKS {
            return Err(PemError::TooMany);
        }
        check_outside(&rest[..begin], line)?;
        line = text::line_after(&rest[..begin], line);
        let (found, after) = cut(&rest[begin..], line)?;
        blocks.push(found.decode()?);
        line = text::line_after(&rest[begin..rest.len() - after.len()], line);
        rest = after;
    }
    check_outside(rest, line)?;
    Ok(blocks)
}

/// A block as it stands in the text.
struct Raw<'a> {
    label: &'a str,
    body: &'a str,
    line: usize,
}

/// Cuts the block off the front of `text`, which starts with its BEGIN.
fn cut(text: &str, line: usize) -> Result<(Raw<'_>, &str), PemError> {
    let (label, body) = label(&text[BEGIN.len()..]).ok_or(PemError::Marker { line })?;
    let unfinished = || PemError::Unfinished { label: label.to_owned(), line };
    let end = body.find(END).ok_or_else(unfinished)?;
    if body[..end].contains(BEGIN) {
        return Err(unfinished());
    }
    let (end_label, after) = self::label(&body[end + END.len()..])
        .ok_or_else(|| PemError::Marker { line: text::line_after(&body[..end], line) })?;
    if end_label != label {
        return Err(PemError::Mismatch {
            label: label.to_owned(),
            end: end_label.to_owned(),
            line,
        });
    }
    Ok((Raw { label, body: &body[..end], line }, after))
}

/// The label in front of the closing dashes, and what follows them.
fn label(text: &str) -> Option<(&str, &str)> {
    let (label, after) = text.split_once(DASHES)?;
    let label = label.trim();
    let known = |byte: u8| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'.' | b'#');
    (!label.is_empty() && label.len() <= 40 && label.bytes().all(known)).then_some((label, after))
}

/// Refuses text between blocks that looks like a part of a block.
fn check_outside(text: &str, first_line: usize) -> Result<(), PemError> {
    let mut base64_lines = 0;
    for (index, line) in text::lines(text).enumerate() {
        let number = first_line + index;
        if is_broken_marker(line) {
            return Err(PemError::Marker { line: number });
        }
        let line = line.trim();
        let whole = line.len() >= 60 && line.bytes().all(is_base64);
        base64_lines = if whole { base64_lines + 1 } else { 0 };
        if base64_lines == 2 {
            return Err(PemError::Stray { line: number - 1 });
        }
    }
    Ok(())
}

/// Whether a line outside the blocks was once a BEGIN or END line.
fn is_broken_marker(line: &str) -> bool {
    let is_dash =
        |symbol: char| matches!(symbol, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ad}');
    if !line.contains(is_dash) {
        return false;
    }
    let words = line.to_ascii_uppercase();
    ["BEGIN ", "END "].iter().any(|word| {
        words.match_indices(word).any(|(at, _)| {
            let after = &words[at + word.len()..];
            words[..at].trim_end().ends_with(is_dash)
                && ["CERTIFICATE", "PRIVATE KEY", "PKCS"].iter().any(|label| after.contains(label))
        })
    })
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

impl Raw<'_> {
    fn decode(&self) -> Result<Block, PemError> {
        if !Kind::of_label(self.label).is_pem_of_der() {
            let (label, der) = (self.label.to_owned(), Zeroizing::default());
            return Ok(Block { label, line: self.line, headers: Vec::new(), der });
        }
        // Files that travelled through JSON or an environment variable spell line ends out.
        let body = if self.body.contains('\\') {
            let body = Zeroizing::new(self.body.replace("\\r", ""));
            Zeroizing::new(body.replace("\\n", "\n"))
        } else {
            Zeroizing::new(self.body.to_owned())
        };
        let mut headers = Vec::new();
        let mut digits = Zeroizing::new(String::with_capacity(body.len() + 4));
        for (index, line) in text::lines(&body).enumerate() {
            let line = line.trim_matches(text::is_gap);
            match line.split_once(':') {
                Some((name, value)) if digits.is_empty() => {
                    headers.push((name.trim().to_owned(), value.trim().to_owned()));
                }
                _ => {
                    if matches!(line.len(), 64 | 76) && line.contains(' ') {
                        return Err(self.damaged(format!(
                            "line {} of the file has blanks inside; was each + turned into one by a form?",
                            self.line + index
                        )));
                    }
                    self.collect(line, self.line + index, &mut digits)?;
                }
            }
        }
        let der = decode_digits(self.label, &mut digits).ok_or_else(|| {
            self.damaged(if digits.is_empty() {
                "there is nothing between BEGIN and END".to_owned()
            } else {
                "the base64 text is incomplete, characters or lines are missing".to_owned()
            })
        })?;
        Ok(Block { label: self.label.to_owned(), line: self.line, headers, der })
    }

    /// Adds the base64 digits of one line to `digits`.
    fn collect(&self, line: &str, number: usize, digits: &mut String) -> Result<(), PemError> {
        for symbol in line.chars().filter(|symbol| !text::is_gap(*symbol)) {
            let reason = match symbol {
                '=' => {
                    digits.push('=');
                    continue;
                }
                _ if digits.ends_with('=') => "text goes on after the closing =",
                _ if symbol.is_ascii() && is_base64(symbol as u8) => {
                    digits.push(symbol);
                    continue;
                }
                _ => "a character is no base64",
            };
            return Err(self.damaged(format!("{reason} in line {number} of the file")));
        }
        Ok(())
    }

    fn damaged(&self, reason: String) -> PemError {
        PemError::Damaged { label: self.label.to_owned(), line: self.line, reason }
    }
}

/// Decodes base64 digits; padding that got lost is put back.
fn decode_digits(label: &str, digits: &mut String) -> Option<Zeroizing<Vec<u8>>> {
    digits.truncate(digits.trim_end_matches('=').len());
    if digits.is_empty() || digits.len() % 4 == 1 {
        return None;
    }
    while !digits.len().is_multiple_of(4) {
        digits.push('=');
    }
    match label {
        "CERTIFICATE" | "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => {
            decode_known(label, digits)
        }
        _ => STANDARD.decode(digits.as_bytes()).ok().map(Zeroizing::new),
    }
}

fn decode_known(label: &str, digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    let lines = digits.len() / 64 + 1;
    let mut plain =
        Zeroizing::new(String::with_capacity(digits.len() + lines + 2 * label.len() + 40));
    write_block(&mut plain, label, digits);
    let (item, _) = rustls_pemfile::read_one_from_slice(plain.as_bytes()).ok()??;
    let (der, mut key) = match item {
        Item::X509Certificate(der) => return Some(Zeroizing::new(der.to_vec())),
        Item::Pkcs8Key(key) => (key.secret_pkcs8_der().to_vec(), PrivateKeyDer::from(key)),
        Item::Pkcs1Key(key) => (key.secret_pkcs1_der().to_vec(), PrivateKeyDer::from(key)),
        Item::Sec1Key(key) => (key.secret_sec1_der().to_vec(), PrivateKeyDer::from(key)),
        _ => return None,
    };
    key.zeroize();
    Some(Zeroizing::new(der))
}

/// Decodes base64 text, of either alphabet, that has no BEGIN and END around it, as some web pages
/// give out.
pub(super) fn decode_bare(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut digits = Zeroizing::new(String::with_capacity(text.len() + 4));
    for symbol in text.chars().filter(|symbol| !text::is_gap(*symbol)) {
        match symbol {
            '-' => digits.push('+'),
            '_' => digits.push('/'),
            _ if symbol.is_ascii() && is_base64(symbol as u8) => digits.push(symbol),
            _ => return None,
        }
    }
    if digits.len() < 64 { None } else { decode_digits("", &mut digits) }
}

/// `der` as one PEM block, in lines of 64.
pub(super) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let digits = Zeroizing::new(STANDARD.encode(der));
    let mut out =
        Zeroizing::new(String::with_capacity(digits.len() * 66 / 64 + 2 * label.len() + 40));
    write_block(&mut out, label, &digits);
    out
}

fn write_block(out: &mut String, label: &str, digits: &str) {
    for part in [BEGIN, label, DASHES, "\n"] {
        out.push_str(part);
    }
    let mut rest = digits;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    for part in [END, label, DASHES, "\n"] {
        out.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----";

    fn bytes(text: &str) -> Vec<Vec<u8>> {
        blocks(text).expect("blocks").into_iter().map(|block| block.der.to_vec()).collect()
    }

    #[test]
    fn blocks_are_found_in_untidy_text() {
        let untidy = [
            ONE.replace('\n', "\r\n"),
            ONE.replace('\n', "\r"),
            ONE.replace('\n', " \t\n"),
            ONE.replace('\n', " "),
            ONE.replace('\n', "\\n"),
            ONE.replace('\n', "\n\n"),
            format!("\u{feff}{ONE}"),
            format!("Bag Attributes\n    localKeyID: 01 \n{ONE}\n\n"),
            format!("  {}", ONE.replace('\n', "\n    ")),
        ];
        for text in untidy {
            assert_eq!(bytes(&text), [[1, 2, 3]], "{text:?}");
        }
    }

    #[test]
    fn a_shared_line_hides_no_block() {
        assert_eq!(bytes(&format!("{ONE}{ONE}\u{feff}{ONE}")).len(), 3);
    }

    #[test]
    fn lost_padding_is_put_back() {
        assert_eq!(bytes(&ONE.replace("AQID", "AQI")), [[1, 2]]);
        assert_eq!(bytes(&ONE.replace("AQID", "AQI=")), [[1, 2]]);
    }

    #[test]
    fn damage_is_told_with_its_line() {
        let second = |broken: &str| blocks(&format!("{ONE}\n{broken}")).err();
        let label = || "CERTIFICATE".to_owned();
        assert_eq!(second(&ONE.replacen("-----", "----", 1)), Some(PemError::Marker { line: 4 }));
        assert_eq!(
            second(&ONE.replacen("-----", "\u{2014}", 2)),
            Some(PemError::Marker { line: 4 })
        );
        assert_eq!(second(&ONE.to_lowercase()), Some(PemError::Marker { line: 4 }));
        assert_eq!(second(&ONE[..32]), Some(PemError::Unfinished { label: label(), line: 4 }));
        assert_eq!(
            second(&ONE.replace("END CERTIFICATE", "END PRIVATE KEY")),
            Some(PemError::Mismatch { label: label(), end: "PRIVATE KEY".into(), line: 4 })
        );
        let damaged = |body: &str| match second(&ONE.replace("AQID", body)) {
            Some(PemError::Damaged { line: 4, reason, .. }) => reason,
            other => panic!("{body}: {other:?}"),
        };
        assert!(damaged("AQI*").contains("line 5 of the file"));
        assert!(damaged("AQ==AQ==").contains("after the closing ="));
        assert!(damaged("AQIDA").contains("incomplete"));
        assert!(damaged("").contains("nothing between"));
        let stray = format!("{}\n{}\n", "A".repeat(64), "B".repeat(64));
        assert_eq!(second(&stray), Some(PemError::Stray { line: 4 }));
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let der = [42; 200];
        assert_eq!(bytes(&encode("PRIVATE KEY", &der)), [der]);
    }
}
