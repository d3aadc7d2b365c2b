//! The tracks of MP4 and QuickTime, for what symphonia leaves out or takes wrongly: plain samples
//! of either byte order, mu-law and A-law, the channels of Opus, and the names of what is not
//! understood.
//!
//! Where an entry is read here, its mark is patched on the way to symphonia so that it leaves the
//! entry alone; it still finds the packets.

use std::io;

use super::{
    codecs::{self, Coding, Sample},
    numbers::{u16_be, u32_be, u64_be},
    wav::Bytes,
};

const MOST_BOXES: usize = 1000;
/// The description of one track of audio is some hundred bytes long.
const LONGEST_ENTRY: u64 = 64 << 10;
/// A mark that symphonia does not know.
const LEFT_ALONE: &[u8] = b"skip";

/// What a file says of its tracks.
#[derive(Debug, Default)]
pub(super) struct Movie {
    /// By the number of the track, from 0.
    pub(super) tracks: Vec<(u32, Coding)>,
    /// Bytes that symphonia is to see instead of what stands in the file, and where.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
    /// The samples come before the index: such a file cannot be read while it comes.
    pub(super) index_at_end: bool,
}

/// A box without its head.
#[derive(Debug, Clone, Copy)]
struct Part {
    name: [u8; 4],
    /// Where its head begins.
    head: u64,
    begin: u64,
    end: u64,
}

/// `None` where the file is of another form.
pub(super) fn movie(bytes: &mut impl Bytes) -> io::Result<Option<Movie>> {
    if bytes.at(4, 4)? != b"ftyp" {
        return Ok(None);
    }
    let (mut movie, mut at) = (Movie::default(), 0);
    for _ in 0..MOST_BOXES {
        let Some(part) = part(bytes, at, u64::MAX)? else { break };
        match &part.name {
            b"moov" => {
                let tracks = children(bytes, part)?;
                let tracks = tracks.iter().filter(|part| &part.name == b"trak");
                for (number, track) in tracks.enumerate() {
                    read_track(bytes, number as u32, *track, &mut movie)?;
                }
                break;
            }
            b"mdat" => {
                movie.index_at_end = true;
                if bytes.whole().is_none() {
                    break;
                }
            }
            b"moof" => break,
            _ => {}
        }
        at = part.end;
    }
    Ok(Some(movie))
}

fn read_track(
    bytes: &mut impl Bytes,
    number: u32,
    track: Part,
    movie: &mut Movie,
) -> io::Result<()> {
    let Some(media) = child(bytes, track, b"mdia")? else { return Ok(()) };
    let handler = match child(bytes, media, b"hdlr")? {
        Some(part) => bytes.at(part.begin + 8, 4)?,
        None => return Ok(()),
    };
    let Some(information) = child(bytes, media, b"minf")? else { return Ok(()) };
    let Some(table) = child(bytes, information, b"stbl")? else { return Ok(()) };
    let Some(descriptions) = child(bytes, table, b"stsd")? else { return Ok(()) };
    // The first says what the audio is; symphonia gives the whole file up for a second one.
    if bytes.at(descriptions.begin + 4, 4)?.iter().map(|byte| u32::from(*byte)).sum::<u32>() > 1 {
        movie.patches.push((descriptions.begin + 4, vec![0, 0, 0, 1]));
    }
    if handler != b"soun" {
        return Ok(());
    }
    let Some(entry) = part(bytes, descriptions.begin + 8, descriptions.end)? else { return Ok(()) };
    let Some(coding) = Entry::read(bytes, entry)?.coding() else { return Ok(()) };
    if let Coding::Known(parameters) = &coding {
        movie.patches.push((entry.head + 4, LEFT_ALONE.to_vec()));
        // QuickTime wrote 1 for the size of a frame, and meant "one".
        let width = codecs::width(parameters.codec).unwrap_or_default();
        let frame = (width * parameters.channels.map_or(0, |channels| channels.count())) as u32;
        if frame > 0
            && let Some(sizes) = child(bytes, table, b"stsz")?
            && bytes.at(sizes.begin + 4, 4)? != [0; 4]
        {
            movie.patches.push((sizes.begin + 4, frame.to_be_bytes().to_vec()));
        }
    }
    movie.tracks.push((number, coding));
    Ok(())
}

