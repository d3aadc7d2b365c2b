//! The thread between a channel's spool and its recogniser. There is one while audio comes; a
//! channel that is silent for a while gives it back and gets another one with the next audio.

use std::{
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    config::{AudioFormat, Encoding, SessionPlan},
    messages::{ErrorType, Refusal},
    protocol::{Action, ChannelEvent},
    spool::{Item, Spool, Taken, Writer},
};
use crate::{
    audio::{AudioError, AudioReader, Resampler},
    measures::Measures,
    recogniser::{
        Cancel, Heard, LiveOptions, Recogniser, RecogniserError, SAMPLE_RATE, Session, Stretch,
    },
};

/// Time without audio after which a thread is given back.
const PARK_AFTER: Duration = Duration::from_secs(10);
/// Samples that are fed at once when more than enough wait: 5 s, which costs fewer decodes.
const MOST_AT_ONCE: usize = 5 * SAMPLE_RATE as usize;
/// A file is decoded no further than this.
const LONGEST_FILE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Told of the measures of each channel when it is over, however it ended.
pub type Measured = Arc<dyn Fn(&Measures) + Send + Sync>;

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
            samples: 0,
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
    /// `job_error`: no thread can be had.
    pub fn act(&self, action: Action) -> Result<(), Refusal> {
        self.0.spool.push(match action {
            Action::Audio { bytes, .. } => Item::Audio(bytes),
            Action::Force { .. } => Item::Force,
            Action::Configure { live, .. } => Item::Configure(live),
            Action::End { .. } => Item::End,
            Action::Send(_) | Action::Open(_) | Action::Close { .. } => return Ok(()),
        });
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
            let mut taken = held.take().map_or_else(|| self.spool.take(PARK_AFTER), Taken::Item);
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
            while let Some(samples) = audio.next_samples()? {
                let mut core = lock(core);
                if let Err(stop) = core.feed(&samples) {
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
        while !lock(core).ended {
            match self.spool.take(PARK_AFTER) {
                Taken::Item(item) => lock(core).pass(item).map(drop)?,
                Taken::Nothing => {}
                Taken::Closed => return Err(Stop::Gone),
            }
        }
        lock(core).end()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn guarded<T>(work: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Stop::Failed(Refusal::new(ErrorType::JobError, "the recogniser gave up")))
    })
}

/// Why the work of a channel ends early.
enum Stop {
    /// Nobody listens any more.
    Gone,
    Failed(Refusal),
}

impl From<RecogniserError> for Stop {
    fn from(err: RecogniserError) -> Self {
        match err {
            RecogniserError::Cancelled => Self::Gone,
            RecogniserError::Language { .. } => {
                Self::Failed(Refusal::new(ErrorType::InvalidModel, err.to_string()))
            }
            err @ RecogniserError::Engine(_) => {
                Self::Failed(Refusal::new(ErrorType::JobError, err.to_string()))
            }
        }
    }
}

/// The recogniser of a channel and all that it needs.
struct Core {
    index: usize,
    audio: AudioFormat,
    plan: SessionPlan,
    recogniser: Arc<dyn Recogniser>,
    events: mpsc::Sender<(usize, ChannelEvent)>,
    measured: Measured,
    cancel: Cancel,
    session: Option<Box<dyn Session>>,
    resampler: Option<Resampler>,
    /// Bytes that are no whole sample yet.
    rest: Vec<u8>,
    /// Samples that were fed.
    samples: u64,
    /// Bytes that were taken.
    consumed: u64,
    ended: bool,
    /// Why a file cannot be read on, found while its reader read.
    stop: Option<Stop>,
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            (self.measured)(&session.measures());
        }
    }
}

impl Core {
    fn tell(&self, event: ChannelEvent) -> Result<(), Stop> {
        self.events.blocking_send((self.index, event)).map_err(|_| Stop::Gone)
    }

    fn stopped(&self, stop: Stop) {
        if let Stop::Failed(refusal) = stop {
            let _ = self.tell(ChannelEvent::Failed(refusal));
        }
    }

    fn heard(&self, heard: Vec<Heard>, forced: bool) -> Result<(), Stop> {
        heard.into_iter().try_for_each(|heard| {
            let forced = forced && !matches!(heard, Heard::Partial(_));
            self.tell(ChannelEvent::Heard { heard, forced })
        })
    }

