//! What goes to disk when another configuration takes the place of the one in force: what somebody wrote into
//! the file stays where the new one says the same.

use std::collections::{BTreeMap, VecDeque};

use toml::de::DeTable;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table};
use zeroize::Zeroizing;

use super::{said::canonical_table, secrets::comments};

/// The text to write in place of `old` so that it says what `new` says. A `new` with comments is somebody's work,
/// and stays as it is. One without, as programs make it, takes over comments and spelling of what it leaves as it
/// was; what is new in it comes at the end.
pub(super) fn written(old: &str, new: &str) -> Zeroizing<String> {
    let taken_over = || merged(old, new).filter(|text| meaning(text) == meaning(new));
    let own = comments(new).next().is_some();
    let text = if own { None } else { taken_over() };
    text.unwrap_or_else(|| Zeroizing::new(new.to_owned()))
}

/// What a document says, in one spelling; `None` if it is no TOML.
fn meaning(text: &str) -> Option<Zeroizing<String>> {
    let document = DeTable::parse(text).ok()?;
    let mut canonical = Zeroizing::new(String::new());
    canonical_table(document.get_ref(), &mut canonical);
    Some(canonical)
}

fn merged(old: &str, new: &str) -> Option<Zeroizing<String>> {
    let mut document: DocumentMut = old.parse().ok()?;
    let new: DocumentMut = new.parse().ok()?;
    make_room(&mut document, new.as_table());
    merge_table(document.as_table_mut(), new.as_table());
    forget_positions(document.as_table_mut());
    let text = Zeroizing::new(document.to_string());
    Some(with_head(head(old), text))
}

/// Puts the comments at the end of the file before the first table that comes after them.
fn make_room(document: &mut DocumentMut, new: &Table) {
    let is_new = |key: &str| !document.contains_key(key);
    let key = new.iter().find(|(key, item)| item.is_table() && is_new(key)).map(|(key, _)| key);
    let trailing = document.trailing().as_str().unwrap_or_default().to_owned();
    if let Some(key) = key.filter(|_| !trailing.trim().is_empty()) {
        let mut table = Table::new();
        table.decor_mut().set_prefix(format!("{}\n\n", trailing.trim_end()));
        document.insert(key, Item::Table(table));
        document.set_trailing("");
    }
}

fn merge_table(old: &mut Table, new: &Table) {
    old.retain(|key, _| new.contains_key(key));
    for (key, item) in new.iter() {
        match old.get_mut(key) {
            Some(found) if says(found) == says(item) => {}
            Some(found) => merge(found, item),
            None => {
                old.insert(key, item.clone());
            }
        }
    }
    if old.is_empty() {
        // What stood below it or was written with dots has kept it there; now its header has to.
        old.set_implicit(false);
        old.set_dotted(false);
    }
}

fn merge(old: &mut Item, new: &Item) {
    match (&mut *old, new) {
        (Item::Table(old), Item::Table(new)) => merge_table(old, new),
        (Item::ArrayOfTables(old), Item::ArrayOfTables(new)) => merge_tables(old, new),
        (Item::Value(old), Item::Value(new)) => {
            let around = old.decor().clone();
            *old = new.clone();
            *old.decor_mut() = around;
        }
        (old, new) => *old = new.clone(),
    }
}

/// Tables of a list are the same if they have the same name, or without one if they say the same.
fn merge_tables(old: &mut ArrayOfTables, new: &ArrayOfTables) {
    let mut before: BTreeMap<_, VecDeque<Table>> = BTreeMap::new();
    for table in old.iter() {
        before.entry(identity(table)).or_default().push_back(table.clone());
    }
    old.clear();
    for table in new.iter() {
        let found = before.get_mut(&identity(table)).and_then(VecDeque::pop_front);
        let found = found.map(|mut found| {
            merge_table(&mut found, table);
            found
        });
        old.push(found.unwrap_or_else(|| table.clone()));
    }
}

