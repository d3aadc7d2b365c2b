//! Audio on its way to the recogniser: in memory first, then on disk. What comes is taken at once,
//! so that the socket is always read; how much may wait is the protocol's business.

use std::{
    collections::VecDeque,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use crate::{disk::Disk, recogniser::LiveOptions};

/// What is kept in memory before the disk is used.
const MEMORY: usize = 2 << 20;
/// What is kept in memory at most while the disk takes nothing.
const MEMORY_ALONE: usize = 16 << 20;
/// What all queues may have in memory together.
const MEMORY_OF_ALL: usize = 256 << 20;
/// What may wait that is no audio.
const MOST_OTHERS: usize = 1_000;
/// Small messages are put together up to this size …
const CHUNK: usize = 32 << 10;
/// … while they come within this time of each other.
const TOGETHER: Duration = Duration::from_millis(50);
/// What is read from the disk at once.
const READ: usize = 256 << 10;

/// What the recogniser is given, in the order of its arrival.
#[derive(Debug, PartialEq)]
pub(super) enum Item {
    Audio(Vec<u8>),
    Force,
    Configure(LiveOptions),
    End,
}

/// Why something is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The disk takes nothing, and this queue has in memory what it may.
    Disk,
    /// All queues together have in memory what they may.
    Memory,
    /// Too much waits that is no audio.
    Others,
}

/// What a look into the spool finds.
#[derive(Debug, PartialEq)]
pub(super) enum Taken {
    Item(Item),
    /// Nothing came in time.
    Nothing,
    /// The session is over.
    Closed,
}

#[derive(Debug)]
struct Queued {
    item: Item,
    at: Instant,
}

#[derive(Debug, Default)]
struct State {
    /// Next to be taken.
    front: VecDeque<Queued>,
    /// After that: stretches of the file, and what is no audio.
    disk: VecDeque<OnDisk>,
    /// After that: came while the disk was in use.
    back: VecDeque<Queued>,
    memory: usize,
    /// What waits and is no audio.
    others: usize,
    file: Option<Arc<File>>,
    written: u64,
    writing: bool,
    reading: bool,
    /// The disk did not take what it was given last.
    stuck: bool,
    closed: bool,
}

#[derive(Debug)]
enum OnDisk {
    Audio { from: u64, length: u64 },
    Other(Item),
}

/// The queue of one channel.
#[derive(Debug)]
pub(super) struct Spool {
    state: Mutex<State>,
    changed: Condvar,
    writer: Writer,
}

