//! How the speech side is set up.

use std::{path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::upstream::UpstreamSettings;

/// The recognisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// whisper.cpp with a ggml model.
    Whisper,
    /// PocketSphinx with the English model of Debian.
    PocketSphinx,
    /// Another server of the realtime protocol.
    Upstream,
}

impl FromStr for Engine {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "whisper" => Ok(Self::Whisper),
            "pocketsphinx" => Ok(Self::PocketSphinx),
            "upstream" => Ok(Self::Upstream),
            _ => Err("the engines are whisper, pocketsphinx and upstream"),
        }
    }
}

/// How the speech side is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeechSettings {
    /// Which recogniser; `None`: the upstream if there is one, else Whisper if there is a model,
    /// else PocketSphinx if it is built in and its model is there.
    pub engine: Option<Engine>,
    /// A ggml model of Whisper; without one the default model is looked for.
    pub model: Option<PathBuf>,
    /// Another server that recognises.
    pub upstream: Option<UpstreamSettings>,
    /// Decodes that compute at once, and jobs that are worked on at once.
    pub decoding_threads: usize,
    /// The longest audio of a job.
    pub longest_audio: Duration,
    /// Jobs that may wait; those of one client may be half of them.
    pub most_waiting_jobs: usize,
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self {
            engine: None,
            model: None,
            upstream: None,
            decoding_threads: std::thread::available_parallelism().map_or(1, usize::from),
            longest_audio: Duration::from_secs(24 * 3600),
            most_waiting_jobs: 10_000,
        }
    }
}
