//! What jobs need from elsewhere: audio that is fetched, and callbacks at their end.

mod fetch;
mod notify;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use portcullis_speech::jobs::{JobEvent, JobId, JobStatus};
use tokio::sync::{Semaphore, broadcast::error::RecvError};

use super::{Desk, outbound};

/// Fetches and callbacks that go on at once.
const AT_ONCE: usize = 16;

/// What is in progress, so that nothing is begun twice.
#[derive(Clone)]
struct Office {
    desk: Desk,
    agent: ureq::Agent,
    busy: Arc<Mutex<HashSet<JobId>>>,
    slots: Arc<Semaphore>,
}

/// Serves the jobs, those first that a restart has left.
pub(super) async fn run(desk: Desk) {
    let Ok(jobs) = desk.jobs() else { return };
    let mut events = jobs.events();
    let office = Office {
        agent: outbound::agent(),
        busy: Arc::default(),
        slots: Arc::new(Semaphore::new(AT_ONCE)),
        desk,
    };
    office.look_at_all().await;
    loop {
        match events.recv().await {
            Ok(JobEvent::Changed(id) | JobEvent::Ended(id)) => office.look_at(id).await,
            Ok(JobEvent::Progress(..)) => {}
            Err(RecvError::Lagged(_)) => office.look_at_all().await,
            Err(RecvError::Closed) => return,
        }
    }
}

impl Office {
    async fn look_at_all(&self) {
        let ids = self.desk.store(|store| {
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
        let Ok(Some(job)) = self.desk.store(move |store| store.get(id)).await else { return };
        let waits = match job.status {
            JobStatus::Fetching => true,
            JobStatus::Done | JobStatus::Rejected => job.config.contains("notification_config"),
            JobStatus::Queued | JobStatus::Running | JobStatus::Deleted | JobStatus::Expired => {
                false
            }
        };
        if !waits || !self.busy().insert(id) {
            return;
        }
        let office = self.clone();
        actix_web::rt::spawn(async move {
            if job.status == JobStatus::Fetching {
                office.fetch(&job).await;
            } else {
                office.notify(&job).await;
            }
            office.busy().remove(&id);
            if job.status == JobStatus::Fetching {
                // What became of it may need a callback.
                if let Ok(jobs) = office.desk.jobs() {
                    jobs.announce(id);
                }
            }
        });
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, HashSet<JobId>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one attempt on a blocking thread, when it is its turn.
    async fn attempt<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ureq::Agent) -> Result<T, String> + Send + 'static,
    ) -> Result<T, String> {
        let slot = self.slots.clone().acquire_owned().await;
        let agent = self.agent.clone();
        let done = super::blocking(move || {
            let _slot = slot;
            work(&agent)
        });
        done.await.unwrap_or_else(|err| Err(err.to_string()))
    }

    async fn note(&self, id: JobId, message: String) {
        log::warn!("job {id}: {message}");
        let _ = self.desk.store(move |store| store.add_error(id, &message)).await;
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
