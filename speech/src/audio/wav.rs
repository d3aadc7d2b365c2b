//! WAV and its kin (RF64, BW64, Wave64) as people have them.
//!
//! The sizes in their headers are hints. A recorder that crashed left 0, one that writes into a pipe
//! the largest number, one past 4 GiB what is left of the sum; readers that believe them find a
//! damaged file, or an empty one. So the header is looked through for two things, the format and
//! the place of the samples, and a plain one is put in its place.

use std::io;

use super::numbers::{u16_le, u32_le, u64_le};

/// A header goes on for so long at most, other chunks before the samples included.
const LONGEST_HEADER: u64 = 64 << 20;
pub(super) const MOST_CHUNKS: usize = 1000;
/// A format is a few dozen bytes long.
const LONGEST_FORMAT: u64 = 4096;
/// From here on a size says that its writer did not know: 2 GiB less what headers take.
pub(super) const PLACEHOLDER: u64 = 0x7fff_0000;
/// Samples that stand behind one header at most; even a page of bytes more would still fit.
const LONGEST_DATA: u64 = 0xffff_0000;

/// Wave64 names its chunks by sixteen bytes; these end the names of all but the first.
const WAVE64_RIFF: [u8; 16] = *b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0";
const WAVE64_TAIL: [u8; 12] = *b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";

/// What a file begins with, as far as it is there.
pub(super) trait Bytes {
    /// `length` bytes at `offset`; fewer where the file ends.
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>>;
    /// The length of the whole, where it is known.
    fn whole(&self) -> Option<u64>;
}

/// Where the samples of a file lie.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The first byte of the samples.
    pub(super) begin: u64,
    /// How many bytes of samples stand there; `None`: up to the end.
    pub(super) length: Option<u64>,
    /// Whether further samples may stand behind them, in chunks of RIFF.
    pub(super) chunked: bool,
    /// These, where the whole file is there: offset and length.
    pub(super) more: Vec<(u64, u64)>,
}

impl Place {
    /// The same, counted from `by` bytes earlier.
    pub(super) fn shifted(mut self, by: u64) -> Self {
        self.begin += by;
        self.more.iter_mut().for_each(|(begin, _)| *begin += by);
        self
    }

    /// All samples in a file of `whole` bytes: offset and length.
    pub(super) fn ranges(&self, whole: u64) -> Vec<(u64, u64)> {
        let length = self.length.unwrap_or_else(|| whole.saturating_sub(self.begin));
        std::iter::once((self.begin, length)).chain(self.more.iter().copied()).collect()
    }
}

/// What the samples of a file are, and where they lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wav {
    pub(super) format: Vec<u8>,
    pub(super) place: Place,
}

impl Wav {
    /// Looks for the samples; `None` where the file is of another form, or damaged.
    pub(super) fn locate(bytes: &mut impl Bytes) -> io::Result<Option<Self>> {
        let magic = bytes.at(0, 40)?;
        match (magic.get(..4), magic.get(8..12)) {
            (Some(b"RIFF" | b"RF64" | b"BW64"), Some(b"WAVE")) => Self::in_riff(bytes),
            _ if magic.starts_with(&WAVE64_RIFF) && magic[24..].starts_with(b"wave") => {
                Self::in_wave64(bytes)
            }
            _ => Ok(None),
        }
    }

    fn in_riff(bytes: &mut impl Bytes) -> io::Result<Option<Self>> {
        let (mut at, mut format, mut long_length) = (12, None, None);
        for _ in 0..MOST_CHUNKS {
            let head = bytes.at(at, 8)?;
            let Some((name, size)) = chunk_head(&head) else { return Ok(None) };
            match name {
                b"fmt " if size <= LONGEST_FORMAT => {
                    format = Some(bytes.at(at + 8, size as usize)?)
                }
                // The sizes of RF64 and BW64 (EBU Tech 3306): of the whole, then of the samples.
                b"ds64" => long_length = u64_le(&bytes.at(at + 16, 8)?, 0),
                b"data" => {
                    let told = if size == u64::from(u32::MAX) { long_length } else { None };
                    let found = Self::found(bytes, format, at + 8, told.unwrap_or(size))?;
                    return found.map(|wav| wav.with_more(bytes)).transpose();
                }
                _ => {}
            }
            at += 8 + size + padding(bytes, at + 8 + size, size)?;
            if at > LONGEST_HEADER {
                break;
            }
        }
        Ok(None)
    }

    /// Recorders that were interrupted, and programs that put files together, write several chunks of
    /// samples. Where the file is still coming, they are found as they come.
    fn with_more(mut self, bytes: &mut impl Bytes) -> io::Result<Self> {
        self.place.chunked = true;
        let (Some(whole), Some(length)) = (bytes.whole(), self.place.length) else {
            return Ok(self);
        };
        let (mut at, mut size) = (self.place.begin + length, length);
        for _ in 0..MOST_CHUNKS {
            at += padding(bytes, at, size)?;
            let head = bytes.at(at, 8)?;
            let Some((name, told)) = chunk_head(&head) else { break };
            size = told.min(whole.saturating_sub(at + 8));
            if name == b"data" && size > 0 {
                self.place.more.push((at + 8, size));
            }
            at += 8 + size;
        }
        Ok(self)
    }

