//! Takes the marks off the words that a recogniser prints.

use unicode_segmentation::UnicodeSegmentation;

use super::{Item, ItemKind, hundredths, spans::lasting};
use crate::heard::Word;

/// Marks that become results of their own, those that end a sentence first; other signs around
/// words are dropped.
const SENTENCE_ENDS: &[char] =
    &['.', '!', '?', '…', '。', '．', '｡', '！', '？', '؟', '۔', '।', '॥', '։', '။', '។', '།', '።'];
const OTHERS: &[char] = &[',', ':', ';', '，', '、', '､', '：', '；', '،', '؛', '၊', '፣'];
/// Marks before the word that they belong to.
const OPENING: &[char] = &['¿', '¡'];
/// Signs that belong to a word although they are neither letters nor digits.
const LEADING: &[char] = &['$', '€', '£', '¥', '#', '@', '+', '&', '\''];
const TRAILING: &[char] = &['%', '°', '$', '€', '£', '+', '&', '\''];
/// Words whose full stop is part of them, in lower case without it.
const ABBREVIATIONS: &[&str] = &[
    "mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "a.m", "p.m",
    "u.s", "u.k",
];

/// Which marks are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Marks {
    #[default]
    All,
    /// These only; an empty list gives words without any.
    Only(Vec<char>),
}

impl Marks {
    fn permit(&self, mark: char) -> bool {
        match self {
            Self::All => true,
            Self::Only(marks) => marks.contains(&mark),
        }
    }
}

/// The shortest that a word may last, in seconds.
const SHORTEST_WORD: f64 = 0.02;

/// The results of words that were spoken from `from` to `to`, in seconds. Every word lasts, and none
/// begins before the one before it has ended.
#[must_use]
pub fn items(words: &[Word], marks: &Marks, from: f64, to: f64) -> Vec<Item> {
    let mut items = words_and_marks(words, marks);
    let spans = items.iter().filter(|item| item.is_word()).map(|item| (item.start, item.end));
    let mut spans: Vec<_> = spans.collect();
    // Rounded down, so that nothing is said to come after the end; at least what the words need.
    let to = (to * 100.0).floor() / 100.0;
    let from = hundredths(from);
    let to = to.max(from + SHORTEST_WORD * spans.len() as f64);
    lasting(&mut spans, SHORTEST_WORD, from, to);
    let mut spans = spans.into_iter().peekable();
    let mut last_end = from;
    for item in &mut items {
        if item.opens() {
            let start = spans.peek().map_or(last_end, |(start, _)| hundredths(*start));
            (item.start, item.end) = (start, start);
        } else if item.is_word() {
            let (start, end) = spans.next().unwrap_or((last_end, last_end));
            (item.start, item.end) = (hundredths(start), hundredths(end));
            last_end = item.end;
        } else {
            (item.start, item.end) = (last_end, last_end);
        }
    }
    items
}

fn words_and_marks(words: &[Word], marks: &Marks) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for word in words {
        let mut blank = word.text.starts_with(' ');
        let mut item = |content: String, start: f64, end: f64, kind| Item {
            content,
            start: hundredths(start),
            end: hundredths(end),
            confidence: word.confidence,
            kind,
            blank: std::mem::take(&mut blank),
            disfluency: false,
            channel: None,
        };
        let (opening, content, trailing) = split(&word.text);
        if !content.is_empty() {
            if let Some(mark) = opening.filter(|mark| marks.permit(*mark)) {
                let kind = ItemKind::Mark { sentence_end: false, opens: true };
                items.push(item(mark.to_string(), word.start, word.start, kind));
            }
            let end = word.end.max(word.start);
            items.push(item(content.to_owned(), word.start, end, ItemKind::Word));
        }
        // One mark for each word; `?!` and `...` say no more than their first sign.
        let Some(last) = items.last().filter(|last| last.is_word()) else { continue };
        let Some(mark) = trailing.filter(|mark| marks.permit(*mark)) else { continue };
        let sentence_end = SENTENCE_ENDS.contains(&mark);
        let kind = ItemKind::Mark { sentence_end, opens: false };
        items.push(item(mark.to_string(), last.end, last.end, kind));
    }
    items
}

fn is_known(mark: char) -> bool {
    SENTENCE_ENDS.contains(&mark) || OTHERS.contains(&mark)
}

