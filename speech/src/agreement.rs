//! Which words of a window that is decoded again and again are final.
//!
//! Two decodes that agree on a word, some time after it was spoken, make it final
//! (LocalAgreement-2); so does its deadline.

use crate::recogniser::{MaxDelayMode, Word};

/// How far a number of several words may pass its deadline, in seconds.
const NUMBER_GRACE: f64 = 2.0;

/// Where the audio ended in the middle of a word, times tell better than letters what was told: a
/// second of difference weighs as much as so many words that differ …
const CUT_WEIGHT: f64 = 4.0;
/// … and any difference no more than so many.
const MOST_CUT_WEIGHT: f64 = 1.5;

/// The words of the open window.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    /// Those that were told as final.
    told: Vec<Word>,
    /// The others, as the decode before had them.
    before: Vec<Word>,
    /// Where the last final word ends, in seconds of the stream.
    until: f64,
    /// Where the audio ended, in seconds of the stream, if the last final word was told up to there
    /// and may be another one when the audio goes on.
    cut: Option<f64>,
}

/// When words have to be final; in seconds of the stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// A word on which two decodes agree is final if it ends before this.
    pub(crate) agreed: f64,
    /// Every word that ends before this is final.
    pub(crate) due: f64,
    pub(crate) mode: MaxDelayMode,
}

impl Agreement {
    /// Where the last final word ends, in seconds of the stream.
    pub(crate) fn until(&self) -> f64 {
        self.until
    }

    /// Where the first of the words ends that the last decode had and that are not final.
    pub(crate) fn oldest(&self) -> Option<f64> {
        self.before.first().map(|word| word.end)
    }

    /// Makes final what the last decode had and what ends before `due`. Gives it, and the rest.
    pub(crate) fn ripen(&mut self, due: f64) -> (Vec<Word>, Vec<Word>) {
        let end = self.before.partition_point(|word| word.end <= due);
        let rest = self.before.split_off(end);
        let ripe = std::mem::replace(&mut self.before, rest.clone());
        self.tell(&ripe);
        (ripe, rest)
    }

    /// Takes the words of another decode of the open window. Gives those that are final now, and
    /// those that may still change.
    pub(crate) fn look(
        &mut self,
        words: Vec<Word>,
        deadlines: Deadlines,
    ) -> (Vec<Word>, Vec<Word>) {
        let mut fresh = self.untold(words);
        let agreed = fresh
            .iter()
            .zip(&self.before)
            .take_while(|(new, old)| same(new, old) && new.end <= deadlines.agreed)
            .count();
        let due = fresh.iter().take_while(|word| word.end <= deadlines.due).count();
        let end = agreed.max(due);
        let end = match deadlines.mode {
            MaxDelayMode::Flexible => before_number(&fresh, end, deadlines.due - NUMBER_GRACE),
            MaxDelayMode::Fixed => end,
        };
        let rest = fresh.split_off(end);
        self.before.clone_from(&rest);
        self.tell(&fresh);
        (fresh, rest)
    }

    /// Makes final all words of a decode of the open window; the audio ends at `end` for now, maybe in
    /// the middle of a word.
    pub(crate) fn look_last(&mut self, words: Vec<Word>, end: f64) -> Vec<Word> {
        let fresh = self.untold(words);
        self.before.clear();
        self.tell(&fresh);
        if !fresh.is_empty() {
            self.cut = Some(end);
        }
        fresh
    }

    /// Takes the words of the last decode of a window that ends at `end`; gives those that were
    /// not told yet. What was told and lies behind the end belongs to the next window.
    pub(crate) fn close(&mut self, words: Vec<Word>, end: f64) -> Vec<Word> {
        let beyond = self.told.partition_point(|word| f64::midpoint(word.start, word.end) <= end);
        let later = self.told.split_off(beyond);
        let fresh = self.untold(words);
        self.cut = self.cut.filter(|_| !later.is_empty());
        self.told = later;
        self.before.clear();
        self.until = fresh.last().map_or(self.until, |word| word.end.max(self.until));
        fresh
    }

    fn tell(&mut self, words: &[Word]) {
        if !words.is_empty() {
            self.cut = None;
        }
        self.told.extend_from_slice(words);
        self.until = words.last().map_or(self.until, |word| word.end.max(self.until));
    }

