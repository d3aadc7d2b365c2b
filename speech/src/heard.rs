//! What sessions take and tell: samples, words, stretches of them.

/// Samples per second of all audio that sessions take; it is mono.
pub const SAMPLE_RATE: u32 = 16_000;

/// One word as it would be printed, marks included (`Dashwood,`), with its place in the audio. A blank
/// before it tells that one stands there although the language has none between its words.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub text: String,
    /// Seconds since the first sample of the session.
    pub start: f64,
    /// Seconds since the first sample of the session; never before `start`.
    pub end: f64,
    /// How sure the recogniser is: 0 to 1.
    pub confidence: f32,
}

/// A stretch of audio and the words in it, in order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Stretch {
    /// Seconds since the first sample of the session.
    pub start: f64,
    /// Seconds since the first sample of the session.
    pub end: f64,
    pub words: Vec<Word>,
}

/// What a session tells.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// Words that will not change any more. Finals follow each other in time.
    Final(Stretch),
    /// All words since the last final as they look now, maybe none; the next partial replaces them.
    /// Each final is followed by one, where partials are wanted.
    Partial(Stretch),
    /// The speaker has paused. Comes after the final of an utterance with words in it, once for
    /// each silence; seconds since the start.
    EndOfUtterance { at: f64 },
}
