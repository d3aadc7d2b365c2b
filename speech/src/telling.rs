//! What a live session has told and still owes, the same for every recogniser that computes here.

use std::time::Instant;

use crate::{
    agreement::{Agreement, Deadlines},
    cutter::{Cut, Cutter, CutterSettings, Window},
    pace::Pace,
    recogniser::{Heard, LiveOptions, RecogniserError, SAMPLE_RATE, Stretch, Word},
    silence::{Due, EDGE, Silence, Standing},
};

/// The time of a sample.
pub(crate) fn seconds(sample: u64) -> f64 {
    sample as f64 / f64::from(SAMPLE_RATE)
}

/// Turns words into what a client is told. All times are in seconds of the stream.
pub(crate) struct Telling {
    /// `None` for a batch session, which tells finals alone.
    pub(crate) live: Option<LiveOptions>,
    pub(crate) pace: Pace,
    silence: Silence,
    agreement: Agreement,
    /// Where the speech ends that the last look heard.
    heard: f64,
    /// Whether words were told since the last end of an utterance.
    spoken: bool,
}

impl Telling {
    pub(crate) fn new(live: Option<LiveOptions>, now: Instant) -> Self {
        Self {
            live,
            pace: Pace::new(now),
            silence: Silence::default(),
            agreement: Agreement::default(),
            heard: 0.0,
            spoken: false,
        }
    }

    /// Audio comes.
    pub(crate) fn fed(&mut self, now: Instant, samples: usize) {
        self.pace.fed(samples);
        self.silence.fed(now, samples);
    }

    /// When the words of a look have to be final that comes `after` seconds behind the audio, which
    /// ends at `position`. Words on which two decodes agree wait for `patience` of the delay.
    pub(crate) fn deadlines(
        &self,
        live: &LiveOptions,
        position: f64,
        after: f64,
        patience: f64,
    ) -> Deadlines {
        let now = position + after;
        let max_delay = live.max_delay.as_secs_f64();
        let (agreed, next) = if after > 0.0 {
            // Nothing that waits for more audio is told before it has to be.
            (f64::MIN, self.pace.lead())
        } else {
            (now - max_delay * patience, self.pace.next(live))
        };
        Deadlines { agreed, due: now + next - max_delay, mode: live.max_delay_mode }
    }

    /// Tells the words of another decode of the open window, which begins at `start`; the speech in
    /// it ends at `end` for now.
    pub(crate) fn look(
        &mut self,
        start: f64,
        end: f64,
        words: Vec<Word>,
        deadlines: Deadlines,
    ) -> Vec<Heard> {
        let from = self.agreement.until().max(start);
        self.heard = end;
        let (words, rest) = self.agreement.look(words, deadlines);
        self.told(from, words, rest)
    }

    /// The same where the audio ends at `end` for now, and all of them are final.
    pub(crate) fn look_last(&mut self, start: f64, end: f64, words: Vec<Word>) -> Vec<Heard> {
        let from = self.agreement.until().max(start);
        self.heard = end;
        let words = self.agreement.look_last(words, end);
        self.told(from, words, Vec::new())
    }

    /// Tells the words of the last decode of a window.
    pub(crate) fn close(&mut self, start: f64, end: f64, words: Vec<Word>) -> Vec<Heard> {
        let start = self.agreement.until().max(start);
        let words = self.agreement.close(words, end);
        self.spoken |= !words.is_empty();
        let end = end.max(self.agreement.until()).max(start);
        let mut heard = vec![Heard::Final(Stretch { start, end, words })];
        if self.wants_partials() {
            heard.push(Heard::Partial(Stretch { start: end, end, words: Vec::new() }));
        }
        heard
    }

    /// Tells the end of the utterance, unless nothing was said since the last one.
    pub(crate) fn end_of_utterance(&mut self, at: f64) -> Option<Heard> {
        std::mem::take(&mut self.spoken).then_some(Heard::EndOfUtterance { at })
    }

    /// Everything is final; no end of an utterance comes of it.
    pub(crate) fn finish(&mut self) {
        self.spoken = false;
    }

    /// Where the session stands. `unseen`: there is speech that no decode has seen; `astray`: the
    /// last one gave nothing to go by. `None`: nothing waits for the clock.
    pub(crate) fn standing(&self, cutter: &Cutter, unseen: bool, astray: bool) -> Option<Standing> {
        let live = self.live.as_ref()?;
        Some(Standing {
            position: cutter.position(),
            quiet: cutter.quiet()?,
            unseen,
            astray,
            oldest: self.agreement.oldest(),
            spoken: self.spoken,
            look: self.pace.due_after(live),
            lead: self.pace.lead(),
        })
    }

    /// What is due first if no audio comes, and when.
    pub(crate) fn due(&self, standing: &Standing) -> Option<(Instant, Due)> {
        self.silence.due(self.live.as_ref()?, standing)
    }

