//! A file that is still coming, with a look at its beginning before it is read.

use std::io::{self, Read};

use super::wav::{Bytes, MOST_CHUNKS, Place, chunk_head, padding};

/// The beginning is looked at this far.
const LONGEST_BEGINNING: usize = 4 << 20;

pub(super) struct Streamed<R> {
    inner: R,
    /// To be handed on before all else.
    header: Vec<u8>,
    /// Read and not handed on.
    held: Vec<u8>,
    /// What may still be handed on of the samples, where that is known.
    left: Option<u64>,
    /// How many bytes the last samples had, where more may follow in another chunk.
    chunk: Option<u64>,
}

impl<R: Read> Streamed<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, header: Vec::new(), held: Vec::new(), left: None, chunk: None }
    }

    /// Gives `header`, then what stands at `place`: all of it, or as much as is told.
    pub(super) fn from(mut self, header: Vec<u8>, place: &Place) -> io::Result<Self> {
        let begin = usize::try_from(place.begin).unwrap_or(usize::MAX);
        self.at(0, begin)?;
        self.held.drain(..begin.min(self.held.len()));
        self.header = header;
        self.left = place.length;
        self.chunk = place.length.filter(|_| place.chunked);
        Ok(self)
    }

    /// What is there next, whatever it belongs to.
    fn read_on(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() {
            return self.inner.read(buffer);
        }
        Ok(hand_on(&mut self.held, buffer))
    }

    /// Leaves out what stands before the next samples; false where there are none.
    fn find_more(&mut self) -> io::Result<bool> {
        let Some(mut size) = self.chunk.take() else { return Ok(false) };
        for _ in 0..MOST_CHUNKS {
            let padding = padding(self, 0, size)?;
            let head = self.at(padding, 8)?;
            let Some((name, told)) = chunk_head(&head) else { return Ok(false) };
            let is_data = name == b"data";
            self.skip(padding + 8)?;
            size = told;
            if is_data && size > 0 {
                (self.left, self.chunk) = (Some(size), Some(size));
                return Ok(true);
            }
            self.skip(size)?;
        }
        Ok(false)
    }

    fn skip(&mut self, mut count: u64) -> io::Result<()> {
        let mut piece = [0; 4096];
        while count > 0 {
            let wanted = piece.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            match self.read_on(&mut piece[..wanted])? {
                0 => break,
                read => count -= read as u64,
            }
        }
        Ok(())
    }
}

/// Moves as many bytes as there is room for.
fn hand_on(from: &mut Vec<u8>, buffer: &mut [u8]) -> usize {
    let count = from.len().min(buffer.len());
    buffer[..count].copy_from_slice(&from[..count]);
    from.drain(..count);
    count
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
        if !self.header.is_empty() {
            return Ok(hand_on(&mut self.header, buffer));
        }
        if self.left == Some(0) && !self.find_more()? {
            return Ok(0);
        }
        let left = self.left.map_or(usize::MAX, |left| usize::try_from(left).unwrap_or(usize::MAX));
        let room = left.min(buffer.len());
        let count = self.read_on(&mut buffer[..room])?;
        if let Some(left) = &mut self.left {
            *left -= count as u64;
        }
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
