//! Any rate to 16 kHz, piece by piece.

use rubato::{FftFixedIn, Resampler as _};

use super::AudioError;
use crate::recogniser::SAMPLE_RATE;

pub(crate) enum Resampler {
    /// The audio has the right rate already.
    Straight,
    Fft(Box<Fft>),
}

pub(crate) struct Fft {
    inner: FftFixedIn<f32>,
    rate: u32,
    waiting: Vec<f32>,
    /// Samples at the start that are the filter's own delay.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    /// `chunk`: frames that are resampled at once, about; what does not fill it waits.
    pub(crate) fn new(rate: u32, chunk: usize) -> Result<Self, AudioError> {
        if rate == SAMPLE_RATE {
            return Ok(Self::Straight);
        }
        let inner = FftFixedIn::new(rate as usize, SAMPLE_RATE as usize, chunk, 1, 1)
            .map_err(|err| AudioError::Damaged(format!("a rate of {rate} Hz: {err}")))?;
        let delay = inner.output_delay();
        let (waiting, taken, given) = (Vec::new(), 0, 0);
        Ok(Self::Fft(Box::new(Fft { inner, rate, waiting, delay, taken, given })))
    }

    pub(crate) fn feed(&mut self, samples: Vec<f32>) -> Result<Vec<f32>, AudioError> {
        match self {
            Self::Straight => Ok(samples),
            Self::Fft(fft) => fft.feed(&samples),
        }
    }

    /// What is still inside, at the end.
    pub(crate) fn finish(&mut self) -> Result<Vec<f32>, AudioError> {
        match self {
            Self::Straight => Ok(Vec::new()),
            Self::Fft(fft) => fft.finish(),
        }
    }
}

impl Fft {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<f32>, AudioError> {
        self.taken += samples.len() as u64;
        self.waiting.extend_from_slice(samples);
        let mut out = Vec::new();
        let mut from = 0;
        while self.waiting.len() - from >= self.inner.input_frames_next() {
            let chunk = &self.waiting[from..from + self.inner.input_frames_next()];
            from += chunk.len();
            let done = self.inner.process(&[chunk], None);
            let done = done.map_err(|err| AudioError::Damaged(err.to_string()))?;
            out.extend_from_slice(&done[0]);
        }
        self.waiting.drain(..from);
        let delay = self.delay.min(out.len());
        self.delay -= delay;
        out.drain(..delay);
        self.given += out.len() as u64;
        Ok(out)
    }

    fn finish(&mut self) -> Result<Vec<f32>, AudioError> {
        let wanted = self.taken * u64::from(SAMPLE_RATE) / u64::from(self.rate);
        let missing = usize::try_from(wanted.saturating_sub(self.given)).unwrap_or(0);
        let mut out = Vec::new();
        while out.len() < missing {
            let silence = vec![0.0; self.inner.input_frames_next()];
            out.extend(self.feed(&silence)?);
        }
        out.truncate(missing);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_length_and_its_pitch() {
        for rate in [8000, 11_025, 22_050, 44_100, 48_000, 96_000] {
            let mut resampler = Resampler::new(rate, 4096).unwrap();
            let tone = |index: u32| {
                (f64::from(index) * 500.0 * std::f64::consts::TAU / f64::from(rate)).sin() as f32
            };
            let input: Vec<f32> = (0..rate * 2).map(tone).collect();
            let mut output = Vec::new();
            for piece in input.chunks(1000) {
                output.extend(resampler.feed(piece.to_vec()).unwrap());
            }
            output.extend(resampler.finish().unwrap());
            assert_eq!(output.len(), SAMPLE_RATE as usize * 2, "{rate}");
            let crossings = output.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0);
            assert!((998..=1002).contains(&crossings.count()), "{rate}");
        }
    }
}
