//! What a client asks for with `StartRecognition` and changes with `SetRecognitionConfig`, checked.

use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::messages::{ErrorType, Refusal, SetRecognitionConfig, StartRecognition};
use crate::{
    lists::MOST_CHANNELS,
    reading::{self, remove_nulls, unknown_keys},
    recogniser::{Cancel, LiveOptions, MaxDelayMode, SessionOptions, Term},
    transcript::{Filter, Marks, Rules},
    transcription_config::{KEY, Missing, RawDelayMode, RawTranscription, missing},
};

/// Seconds a final may be made to wait.
const MAX_DELAYS: std::ops::RangeInclusive<f64> = 0.7..=20.0;
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;
/// What may change while a session runs.
const CHANGEABLE: [&str; 6] = [
    "max_delay",
    "max_delay_mode",
    "enable_partials",
    "enable_transcription_partials",
    "conversation_config",
    "audio_filtering_config",
];

/// How the audio comes. Nothing said means a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

#[derive(Deserialize)]
#[serde(expecting = "an object in braces")]
struct RawFormat {
    #[serde(rename = "type")]
    kind: RawFormatKind,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawFormatKind {
    File,
    Raw,
}

#[derive(Deserialize)]
struct RawSamples {
    encoding: Encoding,
    sample_rate: u32,
}

impl AudioFormat {
    /// Reads `audio_format`; gives the keys that mean nothing as well.
    fn read(value: Option<&Value>) -> Result<(Self, Vec<String>), String> {
        const KEY: &str = "audio_format";
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok((Self::default(), Vec::new()));
        };
        let RawFormat { kind } = reading::read(value, KEY)?;
        let unknown = |known| unknown_keys(value.as_object().into_iter().flatten(), KEY, known);
        if let RawFormatKind::File = kind {
            return Ok((Self::File, unknown(&["type"])));
        }
        let RawSamples { encoding, sample_rate } = reading::read(value, KEY)?;
        if !RATES.contains(&sample_rate) {
            return Err(format!(
                "{KEY}.sample_rate is {sample_rate}; it must be from {} to {}",
                RATES.start(),
                RATES.end()
            ));
        }
        Ok((Self::Raw { encoding, sample_rate }, unknown(&["type", "encoding", "sample_rate"])))
    }

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
    pub vocabulary: Vec<Term>,
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
    /// What else was asked for and is not to be had here.
    pub missing: Vec<Missing>,
    /// Keys that mean nothing here.
    pub unknown: Vec<String>,
    /// `transcription_config` as it was sent.
    config: Arc<Value>,
}

