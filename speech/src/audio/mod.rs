//! Any audio file as a stream of samples: 16 kHz, mono. The form is recognised by content.

mod codecs;
mod decoder;
mod form;
mod lanes;
mod matroska;
mod mixer;
mod mp4;
mod numbers;
mod opus;
mod plain;
mod resampler;
mod source;
mod streamed;
mod wav;

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Read},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

pub use self::lanes::Samples;
pub(crate) use self::resampler::Resampler;
use self::{
    codecs::Tracks,
    decoder::Decoder,
    form::Form,
    lanes::Layout,
    source::{Look, Source},
    streamed::Streamed,
    wav::{Place, Wav},
};
use crate::{
    lists::MOST_CHANNELS,
    recogniser::{Cancel, SAMPLE_RATE},
};

/// The forms that are understood, for messages.
pub const FORMS: &str = "wav (rf64, w64), mp3, mp2, aac, m4a/mp4/mov, flac, ogg (vorbis, opus, flac), webm/mka/mkv, aiff, caf, au";
/// How people make a form that is understood from one that is not.
macro_rules! remedy {
    () => {
        "convert it, for instance with: ffmpeg -i FILE -ac 1 -ar 16000 FILE.wav"
    };
}

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
    #[error("the file is {0}, which is not understood; {remedy}", remedy = remedy!())]
    Container(String),
    #[error(
        "the file is {0}, which cannot be read while it comes; post it as a job, or {remedy}",
        remedy = remedy!()
    )]
    IndexAtEnd(&'static str),
    #[error("the file holds no audio track")]
    NoTrack,
    #[error("the codec of the audio is not supported: {0}; {remedy}", remedy = remedy!())]
    Codec(String),
    #[error("the audio is damaged: {0}")]
    Damaged(String),
    #[error("the file holds no audio")]
    NoAudio,
    #[error("the audio is longer than {} s, the limit of this appliance", .0.as_secs())]
    TooLong(Duration),
    #[error("the audio has {0} channels; {most} are the most that can be told apart", most = MOST_CHANNELS)]
    TooManyChannels(usize),
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
    /// What one header cannot tell: the rest of a WAV of more than 4 GiB, or of several chunks.
    rest: Option<Rest>,
    limit: Duration,
    layout: Layout,
    samples: u64,
}

/// Pieces of a WAV that are still to be read.
struct Rest {
    file: File,
    wav: Wav,
    pieces: VecDeque<(u64, u64)>,
    read: usize,
    cancel: Cancel,
}

impl Rest {
    fn next(&mut self) -> Option<Result<Decoder, AudioError>> {
        let piece = self.pieces.pop_front()?;
        self.read += 1;
        Some(self.file.try_clone().map_err(unreadable).and_then(|file| {
            let header = self.wav.header(Some(piece.1));
            let source = Source::samples(file, header, vec![piece], &self.cancel);
            guarded(|| Decoder::open(source, Tracks::default(), GATHER, &self.cancel))
        }))
    }

    /// The share of all pieces, where `share` of the one that is read now is done.
    fn progress(&self, share: f64) -> f64 {
        let begun = self.read.saturating_sub(1) as f64;
        (begun + share) / (self.read + self.pieces.len()) as f64
    }
}

impl AudioReader {
    fn new(decoder: Decoder, rest: Option<Rest>, limit: Duration) -> Self {
        Self { decoder, rest, limit, layout: Layout::Mixed, samples: 0 }
    }

