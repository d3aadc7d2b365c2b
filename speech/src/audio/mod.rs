//! Any audio file as a stream of samples: 16 kHz, mono. The form is recognised by content.

mod decoder;
mod mixer;
mod resampler;
mod source;
mod streamed;

use std::{
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

pub(crate) use self::resampler::Resampler;
use self::{decoder::Decoder, source::Source, streamed::Streamed};
use crate::recogniser::{Cancel, SAMPLE_RATE};

/// The forms that are understood, for messages.
pub const FORMS: &str = "wav, mp3, aac, m4a/mp4, flac, ogg (vorbis, opus), webm, aiff, caf";

/// Samples that are gathered before they are handed on: packets may hold a few milliseconds.
const GATHER: usize = 16_000;
/// The same where somebody waits.
const GATHER_LIVE: usize = 1_600;

/// Why a file gives no (more) samples.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AudioError {
    #[error("the file is empty")]
    Empty,
    #[error("the file is no audio in a form that is understood; these are {FORMS}")]
    Unrecognised,
    #[error(
        "the file is an MP4 with its index at the end, which cannot be read while it comes; write it with the index first (ffmpeg: -movflags +faststart)"
    )]
    IndexAtEnd,
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
        let source = Source::file(file, cancel).map_err(|err| AudioError::Io(err.to_string()))?;
        let decoder = guarded(|| Decoder::open(source, GATHER, cancel))?;
        Ok(Self { decoder, limit, samples: 0 })
    }

    /// The same for a file that is still coming. Blocks until its header is there. What wants
    /// other parts of the file before this one, as an MP4 with its index at the end, is refused.
    ///
    /// # Errors
    /// See [`AudioReader::open`].
    pub fn stream(
        stream: impl Read + Send + Sync + 'static,
        limit: Duration,
        cancel: &Cancel,
    ) -> Result<Self, AudioError> {
        let (streamed, is_mp4) = Streamed::new(stream);
        let source = Source::stream(Box::new(streamed), cancel);
        let opened = guarded(|| Decoder::open(source, GATHER_LIVE, cancel));
        let decoder = opened.map_err(|err| match err {
            AudioError::Unrecognised if is_mp4.load(Relaxed) => AudioError::IndexAtEnd,
            err => err,
        })?;
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
