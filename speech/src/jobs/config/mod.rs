//! What a client asks for with a job: the `config` part, checked.

mod raw;

use serde::Deserialize;
use serde_json::{Value, json};

use self::raw::{RawConfig, RawDiarization, RawPunctuation, RawSrt, RawVocabulary};

use crate::{
    lists::{self, LONGEST_LABEL, MOST_CHANNELS},
    transcript::{Filter, Marks, RuleError, Rules, SrtLimits},
};

const MOST_NOTIFICATIONS: usize = 3;

/// A checked configuration. It may hold secrets for callbacks: its `Debug` hides them.
#[derive(Clone)]
pub struct JobConfig {
    /// As it was submitted, without keys that were null.
    pub submitted: Value,
    pub language: String,
    /// `standard`, `enhanced` or another name that was given; there is one model here all the same.
    pub model: Option<String>,
    /// Words that the recogniser should expect.
    pub vocabulary: Vec<String>,
    pub marks: Marks,
    pub srt: SrtLimits,
    pub fetch: Option<Fetch>,
    pub notifications: Vec<Notification>,
    /// Features that were asked for and are not to be had here, with what is told about each.
    pub failed_features: Vec<(String, Value)>,
    /// The labels of the channels where they are to be told apart; there may be fewer than channels.
    pub channels: Option<Vec<String>>,
    remove_disfluencies: bool,
    replacements: Rules,
}

/// Where the audio is to be fetched. Whoever fetches judges the address and the headers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    pub url: String,
    /// Lines `Name: value`; may hold secrets.
    #[serde(default)]
    pub auth_headers: Option<Vec<String>>,
}

/// Whom to tell that a job is finished. Whoever tells judges the address and the headers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notification {
    pub url: String,
    /// What to send; absent means the transcript as a file.
    #[serde(default)]
    pub contents: Option<Vec<String>>,
    /// `post` (the default) or `put`.
    #[serde(default)]
    pub method: Option<String>,
    /// Lines `Name: value`; may hold secrets.
    #[serde(default)]
    pub auth_headers: Option<Vec<String>>,
}

impl std::fmt::Debug for JobConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobConfig").field("language", &self.language).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Notification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Notification").field("contents", &self.contents).finish_non_exhaustive()
    }
}

/// Why a configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("the config is not JSON; the first error is at line {line} column {column}")]
    NotJson { line: usize, column: usize },
    #[error("{0}")]
    Schema(String),
    #[error("transcript_filtering_config: {0}")]
    Replacements(#[from] RuleError),
    #[error("transcription_config has no language")]
    NoLanguage,
    #[error("jobs of type {0} are not to be had here; the type must be transcription")]
    Product(String),
}

impl JobConfig {
    /// Checks the text of a configuration.
    ///
    /// # Errors
    /// Says which key is wrong and what would be right.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut submitted: Value = serde_json::from_str(text)
            .map_err(|err| ConfigError::NotJson { line: err.line(), column: err.column() })?;
        remove_nulls(&mut submitted);
        let raw: RawConfig = serde_path(&submitted)?;
        if raw.kind != "transcription" {
            return Err(ConfigError::Product(raw.kind));
        }
        let failed_features = failed_features(&raw);
        let notifications = raw.notification_config.unwrap_or_default();
        check_notifications(&notifications)?;
        let transcription = raw.transcription_config.ok_or(ConfigError::NoLanguage)?;
        let language = transcription
            .language
            .filter(|language| !language.is_empty())
            .ok_or(ConfigError::NoLanguage)?;
        let labels = transcription.channel_diarization_labels.unwrap_or_default();
        let channels = channels(transcription.diarization, labels)?;
        let filtering = transcription.transcript_filtering_config;
        let (remove_disfluencies, replacements) = filtering.map_or((false, Vec::new()), |raw| {
            (raw.remove_disfluencies.unwrap_or(false), raw.replacements.unwrap_or_default())
        });
        Ok(Self {
            language,
            model: transcription.model.or(transcription.operating_point),
            vocabulary: vocabulary(transcription.additional_vocab.unwrap_or_default())?,
            marks: marks(transcription.punctuation_overrides)?,
            srt: srt_limits(raw.output_config.and_then(|output| output.srt_overrides))?,
            fetch: raw.fetch_data,
            notifications,
            failed_features,
            channels,
            remove_disfluencies,
            replacements: Rules::new(replacements)?,
            submitted,
        })
    }

    /// What is to be replaced; compiling it is work.
    #[must_use]
    pub fn replacements(&self) -> &Rules {
        &self.replacements
    }

    /// The filter for the results.
    ///
    /// # Errors
    /// A replacement is no regular expression; the job fails then.
    pub fn filter(&self) -> Result<Filter, RuleError> {
        let replacements = self.replacements.compile()?;
        Ok(Filter { remove_disfluencies: self.remove_disfluencies, replacements })
    }
}

/// Null is the same as absent, at every depth.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn serde_path(value: &Value) -> Result<RawConfig, ConfigError> {
    if !value.is_object() {
        return Err(ConfigError::Schema("the config must be a JSON object".into()));
    }
    RawConfig::deserialize(value)
        .map_err(|err| ConfigError::Schema(format!("the config does not fit: {err}")))
}

