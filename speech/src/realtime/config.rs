//! What a client asks for with `StartRecognition` and changes with `SetRecognitionConfig`, checked.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::messages::{ErrorType, Refusal, StartRecognition};
use crate::{
    lists::{self, LONGEST_LABEL, MOST_CHANNELS},
    recogniser::{Cancel, LiveOptions, MaxDelayMode, SessionOptions},
    transcript::{Filter, Marks, Rule, Rules},
};

/// Seconds a final may be made to wait.
const MAX_DELAYS: std::ops::RangeInclusive<f64> = 0.7..=20.0;
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;

/// How the audio comes. Nothing said means a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum AudioFormat {
    /// The bytes of a file in any form that is understood.
    #[default]
    File,
    /// Mono samples without a header.
    Raw { encoding: Encoding, sample_rate: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    PcmS16le,
    PcmF32le,
    Mulaw,
}

impl Encoding {
    /// Bytes of a sample.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::PcmS16le => 2,
            Self::PcmF32le => 4,
            Self::Mulaw => 1,
        }
    }
}

impl AudioFormat {
    /// Samples a second, where the format says it.
    #[must_use]
    pub fn sample_rate(self) -> Option<u32> {
        match self {
            Self::File => None,
            Self::Raw { sample_rate, .. } => Some(sample_rate),
        }
    }

    /// How many bytes may wait for the recogniser before acknowledgements are held back: about ten
    /// seconds.
    #[must_use]
    pub fn lead(self) -> u64 {
        match self {
            Self::File => 384 << 10,
            Self::Raw { encoding, sample_rate } => {
                10 * u64::from(sample_rate) * encoding.width() as u64
            }
        }
    }
}

/// A session as it was asked for.
#[derive(Debug, Clone)]
pub struct SessionPlan {
    pub audio: AudioFormat,
    pub language: String,
    pub vocabulary: Vec<String>,
    pub live: LiveOptions,
    pub marks: Marks,
    /// Its replacements are those of `rules`, once the session is open.
    pub filter: Filter,
    pub rules: Rules,
    /// Whether results name a speaker; here it is always `UU`, unknown.
    pub speakers: bool,
    /// The labels of the channels where they come apart.
    pub channels: Option<Vec<String>>,
    /// Whether translations were asked for, which are not to be had here.
    pub translation: bool,
    /// What else was asked for and is not to be had here, by its key.
    pub missing: Vec<&'static str>,
}

