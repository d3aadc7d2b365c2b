//! What a client asks for with a job: the `config` part, checked.

mod raw;

use serde::Deserialize;
use serde_json::{Value, json};

use self::raw::{RawConfig, RawIdentification, RawSrt};

use crate::{
    reading::{self, remove_nulls},
    recogniser::{RecogniserInfo, Term},
    transcript::{Filter, Marks, RuleError, Rules, SrtLimits},
    transcription_config::{Missing, RawTranscription, missing},
};

const MOST_NOTIFICATIONS: usize = 3;
/// The language of jobs whose language is to be found.
const AUTO: &str = "auto";

/// A checked configuration. It may hold secrets for callbacks: its `Debug` hides them.
#[derive(Clone)]
pub struct JobConfig {
    /// As it was submitted, without keys that were null.
    pub submitted: Value,
    /// A code such as `en`, or `auto`.
    pub language: String,
    /// How the language is to be found; without effect unless [`JobConfig::is_to_identify`].
    pub identification: Identification,
    /// `standard`, `enhanced` or another name that was given; there is one model here all the same.
    pub model: Option<String>,
    /// Words that the recogniser should expect.
    pub vocabulary: Vec<Term>,
    pub marks: Marks,
    pub srt: SrtLimits,
    pub fetch: Option<Fetch>,
    pub notifications: Vec<Notification>,
    /// What was asked for and is not to be had here.
    pub missing: Vec<Missing>,
    /// Those of them for which clients look under a key of their own, with what is told there.
    pub failed_features: Vec<(String, Value)>,
    /// The labels of the channels where they are to be told apart; there may be fewer than channels.
    pub channels: Option<Vec<String>>,
    remove_disfluencies: bool,
    replacements: Rules,
}

/// Where the audio is to be fetched. Whoever fetches judges the address and the headers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
pub struct Fetch {
    pub url: String,
    /// Lines `Name: value`; may hold secrets.
    #[serde(default)]
    pub auth_headers: Option<Vec<String>>,
}

/// Whom to tell that a job is finished. Whoever tells judges the address and the headers.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object in braces")]
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

/// What is to be found where the language is `auto`, and what to do if it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identification {
    /// Nothing else is taken; empty: any language of the model.
    pub expected_languages: Vec<String>,
    pub low_confidence: LowConfidence,
    /// For a recording without speech, and for [`LowConfidence::UseDefaultLanguage`].
    pub default_language: Option<String>,
}

