//! What codecs are called, and what their decoders have to be told where a container is read past
//! symphonia.

use symphonia::core::{
    audio::Channels,
    codecs::{
        CODEC_TYPE_ALAC, CODEC_TYPE_MP1, CODEC_TYPE_MP2, CODEC_TYPE_MP3, CODEC_TYPE_OPUS,
        CODEC_TYPE_PCM_ALAW, CODEC_TYPE_PCM_F32BE, CODEC_TYPE_PCM_F32LE, CODEC_TYPE_PCM_F64BE,
        CODEC_TYPE_PCM_F64LE, CODEC_TYPE_PCM_MULAW, CODEC_TYPE_PCM_S8, CODEC_TYPE_PCM_S16BE,
        CODEC_TYPE_PCM_S16LE, CODEC_TYPE_PCM_S24BE, CODEC_TYPE_PCM_S24LE, CODEC_TYPE_PCM_S32BE,
        CODEC_TYPE_PCM_S32LE, CODEC_TYPE_PCM_U8, CODEC_TYPE_PCM_U16BE, CODEC_TYPE_PCM_U16LE,
        CODEC_TYPE_PCM_U24BE, CODEC_TYPE_PCM_U24LE, CODEC_TYPE_PCM_U32BE, CODEC_TYPE_PCM_U32LE,
        CodecParameters, CodecType,
    },
};

use super::numbers::{u16_le, u32_le};

/// Frames of plain samples that are decoded at once: 64 ms of 16 kHz, so nobody waits for them.
pub(super) const FRAMES: usize = 1024;

/// What a container says of the audio in one of its tracks.
#[derive(Debug, Clone)]
pub(super) enum Coding {
    /// Told to the decoder, whatever symphonia found.
    Known(Box<CodecParameters>),
    /// Not understood: its name, for people.
    Named(String),
}

/// What a container says of its tracks, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    /// What their audio is, where symphonia takes it wrongly or not at all.
    pub(super) codings: Vec<(u32, Coding)>,
    /// Those that are for people who ask for them: another language, a commentary.
    pub(super) spare: Vec<u32>,
}

impl Coding {
    fn named(name: impl Into<String>) -> Self {
        Self::Named(name.into())
    }
}

/// How plain samples lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    Signed,
    Unsigned,
    Float,
    MuLaw,
    ALaw,
}

/// Plain samples of `bytes` bytes each.
pub(super) fn plain(
    sample: Sample,
    bytes: u32,
    little_endian: bool,
    rate: u32,
    channels: u32,
) -> Coding {
    let codec = match (sample, bytes, little_endian) {
        (Sample::MuLaw, ..) => CODEC_TYPE_PCM_MULAW,
        (Sample::ALaw, ..) => CODEC_TYPE_PCM_ALAW,
        (Sample::Signed, 1, _) => CODEC_TYPE_PCM_S8,
        (Sample::Signed, 2, true) => CODEC_TYPE_PCM_S16LE,
        (Sample::Signed, 2, false) => CODEC_TYPE_PCM_S16BE,
        (Sample::Signed, 3, true) => CODEC_TYPE_PCM_S24LE,
        (Sample::Signed, 3, false) => CODEC_TYPE_PCM_S24BE,
        (Sample::Signed, 4, true) => CODEC_TYPE_PCM_S32LE,
        (Sample::Signed, 4, false) => CODEC_TYPE_PCM_S32BE,
        (Sample::Unsigned, 1, _) => CODEC_TYPE_PCM_U8,
        (Sample::Unsigned, 2, true) => CODEC_TYPE_PCM_U16LE,
        (Sample::Unsigned, 2, false) => CODEC_TYPE_PCM_U16BE,
        (Sample::Unsigned, 3, true) => CODEC_TYPE_PCM_U24LE,
        (Sample::Unsigned, 3, false) => CODEC_TYPE_PCM_U24BE,
        (Sample::Unsigned, 4, true) => CODEC_TYPE_PCM_U32LE,
        (Sample::Unsigned, 4, false) => CODEC_TYPE_PCM_U32BE,
        (Sample::Float, 4, true) => CODEC_TYPE_PCM_F32LE,
        (Sample::Float, 4, false) => CODEC_TYPE_PCM_F32BE,
        (Sample::Float, 8, true) => CODEC_TYPE_PCM_F64LE,
        (Sample::Float, 8, false) => CODEC_TYPE_PCM_F64BE,
        _ => return Coding::named(format!("samples of {} bits", bytes.saturating_mul(8))),
    };
    known(codec, rate, channels, None)
}

