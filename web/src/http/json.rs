//! JSON as it comes: in UTF-8, with a byte order mark or without one (RFC 8259, section 8.1).

/// The text without its mark.
///
/// # Errors
/// Says which encoding it looks like. Nothing of the text is repeated: it may be a password.
pub(crate) fn as_utf8(bytes: &[u8]) -> Result<&str, String> {
    if let Some(encoding) = other_encoding(bytes) {
        return Err(format!("it looks like {encoding}; send it as UTF-8"));
    }
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(text).map_err(|err| {
        let position = err.valid_up_to() + 1;
        format!(
            "its byte {position} is not UTF-8; it looks like Latin-1 or Windows-1252, which PowerShell 5 and old .NET send: send it as UTF-8"
        )
    })
}

/// What the first bytes give away: JSON begins with two ASCII characters, or with one alone.
fn other_encoding(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xff, 0xfe, 0, 0, ..] => "UTF-32 (little endian)",
        [0, 0, 0xfe, 0xff, ..] => "UTF-32 (big endian)",
        [0xff, 0xfe, ..] => "UTF-16 (little endian)",
        [0xfe, 0xff, ..] => "UTF-16 (big endian)",
        [first, 0, 0, 0, ..] if *first != 0 => "UTF-32 (little endian)",
        [0, 0, 0, last, ..] if *last != 0 => "UTF-32 (big endian)",
        [first, 0, ..] if *first != 0 => "UTF-16 (little endian)",
        [0, second, ..] if *second != 0 => "UTF-16 (big endian)",
        [0x1f, 0x8b, ..] => "something compressed with gzip",
        [b'x', 0x01 | 0x5e | 0x9c | 0xda, ..] => "something compressed with deflate",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "something compressed with zstd",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"password": "Grüße1"}"#;

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    fn utf32(text: &str, bytes: fn(u32) -> [u8; 4]) -> Vec<u8> {
        text.chars().flat_map(|c| bytes(u32::from(c))).collect()
    }

    #[test]
    fn a_mark_is_ignored() {
        assert_eq!(as_utf8(TEXT.as_bytes()), Ok(TEXT));
        assert_eq!(as_utf8(format!("\u{feff}{TEXT}").as_bytes()), Ok(TEXT));
        assert_eq!(as_utf8(b"1"), Ok("1"));
        assert_eq!(as_utf8(b""), Ok(""));
        assert_eq!(as_utf8(b"\xef\xbb\xbf"), Ok(""));
    }

    #[test]
    fn other_encodings_are_named() {
        let marked = format!("\u{feff}{TEXT}");
        let latin1: Vec<u8> = TEXT.chars().map(|c| c as u8).collect();
        for (bytes, name) in [
            (utf16(&marked, u16::to_le_bytes), "UTF-16 (little"),
            (utf16(&marked, u16::to_be_bytes), "UTF-16 (big"),
            (utf16(TEXT, u16::to_le_bytes), "UTF-16 (little"),
            (utf16(TEXT, u16::to_be_bytes), "UTF-16 (big"),
            (utf16("1", u16::to_le_bytes), "UTF-16 (little"),
            (utf32(&marked, u32::to_le_bytes), "UTF-32 (little"),
            (utf32(&marked, u32::to_be_bytes), "UTF-32 (big"),
            (utf32(TEXT, u32::to_le_bytes), "UTF-32 (little"),
            (utf32(TEXT, u32::to_be_bytes), "UTF-32 (big"),
            (latin1, "byte 17 is not UTF-8; it looks like Latin-1"),
            (vec![0x1f, 0x8b, 8, 0], "gzip"),
            (vec![0x78, 0x9c, 0xab, 0x56], "deflate"),
            (vec![0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        ] {
            let why = as_utf8(&bytes).unwrap_err();
            assert!(why.contains(name) && why.contains("UTF-8"), "{name}: {why}");
        }
    }
}
