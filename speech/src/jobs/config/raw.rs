//! The configuration as serde reads it. Documented keys of what cannot be done are taken, and told
//! with the transcript; any other key is refused.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Fetch, LowConfidence, Notification};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
pub(super) struct RawConfig {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) fetch_data: Option<Fetch>,
    pub(super) transcription_config: Option<Value>,
    pub(super) notification_config: Option<Vec<Notification>>,
    #[serde(rename = "tracking")]
    _tracking: Option<RawTracking>,
    pub(super) output_config: Option<RawOutput>,
    pub(super) language_identification_config: Option<RawIdentification>,
    // What cannot be done; `super::missing` tells it.
    #[serde(rename = "fetch_text")]
    _fetch_text: Option<Value>,
    #[serde(rename = "alignment_config")]
    _alignment: Option<Value>,
    #[serde(rename = "translation_config")]
    _translation: Option<Value>,
    #[serde(rename = "summarization_config")]
    _summarization: Option<Value>,
    #[serde(rename = "sentiment_analysis_config")]
    _sentiment_analysis: Option<Value>,
    #[serde(rename = "topic_detection_config")]
    _topic_detection: Option<Value>,
    #[serde(rename = "auto_chapters_config")]
    _auto_chapters: Option<Value>,
    #[serde(rename = "audio_events_config")]
    _audio_events: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
pub(super) struct RawIdentification {
    pub(super) expected_languages: Option<Vec<String>>,
    pub(super) low_confidence_action: Option<LowConfidence>,
    pub(super) default_language: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
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
#[serde(deny_unknown_fields, expecting = "an object in braces")]
pub(super) struct RawOutput {
    pub(super) srt_overrides: Option<RawSrt>,
    #[serde(rename = "generate_lattice")]
    _generate_lattice: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
pub(super) struct RawSrt {
    pub(super) max_line_length: Option<u16>,
    pub(super) max_lines: Option<u16>,
}