impl Spool {
    pub(super) fn new(writer: Writer) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), changed: Condvar::new(), writer })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes something in; never waits for the disk.
    ///
    /// # Errors
    /// Too much waits already; it was not taken.
    pub(super) fn push(self: &Arc<Self>, item: Item) -> Result<(), Full> {
        let mut state = self.state();
        if state.closed {
            return Ok(());
        }
        match &item {
            Item::Audio(bytes) => {
                if state.stuck && state.memory + bytes.len() > MEMORY_ALONE {
                    return Err(Full::Disk);
                }
                if self.writer.memory.load(Relaxed) + bytes.len() > MEMORY_OF_ALL {
                    return Err(Full::Memory);
                }
                self.held(&mut state, bytes.len());
            }
            // It ends the queue.
            Item::End => {}
            Item::Force | Item::Configure(_) => {
                if state.others >= MOST_OTHERS {
                    return Err(Full::Others);
                }
                state.others += 1;
            }
        }
        let on_disk = !state.disk.is_empty() || state.writing || !state.back.is_empty();
        let crowded = state.memory > MEMORY;
        let queue = if on_disk || crowded { &mut state.back } else { &mut state.front };
        append(queue, item);
        let spill = crowded && !state.writing && !state.back.is_empty();
        state.writing |= spill;
        drop(state);
        self.changed.notify_one();
        if spill && !self.writer.ask(self.clone()) {
            // Without a writer it stays in memory.
            self.state().writing = false;
        }
        Ok(())
    }

    fn held(&self, state: &mut State, bytes: usize) {
        state.memory += bytes;
        self.writer.memory.fetch_add(bytes, Relaxed);
    }

    fn released(&self, state: &mut State, bytes: usize) {
        state.memory -= bytes;
        self.writer.memory.fetch_sub(bytes, Relaxed);
    }

    /// Takes it off the count of what waits.
    fn taken(&self, state: &mut State, item: Item) -> Taken {
        match &item {
            Item::Audio(bytes) => self.released(state, bytes.len()),
            Item::Force | Item::Configure(_) => state.others -= 1,
            Item::End => {}
        }
        Taken::Item(item)
    }

    /// The next thing, waiting so long for it. Blocks, also for the disk.
    pub(super) fn take(&self, patience: Duration) -> Taken {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            if let Some(Queued { item, .. }) = state.front.pop_front() {
                return self.taken(&mut state, item);
            }
            match state.disk.pop_front() {
                Some(OnDisk::Other(item)) => return self.taken(&mut state, item),
                Some(OnDisk::Audio { from, length }) => return self.read(state, from, length),
                None if !state.writing && !state.back.is_empty() => {
                    state.front = std::mem::take(&mut state.back);
                    continue;
                }
                None => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn read(&self, mut state: MutexGuard<'_, State>, from: u64, length: u64) -> Taken {
        let now = length.min(READ as u64);
        if now < length {
            state.disk.push_front(OnDisk::Audio { from: from + now, length: length - now });
        }
        let file = state.file.clone();
        state.reading = true;
        drop(state);
        let mut bytes = vec![0; now as usize];
        let read = file.map_or_else(
            || Err(gone()),
            |file| {
                file.read_exact_at(&mut bytes, from)?;
                free(&file, from, now);
                Ok(())
            },
        );
        self.state().reading = false;
        match read {
            Ok(()) => Taken::Item(Item::Audio(bytes)),
            Err(err) => {
                log::error!("spooled audio cannot be read: {err}");
                self.close();
                Taken::Closed
            }
        }
    }

    /// Ends it: what waits is dropped, and the reader is told.
    pub(super) fn close(&self) {
        let mut state = self.state();
        let (writing, memory) = (state.writing, state.memory);
        self.released(&mut state, memory);
        *state = State { closed: true, writing, ..State::default() };
        drop(state);
        self.changed.notify_all();
    }

    /// Writes what waits in memory behind the disk's part to the disk.
    fn spill(&self, folder: &Path) {
        loop {
            let (items, from, file) = {
                let mut state = self.state();
                // Once nothing is left on the disk the file begins anew.
                if state.disk.is_empty() && !state.reading {
                    state.written = 0;
                }
                (std::mem::take(&mut state.back), state.written, state.file.clone())
            };
            let written = write(folder, file, from, &items);
            let mut state = self.state();
            if state.closed {
                return;
            }
            match written {
                Ok((file, until)) => {
                    let mut at = from;
                    for Queued { item, .. } in items {
                        if let Item::Audio(bytes) = item {
                            let length = bytes.len() as u64;
                            self.released(&mut state, bytes.len());
                            state.disk.push_back(OnDisk::Audio { from: at, length });
                            at += length;
                        } else {
                            state.disk.push_back(OnDisk::Other(item));
                        }
                    }
                    (state.file, state.written) = (Some(file), until);
                    state.stuck = false;
                }
                Err(err) => {
                    // It stays in memory for now.
                    if !std::mem::replace(&mut state.stuck, true) {
                        log::warn!("audio cannot be spooled below {}: {err}", folder.display());
                    }
                    let newer = std::mem::replace(&mut state.back, items);
                    state.back.extend(newer);
                    state.writing = false;
                    self.changed.notify_one();
                    return;
                }
            }
            self.changed.notify_one();
            if state.memory <= MEMORY || state.back.is_empty() {
                state.writing = false;
                return;
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the file is gone")
}

/// Gives the room back, for a session that is behind for hours. Where the file system cannot, the
/// file grows until it has been read to its end once.
fn free(file: &File, from: u64, length: u64) {
    use nix::fcntl::{FallocateFlags, fallocate};
    let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    if let (Ok(from), Ok(length)) = (from.try_into(), length.try_into()) {
        let _ = fallocate(file, flags, from, length);
    }
}

fn append(queue: &mut VecDeque<Queued>, item: Item) {
    let now = Instant::now();
    if let Item::Audio(bytes) = &item
        && let Some(Queued { item: Item::Audio(last), at }) = queue.back_mut()
        && last.len() + bytes.len() <= CHUNK
        && now.duration_since(*at) < TOGETHER
    {
        last.extend_from_slice(bytes);
        return;
    }
    queue.push_back(Queued { item, at: now });
}

/// Appends the audio to the file, which has no name any more once it is made.
fn write(
    folder: &Path,
    file: Option<Arc<File>>,
    from: u64,
    items: &VecDeque<Queued>,
) -> io::Result<(Arc<File>, u64)> {
    let file = match file {
        Some(file) => file,
        None => Arc::new(nameless(folder)?),
    };
    let lengths = items.iter().map(|queued| match &queued.item {
        Item::Audio(bytes) => bytes.len() as u64,
        Item::Force | Item::Configure(_) | Item::End => 0,
    });
    let _room = Disk::of(folder)?.promise(lengths.sum()).map_err(io::Error::other)?;
    let mut at = from;
    for queued in items {
        if let Item::Audio(bytes) = &queued.item {
            file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
    }
    Ok((file, at))
}

fn nameless(folder: &Path) -> io::Result<File> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    tempfile::tempfile_in(folder)
}

/// The thread that writes what spools cannot keep in memory; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    queue: mpsc::Sender<Arc<Spool>>,
    /// Bytes of audio that all spools have in memory.
    memory: Arc<AtomicUsize>,
}

impl Writer {
    /// Starts it; the audio lies below `folder`.
    pub(super) fn start(folder: std::path::PathBuf) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel::<Arc<Spool>>();
        std::thread::Builder::new().name("realtime-spool".into()).spawn(move || {
            for spool in receiver {
                spool.spill(&folder);
            }
        })?;
        Ok(Self { queue: sender, memory: Arc::default() })
    }

    /// At most one request of each spool waits here.
    fn ask(&self, spool: Arc<Spool>) -> bool {
        self.queue.send(spool).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn take(spool: &Spool) -> Item {
        match spool.take(PATIENCE) {
            Taken::Item(item) => item,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_comes_out_as_it_went_in_whatever_went_over_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(Writer::start(folder.path().join("spool")).unwrap());
        let begin = Arc::new(std::sync::Barrier::new(2));
        let ended = Arc::new(AtomicBool::new(false));
        let reader = {
            let (spool, begin, ended) = (spool.clone(), begin.clone(), ended.clone());
            std::thread::spawn(move || {
                begin.wait();
                let (mut bytes, mut forces) = (Vec::new(), Vec::new());
                loop {
                    match take(&spool) {
                        Item::Audio(audio) => bytes.extend(audio),
                        Item::Force => {
                            forces.push(bytes.len());
                            // Falls behind until the disk is used again.
                            while spool.state().disk.is_empty() && !ended.load(Relaxed) {
                                std::thread::yield_now();
                            }
                        }
                        Item::Configure(_) => {}
                        Item::End => return (bytes, forces),
                    }
                }
            })
        };
        let (mut sent, mut marks) = (Vec::new(), Vec::new());
        for index in 0..3000_u32 {
            let piece: Vec<u8> = (0..4096).map(|byte| (byte * 7 + index) as u8).collect();
            sent.extend_from_slice(&piece);
            spool.push(Item::Audio(piece)).unwrap();
            if index == 1500 {
                while spool.state().file.is_none() {
                    std::thread::yield_now();
                }
                begin.wait();
            }
            if index % 200 == 0 {
                marks.push(sent.len());
                spool.push(Item::Force).unwrap();
            }
        }
        spool.push(Item::End).unwrap();
        ended.store(true, Relaxed);
        let (bytes, forces) = reader.join().unwrap();
        assert!(bytes == sent, "{} bytes of {}", bytes.len(), sent.len());
        assert_eq!(forces, marks);
        assert_eq!(std::fs::read_dir(folder.path().join("spool")).unwrap().count(), 0);
    }

    #[test]
    fn memory_is_bounded_where_the_disk_takes_nothing() {
        // Below a file there is no folder.
        let file = tempfile::NamedTempFile::new().unwrap();
        let writer = Writer::start(file.path().to_owned()).unwrap();
        let spools: Vec<_> = (0..17).map(|_| Spool::new(writer.clone())).collect();
        let piece = || Item::Audio(vec![0; 4 << 20]);
        for spool in &spools {
            spool.state().stuck = true;
            let count = (0..100).take_while(|_| spool.push(piece()).is_ok()).count();
            assert!(count <= 4, "16 MiB each");
        }
        assert_eq!(spools[0].push(piece()), Err(Full::Disk));
        assert_eq!(spools[16].push(piece()), Err(Full::Memory), "256 MiB all");
        assert_eq!(take(&spools[0]), piece());
        assert_eq!(spools[16].push(piece()), Ok(()), "what was taken makes room");
        spools.iter().for_each(|spool| spool.close());
        assert_eq!(writer.memory.load(Relaxed), 0);
    }

    #[test]
    fn what_is_no_audio_is_bounded_too() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(Writer::start(folder.path().to_owned()).unwrap());
        for _ in 0..MOST_OTHERS {
            spool.push(Item::Force).unwrap();
        }
        assert_eq!(spool.push(Item::Force), Err(Full::Others));
        assert_eq!(take(&spool), Item::Force);
        spool.push(Item::Force).unwrap();
        spool.push(Item::End).unwrap();
    }

    #[test]
    fn small_messages_do_not_cost_more_than_they_hold() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(Writer::start(folder.path().to_owned()).unwrap());
        for _ in 0..10_000 {
            spool.push(Item::Audio(vec![1])).unwrap();
        }
        assert!(spool.state().front.len() < 1000);
        spool.close();
        assert_eq!(spool.take(Duration::ZERO), Taken::Closed);
    }

    #[test]
    fn without_a_disk_memory_is_bounded_and_what_was_taken_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        // No folder can be made in a file.
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        let spool = Spool::new(Writer::start(file.join("spool")).unwrap());
        let deadline = Instant::now() + PATIENCE;
        let mut taken = 0;
        while spool.push(Item::Audio(vec![1; CHUNK])).is_ok() {
            taken += CHUNK;
            assert!(Instant::now() < deadline, "{taken} bytes were taken");
        }
        assert!(spool.state().memory <= MEMORY_ALONE.max(taken));
        assert_eq!(spool.push(Item::End), Ok(()), "what is small is taken");
        let mut given = 0;
        loop {
            match take(&spool) {
                Item::Audio(bytes) => given += bytes.len(),
                Item::End => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(given, taken);
        assert_eq!(spool.push(Item::Audio(vec![1; CHUNK])), Ok(()), "there is room again");
    }
}
