//! Plain samples behind a header of AIFF, CAF or AU, with sizes as hints: read here, since a file
//! may still be coming, or its recorder never finished it.

use std::io::{self, Read};

use symphonia::core::{codecs::CodecParameters, formats::Packet};

use super::{
    codecs::{self, Coding, FRAMES, Sample},
    numbers::{u16_be, u32_be, u64_be},
    source::Source,
    wav::{Bytes, PLACEHOLDER, Place},
};

const MOST_CHUNKS: usize = 1000;
/// Descriptions are some dozen bytes long.
const LONGEST_DESCRIPTION: u64 = 4096;

/// What the samples of a file are, and where they lie.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) coding: Coding,
    pub(super) place: Place,
}

/// A file that is recognised and read elsewhere, or not at all.
#[derive(Debug)]
pub(super) enum Found {
    Plain(Plain),
    /// A CAF with a table of packets, and what symphonia would take wrongly.
    Packets(Option<Coding>),
}

/// `None` where the file is of another form, or damaged.
pub(super) fn locate(bytes: &mut impl Bytes) -> io::Result<Option<Found>> {
    let magic = bytes.at(0, 12)?;
    match (magic.get(..4), magic.get(8..12)) {
        (Some(b"FORM"), Some(b"AIFF" | b"AIFC")) => in_aiff(bytes),
        (Some(b"caff"), _) => in_caf(bytes),
        (Some(b".snd"), _) => in_au(bytes),
        _ => Ok(None),
    }
}

fn in_aiff(bytes: &mut impl Bytes) -> io::Result<Option<Found>> {
    let (mut at, mut coding) = (12, None);
    for _ in 0..MOST_CHUNKS {
        let head = bytes.at(at, 8)?;
        let (Some(name), Some(size)) = (head.get(..4), u32_be(&head, 4)) else { break };
        let size = u64::from(size);
        match name {
            b"COMM" => {
                let body = bytes.at(at + 8, size.min(LONGEST_DESCRIPTION) as usize)?;
                coding = aiff_coding(&body);
            }
            b"SSND" => {
                let Some(offset) = u32_be(&bytes.at(at + 8, 4)?, 0) else { break };
                // The head of the samples is 8 bytes, and they may begin later.
                let begin = at + 16 + u64::from(offset);
                let told = size.saturating_sub(8 + u64::from(offset));
                let Some(coding) = coding else { break };
                return found(bytes, coding, begin, told).map(Some);
            }
            _ => {}
        }
        at += 8 + size + size % 2;
    }
    Ok(None)
}

fn aiff_coding(body: &[u8]) -> Option<Coding> {
    let (channels, bits) = (u16_be(body, 0)?, u16_be(body, 6)?);
    let rate = extended(body.get(8..18)?)?;
    let plain =
        |sample, bytes, little| codecs::plain(sample, bytes, little, rate, u32::from(channels));
    let bytes = u32::from(bits).div_ceil(8);
    Some(match body.get(18..22) {
        None | Some(b"NONE" | b"twos") => plain(Sample::Signed, bytes, false),
        Some(b"sowt") => plain(Sample::Signed, bytes, true),
        Some(b"raw ") => plain(Sample::Unsigned, bytes, false),
        Some(b"in24") => plain(Sample::Signed, 3, false),
        Some(b"in32") => plain(Sample::Signed, 4, false),
        Some(b"fl32" | b"FL32") => plain(Sample::Float, 4, false),
        Some(b"fl64" | b"FL64") => plain(Sample::Float, 8, false),
        Some(b"ulaw" | b"ULAW") => plain(Sample::MuLaw, 1, false),
        Some(b"alaw" | b"ALAW") => plain(Sample::ALaw, 1, false),
        Some(name) => Coding::Named(codecs::four_letters([name[0], name[1], name[2], name[3]])),
    })
}

fn in_caf(bytes: &mut impl Bytes) -> io::Result<Option<Found>> {
    let (mut at, mut coding) = (8, None);
    for _ in 0..MOST_CHUNKS {
        let head = bytes.at(at, 12)?;
        let (Some(name), Some(size)) = (head.get(..4), u64_be(&head, 4)) else { break };
        match name {
            b"desc" => coding = caf_coding(&bytes.at(at + 12, 32)?),
            b"data" => {
                let Some((format, coding)) = coding else { break };
                let Some(coding) = coding else {
                    return Ok(Some(Found::Packets(packets(format))));
                };
                // The samples stand behind a counter; -1 says that their number is not known.
                let told = if size > i64::MAX as u64 { 0 } else { size.saturating_sub(4) };
                return found(bytes, coding, at + 16, told).map(Some);
            }
            _ => {}
        }
        let Some(next) = at.checked_add(12).and_then(|at| at.checked_add(size)) else { break };
        at = next;
    }
    Ok(None)
}

