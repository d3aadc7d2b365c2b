//! Whisper's tokens put together to words.

use unicode_segmentation::UnicodeSegmentation;
use whisper_rs::WhisperTokenId;

use crate::recogniser::Word;

/// A piece of text as the model gave it; a character may be spread over several.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) id: WhisperTokenId,
    pub(super) bytes: Vec<u8>,
    /// Seconds from the start of the window.
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) probability: f32,
}

/// How a language is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// A word begins with each token that begins with a blank.
    Blanks,
    /// Nothing tells where words end, as in Chinese: each character is one. Foreign words and
    /// numbers stay whole. Where a script has blanks between its phrases, the word after one
    /// begins with it.
    Characters,
}

/// Signs that belong to what follows; all others belong to what they follow.
const OPENING: &str = "$€£¥￥#@¿¡「『（《〈【“‘(";

/// The words of a window. `offset` is its place in the stream, `length` its length, both in seconds;
/// times stay inside and in order.
pub(super) fn words(tokens: &[Token], writing: Writing, offset: f64, length: f64) -> Vec<Word> {
    let words = match writing {
        Writing::Blanks => groups(tokens).map(joined).collect(),
        Writing::Characters => characters(tokens),
    };
    let mut at = 0.0;
    let placed = words.into_iter().filter_map(|word| {
        let text = match writing {
            Writing::Blanks => word.text.trim(),
            Writing::Characters => &word.text,
        };
        if text.trim().is_empty() {
            return None;
        }
        let start = word.start.clamp(at, length.max(at));
        let end = word.end.clamp(start, length.max(start));
        at = start;
        Some(Word { text: text.to_owned(), start: offset + start, end: offset + end, ..word })
    });
    placed.collect()
}

/// The text of tokens as the model gave it.
pub(super) fn bytes(tokens: &[Token]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.bytes.iter().copied()).collect()
}

/// The same as characters.
pub(super) fn text(tokens: &[Token]) -> String {
    String::from_utf8_lossy(&bytes(tokens)).into_owned()
}

/// Cuts before each token that begins with a blank.
pub(super) fn groups(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    tokens.chunk_by(|_, next| !next.bytes.starts_with(b" "))
}

/// All tokens as one word.
fn joined(tokens: &[Token]) -> Word {
    Word {
        text: text(tokens),
        start: tokens.first().map_or(0.0, |token| token.start),
        end: tokens.last().map_or(0.0, |token| token.end),
        confidence: mean(tokens.iter().map(|token| token.probability)),
    }
}

fn mean(shares: impl ExactSizeIterator<Item = f32>) -> f32 {
    let count = shares.len().max(1) as f32;
    (shares.sum::<f32>() / count).clamp(0.0, 1.0)
}

/// Whether blanks stand between phrases in the script of the last letter, although none do between
/// its words: Thai, Lao, Tibetan, Burmese and Khmer have them, Chinese and Japanese do not.
fn divides_phrases(letter: Option<char>) -> bool {
    let scripts = ['\u{e00}'..='\u{fff}', '\u{1000}'..='\u{109f}', '\u{1780}'..='\u{17ff}'];
    letter.is_some_and(|letter| scripts.iter().any(|script| script.contains(&letter)))
}

/// Each letter as a word, signs with those that they belong to.
fn characters(tokens: &[Token]) -> Vec<Word> {
    let letters = letters(tokens);
    let text: String = letters.iter().map(|letter| letter.text.as_str()).collect();
    let mut words: Vec<Word> = Vec::new();
    // Signs that belong to the next word, and whether a blank stood before it.
    let (mut before, mut blank) = (String::new(), false);
    let mut rest = &letters[..];
    for piece in text.split_word_bounds() {
        let (own, others) = rest.split_at(piece.chars().count());
        rest = others;
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        let is_sign = !piece.contains(char::is_alphanumeric);
        match words.last_mut() {
            _ if piece.trim().is_empty() => blank = true,
            _ if OPENING.contains(piece) => before.push_str(piece),
            Some(word) if is_sign => word.text.push_str(piece),
            // Or a sign of a word that was told with the window before.
            previous => {
                let previous = previous.and_then(|word| word.text.chars().next_back());
                let next = piece.chars().next();
                let divided = previous.is_some()
                    && blank
                    && (divides_phrases(previous) || divides_phrases(next));
                words.push(Word {
                    text: [if divided { " " } else { "" }, &std::mem::take(&mut before), piece]
                        .concat(),
                    start: first.start,
                    end: last.end,
                    confidence: mean(own.iter().map(|letter| letter.confidence)),
                });
                blank = false;
            }
        }
    }
    words
}

