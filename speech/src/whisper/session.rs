//! One stream of audio through Whisper: cut into windows, each decoded whole, and again and again
//! while it is open and somebody listens live.

use std::time::{Duration, Instant};

use super::decoder::{Decoder, Purpose};
use crate::{
    cutter::{Cutter, CutterSettings, Window},
    measures::{Measures, Meter},
    recogniser::{
        Cancel, Clock, Heard, LiveOptions, RecogniserError, Session, SessionOptions, Word,
    },
    silence::{EDGE, Standing},
    telling::{ByTheClock, Telling, seconds},
};

/// A word on which two decodes agree still waits for this part of the delay that it may have: the
/// model knows a word better with what follows it.
const PATIENCE: f64 = 0.75;

/// Marks that a text may end with, and that say nothing where the audio merely ends.
const END_MARKS: &[char] = &['.', '…', '-', '—', '!', '?', '。', '！', '？', '।', '؟'];

/// The start and the length of the open window in samples, and its words, if they could be made out.
type Glance = (u64, u64, Option<Vec<Word>>);

pub(super) struct WhisperSession {
    decoder: Decoder,
    cutter: Cutter,
    cancel: Cancel,
    clock: Clock,
    telling: Telling,
    /// The end of the speech of the open window when it was last decoded.
    looked: u64,
    /// The words that it gave.
    seen: Vec<Word>,
    /// Whether that decode gave nothing to go by.
    astray: bool,
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
            clock: options.clock.clone(),
            telling: Telling::new(options.live.clone(), options.clock.now()),
            looked: 0,
            seen: Vec::new(),
            astray: false,
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
        self.telling.pace.decoded(self.clock.now(), decoded.took, decoded.waited);
        self.waited += decoded.waited;
        Ok(decoded.words)
    }

    /// Decodes the open window if it is time: for a partial, and for words that have to become
    /// final before the window is complete.
    fn look(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.telling.live.clone() else { return Ok(Vec::new()) };
        if !self.telling.pace.is_due(self.clock.now(), &live) {
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

    /// The open window's start and length in samples, and its words, if they could be made out.
    fn decode_open(&mut self, purpose: Purpose) -> Result<Option<Glance>, RecogniserError> {
        let Some(open) = self.cutter.open() else { return Ok(None) };
        let (start, samples, spoken) = (open.start, open.samples.to_vec(), open.spoken);
        self.looked = start + spoken as u64;
        let words = self.decode(start, &samples, spoken, purpose)?;
        self.astray = words.is_none();
        self.seen = words.clone().unwrap_or_default();
        Ok(Some((start, samples.len() as u64, words)))
    }

    /// Counts what a call that began at `begun` tells.
    fn metered(&mut self, begun: Instant, heard: Vec<Heard>) -> Vec<Heard> {
        let waited = std::mem::take(&mut self.waited);
        self.meter.told(begun, self.clock.now(), waited, &heard);
        heard
    }

    fn closed(&mut self, window: &Window, words: Vec<Word>) -> Vec<Heard> {
        let end = seconds(window.start + window.samples.len() as u64);
        self.telling.close(seconds(window.start), end, words)
    }
}

impl ByTheClock for WhisperSession {
    fn telling(&mut self) -> &mut Telling {
        &mut self.telling
    }

    fn cutter(&mut self) -> &mut Cutter {
        &mut self.cutter
    }

    fn standing(&self) -> Option<Standing> {
        let speech_end = self.cutter.open().map(|open| open.start + open.spoken as u64);
        let unseen = speech_end.is_some_and(|end| end != self.looked);
        self.telling.standing(&self.cutter, unseen, speech_end.is_some() && self.astray)
    }

    fn look_now(&mut self, live: &LiveOptions, after: f64) -> Result<Vec<Heard>, RecogniserError> {
        let Some((start, length, words)) = self.decode_open(Purpose::Look)? else {
            return Ok(Vec::new());
        };
        let Some(words) = words.map(unfinished) else { return Ok(Vec::new()) };
        let mut deadlines = self.telling.deadlines(live, self.cutter.position(), after, PATIENCE);
        // A word that ends with the audio goes on: its delay has not begun.
        deadlines.due = deadlines.due.min(seconds(start + length) - EDGE);
        Ok(self.telling.look(seconds(start), words, deadlines))
    }

    fn close(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        let Window { start, samples, spoken } = window;
        let words = self.decode(*start, samples, *spoken, Purpose::Whole)?.unwrap_or_default();
        Ok(self.closed(window, words))
    }

    fn close_at_once(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        // The last decode may have heard all that was said.
        if self.astray || self.looked != window.start + window.spoken as u64 {
            return self.close(window);
        }
        let words = std::mem::take(&mut self.seen);
        Ok(self.closed(window, words))
    }

    fn tell_open(&mut self, last: bool) -> Result<Vec<Heard>, RecogniserError> {
        let Some((start, _, words)) = self.decode_open(Purpose::Whole)? else {
            return Ok(Vec::new());
        };
        let words = words.unwrap_or_default();
        let words = if last { words } else { unfinished(words) };
        Ok(self.telling.look_last(seconds(start), words))
    }
}

/// Words without the mark at their end: that the audio ends there says nothing about the sentence.
fn unfinished(mut words: Vec<Word>) -> Vec<Word> {
    if let Some(last) = words.last_mut() {
        last.text.truncate(last.text.trim_end_matches(END_MARKS).len());
    }
    words
}

impl Session for WhisperSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        self.meter.fed(begun, samples.len());
        self.telling.fed(begun, samples.len());
        let mut heard = self.cut(samples)?;
        heard.extend(self.look()?);
        Ok(self.metered(begun, heard))
    }

    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        let window = self.cutter.finish();
        let heard = window.map_or_else(|| Ok(Vec::new()), |window| self.close_at_once(&window))?;
        self.telling.finish();
        Ok(self.metered(begun, heard))
    }

    fn force(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        let heard = self.tell_all(true)?;
        self.telling.finish();
        Ok(self.metered(begun, heard))
    }

    fn wake_at(&self) -> Option<Instant> {
        self.telling.due(&self.standing()?).map(|(at, _)| at)
    }

    fn wake(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        let heard = self.act(begun)?;
        Ok(self.metered(begun, heard))
    }

    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError> {
        if let Some(own) = &mut self.telling.live {
            own.clone_from(live);
            self.cutter.set(CutterSettings::live(live));
        }
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
}
