//! Secrets in the text of a configuration: masked where the text is shown, kept where what was shown comes
//! back. What sounds like a secret is one.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use portcullis_web::service::table::{ConfigError, Source};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use toml_parser::lexer::TokenKind;
use zeroize::Zeroizing;

use super::read_document;

/// What stands in place of a secret.
const MASK: &str = "(masked)";

/// The text of `document` with the values of keys that sound like secrets masked; names of files stay. A comment
/// after such a value goes with it, and in other comments the same keys are masked. The result is a
/// configuration as before.
pub(super) fn mask(text: &str, document: &DeTable<'_>) -> String {
    let secrets = secrets(document);
    let ends: BTreeSet<_> = secrets.iter().map(|secret| secret.span.end).collect();
    let wholes: BTreeMap<_, _> =
        secrets.iter().map(|secret| (secret.whole.start, secret.whole.end)).collect();
    let goes = |comment: &Range<usize>| {
        let line = text[..comment.start].rfind('\n').map_or(0, |newline| newline + 1);
        let around = wholes.range(..comment.start).next_back();
        ends.range(line..=comment.start).next().is_some()
            || around.is_some_and(|(_, end)| comment.start < *end)
    };
    let mut edits: Vec<_> =
        secrets.iter().map(|secret| (secret.span.clone(), format!("\"{MASK}\""))).collect();
    for comment in comments(text) {
        if goes(&comment) {
            let before = text[..comment.start].trim_end_matches([' ', '\t']).len();
            edits.push((before..comment.end, String::new()));
        } else if let Some(masked) = masked_comment(&text[comment.clone()]) {
            edits.push((comment, masked));
        }
    }
    edited(text, edits).to_string()
}

/// `new` with each masked secret as `old`, the text in force, has it at the same key of the same tables. Tables
/// of a list are the same if they have the same name. No line moves.
///
/// # Errors
/// `new` is not TOML, or `old` has no such secret.
pub(super) fn restore(file: &str, old: &str, new: &str) -> Result<Zeroizing<String>, ConfigError> {
    let source = Source { file, text: new };
    let document = read_document(&source)?;
    let mut masked = secrets(document.get_ref());
    masked.retain(|secret| secret.value.as_str() == Some(MASK));
    if masked.is_empty() {
        return Ok(Zeroizing::new(new.to_owned()));
    }
    let before = read_document(&Source { file, text: old })?;
    let mut kept = BTreeMap::new();
    for Secret { path, span, value, .. } in secrets(before.get_ref()) {
        let spelling = spelling(&old[span], value);
        // Of two that cannot be told apart, neither is kept.
        kept.entry(path).and_modify(|found| *found = None).or_insert(Some(spelling));
    }
    let mut edits = Vec::new();
    for Secret { path, key, span, .. } in masked {
        let Some(Some(spelling)) = kept.get(&path) else {
            let reason = format!(
                "is \"{MASK}\", and the configuration in force has no such secret to keep; write the secret itself"
            );
            return Err(source.error(span.start, &key, reason));
        };
        edits.push((span, spelling.to_string()));
    }
    Ok(edited(new, edits))
}

/// A value that is, or belongs to, the value of a key that sounds like a secret.
struct Secret<'t> {
    path: Vec<Part<'t>>,
    /// The same for people, as in `service[0].api_token`.
    key: String,
    value: &'t DeValue<'t>,
    span: Range<usize>,
    /// The value of that key: itself, or the list or table around it.
    whole: Range<usize>,
}

/// One step on the way to a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part<'t> {
    Key(&'t str),
    /// In a list, what has this name.
    Named(&'t str),
    /// In a list of so many.
    Numbered {
        index: usize,
        of: usize,
    },
}

fn secrets<'t>(document: &'t DeTable<'t>) -> Vec<Secret<'t>> {
    let mut found = Vec::new();
    walk_table(document, &Way::default(), &mut found);
    found
}

/// How a value was reached.
#[derive(Clone, Default)]
struct Way<'t> {
    path: Vec<Part<'t>>,
    key: String,
    /// The value of the first key that sounds like a secret.
    whole: Option<Range<usize>>,
}

impl<'t> Way<'t> {
    fn to(&self, part: Part<'t>, key: String) -> Self {
        let mut way = Self { key, ..self.clone() };
        way.path.push(part);
        way
    }
}

