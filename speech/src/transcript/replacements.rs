//! Replacements of words, which anybody may ask for: their number, length and compiled size, and
//! what it costs to apply them, are bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use regex_automata::{
    nfa::thompson::{
        self, NFA, WhichCaptures,
        backtrack::{self, BoundedBacktracker, Cache},
    },
    util::syntax,
};
use serde::Deserialize;

use super::ecmascript::{Literal, translate};

/// Rules in a configuration.
const MOST_RULES: usize = 1_000;
/// Those of them that are patterns.
const MOST_PATTERNS: usize = 200;
/// Bytes of what a rule replaces, and of what it puts there.
const LONGEST_PART: usize = 500;
/// Bytes of all patterns of a configuration together: what is compiled small may be slow to read.
const LONGEST_PATTERNS: usize = 16 << 10;
/// Bytes of one pattern once it is compiled …
const LARGEST_PATTERN: usize = 256 << 10;
/// … and of all of them.
const LARGEST_PATTERNS: usize = 2 << 20;
/// Bytes of a word after its replacement; a rule that would make it longer does not apply.
const LONGEST_RESULT: usize = 1_000;
/// Groups in groups.
const DEEPEST: u32 = 50;
/// What a search may remember. A word that is too long for a pattern of this size is not found.
const VISITED: usize = 256 << 10;
/// Words whose replacement is remembered, so that a pattern that is slow is slow once.
const REMEMBERED: usize = 1_000;
/// Bytes of a word that is remembered.
const LONGEST_REMEMBERED: usize = 100;

/// A rule as it was asked for: `from` is a word, or a pattern of ECMAScript between slashes, which
/// the flags g, i, m, s and u may follow.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub from: String,
    pub to: String,
}

/// Where the rules stand in a configuration, of a job and of a session alike.
const KEY: &str = "transcription_config.transcript_filtering_config.replacements";

/// Why rules are refused. The text begins with the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{KEY} has {0} entries; {MOST_RULES} are the most")]
    TooMany(usize),
    #[error("{KEY}[{0}] is one pattern too many; {MOST_PATTERNS} are the most")]
    TooManyPatterns(usize),
    #[error("{KEY}[{index}].{part} has {length} bytes; {LONGEST_PART} are the most")]
    TooLong { index: usize, part: &'static str, length: usize },
    #[error(
        "{KEY}[{0}] is too much: with it the patterns have more than {LONGEST_PATTERNS} bytes, the most of all together"
    )]
    PatternsTooLong(usize),
    #[error(
        "{KEY}[{index}].from is a pattern that is too large once it is compiled; {most} bytes are the most {of}"
    )]
    TooLarge { index: usize, most: usize, of: &'static str },
    #[error(
        "{KEY}[{index}].from is not a regular expression: {reason}; correct it, or leave the slash at its beginning out if it is a word"
    )]
    NotRegular { index: usize, reason: String },
}

/// Rules that are within the bounds but for the size of their patterns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Checks number and length, which is cheap.
    ///
    /// # Errors
    /// Names the rule, by its index from 0, and the bound.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > MOST_RULES {
            return Err(RuleError::TooMany(rules.len()));
        }
        let (mut patterns, mut bytes) = (0, 0);
        for (index, rule) in rules.iter().enumerate() {
            for (part, text) in [("from", &rule.from), ("to", &rule.to)] {
                let length = text.len();
                if length > LONGEST_PART {
                    return Err(RuleError::TooLong { index, part, length });
                }
            }
            // What is none is told when the patterns are compiled.
            if let Ok(Some(literal)) = Literal::parse(&rule.from) {
                patterns += 1;
                bytes += literal.pattern.len();
            }
            if patterns > MOST_PATTERNS {
                return Err(RuleError::TooManyPatterns(index));
            }
            if bytes > LONGEST_PATTERNS {
                return Err(RuleError::PatternsTooLong(index));
            }
        }
        Ok(Self(rules))
    }

    /// Whether compiling them is work.
    #[must_use]
    pub fn have_patterns(&self) -> bool {
        self.0.iter().any(|rule| !matches!(Literal::parse(&rule.from), Ok(None)))
    }

    /// Compiles the patterns: work of up to a second, for a thread that may block.
    ///
    /// # Errors
    /// A pattern is too large, or none. Look-around and back references, which ECMAScript has, are
    /// not understood: they could make a pattern take for ever.
    pub fn compile(&self) -> Result<Replacements, RuleError> {
        let mut literals: HashMap<String, String> = HashMap::new();
        let mut patterns = Vec::new();
        let mut left = LARGEST_PATTERNS;
        for (index, Rule { from, to }) in self.0.iter().enumerate() {
            let literal = Literal::parse(from);
            match literal.map_err(|reason| RuleError::NotRegular { index, reason })? {
                None => {
                    literals.entry(from.clone()).or_insert_with(|| to.clone());
                }
                Some(literal) => {
                    let nfa = nfa(index, &literal, left)?;
                    left -= nfa.memory_usage().min(left);
                    patterns.push(Pattern::new(index, nfa, to)?);
                }
            }
        }
        let patterns = (!patterns.is_empty()).then(|| Arc::new(Patterns::new(patterns)));
        Ok(Replacements { literals: literals.into(), patterns })
    }
}

