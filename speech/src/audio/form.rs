//! What a file is, by its beginning, and how it is to be read.

use std::io;

use super::{
    AudioError,
    codecs::{self, Coding, Tracks},
    matroska, mp4,
    plain::{self, Found, Plain},
    wav::{Bytes, Wav},
};

/// How a file is read.
pub(super) enum Form {
    Wav(Wav),
    /// A WAV around a stream that says itself what it is, as mp3 does.
    Wrapped(Wav),
    Plain(Plain),
    /// By symphonia, with what it has to be told.
    Container(Told),
}

/// What symphonia has to be told of a container.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) tracks: Tracks,
    /// Bytes that it is to see instead of what stands in the file, and where.
    pub(super) patches: Vec<(u64, Vec<u8>)>,
}

/// Looks at the beginning of a file.
///
/// # Errors
/// It is empty, or of a form that is known and not understood.
pub(super) fn look(bytes: &mut impl Bytes) -> Result<Form, AudioError> {
    recognise(bytes).map_err(|err| AudioError::Io(err.to_string()))?
}

fn recognise(bytes: &mut impl Bytes) -> io::Result<Result<Form, AudioError>> {
    let start = behind_tag(bytes)?;
    let magic = bytes.at(start, 64)?;
    if magic.is_empty() && start == 0 {
        return Ok(Err(AudioError::Empty));
    }
    let mut later = Later { bytes, start };
    if let Some(Wav { format, place }) = Wav::locate(&mut later)? {
        return Ok(in_wav(Wav { format, place: place.shifted(start) }));
    }
    if let Some(found) = plain::locate(&mut later)? {
        return Ok(match found {
            Found::Plain(Plain { coding: Coding::Named(name), .. }) => Err(AudioError::Codec(name)),
            Found::Plain(Plain { coding, place }) => {
                Ok(Form::Plain(Plain { coding, place: place.shifted(start) }))
            }
            Found::Packets(Some(Coding::Named(name))) => Err(AudioError::Codec(name)),
            Found::Packets(_) if bytes.whole().is_none() => {
                Err(AudioError::IndexAtEnd("a CAF whose table of packets may come at its end"))
            }
            Found::Packets(_) => Ok(Form::Container(Told::default())),
        });
    }
    if let Some(name) = other(bytes, start, &magic)? {
        return Ok(Err(AudioError::Container(name.into())));
    }
    if let Some(movie) = mp4::movie(bytes)? {
        if movie.index_at_end && bytes.whole().is_none() {
            return Ok(Err(AudioError::IndexAtEnd(
                "an MP4 with its index at the end (ffmpeg writes it first with -movflags +faststart)",
            )));
        }
        let tracks = Tracks { codings: movie.tracks, ..Tracks::default() };
        return Ok(Ok(Form::Container(Told { tracks, patches: movie.patches })));
    }
    let tracks = matroska::tracks(bytes)?;
    Ok(Ok(Form::Container(Told { tracks, ..Told::default() })))
}

fn in_wav(wav: Wav) -> Result<Form, AudioError> {
    match codecs::wave_tag(&wav.format) {
        // The size of a frame follows from the rest, where its field was left empty; and a byte of
        // A-law or mu-law is one whatever the bits are said to be.
        1 | 3 | 6 | 7 if wav.format[12..14] == [0, 0] => Ok(Form::Plain(plain_wav(wav))),
        6 | 7 => Ok(Form::Plain(plain_wav(wav))),
        // Read by symphonia: other samples, the ADPCM of Microsoft and of IMA.
        1 | 2 | 3 | 0x11 => Ok(Form::Wav(wav)),
        // MPEG layers, and AAC with the headers of ADTS.
        0x50 | 0x55 | 0x1600 => Ok(Form::Wrapped(wav)),
        tag => Err(AudioError::Codec(codecs::wave_name(tag))),
    }
}

fn plain_wav(wav: Wav) -> Plain {
    Plain { coding: codecs::wave(&wav.format), place: wav.place }
}