    /// Leaves out the words that were told: the front that is most like them, and of fronts that
    /// are equally like them the one that ends at the same time. Where the last one was cut off, the
    /// word that it became begins before the cut, however little they are alike.
    fn untold(&self, mut words: Vec<Word>) -> Vec<Word> {
        // The row of the edit distance from all that was told to each front of the words.
        let mut row: Vec<usize> = (0..=words.len()).collect();
        for (index, told) in self.told.iter().enumerate() {
            let mut diagonal = std::mem::replace(&mut row[0], index + 1);
            for (column, word) in words.iter().enumerate() {
                let replaced = diagonal + usize::from(!same(told, word));
                diagonal = row[column + 1];
                row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
            }
        }
        let edge = self.cut.unwrap_or(self.until);
        // From the moment between the front and what follows it.
        let gap = |front: usize| -> f64 {
            let late = front.checked_sub(1).map_or(0.0, |last| words[last].start - edge);
            let early = words.get(front).map_or(0.0, |next| edge - next.start);
            late.max(early).max(0.0)
        };
        let unlike = |front: usize| -> f64 {
            let cut = if self.cut.is_some() { CUT_WEIGHT } else { 0.0 };
            row[front] as f64 + (cut * gap(front)).min(MOST_CUT_WEIGHT)
        };
        let front = (0..row.len())
            .min_by(|a, b| unlike(*a).total_cmp(&unlike(*b)).then(gap(*a).total_cmp(&gap(*b))))
            .unwrap_or(0);
        words.drain(..front);
        for word in &mut words {
            word.start = word.start.max(self.until);
            word.end = word.end.max(word.start);
        }
        words
    }
}

/// Moves the end of the words that become final out of a number of several words, which may still
/// be spoken; not past a word that ends before `limit`.
fn before_number(words: &[Word], wanted: usize, limit: f64) -> usize {
    let number = |index: usize| words.get(index).is_none_or(|word| is_number(&word.text));
    let mut end = wanted;
    while end > 0 && number(end - 1) && number(end) {
        if words[end - 1].end <= limit {
            return wanted;
        }
        end -= 1;
    }
    end
}

fn is_number(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_digit())
}

/// Whether the words are the same but for marks and case.
fn same(a: &Word, b: &Word) -> bool {
    letters(&a.text) == letters(&b.text)
}

