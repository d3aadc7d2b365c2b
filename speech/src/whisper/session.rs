//! One stream of audio through Whisper: cut into windows, each decoded whole, and again and again
//! while it is open and somebody listens live.

use std::time::Instant;

use super::decoder::{Decoder, Purpose};
use crate::{
    cutter::{Cutter, CutterSettings, Window},
    measures::{Measures, Meter},
    recogniser::{
        Cancel, Clock, Heard, LiveOptions, RecogniserError, SAMPLE_RATE, Session, SessionOptions,
        Word,
    },
    silence::{EDGE, Standing},
    telling::{ByTheClock, Telling, seconds},
};

/// A word on which two decodes agree still waits for this part of the delay that it may have: the
/// model knows a word better with what follows it.
const PATIENCE: f64 = 0.75;

/// The part of the delay for which audio has to follow a word before one decode alone makes it final.
const LEAST_FOLLOWING: f64 = 0.25;

/// A decode that hears so much silence behind the speech knows where the sentence ends.
const PAUSE: u64 = (EDGE * SAMPLE_RATE as f64) as u64;

/// Marks that a text may end with, and that say nothing where the audio merely ends.
const END_MARKS: &[char] = &['.', '…', '-', '—', '!', '?', '。', '！', '？', '।', '؟'];

/// What the last decode of an open window heard. Places are samples of the stream.
struct Glance {
    /// Where the window, its speech and its audio began and ended.
    start: u64,
    spoken: u64,
    end: u64,
    /// `None` where they could not be made out.
    words: Option<Vec<Word>>,
}

impl Glance {
    /// Whether it heard all that was said in a window.
    fn heard_speech(&self, start: u64, spoken: u64) -> bool {
        (self.start, self.spoken) == (start, spoken)
    }

    /// Whether it heard the silence behind it as well.
    fn heard_pause(&self, start: u64, spoken: u64) -> bool {
        self.heard_speech(start, spoken) && self.end - spoken >= PAUSE
    }

    /// Whether it heard what is behind the end of a window that was cut off.
    fn heard_beyond(&self, window: &Window) -> bool {
        self.start == window.start && self.spoken >= end(window) + PAUSE
    }
}

fn end(window: &Window) -> u64 {
    window.start + window.samples.len() as u64
}

pub(super) struct WhisperSession {
    decoder: Decoder,
    cutter: Cutter,
    cancel: Cancel,
    clock: Clock,
    telling: Telling,
    seen: Option<Glance>,
    meter: Meter,
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
            seen: None,
            meter: Meter::default(),
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
        self.meter.waited(decoded.waited);
        Ok(decoded.words)
    }

    /// Decodes the open window if it is time: for a partial, and for words that have to become
    /// final before the window is complete.
    fn look(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.telling.live.clone() else { return Ok(Vec::new()) };
        let Some(open) = self.cutter.open() else { return Ok(Vec::new()) };
        let (start, spoken) = (open.start, open.start + open.spoken as u64);
        let quiet = (open.samples.len() - open.spoken) as u64;
        let now = self.clock.now();
        let pace = &self.telling.pace;
        // A look that has heard a pause may be the last one of its window.
        let due = match quiet {
            0 => pace.is_due(now, &live),
            PAUSE.. => pace.is_due(now, &live) || pace.may_hurry(now),
            _ => false,
        };
        let seen = self.seen.as_ref().is_some_and(|seen| seen.heard_pause(start, spoken));
        if !due || seen {
            return Ok(Vec::new());
        }
        self.look_now(&live, 0.0)
    }

    /// Decodes the open window, if there is one.
    fn decode_open(&mut self, purpose: Purpose) -> Result<Option<&Glance>, RecogniserError> {
        let Some(open) = self.cutter.open() else { return Ok(None) };
        let (start, samples, spoken) = (open.start, open.samples.to_vec(), open.spoken);
        let words = self.decode(start, &samples, spoken, purpose)?;
        let (spoken, end) = (start + spoken as u64, start + samples.len() as u64);
        Ok(Some(self.seen.insert(Glance { start, spoken, end, words })))
    }

    /// Counts what a call that began at `begun` tells.
    fn metered(&mut self, begun: Instant, heard: Vec<Heard>) -> Vec<Heard> {
        self.meter.told(begun, self.clock.now(), &heard);
        heard
    }

    /// Tells the words of a window that is complete; those behind its end belong to the next one.
    fn closed(&mut self, window: &Window, mut words: Vec<Word>) -> Vec<Heard> {
        let last = seconds(end(window));
        words.truncate(words.partition_point(|word| f64::midpoint(word.start, word.end) <= last));
        self.telling.close(seconds(window.start), last, words)
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
        let open = self.cutter.open();
        let spoken = open.map(|open| (open.start, open.start + open.spoken as u64));
        let seen = self.seen.as_ref();
        let unseen = spoken.is_some_and(|(start, spoken)| {
            seen.is_none_or(|seen| !seen.heard_speech(start, spoken))
        });
        let astray = spoken.is_some() && seen.is_some_and(|seen| seen.words.is_none());
        self.telling.standing(&self.cutter, unseen, astray)
    }

    fn look_now(&mut self, live: &LiveOptions, after: f64) -> Result<Vec<Heard>, RecogniserError> {
        let Some(seen) = self.decode_open(Purpose::Look)? else { return Ok(Vec::new()) };
        let [start, spoken, end] = [seen.start, seen.spoken, seen.end].map(seconds);
        let Some(words) = seen.words.clone().map(unfinished) else { return Ok(Vec::new()) };
        let mut deadlines = self.telling.deadlines(live, self.cutter.position(), after, PATIENCE);
        // A word that ends with the audio goes on: its delay has not begun. On a machine that is too slow
        // for the delay, others too are worth a wait for some of what follows them.
        let follows = EDGE.max(live.max_delay.as_secs_f64() * LEAST_FOLLOWING);
        deadlines.due = deadlines.due.min(end - follows);
        Ok(self.telling.look(start, spoken, words, deadlines))
    }

    fn close(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        let spoken = window.start + window.spoken as u64;
        // A look may have heard all of it already.
        let seen = self.seen.take_if(|seen| {
            seen.words.is_some()
                && (seen.heard_pause(window.start, spoken) || seen.heard_beyond(window))
        });
        let words = match seen.and_then(|seen| seen.words) {
            Some(words) => words,
            None => {
                let Window { start, samples, spoken } = window;
                self.decode(*start, samples, *spoken, Purpose::Whole)?.unwrap_or_default()
            }
        };
        Ok(self.closed(window, words))
    }

    fn close_at_once(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        // The last decode may have heard all that was said.
        let spoken = window.start + window.spoken as u64;
        let seen = self.seen.take_if(|seen| seen.heard_speech(window.start, spoken));
        match seen.and_then(|seen| seen.words) {
            Some(words) => Ok(self.closed(window, words)),
            None => self.close(window),
        }
    }

    fn tell_open(&mut self, last: bool) -> Result<Vec<Heard>, RecogniserError> {
        let Some(seen) = self.decode_open(Purpose::Whole)? else { return Ok(Vec::new()) };
        let (start, end) = (seconds(seen.start), seconds(seen.end));
        let words = seen.words.clone().unwrap_or_default();
        let words = if last { words } else { unfinished(words) };
        Ok(self.telling.look_last(start, end, words))
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
        self.reconfigure(live);
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
}
