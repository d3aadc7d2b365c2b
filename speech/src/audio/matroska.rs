//! The tracks of Matroska and WebM, for what symphonia leaves out: plain samples of any kind, the
//! formats of Windows, and the names of what is not understood.

use std::io;

use super::{
    codecs::{self, Coding, Sample, Tracks},
    wav::Bytes,
};

const MOST_ELEMENTS: usize = 1000;
/// A track is described in a few hundred bytes, but for what its codec wants to know.
const LONGEST_VALUE: u64 = 64 << 10;

const HEADER: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const CLUSTER: u32 = 0x1f43_b675;
const TRACKS: u32 = 0x1654_ae6b;
const TRACK: u32 = 0xae;
const AUDIO: u32 = 0xe1;

struct Element {
    id: u32,
    begin: u64,
    end: u64,
}

/// What the file says of its tracks of audio; nothing where it is of another form.
pub(super) fn tracks(bytes: &mut impl Bytes) -> io::Result<Tracks> {
    let mut found = Tracks::default();
    let Some(header) = element(bytes, 0)?.filter(|header| header.id == HEADER) else {
        return Ok(found);
    };
    let Some(segment) = element(bytes, header.end)?.filter(|element| element.id == SEGMENT) else {
        return Ok(found);
    };
    let mut at = segment.begin;
    for _ in 0..MOST_ELEMENTS {
        let Some(element) = element(bytes, at)?.filter(|element| element.id != CLUSTER) else {
            break;
        };
        if element.id == TRACKS {
            for track in children(bytes, &element)?.iter().filter(|child| child.id == TRACK) {
                read_track(bytes, track, &mut found)?;
            }
            break;
        }
        at = element.end;
    }
    Ok(found)
}

#[derive(Default)]
struct Audio {
    rate: u32,
    channels: u32,
    bits: u32,
}

fn read_track(bytes: &mut impl Bytes, track: &Element, found: &mut Tracks) -> io::Result<()> {
    let (mut number, mut kind, mut id, mut private) = (0, 0, String::new(), Vec::new());
    let mut is_default = true;
    let mut audio = Audio { rate: 8000, channels: 1, bits: 0 };
    for child in children(bytes, track)? {
        match child.id {
            0xd7 => number = unsigned(&value(bytes, &child)?),
            0x83 => kind = unsigned(&value(bytes, &child)?),
            0x88 => is_default = unsigned(&value(bytes, &child)?) != 0,
            0x86 => {
                let name = value(bytes, &child)?;
                id = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
            }
            0x63a2 => private = value(bytes, &child)?,
            AUDIO => {
                for part in children(bytes, &child)? {
                    let value = value(bytes, &part)?;
                    match part.id {
                        0xb5 => audio.rate = float(&value).round() as u32,
                        0x9f => audio.channels = unsigned(&value) as u32,
                        0x6264 => audio.bits = unsigned(&value) as u32,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if kind == 2 {
        let number = number as u32;
        found.codings.extend(decoder(&id, &private, &audio).map(|coding| (number, coding)));
        if !is_default {
            found.spare.push(number);
        }
    }
    Ok(())
}

/// `None` where symphonia knows best.
fn decoder(id: &str, private: &[u8], audio: &Audio) -> Option<Coding> {
    let plain = |sample, little_endian| {
        codecs::plain(sample, audio.bits.div_ceil(8), little_endian, audio.rate, audio.channels)
    };
    Some(match id {
        "A_PCM/INT/LIT" | "A_PCM/INT/BIG" if audio.bits <= 8 => plain(Sample::Unsigned, true),
        "A_PCM/INT/LIT" => plain(Sample::Signed, true),
        "A_PCM/INT/BIG" => plain(Sample::Signed, false),
        "A_PCM/FLOAT/IEEE" => plain(Sample::Float, true),
        "A_MS/ACM" => codecs::wave(private),
        "A_OPUS" => codecs::opus(private),
        "A_ALAC" => codecs::alac(private, audio.rate, audio.channels),
        "A_MPEG/L1" | "A_MPEG/L2" | "A_MPEG/L3" | "A_FLAC" | "A_VORBIS" => return None,
        id if id.starts_with("A_AAC") => return None,
        id => Coding::Named(codecs::matroska(id)),
    })
}

fn children(bytes: &mut impl Bytes, parent: &Element) -> io::Result<Vec<Element>> {
    let (mut found, mut at) = (Vec::new(), parent.begin);
    while at < parent.end && found.len() < MOST_ELEMENTS {
        let Some(child) = element(bytes, at)? else { break };
        at = child.end;
        found.push(child);
    }
    Ok(found)
}

/// The element at `at`; one of unknown size goes on for ever.
fn element(bytes: &mut impl Bytes, at: u64) -> io::Result<Option<Element>> {
    let head = bytes.at(at, 12)?;
    let Some((id, taken)) = number(&head, 4, false) else { return Ok(None) };
    let Some((size, more)) = number(&head[taken..], 8, true) else { return Ok(None) };
    let begin = at + (taken + more) as u64;
    let unknown = size == (1 << (7 * more)) - 1;
    let end = if unknown { u64::MAX } else { begin.saturating_add(size) };
    Ok(Some(Element { id: id as u32, begin, end }))
}

/// A number of variable length, and its length. `cut`: without the bit that tells the length.
fn number(bytes: &[u8], most: usize, cut: bool) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..length).filter(|_| length <= most)?;
    let first = if cut { u64::from(first) & ((1 << (8 - length)) - 1) } else { u64::from(first) };
    Some((rest.iter().fold(first, |sum, byte| sum << 8 | u64::from(*byte)), length))
}

fn value(bytes: &mut impl Bytes, element: &Element) -> io::Result<Vec<u8>> {
    let length = (element.end - element.begin).min(LONGEST_VALUE);
    bytes.at(element.begin, length as usize)
}

fn unsigned(value: &[u8]) -> u64 {
    value.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn float(value: &[u8]) -> f64 {
    match value.len() {
        4 => f64::from(f32::from_bits(unsigned(value) as u32)),
        8 => f64::from_bits(unsigned(value)),
        _ => 0.0,
    }
}
