//! The messages of the realtime protocol, typed.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{
    listener::{Figures, Lack},
    reading::{self, unknown_keys},
};

/// What a client says in a text message.
#[derive(Debug)]
pub enum ClientMessage {
    StartRecognition(Box<StartRecognition>),
    SetRecognitionConfig(Box<SetRecognitionConfig>),
    AddChannelAudio(AddChannelAudio),
    EndOfChannel(EndOfChannel),
    EndOfStream,
    ForceEndOfUtterance(ForceEndOfUtterance),
    GetSpeakers,
}

#[derive(Debug, Deserialize)]
pub struct StartRecognition {
    pub audio_format: Option<Value>,
    pub transcription_config: Value,
    pub translation_config: Option<Value>,
    pub audio_events_config: Option<Value>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
pub struct SetRecognitionConfig {
    pub transcription_config: Value,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl StartRecognition {
    /// Keys that mean nothing here.
    #[must_use]
    pub fn unknown_keys(&self) -> Vec<String> {
        unknown_keys(&self.others, "", &["message"])
    }
}

impl SetRecognitionConfig {
    /// Keys that mean nothing here. Clients repeat those of `StartRecognition`.
    #[must_use]
    pub fn unknown_keys(&self) -> Vec<String> {
        let repeated = ["message", "audio_format", "translation_config", "audio_events_config"];
        unknown_keys(&self.others, "", &repeated)
    }
}

#[derive(Debug, Deserialize)]
pub struct AddChannelAudio {
    pub channel: String,
    /// Base64.
    pub data: String,
}

#[derive(Debug, Deserialize)]
pub struct EndOfChannel {
    pub channel: String,
}

#[derive(Debug, Deserialize)]
pub struct ForceEndOfUtterance {
    pub channel: Option<String>,
}

impl ClientMessage {
    /// Reads a text message.
    ///
    /// # Errors
    /// The type and the reason of the `Error` to answer with.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = |reason: String| Refusal::new(ErrorType::InvalidMessage, reason);
        // .NET sends a byte order mark, which may be ignored (RFC 8259, section 8.1).
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let value = reading::parse(text)
            .map_err(|err| invalid(format!("the message is not JSON: {err}")))?;
        let name = value.get("message").and_then(Value::as_str).map(str::to_owned);
        let name = name.ok_or_else(|| {
            invalid("the message is no JSON object with a string `message`".to_owned())
        })?;
        Ok(match name.as_str() {
            "StartRecognition" => {
                Self::StartRecognition(Box::new(read(&value, &name, ErrorType::InvalidConfig)?))
            }
            "SetRecognitionConfig" => {
                Self::SetRecognitionConfig(Box::new(read(&value, &name, ErrorType::InvalidConfig)?))
            }
            "AddChannelAudio" => {
                Self::AddChannelAudio(read(&value, &name, ErrorType::InvalidMessage)?)
            }
            "EndOfChannel" => Self::EndOfChannel(read(&value, &name, ErrorType::InvalidMessage)?),
            "EndOfStream" => Self::EndOfStream,
            "ForceEndOfUtterance" => {
                Self::ForceEndOfUtterance(read(&value, &name, ErrorType::InvalidMessage)?)
            }
            "GetSpeakers" => Self::GetSpeakers,
            other => {
                let shown: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(invalid(format!(
                    "`{shown}` is no message of this protocol; known are StartRecognition, \
                     AddAudio (binary), AddChannelAudio, EndOfChannel, EndOfStream, \
                     ForceEndOfUtterance, GetSpeakers and SetRecognitionConfig"
                )));
            }
        })
    }
}

fn read<T: DeserializeOwned>(value: &Value, name: &str, kind: ErrorType) -> Result<T, Refusal> {
    reading::read(value, "").map_err(|err| Refusal::new(kind, format!("{name}: {err}")))
}

/// What the appliance says, each a text message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "message")]
pub enum ServerMessage {
    RecognitionStarted {
        id: String,
        orchestrator_version: String,
        language_pack_info: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel_ids: Option<Vec<String>>,
    },
    AudioAdded {
        seq_no: u64,
    },
    ChannelAudioAdded {
        seq_no: u64,
        channel: String,
    },
    AddPartialTranscript(Transcript),
    AddTranscript(Transcript),
    EndOfUtterance {
        format: &'static str,
        metadata: UtteranceEnd,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        forced: bool,
    },
    EndOfTranscript,
    SpeakersResult {
        speakers: Vec<Value>,
    },
    Info {
        #[serde(flatten)]
        info: Info,
        reason: String,
    },
    Warning {
        #[serde(flatten)]
        warning: Warning,
        reason: String,
    },
    Error {
        #[serde(rename = "type")]
        kind: ErrorType,
        reason: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transcript {
    pub format: &'static str,
    pub metadata: TranscriptMetadata,
    pub results: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TranscriptMetadata {
    pub start_time: f64,
    pub end_time: f64,
    pub transcript: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UtteranceEnd {
    pub start_time: f64,
    pub end_time: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Info {
    RecognitionQuality { quality: &'static str },
    ConcurrentSessionUsage { usage: usize, quota: usize, last_updated: String },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Warning {
    AddAudioAfterEos,
    IdleTimeout,
    SessionTimeout,
    UnsupportedTranslationPair,
    /// Something was asked for that is not to be had here; the session goes on without it.
    UnsupportedFeature {
        /// The key with which it was asked for.
        feature: &'static str,
    },
    /// Keys that a message had and that were not used.
    IgnoredKeys {
        keys: Vec<String>,
    },
    /// Words are missing, or sound is.
    #[serde(untagged)]
    Unheard {
        #[serde(rename = "type")]
        lack: Lack,
        #[serde(flatten)]
        figures: Figures,
        #[serde(skip_serializing_if = "Option::is_none")]
        channel: Option<String>,
    },
}

/// The types of `Error` that the appliance sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorType {
    /// No JSON, an unknown message or one with wrong keys.
    InvalidMessage,
    /// The language is not installed, or not that of the path.
    InvalidModel,
    InvalidConfig,
    /// The audio format is not known, or the audio is not what it said.
    InvalidAudioType,
    /// A message at the wrong time.
    ProtocolError,
    /// All sessions are taken.
    QuotaExceeded,
    /// More audio waits than the appliance keeps.
    BufferError,
    /// No audio for too long.
    IdleTimeout,
    /// The session is too old.
    SessionTimeout,
    /// The recogniser failed or there is none.
    JobError,
}

impl ErrorType {
    /// The close code and its reason.
    #[must_use]
    pub fn close(self) -> (u16, &'static str) {
        match self {
            Self::InvalidMessage => (1003, "invalid_message"),
            Self::InvalidConfig => (1003, "invalid_config"),
            Self::InvalidAudioType => (1003, "invalid_audio_type"),
            Self::ProtocolError => (1003, "protocol_error"),
            Self::InvalidModel => (4004, "invalid_model"),
            Self::QuotaExceeded => (4005, "quota_exceeded"),
            Self::JobError => (4013, "job_error"),
            Self::BufferError => (1008, "buffer_error"),
            Self::IdleTimeout | Self::SessionTimeout => (1008, "policy_violation"),
        }
    }
}

/// Why a session ends in an `Error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    pub kind: ErrorType,
    pub reason: String,
}

/// Characters of a reason: it may repeat what the client sent.
const LONGEST_REASON: usize = 500;

impl Refusal {
    /// What of the reason is no plain text, or too much, is left out.
    #[must_use]
    pub fn new(kind: ErrorType, reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        if reason.len() > LONGEST_REASON || reason.contains(char::is_control) {
            let plain = reason.chars().filter(|c| !c.is_control());
            let short: String = plain.clone().take(LONGEST_REASON).collect();
            let is_cut = plain.count() > LONGEST_REASON;
            reason = if is_cut { short + " …" } else { short };
        }
        Self { kind, reason }
    }
}
