//! From the bytes of a field to text, past what editors and operating systems add to files.

use zeroize::Zeroizing;

/// The field as text: UTF-16 decoded, UTF-8 taken as it is, other bytes replaced.
///
/// Bytes outside ASCII only matter around the blocks, in comments and names, so replacing
/// them loses nothing.
pub(super) fn decode(bytes: &[u8]) -> Zeroizing<String> {
    let units = |unit: fn([u8; 2]) -> u16| {
        let units: Zeroizing<Vec<u16>> =
            Zeroizing::new(bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect());
        let mut text = Zeroizing::new(String::with_capacity(units.len() * 3));
        for decoded in char::decode_utf16(units.iter().copied()) {
            text.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        text
    };
    match bytes {
        [0xff, 0xfe, ..] => units(u16::from_le_bytes),
        [0xfe, 0xff, ..] => units(u16::from_be_bytes),
        // The mark may be lost; PEM begins with ASCII, so every other byte is zero then.
        [first, 0, second, 0, ..] if is_text(*first) && is_text(*second) => {
            units(u16::from_le_bytes)
        }
        [0, first, 0, second, ..] if is_text(*first) && is_text(*second) => {
            units(u16::from_be_bytes)
        }
        _ => {
            let mut text = Zeroizing::new(String::with_capacity(bytes.len()));
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                if !chunk.invalid().is_empty() {
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
            text
        }
    }
}

/// Whether there is nothing to see in `text`.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|symbol| is_gap(symbol) || symbol == '\0')
}

/// White space, and the invisible characters that web pages and editors leave behind.
pub(super) fn is_gap(symbol: char) -> bool {
    symbol.is_whitespace()
        || matches!(symbol, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}')
}

/// The number of the line that follows `text`, counting from `first`.
///
/// LF, CR LF and a lone CR end a line, as in files of Unix, Windows and old Macs.
pub(super) fn line_after(text: &str, first: usize) -> usize {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(index, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(index + 1) != Some(&b'\n'),
        _ => false,
    });
    first + ends.count()
}

/// The lines of `text`, whatever ends them.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(end) = text.find(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        let ending = if text[end..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[end + ending..]);
        Some(&text[..end])
    })
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~')
}

/// Whether the bytes are DER (or BER) and no text: a SEQUENCE begins with the digit 0.
pub(super) fn is_binary_structure(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x30) && bytes.iter().take(8).any(|byte| !is_text(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_decoded_with_and_without_its_mark() {
        let units: Vec<u16> = "-----BEGIN".encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        assert_eq!(*decode(&little), "-----BEGIN");
        assert_eq!(*decode(&big), "-----BEGIN");
        assert_eq!(*decode(&[&[0xff, 0xfe], &little[..]].concat()), "\u{feff}-----BEGIN");
    }

    #[test]
    fn lines_end_in_every_known_way() {
        assert_eq!(lines("a\r\nb\rc\nd").collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert_eq!(line_after("a\r\nb\rc\nd", 1), 4);
    }

    #[test]
    fn text_that_begins_with_a_zero_is_no_structure() {
        assert!(!is_binary_structure(b"0 s:CN = example"));
        assert!(is_binary_structure(&[0x30, 0x82, 1, 2]));
    }
}