/// A text without marks, blanks and case.
pub(crate) fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words of half a second each from `start` on.
    fn spoken(text: &str, start: f64) -> Vec<Word> {
        let words = text.split_whitespace().enumerate();
        let place = |index: usize| start + index as f64 * 0.5;
        words
            .map(|(index, text)| Word {
                text: text.to_owned(),
                start: place(index),
                end: place(index + 1),
                confidence: 1.0,
            })
            .collect()
    }

    fn text(words: &[Word]) -> String {
        words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    fn deadlines(agreed: f64, due: f64) -> Deadlines {
        Deadlines { agreed, due, mode: MaxDelayMode::Flexible }
    }

    #[test]
    fn words_are_final_when_two_decodes_agree_and_they_are_old_enough() {
        let mut agreement = Agreement::default();
        let never = deadlines(9.0, 0.0);
        let (fresh, rest) = agreement.look(spoken("he was knot", 0.0), never);
        assert_eq!((text(&fresh), text(&rest)), (String::new(), "he was knot".into()));
        let (fresh, rest) = agreement.look(spoken("He was, not an", 0.0), never);
        assert_eq!((text(&fresh), text(&rest)), ("He was,".into(), "not an".into()));
        let (fresh, _) = agreement.look(spoken("he was not an ill", 0.0), deadlines(1.5, 0.0));
        assert_eq!(text(&fresh), "not");
        let fresh = agreement.close(spoken("he was not an ill disposed", 0.0), 3.0);
        assert_eq!(text(&fresh), "an ill disposed");
        let fresh = agreement.close(spoken("young man", 4.0), 6.0);
        assert_eq!(text(&fresh), "young man");
    }

    #[test]
    fn the_deadline_makes_final_what_no_two_decodes_agree_on() {
        let mut agreement = Agreement::default();
        agreement.look(spoken("one thing", 0.0), deadlines(9.0, 0.0));
        let (fresh, rest) = agreement.look(spoken("some other thing", 0.0), deadlines(9.0, 1.0));
        assert_eq!((text(&fresh), text(&rest)), ("some other".into(), "thing".into()));
    }

    #[test]
    fn a_final_word_neither_comes_again_nor_is_one_lost_when_later_decodes_differ() {
        let mut agreement = Agreement::default();
        let (fresh, _) = agreement.look(spoken("a b x", 0.0), deadlines(0.0, 1.5));
        assert_eq!(text(&fresh), "a b x");
        // The third word is not heard any more, or otherwise.
        let cases = [(spoken("a b d", 0.0), ""), (spoken("a b y d", 0.0), "d")];
        for (words, expected) in cases {
            assert_eq!(text(&agreement.untold(words)), expected);
        }
        assert_eq!(text(&agreement.untold(spoken("b x d", 0.5))), "d");
        assert_eq!(text(&agreement.untold(Vec::new())), "");
    }

    /// As the model heard a sentence, cut off in the middle of a word and whole.
    #[test]
    fn a_word_that_was_cut_off_does_not_come_again_when_it_is_heard_whole() {
        let words = |words: &[(&str, f64, f64)]| -> Vec<Word> {
            let word = |(text, start, end): &(&str, f64, f64)| Word {
                text: (*text).to_owned(),
                start: *start,
                end: *end,
                confidence: 1.0,
            };
            words.iter().map(word).collect()
        };
        let married = [("Had", 0.0, 0.23), ("he", 0.3, 0.38), ("married", 0.38, 0.92)];
        let woman = [("amiable", 1.31, 1.84), ("woman,", 1.9, 2.44), ("he", 2.44, 2.54)];
        let respectable = [("more", 3.93, 4.18), ("respectable", 4.18, 4.9), ("than", 4.9, 5.12)];
        let was = [("than", 4.9, 5.12), ("he", 5.12, 5.32), ("was.", 5.32, 6.0)];
        for (cut, end, whole, expected) in [
            (&[("Adi", 0.0, 0.04), ("Mary", 0.26, 0.69)][..], 0.7, married, ""),
            (&[("amiable", 1.4, 2.0), ("words", 2.0, 2.0)], 2.2, woman, "he"),
            (&[("more", 0.87, 1.0), ("respect", 1.0, 4.49)], 4.5, respectable, "than"),
            (&[("than", 4.75, 5.0), ("he", 5.0, 5.0), ("wanted", 5.0, 5.0)], 5.4, was, ""),
            // Nothing was made of what was heard of the word.
            (&[("amiable", 1.4, 2.0)], 2.1, woman, "woman, he"),
            (&[("amiable", 1.4, 2.0), ("woman", 2.0, 2.59)], 2.6, woman, "he"),
        ] {
            let mut agreement = Agreement::default();
            assert_eq!(text(&agreement.look_last(words(cut), end)), text(&words(cut)));
            let (_, rest) = agreement.look(words(&whole), deadlines(0.0, 0.0));
            assert_eq!(text(&rest), expected, "{cut:?}");
            // Nor when the window ends.
            assert_eq!(text(&agreement.close(words(&whole), 6.0)), expected, "{cut:?}");
        }
    }

    #[test]
    fn what_was_told_behind_a_cut_does_not_come_again() {
        let mut agreement = Agreement::default();
        let (fresh, _) = agreement.look(spoken("a b c d", 0.0), deadlines(0.0, 2.0));
        assert_eq!(text(&fresh), "a b c d");
        assert_eq!(text(&agreement.close(spoken("a b", 0.0), 1.0)), "");
        assert_eq!(text(&agreement.close(spoken("c d e", 1.0), 2.5)), "e");
    }

    #[test]
    fn a_number_is_not_torn_apart_unless_fixed_or_for_too_long() {
        let words = spoken("call 555 1234 now", 0.0);
        for (mode, due, expected) in [
            (MaxDelayMode::Flexible, 1.0, "call"),
            (MaxDelayMode::Fixed, 1.0, "call 555"),
            (MaxDelayMode::Flexible, 1.5, "call 555 1234"),
            (MaxDelayMode::Flexible, 3.0, "call 555 1234 now"),
        ] {
            let mut agreement = Agreement::default();
            let (fresh, _) = agreement.look(words.clone(), Deadlines { agreed: 0.0, due, mode });
            assert_eq!(text(&fresh), expected, "{mode:?} {due}");
        }
        // The number is still being spoken.
        assert_eq!(before_number(&words[..2], 2, 0.0), 1);
        assert_eq!(before_number(&words[..2], 2, 1.0), 2);
    }

    #[test]
    fn words_ripen_without_another_decode_and_do_not_come_again() {
        let mut agreement = Agreement::default();
        agreement.look(spoken("a b c", 0.0), deadlines(0.0, 0.5));
        assert_eq!(agreement.oldest(), Some(1.0));
        let (ripe, rest) = agreement.ripen(1.2);
        assert_eq!((text(&ripe), text(&rest)), ("b".into(), "c".into()));
        assert_eq!((agreement.oldest(), agreement.until()), (Some(1.5), 1.0));
        let fresh = agreement.close(spoken("a b c d", 0.0), 2.0);
        assert_eq!(text(&fresh), "c d");
    }

    #[test]
    fn times_stay_in_order() {
        let mut agreement = Agreement::default();
        agreement.look(spoken("a b", 0.0), deadlines(0.0, 1.0));
        let (_, rest) = agreement.look(spoken("a b c", -0.5), deadlines(0.0, 0.0));
        assert_eq!((rest[0].start, rest[0].end), (1.0, 1.0));
        assert_eq!(agreement.until(), 1.0);
    }
}