/// What is done with a recording whose language is not sure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LowConfidence {
    /// The likeliest language is taken.
    Allow,
    #[default]
    Reject,
    UseDefaultLanguage,
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
    #[error("the config is not JSON: {0}")]
    NotJson(String),
    #[error("{0}")]
    Schema(String),
    #[error(transparent)]
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
        let mut submitted = reading::parse(text).map_err(ConfigError::NotJson)?;
        remove_nulls(&mut submitted);
        if !submitted.is_object() {
            return Err(ConfigError::Schema("the config must be a JSON object".into()));
        }
        let raw: RawConfig = reading::read(&submitted, "").map_err(ConfigError::Schema)?;
        if raw.kind != "transcription" {
            return Err(ConfigError::Product(raw.kind));
        }
        let notifications = raw.notification_config.unwrap_or_default();
        check_notifications(&notifications)?;
        let asked = raw.transcription_config.ok_or(ConfigError::NoLanguage)?;
        let transcription = RawTranscription::read(&asked).map_err(ConfigError::Schema)?;
        if transcription.language.as_deref() == Some(AUTO) && asked.get("output_locale").is_some() {
            let text = "output_locale needs a language: it cannot be given where that is auto";
            return Err(ConfigError::Schema(text.into()));
        }
        let (filter, replacements) = transcription.filter()?;
        let mut missing = missing(&transcription, &asked, false);
        missing.extend(missing_beside(&submitted));
        Ok(Self {
            identification: identification(raw.language_identification_config)?,
            vocabulary: transcription.vocabulary().map_err(ConfigError::Schema)?,
            marks: transcription.marks().map_err(ConfigError::Schema)?,
            srt: srt_limits(raw.output_config.and_then(|output| output.srt_overrides))?,
            fetch: raw.fetch_data,
            notifications,
            failed_features: failed_features(&missing),
            missing,
            channels: transcription.channels().map_err(ConfigError::Schema)?,
            remove_disfluencies: filter.remove_disfluencies,
            replacements,
            language: transcription
                .language
                .filter(|language| !language.is_empty())
                .ok_or(ConfigError::NoLanguage)?,
            model: transcription.model.or(transcription.operating_point),
            submitted,
        })
    }

    /// Whether the language has to be found first.
    #[must_use]
    pub fn is_to_identify(&self) -> bool {
        self.language == AUTO
    }

    /// Checks the languages against those of the recogniser.
    ///
    /// # Errors
    /// Says which one it does not know, or that it cannot find one by itself.
    pub fn check_languages(&self, info: &RecogniserInfo) -> Result<(), String> {
        let is_unknown = |language: &&String| info.code_of(language).is_none();
        let known = info.languages.join(", ");
        let not_installed =
            |what: String| Err(format!("{what} is not installed; the installed ones are: {known}"));
        let Identification { expected_languages, default_language, .. } = &self.identification;
        if let Some(language) = expected_languages.iter().find(is_unknown) {
            return Err(format!(
                "Language(s) [{language}] are not supported for language id; supported are: {known}"
            ));
        }
        if let Some(language) = default_language.as_ref().filter(is_unknown) {
            let key = "language_identification_config.default_language";
            return not_installed(format!("{key} {language:?}"));
        }
        if self.is_to_identify() && !info.identifies {
            return Err(format!(
                "the language cannot be found by itself with this appliance's model, which knows {known}: name the language, or give the appliance a model of several languages, such as model = \"base\" below [speech]"
            ));
        }
        if !self.is_to_identify() && is_unknown(&&self.language) {
            return not_installed(format!("the language {:?}", self.language));
        }
        Ok(())
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

fn identification(raw: Option<RawIdentification>) -> Result<Identification, ConfigError> {
    let Some(raw) = raw else { return Ok(Identification::default()) };
    let low_confidence = raw.low_confidence_action.unwrap_or_default();
    if low_confidence == LowConfidence::UseDefaultLanguage && raw.default_language.is_none() {
        let text = "language_identification_config.low_confidence_action is use_default_language, which needs a default_language";
        return Err(ConfigError::Schema(text.into()));
    }
    Ok(Identification {
        expected_languages: raw.expected_languages.unwrap_or_default(),
        low_confidence,
        default_language: raw.default_language,
    })
}

fn srt_limits(raw: Option<RawSrt>) -> Result<SrtLimits, ConfigError> {
    let default = SrtLimits::default();
    let Some(raw) = raw else { return Ok(default) };
    let limits = SrtLimits {
        line_length: raw.max_line_length.map_or(default.line_length, usize::from),
        lines: raw.max_lines.map_or(default.lines, usize::from),
    };
    if limits.line_length == 0 || limits.lines == 0 {
        let text = "output_config.srt_overrides: max_line_length and max_lines must be at least 1";
        return Err(ConfigError::Schema(text.into()));
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

/// What stands beside `transcription_config` and cannot be done.
const ADD_ONS: [&str; 8] = [
    "translation_config",
    "summarization_config",
    "sentiment_analysis_config",
    "topic_detection_config",
    "auto_chapters_config",
    "audio_events_config",
    "fetch_text",
    "alignment_config",
];

fn missing_beside(config: &Value) -> Vec<Missing> {
    let asked = ADD_ONS.into_iter().filter(|key| config.get(key).is_some());
    let mut missing: Vec<Missing> = asked.map(Missing::new).collect();
    if config.pointer("/output_config/generate_lattice") == Some(&Value::Bool(true)) {
        missing.push(Missing::new("output_config.generate_lattice"));
    }
    missing
}

/// What the documented API tells of features that failed, and of two that clients treat alike.
fn failed_features(missing: &[Missing]) -> Vec<(String, Value)> {
    let failed = missing.iter().filter_map(|Missing { feature, .. }| match *feature {
        "diarization" => Some("diarization"),
        "enable_entities" => Some("entities"),
        "alignment_config" => None,
        add_on => add_on.strip_suffix("_config").filter(|_| ADD_ONS.contains(&add_on)),
    });
    let told = failed.map(|feature| {
        let message = format!("{feature} is not available on this appliance");
        (feature.to_owned(), json!([{"type": format!("{feature}_failed"), "message": message}]))
    });
    told.collect()
}

#[cfg(test)]
mod tests;
