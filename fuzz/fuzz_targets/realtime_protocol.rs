//! The realtime protocol: any messages, audio, events and times, in any order.
//!
//! An input is a list of steps. Each begins with a byte that chooses the step and one that says how
//! many bytes of the input belong to it.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portcullis::speech::{
    realtime::{
        messages::{ErrorType, Refusal, ServerMessage},
        protocol::{Action, ChannelEvent, Input, Limits, Opened, Protocol},
    },
    recogniser::{Heard, Stretch, Word},
};

const LIMITS: Limits = Limits {
    idle: Duration::from_secs(3600),
    session: Duration::from_secs(48 * 3600),
    waiting: 4096,
};

/// What a right session says, so that the states behind it are reached at once.
const WELL_FORMED: [&str; 10] = [
    r#"{"message":"StartRecognition","audio_format":{"type":"raw","encoding":"pcm_s16le","sample_rate":8000},"transcription_config":{"language":"en","enable_partials":true}}"#,
    r#"{"message":"StartRecognition","transcription_config":{"language":"en","diarization":"channel","channel_diarization_labels":["a","b"]}}"#,
    r#"{"message":"EndOfStream","last_seq_no":0}"#,
    r#"{"message":"AddChannelAudio","channel":"a","data":"AAAA"}"#,
    r#"{"message":"AddChannelAudio","channel":"b","data":"AAAAAAAAAAAA"}"#,
    r#"{"message":"EndOfChannel","channel":"a","last_seq_no":1}"#,
    r#"{"message":"EndOfChannel","channel":"b","last_seq_no":1}"#,
    r#"{"message":"ForceEndOfUtterance"}"#,
    r#"{"message":"SetRecognitionConfig","transcription_config":{"language":"en","max_delay":1}}"#,
    r#"{"message":"GetSpeakers"}"#,
];

/// What was seen of a session.
#[derive(Default)]
struct Seen {
    started: usize,
    ended: usize,
    closed: bool,
    error: bool,
    /// Audio messages and acknowledgements of each channel; 0 stands for a session without any.
    audio: [u64; 2],
    acknowledged: [u64; 2],
    channel_ended: [bool; 2],
}

impl Seen {
    fn check(&mut self, action: &Action) {
        assert!(!self.closed, "something after the close");
        match action {
            Action::Close { code, .. } => {
                assert!(matches!(code, 1000 | 1003 | 1008 | 1009 | 1012 | 4000..=4999));
                assert!(!self.error || *code != 1000);
                self.closed = true;
            }
            Action::Audio { channel, bytes } => {
                assert!(!self.channel_ended[*channel] && bytes.len() as u64 <= LIMITS.waiting);
                self.audio[*channel] += 1;
            }
            Action::End { channel } => {
                assert!(!std::mem::replace(&mut self.channel_ended[*channel], true));
            }
            Action::Force { channel } | Action::Configure { channel, .. } => {
                assert!(!self.channel_ended[*channel]);
            }
            Action::Open(_) => assert_eq!(self.started, 0),
            Action::Send(message) => self.said(message),
        }
    }

    fn said(&mut self, message: &ServerMessage) {
        let text = serde_json::to_string(message).expect("JSON");
        assert!(text.starts_with(r#"{"message":""#) && text.len() < 1 << 20);
        assert!(self.ended == 0 || matches!(message, ServerMessage::Error { .. }), "{text}");
        match message {
            ServerMessage::RecognitionStarted { .. } => self.started += 1,
            ServerMessage::EndOfTranscript => self.ended += 1,
            ServerMessage::AudioAdded { seq_no } => self.added(0, *seq_no),
            ServerMessage::ChannelAudioAdded { seq_no, channel } => {
                self.added(usize::from(channel == "b"), *seq_no);
            }
            ServerMessage::Error { reason, .. } => {
                assert!(!reason.is_empty());
                self.error = true;
            }
            // The limits hold before the start as well.
            ServerMessage::Warning { .. } => {}
            _ => assert_eq!(self.started, 1, "{text}"),
        }
        assert!(self.started <= 1 && self.ended <= 1);
    }

    fn added(&mut self, channel: usize, seq_no: u64) {
        self.acknowledged[channel] += 1;
        assert_eq!(self.acknowledged[channel], seq_no);
        assert!(seq_no <= self.audio[channel], "acknowledged before it came");
    }
}

fuzz_target!(|data: &[u8]| {
    let mut protocol = Protocol::new(LIMITS, None, Duration::ZERO);
    let (mut seen, mut now, mut rest) = (Seen::default(), Duration::ZERO, data);
    while let [step, length, more @ ..] = rest {
        let (piece, after) = more.split_at(usize::from(*length).min(more.len()));
        rest = after;
        let text = String::from_utf8_lossy(piece);
        let number = piece.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
        let channel = usize::from(*length % 3);
        let event = |event| Input::Channel(channel, event);
        let time = number as f64 / 100.0;
        let input = match step % 16 {
            0 => Input::Text(&text),
            1..=3 => Input::Text(WELL_FORMED[usize::from(*length) % WELL_FORMED.len()]),
            4 | 5 => Input::Binary(piece.to_vec()),
            6 => Input::TooLarge,
            7 | 8 => Input::Opened(Opened {
                id: text.clone().into_owned(),
                version: String::new(),
                usage: 1,
                quota: 1,
                at: String::new(),
            }),
            9 => Input::Refused(Refusal::new(ErrorType::QuotaExceeded, "full")),
            10 => event(ChannelEvent::Consumed(number)),
            11 => {
                let word = Word { text: text.clone().into_owned(), start: time, end: time, confidence: 1.0 };
                let stretch = Stretch { start: time, end: time, words: vec![word] };
                let heard = match *length % 3 {
                    0 => Heard::Final(stretch),
                    1 => Heard::Partial(stretch),
                    _ => Heard::EndOfUtterance { at: time },
                };
                event(ChannelEvent::Heard { heard, forced: length % 2 == 0 })
            }
            12 => event(ChannelEvent::Ended),
            13 => event(ChannelEvent::Failed(Refusal::new(ErrorType::JobError, "it broke"))),
            14 => Input::Restart(Duration::from_secs(number % 100)),
            _ => {
                now += Duration::from_secs(number % 4000);
                Input::Tick
            }
        };
        let was_closed = seen.closed;
        let actions = protocol.handle(now, input);
        assert!(!was_closed || actions.is_empty(), "it was over");
        let mut after_error = false;
        for action in &actions {
            if after_error {
                assert!(matches!(action, Action::Close { .. }), "an error is followed by the close");
            }
            after_error = matches!(action, Action::Send(ServerMessage::Error { .. }));
            seen.check(action);
        }
        assert!(!seen.error || seen.closed, "an error ends the session");
    }
});