/// `transcription_config` as serde reads it. Keys that steer what this recogniser has no knob for
/// are taken and not used; any other key is refused.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTranscription {
    language: Option<String>,
    additional_vocab: Option<Vec<RawVocabulary>>,
    punctuation_overrides: Option<RawPunctuation>,
    diarization: Option<String>,
    channel_diarization_labels: Option<Vec<String>>,
    max_delay: Option<f64>,
    max_delay_mode: Option<String>,
    enable_partials: Option<bool>,
    conversation_config: Option<RawConversation>,
    transcript_filtering_config: Option<RawFiltering>,
    #[serde(rename = "model")]
    _model: Option<Value>,
    #[serde(rename = "operating_point")]
    _operating_point: Option<Value>,
    domain: Option<Value>,
    output_locale: Option<Value>,
    enable_entities: Option<Value>,
    speaker_diarization_config: Option<Value>,
    speaker_change_sensitivity: Option<Value>,
    audio_filtering_config: Option<Value>,
    #[serde(rename = "language_pack_info")]
    _language_pack_info: Option<Value>,
    #[serde(rename = "enable_transcription_partials")]
    _enable_transcription_partials: Option<Value>,
    #[serde(rename = "streaming_mode")]
    _streaming_mode: Option<Value>,
    #[serde(rename = "ctrl")]
    _ctrl: Option<Value>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum RawVocabulary {
    Plain(String),
    Entry { content: String, sounds_like: Option<Vec<String>> },
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawPunctuation {
    permitted_marks: Option<Vec<String>>,
    sensitivity: Option<f64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawConversation {
    end_of_utterance_silence_trigger: Option<f64>,
    end_of_utterance_mode: Option<Value>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFiltering {
    remove_disfluencies: Option<bool>,
    replacements: Option<Vec<Rule>>,
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorType::InvalidConfig, reason))
}

impl SessionPlan {
    /// Checks what a client asks for.
    ///
    /// # Errors
    /// `invalid_config` or `invalid_audio_type`, with what is wrong and what would be right.
    pub fn new(start: StartRecognition) -> Result<Self, Refusal> {
        let bad_audio = |reason| Refusal::new(ErrorType::InvalidAudioType, reason);
        let audio: AudioFormat = match start.audio_format {
            None | Some(Value::Null) => AudioFormat::default(),
            Some(value) => serde_json::from_value(value)
                .map_err(|err| bad_audio(format!("audio_format: {err}")))?,
        };
        if let AudioFormat::Raw { sample_rate, .. } = audio
            && !RATES.contains(&sample_rate)
        {
            let reason = format!(
                "audio_format.sample_rate is {sample_rate}; it must be from {} to {}",
                RATES.start(),
                RATES.end()
            );
            return Err(bad_audio(reason));
        }
        let raw: RawTranscription = serde_json::from_value(start.transcription_config)
            .or_else(|err| refuse(format!("transcription_config: {err}")))?;
        let Some(language) = raw.language.clone() else {
            return refuse("transcription_config.language is missing");
        };
        let mut live = LiveOptions::default();
        change(&mut live, &raw)?;
        let (speakers, channels) = diarization(&raw)?;
        let missing = missing(&raw, start.audio_events_config.as_ref());
        let (filter, rules) = filter(raw.transcript_filtering_config)?;
        Ok(Self {
            audio,
            language,
            vocabulary: vocabulary(raw.additional_vocab)?,
            live,
            marks: marks(raw.punctuation_overrides)?,
            filter,
            rules,
            speakers,
            channels,
            translation: start.translation_config.is_some_and(|value| !value.is_null()),
            missing,
        })
    }

    /// The settings of a running session as `SetRecognitionConfig` changes them. Clients send their
    /// whole configuration again, so what cannot change may be repeated.
    ///
    /// # Errors
    /// `invalid_config`.
    pub fn reconfigured(&self, raw: &RawTranscription) -> Result<LiveOptions, Refusal> {
        if let Some(language) = &raw.language
            && *language != self.language
        {
            return refuse(format!(
                "the language of a session cannot change; it is {}",
                self.language
            ));
        }
        let mut live = self.live.clone();
        change(&mut live, raw)?;
        Ok(live)
    }

    /// What the recogniser is asked for.
    #[must_use]
    pub fn options(&self, cancel: Cancel) -> SessionOptions {
        let mut options = SessionOptions::live(&self.language, self.live.clone(), cancel);
        options.vocabulary.clone_from(&self.vocabulary);
        options
    }
}

/// What was asked for and is not to be had here.
fn missing(raw: &RawTranscription, audio_events: Option<&Value>) -> Vec<&'static str> {
    let asks = |value: Option<&Value>| value.is_some_and(asks_for_something);
    let speakers = matches!(raw.diarization.as_deref(), Some("speaker" | "channel_and_speaker"));
    let conversation = raw.conversation_config.as_ref();
    let mode = conversation.and_then(|config| config.end_of_utterance_mode.as_ref());
    let volume = raw.audio_filtering_config.as_ref().and_then(|raw| raw.get("volume_threshold"));
    let spoken_alike = raw.additional_vocab.iter().flatten().any(|entry| {
        matches!(entry, RawVocabulary::Entry { sounds_like: Some(alike), .. } if !alike.is_empty())
    });
    let sensitivity =
        raw.punctuation_overrides.as_ref().is_some_and(|raw| raw.sensitivity.is_some());
    let asked = [
        ("diarization", speakers),
        ("speaker_diarization_config", asks(raw.speaker_diarization_config.as_ref())),
        ("speaker_change_sensitivity", asks(raw.speaker_change_sensitivity.as_ref())),
        ("enable_entities", asks(raw.enable_entities.as_ref())),
        ("domain", asks(raw.domain.as_ref())),
        ("output_locale", asks(raw.output_locale.as_ref())),
        ("audio_filtering_config", asks(volume)),
        ("sounds_like", spoken_alike),
        ("punctuation_overrides.sensitivity", sensitivity),
        ("end_of_utterance_mode", mode.is_some_and(|mode| mode == "adaptive")),
        ("audio_events_config", audio_events.is_some_and(|value| !value.is_null())),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(key, _)| key).collect()
}

