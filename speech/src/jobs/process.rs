//! The work on one job: decode, recognise, filter.

use std::{fs::File, time::Instant};

use serde_json::Map;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    config::JobConfig,
    store::{Finished, StoreError},
};
use crate::{
    audio::{AudioError, AudioReader},
    recogniser::{Cancel, Heard, Recogniser, RecogniserError, SessionOptions, Word},
    transcript::items,
};

/// Why a job did not end with a transcript.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No second attempt would help.
    #[error("{0}")]
    Rejected(String),
    #[error("cancelled")]
    Cancelled,
    /// Another attempt may go better.
    #[error("{0}")]
    Failed(String),
}

impl From<AudioError> for Failure {
    fn from(err: AudioError) -> Self {
        match err {
            AudioError::Cancelled => Self::Cancelled,
            AudioError::Io(reason) => Self::Failed(reason),
            AudioError::Empty
            | AudioError::Unrecognised
            | AudioError::IndexAtEnd
            | AudioError::NoTrack
            | AudioError::Codec(_)
            | AudioError::Damaged(_)
            | AudioError::NoAudio
            | AudioError::TooLong(_) => {
                Self::Rejected(format!("Job rejected due to invalid audio: {err}"))
            }
        }
    }
}

impl From<RecogniserError> for Failure {
    fn from(err: RecogniserError) -> Self {
        match err {
            RecogniserError::Cancelled => Self::Cancelled,
            RecogniserError::Language { .. } => Self::Rejected(err.to_string()),
            RecogniserError::Engine(_) => Self::Failed(err.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        Self::Failed(err.to_string())
    }
}

/// The log of a job, for its owner.
#[derive(Debug, Default)]
pub(super) struct JobLog(pub(super) String);

impl JobLog {
    pub(super) fn line(&mut self, text: &str) {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        self.0.push_str(&format!("{now} {text}\n"));
    }
}

/// Everything that the work needs.
pub(super) struct Work<'a> {
    /// The configuration of the job: JSON.
    pub(super) config: &'a str,
    /// Which attempt it is, from 1.
    pub(super) attempt: u32,
    pub(super) recogniser: &'a dyn Recogniser,
    pub(super) longest_audio: std::time::Duration,
    pub(super) cancel: Cancel,
}

impl Work<'_> {
    /// Transcribes `audio`; tells how far it is, 0 to 1, about once a second of work.
    pub(super) fn run(
        &self,
        audio: File,
        log: &mut JobLog,
        mut progress: impl FnMut(f64),
    ) -> Result<Finished, Failure> {
        let begun = Instant::now();
        let config =
            JobConfig::parse(self.config).map_err(|err| Failure::Rejected(err.to_string()))?;
        let filter = config.filter().map_err(|err| Failure::Rejected(err.to_string()))?;
        let info = self.recogniser.info();
        log.line(&format!("attempt {} with {} {}", self.attempt, info.engine, info.model));
        for (feature, _) in &config.failed_features {
            log.line(&format!("{feature} is not available on this appliance"));
        }
        let mut audio = AudioReader::open(audio, self.longest_audio, &self.cancel)?;
        let mut options = SessionOptions::batch(&config.language, self.cancel.clone());
        options.vocabulary.clone_from(&config.vocabulary);
        let mut session = self.recogniser.begin(options)?;
        let mut words: Vec<Word> = Vec::new();
        while let Some(samples) = audio.next_samples()? {
            words.extend(finals(session.feed(&samples)?));
            progress(audio.progress());
        }
        words.extend(finals(session.finish()?));
        let duration = audio.duration();
        log.line(&format!(
            "{:.2} s of audio, {} words, {:.2} s of work",
            duration.as_secs_f64(),
            words.len(),
            begun.elapsed().as_secs_f64()
        ));
        Ok(Finished {
            duration,
            items: filter
                .apply(items(&words, &config.marks, 0.0, duration.as_secs_f64()), &config.language),
            log: std::mem::take(&mut log.0),
            model: config.model.clone().unwrap_or_else(|| "standard".into()),
            language: config.language,
            metadata: Map::new(),
        })
    }
}

fn finals(heard: Vec<Heard>) -> impl Iterator<Item = Word> {
    heard.into_iter().flat_map(|heard| match heard {
        Heard::Final(stretch) => stretch.words,
        Heard::Partial(_) | Heard::EndOfUtterance { .. } => Vec::new(),
    })
}
