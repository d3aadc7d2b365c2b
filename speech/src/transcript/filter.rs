//! Disfluencies and replacements.

use regex::Regex;

use super::Item;

/// English filled pauses, in lower case.
const DISFLUENCIES: &[&str] =
    &["uh", "uhh", "um", "umm", "uhm", "er", "erm", "hm", "hmm", "mm", "mmm", "mhm", "eh", "ah"];

/// What is changed in the results before anybody sees them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Takes filled pauses out; otherwise they are tagged.
    pub remove_disfluencies: bool,
    /// Applied in order, literal ones first; the first that fits a word changes it.
    pub replacements: Vec<Replacement>,
}

/// One replacement of a word.
#[derive(Debug, Clone)]
pub enum Replacement {
    /// The whole word, its case included.
    Literal { from: String, to: String },
    /// Where the pattern is found in the word; `$1` in `to` is the first group.
    Pattern { from: Regex, to: String },
}

/// A pattern that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the replacement {pattern} is not a regular expression: {reason}")]
pub struct ReplacementError {
    pattern: String,
    reason: String,
}

impl Replacement {
    /// `from` is a word, or a pattern between slashes.
    ///
    /// # Errors
    /// The pattern cannot be parsed. Look-around and back references, which ECMAScript has, are
    /// not understood: they could make a pattern take for ever.
    pub fn new(from: &str, to: &str) -> Result<Self, ReplacementError> {
        let inner = from.strip_prefix('/').and_then(|from| from.strip_suffix('/'));
        let to = to.to_owned();
        let Some(inner) = inner.filter(|inner| !inner.is_empty()) else {
            return Ok(Self::Literal { from: from.to_owned(), to });
        };
        match Regex::new(inner) {
            Ok(from) => Ok(Self::Pattern { from, to: braced(&to) }),
            Err(err) => {
                let reason = err.to_string().lines().last().unwrap_or_default().trim().to_owned();
                Err(ReplacementError { pattern: from.to_owned(), reason })
            }
        }
    }

    fn apply(&self, word: &str) -> Option<String> {
        match self {
            Self::Literal { from, to } => (from == word).then(|| to.clone()),
            Self::Pattern { from, to } => {
                from.is_match(word).then(|| from.replace_all(word, to.as_str()).into_owned())
            }
        }
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
            _ if digits > 0 => (format!("${{{}}}", &after[..digits]), digits),
            _ => ("$$".to_owned(), 0),
        };
        braced.push_str(&group);
        rest = &after[length..];
    }
    braced + rest
}

impl Filter {
    /// Applies the filter. `language` decides what counts as a filled pause; known for `en`.
    #[must_use]
    pub fn apply(&self, items: Vec<Item>, language: &str) -> Vec<Item> {
        let mut kept: Vec<Item> = Vec::with_capacity(items.len());
        let mut removed = false;
        for mut item in items {
            if item.is_word() {
                let lower = item.content.to_lowercase();
                item.disfluency = language == "en" && DISFLUENCIES.contains(&lower.as_str());
                removed = item.disfluency && self.remove_disfluencies;
                if removed {
                    continue;
                }
                self.replace(&mut item);
            } else if removed && !item.ends_sentence() {
                // The comma after a filled pause goes with it.
                continue;
            } else if kept.last().is_none_or(|last| !last.is_word()) {
                continue;
            }
            // An empty replacement takes the word out.
            if !item.content.is_empty() {
                kept.push(item);
            }
        }
        kept
    }

    fn replace(&self, item: &mut Item) {
        let is_literal = |rule: &&Replacement| matches!(rule, Replacement::Literal { .. });
        let literal = self.replacements.iter().filter(is_literal);
        let patterns = self.replacements.iter().filter(|rule| !is_literal(rule));
        if let Some(changed) = literal.chain(patterns).find_map(|rule| rule.apply(&item.content)) {
            item.content = changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recogniser::Word,
        transcript::{Marks, items, text},
    };

    fn filtered(line: &str, filter: &Filter) -> String {
        let words: Vec<Word> = line
            .split(' ')
            .map(|text| Word { text: text.into(), start: 0.0, end: 1.0, confidence: 1.0 })
            .collect();
        text(&filter.apply(items(&words, &Marks::All, 0.0, 100.0), "en"), "en")
    }

    #[test]
    fn filled_pauses_are_tagged_or_taken_out() {
        let line = "Um, I, uh, think so. Hmm.";
        assert_eq!(filtered(line, &Filter::default()), "Um, I, uh, think so. Hmm.\n");
        let filter = Filter { remove_disfluencies: true, ..Filter::default() };
        assert_eq!(filtered(line, &filter), "I, think so.\n");
    }

    #[test]
    fn the_first_rule_that_fits_wins_and_literal_ones_go_first() {
        let replacements = [("/^(\\w)ox$/", "$1ix"), ("fox", "cat"), ("Fox", ""), ("cat", "dog")]
            .map(|(from, to)| Replacement::new(from, to).unwrap());
        let filter = Filter { replacements: replacements.into(), ..Filter::default() };
        assert_eq!(filtered("Fox, fox box.", &filter), "cat bix.\n");
    }

    #[test]
    fn a_bad_pattern_is_refused() {
        assert!(Replacement::new("/(/", "x").unwrap_err().to_string().contains("/(/"));
        assert!(matches!(Replacement::new("//", "x"), Ok(Replacement::Literal { .. })));
    }
}
