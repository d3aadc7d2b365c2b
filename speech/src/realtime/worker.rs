//! The thread between a channel's spool and its recogniser. There is one while audio comes; a
//! channel that is silent for a while gives it back and gets another one with the next audio.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::mpsc;

use super::{
    config::{AudioFormat, SessionPlan},
    core::{Core, MOST_AT_ONCE, Measured, Stop},
    messages::{ErrorType, Refusal},
    protocol::{Action, ChannelEvent},
    spool::{Full, Item, Spool, Taken, Writer},
};
use crate::{
    audio::{AudioError, AudioReader},
    listener::Listener,
    recogniser::{Cancel, Recogniser},
};

/// Time without audio after which a thread is given back.
const PARK_AFTER: Duration = Duration::from_secs(10);
/// A file is decoded no further than this.
const LONGEST_FILE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Makes pipes.
pub struct Pipes {
    writer: Writer,
    measured: Measured,
}

impl Pipes {
    /// Audio that memory should not hold lies below `folder`, in files without a name.
    ///
    /// # Errors
    /// The thread that writes cannot start.
    pub fn start(folder: &Path, measured: Measured) -> io::Result<Self> {
        Ok(Self { writer: Writer::start(folder.to_owned())?, measured })
    }

    /// A pipe for the channel `index` of a session. Events go into `events`; a reader that does not
    /// keep up holds the recogniser up.
    #[must_use]
    pub fn pipe(
        &self,
        index: usize,
        plan: SessionPlan,
        recogniser: Arc<dyn Recogniser>,
        events: mpsc::Sender<(usize, ChannelEvent)>,
    ) -> Pipe {
        let cancel = Cancel::default();
        let listener = Listener::new(&plan.language);
        let core = Core {
            index,
            audio: plan.audio,
            plan,
            recogniser,
            events,
            measured: self.measured.clone(),
            cancel: cancel.clone(),
            session: None,
            resampler: None,
            rest: Vec::new(),
            pending: Vec::new(),
            samples: 0,
            listener,
            consumed: 0,
            ended: false,
            stop: None,
        };
        let spool = Spool::new(self.writer.clone());
        Pipe(Arc::new(Shared { spool, cancel, worker: Mutex::new(Worker::Parked(Box::new(core))) }))
    }
}

/// The way of one channel's audio. Dropping it ends the work.
pub struct Pipe(Arc<Shared>);

struct Shared {
    spool: Arc<Spool>,
    cancel: Cancel,
    worker: Mutex<Worker>,
}

enum Worker {
    Parked(Box<Core>),
    Running,
    Over,
}

impl Pipe {
    /// Does what the protocol asks for a channel; never waits. Other actions are not for a pipe.
    ///
    /// # Errors
    /// `job_error`: no thread can be had, or the disk takes no more audio; `buffer_error`: more waits
    /// than is kept.
    pub fn act(&self, action: Action) -> Result<(), Refusal> {
        let pushed = self.0.spool.push(match action {
            Action::Audio { bytes, .. } => Item::Audio(bytes),
            Action::Force { .. } => Item::Force,
            Action::Configure { live, .. } => Item::Configure(live),
            Action::End { .. } => Item::End,
            Action::Send(_) | Action::Open(_) | Action::Close { .. } => return Ok(()),
        });
        pushed.map_err(|full| {
            let (kind, reason) = match full {
                Full::Disk => (
                    ErrorType::JobError,
                    "the audio comes faster than it is recognised, and the disk of the appliance has no room to keep it",
                ),
                Full::Memory => (
                    ErrorType::BufferError,
                    "the audio of all sessions comes faster than the disk of the appliance takes it",
                ),
                Full::Others => (
                    ErrorType::BufferError,
                    "too many ForceEndOfUtterance and SetRecognitionConfig wait for the recogniser",
                ),
            };
            Refusal::new(kind, reason)
        })?;
        let mut worker = self.0.worker();
        let core = match std::mem::replace(&mut *worker, Worker::Running) {
            Worker::Parked(core) => core,
            other => {
                *worker = other;
                return Ok(());
            }
        };
        let shared = self.0.clone();
        let thread = std::thread::Builder::new().name("realtime".into());
        thread.spawn(move || shared.run(core)).map(drop).map_err(|err| {
            Refusal::new(ErrorType::JobError, format!("no thread for the recogniser: {err}"))
        })
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.0.cancel.cancel();
        self.0.spool.close();
        // A parked core tells its measures now.
        *self.0.worker() = Worker::Over;
    }
}

impl Shared {
    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until the end, or until there is nothing to do for a while.
    fn run(&self, core: Box<Core>) {
        let over = match core.audio {
            AudioFormat::File => {
                self.run_file(core);
                true
            }
            AudioFormat::Raw { .. } => self.run_raw(core),
        };
        if over {
            *self.worker() = Worker::Over;
        }
    }

