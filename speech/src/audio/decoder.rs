//! Symphonia and what it takes to read what anybody may have sent.

use std::sync::LazyLock;

use symphonia::core::{
    audio::{AudioBufferRef, SampleBuffer},
    codecs::{CODEC_TYPE_NULL, CodecRegistry, Decoder as Codec, DecoderOptions},
    errors::Error,
    formats::{FormatOptions, FormatReader, Packet, Track},
    io::MediaSourceStream,
    meta::MetadataOptions,
    probe::Hint,
};

use super::{
    AudioError,
    lanes::{Lanes, Layout, Samples, append},
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
    codecs.register_all::<symphonia_adapter_libopus::OpusDecoder>();
    codecs
});

pub(super) struct Decoder {
    format: Box<dyn FormatReader>,
    codec: Box<dyn Codec>,
    track: u32,
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
    /// `gather`: samples that are given at once, at least.
    pub(super) fn open(
        (source, meter): (Source, Meter),
        gather: usize,
        cancel: &Cancel,
    ) -> Result<Self, AudioError> {
        if symphonia::core::io::MediaSource::byte_len(&source) == Some(0) {
            return Err(AudioError::Empty);
        }
        let stream = MediaSourceStream::new(Box::new(source), Default::default());
        let options = FormatOptions { enable_gapless: true, ..Default::default() };
        let probed = symphonia::default::get_probe()
            .format(&Hint::new(), stream, &options, &MetadataOptions::default())
            .map_err(|err| from_probe(err, cancel))?;
        let format = probed.format;
        let track = format.tracks().iter().find(|track| is_audio(track));
        let track = track.ok_or(AudioError::NoTrack)?.clone();
        let codec = codec_of(&track)?;
        Ok(Self {
            format,
            codec,
            track: track.id,
            lanes: Lanes::new(Layout::Mixed, gather),
            meter,
            cancel: cancel.clone(),
            good: 0,
            damaged: 0,
            damaged_in_a_row: 0,
            last_damage: String::new(),
            ended: false,
            gather,
        })
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
                }
            }
        }
        Ok(if length(&out) == 0 && self.ended { None } else { Some(out) })
    }

    fn next_packet(&mut self) -> Result<Option<Packet>, AudioError> {
        loop {
            match self.format.next_packet() {
                Ok(packet) if packet.track_id() == self.track => return Ok(Some(packet)),
                Ok(_) => {}
                Err(Error::IoError(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ok(None);
                }
                // Streams may follow each other in one Ogg file.
                Err(Error::ResetRequired) => self.reset()?,
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

    fn reset(&mut self) -> Result<(), AudioError> {
        let track = self.format.tracks().iter().find(|track| is_audio(track));
        let track = track.ok_or(AudioError::NoTrack)?.clone();
        self.codec = codec_of(&track)?;
        self.track = track.id;
        Ok(())
    }

    fn decode(&mut self, packet: &Packet) -> Result<Samples, AudioError> {
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

fn is_audio(track: &Track) -> bool {
    track.codec_params.codec != CODEC_TYPE_NULL && track.codec_params.sample_rate.is_some()
}

fn codec_of(track: &Track) -> Result<Box<dyn Codec>, AudioError> {
    let parameters = &track.codec_params;
    if parameters.sample_rate.is_some_and(|rate| !RATES.contains(&rate)) {
        return Err(AudioError::Damaged("the sample rate in its header cannot be".into()));
    }
    if parameters.channels.is_some_and(|channels| channels.count() > MOST_CHANNELS) {
        return Err(AudioError::Damaged("the channel count in its header cannot be".into()));
    }
    CODECS.make(parameters, &DecoderOptions::default()).map_err(|err| match err {
        Error::Unsupported(what) => AudioError::Codec(what.to_owned()),
        err => AudioError::Damaged(err.to_string()),
    })
}

fn from_probe(err: Error, cancel: &Cancel) -> AudioError {
    match err {
        _ if cancel.is_cancelled() => AudioError::Cancelled,
        Error::Unsupported(_) => AudioError::Unrecognised,
        Error::IoError(err) if err.kind() == std::io::ErrorKind::UnexpectedEof => {
            AudioError::Unrecognised
        }
        err => AudioError::Damaged(err.to_string()),
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
