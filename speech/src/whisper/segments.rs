//! What a decode gave, and whether anybody said it.
//!
//! A model that may not write signs such as brackets makes up words where it hears a bell or music.
//! One that may, names the sound: `(bell rings)`, `[MUSIC]`, `*beep*`, `♪`. So a decode that is
//! doubtful is made a second time with these signs, and what they enclose is left out.

use whisper_rs::WhisperState;

use super::words::{Token, bytes, text};

/// Where the model gives silence more than this, or the words less than that, another decode is due.
/// Speech that can be understood seldom does; ringing, music and noise nearly always do.
const DOUBTFUL_SILENCE: f32 = 0.3;
const DOUBTFUL_WORDS: f32 = 0.55;
/// What the model itself takes for silence and is unsure of is an invention.
const SILENCE: f32 = 0.6;
const UNSURE: f32 = 0.5;
/// And words that it hardly believes in, whatever it takes the sound for.
const NONSENSE: f32 = 0.2;
/// A sound is named in a few words; more of them in brackets were said.
const LONGEST_NAME: usize = 6;

/// A sentence or a part of one.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) tokens: Vec<Token>,
    /// How likely the model thinks it that nobody speaks; 0 to 1, the same for a whole decode.
    no_speech: f32,
}

impl Segment {
    pub(super) fn is_doubtful(&self) -> bool {
        self.no_speech > DOUBTFUL_SILENCE || self.sureness() < DOUBTFUL_WORDS
    }

    /// Whether the model takes it for silence.
    pub(super) fn is_silence(&self) -> bool {
        self.no_speech > SILENCE
    }

    /// What was said in it.
    pub(super) fn spoken(self) -> Vec<Token> {
        let sureness = self.sureness();
        if sureness < NONSENSE || self.is_silence() && sureness < UNSURE {
            return Vec::new();
        }
        without_sounds(self.tokens)
    }

    /// The mean probability of its tokens; 1 for none.
    fn sureness(&self) -> f32 {
        let sum: f32 = self.tokens.iter().map(|token| token.probability).sum();
        if self.tokens.is_empty() { 1.0 } else { sum / self.tokens.len() as f32 }
    }
}

/// The segments of the last decode, without the model's own signs.
pub(super) fn segments(state: &WhisperState) -> Vec<Segment> {
    let mut segments = Vec::new();
    for segment in state.as_iter() {
        let mut tokens: Vec<Token> = Vec::new();
        for index in 0..segment.n_tokens() {
            let Some(token) = segment.get_token(index) else { continue };
            let Ok(bytes) = token.to_bytes() else { continue };
            if bytes.starts_with(b"[_") || bytes.starts_with(b"<|") {
                continue;
            }
            let data = token.token_data();
            tokens.push(Token {
                id: token.token_id(),
                bytes: bytes.to_vec(),
                start: data.t0 as f64 / 100.0,
                end: data.t1 as f64 / 100.0,
                probability: data.p,
            });
        }
        segments.push(Segment { tokens, no_speech: segment.no_speech_probability() });
    }
    segments
}

/// Leaves out the names of sounds, and everything where no letter or digit is left.
fn without_sounds(mut tokens: Vec<Token>) -> Vec<Token> {
    let names = names(&bytes(&tokens));
    let mut at = 0;
    tokens.retain(|token| {
        let begin = at;
        at += token.bytes.len();
        !names.iter().any(|(from, to)| begin < *to && *from < at)
    });
    if !text(&tokens).contains(char::is_alphanumeric) {
        tokens.clear();
    }
    tokens
}

/// Where names of sounds begin and end in a text.
fn names(text: &[u8]) -> Vec<(usize, usize)> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let closing = match text[at] {
            b'(' => b')',
            b'[' => b']',
            // Between words it is the star key of a telephone.
            b'*' if text.get(at + 1).is_some_and(u8::is_ascii_alphabetic) => b'*',
            _ => {
                at += 1;
                continue;
            }
        };
        let end = text[at + 1..].iter().position(|byte| *byte == closing);
        // One that is not closed reaches to the end of the segment.
        let end = match end {
            Some(length) => at + length + 2,
            None if closing == b'*' => at + 1,
            None => text.len(),
        };
        let words = text[at..end].split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        if words.count() <= LONGEST_NAME && end > at + 1 {
            names.push((at, end));
            at = end;
        } else {
            at += 1;
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token for each word and sign, as models make them.
    fn tokens(text: &str, probability: f32) -> Vec<Token> {
        let mut tokens: Vec<Token> = Vec::new();
        for letter in text.chars() {
            let follows = letter.is_alphanumeric()
                && tokens.last().is_some_and(|last| {
                    let last = last.bytes.last().copied().unwrap_or_default();
                    last == b' ' || last.is_ascii_alphanumeric()
                });
            let sign = tokens.last().is_some_and(|last| last.bytes == b" ") && letter != ' ';
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            match tokens.last_mut() {
                Some(last) if follows || sign => last.bytes.extend_from_slice(bytes),
                Some(_) | None => tokens.push(Token {
                    id: 0,
                    bytes: bytes.to_vec(),
                    start: 0.0,
                    end: 0.0,
                    probability,
                }),
            }
        }
        tokens
    }

    fn spoken(text: &str, no_speech: f32, probability: f32) -> String {
        let segment = Segment { tokens: tokens(text, probability), no_speech };
        let left = segment.spoken().into_iter().flat_map(|token| token.bytes).collect();
        String::from_utf8(left).unwrap()
    }

    #[test]
    fn names_of_sounds_are_left_out() {
        for (text, left) in [
            (" (phone ringing)", ""),
            (" [BLANK_AUDIO]", ""),
            (" *beep*", ""),
            (" \u{266a}\u{266a}", ""),
            (" ( ( ( (", ""),
            (" . . . .", ""),
            (" (gentle music", ""),
            (" [MUSIC] Good morning.", " Good morning."),
            (" Good (beeping) morning.", " Good morning."),
            (" Good morning. *click* (laughs)", " Good morning."),
        ] {
            assert_eq!(spoken(text, 0.9, 0.9), left, "{text}");
        }
    }

    #[test]
    fn what_was_said_stays() {
        for text in [
            " Press * to cancel, or * to go on.",
            " He said (and he had said it all the time) so.",
            " She had (as everybody knew who had ever met her",
            " 3 * 4 and *",
            " It's a \"test\" - no more.",
        ] {
            assert_eq!(spoken(text, 0.1, 0.9), text);
        }
    }

    #[test]
    fn silence_that_is_unsure_of_its_words_has_none() {
        assert_eq!(spoken(" Thank you.", 0.9, 0.3), "");
        assert_eq!(spoken(" Thank you.", 0.9, 0.9), " Thank you.");
        assert_eq!(spoken(" Thank you.", 0.1, 0.3), " Thank you.");
        assert_eq!(spoken(" Thank you.", 0.1, 0.15), "");
    }

    #[test]
    fn doubt_comes_of_silence_as_of_unsure_words() {
        let doubtful = |no_speech, probability| {
            Segment { tokens: tokens(" Thank you.", probability), no_speech }.is_doubtful()
        };
        assert!(doubtful(0.5, 0.9) && doubtful(0.1, 0.4) && !doubtful(0.1, 0.9));
    }
}
