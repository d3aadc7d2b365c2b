//! Which of the threads that must never block still run their tasks.
//!
//! A task on each of them notes the time a few times a second. A thread that hangs, in a blocking
//! call or an endless loop, notes none any more.

use std::{
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinHandle;

/// How often a thread notes that it runs.
const BEAT: Duration = Duration::from_millis(250);

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
static BEATS: Mutex<Vec<Weak<Beat>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Beat {
    thread: String,
    /// Milliseconds since [`EPOCH`].
    last: AtomicU64,
}

impl Beat {
    fn new(thread: String) -> Arc<Self> {
        let beat = Arc::new(Self { thread, last: AtomicU64::new(now()) });
        let mut beats = BEATS.lock().unwrap_or_else(PoisonError::into_inner);
        beats.retain(|beat| beat.strong_count() > 0);
        beats.push(Arc::downgrade(&beat));
        beat
    }

    fn silent_for(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.last.load(Relaxed)))
    }
}

fn now() -> u64 {
    // Far within u64: milliseconds of one process.
    u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Lets this thread be watched until it is dropped.
#[derive(Debug)]
pub struct Pulse(JoinHandle<()>);

impl Pulse {
    /// Watches this thread under a name for people. Call it on a thread that runs an actix arbiter.
    #[must_use]
    pub fn of(thread: impl Into<String>) -> Self {
        let beat = Beat::new(thread.into());
        Self(actix_rt::spawn(async move {
            loop {
                beat.last.store(now(), Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        }))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A thread that has not noted the time for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    pub thread: String,
    pub since: Duration,
}

/// The watched threads that have not run their tasks for `limit`; nothing shorter than a second is
/// told apart from a busy machine.
#[must_use]
pub fn silent(limit: Duration) -> Vec<Silent> {
    let limit = limit.max(4 * BEAT);
    let beats = BEATS.lock().unwrap_or_else(PoisonError::into_inner);
    let now = now();
    let beats = beats.iter().filter_map(Weak::upgrade);
    let beats = beats.map(|beat| (beat.silent_for(now), beat));
    beats
        .filter(|(since, _)| *since >= limit)
        .map(|(since, beat)| Silent { thread: beat.thread.clone(), since })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_hangs_is_told_until_it_runs_again_or_is_gone() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let hung = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async move {
                let _pulse = Pulse::of("hung");
                tokio::task::yield_now().await;
                let _ = wait.recv();
                tokio::time::sleep(4 * BEAT).await;
            });
        });
        let is_silent = || silent(Duration::ZERO).iter().any(|silent| silent.thread == "hung");
        let until = |wanted| {
            let deadline = Instant::now() + Duration::from_secs(30);
            while is_silent() != wanted {
                assert!(Instant::now() < deadline, "it never became {wanted}");
                std::thread::sleep(BEAT);
            }
        };
        until(true);
        go.send(()).unwrap();
        until(false);
        hung.join().unwrap();
        std::thread::sleep(5 * BEAT);
        assert!(!is_silent(), "one that has ended is not missed");
    }
}