/// What makes tables of a list the same.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Name(String),
    Contents(Option<String>),
}

fn identity(table: &Table) -> Identity {
    match table.get("name").and_then(Item::as_str) {
        Some(name) => Identity::Name(name.to_owned()),
        None => Identity::Contents(says(&Item::Table(table.clone())).as_deref().cloned()),
    }
}

/// What an item says, in one spelling.
fn says(item: &Item) -> Option<Zeroizing<String>> {
    let mut document = DocumentMut::new();
    document.insert("it", Item::Value(item.clone().into_value().ok()?));
    meaning(&Zeroizing::new(document.to_string()))
}

/// Lets the order of the keys decide where tables stand, since those of two files have no common positions.
fn forget_positions(table: &mut Table) {
    table.set_position(None);
    for (_, item) in table.iter_mut() {
        match item {
            Item::Table(table) => forget_positions(table),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(forget_positions),
            Item::Value(_) | Item::None => {}
        }
    }
}

/// The comments at the beginning of a file that belong to the file, not to what follows: an empty line ends them.
fn head(text: &str) -> &str {
    let mut end = 0;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        match line.trim() {
            "" => end = at,
            comment if comment.starts_with('#') => {}
            _ => break,
        }
    }
    let head = &text[..end];
    if head.contains('#') { head } else { "" }
}

