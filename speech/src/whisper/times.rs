//! When tokens were spoken, where whisper.cpp does not know.
//!
//! It guesses. At the edge of the audio above all, one token often has the time of several, and the
//! others begin and end in one place.

use super::words::Token;

/// A token that lasts less, in seconds, was not placed.
const INSTANT: f64 = 0.02;
/// Tokens with less silence between them, in seconds, follow one another.
const NEAR: f64 = 0.1;
/// Nobody speaks so slowly, in seconds for a letter: such a token has the time of others as well.
const SLOW: f64 = 0.25;
/// What a letter lasts at most, in seconds, where nothing tells when a word began.
const LETTER: f64 = 0.1;

/// Gives tokens without a time a share of the time before, by their letters.
pub(super) fn spread(tokens: &mut [Token]) {
    let mut done = 0;
    while let Some(first) = (done..tokens.len()).find(|at| is_unplaced(&tokens[*at])) {
        let follows = |at: usize| tokens[at].start - tokens[at - 1].end < NEAR;
        let last = (first + 1..tokens.len())
            .find(|at| !follows(*at) || lasts(&tokens[*at]) >= INSTANT)
            .unwrap_or(tokens.len());
        let mut begin = first;
        while begin > done && follows(begin) && (begin == first || is_slow(&tokens[begin - 1])) {
            begin -= 1;
        }
        let end = tokens[last - 1].end;
        let letters: usize = tokens[begin..last].iter().map(letters).sum();
        let start = if begin < first {
            tokens[begin].start
        } else {
            let earliest = end - LETTER * letters as f64;
            begin.checked_sub(1).map_or(0.0, |before| tokens[before].end).max(earliest)
        };
        let letter = (end - start).max(0.0) / letters.max(1) as f64;
        let mut at = start.min(end);
        for token in &mut tokens[begin..last] {
            token.start = at;
            at += letter * self::letters(token) as f64;
            token.end = at;
        }
        done = last;
    }
}

fn is_unplaced(token: &Token) -> bool {
    lasts(token) < INSTANT && letters(token) > 0
}

fn is_slow(token: &Token) -> bool {
    lasts(token) > SLOW * letters(token) as f64
}

fn lasts(token: &Token) -> f64 {
    token.end - token.start
}

fn letters(token: &Token) -> usize {
    String::from_utf8_lossy(&token.bytes).chars().filter(|c| c.is_alphanumeric()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `word@start-end` of each token before and after.
    fn spread_out(before: &str) -> String {
        let token = |text: &str| {
            let (word, times) = text.split_once('@').unwrap();
            let (start, end) = times.split_once('-').unwrap();
            let (start, end) = (start.parse().unwrap(), end.parse().unwrap());
            Token { id: 0, bytes: word.as_bytes().to_vec(), start, end, probability: 1.0 }
        };
        let mut tokens: Vec<Token> = before.split(' ').map(token).collect();
        spread(&mut tokens);
        let shown = tokens.iter().map(|token| {
            let word = String::from_utf8_lossy(&token.bytes);
            format!("{word}@{:.2}-{:.2}", token.start, token.end)
        });
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_has_no_time_shares_that_of_its_neighbours() {
        for (before, after) in [
            // One word has the time of all, two have it, a mark needs none.
            (
                "3@2.60-3.20 or@3.22-3.22 6@3.22-3.22 .@3.22-3.22",
                "3@2.60-2.75 or@2.75-3.06 6@3.06-3.22 .@3.22-3.22",
            ),
            (
                "is@0.10-0.30 you@0.40-2.00 can@2.00-4.00 dial@4.01-4.30 it@4.30-4.30",
                "is@0.10-0.30 you@0.40-1.38 can@1.38-2.35 dial@2.35-3.65 it@3.65-4.30",
            ),
            // Nothing tells when it began: with what is before, or not long ago.
            (
                "if@0.00-0.10 you@0.30-0.30 are@0.40-0.60",
                "if@0.00-0.10 you@0.10-0.30 are@0.40-0.60",
            ),
            (
                "now@4.00-4.20 if@6.00-6.00 you@6.00-6.01",
                "now@4.00-4.20 if@5.51-5.71 you@5.71-6.01",
            ),
            ("no@0.00-0.00", "no@0.00-0.00"),
            // Nothing to mend.
            ("now@0.50-0.70 .@0.90-0.90 so@1.20-1.50", "now@0.50-0.70 .@0.90-0.90 so@1.20-1.50"),
        ] {
            assert_eq!(spread_out(before), after);
        }
    }
}
