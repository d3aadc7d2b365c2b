//! What goes on beside requests: finished jobs are cleared away, and what happens to jobs is told
//! to whoever follows the events of the appliance.

use std::time::Duration;

use portcullis_actors::{
    events::{EventKind, EventLog},
    settings::LiveSettings,
};
use portcullis_speech::jobs::JobEvent;
use time::OffsetDateTime;
use tokio::sync::broadcast::error::RecvError;

use super::{Desk, callbacks};
use crate::service::Context;

/// How often finished jobs are looked at; a new interval holds from the next look on.
const CLEAR_EVERY: Duration = Duration::from_secs(10);
/// The numbers of jobs are told this often at most.
const COUNT_EVERY: Duration = Duration::from_millis(500);

/// Begins to look after the jobs, where there are any; ends with the process. Call it inside a
/// runtime.
pub fn start(context: &Context) {
    if context.speech.jobs().is_none() {
        return;
    }
    let desk = Desk::new(context);
    actix_web::rt::spawn(callbacks::run(desk.clone()));
    actix_web::rt::spawn(clear(desk.clone(), context.owners.settings.clone()));
    actix_web::rt::spawn(tell(desk, context.owners.events.clone()));
}

/// Clears away what was finished longer ago than the clean-up interval says.
async fn clear(desk: Desk, settings: LiveSettings) {
    loop {
        let minutes = settings.current().cleanup_interval_minutes;
        let before = OffsetDateTime::now_utc() - Duration::from_secs(u64::from(minutes) * 60);
        match desk.store(move |store| store.expire(before)).await {
            Ok(0) => {}
            Ok(count) => log::info!("{count} jobs that ended {minutes} minutes ago are cleared"),
            // The store has logged why.
            Err(_) => log::error!("finished jobs cannot be cleared away"),
        }
        tokio::time::sleep(CLEAR_EVERY).await;
    }
}

/// Publishes how many jobs wait and run whenever that changes, and how far the running ones are.
async fn tell(desk: Desk, events: EventLog) {
    let Ok(jobs) = desk.jobs() else { return };
    let mut news = jobs.events();
    let mut told = None;
    loop {
        if let Ok(counts) = desk.store(|store| store.counts()).await {
            let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
            let waiting = number(counts.fetching + counts.queued);
            let now = (waiting, number(counts.running));
            if told.replace(now) != Some(now) {
                events.publish(EventKind::JobCount { waiting: now.0, running: now.1 });
            }
        }
        loop {
            match news.recv().await {
                Ok(JobEvent::Progress(id, share)) => events.publish(EventKind::JobProgress {
                    job: id.to_string(),
                    percent: (share.clamp(0.0, 1.0) * 100.0) as u8,
                }),
                Ok(JobEvent::Changed(_) | JobEvent::Ended(_)) | Err(RecvError::Lagged(_)) => break,
                Err(RecvError::Closed) => return,
            }
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
