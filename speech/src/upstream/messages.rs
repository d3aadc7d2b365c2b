//! The messages of the realtime protocol, from the client's side.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::recogniser::{
    Heard, LiveOptions, MaxDelayMode, SAMPLE_RATE, SessionOptions, Stretch, Term, Word,
};

/// The delays that every server of the protocol accepts, in seconds.
const DELAYS: (f64, f64) = (0.7, 4.0);
/// The longest silence that may be asked for as the end of an utterance.
const LONGEST_SILENCE: f64 = 2.0;

pub(super) fn start(options: &SessionOptions) -> String {
    let mut config = match &options.live {
        Some(live) => live_config(live),
        None => live_config(&LiveOptions::default()),
    };
    config["language"] = options.language.clone().into();
    if !options.vocabulary.is_empty() {
        let entry = |term: &Term| match &*term.sounds_like {
            [] => json!(term.content),
            sounds => json!({"content": term.content, "sounds_like": sounds}),
        };
        config["additional_vocab"] = options.vocabulary.iter().map(entry).collect();
    }
    json!({
        "message": "StartRecognition",
        "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": SAMPLE_RATE},
        "transcription_config": config,
    })
    .to_string()
}

pub(super) fn set(language: &str, live: &LiveOptions) -> String {
    let mut config = live_config(live);
    config["language"] = language.into();
    json!({"message": "SetRecognitionConfig", "transcription_config": config}).to_string()
}

pub(super) fn end(sent: u64) -> String {
    json!({"message": "EndOfStream", "last_seq_no": sent}).to_string()
}

fn live_config(live: &LiveOptions) -> Value {
    let mode = match live.max_delay_mode {
        MaxDelayMode::Flexible => "flexible",
        MaxDelayMode::Fixed => "fixed",
    };
    let silence = live.end_of_utterance.map_or(0.0, |silence| silence.as_secs_f64());
    json!({
        "enable_partials": live.partials,
        "max_delay": live.max_delay.as_secs_f64().clamp(DELAYS.0, DELAYS.1),
        "max_delay_mode": mode,
        "conversation_config": {
            "end_of_utterance_silence_trigger": silence.min(LONGEST_SILENCE),
        },
    })
}

/// What the server says, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(tag = "message")]
pub(super) enum Answer {
    RecognitionStarted,
    AudioAdded,
    AddTranscript(Transcript),
    AddPartialTranscript(Transcript),
    EndOfUtterance {
        metadata: Metadata,
    },
    EndOfTranscript,
    Error(Notice),
    Warning(Notice),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
pub(super) struct Notice {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    reason: String,
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The text of another machine: no line breaks into the log, and no end of it.
        let shown =
            |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(300).collect() };
        write!(f, "{}: {}", shown(&self.kind), shown(&self.reason))
    }
}

impl Notice {
    /// Whether all sessions of the server are taken, so that another moment may be better.
    pub(super) fn is_busy(&self) -> bool {
        self.kind == "quota_exceeded"
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    #[serde(default)]
    start_time: f64,
    #[serde(default)]
    end_time: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Transcript {
    metadata: Metadata,
    #[serde(default)]
    results: Vec<Outcome>,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    start_time: f64,
    #[serde(default)]
    end_time: f64,
    #[serde(default)]
    attaches_to: Option<String>,
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Deserialize)]
struct Alternative {
    #[serde(default)]
    content: String,
    #[serde(default)]
    confidence: f32,
}

impl Transcript {
    /// The words, marks put back on those that they belong to; `offset` seconds later.
    fn stretch(self, offset: f64) -> Stretch {
        let mut words: Vec<Word> = Vec::new();
        // What is written before the next word.
        let mut before = String::new();
        for outcome in self.results {
            let Some(best) = outcome.alternatives.into_iter().next() else { continue };
            let (start, end) = (offset + outcome.start_time, offset + outcome.end_time);
            let mark = outcome.kind == "punctuation";
            match (outcome.attaches_to.as_deref(), words.last_mut()) {
                (Some("next"), _) if mark => before.push_str(&best.content),
                (Some("none"), _) | (_, None) => words.push(Word {
                    text: std::mem::take(&mut before) + &best.content,
                    start,
                    end: end.max(start),
                    confidence: best.confidence,
                }),
                (attached, Some(last)) if mark => {
                    last.text.push_str(&best.content);
                    if attached == Some("both") {
                        before = std::mem::take(&mut last.text);
                        words.pop();
                    }
                }
                (_, Some(_)) => words.push(Word {
                    text: std::mem::take(&mut before) + &best.content,
                    start,
                    end: end.max(start),
                    confidence: best.confidence,
                }),
            }
        }
        let start = offset + self.metadata.start_time;
        Stretch { start, end: (offset + self.metadata.end_time).max(start), words }
    }
}

impl Answer {
    /// What is heard by it, in a stream that began `offset` seconds before.
    pub(super) fn heard(self, offset: f64) -> Option<Heard> {
        match self {
            Self::AddTranscript(transcript) => Some(Heard::Final(transcript.stretch(offset))),
            Self::AddPartialTranscript(transcript) => {
                Some(Heard::Partial(transcript.stretch(offset)))
            }
            Self::EndOfUtterance { metadata } => {
                Some(Heard::EndOfUtterance { at: offset + metadata.end_time })
            }
            Self::RecognitionStarted
            | Self::AudioAdded
            | Self::EndOfTranscript
            | Self::Error(_)
            | Self::Warning(_)
            | Self::Other => None,
        }
    }
}
