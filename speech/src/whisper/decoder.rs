//! One window of audio through the model.

use std::time::Duration;

use whisper_rs::{FullParams, SamplingStrategy, WhisperState, WhisperTokenId};

use super::{
    engine,
    segments::{Segment, segments},
    states::States,
    times::spread,
    vocabulary::Vocabulary,
    words::{Token, Writing, words},
};
use crate::{
    recogniser::{Cancel, Clock, RecogniserError, SAMPLE_RATE, SessionOptions, Word},
    slots::{Slots, Urgency},
    telling::seconds,
    transcript::word_delimiter,
};

/// whisper.cpp refuses less than a second.
const LEAST_SAMPLES: usize = SAMPLE_RATE as usize * 11 / 10;
/// Below about ten seconds of encoder context short sounds make Whisper repeat itself.
const LEAST_CONTEXT: usize = 512;
const WHOLE_CONTEXT: usize = 1500;
/// Encoder positions for each second of audio.
const POSITIONS: usize = 50;
/// A word may end this long after the last frame that the voice activity detector took for speech.
const FADING: usize = SAMPLE_RATE as usize / 5;

/// Nobody speaks more English tokens in a second, and no text of some seconds is without a few more.
const ENGLISH_TOKENS: usize = 8;
/// The vocabulary knows other scripts by single characters and parts of them.
const MOST_TOKENS: usize = 32;
const TOKENS: usize = 24;
/// Up to so many tokens that come this often one after the other are a model gone astray.
const LONGEST_LOOP: usize = 4;
const LOOPS: usize = 5;

/// Tokens that are weighed against each other for words that are expected; each takes some
/// milliseconds.
const MOST_WEIGHED: usize = 400;
const MOST_WEIGHED_LIVE: usize = 60;

/// What a decode is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A glance at a window that is still open.
    Look,
    /// The last word on a window.
    Whole,
}

/// Whether the model may write brackets and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signs {
    Never,
    /// It names sounds with them.
    Allowed,
}

pub(super) struct Decoder {
    states: States,
    parameters: FullParams<'static, 'static>,
    writing: Writing,
    tokens_per_second: usize,
    vocabulary: Option<Vocabulary>,
    /// The tokens that tell the model what to do.
    task: Vec<WhisperTokenId>,
    slots: Slots,
    urgency: Urgency,
    cancel: Cancel,
    clock: Clock,
}

/// What a decode gave and what it cost.
pub(super) struct Decoded {
    /// `None` where the model went astray in a [`Purpose::Look`].
    pub(super) words: Option<Vec<Word>>,
    pub(super) took: Duration,
    /// Before that, for a slot.
    pub(super) waited: Duration,
}

impl Decoder {
    pub(super) fn new(
        states: States,
        language: &'static str,
        options: &SessionOptions,
        slots: Slots,
    ) -> Self {
        let urgency = if options.live.is_some() { Urgency::Realtime } else { Urgency::Batch };
        Self {
            parameters: parameters(language, options),
            vocabulary: Vocabulary::new(&options.vocabulary),
            task: task(&states, language),
            states,
            writing: if word_delimiter(language).is_empty() {
                Writing::Characters
            } else {
                Writing::Blanks
            },
            tokens_per_second: if language == "en" { ENGLISH_TOKENS } else { MOST_TOKENS },
            slots,
            urgency,
            cancel: options.cancel.clone(),
            clock: options.clock.clone(),
        }
    }

    /// The words in `samples`, which begin at sample `start` of the stream and whose last speech
    /// ends at `spoken`. Blocks until there is a slot, and then for the time of the decode.
    pub(super) fn decode(
        &self,
        start: u64,
        samples: &[f32],
        spoken: usize,
        purpose: Purpose,
    ) -> Result<Decoded, RecogniserError> {
        let asked = self.clock.now();
        let _slot = self.slots.acquire(self.urgency, &self.cancel)?;
        let mut state = self.states.take()?;
        let begun = self.clock.now();
        let mut padded = samples.to_vec();
        padded.resize(padded.len().max(LEAST_SAMPLES), 0.0);
        let context = samples.len() * POSITIONS / SAMPLE_RATE as usize + 128;
        let context = context.clamp(LEAST_CONTEXT, WHOLE_CONTEXT);
        let mut segments = self.run(&mut state, &padded, context, purpose, Signs::Never)?;
        let mut astray = loops(&all(&segments)).is_some();
        if astray || segments.iter().any(Segment::is_doubtful) {
            // As long a silence behind it as the model was trained with mostly helps against loops.
            let whole = astray && purpose == Purpose::Whole;
            let context = if whole { WHOLE_CONTEXT } else { context };
            segments = self.run(&mut state, &padded, context, purpose, Signs::Allowed)?;
            astray = loops(&all(&segments)).is_some();
        }
        let silence = segments.iter().any(Segment::is_silence);
        let mut tokens: Vec<Token> = segments.into_iter().flat_map(Segment::spoken).collect();
        if astray && purpose == Purpose::Whole {
            // Said once; but who stammers in what the model takes for silence says nothing.
            let once = loops(&tokens).unwrap_or(tokens.len());
            tokens.truncate(if silence { 0 } else { once });
            astray = false;
        }
        if let Some(vocabulary) = self.vocabulary.as_ref().filter(|_| !astray) {
            let context = self.states.context();
            let (encode, most) = match purpose {
                Purpose::Look => (false, MOST_WEIGHED_LIVE),
                Purpose::Whole => (true, MOST_WEIGHED),
            };
            tokens = vocabulary.hear(context, &mut state, &self.task, tokens, encode, most)?;
            self.cancel.check()?;
        }
        self.states.give_back(state);
        let length = seconds((spoken + FADING).min(samples.len()) as u64);
        spread(&mut tokens);
        let words = (!astray).then(|| words(&tokens, self.writing, seconds(start), length));
        let took = self.clock.now().duration_since(begun);
        Ok(Decoded { words, took, waited: begun.duration_since(asked) })
    }

