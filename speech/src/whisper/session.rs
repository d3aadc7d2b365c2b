//! One stream of audio through Whisper: cut into windows, each decoded whole, and again and again
//! while it is open and somebody listens live.

use std::time::{Duration, Instant};

use super::decoder::{Decoder, Purpose};
use crate::{
    agreement::{Agreement, Deadlines},
    cutter::{Cut, Cutter, CutterSettings, Window},
    measures::{Measures, Meter},
    pace::Pace,
    recogniser::{
        Cancel, Heard, LiveOptions, MaxDelayMode, RecogniserError, SAMPLE_RATE, Session,
        SessionOptions, Stretch, Word,
    },
    silence::{Due, EDGE, Silence, Standing},
};

/// A word on which two decodes agree still waits for this part of the delay that it may have: the
/// model knows a word better with what follows it.
const PATIENCE: f64 = 0.75;

/// The start and the length of the open window in samples, and its words, if they could be made out.
type Glance = (u64, u64, Option<Vec<Word>>);

pub(super) struct WhisperSession {
    decoder: Decoder,
    cutter: Cutter,
    cancel: Cancel,
    live: Option<LiveOptions>,
    pace: Pace,
    silence: Silence,
    agreement: Agreement,
    /// The end of the speech of the open window when it was last decoded.
    looked: u64,
    /// Whether that decode gave nothing to go by.
    astray: bool,
    /// Whether words were told since the last end of an utterance.
    spoken: bool,
    meter: Meter,
    waited: Duration,
}

impl WhisperSession {
    pub(super) fn new(decoder: Decoder, options: &SessionOptions) -> Self {
        let settings =
            options.live.as_ref().map_or_else(CutterSettings::batch, CutterSettings::live);
        Self {
            decoder,
            cutter: Cutter::new(settings),
            cancel: options.cancel.clone(),
            live: options.live.clone(),
            pace: Pace::new(Instant::now()),
            silence: Silence::default(),
            agreement: Agreement::default(),
            looked: 0,
            astray: false,
            spoken: false,
            meter: Meter::default(),
            waited: Duration::ZERO,
        }
    }

    fn decode(
        &mut self,
        start: u64,
        samples: &[f32],
        spoken: usize,
        purpose: Purpose,
    ) -> Result<Option<Vec<Word>>, RecogniserError> {
        let decoded = self.decoder.decode(start, samples, spoken, purpose)?;
        self.pace.decoded(Instant::now(), decoded.took, decoded.waited);
        self.waited += decoded.waited;
        Ok(decoded.words)
    }

    /// Finalises a window that is complete.
    fn close(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        let Window { start, samples, spoken } = window;
        let words = self.decode(*start, samples, *spoken, Purpose::Whole)?.unwrap_or_default();
        let end = seconds(window.start + window.samples.len() as u64);
        let start = self.agreement.until().max(seconds(window.start));
        let words = self.agreement.close(words, end);
        self.spoken |= !words.is_empty();
        let end = end.max(self.agreement.until()).max(start);
        let mut heard = vec![Heard::Final(Stretch { start, end, words })];
        if self.live.as_ref().is_some_and(|live| live.partials) {
            heard.push(Heard::Partial(Stretch { start: end, end, words: Vec::new() }));
        }
        Ok(heard)
    }

    /// Decodes the open window if it is time: for a partial, and for words that have to become
    /// final before the window is complete.
    fn look(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.live.clone() else { return Ok(Vec::new()) };
        if !self.pace.is_due(Instant::now(), &live) {
            return Ok(Vec::new());
        }
        let Some(open) = self.cutter.open() else { return Ok(Vec::new()) };
        let speech_end = open.start + open.spoken as u64;
        if speech_end == self.looked {
            // Nothing was said since; the end of the pause will close the window.
            return Ok(Vec::new());
        }
        self.look_now(&live, 0.0)
    }

    /// Decodes the open window, so many seconds after its last audio.
    fn look_now(&mut self, live: &LiveOptions, after: f64) -> Result<Vec<Heard>, RecogniserError> {
        let Some((start, length, words)) = self.decode_open(Purpose::Look)? else {
            return Ok(Vec::new());
        };
        let Some(words) = words.map(unfinished) else { return Ok(Vec::new()) };
        let now = self.cutter.position() + after;
        let max_delay = live.max_delay.as_secs_f64();
        // A word that ends with the audio goes on: its delay has not begun.
        let edge = seconds(start + length) - EDGE;
        let (agreed, next) = if after > 0.0 {
            // Nothing that waits for more audio is told before it has to be.
            (f64::MIN, self.pace.lead())
        } else {
            (now - max_delay * PATIENCE, self.pace.next(live))
        };
        let due = (now + next - max_delay).min(edge);
        let deadlines = Deadlines { agreed, due, mode: live.max_delay_mode };
        let from = self.agreement.until().max(seconds(start));
        let (words, rest) = self.agreement.look(words, deadlines);
        Ok(self.told(from, words, rest))
    }

    /// The open window's start and length in samples, and its words, if they could be made out.
    fn decode_open(&mut self, purpose: Purpose) -> Result<Option<Glance>, RecogniserError> {
        let Some(open) = self.cutter.open() else { return Ok(None) };
        let (start, samples, spoken) = (open.start, open.samples.to_vec(), open.spoken);
        self.looked = start + spoken as u64;
        let words = self.decode(start, &samples, spoken, purpose)?;
        self.astray = words.is_none();
        Ok(Some((start, samples.len() as u64, words)))
    }

