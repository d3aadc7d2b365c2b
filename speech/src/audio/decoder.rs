//! Symphonia and what it takes to read what anybody may have sent.

use std::sync::LazyLock;

use symphonia::core::{
    audio::{AudioBufferRef, SampleBuffer},
    codecs::{
        CODEC_TYPE_ALAC, CODEC_TYPE_NULL, CodecParameters, CodecRegistry, Decoder as Codec,
        DecoderOptions,
    },
    errors::Error,
    formats::{FormatOptions, FormatReader, Packet, Track},
    io::MediaSourceStream,
    meta::MetadataOptions,
    probe::Hint,
};

use super::{
    AudioError,
    codecs::{self, Coding, FRAMES, Tracks},
    lanes::{Lanes, Layout, Samples, append},
    opus::OpusDecoder,
    plain::PlainReader,
    source::{Meter, Source},
};
use crate::recogniser::Cancel;

/// Rates beyond these are a damaged header.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=768_000;
const MOST_CHANNELS: usize = 64;
/// Damaged packets in a row that end the file; a skip in the middle is lived with.
const MOST_DAMAGED: u32 = 200;

static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
    let mut codecs = CodecRegistry::new();
    symphonia::default::register_enabled_codecs(&mut codecs);
    codecs.register_all::<OpusDecoder>();
    codecs
});

/// Where packets come from.
enum Packets {
    Container(Box<dyn FormatReader>),
    Plain(Box<PlainReader>),
}

pub(super) struct Decoder {
    packets: Packets,
    /// What the container was found to say of its tracks, by their number.
    told: Tracks,
    codec: Box<dyn Codec>,
    track: u32,
    /// Bytes of plain samples, where a container gives a packet for each of them.
    joined: Option<Joined>,
    lanes: Lanes,
    meter: Meter,
    cancel: Cancel,
    good: u64,
    damaged: u64,
    damaged_in_a_row: u32,
    last_damage: String,
    ended: bool,
    gather: usize,
}

impl Decoder {
    /// `told`: what the container was found to say of its tracks; `gather`: samples that are given
    /// at once, at least.
    pub(super) fn open(
        (source, meter): (Source, Meter),
        told: Tracks,
        gather: usize,
        cancel: &Cancel,
    ) -> Result<Self, AudioError> {
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let options = FormatOptions { enable_gapless: true, ..Default::default() };
        let probed = symphonia::default::get_probe()
            .format(&Hint::new(), stream, &options, &MetadataOptions::default())
            .map_err(|err| from_probe(err, &told, cancel))?;
        let (track, codec) = choose(probed.format.tracks(), &told)?;
        Ok(Self::new(
            Packets::Container(probed.format),
            told,
            (track, codec),
            meter,
            gather,
            cancel,
        ))
    }

    /// Plain samples, without anything around them.
    pub(super) fn plain(
        (source, meter): (Source, Meter),
        coding: Coding,
        gather: usize,
        cancel: &Cancel,
    ) -> Result<Self, AudioError> {
        let parameters = match coding {
            Coding::Known(parameters) => *parameters,
            Coding::Named(name) => return Err(AudioError::Codec(name)),
        };
        let codec = codec_of(&parameters)?;
        let packets = Packets::Plain(Box::new(PlainReader::new(source, &parameters)));
        Ok(Self::new(packets, Tracks::default(), (0, codec), meter, gather, cancel))
    }

    fn new(
        packets: Packets,
        told: Tracks,
        (track, codec): (u32, Box<dyn Codec>),
        meter: Meter,
        gather: usize,
        cancel: &Cancel,
    ) -> Self {
        let joined = match packets {
            Packets::Container(_) => Joined::of(codec.codec_params()),
            Packets::Plain(_) => None,
        };
        Self {
            packets,
            told,
            codec,
            track,
            joined,
            lanes: Lanes::new(Layout::Mixed, gather),
            meter,
            cancel: cancel.clone(),
            good: 0,
            damaged: 0,
            damaged_in_a_row: 0,
            last_damage: String::new(),
            ended: false,
            gather,
        }
    }

