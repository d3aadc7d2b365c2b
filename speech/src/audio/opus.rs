//! Opus with any number of channels. More than two lie in each packet as streams of one or two
//! channels, one behind the other (RFC 7845, section 5.1.1).

use symphonia::core::{
    audio::{AsAudioBufferRef, AudioBuffer, AudioBufferRef, Channels, Signal, SignalSpec},
    codecs::{
        CODEC_TYPE_OPUS, CodecDescriptor, CodecParameters, Decoder, DecoderOptions, FinalizeResult,
    },
    errors::{Error, Result, decode_error, unsupported_error},
    formats::Packet,
    support_codec,
};
use symphonia_adapter_libopus::OpusDecoder as Stream;

use super::codecs::places;

const RATE: u32 = 48_000;
const CHANNELS: usize = 9;
/// Where the header tells how channels are mapped, how many streams there are, and how many of
/// these, from the first on, have two channels.
const FAMILY: usize = 18;
const STREAMS: usize = 19;
const COUPLED: usize = 20;
/// For each channel, which of those in the streams it is.
const MAPPING: usize = 21;
/// A channel that is silent.
const SILENT: u8 = 255;
/// What one packet holds at most: 120 ms.
const MOST_FRAMES: u64 = 5760;

pub(super) struct OpusDecoder {
    parameters: CodecParameters,
    /// With the number of its channels each.
    streams: Vec<(Stream, usize)>,
    /// For each channel, which of those in the streams it is; empty where there is one stream.
    mapping: Vec<u8>,
    all: AudioBuffer<f32>,
}

impl OpusDecoder {
    fn decode_all(&mut self, packet: &Packet) -> Result<()> {
        let last = self.streams.len() - 1;
        let (mut rest, mut first) = (packet.buf(), 0);
        self.all.clear();
        for (number, (stream, channels)) in self.streams.iter_mut().enumerate() {
            let bytes = if number == last { rest.to_vec() } else { cut(&mut rest)? };
            let mut own = Packet::new_from_boxed_slice(0, packet.ts, packet.dur, bytes.into());
            (own.trim_start, own.trim_end) = (packet.trim_start, packet.trim_end);
            let AudioBufferRef::F32(part) = stream.decode(&own)? else {
                return decode_error("opus: samples of another kind");
            };
            if number == 0 {
                self.all.render_reserved(Some(part.frames().min(self.all.capacity())));
            }
            if part.frames() != self.all.frames() {
                return decode_error("opus: the streams of a packet differ in length");
            }
            for (channel, source) in
                self.mapping.iter().map(|source| usize::from(*source)).enumerate()
            {
                if (first..first + *channels).contains(&source) {
                    self.all.chan_mut(channel).copy_from_slice(part.chan(source - first));
                } else if number == 0 && source == usize::from(SILENT) {
                    self.all.chan_mut(channel).fill(0.0);
                }
            }
            first += *channels;
        }
        Ok(())
    }
}

impl Decoder for OpusDecoder {
    fn try_new(parameters: &CodecParameters, options: &DecoderOptions) -> Result<Self> {
        let head = parameters.extra_data.as_deref().unwrap_or_default();
        let told = (head.get(FAMILY), head.get(STREAMS), head.get(COUPLED));
        let mut mapping = Vec::new();
        let layout: Vec<usize> = match told {
            // Ambisonics, and what is not in use.
            (Some(family), ..) if ![0, 1, 255].contains(family) => {
                return unsupported_error("Opus with a mapping of channels that is not known");
            }
            (Some(1 | 255), Some(streams), Some(coupled))
                if coupled <= streams
                    && *streams > 0
                    && MOST_CHANNELS.checked_sub(*coupled).is_some_and(|most| *streams <= most) =>
            {
                mapping = head[MAPPING..].iter().take(head[CHANNELS].into()).copied().collect();
                let known = |source: &u8| *source == SILENT || *source < streams + coupled;
                if mapping.len() != usize::from(head[CHANNELS]) || !mapping.iter().all(known) {
                    return decode_error("opus: its mapping of channels is damaged");
                }
                (0..*streams).map(|number| if number < *coupled { 2 } else { 1 }).collect()
            }
            (Some(1 | 255), ..) => {
                return unsupported_error("Opus with more channels than are possible");
            }
            _ => {
                let channels = parameters.channel_layout.map(|layout| layout.into_channels());
                let channels = channels.or(parameters.channels).unwrap_or(Channels::FRONT_LEFT);
                vec![channels.count()]
            }
        };
        let streams: Vec<_> = layout
            .iter()
            .map(|channels| Ok((Stream::try_new(&alone(head, *channels), options)?, *channels)))
            .collect::<Result<_>>()?;
        let channels = if mapping.is_empty() { layout.iter().sum() } else { mapping.len() };
        let places = places(channels as u32);
        let places = places.ok_or(Error::Unsupported("Opus with too many channels"))?;
        let all = AudioBuffer::new(MOST_FRAMES, SignalSpec::new(RATE, places));
        Ok(Self { parameters: parameters.clone(), streams, mapping, all })
    }

    fn supported_codecs() -> &'static [CodecDescriptor] {
        &[support_codec!(CODEC_TYPE_OPUS, "opus", "Opus")]
    }

    fn reset(&mut self) {
        self.streams.iter_mut().for_each(|(stream, _)| stream.reset());
    }

    fn codec_params(&self) -> &CodecParameters {
        &self.parameters
    }

    fn decode(&mut self, packet: &Packet) -> Result<AudioBufferRef<'_>> {
        if self.mapping.is_empty() {
            return self.streams[0].0.decode(packet);
        }
        self.decode_all(packet)?;
        Ok(self.all.as_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> AudioBufferRef<'_> {
        match self.streams.as_slice() {
            [(stream, _)] if self.mapping.is_empty() => stream.last_decoded(),
            _ => self.all.as_audio_buffer_ref(),
        }
    }
}

