//! Base64 around whole files, as secrets of Kubernetes, environment variables and CI systems keep
//! them: alone, or as the values of a YAML or JSON document.

use zeroize::Zeroizing;

use super::limits::MAX_BLOCKS;
use super::pem;
use super::text;

/// The values in `text` that decode, in their order; at most so many as a field may have blocks.
///
/// A value is a run of base64 characters that nothing but blanks, quotes, commas and brackets
/// surrounds. It goes on over line ends and indentation, but not over a key of the document.
pub(super) fn values(text: &str) -> Vec<Zeroizing<Vec<u8>>> {
    let text = Zeroizing::new(without_escapes(text));
    let mut values = Vec::new();
    let mut digits = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest: &str = &text;
    let mut before = None;
    while !rest.is_empty() && values.len() < MAX_BLOCKS {
        let gap = rest.find(is_digit).unwrap_or(rest.len());
        if rest[..gap].chars().any(|symbol| !text::is_gap(symbol)) {
            values.extend(decoded(&mut digits));
        }
        before = rest[..gap].chars().next_back().or(before);
        rest = &rest[gap..];
        let end = rest.find(|symbol| !is_digit(symbol)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if stands_alone(word, before, after) {
            digits.push_str(word);
        } else {
            values.extend(decoded(&mut digits));
        }
        before = word.chars().next_back().or(before);
        rest = after;
    }
    values.extend(decoded(&mut digits));
    values.truncate(MAX_BLOCKS);
    values
}

/// Line ends that JSON spells out; the document that Kubernetes keeps in an annotation holds old
/// values, so it is left out.
fn without_escapes(text: &str) -> String {
    let is_json = text.trim_start_matches(text::is_gap).starts_with(['{', '[']);
    let text = if is_json {
        text.to_owned()
    } else {
        let lines = text::lines(text).filter(|line| !line.trim_start().starts_with('{'));
        lines.collect::<Vec<_>>().join("\n")
    };
    text.replace("\\r", "").replace("\\n", "\n")
}

/// Whether a word can be a value or a part of one: no key, no part of a name or a number.
fn stands_alone(word: &str, before: Option<char>, after: &str) -> bool {
    let opens = |symbol: char| text::is_gap(symbol) || "\"'`:=,[{(".contains(symbol);
    let closes = |symbol: char| text::is_gap(symbol) || "\"'`=,]});".contains(symbol);
    let after_quote = after.trim_start_matches(['"', '\'']).trim_start();
    let is_key =
        after.starts_with(':') || after.starts_with(['"', '\'']) && after_quote.starts_with(':');
    !is_key
        && before.is_none_or(opens)
        && after.chars().next().is_none_or(closes)
        && word.bytes().any(|byte| byte != b'-')
}

fn is_digit(symbol: char) -> bool {
    // Not the padding, which also stands behind the names of variables; it can be told anyway.
    symbol.is_ascii_alphanumeric() || matches!(symbol, '+' | '/' | '-' | '_')
}

/// Decodes what was collected, if that is long enough to be worth it, and empties it.
fn decoded(digits: &mut Zeroizing<String>) -> Option<Zeroizing<Vec<u8>>> {
    let decoded = pem::decode_bare(digits);
    digits.clear();
    decoded
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    const FIRST: &[u8] =
        b"-----BEGIN FIRST-----, and enough text to be worth decoding \xff\xfb\xef\n";
    const SECOND: &[u8] = b"-----BEGIN SECOND-----, and enough text to be worth it, once more\n";

    fn found(text: &str) -> Vec<Vec<u8>> {
        values(text).into_iter().map(|value| value.to_vec()).collect()
    }

    fn folded(text: &str, width: usize, between: &str) -> String {
        let lines: Vec<_> = text.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
        lines.join(between)
    }

    #[test]
    fn values_are_found_in_the_documents_that_people_have() {
        let (one, two) = (STANDARD.encode(FIRST), STANDARD.encode(SECOND));
        let line = folded(&one, 20, "\n");
        for text in [
            one.clone(),
            format!("{one}\n"),
            format!("\"{one}\""),
            format!("'{one}',\r\n"),
            line.clone(),
            folded(&one, 76, "\r\n"),
            folded(&one, 64, "\\n"),
            URL_SAFE_NO_PAD.encode(FIRST),
            format!("tls.crt: {one}"),
            format!("tls.crt: >-\n  {}\n", folded(&one, 60, "\n  ")),
            format!("TLS_CRT={one}"),
            format!("# exported\nTLS_CRT=\"{one}\"\n"),
        ] {
            assert_eq!(found(&text), [FIRST], "{text}");
        }
        let annotation = format!("{{\"data\":{{\"tls.crt\":\"{two}\"}}}}");
        for text in [
            format!("apiVersion: v1\nkind: Secret\ndata:\n  tls.crt: {one}\n  tls.key: {two}\n"),
            format!("data:\n  tls.crt: {one}\n  tls.key: {two}\nkind: Secret\n---\n"),
            format!("data: {{tls.crt: {one}, tls.key: {two}}}\n"),
            format!("data:\n  ca: {one}\n  key: |\n    {}\n", folded(&two, 40, "\n    ")),
            format!(
                "{{\"kind\":\"Secret\",\"data\":{{\"tls.crt\":\"{one}\",\"tls.key\": \"{two}\"}}}}"
            ),
            format!("{{\n \"data\" : {{\n  \"a\" : \"{one}\",\n  \"b\" : \"{two}\"\n }}\n}}"),
            format!(
                "data:\n  tls.crt: {one}\n  tls.key: {two}\nmetadata:\n  annotations:\n    last: |\n      {annotation}\n"
            ),
            format!("{one}\n\n\"{two}\"\n"),
        ] {
            assert_eq!(found(&text), [FIRST, SECOND], "{text}");
        }
    }

    #[test]
    fn what_is_no_value_is_passed_over() {
        for text in ["", "hello", "uid: 0b1c7c1e-0000-4000-8000-1234567890ab", &"-".repeat(90)] {
            assert!(found(text).is_empty(), "{text}");
        }
        let many = format!("{}\n,", STANDARD.encode(FIRST)).repeat(200);
        assert_eq!(found(&many).len(), MAX_BLOCKS);
    }
}
