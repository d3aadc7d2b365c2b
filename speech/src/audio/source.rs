//! The file or stream as the decoders see it, with an eye on how much they read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use symphonia::core::io::MediaSource;

use super::wav::Bytes;
use crate::recogniser::Cancel;

/// Bytes that a decoder may read without giving a single sample: covers pictures in tags. What
/// goes on longer is a header without end.
const PATIENCE: u64 = 256 << 20;

/// How far the reading has come. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Meter(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    length: u64,
    position: AtomicU64,
    since_progress: AtomicU64,
}

impl Meter {
    /// The decoder gave samples.
    pub(super) fn progressed(&self) {
        self.0.since_progress.store(0, Ordering::Relaxed);
    }

    /// How much of the file was read, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        let position = self.0.position.load(Ordering::Relaxed) as f64;
        (position / self.0.length.max(1) as f64).min(1.0)
    }
}

/// Where the bytes come from.
enum Origin {
    File(File),
    /// A plain header, then samples of the file.
    Samples(Samples),
    Stream(Box<dyn Read + Send + Sync>),
}

struct Samples {
    file: File,
    header: Vec<u8>,
    /// Offset and length of each piece, one behind the other.
    ranges: Vec<(u64, u64)>,
    position: u64,
}

impl Samples {
    fn whole(&self) -> u64 {
        self.header.len() as u64 + self.ranges.iter().map(|(_, length)| length).sum::<u64>()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let header = self.header.len() as u64;
        let count = if self.position < header {
            (&self.header[self.position as usize..]).read(buffer)?
        } else {
            let mut done = self.position - header;
            let range = self.ranges.iter().find(|(_, length)| {
                let is_here = done < *length;
                done -= if is_here { 0 } else { *length };
                is_here
            });
            let Some((begin, length)) = range else { return Ok(0) };
            let room = buffer.len().min(usize::try_from(length - done).unwrap_or(usize::MAX));
            self.file.read_at(&mut buffer[..room], begin + done)?
        };
        self.position += count as u64;
        Ok(count)
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.whole().checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

/// A file, for a look at its beginning.
pub(super) struct Look<'a>(pub(super) &'a File, pub(super) u64);

impl Bytes for Look<'_> {
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let there = usize::try_from(self.1.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(there)];
        let (length, mut got) = (bytes.len(), 0);
        while got < length {
            match self.0.read_at(&mut bytes[got..], offset + got as u64)? {
                0 => break,
                count => got += count,
            }
        }
        bytes.truncate(got);
        Ok(bytes)
    }

    fn whole(&self) -> Option<u64> {
        Some(self.1)
    }
}

pub(super) struct Source {
    origin: Origin,
    /// Bytes that are to be seen instead of what stands there.
    patches: Vec<(u64, Vec<u8>)>,
    meter: Meter,
    cancel: Cancel,
}

impl Source {
    pub(super) fn file(file: File, cancel: &Cancel) -> io::Result<(Self, Meter)> {
        let length = file.metadata()?.len();
        Ok(Self::new(Origin::File(file), length, cancel))
    }

    /// Pieces of a file, behind a header of its own: offset and length.
    pub(super) fn samples(
        file: File,
        header: Vec<u8>,
        ranges: Vec<(u64, u64)>,
        cancel: &Cancel,
    ) -> (Self, Meter) {
        let samples = Samples { file, header, ranges, position: 0 };
        let whole = samples.whole();
        Self::new(Origin::Samples(samples), whole, cancel)
    }

    pub(super) fn stream(stream: Box<dyn Read + Send + Sync>, cancel: &Cancel) -> (Self, Meter) {
        Self::new(Origin::Stream(stream), u64::MAX, cancel)
    }

    fn new(origin: Origin, length: u64, cancel: &Cancel) -> (Self, Meter) {
        let meter = Meter(Arc::new(Counters {
            length,
            position: AtomicU64::new(0),
            since_progress: AtomicU64::new(0),
        }));
        let source =
            Self { origin, patches: Vec::new(), meter: meter.clone(), cancel: cancel.clone() };
        (source, meter)
    }

    /// Lets `patches` be seen instead of what stands at their places.
    pub(super) fn patch(&mut self, patches: Vec<(u64, Vec<u8>)>) {
        self.patches = patches;
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = match &mut self.origin {
            Origin::File(file) => file.read(buffer)?,
            Origin::Samples(samples) => samples.read(buffer)?,
            Origin::Stream(stream) => stream.read(buffer)?,
        };
        let counters = &self.meter.0;
        let position = counters.position.fetch_add(count as u64, Ordering::Relaxed);
        for (at, bytes) in &self.patches {
            for (at, byte) in (*at..).zip(bytes) {
                let place = at.checked_sub(position).and_then(|place| usize::try_from(place).ok());
                if let Some(place) = place.filter(|place| *place < count) {
                    buffer[place] = *byte;
                }
            }
        }
        // A read of nothing counts too: a decoder may ask at the end of the file for ever.
        let read = counters.since_progress.fetch_add(count.max(1024) as u64, Ordering::Relaxed);
        if read > PATIENCE {
            return Err(io::Error::other("its header does not end"));
        }
        Ok(count)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match &mut self.origin {
            Origin::File(file) => file.seek(to)?,
            Origin::Samples(samples) => samples.seek(to)?,
            Origin::Stream(_) => return Err(io::ErrorKind::Unsupported.into()),
        };
        self.meter.0.position.store(position, Ordering::Relaxed);
        Ok(position)
    }
}

impl MediaSource for Source {
    fn is_seekable(&self) -> bool {
        !matches!(self.origin, Origin::Stream(_))
    }

    fn byte_len(&self) -> Option<u64> {
        self.is_seekable().then_some(self.meter.0.length)
    }
}