/// Whether a value differs from what saying nothing means.
fn asks_for_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !matches!(&**value, "" | "general" | "default" | "false" | "False"),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => values.values().any(asks_for_something),
    }
}

fn change(live: &mut LiveOptions, raw: &RawTranscription) -> Result<(), Refusal> {
    if let Some(seconds) = raw.max_delay {
        if !MAX_DELAYS.contains(&seconds) {
            return refuse(format!(
                "transcription_config.max_delay is {seconds}; it must be from {} to {} seconds",
                MAX_DELAYS.start(),
                MAX_DELAYS.end()
            ));
        }
        live.max_delay = Duration::from_secs_f64(seconds);
    }
    match raw.max_delay_mode.as_deref() {
        None => {}
        Some("flexible") => live.max_delay_mode = MaxDelayMode::Flexible,
        Some("fixed") => live.max_delay_mode = MaxDelayMode::Fixed,
        Some(_) => {
            return refuse("transcription_config.max_delay_mode must be `flexible` or `fixed`");
        }
    }
    if let Some(partials) = raw.enable_partials {
        live.partials = partials;
    }
    let trigger = raw.conversation_config.as_ref();
    if let Some(seconds) = trigger.and_then(|config| config.end_of_utterance_silence_trigger) {
        if !(0.0..=2.0).contains(&seconds) {
            return refuse(
                "conversation_config.end_of_utterance_silence_trigger must be from 0 to 2 seconds",
            );
        }
        live.end_of_utterance = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
    }
    Ok(())
}

fn diarization(raw: &RawTranscription) -> Result<(bool, Option<Vec<String>>), Refusal> {
    let (speakers, channels) = match raw.diarization.as_deref() {
        None | Some("none") => (false, false),
        Some("speaker") => (true, false),
        Some("channel") => (false, true),
        Some("channel_and_speaker") => (true, true),
        Some(_) => {
            return refuse(
                "transcription_config.diarization must be none, speaker, channel or channel_and_speaker",
            );
        }
    };
    if !channels {
        return Ok((speakers, None));
    }
    let labels = raw.channel_diarization_labels.clone().unwrap_or_default();
    let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
    if labels.is_empty() || labels.len() > MOST_CHANNELS || distinct.len() < labels.len() {
        return refuse(format!(
            "diarization by channel needs 1 to {MOST_CHANNELS} different channel_diarization_labels"
        ));
    }
    if labels.iter().any(|label| label.len() > LONGEST_LABEL) {
        return refuse(format!(
            "a label of channel_diarization_labels has more than {LONGEST_LABEL} bytes"
        ));
    }
    Ok((speakers, Some(labels)))
}

fn vocabulary(raw: Option<Vec<RawVocabulary>>) -> Result<Vec<String>, Refusal> {
    let raw = raw.unwrap_or_default();
    let entries = raw.iter().map(|entry| match entry {
        RawVocabulary::Plain(content) => (&**content, &[][..]),
        RawVocabulary::Entry { content, sounds_like } => {
            (&**content, sounds_like.as_deref().unwrap_or_default())
        }
    });
    lists::check_vocabulary(entries).or_else(refuse)?;
    let content = |entry| match entry {
        RawVocabulary::Plain(content) | RawVocabulary::Entry { content, .. } => content,
    };
    Ok(raw.into_iter().map(content).collect())
}

fn marks(raw: Option<RawPunctuation>) -> Result<Marks, Refusal> {
    let raw = raw.unwrap_or_default();
    if raw.sensitivity.is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return refuse("punctuation_overrides.sensitivity must be from 0 to 1");
    }
    let Some(permitted) = raw.permitted_marks else { return Ok(Marks::All) };
    lists::marks(&permitted).or_else(refuse)
}

