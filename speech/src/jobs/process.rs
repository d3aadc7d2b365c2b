//! The work on one job: decode, recognise, filter.

use std::{
    fs::File,
    io::{self, Seek},
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    config::JobConfig,
    failure::Failure,
    identify::{Found, identify},
    job::Finished,
};
use crate::{
    audio::{AudioError, AudioReader},
    listener::{Finding, Listener},
    recogniser::{Cancel, Heard, Recogniser, Session, SessionOptions, Word},
    transcript::{Item, items, merged},
    transcription_config::{Missing, UNSUPPORTED_FEATURE},
};

/// What was fed longer ago than this, in seconds, has been heard: no window is longer.
const LONGEST_WINDOW: f64 = 30.0;

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
    pub(super) longest_audio: Duration,
    pub(super) cancel: Cancel,
}

impl Work<'_> {
    /// Transcribes `audio`; tells how much of it was heard, 0 to 1, for each second or so of it.
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
        let mut warnings: Vec<Value> = config.missing.iter().map(unsupported).collect();
        let Found { language, mut metadata } = self.language(&config, &audio, log)?;
        let mut audio = AudioReader::open(audio, self.longest_audio, &self.cancel)?;
        let mut options = SessionOptions::batch(&language, self.cancel.clone());
        options.vocabulary.clone_from(&config.vocabulary);
        if config.channels.is_some() {
            audio = audio.apart();
        }
        let mut lanes: Vec<Lane> = Vec::new();
        while let Some(samples) = audio.next_lanes()? {
            // How many there are shows with the first samples.
            while lanes.len() < samples.len() {
                let session = self.recogniser.begin(options.clone())?;
                let listener = Listener::new(&language);
                lanes.push(Lane { session, listener, words: Vec::new(), until: 0.0 });
            }
            for (index, samples) in samples.iter().enumerate() {
                lanes[index].listener.hear(samples);
                let heard = lanes[index].session.feed(samples)?;
                lanes[index].take(heard);
                progress(audio.progress() * share_heard(&lanes, audio.duration()));
            }
        }
        for index in 0..lanes.len() {
            let heard = lanes[index].session.finish()?;
            lanes[index].take(heard);
            progress(share_heard(&lanes, audio.duration()));
        }
        let duration = audio.duration();
        if config.channels.is_some() {
            log.line(&format!("{} channels, each by itself", lanes.len()));
        }
        log.line(&format!(
            "{:.2} s of audio, {} words, {:.2} s of work",
            duration.as_secs_f64(),
            lanes.iter().map(|lane| lane.words.len()).sum::<usize>(),
            begun.elapsed().as_secs_f64()
        ));
        for (index, lane) in lanes.iter_mut().enumerate() {
            lane.listener.recognised(&lane.words);
            let channel = config.channels.as_ref().map(|labels| label(labels, index));
            warnings.extend(lane.listener.finding().map(|finding| unheard(&finding, channel)));
        }
        for warning in &warnings {
            let text = |key: &str| warning[key].as_str().unwrap_or_default();
            log.line(&format!("warning {}: {}", text("code"), text("reason")));
        }
        let results = lanes.iter().map(|lane| {
            let items = items(&lane.words, &config.marks, 0.0, duration.as_secs_f64());
            filter.apply(items, &language)
        });
        let items: Vec<Item> = match &config.channels {
            Some(labels) => merged(labelled(labels, results)),
            None => results.flatten().collect(),
        };
        if !warnings.is_empty() {
            metadata.insert("warnings".into(), warnings.into());
        }
        Ok(Finished {
            duration,
            items,
            log: std::mem::take(&mut log.0),
            model: config.model.clone().unwrap_or_else(|| "standard".into()),
            language,
            metadata,
        })
    }

    /// The language of the job, which is found if it is not named.
    fn language(
        &self,
        config: &JobConfig,
        audio: &File,
        log: &mut JobLog,
    ) -> Result<Found, Failure> {
        if !config.is_to_identify() {
            return Ok(Found { language: config.language.clone(), metadata: Map::new() });
        }
        // The appliance may have another model by now than when it took the job.
        config.check_languages(self.recogniser.info()).map_err(Failure::Rejected)?;
        let begun = Instant::now();
        let unreadable = |err: io::Error| AudioError::Io(err.to_string());
        let unread = audio.try_clone().map_err(unreadable)?;
        let mut reader = AudioReader::open(unread, self.longest_audio, &self.cancel)?;
        let mut found =
            identify(self.recogniser, &mut reader, &config.identification, &self.cancel)?;
        // Clones of a file share where they are.
        let mut shared: &File = audio;
        shared.rewind().map_err(unreadable)?;
        if let Some(asked) = config.submitted.get("language_identification_config") {
            found.metadata.insert("language_identification_config".into(), asked.clone());
        }
        log.line(&format!(
            "the language is {}, found in {:.2} s of work: {}",
            found.language,
            begun.elapsed().as_secs_f64(),
            found.metadata["language_identification"]
        ));
        Ok(found)
    }
}

/// A channel, or all of them together, on its way to words.
struct Lane {
    session: Box<dyn Session>,
    listener: Listener,
    words: Vec<Word>,
    /// Up to where all was heard, in seconds.
    until: f64,
}

impl Lane {
    fn take(&mut self, heard: Vec<Heard>) {
        for heard in heard {
            if let Heard::Final(stretch) = heard {
                self.until = stretch.end;
                self.words.extend(stretch.words);
            }
        }
    }
}

/// How much of the audio that was read was heard as well, 0 to 1: sessions gather long windows.
fn share_heard(lanes: &[Lane], read: Duration) -> f64 {
    let read = read.as_secs_f64();
    let heard = |lane: &Lane| lane.until.max(read - LONGEST_WINDOW).clamp(0.0, read);
    lanes.iter().map(heard).sum::<f64>() / (read * lanes.len() as f64)
}

/// The warning about a feature that is not to be had.
fn unsupported(missing: &Missing) -> Value {
    json!({"code": UNSUPPORTED_FEATURE, "feature": missing.feature, "reason": missing.reason})
}

/// The warning about words that are missing.
fn unheard(finding: &Finding, channel: Option<String>) -> Value {
    let mut warning = json!(finding.figures);
    warning["code"] = finding.lack.code().into();
    warning["reason"] = finding.reason(channel.as_deref()).into();
    if let Some(channel) = channel {
        warning["channel"] = channel.into();
    }
    warning
}

/// Channels beyond the labels are called by their number.
fn label(labels: &[String], index: usize) -> String {
    labels.get(index).cloned().unwrap_or_else(|| format!("Channel {}", index + 1))
}

fn labelled<T>(labels: &[String], channels: impl Iterator<Item = T>) -> Vec<(String, T)> {
    channels.enumerate().map(|(index, channel)| (label(labels, index), channel)).collect()
}