    /// Words of the open window that are final, and what is left of it.
    fn told(&mut self, from: f64, words: Vec<Word>, rest: Vec<Word>) -> Vec<Heard> {
        let live = self.live.as_ref();
        let until = self.agreement.until().max(from);
        let mut heard = Vec::new();
        if !words.is_empty() {
            self.spoken = true;
            heard.push(Heard::Final(Stretch { start: from, end: until, words }));
        }
        if live.is_some_and(|live| live.partials) {
            let end = rest.last().map_or(until, |word| word.end);
            heard.push(Heard::Partial(Stretch { start: until, end, words: rest }));
        }
        heard
    }

    fn standing(&self, live: &LiveOptions) -> Option<Standing> {
        let open = self.cutter.open();
        let speech_end = open.as_ref().map(|open| open.start + open.spoken as u64);
        Some(Standing {
            position: self.cutter.position(),
            quiet: self.cutter.quiet()?,
            unseen: speech_end.is_some_and(|end| end != self.looked),
            astray: speech_end.is_some() && self.astray,
            oldest: self.agreement.oldest(),
            spoken: self.spoken,
            look: self.pace.due_after(live),
            lead: self.pace.lead(),
        })
    }

    /// All words so far, though the audio may go on behind them.
    fn tell_all(&mut self, last: bool) -> Result<Vec<Heard>, RecogniserError> {
        let ends_in_silence = self.cutter.quiet().is_some_and(|quiet| quiet >= EDGE);
        if ends_in_silence && let Some(window) = self.cutter.pause() {
            return self.close(&window);
        }
        // In the middle of a word the window stays open: the word may be heard whole later.
        let Some((start, _, words)) = self.decode_open(Purpose::Whole)? else {
            return Ok(Vec::new());
        };
        let words = words.unwrap_or_default();
        let words = if last { words } else { unfinished(words) };
        let from = self.agreement.until().max(seconds(start));
        let all = Deadlines { agreed: f64::MAX, due: f64::MAX, mode: MaxDelayMode::Fixed };
        let (words, rest) = self.agreement.look(words, all);
        Ok(self.told(from, words, rest))
    }

    /// Does what is due at `now` though no audio came.
    fn act(&mut self, now: Instant) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.live.clone() else { return Ok(Vec::new()) };
        let Some(standing) = self.standing(&live) else { return Ok(Vec::new()) };
        let due = self.silence.due(&live, &standing).filter(|(at, _)| *at <= now);
        match due {
            None => Ok(Vec::new()),
            Some((_, Due::Look { after })) => self.look_now(&live, after),
            Some((_, Due::Words { until })) => {
                let from = self.agreement.until();
                let (words, rest) = self.agreement.ripen(until);
                Ok(self.told(from, words, rest))
            }
            Some((_, Due::All)) => self.tell_all(false),
            Some((_, Due::Utterance)) => {
                let owed = standing.owes_words();
                let mut heard = if owed { self.tell_all(true)? } else { Vec::new() };
                if std::mem::take(&mut self.spoken) {
                    heard.push(Heard::EndOfUtterance { at: self.cutter.position() });
                }
                Ok(heard)
            }
        }
    }

    fn hear(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        let mut heard = Vec::new();
        for cut in self.cutter.feed(samples) {
            match cut {
                Cut::Window(window) => heard.extend(self.close(&window)?),
                Cut::Silence { at } => {
                    if std::mem::take(&mut self.spoken) {
                        heard.push(Heard::EndOfUtterance { at });
                    }
                }
            }
        }
        heard.extend(self.look()?);
        Ok(heard)
    }
}

/// Words without the mark at their end: that the audio ends there says nothing about the sentence.
fn unfinished(mut words: Vec<Word>) -> Vec<Word> {
    if let Some(last) = words.last_mut() {
        last.text.truncate(last.text.trim_end_matches(['.', '…', '-', '—', '!', '?']).len());
    }
    words
}

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}

impl Session for WhisperSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        self.meter.fed(samples.len());
        self.pace.fed(samples.len());
        self.silence.fed(begun, samples.len());
        let heard = self.hear(samples)?;
        self.meter.told(begun, std::mem::take(&mut self.waited), &heard);
        Ok(heard)
    }

    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        let window = self.cutter.finish();
        let heard = window.map_or_else(|| Ok(Vec::new()), |window| self.close(&window))?;
        self.spoken = false;
        self.meter.told(begun, std::mem::take(&mut self.waited), &heard);
        Ok(heard)
    }

    fn wake_at(&self) -> Option<Instant> {
        let live = self.live.as_ref()?;
        let (at, _) = self.silence.due(live, &self.standing(live)?)?;
        Some(at)
    }

    fn wake(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        let heard = self.act(begun)?;
        self.meter.told(begun, std::mem::take(&mut self.waited), &heard);
        Ok(heard)
    }

    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError> {
        if let Some(own) = &mut self.live {
            own.clone_from(live);
            self.cutter.set(CutterSettings::live(live));
        }
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
}
