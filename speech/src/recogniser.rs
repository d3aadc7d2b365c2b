//! What every recogniser is: something that opens sessions, which hear samples and give words.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::transcript::{is_same_language, other_codes};
pub use crate::{
    clock::Clock,
    heard::{Heard, SAMPLE_RATE, Stretch, Word},
    measures::Measures,
};

/// The most samples that [`Recogniser::identify`] hears at once: 30 s.
pub const LONGEST_IDENTIFIED: usize = 30 * SAMPLE_RATE as usize;

/// A word or a name of several words that is likely to come up and hard to guess.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Term {
    /// As it is to be written.
    pub content: String,
    /// How it may be said, written as common words would be; may be empty.
    pub sounds_like: Vec<String>,
}

impl From<&str> for Term {
    fn from(content: &str) -> Self {
        Self { content: content.to_owned(), sounds_like: Vec::new() }
    }
}

/// What a session is asked to do.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The language, by a code that [`RecogniserInfo::code_of`] knows.
    pub language: String,
    /// Words that are likely to come up and hard to guess: names, terms.
    pub vocabulary: Vec<Term>,
    /// How soon words are wanted. `None` is batch: the session cuts the audio into long windows,
    /// which is cheaper and more exact, and tells finals alone.
    pub live: Option<LiveOptions>,
    /// Ends the session early: what runs returns [`RecogniserError::Cancelled`].
    pub cancel: Cancel,
    /// By which the session looks when to decode and how late it is.
    pub clock: Clock,
}

impl SessionOptions {
    /// A batch session: long windows, finals alone.
    #[must_use]
    pub fn batch(language: &str, cancel: Cancel) -> Self {
        Self {
            language: language.to_owned(),
            vocabulary: Vec::new(),
            live: None,
            cancel,
            clock: Clock::default(),
        }
    }

    /// A session for somebody who listens live.
    #[must_use]
    pub fn live(language: &str, live: LiveOptions, cancel: Cancel) -> Self {
        Self { live: Some(live), ..Self::batch(language, cancel) }
    }
}

/// How soon a live session tells what it hears; may change while it runs ([`Session::configure`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOptions {
    /// Whether the words of an unfinished utterance are wanted as well ([`Heard::Partial`]).
    pub partials: bool,
    /// The longest that a spoken word may wait for its final; from 0.7 s to 20 s makes sense.
    pub max_delay: Duration,
    pub max_delay_mode: MaxDelayMode,
    /// The silence after which [`Heard::EndOfUtterance`] is told; `None`: it is not told.
    pub end_of_utterance: Option<Duration>,
}

impl Default for LiveOptions {
    /// What the realtime protocol says where the client says nothing.
    fn default() -> Self {
        Self {
            partials: false,
            max_delay: Duration::from_secs(4),
            max_delay_mode: MaxDelayMode::Flexible,
            end_of_utterance: None,
        }
    }
}

/// Whether `max_delay` may be passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MaxDelayMode {
    /// By up to two seconds, so that a number of several words stays in one final.
    #[default]
    Flexible,
    /// Never.
    Fixed,
}

/// A flag that ends work on other threads. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`RecogniserError::Cancelled`] once [`Cancel::cancel`] was called.
    pub fn check(&self) -> Result<(), RecogniserError> {
        if self.is_cancelled() { Err(RecogniserError::Cancelled) } else { Ok(()) }
    }
}

/// What a recogniser says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecogniserInfo {
    /// The engine, such as `whisper`.
    pub engine: &'static str,
    /// The model, for people: the file's name.
    pub model: String,
    /// Codes such as `en`, ISO 639.
    pub languages: Vec<String>,
    /// Whether it can tell them apart: [`Recogniser::identify`].
    pub identifies: bool,
}

impl RecogniserInfo {
    /// The code among `languages` of the language that a client names, with that code or with another
    /// one that is in use for it: `cmn` is `zh`. `None` where it is not one of them.
    #[must_use]
    pub fn code_of(&self, language: &str) -> Option<&str> {
        let exactly = self.languages.iter().find(|code| *code == language);
        let found =
            exactly.or_else(|| self.languages.iter().find(|code| is_same_language(code, language)));
        found.map(String::as_str)
    }

    /// All codes that clients may name.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        let others = self.languages.iter().flat_map(|code| other_codes(code)).map(str::to_owned);
        let others = others.filter(|other| !self.languages.contains(other));
        self.languages.iter().cloned().chain(others).collect()
    }
}

/// A speech recogniser. One value, and one copy of its weights, serves all sessions.
pub trait Recogniser: Send + Sync {
    fn info(&self) -> &RecogniserInfo;

    /// Opens a session.
    ///
    /// # Errors
    /// The language is not one of the recogniser's, or memory is short.
    fn begin(&self, options: SessionOptions) -> Result<Box<dyn Session>, RecogniserError>;

    /// How likely `speech` is to be in each of [`RecogniserInfo::languages`], in their order: 0 to
    /// 1, together 1. It is given as to [`Session::feed`], [`LONGEST_IDENTIFIED`] samples at most.
    /// Computes for about a second.
    ///
    /// # Errors
    /// The recogniser cannot tell ([`RecogniserInfo::identifies`]), failed, or was cancelled.
    fn identify(&self, _speech: &[f32], _cancel: &Cancel) -> Result<Vec<f32>, RecogniserError> {
        let engine = self.info().engine;
        Err(RecogniserError::Engine(format!("{engine} cannot tell which language is spoken")))
    }
}

/// One speaker's audio on its way to words. Every call may compute for seconds: keep sessions on
/// threads that may block.
pub trait Session: Send {
    /// Hears more audio: [`SAMPLE_RATE`], mono, -1 to 1, any number of samples.
    ///
    /// # Errors
    /// The engine failed or the session was cancelled; the session is of no more use then.
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError>;

    /// Finalises all that was heard. The session may be fed again; times go on. No
    /// [`Heard::EndOfUtterance`] comes of it, nor of the silence that follows.
    ///
    /// # Errors
    /// See [`Session::feed`].
    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError>;

    /// Finalises all that was heard so far for somebody who waits, though the speaker may go on: what
    /// follows is heard in one with it, where the recogniser can. Like [`Session::finish`] otherwise.
    ///
    /// # Errors
    /// See [`Session::feed`].
    fn force(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.finish()
    }

    /// When [`Session::wake`] is to be called if no audio comes before; `None`: nothing is owed to
    /// a client that stops sending. Every other call may change it.
    fn wake_at(&self) -> Option<Instant> {
        None
    }

    /// Tells what is due by the clock though no audio came: words that have waited for
    /// [`LiveOptions::max_delay`], and the end of the utterance. Times stay those of the audio, and
    /// the session may be fed again.
    ///
    /// # Errors
    /// See [`Session::feed`].
    fn wake(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        Ok(Vec::new())
    }

    /// Changes what is told and when, from the next call of [`Session::feed`] on. Without effect
    /// on a batch session.
    ///
    /// # Errors
    /// See [`Session::feed`].
    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError>;

    /// What the session has cost so far and how late its finals were.
    fn measures(&self) -> Measures;
}

/// Signed 16-bit samples as [`Session::feed`] takes them.
#[must_use]
pub fn samples_from_i16(samples: &[i16]) -> Vec<f32> {
    samples.iter().map(|sample| f32::from(*sample) / 32768.0).collect()
}

/// Why a recogniser or a session cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecogniserError {
    #[error("the language {language} is not among those of the model: {known}")]
    Language { language: String, known: String },
    #[error("the work was cancelled")]
    Cancelled,
    #[error("the recogniser failed: {0}")]
    Engine(String),
}