/// What `SetRecognitionConfig` asks for.
#[derive(Debug)]
pub struct Change {
    pub live: LiveOptions,
    /// What it asks for anew and is not to be had here.
    pub missing: Vec<Missing>,
    /// Keys that mean nothing here.
    pub unknown: Vec<String>,
    /// Keys that have another value now and cannot change.
    pub fixed: Vec<String>,
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
        let (audio, mut unknown) = AudioFormat::read(start.audio_format.as_ref())
            .map_err(|reason| Refusal::new(ErrorType::InvalidAudioType, reason))?;
        unknown.extend(start.unknown_keys());
        let mut config = start.transcription_config;
        remove_nulls(&mut config);
        let raw = RawTranscription::read(&config).or_else(refuse)?;
        let language = raw.language.clone().filter(|language| !language.is_empty());
        let Some(language) = language else {
            return refuse("transcription_config.language is missing");
        };
        let mut live = LiveOptions::default();
        change(&mut live, &raw)?;
        let mut missing = missing(&raw, &config, true);
        if start.audio_events_config.is_some_and(|value| !value.is_null()) {
            missing.push(Missing::new("audio_events_config"));
        }
        let (filter, rules) = raw.filter().or_else(|err| refuse(err.to_string()))?;
        Ok(Self {
            audio,
            language,
            vocabulary: raw.vocabulary().or_else(refuse)?,
            live,
            marks: raw.marks().or_else(refuse)?,
            filter,
            rules,
            speakers: raw.names_speakers(),
            channels: channels(&raw)?,
            translation: start.translation_config.is_some_and(|value| !value.is_null()),
            missing,
            unknown,
            config: Arc::new(config),
        })
    }

    /// The settings of a running session as `SetRecognitionConfig` changes them. Clients send their
    /// whole configuration again, so what cannot change may be repeated.
    ///
    /// # Errors
    /// `invalid_config`.
    pub fn reconfigured(&self, message: SetRecognitionConfig) -> Result<Change, Refusal> {
        let unknown = message.unknown_keys();
        let mut config = message.transcription_config;
        remove_nulls(&mut config);
        let raw = RawTranscription::read(&config).or_else(refuse)?;
        if let Some(language) = &raw.language
            && *language != self.language
        {
            return refuse(format!(
                "the language of a session cannot change; it is {}",
                self.language
            ));
        }
        let mut live = self.live.clone();
        change(&mut live, &raw)?;
        let keys = config.as_object().into_iter().flatten();
        let differs = |(key, value): &(&String, &Value)| {
            !CHANGEABLE.contains(&key.as_str()) && self.config.get(key.as_str()) != Some(*value)
        };
        let fixed: Vec<String> =
            keys.filter(differs).map(|(key, _)| format!("{KEY}.{key}")).collect();
        let mut missing = missing(&raw, &config, true);
        missing.retain(|missing| {
            let is_fixed = fixed.iter().any(|key| key.ends_with(missing.feature));
            !is_fixed && !self.missing.contains(missing)
        });
        Ok(Change { live, missing, unknown, fixed })
    }

    /// What the recogniser is asked for.
    #[must_use]
    pub fn options(&self, cancel: Cancel) -> SessionOptions {
        let mut options = SessionOptions::live(&self.language, self.live.clone(), cancel);
        options.vocabulary.clone_from(&self.vocabulary);
        options
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
    match raw.max_delay_mode {
        None => {}
        Some(RawDelayMode::Flexible) => live.max_delay_mode = MaxDelayMode::Flexible,
        Some(RawDelayMode::Fixed) => live.max_delay_mode = MaxDelayMode::Fixed,
    }
    if let Some(partials) = raw.enable_partials.or(raw.enable_transcription_partials) {
        live.partials = partials;
    }
    let trigger = raw.conversation_config.as_ref();
    if let Some(seconds) = trigger.and_then(|config| config.end_of_utterance_silence_trigger) {
        if !(0.0..=2.0).contains(&seconds) {
            return refuse(format!(
                "{KEY}.conversation_config.end_of_utterance_silence_trigger is {seconds}; it must be from 0 to 2 seconds"
            ));
        }
        live.end_of_utterance = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds));
    }
    Ok(())
}

