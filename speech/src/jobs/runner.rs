//! The store with the threads that work on it.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use tokio::sync::broadcast;

use super::{
    process::{Failure, JobLog, Work},
    store::{Job, JobId, JobStore, StoreError},
};
use crate::recogniser::{Cancel, Recogniser};

/// Events that a slow listener may lag behind; after it, it looks into the store.
const EVENTS: usize = 1024;
/// How often expired jobs are looked for, and the queue when nobody has rung.
const LOOK: Duration = Duration::from_secs(30);
/// The pause after the store has failed.
const STORE_PAUSE: Duration = Duration::from_secs(2);
/// Progress is told this often at most.
const TELL: Duration = Duration::from_millis(500);
/// After so long an attempt counts in full if the process ends.
const CHARGE_AFTER: Duration = Duration::from_secs(5);

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

/// How jobs are worked on.
#[derive(Debug, Clone)]
pub struct JobsSettings {
    /// Jobs that are worked on at once.
    pub width: usize,
    /// The longest audio that is taken.
    pub longest_audio: Duration,
    /// How long finished jobs are kept unless it was set otherwise.
    pub retention: Duration,
}

/// The job store and its workers. Clones share them.
#[derive(Clone)]
pub struct Jobs(Arc<Shared>);

struct Shared {
    store: Arc<dyn JobStore>,
    settings: JobsSettings,
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
    progress: f64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Jobs {
    /// Starts the workers. They wait until [`Jobs::use_recogniser`] gives them one.
    #[must_use]
    pub fn start(store: Arc<dyn JobStore>, settings: JobsSettings) -> Self {
        let jobs = Self(Arc::new(Shared {
            store,
            settings,
            events: broadcast::channel(EVENTS).0,
            running: Mutex::default(),
            recogniser: Mutex::default(),
            bell: Condvar::new(),
            rung: Mutex::new(0),
            stopping: AtomicBool::new(false),
            workers: Mutex::default(),
        }));
        let mut workers = lock(&jobs.0.workers);
        for number in 1..=jobs.0.settings.width.max(1) {
            workers.extend(jobs.spawn(&format!("job-{number}"), Self::work));
        }
        workers.extend(jobs.spawn("job-expiry", Self::expire));
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

    /// How far the work on a job is, 0 to 1; `None` while nobody works on it.
    #[must_use]
    pub fn progress(&self, id: JobId) -> Option<f64> {
        lock(&self.0.running).get(&id).map(|running| running.progress)
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
        lock(&self.0.running).insert(job.id, Running { cancel: cancel.clone(), progress: 0.0 });
        if self.is_stopping() {
            cancel.cancel();
        }
        let _ = self.0.events.send(JobEvent::Changed(job.id));
        let longest_audio = self.0.settings.longest_audio;
        let work = Work { store: self.0.store.as_ref(), recogniser, longest_audio, cancel };
        let mut log = JobLog::default();
        let (begun, mut told, mut charged) = (Instant::now(), Instant::now(), false);
        let progress = |share: f64| {
            if !charged && begun.elapsed() >= CHARGE_AFTER {
                charged = true;
                if let Err(err) = self.0.store.charge(job.id) {
                    log::warn!("the attempt at job {} cannot be noted: {err}", job.id);
                }
            }
            if let Some(running) = lock(&self.0.running).get_mut(&job.id) {
                running.progress = share;
            }
            if told.elapsed() >= TELL {
                told = Instant::now();
                let _ = self.0.events.send(JobEvent::Progress(job.id, share));
            }
        };
        let done = catch_unwind(AssertUnwindSafe(|| work.run(job, &mut log, progress)))
            .unwrap_or_else(|_| Err(Failure::Failed("the work on it broke off".into())));
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
        done: Result<super::store::Finished, Failure>,
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
            Err(Failure::Cancelled) => store.release(job.id, false),
            Err(Failure::Failed(reason)) => {
                log::warn!("job {} failed and is tried again: {reason}", job.id);
                store.add_error(job.id, &reason)?;
                store.release(job.id, true)
            }
        }
    }

    fn expire(&self) {
        while !self.is_stopping() {
            let kept = self.0.store.retention().ok().flatten().unwrap_or(self.0.settings.retention);
            match self.0.store.expire(OffsetDateTime::now_utc() - kept) {
                Ok(0) => {}
                Ok(count) => log::info!("{count} finished jobs were cleared away"),
                Err(err) => log::error!("finished jobs cannot be cleared away: {err}"),
            }
            let until = Instant::now() + LOOK;
            while !self.is_stopping() && Instant::now() < until {
                let heard = *lock(&self.0.rung);
                self.wait(heard, until.saturating_duration_since(Instant::now()));
            }
        }
    }
}