    /// Whether it is over; otherwise the core was parked.
    fn run_raw(&self, mut core: Box<Core>) -> bool {
        let mut held = None;
        loop {
            let wake_at = core.wake_at();
            let patience = patience(wake_at);
            let mut taken = held.take().map_or_else(|| self.spool.take(patience), Taken::Item);
            if taken == Taken::Nothing && wake_at.is_some() {
                if let Err(stop) = guarded(|| core.wake()) {
                    core.stopped(stop);
                    return true;
                }
                continue;
            }
            if taken == Taken::Nothing {
                let mut worker = self.worker();
                // What came before the lock was had is seen here; what comes later sees `Parked`.
                taken = self.spool.take(Duration::ZERO);
                if taken == Taken::Nothing {
                    *worker = Worker::Parked(core);
                    return false;
                }
            }
            let Taken::Item(mut item) = taken else { return true };
            if let Item::Audio(bytes) = &mut item {
                held = self.gather(bytes, core.most_bytes());
            }
            match guarded(|| core.take(item)) {
                Ok(true) => {}
                Ok(false) => return true,
                Err(stop) => {
                    core.stopped(stop);
                    return true;
                }
            }
        }
    }

    /// Adds what waits already, and gives what comes then and is no audio.
    fn gather(&self, bytes: &mut Vec<u8>, most: usize) -> Option<Item> {
        while bytes.len() < most {
            match self.spool.take(Duration::ZERO) {
                Taken::Item(Item::Audio(more)) => bytes.extend(more),
                Taken::Item(other) => return Some(other),
                Taken::Nothing | Taken::Closed => return None,
            }
        }
        None
    }

    fn run_file(&self, core: Box<Core>) {
        let core = Arc::new(Mutex::new(core));
        if let Err(stop) = guarded(|| self.read_file(&core)) {
            lock(&core).stopped(stop);
        }
    }

    fn read_file(&self, core: &Arc<Mutex<Box<Core>>>) -> Result<(), Stop> {
        let reader = FileReader { spool: self.spool.clone(), core: core.clone(), held: Vec::new() };
        let cancel = self.cancel.clone();
        let decoded = AudioReader::stream(reader, LONGEST_FILE, &cancel).and_then(|mut audio| {
            // What is left is fed before the reader waits for more.
            while let Some(samples) = audio.next_samples()? {
                let mut core = lock(core);
                core.pending.extend(samples);
                if core.pending.len() >= MOST_AT_ONCE
                    && let Err(stop) = core.feed_pending()
                {
                    core.stop.get_or_insert(stop);
                    return Err(AudioError::Cancelled);
                }
            }
            Ok(())
        });
        let nothing_came = lock(core).consumed == 0;
        if let Some(stop) = lock(core).stop.take() {
            return Err(stop);
        }
        match decoded {
            Ok(()) | Err(AudioError::NoAudio) => {}
            Err(_) if nothing_came => {}
            Err(AudioError::Cancelled) => return Err(Stop::Gone),
            Err(err) => {
                return Err(Stop::Failed(Refusal::new(
                    ErrorType::InvalidAudioType,
                    format!("the audio file cannot be read: {err}"),
                )));
            }
        }
        // What comes behind the audio in the file.
        lock(core).feed_pending()?;
        while !lock(core).ended {
            let wake_at = lock(core).wake_at();
            match self.spool.take(patience(wake_at)) {
                Taken::Item(item) => lock(core).pass(item).map(drop)?,
                Taken::Nothing => lock(core).wake()?,
                Taken::Closed => return Err(Stop::Gone),
            }
        }
        lock(core).end()
    }
}

/// How long the spool may be waited for.
fn patience(wake_at: Option<Instant>) -> Duration {
    wake_at.map_or(PARK_AFTER, |at| at.saturating_duration_since(Instant::now()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guarded<T>(work: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Stop::Failed(Refusal::new(ErrorType::JobError, "the recogniser gave up")))
    })
}

/// The bytes of a file as they come out of the spool. What is no audio is done on the way, so that
/// it is done even while no audio comes.
struct FileReader {
    spool: Arc<Spool>,
    core: Arc<Mutex<Box<Core>>>,
    held: Vec<u8>,
}

impl FileReader {
    /// The next item. Before it is waited for, what was decoded is heard.
    fn next(&self) -> Result<Taken, Stop> {
        let taken = self.spool.take(Duration::ZERO);
        if taken != Taken::Nothing {
            return Ok(taken);
        }
        let mut core = lock(&self.core);
        core.feed_pending()?;
        let wake_at = core.wake_at();
        drop(core);
        Ok(self.spool.take(patience(wake_at)))
    }
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            // The end is told once, and decoders may ask again after it: nothing more comes then.
            if lock(&self.core).ended {
                return Ok(0);
            }
            let passed = match self.next() {
                Ok(Taken::Item(Item::Audio(bytes))) => {
                    self.held = bytes;
                    continue;
                }
                Ok(Taken::Item(item)) => lock(&self.core).pass(item),
                Ok(Taken::Nothing) => lock(&self.core).wake(),
                Ok(Taken::Closed) => Err(Stop::Gone),
                Err(stop) => Err(stop),
            };
            let mut core = lock(&self.core);
            if let Err(stop) = passed {
                core.stop.get_or_insert(stop);
                return Err(io::Error::other("the session is over"));
            }
            if core.ended {
                return Ok(0);
            }
        }
        let count = self.held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        let mut core = lock(&self.core);
        core.consumed += count as u64;
        if let Err(stop) = core.tell(ChannelEvent::Consumed(core.consumed)) {
            core.stop.get_or_insert(stop);
        }
        Ok(count)
    }
}
