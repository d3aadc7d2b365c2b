//! A file that is still coming. Who writes a WAV file into a pipe does not know its length and puts
//! 0 or the largest number into the header; readers would take that for the length.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// The header is looked at this far.
const LONGEST_HEADER: usize = 64 << 10;
/// Stands for a length that is not known: even, and as long as a day and a half.
const UNKNOWN: u32 = 0xffff_fff0;

pub(super) struct Streamed<R> {
    inner: R,
    /// Read and not handed on.
    held: Vec<u8>,
    header: bool,
    is_mp4: Arc<AtomicBool>,
}

impl<R: Read> Streamed<R> {
    /// With it comes whether the file turned out to be an MP4.
    pub(super) fn new(inner: R) -> (Self, Arc<AtomicBool>) {
        let is_mp4 = Arc::new(AtomicBool::new(false));
        (Self { inner, held: Vec::new(), header: true, is_mp4: is_mp4.clone() }, is_mp4)
    }

    /// Reads on until the header is whole or it is none.
    fn read_header(&mut self) -> io::Result<()> {
        let mut piece = [0; 1024];
        while let Header::Unfinished = open_ended(&mut self.held) {
            let count = self.inner.read(&mut piece)?;
            if count == 0 {
                break;
            }
            self.held.extend_from_slice(&piece[..count]);
        }
        self.header = false;
        self.is_mp4.store(self.held.get(4..8) == Some(b"ftyp"), Relaxed);
        Ok(())
    }
}

impl<R: Read> Read for Streamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.header {
            self.read_header()?;
        }
        if self.held.is_empty() {
            return self.inner.read(buffer);
        }
        let count = self.held.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        Ok(count)
    }
}

enum Header {
    Unfinished,
    Done,
}

/// Gives a WAV header whose `data` says nothing of use the longest length there is.
fn open_ended(bytes: &mut [u8]) -> Header {
    let riff = b"RIFF".iter().zip(bytes.iter()).all(|(a, b)| a == b);
    if bytes.len() >= 8 && !riff || bytes.len() > LONGEST_HEADER {
        return Header::Done;
    }
    let Some(form) = bytes.get(8..12) else { return Header::Unfinished };
    if form != b"WAVE" {
        return Header::Done;
    }
    let mut at = 12;
    while let Some(chunk) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        if &chunk[..4] == b"data" {
            let whole = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            if length == 0 || length > UNKNOWN - 4096 {
                bytes[at + 4..at + 8].copy_from_slice(&(UNKNOWN - 4096).to_le_bytes());
                bytes[4..8].copy_from_slice(&UNKNOWN.to_le_bytes());
            } else if (whole as usize) < at {
                bytes[4..8].copy_from_slice(&UNKNOWN.to_le_bytes());
            }
            return Header::Done;
        }
        at += 8 + length as usize + length as usize % 2;
    }
    Header::Unfinished
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{audio::AudioReader, recogniser::Cancel};

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

    fn wav(riff: u32, data: u32) -> Vec<u8> {
        let mut bytes = b"RIFF".to_vec();
        bytes.extend(riff.to_le_bytes());
        bytes.extend(b"WAVELIST\x04\0\0\0INFO");
        bytes.extend(b"fmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
        bytes.extend(data.to_le_bytes());
        bytes.extend((0..32_000).flat_map(|index: i32| (index as i16).to_le_bytes()));
        bytes
    }

    #[test]
    fn a_wav_file_without_its_length_is_read_to_its_end() {
        for (riff, data) in
            [(0, 0), (u32::MAX, u32::MAX), (64_048, 64_000), (0, 64_000), (0, u32::MAX - 36)]
        {
            let trickle = Trickle(wav(riff, data).into());
            let mut reader =
                AudioReader::stream(trickle, Duration::from_secs(60), &Cancel::default()).unwrap();
            let mut samples = Vec::new();
            while let Some(piece) = reader.next_samples().unwrap() {
                samples.extend(piece);
            }
            assert_eq!(samples.len(), 32_000, "{riff} {data}");
            assert!((samples[100] - 100.0 / 32768.0).abs() < 1e-6);
        }
    }
}
