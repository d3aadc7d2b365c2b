//! One stream of audio through Whisper: cut into windows, each decoded whole.

use std::time::{Duration, Instant};

use whisper_rs::{FullParams, SamplingStrategy, WhisperState};

use super::{
    engine,
    words::{Token, words},
};
use crate::{
    cutter::{Cutter, CutterSettings, Window},
    measures::{Measures, Meter},
    recogniser::{
        Cancel, Heard, LiveOptions, RecogniserError, SAMPLE_RATE, Session, SessionOptions, Stretch,
        Word,
    },
    slots::{Slots, Urgency},
};

/// whisper.cpp refuses less than a second.
const LEAST_SAMPLES: usize = SAMPLE_RATE as usize * 11 / 10;
/// Below about ten seconds of encoder context short sounds make Whisper repeat itself.
const LEAST_CONTEXT: usize = 512;
const WHOLE_CONTEXT: usize = 1500;
/// Encoder positions for each second of audio.
const POSITIONS: usize = 50;
/// How much more must be spoken before a partial is made anew.
const PARTIAL_STEP: usize = SAMPLE_RATE as usize;
/// A window that the model itself takes for silence and is unsure of is an invention.
const NO_SPEECH: f32 = 0.6;
const UNSURE: f32 = 0.5;
/// The longest prompt in characters; Whisper reads 224 tokens of it.
const LONGEST_PROMPT: usize = 600;

pub(super) struct WhisperSession {
    state: WhisperState,
    parameters: FullParams<'static, 'static>,
    cutter: Cutter,
    slots: Slots,
    cancel: Cancel,
    live: Option<LiveOptions>,
    meter: Meter,
    waited: Duration,
    /// Samples of the open window when the last partial was made.
    shown: usize,
    /// Words of the open window that are final already, and how far they reach in seconds.
    settled: Settled,
}

/// What of the open window was told as final.
#[derive(Default)]
struct Settled {
    words: usize,
    until: f64,
    /// The words of the decode before, to see which ones two decodes agree on.
    before: Vec<Word>,
}

impl WhisperSession {
    pub(super) fn new(
        state: WhisperState,
        language: &'static str,
        options: &SessionOptions,
        slots: Slots,
    ) -> Self {
        let settings = match &options.live {
            Some(live) => {
                let silence = live.end_of_utterance.unwrap_or(Duration::from_millis(500));
                CutterSettings::live(silence.as_secs_f64())
            }
            None => CutterSettings::batch(),
        };
        Self {
            state,
            parameters: parameters(language, options),
            cutter: Cutter::new(settings),
            slots,
            cancel: options.cancel.clone(),
            live: options.live.clone(),
            shown: 0,
            settled: Settled::default(),
            meter: Meter::default(),
            waited: Duration::ZERO,
        }
    }

    fn decode(&mut self, start: u64, samples: &[f32]) -> Result<Vec<Word>, RecogniserError> {
        let urgency = if self.live.is_some() { Urgency::Realtime } else { Urgency::Batch };
        let asked = Instant::now();
        let _slot = self.slots.acquire(urgency, &self.cancel)?;
        self.waited += asked.elapsed();
        let mut parameters = self.parameters.clone();
        let context = samples.len() * POSITIONS / SAMPLE_RATE as usize + 128;
        parameters.set_audio_ctx(context.clamp(LEAST_CONTEXT, WHOLE_CONTEXT) as i32);
        let mut padded = samples.to_vec();
        padded.resize(padded.len().max(LEAST_SAMPLES), 0.0);
        let done = self.state.full(parameters, &padded);
        self.cancel.check()?;
        done.map_err(|err| engine(&err))?;
        let offset = start as f64 / f64::from(SAMPLE_RATE);
        let end = samples.len() as f64 / f64::from(SAMPLE_RATE);
        Ok(words(&self.tokens(), offset, end))
    }

    /// The tokens of the last decode, without those of segments that were invented.
    fn tokens(&self) -> Vec<Token> {
        let mut tokens = Vec::new();
        for segment in self.state.as_iter() {
            let mut spoken: Vec<Token> = Vec::new();
            for index in 0..segment.n_tokens() {
                let Some(token) = segment.get_token(index) else { continue };
                let Ok(bytes) = token.to_bytes() else { continue };
                if bytes.starts_with(b"[_") || bytes.starts_with(b"<|") {
                    continue;
                }
                let data = token.token_data();
                spoken.push(Token {
                    bytes: bytes.to_vec(),
                    start: data.t0 as f64 / 100.0,
                    end: data.t1 as f64 / 100.0,
                    probability: data.p,
                });
            }
            let sum: f32 = spoken.iter().map(|token| token.probability).sum();
            let unsure = sum < UNSURE * spoken.len() as f32;
            if !(unsure && segment.no_speech_probability() > NO_SPEECH) {
                tokens.extend(spoken);
            }
        }
        tokens
    }