fn walk_table<'t>(table: &'t DeTable<'t>, way: &Way<'t>, found: &mut Vec<Secret<'t>>) {
    for (key, value) in table.iter() {
        let name: &str = key.get_ref();
        let dot = if way.key.is_empty() { "" } else { "." };
        let mut way = way.to(Part::Key(name), format!("{}{dot}{name}", way.key));
        if way.whole.is_none() && is_secret(name) {
            way.whole = Some(value.span());
        }
        walk(value, way, found);
    }
}

fn walk<'t>(value: &'t Spanned<DeValue<'t>>, way: Way<'t>, found: &mut Vec<Secret<'t>>) {
    match value.get_ref() {
        DeValue::Table(table) => walk_table(table, &way, found),
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let name = value.get_ref().as_table().and_then(|table| table.get("name"));
                let part = match name.and_then(|name| name.get_ref().as_str()) {
                    Some(name) => Part::Named(name),
                    None => Part::Numbered { index, of: values.len() },
                };
                walk(value, way.to(part, format!("{}[{index}]", way.key)), found);
            }
        }
        scalar => {
            if let Way { path, key, whole: Some(whole) } = way {
                found.push(Secret { path, key, value: scalar, span: value.span(), whole });
            }
        }
    }
}

fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = ["password", "passphrase", "secret", "token", "key"];
    words.iter().any(|word| key.ends_with(word))
}

/// How a secret is written, on one line.
fn spelling(written: &str, value: &DeValue<'_>) -> Zeroizing<String> {
    match value.as_str() {
        // JSON spells a string as TOML does, but for this one control character.
        Some(string) if written.contains('\n') => {
            let quoted = Zeroizing::new(serde_json::Value::from(string).to_string());
            Zeroizing::new(quoted.replace('\u{7f}', "\\u007f"))
        }
        _ => Zeroizing::new(written.to_owned()),
    }
}

/// Where the comments stand, each from its `#` to the end of the line.
pub(super) fn comments(text: &str) -> impl Iterator<Item = Range<usize>> {
    let tokens = toml_parser::Source::new(text).lex();
    let comments = tokens.filter(|token| token.kind() == TokenKind::Comment);
    comments.map(|token| token.span().start()..token.span().end())
}

/// A comment with what follows the key of a secret masked; `None` if there is none in it.
fn masked_comment(comment: &str) -> Option<String> {
    let mut keys = comment.match_indices('=').map(|(at, _)| &comment[..at]);
    let before = keys.find(|before| is_secret(before.trim_end().trim_end_matches(['"', '\''])))?;
    Some(format!("{before}= \"{MASK}\""))
}

