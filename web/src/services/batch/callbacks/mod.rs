//! What jobs need from elsewhere: audio that is fetched, and callbacks at their end.
//!
//! All of it is async and ends with the process at once; only what touches the disk or the store
//! runs on blocking threads. What was cut short is taken up at the next start.

mod fetch;
mod notify;
mod turns;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_actors::{
    metrics::{METRICS, OutboundLabels},
    now_and_then::NowAndThen,
};
use portcullis_speech::jobs::{Job, JobConfig, JobEvent, JobId, JobStatus};
use tokio::sync::broadcast::error::RecvError;

use self::turns::Turns;
use super::BatchContext;
use crate::outbound;

/// The pauses before the attempts after the first.
type Pauses = [Duration; 3];

/// What is in progress, so that nothing is begun twice.
#[derive(Clone)]
struct CallbackRunner {
    batch: BatchContext,
    busy: Arc<Mutex<HashSet<JobId>>>,
    fetches: Arc<Turns>,
    callbacks: Arc<Turns>,
}

/// What a job waits for. It is held for each job that waits, so it holds little.
struct Errand {
    id: JobId,
    /// Who has posted the job.
    client: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Fetch,
    Notify,
}

/// Serves the jobs, those first that a restart has left.
pub(super) async fn run(batch: BatchContext) {
    let Ok(jobs) = batch.jobs() else { return };
    let mut events = jobs.events();
    let (fetches, callbacks) = (Arc::new(Turns::new()), Arc::new(Turns::new()));
    let runner = CallbackRunner { batch, busy: Arc::default(), fetches, callbacks };
    runner.look_at_all().await;
    loop {
        match events.recv().await {
            Ok(JobEvent::Changed(id) | JobEvent::Ended(id)) => runner.look_at(id).await,
            Ok(JobEvent::Progress(..)) => {}
            Err(RecvError::Lagged(_)) => runner.look_at_all().await,
            Err(RecvError::Closed) => return,
        }
    }
}

impl CallbackRunner {
    async fn look_at_all(&self) {
        let ids = self.batch.store(|store| {
            let mut ids = store.fetching()?;
            ids.extend(store.unnotified()?);
            Ok(ids)
        });
        for id in ids.await.unwrap_or_default() {
            self.look_at(id).await;
        }
    }

    /// Begins what a job needs next, if anything.
    async fn look_at(&self, id: JobId) {
        let Some(job) = self.job(id).await else { return };
        let kind = match job.status {
            JobStatus::Fetching => Kind::Fetch,
            JobStatus::Done | JobStatus::Rejected if job.notify => Kind::Notify,
            JobStatus::Done
            | JobStatus::Rejected
            | JobStatus::Queued
            | JobStatus::Running
            | JobStatus::Deleted
            | JobStatus::Expired => return,
        };
        if !self.busy().insert(id) {
            return;
        }
        let (runner, errand) = (self.clone(), Errand { id, client: job.client });
        actix_web::rt::spawn(async move {
            match kind {
                Kind::Fetch => runner.fetch(&errand).await,
                Kind::Notify => runner.notify(&errand).await,
            }
            runner.busy().remove(&id);
            if kind == Kind::Fetch {
                // What became of it may need a callback.
                if let Ok(jobs) = runner.batch.jobs() {
                    jobs.announce(id);
                }
            }
        });
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<JobId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job as it is now; `None` also where the store has failed, which the log tells.
    async fn job(&self, id: JobId) -> Option<Job> {
        self.batch.store(move |store| store.get(id)).await.ok().flatten()
    }

    /// The same with its configuration.
    async fn job_and_config(&self, id: JobId) -> Option<(Job, JobConfig)> {
        let job = self.job(id).await?;
        let config = JobConfig::parse(&job.config).ok()?;
        Some((job, config))
    }

    /// Notes in the job what went wrong; the log is told now and then, for strangers make jobs.
    async fn note(&self, id: JobId, message: String) {
        static FAILURES: NowAndThen = NowAndThen::each(seconds(10));
        if let Some(left_out) = FAILURES.due() {
            log::warn!("job {id}: {message}{left_out}");
        }
        let _ = self.batch.store(move |store| store.add_error(id, &message)).await;
    }
}

/// How an attempt ended, for the metrics.
#[derive(Clone, Copy)]
enum Outcome {
    Done,
    Refused,
    Slow,
    Failed,
}

impl Outcome {
    fn of(err: &outbound::Error) -> Self {
        match err {
            outbound::Error::NotAllowed(_) | outbound::Error::NoAddress => Self::Refused,
            outbound::Error::Slow => Self::Slow,
            _ => Self::Failed,
        }
    }
}

fn count(kind: Kind, outcome: Outcome) {
    let purpose = match kind {
        Kind::Fetch => "fetch",
        Kind::Notify => "callback",
    };
    let outcome = match outcome {
        Outcome::Done => "done",
        Outcome::Refused => "refused",
        Outcome::Slow => "slow",
        Outcome::Failed => "failed",
    };
    METRICS.outbound_requests.get_or_create(&OutboundLabels { purpose, outcome }).inc();
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
