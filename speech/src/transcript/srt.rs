//! srt: the words as subtitles.

use std::fmt::Write as _;

use super::{Item, LONG_GAP, channels::turns, languages::between, spans::lasting, text::joined};

/// The shortest that a subtitle is shown, in seconds: less cannot be read.
const SHORTEST: f64 = 0.4;

/// How large a subtitle may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrtLimits {
    /// Characters of a line, blanks included.
    pub line_length: usize,
    pub lines: usize,
}

impl Default for SrtLimits {
    fn default() -> Self {
        Self { line_length: 37, lines: 2 }
    }
}

/// Subtitles are cut at sentence ends, at long pauses and where they are full. Where channels are
/// told apart, one begins with the label of its channel whenever another one speaks. `length` is that of
/// the audio, in seconds; none is shown after it.
#[must_use]
pub fn srt(items: &[Item], language: &str, limits: SrtLimits, length: f64) -> String {
    let mut out = String::new();
    let (mut cues, mut speaks) = (Vec::new(), None);
    for turn in turns(items) {
        let label = turn.channel.filter(|_| speaks != turn.channel);
        cues.extend(cues_of(&turn.items, label, language, limits));
        speaks = turn.channel;
    }
    cues.sort_by(|a, b| a.start.total_cmp(&b.start));
    let mut spans: Vec<_> = cues.iter().map(|cue| (cue.start, cue.end)).collect();
    lasting(&mut spans, SHORTEST, 0.0, length);
    for (index, (cue, (start, end))) in cues.iter().zip(spans).enumerate() {
        let _ = writeln!(out, "{}\n{} --> {}", index + 1, time(start), time(end));
        for line in &cue.lines {
            let _ = writeln!(out, "{line}");
        }
        out.push('\n');
    }
    out
}

struct Cue {
    start: f64,
    end: f64,
    lines: Vec<String>,
    complete: bool,
}

fn cues_of(items: &[&Item], label: Option<&str>, language: &str, limits: SrtLimits) -> Vec<Cue> {
    let mut label = label.map(|label| format!("{label}: "));
    let mut cues: Vec<Cue> = Vec::new();
    for group in items.chunk_by(|item, next| item.holds(next)) {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { continue };
        let text = label.take().unwrap_or_default() + &joined(group.iter().copied(), language);
        let fits = |line: &str| {
            let blank = between(line, first, language).len();
            line.chars().count() + blank + text.chars().count() <= limits.line_length
        };
        let open = cues.last_mut().filter(|cue| !cue.complete && first.start - cue.end < LONG_GAP);
        let full = |cue: &Cue| cue.lines.len() >= limits.lines;
        match open {
            Some(cue) if cue.lines.last().is_some_and(|line| fits(line)) => {
                if let Some(line) = cue.lines.last_mut() {
                    line.push_str(between(line, first, language));
                    line.push_str(&text);
                }
                cue.end = last.end;
            }
            Some(cue) if !full(cue) => {
                cue.lines.push(text);
                cue.end = last.end;
            }
            Some(_) | None => {
                let lines = vec![text];
                cues.push(Cue { start: first.start, end: last.end, lines, complete: false });
            }
        }
        if let Some(cue) = cues.last_mut() {
            cue.complete = last.ends_sentence();
        }
    }
    cues
}

/// `HH:MM:SS,mmm`
fn time(seconds: f64) -> String {
    let millis = (seconds * 1000.0).round() as u64;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02},{:03}", millis / 1000 % 60, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recogniser::Word,
        transcript::{Marks, items},
    };

    fn spoken(line: &str) -> Vec<Item> {
        let words = line.split(' ').enumerate().map(|(index, text)| {
            let start = 3590.0 + index as f64;
            Word { text: text.into(), start, end: start + 0.5, confidence: 1.0 }
        });
        items(&words.collect::<Vec<_>>(), &Marks::All, 0.0, 4000.0)
    }

    #[test]
    fn sentences_begin_a_new_subtitle_and_lines_keep_their_length() {
        let line = "One two. Three four five six seven eight nine ten eleven twelve.";
        let limits = SrtLimits { line_length: 12, lines: 2 };
        assert_eq!(
            srt(&spoken(line), "en", limits, 4000.0),
            "1\n00:59:50,000 --> 00:59:51,500\nOne two.\n\n\
             2\n00:59:52,000 --> 00:59:55,500\nThree four\nfive six\n\n\
             3\n00:59:56,000 --> 00:59:59,500\nseven eight\nnine ten\n\n\
             4\n01:00:00,000 --> 01:00:01,500\neleven\ntwelve.\n\n"
        );
    }

    #[test]
    fn nothing_spoken_gives_nothing() {
        assert_eq!(srt(&[], "en", SrtLimits::default(), 1.0), "");
    }

    #[test]
    fn a_subtitle_is_shown_long_enough_to_be_read() {
        let word = |text: &str, start, end| Word { text: text.into(), start, end, confidence: 1.0 };
        let words = [word("The", 4.0, 5.1), word("mailbox.", 5.16, 5.16), word("Yes.", 5.2, 5.2)];
        let items = items(&words, &Marks::All, 0.0, 5.7);
        assert_eq!(
            srt(&items, "en", SrtLimits::default(), 5.7),
            "1\n00:00:04,000 --> 00:00:05,180\nThe mailbox.\n\n\
             2\n00:00:05,200 --> 00:00:05,600\nYes.\n\n"
        );
    }
}