fn nfa(index: usize, literal: &Literal<'_>, left: usize) -> Result<NFA, RuleError> {
    let pattern = translate(literal.pattern);
    let pattern = pattern.map_err(|reason| RuleError::NotRegular { index, reason })?;
    let syntax = syntax::Config::new()
        .nest_limit(DEEPEST)
        .case_insensitive(literal.ignore_case)
        .multi_line(literal.multi_line)
        .dot_matches_new_line(literal.dot_all);
    let limit = left.min(LARGEST_PATTERN);
    let config =
        thompson::Config::new().nfa_size_limit(Some(limit)).which_captures(WhichCaptures::All);
    let built = thompson::Compiler::new().syntax(syntax).configure(config).build(&pattern);
    let too_large = || {
        let (most, of) = if limit == LARGEST_PATTERN {
            (LARGEST_PATTERN, "for one")
        } else {
            (LARGEST_PATTERNS, "for all together")
        };
        RuleError::TooLarge { index, most, of }
    };
    match built {
        Ok(nfa) if nfa.memory_usage() > limit => Err(too_large()),
        Ok(nfa) => Ok(nfa),
        Err(err) if err.size_limit().is_some() => Err(too_large()),
        Err(err) => Err(not_regular(index, &err)),
    }
}

fn not_regular(index: usize, err: &thompson::BuildError) -> RuleError {
    use std::error::Error as _;
    let text = err.source().map_or_else(|| err.to_string(), ToString::to_string);
    let reason = text.lines().last().unwrap_or_default().trim();
    let reason = reason.strip_prefix("error: ").unwrap_or(reason).to_owned();
    RuleError::NotRegular { index, reason }
}

/// Rules that can be applied; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Replacements {
    literals: Arc<HashMap<String, String>>,
    patterns: Option<Arc<Patterns>>,
}

impl Replacements {
    /// What replaces a word: literal rules first, then the first pattern that is found in it.
    #[must_use]
    pub fn of(&self, word: &str) -> Option<String> {
        self.literals.get(word).cloned().or_else(|| self.patterns.as_ref()?.of(word))
    }
}

#[derive(Debug)]
struct Patterns {
    patterns: Vec<Pattern>,
    memory: Mutex<Memory>,
}

#[derive(Debug)]
struct Memory {
    cache: Cache,
    found: HashMap<String, Option<String>>,
}

impl Patterns {
    fn new(patterns: Vec<Pattern>) -> Self {
        let cache = patterns[0].regex.create_cache();
        let memory = Mutex::new(Memory { cache, found: HashMap::new() });
        Self { patterns, memory }
    }

    fn of(&self, word: &str) -> Option<String> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let Memory { cache, found } = &mut *memory;
        if let Some(found) = found.get(word) {
            return found.clone();
        }
        let replaced = self.patterns.iter().find_map(|pattern| pattern.apply(word, cache));
        if word.len() <= LONGEST_REMEMBERED {
            if found.len() >= REMEMBERED {
                found.clear();
            }
            found.insert(word.to_owned(), replaced.clone());
        }
        replaced
    }
}

#[derive(Debug)]
struct Pattern {
    regex: BoundedBacktracker,
    /// In the form of the regex crate.
    to: String,
}

impl Pattern {
    fn new(index: usize, nfa: NFA, to: &str) -> Result<Self, RuleError> {
        let regex = BoundedBacktracker::builder()
            .configure(backtrack::Config::new().visited_capacity(VISITED))
            .build_from_nfa(nfa)
            .map_err(|err| not_regular(index, &err))?;
        Ok(Self { regex, to: braced(to) })
    }

