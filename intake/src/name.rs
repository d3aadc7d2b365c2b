//! Distinguished names and other public words as one safe line.

use std::fmt::Write;

use super::der::{self, Node};
use super::oid;

/// How much of a name a message shows.
const SHORT: usize = 80;

/// A Name in the order and with the escapes of RFC 4514, attribute names as people know them.
pub(super) fn one_line(name: &[u8]) -> String {
    let Ok((outer, _)) = der::read(name) else { return String::new() };
    let mut parts: Vec<String> = outer.children().map(|set| relative_name(&set)).collect();
    parts.reverse();
    parts.join(",")
}

/// The name for a message: quoted, and cut when it is long.
pub(super) fn quoted(name: &str) -> String {
    let short: String = name.chars().take(SHORT).collect();
    match (short.is_empty(), short.len() < name.len()) {
        (true, _) => "with an empty name".to_owned(),
        (_, true) => format!("\"{short}...\""),
        (_, false) => format!("\"{short}\""),
    }
}

fn relative_name(set: &Node<'_>) -> String {
    let pairs: Vec<String> = set.children().filter_map(|pair| attribute(&pair)).collect();
    pairs.join("+")
}

fn attribute(pair: &Node<'_>) -> Option<String> {
    let mut members = pair.children();
    let identifier = members.required_tag(der::OBJECT_ID).ok()?.content;
    let value = members.next()?;
    let text = match value.tag {
        // UTF8String, PrintableString, IA5String, NumericString, VisibleString
        0x0c | 0x13 | 0x16 | 0x12 | 0x1a => String::from_utf8_lossy(value.content).into_owned(),
        // T61String, in practice Latin-1
        0x14 => value.content.iter().map(|byte| char::from(*byte)).collect(),
        // BMPString
        0x1e => {
            let units =
                value.content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        _ => {
            let mut hex = String::from("#");
            value.raw.iter().take(64).for_each(|byte| {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
            });
            return Some(format!("{}={hex}", attribute_name(identifier)));
        }
    };
    Some(format!("{}={}", attribute_name(identifier), escaped(&text)))
}

fn attribute_name(identifier: &[u8]) -> String {
    let known = match identifier {
        [0x55, 4, 3] => "CN",
        [0x55, 4, 4] => "SN",
        [0x55, 4, 5] => "serialNumber",
        [0x55, 4, 6] => "C",
        [0x55, 4, 7] => "L",
        [0x55, 4, 8] => "ST",
        [0x55, 4, 9] => "street",
        [0x55, 4, 10] => "O",
        [0x55, 4, 11] => "OU",
        [0x55, 4, 12] => "title",
        [0x55, 4, 42] => "GN",
        [0x55, 4, 97] => "organizationIdentifier",
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25] => "DC",
        other => return oid::dotted(other),
    };
    known.to_owned()
}

fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (index, symbol) in value.chars().enumerate() {
        let at_edge =
            (index == 0 && matches!(symbol, ' ' | '#')) || (index == last && symbol == ' ');
        match symbol {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', symbol]),
            _ if at_edge => out.extend(['\\', symbol]),
            _ if is_deceptive(symbol) => push_hex(&mut out, symbol),
            _ => out.push(symbol),
        }
    }
    out
}

/// The text with everything escaped that could forge a line of a log.
pub(super) fn printable(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for symbol in value.chars() {
        if is_deceptive(symbol) { push_hex(&mut out, symbol) } else { out.push(symbol) }
    }
    out
}

fn is_deceptive(symbol: char) -> bool {
    symbol.is_control()
        || matches!(symbol, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_hex(out: &mut String, symbol: char) {
    for byte in symbol.encode_utf8(&mut [0; 4]).bytes() {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\{byte:02X}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pairs: &[(&[u8], u8, &[u8])]) -> String {
        let sets: Vec<u8> = pairs
            .iter()
            .flat_map(|(identifier, tag, value)| {
                let identifier = der::write(der::OBJECT_ID, &[identifier]);
                let value = der::write(*tag, &[value]);
                der::write(der::SET, &[&der::write(der::SEQUENCE, &[&identifier, &value])]).to_vec()
            })
            .collect();
        one_line(&der::write(der::SEQUENCE, &[&sets]))
    }

    #[test]
    fn the_last_part_comes_first_and_values_are_escaped() {
        let text = name(&[(&[0x55, 4, 10], 0x0c, b"Example, Inc"), (&[0x55, 4, 3], 0x13, b"a\nb")]);
        assert_eq!(text, "CN=a\\0Ab,O=Example\\, Inc");
    }

    #[test]
    fn wide_and_unknown_strings_are_shown() {
        assert_eq!(name(&[(&[0x55, 4, 3], 0x1e, &[0, b'x', 0, 0xe9])]), "CN=x\u{e9}");
        assert_eq!(name(&[(&[0x2a, 3], 0x02, &[5])]), "1.2.3=#020105");
        assert_eq!(one_line(b"nonsense"), "");
    }

    #[test]
    fn long_names_are_cut_in_messages() {
        assert!(quoted(&"x".repeat(500)).len() < 100);
        assert_eq!(quoted(""), "with an empty name");
    }
}