/// The word without what surrounds it, with the first mark that opens it and the first known mark
/// after it.
fn split(text: &str) -> (Option<char>, &str, Option<char>) {
    let known = |text: &str| text.chars().find(|c| is_known(*c));
    let is_word = |c: char| c.is_alphanumeric() || LEADING.contains(&c);
    if !text.contains(char::is_alphanumeric) {
        return (None, "", known(text));
    }
    let (before, text) = text.split_at(text.find(is_word).unwrap_or(0));
    let opening = before.chars().find(|c| OPENING.contains(c));
    // By what a reader takes for one letter: accents and vowels above it are characters by themselves.
    let is_end =
        |letter: &str| letter.contains(|c: char| c.is_alphanumeric() || TRAILING.contains(&c));
    let mut letters = text.grapheme_indices(true).rev();
    let end =
        letters.find(|(_, letter)| is_end(letter)).map_or(0, |(at, letter)| at + letter.len());
    let (word, rest) = text.split_at(end);
    let lower = word.to_lowercase();
    if rest.starts_with('.') && ABBREVIATIONS.contains(&lower.as_str()) {
        return (opening, &text[..=word.len()], known(&rest[1..]));
    }
    // A closing quote is not an apostrophe: 'so' but the boys'.
    let quoted = word.starts_with('\'') && word.len() > 1 && word.ends_with('\'');
    (opening, if quoted { word.trim_matches('\'') } else { word }, known(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str, start: f64, end: f64) -> Word {
        Word { text: text.into(), start, end, confidence: 0.9 }
    }

    #[test]
    fn words_and_marks_are_told_apart() {
        for (text, expected) in [
            ("Dashwood,", (None, "Dashwood", Some(','))),
            ("\"Hello!\"", (None, "Hello", Some('!'))),
            ("Mr.", (None, "Mr.", None)),
            ("etc.,", (None, "etc.", Some(','))),
            ("U.S.", (None, "U.S.", None)),
            ("3.5", (None, "3.5", None)),
            ("10%.", (None, "10%", Some('.'))),
            ("$5", (None, "$5", None)),
            ("don't", (None, "don't", None)),
            ("boys'", (None, "boys'", None)),
            ("'so'", (None, "so", None)),
            ("cold-hearted", (None, "cold-hearted", None)),
            ("-", (None, "", None)),
            ("...", (None, "", Some('.'))),
            ("what?!", (None, "what", Some('?'))),
            ("", (None, "", None)),
            ("¿Qué?", (Some('¿'), "Qué", Some('?'))),
            ("(¡Hola,", (Some('¡'), "Hola", Some(','))),
            ("¿", (None, "", None)),
            ("话。", (None, "话", Some('。'))),
            ("「はい」、", (None, "はい", Some('、'))),
            ("แต่", (None, "แต่", None)),
            ("विद्वान्।", (None, "विद्वान्", Some('।'))),
        ] {
            assert_eq!(split(text), expected, "{text}");
        }
    }

    #[test]
    fn a_mark_lies_at_the_end_of_its_word() {
        let items = items(
            &[word("Yes", 0.111, 0.5), word(".", 0.6, 0.7), word("?", 1.0, 1.0)],
            &Marks::All,
            0.0,
            2.0,
        );
        assert_eq!(items.len(), 2);
        assert_eq!((items[0].start, items[1].start, items[1].end), (0.11, 0.5, 0.5));
        assert!(items[1].ends_sentence());
    }

    #[test]
    fn a_mark_that_opens_a_word_lies_at_its_beginning() {
        let words = [word("Hola.", 0.0, 0.5), word("¿Qué?", 0.8, 1.0)];
        let items = items(&words, &Marks::All, 0.0, 2.0);
        let shown: Vec<_> = items.iter().map(|item| (&*item.content, item.start)).collect();
        assert_eq!(shown, [("Hola", 0.0), (".", 0.5), ("¿", 0.8), ("Qué", 0.8), ("?", 1.0)]);
        assert!(items[2].opens() && !items[2].ends_sentence());
    }

    #[test]
    fn only_permitted_marks_appear() {
        let words = [word("Yes,", 0.0, 0.5), word("sir.", 0.6, 0.7)];
        let contents = |marks| -> Vec<String> {
            items(&words, &marks, 0.0, 1.0).into_iter().map(|item| item.content).collect()
        };
        assert_eq!(contents(Marks::Only(vec!['.'])), ["Yes", "sir", "."]);
        assert_eq!(contents(Marks::Only(Vec::new())), ["Yes", "sir"]);
    }

    #[test]
    fn words_at_one_instant_last_and_none_passes_the_end() {
        let words: Vec<Word> = (0..17).map(|_| word("be", 2.456, 2.456)).collect();
        let items = items(&words, &Marks::All, 0.0, 2.4567);
        assert!(items.iter().all(|item| item.end - item.start > 0.019), "{items:?}");
        assert!(items.windows(2).all(|pair| pair[0].end <= pair[1].start + 1e-9), "{items:?}");
        assert!(items.last().unwrap().end <= 2.4567);
    }
}