/// The text with some ranges replaced, none of which overlap.
fn edited(text: &str, mut edits: Vec<(Range<usize>, String)>) -> Zeroizing<String> {
    edits.sort_by_key(|(range, _)| range.start);
    let mut result = Zeroizing::new(String::with_capacity(text.len()));
    let mut done = 0;
    for (range, replacement) in edits {
        result.push_str(&text[done..range.start]);
        result.push_str(&replacement);
        done = range.end;
    }
    result.push_str(&text[done..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let masked = mask(text, DeTable::parse(text).expect(text).get_ref());
        DeTable::parse(&masked).unwrap_or_else(|err| panic!("{err}: {masked}"));
        masked
    }

    fn restored(old: &str, new: &str) -> Result<String, String> {
        match restore("test.toml", old, new) {
            Ok(text) => Ok(text.to_string()),
            Err(err) => Err(err.to_string()),
        }
    }

    #[test]
    fn secrets_are_masked_and_files_are_not() {
        for (text, expected) in [
            ("password = \"x\"\n", "password = \"(masked)\"\n"),
            ("\"api_token\"='x=y'", "\"api_token\"=\"(masked)\""),
            ("a.\"API.Token\" = 5 # five", "a.\"API.Token\" = \"(masked)\""),
            (
                "service = [{ kind = \"k\", api_token = \"s\" }] # s\nx = 1 # one",
                "service = [{ kind = \"k\", api_token = \"(masked)\" }]\nx = 1 # one",
            ),
            (
                "watch = { certificate = \"/c\", key = \"/k\" }",
                "watch = { certificate = \"/c\", key = \"(masked)\" }",
            ),
            ("monitoring_token_file = \"/etc/t\"", "monitoring_token_file = \"/etc/t\""),
            ("secret = \"\"\"\nof\ntwo lines\"\"\" # x\na = 1", "secret = \"(masked)\"\na = 1"),
            ("token = ['''\na''', \"b\"]", "token = [\"(masked)\", \"(masked)\"]"),
            ("token = [\n  # \"a\",\n  \"b\", # c\n]", "token = [\n\n  \"(masked)\",\n]"),
            (
                "[token]\na = 1\nb = { c = 2 }",
                "[token]\na = \"(masked)\"\nb = { c = \"(masked)\" }",
            ),
            ("# token = \"old\"\n#x", "# token = \"(masked)\"\n#x"),
            (
                "a = \"# token = 'x'\" # password='y'",
                "a = \"# token = 'x'\" # password= \"(masked)\"",
            ),
            (
                "[[a]]\r\ntoken = 1\r\n[[a]]\r\ntoken = 2 # x\r\n",
                "[[a]]\r\ntoken = \"(masked)\"\r\n[[a]]\r\ntoken = \"(masked)\"\r\n",
            ),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn what_was_masked_comes_back_as_it_was() {
        for text in [
            "",
            "a = 1 # one",
            "password = \"x\"",
            "\"api_token\"='x=\\y'\n[b]\nx.key = 0x10\nsecret = [1, \"2\"]",
            "[[service]]\nname = \"a\"\ntoken = \"1\"\n[[service]]\nname = \"b\"\ntoken = \"2\"",
            "service = [{ token = 1 }, { token = 2 }]",
            "[token]\na = { b = true }",
        ] {
            assert_eq!(restored(text, &masked(text)), Ok(text.to_owned()));
        }
    }

    #[test]
    fn secrets_are_kept_by_table_and_key_and_in_lists_by_name() {
        let service =
            |name: &str, token: &str| format!("[[service]]\nname = \"{name}\"\ntoken = {token}\n");
        let old = service("a", "'one'") + &service("b", "\"two\"") + "[notes]\nkey = \"three\"\n";
        let new = "notes = { more = 1, key = \"(masked)\" }\n".to_owned()
            + &service("b", "\"(masked)\"")
            + &service("c", "\"mine\"")
            + &service("a", "'(masked)'");
        let expected = "notes = { more = 1, key = \"three\" }\n".to_owned()
            + &service("b", "\"two\"")
            + &service("c", "\"mine\"")
            + &service("a", "'one'");
        assert_eq!(restored(&old, &new), Ok(expected));
    }

    #[test]
    fn a_secret_of_several_lines_moves_no_line() {
        let old = "token = \"\"\"\na \\\"b\\\"\n\\u007f\\u0001 ü\"\"\"";
        let kept = restored(old, "token = \"(masked)\"\nb = 1").unwrap();
        assert_eq!(kept.lines().count(), 2);
        let value = |text: &str| {
            let document = DeTable::parse(text).expect(text);
            document.get_ref()["token"].get_ref().as_str().map(str::to_owned)
        };
        assert_eq!(value(&kept), value(old));
    }

    #[test]
    fn a_mask_with_nothing_behind_it_is_refused() {
        for (old, new, expected) in [
            ("", "\npassword = \"(masked)\"", "test.toml:2: password: is \"(masked)\", and"),
            ("[a]\ntoken = 1", "[b]\ntoken = \"(masked)\"", "test.toml:2: b.token: is"),
            (
                "[[service]]\nname = \"a\"\ntoken = 1",
                "[[service]]\nname = \"b\"\ntoken = \"(masked)\"",
                "test.toml:3: service[0].token: is",
            ),
            (
                "[[service]]\nname = \"a\"\ntoken = 1\n[[service]]\nname = \"a\"\ntoken = 2",
                "[[service]]\nname = \"a\"\ntoken = \"(masked)\"",
                "test.toml:3: service[0].token: is",
            ),
            ("token = [1, 2]", "token = [\"(masked)\"]", "test.toml:1: token[0]: is"),
            ("password = 1", "password = \"(masked)\"\na = = 1", "test.toml:2: TOML:"),
        ] {
            let message = restored(old, new).expect_err(new);
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn a_mask_under_another_key_is_a_word_like_any_other() {
        assert_eq!(restored("", "a = \"(masked)\""), Ok("a = \"(masked)\"".into()));
    }
}
