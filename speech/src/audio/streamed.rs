//! A file that is still coming, with a look at its beginning before it is read.

use std::io::{self, Read};

use super::wav::Bytes;

/// The beginning is looked at this far.
const LONGEST_BEGINNING: usize = 4 << 20;

pub(super) struct Streamed<R> {
    inner: R,
    /// Read and not handed on.
    held: Vec<u8>,
    /// What may still be handed on of `inner`, where that is known.
    left: Option<u64>,
}

impl<R: Read> Streamed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, held: Vec::new(), left: None }
    }

    /// Gives `header`, then what stands from `begin` on: all of it, or `length` bytes.
    pub(super) fn from(
        mut self,
        mut header: Vec<u8>,
        begin: u64,
        length: Option<u64>,
    ) -> io::Result<Self> {
        let begin = usize::try_from(begin).unwrap_or(usize::MAX);
        self.at(0, begin)?;
        let mut samples = self.held.split_off(begin.min(self.held.len()));
        if let Some(length) = length {
            samples.truncate(usize::try_from(length).unwrap_or(usize::MAX));
            self.left = Some(length - samples.len() as u64);
        }
        header.append(&mut samples);
        self.held = header;
        Ok(self)
    }
}

impl<R: Read> Bytes for Streamed<R> {
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let to = from.saturating_add(length);
        let mut piece = [0; 4096];
        while from < LONGEST_BEGINNING && self.held.len() < to.min(LONGEST_BEGINNING) {
            let wanted = piece.len().min(to - self.held.len());
            let count = self.inner.read(&mut piece[..wanted])?;
            if count == 0 {
                break;
            }
            self.held.extend_from_slice(&piece[..count]);
        }
        let end = self.held.len();
        Ok(self.held[from.min(end)..to.min(end)].to_vec())
    }

    fn whole(&self) -> Option<u64> {
        None
    }
}

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            let room =
                self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
            let room = room.min(buffer.len());
            let count = self.inner.read(&mut buffer[..room])?;
            if let Some(left) = &mut self.left {
                *left -= count as u64;
            }
            return Ok(count);
        }
        let count = self.held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        audio::{
            AudioReader,
            wav::tests::{rf64, samples, wav, wave64},
        },
        recogniser::Cancel,
    };

    /// Gives a few bytes at a time, as a socket does.
    struct Trickle(std::collections::VecDeque<u8>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(7).min(self.0.len());
            for (to, from) in buffer.iter_mut().zip(self.0.drain(..count)) {
                *to = from;
            }
            Ok(count)
        }
    }

    fn read(mut reader: AudioReader) -> Vec<f32> {
        let mut samples = Vec::new();
        while let Some(piece) = reader.next_samples().unwrap() {
            samples.extend(piece);
        }
        samples
    }

    #[test]
    fn a_wav_is_read_to_its_end_through_either_door() {
        let length = samples().len() as u32;
        let sizes = [(0, 0), (u32::MAX, u32::MAX), (length + 50, length), (0, length), (8, length)];
        let mut files: Vec<_> = sizes.iter().map(|(riff, data)| wav(*riff, *data)).collect();
        files.extend([rf64(), wave64(), wav(0x7fff_ffff, 0x7fff_ffff)]);
        for (number, bytes) in files.into_iter().enumerate() {
            let (limit, cancel) = (Duration::from_secs(60), Cancel::default());
            let mut file = tempfile::tempfile().unwrap();
            io::Write::write_all(&mut file, &bytes).unwrap();
            io::Seek::rewind(&mut file).unwrap();
            let batch = read(AudioReader::open(file, limit, &cancel).unwrap());
            let trickle = Trickle(bytes.into());
            let live = read(AudioReader::stream(trickle, limit, &cancel).unwrap());
            for samples in [batch, live] {
                assert_eq!(samples.len(), 16_000, "{number}");
                assert!((samples[100] - 100.0 / 32768.0).abs() < 1e-6);
            }
        }
    }
}