/// The characters of the text, each with an equal share of the time of the tokens it comes from.
fn letters(tokens: &[Token]) -> Vec<Word> {
    let mut open: Vec<u8> = Vec::new();
    // A character may be spread over several tokens.
    let goes_on = |token: &Token, _: &Token| {
        open.extend_from_slice(&token.bytes);
        let incomplete = str::from_utf8(&open).is_err_and(|err| err.error_len().is_none());
        if !incomplete {
            open.clear();
        }
        incomplete
    };
    let mut letters = Vec::new();
    for whole in tokens.chunk_by(goes_on).map(joined) {
        let share = (whole.end - whole.start).max(0.0) / whole.text.chars().count().max(1) as f64;
        letters.extend(whole.text.chars().enumerate().map(|(index, letter)| Word {
            text: letter.to_string(),
            start: whole.start + share * index as f64,
            end: whole.start + share * (index + 1) as f64,
            confidence: whole.confidence,
        }));
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &[u8], start: f64, end: f64, probability: f32) -> Token {
        Token { id: 0, bytes: text.to_vec(), start, end, probability }
    }

    #[test]
    fn tokens_are_joined_and_times_stay_in_order() {
        let tokens = [
            token(b" Dash", 0.5, 0.7, 1.0),
            token(b"wood", 0.7, 0.9, 0.5),
            token(b",", 0.9, 0.9, 0.6),
            token(b" caf\xc3", 0.8, 1.0, 1.0),
            token(b"\xa9", 1.0, 9.0, 1.0),
            token(b" early", 0.2, 0.3, 1.0),
            token(b" ", 1.0, 1.0, 1.0),
        ];
        let words = words(&tokens, Writing::Blanks, 10.0, 2.0);
        let shown: Vec<_> = words.iter().map(|w| (w.text.as_str(), w.start, w.end)).collect();
        assert_eq!(
            shown,
            [("Dashwood,", 10.5, 10.9), ("café", 10.8, 12.0), ("early", 10.8, 10.8),]
        );
        assert!((words[0].confidence - 0.7).abs() < 1e-6);
    }

    #[test]
    fn blanks_between_phrases_are_kept_in_scripts_that_have_them() {
        let shown = |text: &str| -> Vec<String> {
            let tokens =
                text.split_inclusive(' ').map(|part| token(part.as_bytes(), 0.0, 1.0, 1.0));
            let tokens: Vec<Token> = tokens.collect();
            let words = words(&tokens, Writing::Characters, 0.0, 1.0);
            words.into_iter().map(|word| word.text).collect()
        };
        assert_eq!(shown("ดี ครับ"), ["ดี", " ค", "รั", "บ"]);
        assert_eq!(shown(" ดี Google ดี"), ["ดี", " Google", " ดี"]);
        assert_eq!(shown("ດີ ດີ"), ["ດີ", " ດີ"]);
        assert_eq!(shown("你好 世界 AI 人"), ["你", "好", "世", "界", "AI", "人"]);
    }

    #[test]
    fn without_blanks_each_character_is_a_word_and_has_its_share_of_the_time() {
        let tokens = [
            token("、".as_bytes(), 0.0, 0.0, 1.0),
            token("我们".as_bytes(), 0.0, 1.0, 1.0),
            token(&"砸".as_bytes()[..2], 1.0, 1.2, 0.8),
            token(&"砸".as_bytes()[2..], 1.2, 1.4, 0.6),
            token("「".as_bytes(), 1.4, 1.4, 1.0),
            token(b"Chat", 1.4, 1.6, 1.0),
            token(b"GPT", 1.6, 2.0, 1.0),
            token("」。".as_bytes(), 2.0, 2.0, 1.0),
            token(b" 3.", 2.0, 2.1, 1.0),
            token(b"5", 2.1, 2.2, 1.0),
            token("แต่".as_bytes(), 2.2, 2.6, 1.0),
            token(b"\xff", 2.6, 2.8, 1.0),
        ];
        let words = words(&tokens, Writing::Characters, 10.0, 3.0);
        let shown: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(shown, ["、", "我", "们", "砸", "「ChatGPT」。", "3.5", "แ", "ต่\u{fffd}"]);
        let times: Vec<_> = words.iter().map(|word| (word.start, word.end)).collect();
        assert_eq!(times[1..5], [(10.0, 10.5), (10.5, 11.0), (11.0, 11.4), (11.4, 12.0)]);
        assert!((words[3].confidence - 0.7).abs() < 1e-6);
    }
}