fn channels(raw: &RawTranscription) -> Result<Option<Vec<String>>, Refusal> {
    let labels = raw.channels().or_else(refuse)?;
    if labels.as_ref().is_some_and(Vec::is_empty) {
        return refuse(format!(
            "{KEY}.channel_diarization_labels is missing; diarization by channel needs 1 to {MOST_CHANNELS} labels"
        ));
    }
    Ok(labels)
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
        let ceo = Term { content: "CEO".into(), sounds_like: vec!["see ee oh".into()] };
        assert_eq!(plan.vocabulary, ["gnocchi".into(), ceo]);
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
                vec!["punctuation_overrides.sensitivity", "end_of_utterance_mode"],
            ),
            (
                json!({"model": "melia-1", "language_hints": ["en"]}),
                vec!["language_hints", "model"],
            ),
            (
                json!({"diarization": "none", "enable_entities": false, "domain": null,
                       "operating_point": "enhanced", "speaker_diarization_config": {},
                       "audio_filtering_config": {"volume_threshold": 0}, "additional_vocab": ["a"],
                       "punctuation_overrides": {"sensitivity": 0.5}, "max_delay": 2,
                       "conversation_config": {"end_of_utterance_mode": "fixed"}}),
                vec![],
            ),
        ] {
            let mut whole = json!({"language": "en"});
            whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
            let missing = plan(whole).unwrap().missing;
            let told: Vec<_> = missing.iter().map(|missing| missing.feature).collect();
            assert_eq!(told, expected, "{config}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (config, expected) in [
            (json!({}), "language is missing"),
            (json!({"language": ""}), "language is missing"),
            (
                json!({"language": "en", "max_dely": 3}),
                "max_dely is not known here; did you mean max_delay?",
            ),
            (json!({"language": "en", "max_delay": 0.1}), "max_delay is 0.1; it must be from 0.7"),
            (
                json!({"language": "en", "max_delay_mode": "x"}),
                "is \"x\"; it must be `flexible` or `fixed`",
            ),
            (
                json!({"language": "en", "diarization": "x"}),
                "diarization is \"x\"; it must be one of `none`",
            ),
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
    fn values_of_the_wrong_kind_are_named_with_their_path() {
        for (config, expected) in [
            (
                json!({"enable_partials": "true"}),
                ".enable_partials is \"true\"; it must be true or false",
            ),
            (json!({"enable_partials": 1}), ".enable_partials is 1; it must be true or false"),
            (json!({"enable_entities": "False"}), ".enable_entities is \"False\"; it must be true"),
            (json!({"max_delay": "4"}), ".max_delay is \"4\"; it must be a number, without quotes"),
            (json!({"language": 7}), ".language is 7; it must be a text in quotes"),
            (
                json!({"conversation_config": {"end_of_utterance_silence_trigger": "0.5"}}),
                ".conversation_config.end_of_utterance_silence_trigger is \"0.5\"; it must be a number",
            ),
            (
                json!({"speaker_diarization_config": {"max_speakers": "2"}}),
                ".speaker_diarization_config.max_speakers is \"2\"; it must be a whole number",
            ),
            (
                json!({"transcript_filtering_config": {"remove_disfluencies": "yes"}}),
                ".transcript_filtering_config.remove_disfluencies is \"yes\"",
            ),
            (
                json!({"additional_vocab": ["a", 7]}),
                ".additional_vocab[1]: it must be a text, or {",
            ),
            (
                json!({"transcript_filtering_config": {"replacements": [{"from": "a"}]}}),
                ".transcript_filtering_config.replacements[0].to is missing",
            ),
        ] {
            let mut whole = json!({"language": "en"});
            whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
            let refused = plan(whole.clone()).unwrap_err();
            let expected = format!("{KEY}{expected}");
            assert!(refused.reason.starts_with(&expected), "{config}: {}", refused.reason);
            let running = plan(json!({"language": "en"})).unwrap();
            assert_eq!(running.reconfigured(set(whole)).unwrap_err(), refused);
        }
    }

    #[test]
    fn an_audio_format_that_cannot_be_names_its_key() {
        for (format, expected) in [
            (json!("file"), "audio_format is \"file\"; it must be an object in braces"),
            (json!({"encoding": "mulaw"}), "audio_format.type is missing"),
            (json!({"type": "tape"}), "audio_format.type is \"tape\"; it must be `file` or `raw`"),
            (json!({"type": "raw", "sample_rate": 8000}), "audio_format.encoding is missing"),
            (
                json!({"type": "raw", "encoding": "alaw", "sample_rate": 8000}),
                "audio_format.encoding is \"alaw\"; it must be one of `pcm_s16le`, `pcm_f32le`, `mulaw`",
            ),
            (
                json!({"type": "raw", "encoding": "mulaw", "sample_rate": "8000"}),
                "audio_format.sample_rate is \"8000\"; it must be a whole number",
            ),
            (
                json!({"type": "raw", "encoding": "mulaw", "sample_rate": 8}),
                "audio_format.sample_rate is 8; it must be from 4000 to 192000",
            ),
        ] {
            let refused = AudioFormat::read(Some(&format)).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
        let (_, unknown) =
            AudioFormat::read(Some(&json!({"type": "file", "codec": "mp3"}))).unwrap();
        assert_eq!(unknown, ["audio_format.codec"]);
        assert_eq!(AudioFormat::read(Some(&Value::Null)), Ok((AudioFormat::File, vec![])));
    }

    fn set(config: Value) -> SetRecognitionConfig {
        serde_json::from_value(json!({"transcription_config": config})).unwrap()
    }

    #[test]
    fn a_running_session_changes_what_can_change_and_tells_what_cannot() {
        let config = json!({"language": "en", "max_delay": 2, "model": "enhanced", "domain": null});
        let plan = plan(config).unwrap();
        let again = json!({"language": "en", "max_delay": 1, "model": "enhanced"});
        let Change { live, missing, unknown, fixed } = plan.reconfigured(set(again)).unwrap();
        assert_eq!(live.max_delay, Duration::from_secs(1));
        assert!(missing.is_empty() && unknown.is_empty() && fixed.is_empty());
        assert!(plan.reconfigured(set(json!({"language": "de"}))).is_err());
        let more = json!({"diarization": "speaker", "additional_vocab": ["x"],
            "audio_filtering_config": {"volume_threshold": 3}});
        let change = plan.reconfigured(set(more)).unwrap();
        assert_eq!(
            change.fixed,
            ["transcription_config.additional_vocab", "transcription_config.diarization"]
        );
        let told: Vec<_> = change.missing.iter().map(|missing| missing.feature).collect();
        assert_eq!(told, ["audio_filtering_config"]);
    }
}
