//! The store with the threads that work on it.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::broadcast;

use super::{
    attempt_process::AttemptProcess,
    failure::Failure,
    job::{Finished, Job, JobId},
    process::{JobLog, Work},
    store::JobStore,
    store_error::StoreError,
};
use crate::{
    recogniser::{Cancel, Recogniser},
    settings::SpeechSettings,
};

/// Events that a slow listener may lag behind; after it, it looks into the store.
const EVENTS: usize = 1024;
/// How often the queue is looked at when nobody has rung.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// The progress of a job is told this often at most.
const TELL: Duration = Duration::from_secs(1);
/// What is left of a job is told from this share and this much work on.
const LEAST_SHARE: f64 = 0.01;
const LEAST_WORK: Duration = Duration::from_secs(1);
/// After the process has ended so often during a job, the next attempt is made apart.
const MOST_CRASHES: u32 = 2;

/// What happened to a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JobEvent {
    /// It was made, or begun: look into the store.
    Changed(JobId),
    /// How far the work on it is, 0 to 1.
    Progress(JobId, f64),
    /// It is done, rejected or deleted.
    Ended(JobId),
}

impl JobEvent {
    #[must_use]
    pub fn id(&self) -> JobId {
        match self {
            Self::Changed(id) | Self::Progress(id, _) | Self::Ended(id) => *id,
        }
    }
}

/// How far the work on a job is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// The share of the audio that was heard, 0 to 1.
    pub share: f64,
    /// What the rest will take if it goes on as it has so far; `None` while there is too little to
    /// go by.
    pub left: Option<Duration>,
}

/// What was done since the process began, of the jobs that are done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkDone {
    /// Audio that was transcribed.
    pub audio: Duration,
    /// What the work on it took, by the clock.
    pub work: Duration,
}

/// The job store and its workers. Clones share them.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    store: Arc<dyn JobStore>,
    /// The longest audio that is taken.
    longest_audio: Duration,
    attempt_process: AttemptProcess,
    audio_done_ms: AtomicU64,
    work_done_ms: AtomicU64,
    events: broadcast::Sender<JobEvent>,
    running: Mutex<HashMap<JobId, Running>>,
    recogniser: Mutex<Option<Arc<dyn Recogniser>>>,
    bell: Condvar,
    rung: Mutex<u64>,
    stopping: AtomicBool,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

struct Running {
    cancel: Cancel,
    begun: Instant,
    /// The share of the audio that was heard, 0 to 1, and when it had grown to that.
    share: f64,
    grown: Instant,
}

impl Running {
    fn new(cancel: Cancel) -> Self {
        let now = Instant::now();
        Self { cancel, begun: now, share: 0.0, grown: now }
    }

    /// Gives what was heard so far: files whose bytes are unevenly spread over time seem to hold
    /// more and less, and what was told is not taken back.
    fn heard(&mut self, share: f64) -> f64 {
        if share > self.share {
            (self.share, self.grown) = (share, Instant::now());
        }
        self.share
    }

    fn progress(&self) -> Progress {
        let (work, pause) = (self.grown - self.begun, self.grown.elapsed());
        Progress { share: self.share, left: time_left(self.share, work, pause) }
    }
}

