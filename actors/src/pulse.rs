//! Which of the threads that must never block still run their tasks.
//!
//! A task on each of them notes the time a few times a second. A thread that hangs, in a blocking
//! call or an endless loop, notes none any more. What it was doing is noted before it begins, so that
//! it can be named.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use pin_project_lite::pin_project;

use tokio::task::JoinHandle;

/// How often a thread notes that it runs.
const BEAT: Duration = Duration::from_millis(250);
/// Bytes that are noted of what a thread is doing.
const NOTED: usize = 128;

thread_local! {
    static OWN: RefCell<Option<Arc<Beat>>> = const { RefCell::new(None) };
}

static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
static BEATS: Mutex<Vec<Weak<Beat>>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Beat {
    thread: String,
    /// Milliseconds since [`EPOCH`].
    last: AtomicU64,
    doing: Doing,
}

/// What a thread is doing, in words. Written often and read seldom, so there is no lock: who reads while
/// it changes may see a mixture, but what hangs does not change.
#[derive(Debug, Default)]
struct Doing {
    length: AtomicUsize,
    bytes: [AtomicU64; NOTED / 8],
}

impl Doing {
    fn set(&self, what: &str) {
        let length = what.len().min(NOTED);
        for (place, bytes) in self.bytes.iter().zip(what.as_bytes()[..length].chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            place.store(u64::from_le_bytes(word), Relaxed);
        }
        self.length.store(length, Release);
    }

    fn clear(&self) {
        self.length.store(0, Release);
    }

    fn get(&self) -> Option<String> {
        let length = self.length.load(Acquire);
        let bytes: Vec<u8> =
            self.bytes.iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        (length > 0).then(|| String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

impl Beat {
    fn new(thread: String) -> Arc<Self> {
        let beat = Arc::new(Self { thread, last: AtomicU64::new(now()), doing: Doing::default() });
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
        OWN.set(Some(beat.clone()));
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
        // Whoever drops it later than its thread has nothing to forget.
        let _ = OWN.try_with(|own| own.take());
    }
}

pin_project! {
    /// A future that is named as what its thread does while it is polled.
    #[derive(Debug)]
    pub struct Named<F> {
        name: String,
        #[pin]
        future: F,
    }
}

/// Names what this thread does while it begins a future and polls it, up to 128 bytes of the name.
pub fn named<F: Future>(name: String, begin: impl FnOnce() -> F) -> Named<F> {
    note(|doing| doing.set(&name));
    let future = begin();
    note(Doing::clear);
    Named { name, future }
}

/// Notes something on this thread, if it is watched.
fn note(what: impl Fn(&Doing)) {
    OWN.with_borrow(|own| own.iter().for_each(|beat| what(&beat.doing)));
}

impl<F: Future> Future for Named<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        note(|doing| doing.set(this.name));
        let polled = this.future.poll(cx);
        note(Doing::clear);
        polled
    }
}

/// A thread that has not noted the time for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    pub thread: String,
    /// What it began and does not end, if that is known.
    pub doing: Option<String>,
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
        .map(|(since, beat)| Silent { thread: beat.thread.clone(), doing: beat.doing.get(), since })
        .collect()
}

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { thread, doing, since } = self;
        write!(f, "{thread} for {:.1} s", since.as_secs_f64())?;
        doing.iter().try_for_each(|doing| write!(f, ", in {doing}"))
    }
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
                let hang = named("GET /slow".into(), || async { wait.recv() });
                let _ = hang.await;
                tokio::time::sleep(4 * BEAT).await;
            });
        });
        let is_silent = || {
            let silent = silent(Duration::ZERO);
            let found = silent.iter().find(|silent| silent.thread == "hung");
            found.inspect(|found| {
                assert!(found.to_string().ends_with(" s, in GET /slow"), "{found}");
            });
            found.is_some()
        };
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