/// Where the file begins behind a tag of ID3, which some write before everything.
fn behind_tag(bytes: &mut impl Bytes) -> io::Result<u64> {
    let head = bytes.at(0, 10)?;
    if head.len() < 10 || !head.starts_with(b"ID3") {
        return Ok(0);
    }
    let size = head[6..].iter().fold(0, |sum, byte| sum << 7 | u64::from(byte & 0x7f));
    let footer = if head[5] & 0x10 != 0 { 10 } else { 0 };
    Ok(10 + size + footer)
}

/// The same bytes from a later one on.
struct Later<'a, B> {
    bytes: &'a mut B,
    start: u64,
}

impl<B: Bytes> Bytes for Later<'_, B> {
    fn at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.bytes.at(self.start.saturating_add(offset), length)
    }

    fn whole(&self) -> Option<u64> {
        self.bytes.whole().map(|whole| whole.saturating_sub(self.start))
    }
}

/// Files that are known and not understood, with what people call them.
fn other(bytes: &mut impl Bytes, start: u64, magic: &[u8]) -> io::Result<Option<&'static str>> {
    let begins = |with: &[u8]| magic.starts_with(with);
    let at = |from: usize, what: &[u8]| magic.get(from..).is_some_and(|b| b.starts_with(what));
    let text = || magic.trim_ascii_start().to_ascii_lowercase();
    Ok(Some(match magic {
        _ if begins(b"RIFF") && at(8, b"AVI ") => "AVI",
        _ if begins(b"FLV\x01") => "Flash Video",
        _ if begins(&[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11]) => {
            "Windows Media (ASF, WMA, WMV)"
        }
        _ if begins(b"#!AMR-WB") => "AMR wideband",
        _ if begins(b"#!AMR") => "AMR",
        _ if begins(b"#!SILK_V3") || at(1, b"#!SILK_V3") => "SILK",
        _ if begins(&[0, 0, 1, 0xba]) || begins(&[0, 0, 1, 0xb3]) => "an MPEG program stream",
        _ if begins(b".RMF") || begins(b".ra\xfd") => "RealMedia",
        _ if begins(b"wvpk") => "WavPack",
        _ if begins(b"TTA1") || begins(b"TTA2") => "True Audio",
        _ if begins(b"MAC ") => "Monkey's Audio",
        _ if begins(b"MPCK") || begins(b"MP+") => "Musepack",
        _ if begins(b"DSD ") || begins(b"FRM8") => "DSD",
        _ if begins(b"FORM") && at(8, b"8SVX") => "IFF 8SVX",
        _ if begins(b"NIST_1A") => "NIST SPHERE",
        _ if begins(b"Creative Voice File") => "Creative Voice",
        _ if begins(b"MThd") => "MIDI, which holds notes and no sound",
        _ if begins(&[0x0b, 0x77]) && bytes.at(start, 6)?.len() == 6 && magic[5] >> 3 <= 16 => {
            "AC-3"
        }
        _ if begins(&[0x7f, 0xfe, 0x80, 0x01]) => "DTS",
        _ if at(28, b"Speex   ") && begins(b"OggS") => "Speex",
        _ if [b"moov", b"mdat", b"wide", b"pnot"].iter().any(|name| at(4, *name)) => {
            "a QuickTime movie of the old kind, without a mark of its type"
        }
        _ if begins(b"PK\x03\x04") => "a ZIP archive",
        _ if begins(b"%PDF-") => "a PDF",
        _ if text().starts_with(b"<!doctype html") || text().starts_with(b"<html") => "a web page",
        _ => return is_transport_stream(bytes, start),
    }))
}

/// Packets of 188 bytes that begin with G each; some recorders put a time of four bytes before.
fn is_transport_stream(bytes: &mut impl Bytes, start: u64) -> io::Result<Option<&'static str>> {
    for (before, packet) in [(0, 188), (4, 192)] {
        let mut synchronised = true;
        for number in 0..4 {
            synchronised = synchronised
                && bytes.at(start.saturating_add(before + number * packet), 1)? == b"G";
        }
        if synchronised {
            return Ok(Some("an MPEG transport stream"));
        }
    }
    Ok(None)
}
