//! Disfluencies and replacements.

use super::{Item, Replacements};

/// English filled pauses, in lower case.
const DISFLUENCIES: &[&str] =
    &["uh", "uhh", "um", "umm", "uhm", "er", "erm", "hm", "hmm", "mm", "mmm", "mhm", "eh", "ah"];

/// What is changed in the results before anybody sees them.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Takes filled pauses out; otherwise they are tagged.
    pub remove_disfluencies: bool,
    pub replacements: Replacements,
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
                    item.content.clear();
                } else if let Some(changed) = self.replacements.of(&item.content) {
                    item.content = changed;
                }
            } else if item.opens() {
                removed = false;
            } else if removed && !item.ends_sentence() {
                // The comma after a filled pause goes with it.
                continue;
            } else if kept.last().is_none_or(|last| !last.is_word()) {
                continue;
            }
            // An empty replacement takes the word out, and the mark that opens it.
            if !item.content.is_empty() {
                kept.push(item);
            } else if kept.last().is_some_and(Item::opens) {
                kept.pop();
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recogniser::Word,
        transcript::{Marks, Rule, Rules, items, text},
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
    fn words_are_replaced_and_an_empty_one_goes() {
        let rules = [("/^(\\w)ox$/", "$1ix"), ("fox", "cat"), ("Fox", ""), ("cat", "dog")]
            .map(|(from, to)| Rule { from: from.into(), to: to.into() });
        let replacements = Rules::new(rules.into()).unwrap().compile().unwrap();
        let filter = Filter { replacements, ..Filter::default() };
        assert_eq!(filtered("Fox, fox box.", &filter), "cat bix.\n");
        assert_eq!(filtered("¿Fox? ¿fox?", &filter), "¿cat?\n");
    }
}