/// The description of a track of audio.
struct Entry {
    name: [u8; 4],
    body: Vec<u8>,
    /// Boxes behind the fixed part, those inside of `wave` among them: name and body.
    boxes: Vec<([u8; 4], Vec<u8>)>,
}

impl Entry {
    fn read(bytes: &mut impl Bytes, entry: Part) -> io::Result<Self> {
        let length = (entry.end - entry.begin).min(LONGEST_ENTRY);
        let body = bytes.at(entry.begin, length as usize)?;
        let fixed = match body.get(8..10) {
            Some([0, 1]) => 44,
            Some([0, 2]) => 64,
            _ => 28,
        };
        let mut boxes = inner(body.get(fixed..).unwrap_or_default());
        if let Some((_, wave)) = boxes.iter().find(|(name, _)| name == b"wave") {
            let more = inner(wave);
            boxes.extend(more);
        }
        Ok(Self { name: entry.name, body, boxes })
    }

    fn found(&self, name: &[u8; 4]) -> Option<&[u8]> {
        self.boxes.iter().find(|(found, _)| found == name).map(|(_, body)| body.as_slice())
    }

    fn short(&self, at: usize) -> u32 {
        u16_be(&self.body, at).map_or(0, u32::from)
    }

    fn long(&self, at: usize) -> u32 {
        u32_be(&self.body, at).unwrap_or_default()
    }

    fn is_second_version(&self) -> bool {
        self.short(8) == 2
    }

    fn rate(&self) -> u32 {
        if self.is_second_version() {
            let rate = u64_be(&self.body, 32).unwrap_or_default();
            return f64::from_bits(rate).round() as u32;
        }
        self.short(24)
    }

    fn channels(&self) -> u32 {
        if self.is_second_version() { self.long(40) } else { self.short(16) }
    }

    fn bits(&self) -> u32 {
        if self.is_second_version() { self.long(48) } else { self.short(18) }
    }

    /// `None` where symphonia knows best.
    fn coding(&self) -> Option<Coding> {
        let plain = |sample, bytes, little_endian| {
            codecs::plain(sample, bytes, little_endian, self.rate(), self.channels())
        };
        // Big-endian unless it is said otherwise.
        let little = self.found(b"enda").is_some_and(|body| body.ends_with(&[1]));
        let bytes = self.bits().div_ceil(8);
        Some(match &self.name {
            b"lpcm" if self.is_second_version() => {
                let flags = self.long(52);
                let sample = match flags {
                    _ if flags & 1 != 0 => Sample::Float,
                    _ if flags & 4 != 0 => Sample::Signed,
                    _ => Sample::Unsigned,
                };
                plain(sample, bytes, flags & 2 == 0)
            }
            b"twos" | b"lpcm" => plain(Sample::Signed, bytes, little),
            b"sowt" => plain(Sample::Signed, bytes, true),
            b"raw " | b"NONE" | [0, 0, 0, 0] if bytes == 1 => plain(Sample::Unsigned, 1, true),
            b"raw " | b"NONE" | [0, 0, 0, 0] => plain(Sample::Signed, bytes, little),
            b"in24" => plain(Sample::Signed, 3, little),
            b"in32" => plain(Sample::Signed, 4, little),
            b"fl32" => plain(Sample::Float, 4, little),
            b"fl64" => plain(Sample::Float, 8, little),
            b"ipcm" | b"fpcm" => {
                // ISO/IEC 23003-5: version and flags, whether it is little-endian, bits.
                let configuration = self.found(b"pcmC").unwrap_or_default();
                let (Some(flags), Some(bits)) = (configuration.get(4), configuration.get(5)) else {
                    return Some(Coding::Named("plain samples without their description".into()));
                };
                let float = &self.name == b"fpcm";
                let sample = if float { Sample::Float } else { Sample::Signed };
                plain(sample, u32::from(*bits).div_ceil(8), flags & 1 != 0)
            }
            b"ulaw" | b"ULAW" | b"ms\0\x07" => plain(Sample::MuLaw, 1, true),
            b"alaw" | b"ALAW" | b"ms\0\x06" => plain(Sample::ALaw, 1, true),
            b"Opus" => codecs::opus(&opus_head(self.found(b"dOps")?)),
            b"alac" => {
                // Its cookie stands behind a version.
                let cookie = self.found(b"alac")?.get(4..)?;
                codecs::alac(cookie, self.rate(), self.channels())
            }
            b"mp4a" => return object_type(self.found(b"esds")?).and_then(inside_mp4a),
            b".mp3" | b"ms\0\x55" | b"fLaC" => return None,
            name => Coding::Named(codecs::four_letters(*name)),
        })
    }
}