    fn run(
        &self,
        state: &mut WhisperState,
        samples: &[f32],
        context: usize,
        purpose: Purpose,
        signs: Signs,
    ) -> Result<Vec<Segment>, RecogniserError> {
        let mut parameters = self.parameters.clone();
        parameters.set_audio_ctx(context as i32);
        let tokens = samples.len() * self.tokens_per_second / SAMPLE_RATE as usize + TOKENS;
        parameters.set_max_tokens(tokens as i32);
        parameters.set_single_segment(purpose == Purpose::Look);
        parameters.set_suppress_nst(signs == Signs::Never);
        let done = state.full(parameters, samples);
        self.cancel.check()?;
        done.map_err(|err| engine(&err))?;
        Ok(segments(state))
    }
}

fn all(segments: &[Segment]) -> Vec<Token> {
    segments.iter().flat_map(|segment| segment.tokens.iter().cloned()).collect()
}

/// Where the model began to say the same again and again: the tokens up to there and the loop once.
fn loops(tokens: &[Token]) -> Option<usize> {
    (1..=LONGEST_LOOP).find_map(|period| {
        let mut same = 0;
        (period..tokens.len()).find_map(|index| {
            same = if tokens[index].bytes == tokens[index - period].bytes { same + 1 } else { 0 };
            (same >= period * (LOOPS - 1)).then(|| index + 1 - same)
        })
    })
}

/// What whisper.cpp puts before the first word.
fn task(states: &States, language: &str) -> Vec<WhisperTokenId> {
    let context = states.context();
    let mut task = vec![context.token_sot()];
    if let Some(id) = whisper_rs::get_lang_id(language).filter(|_| context.is_multilingual()) {
        task.extend([context.token_lang(id), context.token_transcribe()]);
    }
    task.push(context.token_beg());
    task
}

/// Made once for a session: whisper-rs never frees the strings and the callback in it.
fn parameters(language: &'static str, options: &SessionOptions) -> FullParams<'static, 'static> {
    let mut parameters = FullParams::new(SamplingStrategy::Greedy { best_of: 1 });
    parameters.set_n_threads(1);
    parameters.set_language(Some(language));
    parameters.set_print_special(false);
    parameters.set_print_progress(false);
    parameters.set_print_realtime(false);
    parameters.set_print_timestamps(false);
    parameters.set_token_timestamps(true);
    parameters.set_no_context(true);
    // Otherwise a doubtful decode is made again by chance, and each time gives another text.
    parameters.set_temperature_inc(0.0);
    let cancel = options.cancel.clone();
    // The type is written out because whisper-rs calls the closure through exactly this one.
    let abort: Box<dyn FnMut() -> bool> = Box::new(move || cancel.is_cancelled());
    parameters.set_abort_callback_safe::<_, Box<dyn FnMut() -> bool>>(abort);
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_gone_astray_is_noticed() {
        let looping = |text: &str| {
            let token = |text: &str| Token {
                id: 0,
                bytes: text.as_bytes().to_vec(),
                start: 0.0,
                end: 0.0,
                probability: 1.0,
            };
            let tokens: Vec<Token> = text.split_whitespace().map(token).collect();
            loops(&tokens)
        };
        assert_eq!(looping(""), None);
        assert_eq!(looping("no no no no"), None);
        assert_eq!(looping("old s y y y y y"), Some(3));
        assert_eq!(looping("5 , 5 . 5 . 5 . 5 . 5 . 5"), Some(4));
        assert_eq!(looping("a b c a b c a b c a b c a b c d"), Some(3));
        assert_eq!(looping("she sells sea shells by the sea shore she sells sea shells"), None);
    }
}