    fn session(&mut self) -> Result<&mut Box<dyn Session>, Stop> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let options = self.plan.options(self.cancel.clone());
                Ok(none.insert(self.recogniser.begin(options)?))
            }
        }
    }

    /// Takes an item of raw audio; false at the end.
    fn take(&mut self, item: Item) -> Result<bool, Stop> {
        if let Item::Audio(bytes) = item {
            let samples = self.decode(&bytes)?;
            self.feed(&samples)?;
            self.consumed += bytes.len() as u64;
            self.tell(ChannelEvent::Consumed(self.consumed))?;
            return Ok(true);
        }
        self.pass(item)?;
        if self.ended {
            if let Some(mut resampler) = self.resampler.take() {
                let rest = resampler.finish().map_err(unusable)?;
                self.feed(&rest)?;
            }
            self.end()?;
        }
        Ok(!self.ended)
    }

    /// Takes an item that is not audio to be heard.
    fn pass(&mut self, item: Item) -> Result<(), Stop> {
        match item {
            Item::Audio(bytes) => {
                self.consumed += bytes.len() as u64;
                self.tell(ChannelEvent::Consumed(self.consumed))
            }
            Item::Force => self.force(),
            Item::Configure(live) => {
                self.plan.live = live;
                let live: LiveOptions = self.plan.live.clone();
                if let Some(session) = &mut self.session {
                    session.configure(&live)?;
                }
                Ok(())
            }
            Item::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    fn feed(&mut self, samples: &[f32]) -> Result<(), Stop> {
        if samples.is_empty() {
            return Ok(());
        }
        self.samples += samples.len() as u64;
        let heard = self.session()?.feed(samples)?;
        self.heard(heard, false)
    }

    /// Finals of all that came so far, and the end of the utterance.
    fn force(&mut self) -> Result<(), Stop> {
        let mut heard = match &mut self.session {
            Some(session) => session.finish()?,
            None => Vec::new(),
        };
        let last = heard.iter().rev().find_map(|heard| match heard {
            Heard::Final(stretch) => Some(stretch.end),
            Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
        });
        let now = self.samples as f64 / f64::from(SAMPLE_RATE);
        if last.is_none() {
            heard.push(Heard::Final(Stretch { start: now, end: now, words: Vec::new() }));
        }
        heard.retain(|heard| !matches!(heard, Heard::EndOfUtterance { .. }));
        heard.push(Heard::EndOfUtterance { at: last.unwrap_or(now) });
        self.heard(heard, true)
    }

    fn end(&mut self) -> Result<(), Stop> {
        if let Some(session) = &mut self.session {
            let heard = session.finish()?;
            self.heard(heard, false)?;
        }
        self.tell(ChannelEvent::Ended)
    }

    fn most_bytes(&self) -> usize {
        match self.audio {
            AudioFormat::File => usize::MAX,
            AudioFormat::Raw { encoding, sample_rate } => {
                MOST_AT_ONCE * encoding.width() * sample_rate as usize / SAMPLE_RATE as usize
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<f32>, Stop> {
        let AudioFormat::Raw { encoding, sample_rate } = self.audio else { return Ok(Vec::new()) };
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let whole = all.len() / encoding.width() * encoding.width();
        let samples = samples(&all[..whole], encoding);
        self.rest = all.split_off(whole);
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            // 50 ms at once.
            none => none
                .insert(Resampler::new(sample_rate, sample_rate as usize / 20).map_err(unusable)?),
        };
        resampler.feed(samples).map_err(unusable)
    }
}

fn unusable(err: AudioError) -> Stop {
    Stop::Failed(Refusal::new(ErrorType::InvalidAudioType, err.to_string()))
}

fn samples(bytes: &[u8], encoding: Encoding) -> Vec<f32> {
    match encoding {
        Encoding::PcmS16le => {
            let sample = |b: &[u8]| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0;
            bytes.chunks_exact(2).map(sample).collect()
        }
        Encoding::PcmF32le => {
            let sample = |b: &[u8]| {
                let sample = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                // The resampler would spread what is no number over its neighbours.
                if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
            };
            bytes.chunks_exact(4).map(sample).collect()
        }
        Encoding::Mulaw => bytes.iter().map(|byte| mulaw(*byte)).collect(),
    }
}

/// ITU-T G.711, mu-law.
fn mulaw(byte: u8) -> f32 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4);
    let sample = magnitude - 0x84;
    (if byte & 0x80 == 0 { sample } else { -sample }) as f32 / 32768.0
}

/// The bytes of a file as they come out of the spool. What is no audio is done on the way, so that
/// it is done even while no audio comes.
struct FileReader {
    spool: Arc<Spool>,
    core: Arc<Mutex<Box<Core>>>,
    held: Vec<u8>,
}

impl Read for FileReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.held.is_empty() {
            let taken = self.spool.take(PARK_AFTER);
            let mut core = lock(&self.core);
            let passed = match taken {
                _ if core.ended => return Ok(0),
                Taken::Item(Item::Audio(bytes)) => {
                    self.held = bytes;
                    continue;
                }
                Taken::Item(item) => core.pass(item),
                Taken::Nothing => Ok(()),
                Taken::Closed => Err(Stop::Gone),
            };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_encoding() {
        assert_eq!(samples(&[0, 0x80, 0xff, 0x7f], Encoding::PcmS16le), [-1.0, 32767.0 / 32768.0]);
        let floats: Vec<u8> = [0.5, f32::NAN, 7.0].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(samples(&floats, Encoding::PcmF32le), [0.5, 0.0, 1.0]);
        // The ends and the middle of the table in G.711.
        let ends = samples(&[0x00, 0x80, 0xff, 0x7f], Encoding::Mulaw);
        assert_eq!(ends, [-32124.0 / 32768.0, 32124.0 / 32768.0, 0.0, 0.0]);
    }
}
