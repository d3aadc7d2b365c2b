//! What goes on beside requests: finished jobs are cleared away, and what happens to jobs is told
//! to whoever follows the events of the appliance.

use std::time::Duration;

use portcullis_actors::{
    events::{EventLog, ServiceEvent},
    settings::LiveSettings,
};
use portcullis_speech::jobs::JobEvent;
use tokio::sync::broadcast::error::RecvError;

use super::{BatchContext, callbacks};
use crate::service::Door;

/// How often finished jobs are looked at; a new interval holds from the next look on.
const CLEAR_EVERY: Duration = Duration::from_secs(10);
/// The numbers of jobs are told this often at most.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// How often it is looked whether a damaged job store was put right.
const LOOK_FOR_JOBS: Duration = Duration::from_secs(1);

/// Begins to look after the jobs once their store is open; ends with the process. Call it inside a
/// runtime.
pub(super) fn start(batch: &BatchContext, door: &Door) {
    let batch = batch.clone();
    let (settings, events) = (door.settings().clone(), door.events().clone());
    actix_web::rt::spawn(async move {
        while batch.jobs().is_err() {
            tokio::time::sleep(LOOK_FOR_JOBS).await;
        }
        actix_web::rt::spawn(callbacks::run(batch.clone()));
        actix_web::rt::spawn(clear(batch.clone(), settings));
        actix_web::rt::spawn(tell(batch, events));
    });
}

/// Clears away what was finished longer ago than the clean-up interval says, in time that has
/// passed while the appliance ran: a wall clock that is set says nothing about ages.
async fn clear(batch: BatchContext, settings: LiveSettings) {
    loop {
        let minutes = settings.current().cleanup_interval_minutes;
        let age = Duration::from_secs(u64::from(minutes) * 60);
        match batch.store(move |store| store.expire(age)).await {
            Ok(0) => {}
            Ok(count) => log::info!("{count} jobs that ended {minutes} minutes ago are cleared"),
            // The store has logged why.
            Err(_) => log::error!("finished jobs cannot be cleared away"),
        }
        batch.figures.looked_for_finished_jobs();
        tokio::time::sleep(CLEAR_EVERY).await;
    }
}

/// Publishes how many jobs wait and run whenever that changes, and how far the running ones are.
async fn tell(batch: BatchContext, events: EventLog) {
    let Ok(jobs) = batch.jobs() else { return };
    let mut news = jobs.events();
    let mut told = None;
    loop {
        if let Ok(counts) = batch.store(|store| store.counts()).await {
            let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
            let waiting = number(counts.fetching + counts.queued);
            let now = (waiting, number(counts.running));
            if told.replace(now) != Some(now) {
                let count = ServiceEvent::new("job-count");
                events.publish(count.with("waiting", now.0).with("running", now.1));
            }
        }
        loop {
            match news.recv().await {
                Ok(JobEvent::Progress(id, share)) => {
                    let percent = (share.clamp(0.0, 1.0) * 100.0) as u8;
                    let progress = ServiceEvent::new("job-progress").passing();
                    events.publish(progress.with("job", id.to_string()).with("percent", percent));
                }
                Ok(JobEvent::Changed(_) | JobEvent::Ended(_)) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