    /// Before the first sample was read.
    pub(super) fn set(&mut self, layout: Layout) {
        self.lanes = Lanes::new(layout, self.gather);
    }

    pub(super) fn progress(&self) -> f64 {
        self.meter.share()
    }

    /// The next second or so; `None` at the end.
    pub(super) fn next_samples(&mut self) -> Result<Option<Samples>, AudioError> {
        let mut out = Samples::new();
        let length = |out: &Samples| out.first().map_or(0, Vec::len);
        while !self.ended && length(&out) < self.gather {
            match self.next_packet()? {
                Some(packet) => append(&mut out, self.decode(&packet)?),
                None => {
                    self.ended = true;
                    append(&mut out, self.lanes.finish()?);
                    if self.damaged > self.good {
                        return Err(AudioError::Damaged(self.last_damage.clone()));
                    }
                    if self.lanes.are_mostly_broken() {
                        let what = "most of its samples are no numbers, or beyond all bounds";
                        return Err(AudioError::Damaged(what.into()));
                    }
                }
            }
        }
        Ok(if length(&out) == 0 && self.ended { None } else { Some(out) })
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        let Some(mut joined) = self.joined.take() else { return self.read_packet() };
        while joined.wants_more() {
            match self.read_packet()? {
                Some(packet) => joined.add(packet.buf()),
                None => break,
            }
        }
        let packet = joined.packet(self.track);
        self.joined = Some(joined);
        Ok(packet)
    }

    fn read_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        loop {
            let format = match &mut self.packets {
                Packets::Container(format) => format,
                Packets::Plain(reader) => match reader.next_packet() {
                    Ok(packet) => return Ok(packet),
                    Err(err) => return self.stop_or_go_on(err.into()).map(|()| None),
                },
            };
            match format.next_packet() {
                Ok(packet) if packet.track_id() == self.track => return Ok(Some(packet)),
                Ok(_) => {}
                Err(Error::IoError(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                // Streams may follow each other in one Ogg file.
                Err(Error::ResetRequired) => {
                    (self.track, self.codec) = choose(format.tracks(), &self.told)?;
                }
                Err(err) => return self.stop_or_go_on(err).map(|()| None),
            }
        }
    }

    /// What was decoded before the damage is worth more than an error about the rest.
    fn stop_or_go_on(&self, err: Error) -> Result<(), AudioError> {
        if self.cancel.is_cancelled() {
            return Err(AudioError::Cancelled);
        }
        if self.good > self.damaged {
            log::debug!("audio ends early: {err}");
            return Ok(());
        }
        Err(AudioError::Damaged(err.to_string()))
    }

    /// MP4 has one name for all layers of MPEG audio, and writers of other containers mistake them;
    /// each frame tells its own.
    fn heed_layer(&mut self, frame: &[u8]) {
        let told = self.codec.codec_params();
        if let Some(layer) = codecs::mpeg_layer(told.codec, frame) {
            let mut parameters = told.clone();
            parameters.for_codec(layer);
            if let Ok(codec) = codec_of(&parameters) {
                self.codec = codec;
            }
        }
    }

    fn decode(&mut self, packet: &Packet) -> Result<Samples, AudioError> {
        if self.good == 0 {
            self.heed_layer(packet.buf());
        }
        let damage = match self.codec.decode(packet) {
            Ok(buffer) => {
                let heard = hear(&buffer, &mut self.lanes)?;
                self.good += 1;
                self.damaged_in_a_row = 0;
                self.meter.progressed();
                return Ok(heard);
            }
            Err(Error::ResetRequired) => {
                self.codec.reset();
                return Ok(Samples::new());
            }
            Err(err) => err.to_string(),
        };
        self.damaged += 1;
        self.damaged_in_a_row += 1;
        self.last_damage = damage;
        if self.damaged_in_a_row > MOST_DAMAGED {
            return Err(AudioError::Damaged(self.last_damage.clone()));
        }
        Ok(Samples::new())
    }
}

/// Plain samples are gathered, and cut, to as many as the decoder has room for.
struct Joined {
    bytes: Vec<u8>,
    frame: usize,
}

impl Joined {
    /// `None` where packets are no plain samples.
    fn of(parameters: &CodecParameters) -> Option<Self> {
        let frame = codecs::width(parameters.codec)? * parameters.channels?.count();
        let roomy = parameters.max_frames_per_packet == Some(FRAMES as u64);
        (frame > 0 && roomy).then(|| Self { bytes: Vec::new(), frame })
    }