fn filter(raw: Option<RawFiltering>) -> Result<(Filter, Rules), Refusal> {
    let raw = raw.unwrap_or_default();
    let rules = Rules::new(raw.replacements.unwrap_or_default())
        .or_else(|err| refuse(format!("transcript_filtering_config: {err}")))?;
    let remove_disfluencies = raw.remove_disfluencies.unwrap_or_default();
    Ok((Filter { remove_disfluencies, ..Filter::default() }, rules))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(config: Value) -> Result<SessionPlan, Refusal> {
        let start = json!({"audio_format": {"type": "file"}, "transcription_config": config});
        SessionPlan::new(serde_json::from_value(start).unwrap())
    }

    #[test]
    fn what_the_official_clients_send_is_taken() {
        let plan = plan(json!({
            "language": "en", "model": "enhanced", "operating_point": "enhanced",
            "enable_partials": true, "max_delay": 5, "max_delay_mode": "flexible",
            "additional_vocab": ["gnocchi", {"content": "CEO", "sounds_like": ["see ee oh"]}],
            "conversation_config": {"end_of_utterance_silence_trigger": 0.5},
            "punctuation_overrides": {"permitted_marks": ["."], "sensitivity": 0.4},
            "diarization": "channel", "channel_diarization_labels": ["a", "b"], "domain": null,
        }))
        .unwrap();
        assert_eq!(plan.vocabulary, ["gnocchi", "CEO"]);
        assert!(plan.live.partials);
        assert_eq!(plan.live.end_of_utterance, Some(Duration::from_millis(500)));
        assert_eq!(plan.channels.unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_to_be_had_is_noted_and_what_is_off_is_not() {
        for (config, expected) in [
            (json!({"diarization": "speaker"}), vec!["diarization"]),
            (
                json!({"diarization": "channel_and_speaker", "channel_diarization_labels": ["a"],
                       "speaker_diarization_config": {"max_speakers": 3}}),
                vec!["diarization", "speaker_diarization_config"],
            ),
            (json!({"enable_entities": true}), vec!["enable_entities"]),
            (
                json!({"domain": "finance", "output_locale": "en-GB"}),
                vec!["domain", "output_locale"],
            ),
            (
                json!({"audio_filtering_config": {"volume_threshold": 3}}),
                vec!["audio_filtering_config"],
            ),
            (
                json!({"additional_vocab": ["a", {"content": "b", "sounds_like": ["bee"]}],
                       "punctuation_overrides": {"sensitivity": 0.2},
                       "conversation_config": {"end_of_utterance_mode": "adaptive"}}),
                vec!["sounds_like", "punctuation_overrides.sensitivity", "end_of_utterance_mode"],
            ),
            (
                json!({"diarization": "none", "enable_entities": false, "domain": null, "model": "x",
                       "operating_point": "enhanced", "speaker_diarization_config": {},
                       "audio_filtering_config": {"volume_threshold": 0}, "additional_vocab": ["a"],
                       "conversation_config": {"end_of_utterance_mode": "fixed"}}),
                vec![],
            ),
        ] {
            let mut whole = json!({"language": "en"});
            whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
            assert_eq!(plan(whole).unwrap().missing, expected, "{config}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (config, expected) in [
            (json!({}), "language is missing"),
            (json!({"language": "en", "max_dely": 3}), "unknown field `max_dely`"),
            (json!({"language": "en", "max_delay": 0.1}), "max_delay is 0.1; it must be from 0.7"),
            (json!({"language": "en", "max_delay_mode": "x"}), "`flexible` or `fixed`"),
            (json!({"language": "en", "diarization": "x"}), "diarization must be"),
            (json!({"language": "en", "diarization": "channel"}), "channel_diarization_labels"),
            (
                json!({"language": "en", "conversation_config": {"end_of_utterance_silence_trigger": 3}}),
                "from 0 to 2",
            ),
            (
                json!({"language": "en", "punctuation_overrides": {"permitted_marks": [".."]}}),
                "single marks",
            ),
            (json!([]), "transcription_config"),
        ] {
            let refused = plan(config.clone()).unwrap_err();
            assert_eq!(refused.kind, ErrorType::InvalidConfig);
            assert!(refused.reason.contains(expected), "{config}: {}", refused.reason);
        }
    }

    #[test]
    fn a_running_session_keeps_its_language() {
        let plan = plan(json!({"language": "en", "max_delay": 2})).unwrap();
        let raw = |value| serde_json::from_value::<RawTranscription>(value).unwrap();
        let live = plan.reconfigured(&raw(json!({"language": "en", "max_delay": 1}))).unwrap();
        assert_eq!(live.max_delay, Duration::from_secs(1));
        assert!(plan.reconfigured(&raw(json!({"language": "de"}))).is_err());
    }
}