/// Bytes of one sample, where `codec` is of plain samples.
pub(super) fn width(codec: CodecType) -> Option<usize> {
    Some(match codec {
        CODEC_TYPE_PCM_S8 | CODEC_TYPE_PCM_U8 | CODEC_TYPE_PCM_MULAW | CODEC_TYPE_PCM_ALAW => 1,
        CODEC_TYPE_PCM_S16LE | CODEC_TYPE_PCM_S16BE | CODEC_TYPE_PCM_U16LE
        | CODEC_TYPE_PCM_U16BE => 2,
        CODEC_TYPE_PCM_S24LE | CODEC_TYPE_PCM_S24BE | CODEC_TYPE_PCM_U24LE
        | CODEC_TYPE_PCM_U24BE => 3,
        CODEC_TYPE_PCM_S32LE | CODEC_TYPE_PCM_S32BE | CODEC_TYPE_PCM_U32LE
        | CODEC_TYPE_PCM_U32BE | CODEC_TYPE_PCM_F32LE | CODEC_TYPE_PCM_F32BE => 4,
        CODEC_TYPE_PCM_F64LE | CODEC_TYPE_PCM_F64BE => 8,
        _ => return None,
    })
}

/// The places of so many speakers; `None` where symphonia has not a bit for each.
pub(super) fn places(channels: u32) -> Option<Channels> {
    Channels::from_bits(1_u32.checked_shl(channels)? - 1)
}

fn known(codec: CodecType, rate: u32, channels: u32, extra: Option<&[u8]>) -> Coding {
    let Some(places) = places(channels) else {
        return Coding::named(format!("a track of {channels} channels"));
    };
    let mut parameters = CodecParameters::new();
    parameters.for_codec(codec).with_sample_rate(rate).with_channels(places);
    if let Some(width) = width(codec) {
        parameters.with_bits_per_sample(8 * width as u32).with_max_frames_per_packet(FRAMES as u64);
    }
    if let Some(extra) = extra {
        parameters.with_extra_data(extra.into());
    }
    Coding::Known(Box::new(parameters))
}

/// Opus; `head` is its identification header (RFC 7845, section 5.1), which begins with OpusHead.
pub(super) fn opus(head: &[u8]) -> Coding {
    let channels = head.get(9).copied().unwrap_or(2);
    known(CODEC_TYPE_OPUS, 48_000, u32::from(channels), Some(head))
}

/// Apple Lossless; `cookie` is what its decoder needs, plain or wrapped up in boxes.
pub(super) fn alac(cookie: &[u8], rate: u32, channels: u32) -> Coding {
    known(CODEC_TYPE_ALAC, rate, channels, Some(cookie))
}

/// Older writers wrap it as QuickTime does: `frma`, then `alac` with a version.
pub(super) fn bare_alac(cookie: &[u8]) -> &[u8] {
    let mut bare = cookie;
    if bare.get(4..8) == Some(b"frma") {
        bare = bare.get(12..).unwrap_or_default();
    }
    if bare.get(4..8) == Some(b"alac") {
        bare = bare.get(12..).unwrap_or_default();
    }
    &bare[..bare.len().min(if bare.len() < 48 { 24 } else { 48 })]
}

/// The audio behind a format of WAV, where symphonia does not read it: `WAVEFORMATEX`.
pub(super) fn wave(format: &[u8]) -> Coding {
    let short = |at| u32::from(short(format, at));
    let rate = u32_le(format, 4).unwrap_or_default();
    let (channels, bits) = (short(2), short(14));
    let sample = |sample| plain(sample, bits.div_ceil(8), true, rate, channels);
    match wave_tag(format) {
        1 if bits <= 8 => sample(Sample::Unsigned),
        1 => sample(Sample::Signed),
        3 => sample(Sample::Float),
        6 => plain(Sample::ALaw, 1, true, rate, channels),
        7 => plain(Sample::MuLaw, 1, true, rate, channels),
        0x50 => known(CODEC_TYPE_MP2, rate, channels, None),
        0x55 => known(CODEC_TYPE_MP3, rate, channels, None),
        tag => Coding::named(wave_name(tag)),
    }
}