    fn wants_more(&self) -> bool {
        self.bytes.len() < self.frame * FRAMES
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn packet(&mut self, track: u32) -> Option<Packet> {
        let frames = (self.bytes.len() / self.frame).min(FRAMES);
        let taken: Vec<u8> = self.bytes.drain(..frames * self.frame).collect();
        (frames > 0).then(|| Packet::new_from_boxed_slice(track, 0, frames as u64, taken.into()))
    }
}

fn is_audio(track: &Track) -> bool {
    track.codec_params.codec != CODEC_TYPE_NULL && track.codec_params.sample_rate.is_some()
}

/// The first track whose codec is known, spare ones last; what is wrong with the first one if there
/// is none.
fn choose(tracks: &[Track], told: &Tracks) -> Result<(u32, Box<dyn Codec>), AudioError> {
    let mut wrong = None;
    let (spare, usual): (Vec<&Track>, Vec<&Track>) =
        tracks.iter().partition(|track| told.spare.contains(&track.id));
    for track in usual.into_iter().chain(spare) {
        let codec = match told.codings.iter().find(|(number, _)| *number == track.id) {
            Some((_, Coding::Known(parameters))) => codec_of(parameters),
            Some((_, Coding::Named(name))) => Err(AudioError::Codec(name.clone())),
            None if is_audio(track) => codec_of(&track.codec_params),
            None => continue,
        };
        match codec {
            Ok(codec) => return Ok((track.id, codec)),
            Err(err) => wrong = wrong.or(Some(err)),
        }
    }
    Err(wrong.unwrap_or(AudioError::NoTrack))
}

fn codec_of(parameters: &CodecParameters) -> Result<Box<dyn Codec>, AudioError> {
    if parameters.sample_rate.is_some_and(|rate| !RATES.contains(&rate)) {
        return Err(AudioError::Damaged("the sample rate in its header cannot be".into()));
    }
    if parameters.channels.is_some_and(|channels| channels.count() > MOST_CHANNELS) {
        return Err(AudioError::Damaged("the channel count in its header cannot be".into()));
    }
    let mut parameters = parameters.clone();
    if parameters.codec == CODEC_TYPE_ALAC {
        parameters.extra_data =
            parameters.extra_data.map(|cookie| codecs::bare_alac(&cookie).into());
    }
    CODECS.make(&parameters, &DecoderOptions::default()).map_err(|err| match err {
        Error::Unsupported(what) => AudioError::Codec(what.to_owned()),
        err => AudioError::Damaged(err.to_string()),
    })
}

/// A container that symphonia gives up may still have told the name of its codec.
fn from_probe(err: Error, told: &Tracks, cancel: &Cancel) -> AudioError {
    let named = told.codings.iter().find_map(|(_, coding)| match coding {
        Coding::Named(name) => Some(name.clone()),
        Coding::Known(_) => None,
    });
    match (err, named) {
        _ if cancel.is_cancelled() => AudioError::Cancelled,
        (_, Some(name)) => AudioError::Codec(name),
        (Error::Unsupported(_), None) => AudioError::Unrecognised,
        (Error::IoError(err), None) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
            AudioError::Unrecognised
        }
        (err, None) => AudioError::Damaged(err.to_string()),
    }
}

/// The samples of a packet.
fn hear(buffer: &AudioBufferRef<'_>, lanes: &mut Lanes) -> Result<Samples, AudioError> {
    let spec = *buffer.spec();
    let channels = spec.channels.count();
    if channels == 0 || !RATES.contains(&spec.rate) {
        return Err(AudioError::Damaged("a packet without channels or with no usable rate".into()));
    }
    let mut samples = SampleBuffer::<f32>::new(buffer.capacity() as u64, spec);
    samples.copy_interleaved_ref(buffer.clone());
    lanes.feed(samples.samples_mut(), channels, spec.rate)
}
