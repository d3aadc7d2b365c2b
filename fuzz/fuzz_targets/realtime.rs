//! The realtime protocol: whatever a client says and a recogniser tells, and whenever, the rules of a
//! session hold.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis_speech::{
    realtime::{
        messages::{ErrorType, Refusal, ServerMessage},
        protocol::{Action, ChannelEvent, Input, Limits, Opened, Protocol},
    },
    recogniser::{Heard, Stretch, Word},
    transcript::Replacements,
};
use serde_json::Value;

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(3600),
    session: Duration::from_secs(172_800),
    waiting: 1 << 20,
    start: Duration::from_secs(60),
};

/// What the socket would see.
#[derive(Default)]
struct Seen {
    /// Messages of audio that were taken, and acknowledged, by channel.
    taken: Vec<u64>,
    acknowledged: Vec<(Option<String>, u64)>,
    transcripts_ended: bool,
    error: Option<ErrorType>,
    closed: bool,
}

// A line is an event: its first character says which, the rest is its argument. `@` before the first
// line puts a language into the path.
fuzz_target!(|script: &str| {
    let path_language = script.starts_with('@').then(|| "en".to_owned());
    let mut now = Duration::ZERO;
    let mut protocol = Protocol::new(LIMITS, path_language, now);
    let mut seen = Seen::default();
    for line in script.trim_start_matches('@').lines().take(400) {
        let mut rest = line.chars();
        let (Some(kind), rest) = (rest.next(), rest.as_str()) else { continue };
        let number: u64 = rest.trim().parse().unwrap_or(rest.len() as u64);
        let channel = rest.bytes().next().map_or(0, |byte| usize::from(byte % 4));
        let input = match kind {
            '{' => Input::Text(line),
            't' => Input::Text(rest),
            'b' => Input::Binary(vec![0; (number % 70_000) as usize]),
            'l' => Input::TooLarge,
            'o' => Input::Opened(Opened {
                id: "7".into(),
                version: "fuzz 1".into(),
                usage: 1,
                quota: 2,
                at: "2026-01-01T00:00:00Z".into(),
                replacements: Replacements::default(),
            }),
            'x' => Input::Refused(Refusal::new(ErrorType::QuotaExceeded, "all are taken")),
            'f' | 'F' => heard(channel, Heard::Final(stretch(rest)), kind == 'F'),
            'p' => heard(channel, Heard::Partial(stretch(rest)), false),
            'u' | 'U' => heard(channel, Heard::EndOfUtterance { at: number as f64 }, kind == 'U'),
            'c' => Input::Channel(channel, ChannelEvent::Consumed(number)),
            'e' => Input::Channel(channel, ChannelEvent::Ended),
            'j' => {
                let refusal = Refusal::new(ErrorType::JobError, "the recogniser failed");
                Input::Channel(channel, ChannelEvent::Failed(refusal))
            }
            'r' => Input::Restart(Duration::from_secs(number % 60)),
            _ => {
                now += Duration::from_secs(number % 4000);
                Input::Tick
            }
        };
        for action in protocol.handle(now, input) {
            seen.check(action);
        }
    }
});

fn heard(channel: usize, heard: Heard, forced: bool) -> Input<'static> {
    Input::Channel(channel, ChannelEvent::Heard { heard, forced })
}

fn stretch(text: &str) -> Stretch {
    let words = text.split_whitespace().enumerate().map(|(at, text)| Word {
        text: text.to_owned(),
        start: at as f64,
        end: at as f64 + 0.5,
        confidence: 0.5,
    });
    Stretch { start: 0.0, end: 100.0, words: words.collect() }
}

impl Seen {
    fn check(&mut self, action: Action) {
        assert!(!self.closed, "{action:?} after the close");
        match action {
            Action::Send(message) => self.message(&message),
            Action::Audio { channel, .. } => {
                self.taken.resize(self.taken.len().max(channel + 1), 0);
                self.taken[channel] += 1;
            }
            Action::Close { code, reason } => {
                self.closed = true;
                let documented = [1000, 1003, 1008, 1009, 1011, 1012, 4004, 4005, 4013];
                assert!(documented.contains(&code), "{code} {reason}");
                assert!(code == 1000 || !reason.is_empty(), "{code} without a reason");
                if let Some(error) = self.error {
                    assert!(code == 1009 || (code, reason) == error.close(), "{error:?}: {code}");
                }
            }
            Action::Open(_)
            | Action::Force { .. }
            | Action::Configure { .. }
            | Action::End { .. } => {}
        }
    }

    fn message(&mut self, message: &ServerMessage) {
        assert!(self.error.is_none(), "{message:?} after an Error");
        let told = serde_json::to_value(message).expect("a message is JSON");
        let text = |key: &str| told.get(key).and_then(Value::as_str);
        assert!(text("message").is_some(), "{told}");
        match message {
            ServerMessage::AudioAdded { seq_no } => self.acknowledge(None, *seq_no),
            ServerMessage::ChannelAudioAdded { seq_no, channel } => {
                self.acknowledge(Some(channel.clone()), *seq_no);
            }
            ServerMessage::EndOfTranscript => {
                assert!(!self.transcripts_ended, "a second EndOfTranscript");
                self.transcripts_ended = true;
            }
            ServerMessage::AddTranscript(_) | ServerMessage::AddPartialTranscript(_) => {
                assert!(!self.transcripts_ended, "{told} after EndOfTranscript");
            }
            ServerMessage::Error { kind, .. } => {
                assert!(text("reason").is_some_and(|reason| !reason.is_empty()), "{told}");
                self.error = Some(*kind);
            }
            ServerMessage::Warning { .. } | ServerMessage::Info { .. } => {
                assert!(text("type").is_some() && text("reason").is_some(), "{told}");
            }
            _ => {}
        }
    }

    /// Numbers follow each other from 1, and there are no more than messages of audio.
    fn acknowledge(&mut self, channel: Option<String>, number: u64) {
        let position = self.acknowledged.iter().position(|(label, _)| *label == channel);
        let position = position.unwrap_or_else(|| {
            self.acknowledged.push((channel, 0));
            self.acknowledged.len() - 1
        });
        self.acknowledged[position].1 += 1;
        assert_eq!(self.acknowledged[position].1, number);
        let all: u64 = self.acknowledged.iter().map(|(_, count)| count).sum();
        assert!(all <= self.taken.iter().sum(), "more acknowledged than taken");
    }
}
