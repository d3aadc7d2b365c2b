//! A finished job in one of its forms.

use std::{str::FromStr, time::Duration};

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, macros::format_description};

use super::{
    config::JobConfig,
    job::{Job, Transcript},
};
use crate::transcript::{JsonDocument, srt, text};

/// The forms of a transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Json,
    Text,
    Srt,
}

/// A name that is no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the formats are json-v2, txt and srt")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        match name {
            "json-v2" | "json" => Ok(Self::Json),
            "txt" => Ok(Self::Text),
            "srt" => Ok(Self::Srt),
            _ => Err(UnknownFormat),
        }
    }
}

impl Format {
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Text | Self::Srt => "text/plain; charset=utf-8",
        }
    }
}

/// Writes the transcript of a job.
#[must_use]
pub fn transcript(job: &Job, config: &JobConfig, found: &Transcript, format: Format) -> String {
    let Transcript { items, language, .. } = found;
    let language = language.as_ref().unwrap_or(&config.language);
    match format {
        Format::Json => document(job, config, found, language).to_string(),
        Format::Text => text(items, language),
        Format::Srt => srt(items, language, config.srt, job.duration.as_secs_f64()),
    }
}

fn document(job: &Job, config: &JobConfig, found: &Transcript, language: &str) -> Value {
    let mut about = Map::new();
    about.insert("created_at".into(), json!(timestamp(job.created_at)));
    about.insert("data_name".into(), json!(job.data_name));
    about.insert("duration".into(), json!(whole_seconds(job.duration)));
    about.insert("id".into(), json!(job.id.to_string()));
    if let Some(tracking) = config.submitted.get("tracking") {
        about.insert("tracking".into(), tracking.clone());
    }
    let finished = job.finished_at.unwrap_or(job.created_at);
    JsonDocument {
        job: Value::Object(about),
        created_at: timestamp(finished),
        transcription_config: config.submitted["transcription_config"].clone(),
        output_config: config.submitted.get("output_config").cloned(),
        language,
        metadata: &found.metadata,
        failed_features: &config.failed_features,
        orchestrator_version: concat!("portcullis-", env!("CARGO_PKG_VERSION")),
        items: &found.items,
    }
    .build()
}

/// The length of the audio in whole seconds; what is not empty has one at least.
#[must_use]
pub fn whole_seconds(audio: Duration) -> u64 {
    let rounded = audio.as_secs_f64().round() as u64;
    rounded.max(u64::from(!audio.is_zero()))
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn timestamp(moment: OffsetDateTime) -> String {
    let form =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    moment.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}
