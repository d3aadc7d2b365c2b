//! The speech side put together: the recogniser, its slots, the jobs.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    engine,
    jobs::{Jobs, SqliteStore, StoreError, StoreOptions},
    recogniser::Recogniser,
    settings::SpeechSettings,
    slots::Slots,
};

/// How often a job store that could not be opened is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(10);

/// Whether there is a recogniser.
#[derive(Clone)]
pub enum RecogniserState {
    /// The model is being read.
    Loading,
    Ready(Arc<dyn Recogniser>),
    /// There is none; the text says what to do.
    Unavailable(String),
}

impl RecogniserState {
    /// The recogniser, if there is one by now.
    #[must_use]
    pub fn ready(self) -> Option<Arc<dyn Recogniser>> {
        match self {
            Self::Ready(recogniser) => Some(recogniser),
            Self::Loading | Self::Unavailable(_) => None,
        }
    }
}

/// Where the jobs lie, and how they are kept.
#[derive(Clone)]
pub struct JobsPlace {
    /// The folder of the job store.
    pub folder: PathBuf,
    /// The time for which the data directory was in use, over all starts; it never jumps.
    pub running_time: Arc<dyn Fn() -> Duration + Send + Sync>,
}

/// The speech side of an appliance.
pub struct Speech {
    recogniser: watch::Sender<RecogniserState>,
    slots: Slots,
    jobs: OnceLock<Jobs>,
    /// Why there are no jobs though there should be.
    trouble: RwLock<Option<String>>,
    stopping: AtomicBool,
}

impl Speech {
    fn new(slots: Slots) -> Arc<Self> {
        Arc::new(Self {
            recogniser: watch::Sender::new(RecogniserState::Loading),
            slots,
            jobs: OnceLock::new(),
            trouble: RwLock::default(),
            stopping: AtomicBool::new(false),
        })
    }

    /// Begins to read the model on a thread of its own. A model that cannot be read is no error: see
    /// [`Speech::recogniser`].
    #[must_use]
    pub fn start(settings: SpeechSettings) -> Arc<Self> {
        let speech = Self::new(Slots::new(settings.decoding_threads));
        let loading = speech.clone();
        let thread = std::thread::Builder::new().name("speech-model".into());
        if let Err(err) = thread.spawn(move || loading.load(&settings)) {
            let reason = format!("the thread that reads the model cannot start: {err}");
            speech.set(RecogniserState::Unavailable(reason));
        }
        speech
    }

    /// Opens the job store and works on its jobs. Blocks for some milliseconds. A store that cannot be
    /// opened is no error ([`Speech::trouble`]); it is tried again every ten seconds.
    pub fn serve_jobs(self: &Arc<Self>, place: JobsPlace, settings: &SpeechSettings) {
        if !self.open_jobs(&place, settings) {
            self.keep_trying(place, settings.clone());
        }
    }

    /// Whether that was the last try.
    fn open_jobs(&self, place: &JobsPlace, settings: &SpeechSettings) -> bool {
        let options = StoreOptions {
            running_time: place.running_time.clone(),
            most_waiting: settings.most_waiting_jobs as u64,
        };
        match SqliteStore::open(&place.folder, options) {
            Ok(store) => {
                let jobs = Jobs::start(Arc::new(store), settings);
                let opened = self.jobs.get_or_init(|| jobs);
                self.note_trouble(None);
                if let RecogniserState::Ready(recogniser) = self.recogniser() {
                    opened.use_recogniser(recogniser);
                }
                // Whoever stops either sees the jobs or is seen here.
                if self.stopping.load(Ordering::SeqCst) {
                    opened.stop();
                }
                true
            }
            Err(err) => {
                self.note_trouble(Some(explained(&err)));
                self.stopping.load(Ordering::SeqCst)
            }
        }
    }

    fn keep_trying(self: &Arc<Self>, place: JobsPlace, settings: SpeechSettings) {
        let speech = self.clone();
        let thread = std::thread::Builder::new().name("open-jobs".into());
        let trying = thread.spawn(move || {
            loop {
                std::thread::sleep(TRY_AGAIN);
                if speech.open_jobs(&place, &settings) {
                    return;
                }
            }
        });
        if let Err(err) = trying {
            log::error!("the jobs are not tried again before a restart: {err}");
        }
    }

    /// Logs each trouble once.
    fn note_trouble(&self, trouble: Option<String>) {
        let mut noted = self.trouble.write().unwrap_or_else(PoisonError::into_inner);
        match (&trouble, &*noted) {
            (Some(new), old) if Some(new) != old.as_ref() => log::error!("no jobs: {new}"),
            (None, Some(_)) => log::info!("the jobs were opened and are served"),
            _ => {}
        }
        *noted = trouble;
    }

    /// The recogniser, if there is one.
    #[must_use]
    pub fn recogniser(&self) -> RecogniserState {
        self.recogniser.borrow().clone()
    }

    /// The same once the model has been read, or cannot be; [`RecogniserState::Loading`] where that
    /// takes longer than `patience`. Needs a Tokio runtime.
    pub async fn loaded(&self, patience: Duration) -> RecogniserState {
        let mut states = self.recogniser.subscribe();
        let known = states.wait_for(|state| !matches!(state, RecogniserState::Loading));
        // However the wait ends, the state of that moment is the answer.
        let _ = tokio::time::timeout(patience, known).await;
        self.recogniser()
    }

    /// Who may compute when.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// The jobs; `None` where none are served, or while the store cannot be opened.
    #[must_use]
    pub fn jobs(&self) -> Option<&Jobs> {
        self.jobs.get()
    }

    /// Why the job store cannot be opened, and what to do, for an operator.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts running jobs back into the queue and ends the workers. Blocks.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(jobs) = self.jobs() {
            jobs.stop();
        }
    }

    fn set(&self, state: RecogniserState) {
        self.recogniser.send_replace(state.clone());
        if let (RecogniserState::Ready(recogniser), Some(jobs)) = (state, self.jobs()) {
            jobs.use_recogniser(recogniser);
        }
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

/// An error with its causes, for an operator.
fn explained(err: &StoreError) -> String {
    let mut text = err.to_string();
    let mut cause = std::error::Error::source(err);
    while let Some(err) = cause {
        text.push_str(&format!(": {err}"));
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_for_the_model_is_told_what_became_of_it() {
        let speech = Speech::new(Slots::new(1));
        let state = speech.loaded(Duration::ZERO).await;
        assert!(matches!(state, RecogniserState::Loading));
        // The wait begins before the state is set.
        let hour = Duration::from_secs(3600);
        let read = async { speech.set(RecogniserState::Unavailable("no model".into())) };
        let (state, ()) = tokio::join!(speech.loaded(hour), read);
        assert!(matches!(state, RecogniserState::Unavailable(reason) if reason == "no model"));
    }
}