/// The layer of a frame of MPEG audio (ISO/IEC 11172-3, 2.4.1.3), where `codec` is another layer.
pub(super) fn mpeg_layer(codec: CodecType, frame: &[u8]) -> Option<CodecType> {
    let layers = [CODEC_TYPE_MP3, CODEC_TYPE_MP2, CODEC_TYPE_MP1];
    let [0xff, second, ..] = frame else { return None };
    if second & 0xe0 != 0xe0 || !layers.contains(&codec) {
        return None;
    }
    let number = usize::from(second >> 1 & 3).checked_sub(1)?;
    Some(layers[number]).filter(|layer| *layer != codec)
}

/// The tag of a format; behind the extensible one stands another.
pub(super) fn wave_tag(format: &[u8]) -> u16 {
    match short(format, 0) {
        0xfffe if format.len() >= 26 => short(format, 24),
        tag => tag,
    }
}

/// A field of a format of WAV; 0 where it has ended.
fn short(format: &[u8], at: usize) -> u16 {
    u16_le(format, at).unwrap_or_default()
}

pub(super) fn wave_name(tag: u16) -> String {
    let name = match tag {
        0x02 => "MS ADPCM",
        0x10 => "OKI ADPCM",
        0x11 => "IMA ADPCM",
        0x14 | 0x40 | 0x45 | 0x64 => "G.726 ADPCM",
        0x20 => "Yamaha ADPCM",
        0x22 => "TrueSpeech",
        0x31 | 0x32 => "GSM 6.10",
        0x42 => "G.723",
        0x57 | 0x58 => "AMR",
        0x65 | 0x028f => "G.722",
        0x83 => "G.729",
        0xff | 0x1600 | 0x1601 | 0x1602 | 0x1610 | 0xa106 => "AAC",
        0x0160..=0x0163 => "Windows Media Audio",
        0x0270..=0x0272 => "ATRAC",
        0x2000 | 0x0092 => "AC-3",
        0x2001 => "DTS",
        0x566f | 0x674f..=0x6751 | 0x676f..=0x6771 => "Vorbis",
        0x704f => "Opus",
        0xa109 => "Speex",
        0xf1ac => "FLAC",
        tag => return format!("a codec of WAV with the number {tag:#06x}"),
    };
    name.to_owned()
}

/// A codec by the four letters of QuickTime, MP4, AIFF-C and CAF.
pub(super) fn four_letters(name: [u8; 4]) -> String {
    let known = match &name {
        b"ac-3" | b"sac3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"ac-4" => "AC-4",
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" | b"dtsx" | b"DTS " => "DTS",
        b"mlpa" => "Dolby TrueHD",
        b"mha1" | b"mha2" | b"mhm1" | b"mhm2" => "MPEG-H 3D Audio",
        b"samr" | b"amrn" => "AMR narrowband",
        b"sawb" | b"amrw" => "AMR wideband",
        b"sawp" => "AMR wideband plus",
        b"sevc" => "EVRC",
        b"sqcp" | b"Qclp" | b"QCLP" => "QCELP",
        b"ima4" => "IMA ADPCM of QuickTime",
        b"MAC3" | b"MAC6" => "MACE",
        b"QDM2" | b"QDMC" => "QDesign",
        b"agsm" | b"GSM " | b"ms\x001" => "GSM 6.10",
        b"ilbc" => "iLBC",
        b"spex" => "Speex",
        b"ms\0\x02" => "MS ADPCM",
        b"ms\0\x11" => "IMA ADPCM",
        b"WMA1" | b"WMA2" | b"WMAP" | b"wma " | b"owma" => "Windows Media Audio",
        b"drms" | b"p608" => "AAC with copy protection",
        b"enca" => "a codec behind encryption",
        b"G726" => "G.726 ADPCM",
        b"G722" => "G.722",
        _ => {
            let letters: String = name.escape_ascii().to_string();
            return format!("a codec with the mark `{}`", letters.trim_end());
        }
    };
    known.to_owned()
}

/// A codec by its identifier in Matroska.
pub(super) fn matroska(id: &str) -> String {
    let known = match id.split('/').next().unwrap_or_default() {
        "A_AC3" => "AC-3",
        "A_EAC3" => "E-AC-3",
        "A_DTS" => "DTS",
        "A_TRUEHD" => "Dolby TrueHD",
        "A_MLP" => "MLP",
        "A_TTA1" => "True Audio",
        "A_WAVPACK4" => "WavPack",
        "A_MPC" => "Musepack",
        "A_ATRAC" => "ATRAC",
        "A_REAL" => "RealAudio",
        "A_QUICKTIME" => "a codec of QuickTime",
        _ => return format!("a codec with the mark `{}`", id.escape_default()),
    };
    known.to_owned()
}
