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
        Cancel, Heard, LiveOptions, RecogniserError, SAMPLE_RATE, Session, SessionOptions, Stretch,
        Word,
    },
};

/// A word on which two decodes agree still waits for this part of the delay that it may have: the
/// model knows a word better with what follows it.
const PATIENCE: f64 = 0.75;

/// A word that ends this many seconds before the end of the audio may not be over.
const EDGE: f64 = 0.2;

pub(super) struct WhisperSession {
    decoder: Decoder,
    cutter: Cutter,
    cancel: Cancel,
    live: Option<LiveOptions>,
    pace: Pace,
    agreement: Agreement,
    /// The end of the speech of the open window when it was last decoded.
    looked: u64,
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
            agreement: Agreement::default(),
            looked: 0,
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
        let (start, samples, spoken) = (open.start, open.samples.to_vec(), open.spoken);
        self.looked = speech_end;
        let Some(mut words) = self.decode(start, &samples, spoken, Purpose::Look)? else {
            return Ok(Vec::new());
        };
        if let Some(last) = words.last_mut() {
            // That the audio ends here says nothing about the sentence.
            last.text.truncate(last.text.trim_end_matches(['.', '…', '-', '—', '!', '?']).len());
        }
        let now = self.cutter.position();
        let max_delay = live.max_delay.as_secs_f64();
        // A word that ends with the audio goes on: its delay has not begun.
        let edge = seconds(start + samples.len() as u64) - EDGE;
        let deadlines = Deadlines {
            agreed: now - max_delay * PATIENCE,
            due: (now + self.pace.next(&live) - max_delay).min(edge),
            mode: live.max_delay_mode,
        };
        let from = self.agreement.until().max(seconds(start));
        let (words, rest) = self.agreement.look(words, deadlines);
        let until = self.agreement.until().max(from);
        let mut heard = Vec::new();
        if !words.is_empty() {
            self.spoken = true;
            heard.push(Heard::Final(Stretch { start: from, end: until, words }));
        }
        if live.partials {
            let end = rest.last().map_or(until, |word| word.end);
            heard.push(Heard::Partial(Stretch { start: until, end, words: rest }));
        }
        Ok(heard)
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

fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}

impl Session for WhisperSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = Instant::now();
        self.meter.fed(samples.len());
        self.pace.fed(samples.len());
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