    /// Tells what the last decode had and what ends before `until`.
    fn ripen(&mut self, until: f64) -> Vec<Heard> {
        let from = self.agreement.until();
        let (words, rest) = self.agreement.ripen(until);
        self.told(from, words, rest)
    }

    fn wants_partials(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.partials)
    }

    /// Words of the open window that are final, and what is left of it.
    fn told(&mut self, from: f64, words: Vec<Word>, rest: Vec<Word>) -> Vec<Heard> {
        let until = self.agreement.until().max(from);
        let mut heard = Vec::new();
        if !words.is_empty() {
            self.spoken = true;
            heard.push(Heard::Final(Stretch { start: from, end: until, words }));
        }
        if self.wants_partials() {
            // Clients measure from the end of a partial how late it is, and wait accordingly: it is
            // that of the speech, though its last sounds may be no word yet.
            let end = rest.last().map_or(until, |word| word.end.max(self.heard));
            heard.push(Heard::Partial(Stretch { start: until, end, words: rest }));
        }
        heard
    }
}

/// A session that tells what is due though no audio comes.
pub(crate) trait ByTheClock {
    fn telling(&mut self) -> &mut Telling;

    fn cutter(&mut self) -> &mut Cutter;

    /// See [`Telling::standing`].
    fn standing(&self) -> Option<Standing>;

    /// Looks at the open window, so many seconds after its last audio.
    fn look_now(&mut self, live: &LiveOptions, after: f64) -> Result<Vec<Heard>, RecogniserError>;

    /// Finalises a window that is complete.
    fn close(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError>;

    /// The same for somebody who waits: without another decode where that changes little.
    fn close_at_once(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        self.close(window)
    }

    /// All words of the open window, which stays open. `last`: the utterance ends with them.
    fn tell_open(&mut self, last: bool) -> Result<Vec<Heard>, RecogniserError>;

    /// All words so far, though the audio may go on behind them.
    fn tell_all(&mut self, last: bool) -> Result<Vec<Heard>, RecogniserError> {
        let cutter = self.cutter();
        let ends_in_silence = cutter.quiet().is_some_and(|quiet| quiet >= EDGE);
        if ends_in_silence && let Some(window) = cutter.pause() {
            return self.close_at_once(&window);
        }
        // In the middle of a word the window stays open: the word may be heard whole later.
        self.tell_open(last)
    }

    /// Does what is due at `now`.
    fn act(&mut self, now: Instant) -> Result<Vec<Heard>, RecogniserError> {
        let Some(live) = self.telling().live.clone() else { return Ok(Vec::new()) };
        let Some(standing) = self.standing() else { return Ok(Vec::new()) };
        match self.telling().due(&standing).filter(|(at, _)| *at <= now) {
            None => Ok(Vec::new()),
            Some((_, Due::Look { after })) => self.look_now(&live, after),
            Some((_, Due::Words { until })) => Ok(self.telling().ripen(until)),
            Some((_, Due::All)) => self.tell_all(false),
            Some((_, Due::Utterance)) => {
                let owed = standing.owes_words();
                let mut heard = if owed { self.tell_all(true)? } else { Vec::new() };
                let at = self.cutter().position();
                heard.extend(self.telling().end_of_utterance(at));
                Ok(heard)
            }
        }
    }

    /// Tells and cuts otherwise from now on; without effect unless somebody listens live.
    fn reconfigure(&mut self, live: &LiveOptions) {
        if let Some(own) = &mut self.telling().live {
            own.clone_from(live);
            self.cutter().set(CutterSettings::live(live));
        }
    }

    /// Takes audio: tells windows that are complete, and silences.
    fn cut(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        let mut heard = Vec::new();
        for cut in self.cutter().feed(samples) {
            match cut {
                Cut::Window(window) => heard.extend(self.close(&window)?),
                Cut::Silence { at } => {
                    heard.extend(self.telling().end_of_utterance(at));
                }
            }
        }
        Ok(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recogniser::MaxDelayMode;

    #[test]
    fn a_partial_ends_with_the_speech_that_was_heard_though_its_last_sounds_are_no_word_yet() {
        let live = LiveOptions { partials: true, ..LiveOptions::default() };
        let mut telling = Telling::new(Some(live), Instant::now());
        let word = Word { text: "had".into(), start: 0.5, end: 0.9, confidence: 1.0 };
        let never = Deadlines { agreed: 0.0, due: 0.0, mode: MaxDelayMode::Flexible };
        let heard = telling.look(0.1, 1.4, vec![word.clone()], never);
        let partial = Stretch { start: 0.1, end: 1.4, words: vec![word.clone()] };
        assert_eq!(heard, [Heard::Partial(partial)]);
        // By the clock: what is final ends with its last word.
        let heard = telling.ripen(0.9);
        let told = Stretch { start: 0.0, end: 0.9, words: vec![word] };
        let rest = Stretch { start: 0.9, end: 0.9, words: Vec::new() };
        assert_eq!(heard, [Heard::Final(told), Heard::Partial(rest)]);
    }
}