/// The header that Ogg has, out of the box that MP4 has: the same fields, in the other byte order.
fn opus_head(body: &[u8]) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.extend(body.get(1..).unwrap_or_default());
    for field in [10..12, 12..16, 16..18] {
        if let Some(field) = head.get_mut(field) {
            field.reverse();
        }
    }
    head
}

/// What the descriptors of an elementary stream say it is (ISO/IEC 14496-1, 7.2.6).
fn object_type(body: &[u8]) -> Option<u8> {
    let mut rest = descriptor(body.get(4..)?, 3)?;
    let flags = *rest.get(2)?;
    rest = rest.get(3..)?;
    if flags & 0x80 != 0 {
        rest = rest.get(2..)?;
    }
    if flags & 0x40 != 0 {
        rest = rest.get(usize::from(*rest.first()?) + 1..)?;
    }
    if flags & 0x20 != 0 {
        rest = rest.get(2..)?;
    }
    descriptor(rest, 4)?.first().copied()
}

/// The body of a descriptor with the mark `tag`.
fn descriptor(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, mut rest) = bytes.split_first()?;
    if *first != tag {
        return None;
    }
    for _ in 0..4 {
        let (length, behind) = rest.split_first()?;
        rest = behind;
        if length & 0x80 == 0 {
            break;
        }
    }
    Some(rest)
}

fn inside_mp4a(object_type: u8) -> Option<Coding> {
    let name = match object_type {
        0xa5 => "AC-3",
        0xa6 => "E-AC-3",
        0xa9..=0xac => "DTS",
        0xdd => "Vorbis in MP4",
        0xe1 => "QCELP",
        _ => return None,
    };
    Some(Coding::Named(name.into()))
}

/// Boxes in what was read already.
fn inner(mut bytes: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let mut boxes = Vec::new();
    while let Some(size) = u32_be(bytes, 0) {
        let size = (size as usize).max(8);
        let Some((whole, rest)) = bytes.split_at_checked(size) else { break };
        boxes.push(([whole[4], whole[5], whole[6], whole[7]], whole[8..].to_vec()));
        bytes = rest;
    }
    boxes
}

fn child(bytes: &mut impl Bytes, parent: Part, name: &[u8; 4]) -> io::Result<Option<Part>> {
    Ok(children(bytes, parent)?.into_iter().find(|part| &part.name == name))
}

fn children(bytes: &mut impl Bytes, parent: Part) -> io::Result<Vec<Part>> {
    let (mut found, mut at) = (Vec::new(), parent.begin);
    while found.len() < MOST_BOXES
        && let Some(part) = part(bytes, at, parent.end)?
    {
        at = part.end;
        found.push(part);
    }
    Ok(found)
}

/// The box at `at`, which ends at `end` at the latest.
fn part(bytes: &mut impl Bytes, at: u64, end: u64) -> io::Result<Option<Part>> {
    if at >= end {
        return Ok(None);
    }
    let head = bytes.at(at, 16)?;
    let (Some(size), Some(name)) = (u32_be(&head, 0), head.get(4..8)) else { return Ok(None) };
    let name = [name[0], name[1], name[2], name[3]];
    let (taken, size) = match size {
        0 => (8, end - at),
        1 => match u64_be(&head, 8) {
            Some(size) => (16, size),
            None => return Ok(None),
        },
        size => (8, u64::from(size)),
    };
    if size < taken {
        return Ok(None);
    }
    Ok(Some(Part { name, head: at, begin: at + taken, end: at.saturating_add(size).min(end) }))
}