    /// Recognises the form. `limit` is the longest audio that is taken.
    ///
    /// # Errors
    /// It is no audio, or damaged from the start.
    pub fn open(file: File, limit: Duration, cancel: &Cancel) -> Result<Self, AudioError> {
        let whole = file.metadata().map_err(unreadable)?.len();
        let decoder = match form::look(&mut Look(&file, whole))? {
            Form::Wav(wav) => {
                let pieces = wav.pieces(whole).collect();
                let mut rest = Rest { file, wav, pieces, read: 0, cancel: cancel.clone() };
                let decoder = rest.next().unwrap_or(Err(AudioError::NoAudio))?;
                return Ok(Self::new(decoder, Some(rest), limit));
            }
            Form::Wrapped(wav) => {
                let ranges = wav.place.ranges(whole);
                let source = Source::samples(file, Vec::new(), ranges, cancel);
                guarded(|| Decoder::open(source, Tracks::default(), GATHER, cancel))
            }
            Form::Plain(plain) => {
                let ranges = plain.place.ranges(whole);
                let source = Source::samples(file, Vec::new(), ranges, cancel);
                guarded(|| Decoder::plain(source, plain.coding, GATHER, cancel))
            }
            Form::Container(told) => {
                let mut source = Source::file(file, cancel).map_err(unreadable)?;
                source.0.patch(told.patches);
                guarded(|| Decoder::open(source, told.tracks, GATHER, cancel))
            }
        };
        Ok(Self::new(decoder?, None, limit))
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
        let mut streamed = Streamed::new(stream);
        let form = form::look(&mut streamed);
        if cancel.is_cancelled() {
            return Err(AudioError::Cancelled);
        }
        let source = |header, place: Place| {
            let stream = streamed.from(header, &place).map_err(unreadable)?;
            Ok(Source::stream(Box::new(stream), cancel))
        };
        let decoder = match form? {
            Form::Wav(wav) => {
                // Without a length: more may come behind what is told now.
                let source = source(wav.header(None), wav.place)?;
                guarded(|| Decoder::open(source, Tracks::default(), GATHER_LIVE, cancel))
            }
            Form::Wrapped(wav) => {
                let source = source(Vec::new(), wav.place)?;
                guarded(|| Decoder::open(source, Tracks::default(), GATHER_LIVE, cancel))
            }
            Form::Plain(plain) => {
                let source = source(Vec::new(), plain.place)?;
                guarded(|| Decoder::plain(source, plain.coding, GATHER_LIVE, cancel))
            }
            Form::Container(told) => {
                let mut source = source(Vec::new(), Place::default())?;
                source.0.patch(told.patches);
                guarded(|| Decoder::open(source, told.tracks, GATHER_LIVE, cancel))
            }
        };
        Ok(Self::new(decoder?, None, limit))
    }

    /// Gives each channel by itself. To be called before the first samples are read.
    #[must_use]
    pub fn apart(mut self) -> Self {
        self.layout = Layout::Apart;
        self.decoder.set(self.layout);
        self
    }

    /// The next samples of all channels together, up to some seconds of them; `None` at the end.
    ///
    /// # Errors
    /// See [`AudioReader::next_lanes`].
    pub fn next_samples(&mut self) -> Result<Option<Vec<f32>>, AudioError> {
        Ok(self.next_lanes()?.and_then(|lanes| lanes.into_iter().next()))
    }

    /// The next samples of each channel, equally many; `None` at the end.
    ///
    /// # Errors
    /// The audio is damaged beyond the odd packet, too long, or there was none at all.
    pub fn next_lanes(&mut self) -> Result<Option<Samples>, AudioError> {
        loop {
            let Some(samples) = guarded(|| self.decoder.next_samples())? else {
                if let Some(next) = self.rest.as_mut().and_then(Rest::next) {
                    self.decoder = next?;
                    self.decoder.set(self.layout);
                    continue;
                }
                return if self.samples == 0 { Err(AudioError::NoAudio) } else { Ok(None) };
            };
            let length = samples.first().map_or(0, Vec::len);
            self.samples += length as u64;
            if self.duration() > self.limit {
                return Err(AudioError::TooLong(self.limit));
            }
            if length > 0 {
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
        let share = self.decoder.progress();
        self.rest.as_ref().map_or(share, |rest| rest.progress(share))
    }
}

fn unreadable(err: io::Error) -> AudioError {
    AudioError::Io(err.to_string())
}

fn guarded<T>(work: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(AudioError::Damaged("its decoder gave up".into())))
}
