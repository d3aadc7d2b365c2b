//! `transcription_config`, the same for jobs and for realtime sessions.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    lists, reading,
    recogniser::Term,
    transcript::{Filter, Marks, Rule, RuleError, Rules},
};

/// The key under which it stands.
pub(crate) const KEY: &str = "transcription_config";

/// The configuration as serde reads it. Every documented key is known, what cannot be done
/// included: [`missing`] tells that.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object in braces")]
pub(crate) struct RawTranscription {
    pub(crate) language: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) operating_point: Option<String>,
    additional_vocab: Option<Vec<RawVocabulary>>,
    punctuation_overrides: Option<RawPunctuation>,
    diarization: Option<RawDiarization>,
    channel_diarization_labels: Option<Vec<String>>,
    pub(crate) max_delay: Option<f64>,
    pub(crate) max_delay_mode: Option<RawDelayMode>,
    pub(crate) enable_partials: Option<bool>,
    /// Another name of the former.
    pub(crate) enable_transcription_partials: Option<bool>,
    pub(crate) conversation_config: Option<RawConversation>,
    transcript_filtering_config: Option<RawFiltering>,
    // What follows has to fit, and is told as missing where it asks for something.
    #[serde(rename = "domain")]
    _domain: Option<String>,
    #[serde(rename = "output_locale")]
    _output_locale: Option<String>,
    #[serde(rename = "enable_entities")]
    _enable_entities: Option<bool>,
    #[serde(rename = "speaker_diarization_config")]
    _speaker_diarization_config: Option<RawSpeakers>,
    #[serde(rename = "speaker_change_sensitivity")]
    _speaker_change_sensitivity: Option<f64>,
    #[serde(rename = "audio_filtering_config")]
    _audio_filtering_config: Option<RawAudioFiltering>,
    #[serde(rename = "language_hints")]
    _language_hints: Option<Vec<String>>,
    #[serde(rename = "language_hints_strict")]
    _language_hints_strict: Option<bool>,
    #[serde(rename = "streaming_mode")]
    _streaming_mode: Option<bool>,
    #[serde(rename = "language_pack_info")]
    _language_pack_info: Option<Value>,
    #[serde(rename = "ctrl")]
    _ctrl: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawDiarization {
    None,
    Speaker,
    Channel,
    ChannelAndSpeaker,
    SpeakerChange,
    ChannelAndSpeakerChange,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RawDelayMode {
    Flexible,
    Fixed,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a text, or {\"content\": \"…\", \"sounds_like\": [\"…\"]}"
)]
enum RawVocabulary {
    Plain(String),
    Entry(RawEntry),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    content: String,
    sounds_like: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object in braces")]
struct RawPunctuation {
    permitted_marks: Option<Vec<String>>,
    sensitivity: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object in braces")]
pub(crate) struct RawConversation {
    pub(crate) end_of_utterance_silence_trigger: Option<f64>,
    end_of_utterance_mode: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object in braces")]
struct RawFiltering {
    remove_disfluencies: Option<bool>,
    replacements: Option<Vec<Rule>>,
}

// The whole of it is told as missing, whatever else a client's version has in it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, expecting = "an object in braces")]
struct RawSpeakers {
    #[serde(rename = "prefer_current_speaker")]
    _prefer_current_speaker: Option<bool>,
    #[serde(rename = "speaker_sensitivity")]
    _speaker_sensitivity: Option<f64>,
    #[serde(rename = "max_speakers")]
    _max_speakers: Option<u32>,
    #[serde(rename = "get_speakers")]
    _get_speakers: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "an object in braces")]
struct RawAudioFiltering {
    #[serde(rename = "volume_threshold")]
    _volume_threshold: Option<f64>,
}

impl RawTranscription {
    /// Reads the configuration of a client.
    ///
    /// # Errors
    /// Names the key and says what to write.
    pub(crate) fn read(value: &Value) -> Result<Self, String> {
        reading::read(value, KEY)
    }

    /// Whether speakers are to be told apart by their voices.
    pub(crate) fn names_speakers(&self) -> bool {
        !matches!(self.diarization, None | Some(RawDiarization::None | RawDiarization::Channel))
    }

    /// The labels of channels that are told apart; there may be fewer than channels. `None` where
    /// they are not.
    ///
    /// # Errors
    /// There are too many, or one cannot be.
    pub(crate) fn channels(&self) -> Result<Option<Vec<String>>, String> {
        let labels = self.channel_diarization_labels.clone().unwrap_or_default();
        lists::check_labels(&labels).map_err(within)?;
        let apart = match self.diarization {
            Some(
                RawDiarization::Channel
                | RawDiarization::ChannelAndSpeaker
                | RawDiarization::ChannelAndSpeakerChange,
            ) => true,
            None
            | Some(
                RawDiarization::None | RawDiarization::Speaker | RawDiarization::SpeakerChange,
            ) => false,
        };
        Ok(apart.then_some(labels))
    }

    /// Words that the recogniser should expect.
    ///
    /// # Errors
    /// There are too many, or one is too long.
    pub(crate) fn vocabulary(&self) -> Result<Vec<Term>, String> {
        let entries = self.additional_vocab.iter().flatten().map(|entry| match entry {
            RawVocabulary::Plain(content) => (content.as_str(), &[][..]),
            RawVocabulary::Entry(RawEntry { content, sounds_like }) => {
                (content.as_str(), sounds_like.as_deref().unwrap_or_default())
            }
        });
        lists::check_vocabulary(entries.clone()).map_err(within)?;
        let term = |(content, sounds_like): (&str, &[String])| Term {
            content: content.to_owned(),
            sounds_like: sounds_like.to_vec(),
        };
        Ok(entries.map(term).collect())
    }

    /// Which marks may stand in the transcript.
    ///
    /// # Errors
    /// One is no mark, or the sensitivity is out of its range.
    pub(crate) fn marks(&self) -> Result<Marks, String> {
        let Some(raw) = &self.punctuation_overrides else { return Ok(Marks::All) };
        if let Some(sensitivity) = raw.sensitivity
            && !(0.0..=1.0).contains(&sensitivity)
        {
            let text = format!(
                "punctuation_overrides.sensitivity is {sensitivity}; it must be from 0 to 1"
            );
            return Err(within(text));
        }
        let Some(permitted) = &raw.permitted_marks else { return Ok(Marks::All) };
        lists::marks(permitted).map_err(within)
    }

    /// What is to be left out, and the rules of what is to be replaced.
    ///
    /// # Errors
    /// There are too many rules, or one is too long.
    pub(crate) fn filter(&self) -> Result<(Filter, Rules), RuleError> {
        let raw = self.transcript_filtering_config.clone().unwrap_or_default();
        let rules = Rules::new(raw.replacements.unwrap_or_default())?;
        let remove_disfluencies = raw.remove_disfluencies.unwrap_or_default();
        Ok((Filter { remove_disfluencies, ..Filter::default() }, rules))
    }
}

/// With the key in front.
fn within(text: String) -> String {
    format!("{KEY}.{text}")
}

/// A feature that was asked for and is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The key with which it was asked for.
    pub feature: &'static str,
    pub reason: String,
}

impl Missing {
    pub(crate) fn new(feature: &'static str) -> Self {
        Self { feature, reason: format!("{feature} is not available on this appliance") }
    }
}

/// The code of the warning about a [`Missing`] feature.
pub(crate) const UNSUPPORTED_FEATURE: &str = "unsupported_feature";

/// Keys of what cannot be done.
const MISSING: [&str; 11] = [
    "speaker_diarization_config",
    "speaker_change_sensitivity",
    "enable_entities",
    "domain",
    "output_locale",
    "audio_filtering_config",
    "language_hints",
    "language_hints_strict",
    "streaming_mode",
    "language_pack_info",
    "ctrl",
];
/// Keys that mean something in realtime sessions alone.
const LIVE: [&str; 5] = [
    "max_delay",
    "max_delay_mode",
    "enable_partials",
    "enable_transcription_partials",
    "conversation_config",
];
/// What clients ask for by default; there is one model, and it is meant.
const USUAL_MODELS: [&str; 2] = ["standard", "enhanced"];
/// The sensitivity to marks that is meant where none is given.
const USUAL_SENSITIVITY: f64 = 0.5;

/// What a configuration that could be read asks for in vain. `live`: it is that of a realtime session.
pub(crate) fn missing(raw: &RawTranscription, config: &Value, live: bool) -> Vec<Missing> {
    let mut missing = Vec::new();
    if raw.names_speakers() {
        missing.push(Missing::new("diarization"));
    }
    for feature in MISSING {
        if config.get(feature).is_some_and(asks_for_something) {
            missing.push(Missing::new(feature));
        }
    }
    let sensitivity = raw.punctuation_overrides.as_ref().and_then(|raw| raw.sensitivity);
    if sensitivity.is_some_and(|sensitivity| sensitivity != USUAL_SENSITIVITY) {
        missing.push(Missing::new("punctuation_overrides.sensitivity"));
    }
    if let Some(model) = raw.model.as_ref().or(raw.operating_point.as_ref())
        && !USUAL_MODELS.contains(&model.as_str())
    {
        let reason = "this appliance has one model, whichever model is asked for".to_owned();
        missing.push(Missing { feature: "model", reason });
    }
    if live {
        let mode =
            raw.conversation_config.as_ref().and_then(|raw| raw.end_of_utterance_mode.as_deref());
        if mode == Some("adaptive") {
            missing.push(Missing::new("end_of_utterance_mode"));
        }
        return missing;
    }
    for feature in LIVE {
        if config.get(feature).is_some_and(asks_for_something) {
            let reason = format!("{feature} has no meaning for a job; it is for realtime sessions");
            missing.push(Missing { feature, reason });
        }
    }
    missing
}

/// Whether a value differs from what saying nothing means.
fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !matches!(&**value, "" | "general" | "default"),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => values.values().any(asks_for_something),
    }
}