    /// The word with each match replaced; `None` where there is none.
    fn apply(&self, word: &str, cache: &mut Cache) -> Option<String> {
        if word.len() > self.regex.max_haystack_len() {
            return None;
        }
        cache.reset(&self.regex);
        let mut replaced: Option<String> = None;
        let mut copied = 0;
        for captures in self.regex.try_captures_iter(cache, word) {
            let captures = captures.ok()?;
            let found = captures.get_match()?;
            let replaced = replaced.get_or_insert_with(String::new);
            replaced.push_str(&word[copied..found.start()]);
            captures.interpolate_string_into(word, &self.to, replaced);
            copied = found.end();
            if replaced.len() > LONGEST_RESULT {
                return None;
            }
        }
        let mut replaced = replaced?;
        replaced.push_str(&word[copied..]);
        (replaced.len() <= LONGEST_RESULT).then_some(replaced)
    }
}

/// ECMAScript's `$1` and `$&` as the regex crate writes them; there `$1st` is a group called `1st`.
fn braced(to: &str) -> String {
    let mut braced = String::with_capacity(to.len());
    let mut rest = to;
    while let Some((before, after)) = rest.split_once('$') {
        braced.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (group, length) = match after.as_bytes().first() {
            Some(b'&') => ("${0}".to_owned(), 1),
            Some(b'$') => ("$$".to_owned(), 1),
            Some(b'<') if name(after).is_some() => {
                let name = name(after).unwrap_or_default();
                (format!("${{{name}}}"), name.len() + 2)
            }
            _ if digits > 0 => (format!("${{{}}}", &after[..digits]), digits),
            _ => ("$$".to_owned(), 0),
        };
        braced.push_str(&group);
        rest = &after[length..];
    }
    braced + rest
}