/// The mark of the codec, and how its samples lie if they are plain.
fn caf_coding(body: &[u8]) -> Option<([u8; 4], Option<Coding>)> {
    let rate = f64::from_bits(u64_be(body, 0)?).round() as u32;
    let format = *body.get(8..)?.first_chunk()?;
    let (flags, packet) = (u32_be(body, 12)?, u32_be(body, 16)?);
    let (channels, bits) = (u32_be(body, 24)?, u32_be(body, 28)?);
    let plain = |sample, bytes, little| codecs::plain(sample, bytes, little, rate, channels);
    let coding = match &format {
        b"lpcm" => {
            let sample = if flags & 1 != 0 { Sample::Float } else { Sample::Signed };
            let bytes = packet.checked_div(channels).unwrap_or_default();
            plain(sample, bytes.max(bits.div_ceil(8)), flags & 2 != 0)
        }
        b"ulaw" => plain(Sample::MuLaw, 1, false),
        b"alaw" => plain(Sample::ALaw, 1, false),
        _ => return Some((format, None)),
    };
    Some((format, Some(coding)))
}

/// What symphonia would take wrongly, or give no name.
fn packets(format: [u8; 4]) -> Option<Coding> {
    match &format {
        b"aac " | b"alac" | b"flac" | b"opus" | b".mp1" | b".mp2" | b".mp3" => None,
        _ => Some(Coding::Named(codecs::four_letters(format))),
    }
}

fn in_au(bytes: &mut impl Bytes) -> io::Result<Option<Found>> {
    let head = bytes.at(0, 24)?;
    let field = |number: usize| u32_be(&head, 4 * number);
    let (Some(begin), Some(told), Some(encoding), Some(rate), Some(channels)) =
        (field(1), field(2), field(3), field(4), field(5))
    else {
        return Ok(None);
    };
    let plain = |sample, bytes| codecs::plain(sample, bytes, false, rate, channels);
    let coding = match encoding {
        1 => plain(Sample::MuLaw, 1),
        bytes @ 2..=5 => plain(Sample::Signed, bytes - 1),
        6 => plain(Sample::Float, 4),
        7 => plain(Sample::Float, 8),
        23..=26 => Coding::Named("G.72x ADPCM".into()),
        27 => plain(Sample::ALaw, 1),
        other => Coding::Named(format!("an encoding of AU with the number {other}")),
    };
    let told = if told == u32::MAX { 0 } else { u64::from(told) };
    found(bytes, coding, u64::from(begin), told).map(Some)
}

/// `told`: what the header says, 0 if it says nothing.
fn found(bytes: &impl Bytes, coding: Coding, begin: u64, told: u64) -> io::Result<Found> {
    let there = bytes.whole().map(|whole| whole.saturating_sub(begin));
    let length = match there {
        Some(there) => Some(if told == 0 { there } else { told.min(there) }),
        None => Some(told).filter(|told| (1..PLACEHOLDER).contains(told)),
    };
    let place = Place { begin, length, ..Place::default() };
    Ok(Found::Plain(Plain { coding, place }))
}

/// A number of 80 bits, as the 68881 had them; rates are whole and positive.
fn extended(bytes: &[u8]) -> Option<u32> {
    let exponent = i32::from(u16_be(bytes, 0)? & 0x7fff) - 16_383;
    let mantissa = u64_be(bytes, 2)?;
    let rate = mantissa as f64 * 2_f64.powi(exponent - 63);
    Some(rate.round() as u32)
}

/// The packets of such a file.
pub(super) struct PlainReader {
    source: Source,
    /// Bytes of one sample of every channel.
    frame: usize,
    frames: u64,
}

impl PlainReader {
    pub(super) fn new(source: Source, parameters: &CodecParameters) -> Self {
        let width = codecs::width(parameters.codec).unwrap_or(1);
        let frame = (width * parameters.channels.map_or(1, |channels| channels.count())).max(1);
        Self { source, frame, frames: 0 }
    }

    /// The next packet; what is no whole frame at the end is left.
    pub(super) fn next_packet(&mut self) -> io::Result<Option<Packet>> {
        let mut bytes = Vec::with_capacity(self.frame * FRAMES);
        self.source.by_ref().take((self.frame * FRAMES) as u64).read_to_end(&mut bytes)?;
        let frames = (bytes.len() / self.frame) as u64;
        bytes.truncate(frames as usize * self.frame);
        let packet = (frames > 0).then(|| Packet::new_from_slice(0, self.frames, frames, &bytes));
        self.frames += frames;
        Ok(packet)
    }
}
