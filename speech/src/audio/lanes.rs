//! From the channels of a packet to what is heard: all of them mixed, or each by itself.

use super::{
    AudioError,
    mixer::{Mixer, mend},
    resampler::Resampler,
};
use crate::lists::MOST_CHANNELS;

/// Frames that are resampled at once, about.
const CHUNK: usize = 4096;

/// How the channels of a file are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// All together, as one lane.
    Mixed,
    /// A lane for each channel.
    Apart,
}

/// Samples of each lane at the rate of sessions, equally many.
pub type Samples = Vec<Vec<f32>>;

/// Mixes or parts one stream, and brings it to the rate of sessions.
pub(super) struct Lanes {
    layout: Layout,
    mixer: Mixer,
    /// Lanes, from the first packet on: what other channels a later one has is not heard, and what
    /// it lacks is silence.
    count: usize,
    rate: u32,
    resamplers: Vec<Resampler>,
    chunk: usize,
    /// Samples that were none, of all.
    broken: usize,
    seen: usize,
}

impl Lanes {
    /// `gather`: samples that are given at once.
    pub(super) fn new(layout: Layout, gather: usize) -> Self {
        let (mixer, chunk) = (Mixer::default(), CHUNK.min(gather));
        let resamplers = Vec::new();
        Self { layout, mixer, count: 0, rate: 0, resamplers, chunk, broken: 0, seen: 0 }
    }

    /// Takes interleaved samples. The rate may change in the middle, as in chained Ogg streams.
    pub(super) fn feed(
        &mut self,
        samples: &mut [f32],
        channels: usize,
        rate: u32,
    ) -> Result<Samples, AudioError> {
        self.seen += samples.len();
        self.broken += mend(samples);
        let lanes = match self.layout {
            Layout::Mixed => vec![self.mixer.mix(samples, channels, rate)],
            Layout::Apart => apart(samples, channels),
        };
        if self.count == 0 {
            if lanes.len() > MOST_CHANNELS {
                return Err(AudioError::TooManyChannels(lanes.len()));
            }
            self.count = lanes.len();
        }
        let mut out = vec![Vec::new(); self.count];
        if self.rate != rate {
            for (mut resampler, out) in self.resamplers.drain(..).zip(&mut out) {
                *out = resampler.finish()?;
            }
            let made = (0..self.count).map(|_| Resampler::new(rate, self.chunk));
            self.resamplers = made.collect::<Result<_, _>>()?;
            self.rate = rate;
        }
        let frames = lanes.first().map_or(0, Vec::len);
        let lanes = lanes.into_iter().map(Some).chain(std::iter::repeat(None));
        for ((lane, resampler), out) in lanes.zip(&mut self.resamplers).zip(&mut out) {
            out.extend(resampler.feed(lane.unwrap_or_else(|| vec![0.0; frames]))?);
        }
        Ok(out)
    }

    /// Whether most of what came was no number, and so no sound.
    pub(super) fn are_mostly_broken(&self) -> bool {
        self.broken > self.seen / 2
    }

    /// What the resamplers still hold.
    pub(super) fn finish(&mut self) -> Result<Samples, AudioError> {
        self.resamplers.drain(..).map(|mut resampler| resampler.finish()).collect()
    }
}

fn apart(samples: &[f32], channels: usize) -> Samples {
    let lane = |channel| samples.chunks_exact(channels).map(|frame| frame[channel]).collect();
    (0..channels).map(lane).collect()
}

/// Adds to each lane.
pub(super) fn append(to: &mut Samples, more: Samples) {
    to.resize_with(to.len().max(more.len()), Vec::new);
    for (to, more) in to.iter_mut().zip(more) {
        to.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = crate::recogniser::SAMPLE_RATE;

    fn all(lanes: &mut Lanes, packets: &[(&[f32], usize, u32)]) -> Samples {
        let mut out = Samples::new();
        for (frame, channels, rate) in packets {
            let mut samples = frame.repeat(*rate as usize / 10);
            append(&mut out, lanes.feed(&mut samples, *channels, *rate).unwrap());
        }
        append(&mut out, lanes.finish().unwrap());
        out
    }

    #[test]
    fn each_channel_has_its_lane_and_what_is_missing_is_silence() {
        let mut lanes = Lanes::new(Layout::Apart, 16_000);
        let out =
            all(&mut lanes, &[(&[0.5, -0.25], 2, RATE), (&[0.5], 1, RATE), (&[0.1; 3], 3, RATE)]);
        assert_eq!(out.len(), 2);
        assert_eq!((out[0].len(), out[1].len()), (4800, 4800));
        assert_eq!((out[0][100], out[1][100]), (0.5, -0.25));
        assert_eq!((out[0][2000], out[1][2000]), (0.5, 0.0));
        assert_eq!((out[0][4000], out[1][4000]), (0.1, 0.1));
    }

    #[test]
    fn mostly_broken_is_told_from_a_click() {
        for (broken, expected) in [(1, false), (3999, false), (4001, true), (8000, true)] {
            let mut samples = vec![0.1; 8000];
            samples[..broken].fill(f32::NAN);
            let mut lanes = Lanes::new(Layout::Apart, 16_000);
            lanes.feed(&mut samples, 2, RATE).unwrap();
            assert_eq!(lanes.are_mostly_broken(), expected, "{broken}");
        }
    }

    #[test]
    fn lanes_stay_equally_long_when_the_rate_changes() {
        let mut lanes = Lanes::new(Layout::Apart, 16_000);
        let out = all(&mut lanes, &[(&[0.5, 0.1], 2, 8_000), (&[0.5, 0.1], 2, 44_100)]);
        assert_eq!(out[0].len(), out[1].len());
        assert!(out[0].len().abs_diff(3200) < 100, "{}", out[0].len());
    }

    #[test]
    fn mixed_is_one_lane_and_too_many_channels_are_refused() {
        let mut lanes = Lanes::new(Layout::Mixed, 16_000);
        assert_eq!(all(&mut lanes, &[(&[0.5, 0.3], 2, RATE)]).len(), 1);
        assert_eq!(all(&mut Lanes::new(Layout::Mixed, 16_000), &[(&[0.1; 12], 12, RATE)]).len(), 1);
        let mut lanes = Lanes::new(Layout::Apart, 16_000);
        let refused = lanes.feed(&mut [0.0; 12], 12, RATE);
        assert_eq!(refused, Err(AudioError::TooManyChannels(12)));
    }
}