    fn in_wave64(bytes: &mut impl Bytes) -> io::Result<Option<Self>> {
        let (mut at, mut format) = (40, None);
        for _ in 0..MOST_CHUNKS {
            let head = bytes.at(at, 24)?;
            let (Some(name), Some(size)) = (head.get(..16), u64_le(&head, 16)) else {
                return Ok(None);
            };
            // The size counts the chunk's own head.
            let size = size.saturating_sub(24);
            if name[4..] == WAVE64_TAIL {
                match &name[..4] {
                    b"fmt " if size <= LONGEST_FORMAT => {
                        format = Some(bytes.at(at + 24, size as usize)?);
                    }
                    b"data" => return Self::found(bytes, format, at + 24, size),
                    _ => {}
                }
            }
            at = at.saturating_add(24).saturating_add(size.next_multiple_of(8));
            if at > LONGEST_HEADER {
                break;
            }
        }
        Ok(None)
    }

    fn found(
        bytes: &mut impl Bytes,
        format: Option<Vec<u8>>,
        begin: u64,
        told: u64,
    ) -> io::Result<Option<Self>> {
        let Some(format) = format.filter(|format| format.len() >= 14) else { return Ok(None) };
        if told == 0 && is_chunk(&bytes.at(begin, 4)?) {
            let place = Place { begin, length: Some(0), ..Place::default() };
            return Ok(Some(Self { format, place }));
        }
        let length = match bytes.whole() {
            Some(whole) => {
                let there = whole.saturating_sub(begin);
                // A sum of four bytes that has gone round is short by a multiple of 4 GiB.
                let went_round = there > told && (there - told) >> 32 > 0;
                Some(if told == 0 || told > there || went_round { there } else { told })
            }
            None if told == 0 || told >= PLACEHOLDER => None,
            None => Some(told),
        };
        Ok(Some(Self { format, place: Place { begin, length, ..Place::default() } }))
    }

    /// The header of a plain WAV with `length` bytes of samples, as many as it can say at most.
    pub(super) fn header(&self, length: Option<u64>) -> Vec<u8> {
        let length = length.unwrap_or(LONGEST_DATA).min(LONGEST_DATA) as u32;
        // At most LONGEST_FORMAT bytes, see `in_riff`.
        let format = self.format.len() as u32;
        let pad = format % 2;
        let mut header = b"RIFF".to_vec();
        header.extend((4 + 8 + format + pad + 8).saturating_add(length).to_le_bytes());
        header.extend(b"WAVEfmt ");
        header.extend(format.to_le_bytes());
        header.extend(&self.format);
        header.extend(std::iter::repeat_n(0, pad as usize));
        header.extend(b"data");
        header.extend(length.to_le_bytes());
        header
    }

    /// The samples of a file of `whole` bytes in pieces that one header each can tell: offset and
    /// length.
    pub(super) fn pieces(&self, whole: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let block = u16_le(&self.format, 12).map_or(1, u64::from).max(1);
        let piece = LONGEST_DATA / block * block;
        self.place.ranges(whole).into_iter().flat_map(move |(begin, length)| {
            (0..length.div_ceil(piece))
                .map(move |number| (begin + number * piece, piece.min(length - number * piece)))
        })
    }
}

/// Whether another chunk follows where samples would begin: then there are none.
fn is_chunk(name: &[u8]) -> bool {
    matches!(name, b"LIST" | b"id3 " | b"ID3 " | b"fact" | b"cue " | b"bext" | b"JUNK" | b"smpl")
}

/// Whether a byte follows a chunk of `size` that ends at `at`: one of odd length should be filled up,
/// and some writers do not.
pub(super) fn padding(bytes: &mut impl Bytes, at: u64, size: u64) -> io::Result<u64> {
    if size.is_multiple_of(2) {
        return Ok(0);
    }
    let next = bytes.at(at, 4)?;
    Ok(u64::from(!(is_chunk(&next) || next == b"fmt " || next == b"data")))
}