/// The text with the head at its beginning, whatever became of what the head stood before.
fn with_head(head: &str, text: Zeroizing<String>) -> Zeroizing<String> {
    if text.starts_with(head) {
        return text;
    }
    let rest = Zeroizing::new(text.replacen(head, "", 1));
    Zeroizing::new(format!("{head}{}", *rest))
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;

    const OLD: &str = r#"# Box 7, ask Ada.

# Two days, for the night shift.
drain_timeout = "48h" # hours

[limits] # few
# Half of them.
connections = 1_000
streams_per_address = 10 # each

# The front.
[[listener]]
name = "http" # plain
address = "[::]:80"
services = [
    "security", # always
]

[[listener]]
# The back.
name = "https"
address = "[::]:443"
tls = true
services = ["security"]

# Nobody knows why.
[log]
format = "json"
# files = 3
"#;

    fn taken_over(old: &str, new: &str) -> String {
        let text = merged(old, new).expect("TOML");
        assert_eq!(meaning(&text), meaning(new), "{old}\n===\n{new}\n===\n{}", *text);
        assert_eq!(written(old, new), text);
        text.to_string()
    }

    /// As a program writes it: the comments are gone.
    fn bare(text: &str) -> String {
        let mut bare = text.to_owned();
        for comment in comments(text).collect::<Vec<_>>().into_iter().rev() {
            bare.replace_range(comment, "");
        }
        bare
    }

    #[test]
    fn a_text_that_says_the_same_leaves_the_file_as_it_is() {
        assert_eq!(taken_over(OLD, &bare(OLD)), OLD);
        assert_eq!(*written(OLD, OLD), OLD);
    }

    #[test]
    fn a_text_with_comments_is_written_as_it_is() {
        let new = "# Mine.\n[log]\nformat = \"text\"\n";
        assert_eq!(*written(OLD, new), new);
        assert_eq!(*written("not = = TOML", "a = 1"), "a = 1");
    }

    #[test]
    fn what_changes_leaves_the_rest_its_comments() {
        let new = bare(OLD)
            .replace("48h", "24h")
            .replace("1_000", "2000")
            .replace("[::]:80", "[::]:8080")
            .replace("[log]\nformat = \"json\"", "")
            + "[power]\ndelay = \"1s\"\n";
        let expected = OLD
            .replace("48h", "24h")
            .replace("1_000", "2000")
            .replace("[::]:80", "[::]:8080")
            .replace("\n# Nobody knows why.\n[log]\nformat = \"json\"\n", "")
            + "\n[power]\ndelay = \"1s\"\n";
        assert_eq!(taken_over(OLD, &new), expected);
    }

    #[test]
    fn listeners_come_and_go_and_change_places() {
        let (http, https) = ("# The front.\n[[listener]]\nname = \"http\" # plain", "# The back.");
        let listener = |name: &str| format!("[[listener]]\nname = \"{name}\"\n");
        let text = taken_over(OLD, &(listener("https") + &listener("new") + &listener("http")));
        let places = [https, "name = \"new\"", http].map(|part| text.find(part));
        assert!(places.is_sorted() && places[0].is_some(), "{text}");
        let text = taken_over(OLD, &listener("new"));
        assert!(text.starts_with("# Box 7, ask Ada.\n\n") && !text.contains("front"), "{text}");
        assert_eq!(taken_over(OLD, ""), "# Box 7, ask Ada.\n\n# files = 3\n");
    }

    /// A small document, in one of many spellings.
    fn document(random: &mut StdRng, commented: bool) -> String {
        let mut text = String::new();
        let mut keys = Keys { random, commented, table: String::new(), text: &mut text };
        keys.some("");
        for name in ["a", "b", "c"] {
            match keys.random.random_range(0..8) {
                0 => keys.table(&format!("[{name}]")),
                1 => {
                    keys.table(&format!("[{name}]"));
                    keys.table(&format!("[{name}.a]"));
                }
                2 => keys.table(&format!("[{name}.b]")),
                3 | 4 => {
                    for _ in 0..keys.random.random_range(1..4) {
                        keys.table(&format!("[[{name}]]"));
                        if keys.random.random_bool(0.3) {
                            keys.table(&format!("[{name}.sub]"));
                        }
                    }
                }
                _ => {}
            }
        }
        keys.comment("");
        text
    }

    struct Keys<'r> {
        random: &'r mut StdRng,
        commented: bool,
        table: String,
        text: &'r mut String,
    }

    impl Keys<'_> {
        fn comment(&mut self, before: &str) {
            if self.commented && self.random.random_bool(0.3) {
                let gap = if self.random.random_bool(0.3) { "\n" } else { "" };
                let number: u16 = self.random.random();
                self.text.push_str(&format!("{before}# {number}\n{gap}"));
            } else if !before.is_empty() {
                self.text.push('\n');
            }
        }

        fn table(&mut self, header: &str) {
            self.comment("");
            self.table = header.to_owned();
            self.text.push_str(header);
            self.comment(" ");
            self.some("k");
        }

        fn some(&mut self, prefix: &str) {
            for key in ["x", "y", "name", "\"q r\""] {
                if !self.random.random_bool(0.5) {
                    continue;
                }
                self.comment("");
                let value = match self.random.random_range(0..6) {
                    _ if key == "name" => format!("\"{}\"", self.random.random_range(0..3)),
                    0 => "1".to_owned(),
                    1 => "0x1".to_owned(),
                    2 => "[1, 2]".to_owned(),
                    3 => "{ u = 1, v.w = true }".to_owned(),
                    4 => "\"\"\"\n# no comment\"\"\"".to_owned(),
                    _ => "'s'".to_owned(),
                };
                let dotted = if key == "x" && self.random.random_bool(0.3) { ".d" } else { "" };
                let prefix = if key == "name" { "" } else { prefix };
                let key = if prefix.is_empty() { key.to_owned() } else { key.replace('x', "kx") };
                self.text.push_str(&format!("{key}{dotted} = {value}"));
                self.comment(" ");
            }
        }
    }

    #[test]
    fn whatever_is_taken_over_the_text_says_what_the_new_one_says() {
        let mut random = StdRng::seed_from_u64(7);
        for round in 0..1000 {
            let old = document(&mut random, true);
            let new = document(&mut random, false);
            let text = written(&old, &new);
            assert_eq!(meaning(&text), meaning(&new), "{round}\n{old}\n===\n{new}");
            taken_over(&old, &new);
            // And nothing is lost when it is written back.
            assert_eq!(taken_over(&old, &bare(&old)), old, "{round}");
        }
    }
}
