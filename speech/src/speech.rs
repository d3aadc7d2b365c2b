//! The speech side put together: the recogniser, its slots, the jobs.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    engine::{self, Engine},
    jobs::{Jobs, SqliteStore, StoreError},
    recogniser::Recogniser,
    slots::Slots,
    upstream::UpstreamSettings,
};

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
}

impl Default for SpeechSettings {
    fn default() -> Self {
        Self {
            engine: None,
            model: None,
            upstream: None,
            decoding_threads: std::thread::available_parallelism().map_or(1, usize::from),
            longest_audio: Duration::from_secs(24 * 3600),
        }
    }
}

/// Whether there is a recogniser.
#[derive(Clone)]
pub enum RecogniserState {
    /// The model is being read.
    Loading,
    Ready(Arc<dyn Recogniser>),
    /// There is none; the text says what to do.
    Unavailable(String),
}

/// The speech side of an appliance.
pub struct Speech {
    recogniser: RwLock<RecogniserState>,
    slots: Slots,
    jobs: Option<Jobs>,
}

impl Speech {
    /// Opens the job store below `data_dir` (with `jobs`) and begins to read the model on a thread
    /// of its own. Blocks for some milliseconds.
    ///
    /// # Errors
    /// The job store cannot be opened. A model that cannot be read is no error: see
    /// [`Speech::recogniser`].
    pub fn start(
        settings: SpeechSettings,
        data_dir: &Path,
        jobs: bool,
    ) -> Result<Arc<Self>, StoreError> {
        let slots = Slots::new(settings.decoding_threads);
        let jobs = if jobs {
            let store = Arc::new(SqliteStore::open(&data_dir.join("jobs"))?);
            Some(Jobs::start(store, &settings))
        } else {
            None
        };
        let recogniser = RwLock::new(RecogniserState::Loading);
        let speech = Arc::new(Self { recogniser, slots, jobs });
        let loading = speech.clone();
        let thread = std::thread::Builder::new().name("speech-model".into());
        if let Err(err) = thread.spawn(move || loading.load(&settings)) {
            let reason = format!("the thread that reads the model cannot start: {err}");
            speech.set(RecogniserState::Unavailable(reason));
        }
        Ok(speech)
    }

    /// A speech side that serves nothing, for an appliance without speech services.
    #[must_use]
    pub fn off() -> Arc<Self> {
        let reason = "no listener carries a speech service".to_owned();
        let recogniser = RwLock::new(RecogniserState::Unavailable(reason));
        Arc::new(Self { recogniser, slots: Slots::new(1), jobs: None })
    }

    /// The recogniser, if there is one.
    #[must_use]
    pub fn recogniser(&self) -> RecogniserState {
        self.recogniser.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who may compute when.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The jobs; `None` where the batch service is not served.
    #[must_use]
    pub fn jobs(&self) -> Option<&Jobs> {
        self.jobs.as_ref()
    }

    /// Puts running jobs back into the queue and ends the workers. Blocks.
    pub fn stop(&self) {
        if let Some(jobs) = &self.jobs {
            jobs.stop();
        }
    }

    fn set(&self, state: RecogniserState) {
        if let (RecogniserState::Ready(recogniser), Some(jobs)) = (&state, &self.jobs) {
            jobs.use_recogniser(recogniser.clone());
        }
        *self.recogniser.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn load(&self, settings: &SpeechSettings) {
        let state = match engine::load(settings, &self.slots) {
            Ok(recogniser) => {
                let info = recogniser.info();
                log::info!("recogniser {} with the model {}", info.engine, info.model);
                RecogniserState::Ready(recogniser)
            }
            Err(reason) => {
                log::error!("no speech: {reason}");
                RecogniserState::Unavailable(reason)
            }
        };
        self.set(state);
    }
}