/// Speaker places that there is a bit for.
const MOST_CHANNELS: u8 = 26;

/// What a stream is told that has one or two channels for itself.
fn alone(head: &[u8], channels: usize) -> CodecParameters {
    let mut parameters = CodecParameters::new();
    let places = places(channels as u32).unwrap_or(Channels::FRONT_LEFT);
    parameters.for_codec(CODEC_TYPE_OPUS).with_sample_rate(RATE).with_channels(places);
    if let Some(head) = head.get(..FAMILY) {
        let mut head = head.to_vec();
        head[CHANNELS] = channels as u8;
        head.push(0);
        parameters.with_extra_data(head.into());
    }
    parameters
}

/// Cuts the first of several packets off, which tells its length (RFC 6716, appendix B), and leaves
/// out what it tells.
fn cut(rest: &mut &[u8]) -> Result<Vec<u8>> {
    cut_first(rest).ok_or(Error::DecodeError("opus: a packet ends within its streams"))
}

fn cut_first(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let mut bytes = *rest;
    let begin = bytes;
    let kind = *bytes.split_off_first()? & 3;
    // What stands before the length that is left out, and how many bytes of frames stand behind.
    let (head, frames) = match kind {
        0 => (&begin[..1], length(&mut bytes)?),
        1 => (&begin[..1], 2 * length(&mut bytes)?),
        2 => {
            let first = length(&mut bytes)?;
            let head = &begin[..begin.len() - bytes.len()];
            (head, first + length(&mut bytes)?)
        }
        _ => {
            let count = *bytes.split_off_first()?;
            let number = usize::from(count & 0x3f);
            let padding = if count & 0x40 == 0 { 0 } else { padding(&mut bytes)? };
            let mut sum = 0;
            if count & 0x80 != 0 {
                for _ in 1..number {
                    sum += length(&mut bytes)?;
                }
            }
            let head = &begin[..begin.len() - bytes.len()];
            let last = length(&mut bytes)?;
            let all = if count & 0x80 != 0 { sum + last } else { number * last };
            (head, all + padding)
        }
    };
    let frames = bytes.split_off(..frames)?;
    *rest = bytes;
    Some([head, frames].concat())
}

/// How much padding there is: bytes of 255 say 254 and that another one follows.
fn padding(bytes: &mut &[u8]) -> Option<usize> {
    let mut sum = 0;
    loop {
        match bytes.split_off_first()? {
            255 => sum += 254,
            last => return Some(sum + usize::from(*last)),
        }
    }
}

/// A length of one byte or two.
fn length(bytes: &mut &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.split_off_first()?);
    if first < 252 {
        return Some(first);
    }
    Some(first + 4 * usize::from(*bytes.split_off_first()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_that_cannot_be_is_refused() {
        let made = |channels: u8, rest: &[u8]| {
            let head = [&b"OpusHead\x01"[..], &[channels, 0, 0, 0, 0, 0, 0, 0, 0], rest].concat();
            let mut parameters = CodecParameters::new();
            parameters
                .for_codec(CODEC_TYPE_OPUS)
                .with_sample_rate(RATE)
                .with_extra_data(head.into());
            OpusDecoder::try_new(&parameters, &DecoderOptions::default())
        };
        for (channels, rest) in
            [(3, &[1, 2, 1, 0, 2, 1][..]), (2, &[1, 2, 0, 0, 1]), (3, &[1, 1, 0, 0, 255, 0])]
        {
            let decoder = made(channels, rest).unwrap();
            assert_eq!(decoder.all.spec().channels.count(), usize::from(channels));
        }
        for (channels, rest) in [
            (3, &[1, 2, 1, 0, 2][..]),
            (3, &[1, 2, 1, 0, 2, 9]),
            (3, &[1, 0, 0, 0, 0, 0]),
            (3, &[1, 1, 2, 0, 0, 0]),
            (3, &[1, 200, 200, 0, 0, 0]),
            (40, &[255, 20, 6]),
            (3, &[3, 2, 1, 0, 2, 1]),
        ] {
            assert!(made(channels, rest).is_err(), "{channels} {rest:?}");
        }
    }

    #[test]
    fn packets_are_cut_as_the_appendix_says() {
        let cases: [(&[u8], &[u8]); 5] = [
            (&[0x08, 2, 1, 2], &[0x08, 1, 2]),
            (&[0x09, 1, 1, 2], &[0x09, 1, 2]),
            (&[0x0a, 1, 2, 7, 8, 9], &[0x0a, 1, 7, 8, 9]),
            // Three frames of one length; three of their own; both with padding.
            (&[0x0b, 0x43, 1, 1, 7, 8, 9, 0], &[0x0b, 0x43, 1, 7, 8, 9, 0]),
            (&[0x0b, 0xc3, 1, 1, 2, 1, 7, 8, 8, 9, 0], &[0x0b, 0xc3, 1, 1, 2, 7, 8, 8, 9, 0]),
        ];
        for (own, expected) in cases {
            let both = [own, b"rest"].concat();
            let mut rest = both.as_slice();
            assert_eq!(cut_first(&mut rest).as_deref(), Some(expected));
            assert_eq!(rest, b"rest");
            for shorter in 0..own.len() {
                let mut rest = &own[..shorter];
                assert_eq!(cut_first(&mut rest), None, "{own:?} {shorter}");
            }
        }
        let long = [&[0x08, 253, 1][..], &[5; 257]].concat();
        assert_eq!(cut_first(&mut long.as_slice()).map(|packet| packet.len()), Some(258));
    }
}
