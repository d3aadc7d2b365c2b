//! Many channels to one.
//!
//! The mean of the channels is right as long as they do not cancel each other out: where a cable or
//! a headset turns the sign of one side, the mean of a voice is silence. So where the mean holds
//! little of the energy that the loudest channel has, that channel is taken alone.

/// Below this share of the loudest channel's energy the mean is given up …
const GIVEN_UP: f64 = 0.1;
/// … and above this one it is taken again.
const TAKEN_AGAIN: f64 = 0.3;
/// Another channel is turned to where it is so much louder than the one that is heard.
const LOUDER: f64 = 2.0;
/// How long energies are remembered, in seconds: a part of a word, since signs may turn within a file.
const MEMORY: f64 = 0.1;
/// Larger samples are broken ones; full scale is 1.
const BROKEN: f32 = 1e4;

/// Mixes one stream; remembers how loud its channels were.
#[derive(Debug, Default)]
pub(super) struct Mixer {
    mean: f64,
    channels: Vec<f64>,
    /// The one that is taken alone.
    alone: Option<usize>,
}

impl Mixer {
    /// One sample for each frame of `channels` interleaved samples, which are mended.
    pub(super) fn mix(&mut self, samples: &[f32], channels: usize, rate: u32) -> Vec<f32> {
        if channels == 1 {
            return samples.to_vec();
        }
        self.listen(samples, channels, rate);
        let frames = samples.chunks_exact(channels);
        match self.alone {
            Some(channel) => frames.map(|frame| frame[channel]).collect(),
            None => frames.map(mean).collect(),
        }
    }

    fn listen(&mut self, samples: &[f32], channels: usize, rate: u32) {
        if self.channels.len() != channels {
            *self = Self { channels: vec![0.0; channels], ..Self::default() };
        }
        let seconds = (samples.len() / channels) as f64 / f64::from(rate);
        let kept = (-seconds / MEMORY).exp();
        self.mean *= kept;
        self.channels.iter_mut().for_each(|energy| *energy *= kept);
        for frame in samples.chunks_exact(channels) {
            self.mean += f64::from(mean(frame)).powi(2);
            for (energy, sample) in self.channels.iter_mut().zip(frame) {
                *energy += f64::from(*sample).powi(2);
            }
        }
        let loudest = (0..channels).max_by(|a, b| self.channels[*a].total_cmp(&self.channels[*b]));
        let Some(loudest) = loudest else { return };
        let share = self.mean / self.channels[loudest].max(f64::MIN_POSITIVE);
        self.alone = match self.alone {
            None if self.channels[loudest] > 0.0 && share < GIVEN_UP => Some(loudest),
            Some(_) if share > TAKEN_AGAIN => None,
            Some(channel) if self.channels[loudest] > LOUDER * self.channels[channel] => {
                Some(loudest)
            }
            other => other,
        };
    }
}

/// What is no number, or beyond anything that can be heard, is a click: it counts as silence. Gives
/// how many there were.
pub(super) fn mend(samples: &mut [f32]) -> usize {
    let mut broken = 0;
    for sample in samples.iter_mut() {
        if !sample.is_finite() || sample.abs() > BROKEN {
            *sample = 0.0;
            broken += 1;
        }
    }
    broken
}

fn mean(frame: &[f32]) -> f32 {
    frame.iter().sum::<f32>() / frame.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 16_000;

    /// Half a second of a tone; each channel has its factor.
    fn tone(factors: &[f32]) -> Vec<f32> {
        let sample = |index: u32| (index as f32 * 0.05).sin() * 0.3;
        (0..RATE / 2).flat_map(|index| factors.iter().map(move |f| sample(index) * f)).collect()
    }

    fn loudness(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    fn heard(factors: &[f32]) -> f32 {
        loudness(&Mixer::default().mix(&tone(factors), factors.len(), RATE))
    }

    #[test]
    fn a_voice_is_heard_whatever_the_signs_and_the_side() {
        let alone = heard(&[1.0]);
        for factors in [
            &[1.0, -1.0][..],
            &[1.0, -0.99],
            &[-0.97, 1.0],
            &[1.0, 0.0],
            &[0.0, 1.0],
            &[1.0, 1.0],
            &[1.0, 1.0, -1.0, -1.0],
            &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        ] {
            let share = heard(factors) / alone;
            assert!((0.3..=1.01).contains(&share), "{factors:?}: {share}");
        }
    }

    #[test]
    fn channels_that_agree_are_averaged_and_it_turns_back_to_that() {
        let mut mixer = Mixer::default();
        mixer.mix(&tone(&[1.0, -1.0]), 2, RATE);
        assert!(mixer.alone.is_some());
        for _ in 0..8 {
            mixer.mix(&tone(&[1.0, 0.5]), 2, RATE);
        }
        let mixed = loudness(&mixer.mix(&tone(&[1.0, 0.5]), 2, RATE));
        assert!((mixed / heard(&[1.0]) - 0.75).abs() < 0.01, "{mixed}");
    }

    #[test]
    fn signs_that_turn_within_a_file_cost_no_words() {
        let alone = heard(&[1.0]);
        for turned in [&[1.0, -1.0][..], &[-1.0, 0.98], &[1.0, -1.0, 0.0]] {
            let plain = vec![1.0; turned.len()];
            let (mut mixer, mut all) = (Mixer::default(), Vec::new());
            for half in 0..12 {
                let factors = if half % 4 < 2 { &plain } else { turned };
                for packet in tone(factors).chunks(320 * turned.len()) {
                    all.extend(mixer.mix(packet, turned.len(), RATE));
                }
            }
            let quiet = all.chunks(1600).filter(|part| loudness(part) < alone * 0.3).count();
            assert!(quiet <= 9, "{turned:?}: {quiet} tenths of a second of 60");
        }
    }

    #[test]
    fn broken_samples_are_silence_and_touch_no_others() {
        let mut samples = tone(&[1.0]);
        let whole = samples.clone();
        for (at, value) in
            [(10, f32::NAN), (20, f32::INFINITY), (30, f32::NEG_INFINITY), (40, 3e38), (50, -3e38)]
        {
            samples[at] = value;
        }
        assert_eq!(mend(&mut samples), 5);
        let mixed = Mixer::default().mix(&samples, 1, RATE);
        for (index, (mixed, whole)) in mixed.iter().zip(&whole).enumerate() {
            let expected = if [10, 20, 30, 40, 50].contains(&index) { 0.0 } else { *whole };
            assert!((mixed - expected).abs() < f32::EPSILON, "{index}: {mixed}");
        }
    }
}
