//! Whisper's tokens put together to words.

use crate::recogniser::Word;

/// A piece of text as the model gave it; a character may be spread over several.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) bytes: Vec<u8>,
    /// Seconds from the start of the window.
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) probability: f32,
}

/// Joins tokens until the next one that begins with a blank. `offset` is the window's place in the
/// stream, `length` its length, both in seconds; times stay inside and in order.
pub(super) fn words(tokens: &[Token], offset: f64, length: f64) -> Vec<Word> {
    let mut words = Vec::new();
    let mut at = 0.0;
    for group in groups(tokens) {
        let bytes: Vec<u8> = group.iter().flat_map(|token| token.bytes.iter().copied()).collect();
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        if text.is_empty() {
            continue;
        }
        let start = first.start.clamp(at, length.max(at));
        let end = last.end.clamp(start, length.max(start));
        at = start;
        let sum: f32 = group.iter().map(|token| token.probability).sum();
        words.push(Word {
            text,
            start: offset + start,
            end: offset + end,
            confidence: (sum / group.len() as f32).clamp(0.0, 1.0),
        });
    }
    words
}

/// Cuts before each token that begins with a blank. Languages that are written without blanks
/// give whole phrases, which is as good as the model knows.
fn groups(tokens: &[Token]) -> impl Iterator<Item = &[Token]> {
    tokens.chunk_by(|_, next| !next.bytes.starts_with(b" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &[u8], start: f64, end: f64, probability: f32) -> Token {
        Token { bytes: text.to_vec(), start, end, probability }
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
        let words = words(&tokens, 10.0, 2.0);
        let shown: Vec<_> = words.iter().map(|w| (w.text.as_str(), w.start, w.end)).collect();
        assert_eq!(
            shown,
            [("Dashwood,", 10.5, 10.9), ("café", 10.8, 12.0), ("early", 10.8, 10.8),]
        );
        assert!((words[0].confidence - 0.7).abs() < 1e-6);
    }
}