/// The name and the size that eight bytes tell.
pub(super) fn chunk_head(head: &[u8]) -> Option<(&[u8], u64)> {
    Some((head.get(..4)?, u64::from(u32_le(head, 4)?)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A second of a ramp, 16 bits, 16 kHz.
    pub(in crate::audio) fn samples() -> Vec<u8> {
        (0..16_000_u16).flat_map(u16::to_le_bytes).collect()
    }

    const FORMAT: &[u8] = b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0";

    fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
        let mut chunk = name.to_vec();
        chunk.extend(size.to_le_bytes());
        chunk.extend(body);
        chunk
    }

    /// A WAV whose sizes are `riff` and `data`, with chunks before and after its samples.
    pub(in crate::audio) fn wav(riff: u32, data: u32) -> Vec<u8> {
        let mut body = b"WAVE".to_vec();
        body.extend(chunk(b"LIST", 5, b"INFO\0\0"));
        body.extend(chunk(b"fmt ", 16, FORMAT));
        body.extend(chunk(b"data", data, &samples()));
        chunk(b"RIFF", riff, &body)
    }

    pub(in crate::audio) fn rf64() -> Vec<u8> {
        let length = samples().len() as u64;
        let sizes: Vec<u8> =
            [length + 80, length, 16_000].into_iter().flat_map(u64::to_le_bytes).collect();
        let mut body = b"WAVE".to_vec();
        body.extend(chunk(b"ds64", 24, &sizes));
        body.extend(chunk(b"fmt ", 16, FORMAT));
        body.extend(chunk(b"data", u32::MAX, &samples()));
        body.extend(chunk(b"LIST", 4, b"INFO"));
        chunk(b"RF64", u32::MAX, &body)
    }

    pub(in crate::audio) fn wave64() -> Vec<u8> {
        let part = |name: &[u8], size: usize, body: &[u8]| {
            let mut part = name.to_vec();
            part.extend(WAVE64_TAIL);
            part.extend((size as u64 + 24).to_le_bytes());
            part.extend(body);
            part
        };
        let mut file = WAVE64_RIFF.to_vec();
        file.extend(999_u64.to_le_bytes());
        file.extend(b"wave");
        file.extend(WAVE64_TAIL);
        file.extend(part(b"fact", 4, &[0; 8]));
        file.extend(part(b"fmt ", 16, FORMAT));
        file.extend(part(b"data", samples().len(), &samples()));
        file
    }

    struct Held(Vec<u8>, Option<u64>);

    impl Bytes for Held {
        fn at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
            let from = self.0.len().min(offset as usize);
            let to = self.0.len().min(from + length);
            Ok(self.0[from..to].to_vec())
        }

        fn whole(&self) -> Option<u64> {
            self.1
        }
    }

    fn length_in_file(bytes: Vec<u8>) -> Option<u64> {
        let whole = bytes.len() as u64;
        Wav::locate(&mut Held(bytes, Some(whole))).unwrap().and_then(|wav| wav.place.length)
    }

    #[test]
    fn sizes_are_hints() {
        let length = samples().len() as u32;
        for (riff, data) in [
            (0, 0),
            (0, length),
            (0, u32::MAX),
            (36, 0),
            (length + 50, 0),
            (u32::MAX, u32::MAX),
            (length + 50, u32::MAX),
            (8, length),
            (length + 6, length),
            (0x7fff_ffff, 0x7fff_ffff),
            (0x8000_0000, 0x8000_0000),
            (length + 50, length * 2),
        ] {
            let found = length_in_file(wav(riff, data));
            assert_eq!(found, Some(u64::from(length)), "{riff:x} {data:x}");
        }
        assert_eq!(length_in_file(wav(length + 50, length - 8)), Some(u64::from(length) - 8));
    }

    #[test]
    fn a_chunk_of_odd_length_may_lack_its_padding() {
        let length = samples().len() as u32;
        for lacking in [&b"abc"[..], b"a", b"abcde"] {
            let mut body = b"WAVE".to_vec();
            body.extend(chunk(b"fmt ", 16, FORMAT));
            body.extend(chunk(b"note", lacking.len() as u32, lacking));
            body.extend(chunk(b"data", length, &samples()));
            assert_eq!(length_in_file(chunk(b"RIFF", 0, &body)), Some(u64::from(length)));
        }
    }

    #[test]
    fn a_size_that_went_round_is_told_from_a_right_one() {
        let (begin, five_gigabytes) = (44_u64, 5_000_000_000_u64);
        let mut bytes = wav(0, (five_gigabytes % (1 << 32)) as u32);
        bytes.truncate(200);
        let whole = begin + 14 + five_gigabytes;
        let wav = Wav::locate(&mut Held(bytes, Some(whole))).unwrap().unwrap();
        assert_eq!(wav.place.length, Some(whole - wav.place.begin));
        let pieces: Vec<_> = wav.pieces(whole).collect();
        assert_eq!(pieces.len(), 2);
        assert_eq!(pieces.iter().map(|(_, length)| length).sum::<u64>(), five_gigabytes);
        assert_eq!(pieces[1].0, wav.place.begin + pieces[0].1);
    }

    #[test]
    fn the_long_forms_are_read_and_what_follows_the_samples_is_not() {
        let length = samples().len() as u64;
        assert_eq!(length_in_file(rf64()), Some(length));
        assert_eq!(length_in_file(wave64()), Some(length));
    }

    #[test]
    fn what_is_empty_or_no_wav_stays_so() {
        let mut empty = b"WAVE".to_vec();
        empty.extend(chunk(b"fmt ", 16, FORMAT));
        empty.extend(chunk(b"data", 0, b""));
        empty.extend(chunk(b"LIST", 4, b"INFO"));
        assert_eq!(length_in_file(chunk(b"RIFF", 60, &empty)), Some(0));
        for other in
            [&b""[..], b"RIFF", b"RIFF\0\0\0\0AVI LIST", b"OggS", b"RIFF\x10\0\0\0WAVEdata"]
        {
            assert_eq!(length_in_file(other.to_vec()), None, "{other:?}");
        }
        assert_eq!(length_in_file(wav(0, 0)[..30].to_vec()), None);
    }
}