fn vocabulary(raw: Vec<RawVocabulary>) -> Result<Vec<String>, ConfigError> {
    let entries = raw.iter().map(|entry| match entry {
        RawVocabulary::Plain(content) => (&**content, &[][..]),
        RawVocabulary::Entry(entry) => (&*entry.content, entry.sounds_like()),
    });
    lists::check_vocabulary(entries).map_err(ConfigError::Schema)?;
    let content = |entry| match entry {
        RawVocabulary::Plain(content) => content,
        RawVocabulary::Entry(entry) => entry.content,
    };
    Ok(raw.into_iter().map(content).collect())
}

/// Whether speakers are to be told apart by their voices.
fn names_speakers(kind: &RawDiarization) -> bool {
    !matches!(kind, RawDiarization::None | RawDiarization::Channel)
}

/// The labels of channels that are told apart; for others none.
fn channels(
    kind: Option<RawDiarization>,
    labels: Vec<String>,
) -> Result<Option<Vec<String>>, ConfigError> {
    let key = "transcription_config.channel_diarization_labels";
    if labels.len() > MOST_CHANNELS {
        let text = format!("{key} has {} entries; {MOST_CHANNELS} are the most", labels.len());
        return Err(ConfigError::Schema(text));
    }
    for (index, label) in labels.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        if label.is_empty() || label.len() > LONGEST_LABEL || !label.chars().all(plain) {
            return Err(ConfigError::Schema(format!(
                "{key}[{index}] must have 1 to {LONGEST_LABEL} letters, digits, dots and underscores"
            )));
        }
        if labels[..index].contains(label) {
            let text = format!("{key}[{index}] is `{label}`, which another channel has");
            return Err(ConfigError::Schema(text));
        }
    }
    let apart = matches!(
        kind,
        Some(
            RawDiarization::Channel
                | RawDiarization::ChannelAndSpeaker
                | RawDiarization::ChannelAndSpeakerChange
        )
    );
    Ok(apart.then_some(labels))
}

fn marks(raw: Option<RawPunctuation>) -> Result<Marks, ConfigError> {
    let Some(raw) = raw else { return Ok(Marks::All) };
    if raw.sensitivity.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Err(ConfigError::Schema("punctuation_overrides.sensitivity must be 0 to 1".into()));
    }
    let Some(permitted) = raw.permitted_marks else { return Ok(Marks::All) };
    lists::marks(&permitted).map_err(ConfigError::Schema)
}

fn srt_limits(raw: Option<RawSrt>) -> Result<SrtLimits, ConfigError> {
    let default = SrtLimits::default();
    let Some(raw) = raw else { return Ok(default) };
    let limits = SrtLimits {
        line_length: raw.max_line_length.map_or(default.line_length, usize::from),
        lines: raw.max_lines.map_or(default.lines, usize::from),
    };
    if limits.line_length == 0 || limits.lines == 0 {
        return Err(ConfigError::Schema("srt_overrides must be at least 1".into()));
    }
    Ok(limits)
}

const CONTENTS: &[&str] =
    &["jobinfo", "transcript", "transcript.json-v2", "transcript.txt", "transcript.srt", "data"];

fn check_notifications(notifications: &[Notification]) -> Result<(), ConfigError> {
    if notifications.len() > MOST_NOTIFICATIONS {
        let text = format!("notification_config may have {MOST_NOTIFICATIONS} entries at most");
        return Err(ConfigError::Schema(text));
    }
    for notification in notifications {
        let method = notification.method.as_deref().unwrap_or("post");
        if !["post", "put"].iter().any(|known| method.eq_ignore_ascii_case(known)) {
            let text = "notification_config.method must be post or put";
            return Err(ConfigError::Schema(text.into()));
        }
        let contents = notification.contents.as_deref().unwrap_or_default();
        if contents.len() > CONTENTS.len() {
            let text =
                format!("notification_config.contents has more than {} entries", CONTENTS.len());
            return Err(ConfigError::Schema(text));
        }
        for item in contents {
            if !CONTENTS.contains(&item.as_str()) {
                let text = format!(
                    "notification_config.contents may hold {}, not `{item}`",
                    CONTENTS.join(", ")
                );
                return Err(ConfigError::Schema(text));
            }
        }
    }
    Ok(())
}

/// A finished transcript tells what was asked for and could not be done.
fn failed_features(raw: &RawConfig) -> Vec<(String, Value)> {
    let transcription = raw.transcription_config.as_ref();
    let diarization = transcription.and_then(|config| config.diarization.as_ref());
    let asked = [
        ("translation", raw.translation_config.is_some()),
        ("language_identification", raw.language_identification_config.is_some()),
        ("summarization", raw.summarization_config.is_some()),
        ("sentiment_analysis", raw.sentiment_analysis_config.is_some()),
        ("topic_detection", raw.topic_detection_config.is_some()),
        ("auto_chapters", raw.auto_chapters_config.is_some()),
        ("audio_events", raw.audio_events_config.is_some()),
        ("diarization", diarization.is_some_and(names_speakers)),
        ("entities", transcription.is_some_and(|config| config.enable_entities == Some(true))),
    ];
    let told = asked.into_iter().filter(|(_, asked)| *asked).map(|(feature, _)| {
        let message = format!("{feature} is not available on this appliance");
        (feature.to_owned(), json!([{"type": format!("{feature}_failed"), "message": message}]))
    });
    told.collect()
}

#[cfg(test)]
mod tests;
