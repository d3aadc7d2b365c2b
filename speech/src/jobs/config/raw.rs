//! The configuration as serde reads it. Keys that steer what this recogniser has no knob for are
//! taken and not used; any other key is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Fetch, Notification};
use crate::transcript::Rule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) fetch_data: Option<Fetch>,
    pub(super) transcription_config: Option<RawTranscription>,
    pub(super) notification_config: Option<Vec<Notification>>,
    #[serde(rename = "tracking")]
    _tracking: Option<RawTracking>,
    pub(super) output_config: Option<RawOutput>,
    #[serde(rename = "fetch_text")]
    _fetch_text: Option<Value>,
    #[serde(rename = "alignment_config")]
    _alignment: Option<Value>,
    pub(super) translation_config: Option<Value>,
    pub(super) language_identification_config: Option<Value>,
    pub(super) summarization_config: Option<Value>,
    pub(super) sentiment_analysis_config: Option<Value>,
    pub(super) topic_detection_config: Option<Value>,
    pub(super) auto_chapters_config: Option<Value>,
    pub(super) audio_events_config: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTranscription {
    pub(super) language: Option<String>,
    pub(super) model: Option<String>,
    pub(super) operating_point: Option<String>,
    pub(super) additional_vocab: Option<Vec<RawVocabulary>>,
    pub(super) punctuation_overrides: Option<RawPunctuation>,
    pub(super) diarization: Option<RawDiarization>,
    pub(super) channel_diarization_labels: Option<Vec<String>>,
    pub(super) enable_entities: Option<bool>,
    pub(super) transcript_filtering_config: Option<RawFiltering>,
    // Taken and not used: they steer what this recogniser has no knob for.
    #[serde(rename = "domain")]
    _domain: Option<String>,
    #[serde(rename = "output_locale")]
    _output_locale: Option<String>,
    #[serde(rename = "speaker_diarization_config")]
    _speaker_diarization_config: Option<Value>,
    #[serde(rename = "speaker_change_sensitivity")]
    _speaker_change_sensitivity: Option<f64>,
    #[serde(rename = "max_delay_mode")]
    _max_delay_mode: Option<String>,
    #[serde(rename = "max_delay")]
    _max_delay: Option<f64>,
    #[serde(rename = "enable_partials")]
    _enable_partials: Option<bool>,
    #[serde(rename = "audio_filtering_config")]
    _audio_filtering_config: Option<Value>,
    #[serde(rename = "conversation_config")]
    _conversation_config: Option<Value>,
    #[serde(rename = "language_hints")]
    _language_hints: Option<Value>,
    #[serde(rename = "language_hints_strict")]
    _language_hints_strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawDiarization {
    None,
    Speaker,
    Channel,
    ChannelAndSpeaker,
    SpeakerChange,
    ChannelAndSpeakerChange,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawVocabulary {
    Plain(String),
    Entry(RawVocabularyEntry),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawVocabularyEntry {
    pub(super) content: String,
    sounds_like: Option<Vec<String>>,
}

impl RawVocabularyEntry {
    pub(super) fn sounds_like(&self) -> &[String] {
        self.sounds_like.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPunctuation {
    pub(super) permitted_marks: Option<Vec<String>>,
    pub(super) sensitivity: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFiltering {
    pub(super) remove_disfluencies: Option<bool>,
    pub(super) replacements: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTracking {
    #[serde(rename = "title")]
    _title: Option<String>,
    #[serde(rename = "reference")]
    _reference: Option<String>,
    #[serde(rename = "tags")]
    _tags: Option<Vec<String>>,
    #[serde(rename = "details")]
    _details: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOutput {
    pub(super) srt_overrides: Option<RawSrt>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSrt {
    pub(super) max_line_length: Option<u16>,
    pub(super) max_lines: Option<u16>,
}