/// The name in `<name>`.
fn name(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let fits = |c: char| c.is_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn rules(rules: &[(&str, &str)]) -> Result<Replacements, RuleError> {
        let rule = |(from, to): &(&str, &str)| Rule { from: (*from).into(), to: (*to).into() };
        Rules::new(rules.iter().map(rule).collect())?.compile()
    }

    #[test]
    fn literal_rules_go_first_and_the_first_of_a_kind_wins() {
        let all = rules(&[
            ("/^(\\w)ox$/", "$1ix"),
            ("fox", "cat"),
            ("fox", "dog"),
            ("/b/", "p"),
            ("/(?<a>x)$/", "[$&$$$1]"),
        ])
        .unwrap();
        for (word, expected) in [
            ("fox", Some("cat")),
            ("box", Some("bix")),
            ("öox", Some("öix")),
            ("bob", Some("pop")),
            ("max", Some("ma[x$x]")),
            ("Fox", Some("Fix")),
            ("dog", None),
        ] {
            assert_eq!(all.of(word).as_deref(), expected, "{word}");
            assert_eq!(all.of(word).as_deref(), expected, "{word} again");
        }
    }

    #[test]
    fn a_bad_pattern_is_named_by_its_index() {
        let err = rules(&[("a", "b"), ("/(/", "x")]).unwrap_err();
        assert_eq!(
            err.to_string(),
            "transcription_config.transcript_filtering_config.replacements[1].from is not a regular expression: unclosed group; correct it, or leave the slash at its beginning out if it is a word"
        );
        for pattern in [
            "/(?=a)/",
            "/(?!a)b/",
            "/(?<=a)b/",
            "/(?<!a)b/",
            "/(a)\\1/",
            "/(?<a>x)\\k<a>/",
            "/a/y",
            "/a/dg",
            "/a/ii",
            "/^a",
            "/[a/",
            "/*/",
            "/a{2,1}/",
            "/\\p{Nothing}/",
        ] {
            let err = rules(&[(pattern, "")]).unwrap_err();
            assert!(matches!(err, RuleError::NotRegular { index: 0, .. }), "{err}");
        }
        let deep = format!("/{}a{}/", "(".repeat(60), ")".repeat(60));
        assert!(rules(&[(&deep, "")]).unwrap_err().to_string().contains("nest"));
        assert_eq!(rules(&[("//", "x")]).unwrap().of("//").as_deref(), Some("x"));
    }

    #[test]
    fn flags_and_escapes_mean_what_they_do_in_ecmascript() {
        for (from, to, word, expected) in [
            ("/CLUBS/i", "hearts", "clubs", Some("hearts")),
            ("/clubs/", "hearts", "Clubs", None),
            ("/öl/iu", "oil", "ÖL", Some("oil")),
            ("/a/g", "b", "banana", Some("bbnbnb")),
            ("/^b$/m", "x", "a\nb", Some("a\nx")),
            ("/a.b/s", "x", "a\nb", Some("x")),
            ("/a.b/", "x", "a\nb", None),
            (r"/\u{1F600}/u", "smile", "😀", Some("smile")),
            (r"/\uD83D\uDE00/", "smile", "😀", Some("smile")),
            (r"/\x41\u0042/", "x", "AB", Some("x")),
            (r"/and\/or/", "or", "and/or", Some("or")),
            (r"/[[\]]/", "x", "[a]", Some("xax")),
            (r"/(?<year>\d{4})/", "'$<year>", "in1999", Some("in'1999")),
            (r"/\d+/", "#", "a12", Some("a#")),
            ("and/or", "or", "and/or", Some("or")),
            ("/etc/passwd", "x", "/etc/passwd", Some("x")),
            ("/etc/passwd", "x", "etc", None),
        ] {
            let all = rules(&[(from, to)]).unwrap();
            assert_eq!(all.of(word).as_deref(), expected, "{from} {word}");
        }
    }

    #[test]
    fn what_is_too_much_is_refused_with_its_bound_and_soon() {
        let started = Instant::now();
        let long = "a".repeat(501);
        let bomb = |count| vec![(r"/\w{60}/", ""); count];
        let ambiguous = format!("/(?:{}){{20}}/", "a?".repeat(200));
        let classes = format!("/{}/", r"[\w&&a]".repeat(70));
        let folded = format!("/(?i){}/", r"\pL".repeat(160));
        for (given, expected) in [
            (vec![("a", "b"); 1001], "replacements has 1001 entries; 1000 are the most"),
            (vec![("/a/", "b"); 201], "replacements[200] is one pattern too many; 200"),
            (vec![("a", "b"), (&*long, "")], "replacements[1].from has 501 bytes; 500 are"),
            (vec![("a", &*long)], "replacements[0].to has 501 bytes"),
            (bomb(1), "replacements[0].from is a pattern that is too large"),
            (vec![(r"/\w{10}/", ""); 199], "bytes are the most for all together"),
            (vec![("/a{1000}{1000}/", "")], "too large"),
            (vec![("/((((a{10}){10}){10}){10}){10}/", "")], "too large"),
            (vec![("/[^x]{1000}/", "")], "too large"),
            (vec![(&*ambiguous, "")], "too large"),
            (vec![(&*classes, ""); 100], "the patterns have more than 16384 bytes"),
            (vec![(&*folded, "")], "too large"),
        ] {
            let err = rules(&given).unwrap_err().to_string();
            assert!(err.contains(expected), "{err}");
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    }

    #[test]
    fn patterns_that_people_use_fit() {
        let mut given = vec![("hello", "goodbye"); 700];
        given.extend([(r"/\b[A-Z]{2,5}\b/", "$&"); 100]);
        given.extend([(r"/^(\w+)'s$/", "$1"); 10]);
        given.extend([(r"/(\d{3})-(\d{4})/", "$1 $2"); 20]);
        rules(&given).unwrap();
    }

    #[test]
    fn the_worst_that_fits_is_applied_in_bounded_time_and_to_bounded_words() {
        // Each state at each place of the word.
        let worst = format!("/(?:{})$/", "a?b?c?".repeat(70));
        let count = (1..=200)
            .rev()
            .find(|count| rules(&vec![(&*worst, "x"); *count]).is_ok())
            .expect("one fits");
        let all = rules(&vec![(&*worst, "x"); count]).unwrap();
        let started = Instant::now();
        for n in 0..50 {
            let _ = all.of(&format!("{}{n}z", "abc".repeat(8)));
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        let longer = rules(&[("/./", &"x".repeat(400))]).unwrap();
        assert_eq!(longer.of("ab").map(|word| word.len()), Some(800));
        assert_eq!(longer.of("abc"), None, "longer than a word may become");
        let long = "a".repeat(1 << 20);
        assert_eq!(rules(&[("/a/", "b")]).unwrap().of(&long), None);
    }
}
