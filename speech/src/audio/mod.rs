//! Any audio file as a stream of samples: 16 kHz, mono. The form is recognised by content.

mod decoder;
mod resampler;
mod source;

use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use self::decoder::Decoder;
use crate::recogniser::{Cancel, SAMPLE_RATE};

/// The forms that are understood, for messages.
pub const FORMS: &str = "wav, mp3, aac, m4a/mp4, flac, ogg (vorbis, opus), webm, aiff, caf";

/// Why a file gives no (more) samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    #[error("the file is empty")]
    Empty,
    #[error("the file is no audio in a form that is understood; these are {FORMS}")]
    Unrecognised,
    #[error("the file holds no audio track")]
    NoTrack,
    #[error("the codec of the audio is not supported: {0}")]
    Codec(String),
    #[error("the audio is damaged: {0}")]
    Damaged(String),
    #[error("the file holds no audio")]
    NoAudio,
    #[error("the audio is longer than {} s, the limit of this appliance", .0.as_secs())]
    TooLong(Duration),
    #[error("the file cannot be read: {0}")]
    Io(String),
    #[error("the work was cancelled")]
    Cancelled,
}

/// Decodes a file piece by piece; holds some packets of it at a time, whatever its length.
///
/// Decoders read what anybody may have sent: a panic in one is caught and told as damage.
pub struct AudioReader {
    decoder: Decoder,
    limit: Duration,
    samples: u64,
}

impl AudioReader {
    /// Recognises the form. `limit` is the longest audio that is taken.
    ///
    /// # Errors
    /// It is no audio, or damaged from the start.
    pub fn open(file: File, limit: Duration, cancel: &Cancel) -> Result<Self, AudioError> {
        let decoder = guarded(|| Decoder::open(file, cancel))?;
        Ok(Self { decoder, limit, samples: 0 })
    }

    /// The next samples, up to some seconds of them; `None` at the end.
    ///
    /// # Errors
    /// The audio is damaged beyond the odd packet, too long, or there was none at all.
    pub fn next_samples(&mut self) -> Result<Option<Vec<f32>>, AudioError> {
        loop {
            let Some(samples) = guarded(|| self.decoder.next_samples())? else {
                return if self.samples == 0 { Err(AudioError::NoAudio) } else { Ok(None) };
            };
            self.samples += samples.len() as u64;
            if self.duration() > self.limit {
                return Err(AudioError::TooLong(self.limit));
            }
            if !samples.is_empty() {
                return Ok(Some(samples));
            }
        }
    }

    /// The length of what was read so far.
    #[must_use]
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.samples * 1_000_000 / u64::from(SAMPLE_RATE))
    }

    /// How much of the file was read, 0 to 1.
    #[must_use]
    pub fn progress(&self) -> f64 {
        self.decoder.progress()
    }
}

fn guarded<T>(work: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(AudioError::Damaged("its decoder gave up".into())))
}
