//! What a file says to one service, without order, comments and spelling, so that it can be compared with
//! what another file says.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
    sync::Arc,
};

use serde::Serialize;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

/// The tables of one service, by the names that people know. There are secrets in it, so it has no `Debug`;
/// nothing but names of keys leaves it.
#[derive(Clone, Default)]
pub(super) struct Said(BTreeMap<String, Entries>);

/// What one table says, key by key; services that share a table share it.
pub(super) type Entries = Arc<BTreeMap<String, Entry>>;

/// What a table says under one key.
pub(super) struct Entry {
    canonical: Zeroizing<String>,
    line: usize,
}

/// Where the lines of a text begin.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(newlines).collect())
    }

    fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|begin| *begin <= offset)
    }
}

/// What a table of a text with these lines says.
pub(super) fn entries(table: Option<&DeTable<'_>>, lines: &Lines) -> Entries {
    let entries = table.into_iter().flat_map(|table| table.iter()).map(|(key, value)| {
        let mut text = Zeroizing::new(String::new());
        canonical(value.get_ref(), &mut text);
        let line = lines.line(key.span().start);
        (key.get_ref().to_string(), Entry { canonical: text, line })
    });
    Arc::new(entries.collect())
}

/// A table that says something else to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct TableChange {
    /// As in `[notes]`.
    table: String,
    /// Its keys that say something else, or are new, or gone.
    keys: Vec<String>,
    /// Where the first of them stands; none if all are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

impl Said {
    /// Adds what is said in a table that people know as `name`.
    pub(super) fn add(&mut self, name: String, entries: Entries) {
        self.0.insert(name, entries);
    }

    /// The tables in which `next` says something else.
    pub(super) fn changes(&self, next: &Self) -> Vec<TableChange> {
        let gone = self.0.keys().filter(|name| !next.0.contains_key(*name));
        let nothing = Entries::default();
        let compare = |name: &String| {
            let before = self.0.get(name).unwrap_or(&nothing);
            change(name, before, next.0.get(name).unwrap_or(&nothing))
        };
        next.0.keys().chain(gone).filter_map(compare).collect()
    }
}

fn change(table: &str, before: &Entries, next: &Entries) -> Option<TableChange> {
    let gone = before.keys().filter(|key| !next.contains_key(*key));
    let differs = |key: &&String| {
        let [before, next] = [before, next].map(|entries| entries.get(*key));
        before.map(|entry| &entry.canonical) != next.map(|entry| &entry.canonical)
    };
    let keys: Vec<String> = next.keys().chain(gone).filter(differs).cloned().collect();
    let line = keys.iter().filter_map(|key| next.get(key)).map(|entry| entry.line).min();
    (!keys.is_empty()).then(|| TableChange { table: table.to_owned(), keys, line })
}

impl fmt::Display for TableChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} changed: {}", self.table, self.keys.join(", "))?;
        self.line.map_or(Ok(()), |line| write!(f, " (line {line})"))
    }
}

/// One spelling for all that mean the same.
fn canonical(value: &DeValue<'_>, text: &mut String) {
    // Writing into a string cannot fail.
    let _ = match value {
        DeValue::String(string) => write!(text, "{string:?}"),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => write!(text, "{number}"),
            Err(_) => write!(text, "{integer}"),
        },
        DeValue::Float(float) => match float.as_str().parse::<f64>() {
            Ok(number) => write!(text, "{number:?}"),
            Err(_) => write!(text, "{float}"),
        },
        DeValue::Boolean(boolean) => write!(text, "{boolean}"),
        DeValue::Datetime(time) => write!(text, "{time}"),
        DeValue::Array(values) => {
            text.push('[');
            for value in values.iter() {
                canonical(value.get_ref(), text);
                text.push(',');
            }
            text.push(']');
            Ok(())
        }
        DeValue::Table(table) => {
            canonical_table(table, text);
            Ok(())
        }
    };
}

/// The same for a table or a whole document.
pub(super) fn canonical_table(table: &DeTable<'_>, text: &mut String) {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by(|(one, _), (other, _)| one.get_ref().cmp(other.get_ref()));
    text.push('{');
    for (key, value) in entries {
        let _ = write!(text, "{:?}=", key.get_ref());
        canonical(value.get_ref(), text);
        text.push(',');
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Said {
        let document = DeTable::parse(text).expect("TOML");
        let mut said = Said::default();
        said.add("[t]".into(), entries(Some(document.get_ref()), &Lines::of(text)));
        said
    }

    fn changes(before: &str, next: &str) -> String {
        let changes = said(before).changes(&said(next));
        changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn spelling_order_and_comments_are_no_change() {
        for (one, other) in [
            ("a = 1\nb = 2", "# c\nb=2\n\n\na   =  1 # d"),
            ("a = 'x\\y'", "a = \"x\\\\y\""),
            ("a = \"x\\ny\"", "a = \"\"\"\nx\ny\"\"\""),
            ("a = 16", "a = 0x1_0"),
            ("a = 1e3", "a = 1000.0"),
            ("a = [1, 2]", "a = [\n  1,\n  2,\n]"),
            ("a = { b = 1, c = { d = true } }", "[a]\nc.d = true\nb = 1"),
            ("a = { b = 1 }", "a.\"b\" = 1"),
            ("a = [{ b = 1 }]", "[[a]]\nb = 1"),
        ] {
            assert_eq!(changes(one, other), "", "{one}\n{other}");
        }
    }

    #[test]
    fn keys_that_changed_are_named_with_the_first_line() {
        for (before, next, told) in [
            ("a = 1", "a = 2", "[t] changed: a (line 1)"),
            ("a = 1", "a = \"1\"", "[t] changed: a (line 1)"),
            ("a = 1", "a = 1.0", "[t] changed: a (line 1)"),
            ("a = [1, 2]", "a = [2, 1]", "[t] changed: a (line 1)"),
            ("a = [1, [2]]", "a = [[1], 2]", "[t] changed: a (line 1)"),
            ("a = \"1,\"", "a = ['1', '']", "[t] changed: a (line 1)"),
            ("", "\n\nb = 1", "[t] changed: b (line 3)"),
            ("a = 1\nb = 2", "b = 2", "[t] changed: a"),
            ("a = 1\nb = 2\nc = 3", "\nc = 4\n[b]\nd = 1", "[t] changed: b, c, a (line 2)"),
        ] {
            assert_eq!(changes(before, next), told, "{before}\n{next}");
        }
    }
}