/// What is left of a job of which a `share`, 0 to 1, took `work`, a `pause` ago.
fn time_left(share: f64, work: Duration, pause: Duration) -> Option<Duration> {
    let enough = share >= LEAST_SHARE && work >= LEAST_WORK;
    enough.then(|| work.mul_f64((1.0 - share).max(0.0) / share).saturating_sub(pause))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// Starts the workers, one for each decoding thread. They wait until
    /// [`Jobs::use_recogniser`] gives them a recogniser.
    #[must_use]
    pub fn start(store: Arc<dyn JobStore>, settings: &SpeechSettings) -> Self {
        let jobs = Self(Arc::new(Shared {
            store,
            longest_audio: settings.longest_audio,
            attempt_process: AttemptProcess::new(settings.clone()),
            audio_done_ms: AtomicU64::new(0),
            work_done_ms: AtomicU64::new(0),
            events: broadcast::channel(EVENTS).0,
            running: Mutex::default(),
            recogniser: Mutex::default(),
            bell: Condvar::new(),
            rung: Mutex::new(0),
            stopping: AtomicBool::new(false),
            workers: Mutex::default(),
        }));
        let mut workers = lock(&jobs.0.workers);
        for number in 1..=settings.decoding_threads.max(1) {
            workers.extend(jobs.spawn(&format!("job-{number}"), Self::work));
        }
        drop(workers);
        jobs
    }

    fn spawn(&self, name: &str, work: fn(&Self)) -> Option<JoinHandle<()>> {
        let jobs = self.clone();
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread
            .spawn(move || work(&jobs))
            .inspect_err(|err| log::error!("the thread {name} cannot start: {err}"))
            .ok()
    }

    /// The store. Its calls block.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn JobStore> {
        &self.0.store
    }

    /// What happens from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<JobEvent> {
        self.0.events.subscribe()
    }

    /// From now on jobs are worked on with this one.
    pub fn use_recogniser(&self, recogniser: Arc<dyn Recogniser>) {
        *lock(&self.0.recogniser) = Some(recogniser);
        self.ring();
    }

    /// A job is ready to be worked on, or to be fetched.
    pub fn announce(&self, id: JobId) {
        let _ = self.0.events.send(JobEvent::Changed(id));
        self.ring();
    }

    /// A job ended without a worker: by a failed fetch, for instance.
    pub fn announce_end(&self, id: JobId) {
        let _ = self.0.events.send(JobEvent::Ended(id));
    }

    /// How far the work on a job is; `None` while nobody works on it.
    #[must_use]
    pub fn progress(&self, id: JobId) -> Option<Progress> {
        lock(&self.0.running).get(&id).map(Running::progress)
    }

    /// What was done so far.
    #[must_use]
    pub fn work_done(&self) -> WorkDone {
        let read = |count: &AtomicU64| Duration::from_millis(count.load(Ordering::Relaxed));
        WorkDone { audio: read(&self.0.audio_done_ms), work: read(&self.0.work_done_ms) }
    }

    /// Deletes a job and ends the work on it.
    ///
    /// # Errors
    /// The store failed.
    pub fn delete(&self, id: JobId) -> Result<(), StoreError> {
        self.0.store.delete(id)?;
        if let Some(running) = lock(&self.0.running).get(&id) {
            running.cancel.cancel();
        }
        self.announce_end(id);
        Ok(())
    }

    /// Puts the jobs that are worked on back into the queue and waits for the workers. Blocks.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
        for running in lock(&self.0.running).values() {
            running.cancel.cancel();
        }
        self.ring();
        for worker in lock(&self.0.workers).drain(..) {
            let _ = worker.join();
        }
        if let Err(err) = self.0.store.rest() {
            log::warn!("the journal of the jobs stays beside their database: {err}");
        }
    }

    fn ring(&self) {
        *lock(&self.0.rung) += 1;
        self.0.bell.notify_all();
    }

    fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Acquire)
    }

    /// Waits until somebody rings after `heard`, or for `patience`.
    fn wait(&self, heard: u64, patience: Duration) {
        let rung = lock(&self.0.rung);
        let until = self.0.bell.wait_timeout_while(rung, patience, |rung| *rung == heard);
        drop(until);
    }

    fn work(&self) {
        while !self.is_stopping() {
            let heard = *lock(&self.0.rung);
            let recogniser = lock(&self.0.recogniser).clone();
            let claimed = recogniser.map(|recogniser| (recogniser, self.0.store.claim()));
            match claimed {
                Some((recogniser, Ok(Some(job)))) => self.attempt(&job, recogniser.as_ref()),
                Some((_, Err(err))) => {
                    log::error!(
                        "the job store failed: {err}: {:?}",
                        std::error::Error::source(&err)
                    );
                    self.wait(heard, STORE_PAUSE);
                }
                Some((_, Ok(None))) | None => self.wait(heard, LOOK),
            }
        }
    }

    fn attempt(&self, job: &Job, recogniser: &dyn Recogniser) {
        let cancel = Cancel::default();
        lock(&self.0.running).insert(job.id, Running::new(cancel.clone()));
        if self.is_stopping() {
            cancel.cancel();
        }
        let _ = self.0.events.send(JobEvent::Changed(job.id));
        let mut log = JobLog::default();
        let (begun, mut told) = (Instant::now(), Instant::now());
        let progress = |share: f64| {
            let mut running = lock(&self.0.running);
            let share = running.get_mut(&job.id).map_or(share, |running| running.heard(share));
            drop(running);
            if told.elapsed() >= TELL {
                told = Instant::now();
                let _ = self.0.events.send(JobEvent::Progress(job.id, share));
            }
        };
        let transcribed = AssertUnwindSafe(|| {
            let audio = self.0.store.open_audio(job.id)?;
            let audio = audio.ok_or_else(|| Failure::Rejected("the audio is gone".into()))?;
            if job.crashes >= MOST_CRASHES {
                return self.0.attempt_process.run(job, audio, &cancel, &mut log, progress);
            }
            let work = Work {
                config: &job.config,
                attempt: job.attempts,
                recogniser,
                longest_audio: self.0.longest_audio,
                cancel: cancel.clone(),
            };
            work.run(audio, &mut log, progress)
        });
        let done = catch_unwind(transcribed)
            .unwrap_or_else(|_| Err(Failure::Failed("the work on it broke off".into())));
        if let Ok(finished) = &done {
            let add = |count: &AtomicU64, duration: Duration| {
                let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                count.fetch_add(millis, Ordering::Relaxed);
            };
            add(&self.0.audio_done_ms, finished.duration);
            add(&self.0.work_done_ms, begun.elapsed());
        }
        let stored = self.store_outcome(job, done, &mut log);
        lock(&self.0.running).remove(&job.id);
        if let Err(err) = stored {
            log::error!("the end of job {} cannot be stored: {err}", job.id);
        }
        let _ = self.0.events.send(JobEvent::Ended(job.id));
    }

    fn store_outcome(
        &self,
        job: &Job,
        done: Result<Finished, Failure>,
        log: &mut JobLog,
    ) -> Result<(), StoreError> {
        let store = &self.0.store;
        match done {
            Ok(finished) => {
                log::info!("job {} is done", job.id);
                store.finish(job.id, &finished)
            }
            Err(Failure::Rejected(reason)) => {
                log::info!("job {} is rejected: {reason}", job.id);
                store.reject(job.id, &reason, &log.0)
            }
            // Deleted, or the appliance is stopping; a deleted job is not released.
            Err(Failure::Cancelled) => store.release(job.id),
            Err(Failure::Failed(reason)) => {
                log::warn!("job {} failed and is tried again: {reason}", job.id);
                store.fail(job.id, &reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_once_there_is_something_to_go_by() {
        let seconds = Duration::from_secs;
        assert_eq!(time_left(0.0, seconds(60), seconds(0)), None);
        assert_eq!(time_left(0.5, Duration::from_millis(10), seconds(60)), None);
        assert_eq!(time_left(0.25, seconds(10), seconds(0)), Some(seconds(30)));
        // It runs down until the next window was heard.
        assert_eq!(time_left(0.25, seconds(10), seconds(12)), Some(seconds(18)));
        assert_eq!(time_left(0.25, seconds(10), seconds(99)), Some(seconds(0)));
        assert_eq!(time_left(1.0, seconds(10), seconds(0)), Some(seconds(0)));
    }
}