    fn close(&mut self, window: Window) -> Result<Vec<Heard>, RecogniserError> {
        let mut words = self.decode(window.start, &window.samples)?;
        let settled = std::mem::take(&mut self.settled);
        self.shown = 0;
        words.drain(..settled.words.min(words.len()));
        let rate = f64::from(SAMPLE_RATE);
        let end = (window.start + window.samples.len() as u64) as f64 / rate;
        let start = settled.until.max(window.start as f64 / rate);
        let mut heard = vec![Heard::Final(Stretch { start, end: end.max(start), words })];
        if window.ends_utterance
            && self.live.as_ref().is_some_and(|live| live.end_of_utterance.is_some())
        {
            heard.push(Heard::EndOfUtterance { at: end });
        }
        Ok(heard)
    }

    /// Shows the open window, and settles words that two decodes agree on and that have waited
    /// long enough.
    fn look(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.live.clone() else { return Ok(Vec::new()) };
        let max_delay = live.max_delay.as_secs_f64();
        let Some((start, samples)) = self.cutter.open() else { return Ok(Vec::new()) };
        if samples.len() < self.shown + PARTIAL_STEP {
            return Ok(Vec::new());
        }
        let samples = samples.to_vec();
        self.shown = samples.len();
        let words = self.decode(start, &samples)?;
        let now = self.cutter.position();
        let from = self.settled.until.max(start as f64 / f64::from(SAMPLE_RATE));
        let agreed = words
            .iter()
            .zip(&self.settled.before)
            .take_while(|(new, old)| same_word(&new.text, &old.text))
            .take_while(|(new, _)| new.end + max_delay - 1.0 <= now)
            .count();
        let mut heard = Vec::new();
        let settled = self.settled.words.min(words.len());
        let agreed = agreed.max(settled);
        let mut shown_from = from;
        if agreed > settled {
            let fresh = words[settled..agreed].to_vec();
            shown_from = fresh.last().map_or(from, |word| word.end).max(from);
            self.settled.until = shown_from;
            self.settled.words = agreed;
            heard.push(Heard::Final(Stretch { start: from, end: shown_from, words: fresh }));
        }
        let rest = words[agreed..].to_vec();
        let end = rest.last().map_or(now, |word| word.end).max(shown_from);
        if live.partials {
            heard.push(Heard::Partial(Stretch { start: shown_from, end, words: rest }));
        }
        self.settled.before = words;
        Ok(heard)
    }
}

impl Session for WhisperSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        self.meter.fed(samples.len());
        let mut heard = Vec::new();
        for window in self.cutter.feed(samples) {
            heard.extend(self.close(window)?);
        }
        heard.extend(self.look()?);
        self.meter.told(begun, std::mem::take(&mut self.waited), &heard);
        Ok(heard)
    }

    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        let heard = match self.cutter.finish() {
            Some(window) => self.close(window)?,
            None => Vec::new(),
        };
        self.meter.told(begun, std::mem::take(&mut self.waited), &heard);
        Ok(heard)
    }

    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError> {
        if let Some(own) = &mut self.live {
            own.clone_from(live);
        }
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
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
    parameters.set_suppress_nst(true);
    // A decode that repeats itself is tried again once, a little warmer.
    parameters.set_temperature_inc(0.6);
    let prompt = prompt(&options.vocabulary);
    if !prompt.is_empty() {
        parameters.set_initial_prompt(&prompt);
    }
    let cancel = options.cancel.clone();
    // The type is written out because whisper-rs calls the closure through exactly this one.
    let abort: Box<dyn FnMut() -> bool> = Box::new(move || cancel.is_cancelled());
    parameters.set_abort_callback_safe::<_, Box<dyn FnMut() -> bool>>(abort);
    parameters
}

/// The vocabulary as a text that Whisper takes for what was said before.
fn prompt(vocabulary: &[String]) -> String {
    let mut prompt = String::new();
    for word in vocabulary {
        let word: String = word.chars().filter(|c| !c.is_control()).collect();
        if word.trim().is_empty() || prompt.len() + word.len() > LONGEST_PROMPT {
            continue;
        }
        prompt.push_str(if prompt.is_empty() { "Glossary: " } else { ", " });
        prompt.push_str(word.trim());
    }
    if !prompt.is_empty() {
        prompt.push('.');
    }
    prompt
}

fn same_word(a: &str, b: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_bounded_and_holds_no_control_characters() {
        assert_eq!(prompt(&[]), "");
        assert_eq!(
            prompt(&["Gnocchi".into(), "\0".into(), "Ceph\0".into()]),
            "Glossary: Gnocchi, Ceph."
        );
        assert!(prompt(&vec!["x".repeat(100); 100]).len() <= LONGEST_PROMPT + 20);
    }
}
