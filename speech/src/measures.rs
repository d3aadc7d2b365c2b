//! What a session costs and how late its finals are.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::heard::{Heard, SAMPLE_RATE};

/// The width of a class of delays.
const STEP: Duration = Duration::from_millis(20);
/// Longer delays than this many steps (30 s) count as this long.
const CLASSES: usize = 1500;
/// Arrivals are told apart by this many seconds of audio …
const FINEST: f64 = 0.01;
/// … and forgotten after this many; every final comes before.
const LONGEST: f64 = 60.0;

/// The measures of one session. Adding those of several sessions gives theirs together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measures {
    /// The audio that was fed.
    pub audio: Duration,
    /// The time the session's calls took, without the waiting for a slot.
    pub work: Duration,
    /// The time its decodes waited for a slot.
    pub waited: Duration,
    /// How many final words there were by their delay, in classes of [`STEP`].
    delays: Vec<u32>,
}

impl Measures {
    /// Seconds of work for each second of audio; `None` before there is any.
    #[must_use]
    pub fn real_time_factor(&self) -> Option<f64> {
        let audio = self.audio.as_secs_f64();
        (audio > 0.0).then(|| self.work.as_secs_f64() / audio)
    }

    /// Words that became final.
    #[must_use]
    pub fn final_words(&self) -> u64 {
        self.delays.iter().map(|count| u64::from(*count)).sum()
    }

    /// The delay from the end of a word (the moment its last sample was fed) to its final that a
    /// `share` of the words (0 to 1) did not exceed, in steps of 20 ms. `None` before there is one.
    #[must_use]
    pub fn final_delay(&self, share: f64) -> Option<Duration> {
        let total = self.final_words();
        let wanted = (total as f64 * share.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0;
        let class = self.delays.iter().position(|count| {
            seen += u64::from(*count);
            seen >= wanted
        })?;
        Some(STEP * (class as u32 + 1))
    }

    /// The final words by their delay: the longest delay of a class, and how many words were in it.
    pub fn delays(&self) -> impl Iterator<Item = (Duration, u32)> {
        let classes = self.delays.iter().enumerate().filter(|(_, count)| **count > 0);
        classes.map(|(class, count)| (STEP * (class as u32 + 1), *count))
    }

    /// Takes the measures of another session in.
    pub fn add(&mut self, other: &Self) {
        self.audio += other.audio;
        self.work += other.work;
        self.waited += other.waited;
        if self.delays.len() < other.delays.len() {
            self.delays.resize(other.delays.len(), 0);
        }
        for (sum, count) in self.delays.iter_mut().zip(&other.delays) {
            *sum = sum.saturating_add(*count);
        }
    }

    fn count_delay(&mut self, delay: Duration) {
        let class = (delay.as_nanos() / STEP.as_nanos()) as usize;
        let class = class.min(CLASSES - 1);
        if self.delays.len() <= class {
            self.delays.resize(class + 1, 0);
        }
        self.delays[class] = self.delays[class].saturating_add(1);
    }
}

/// Takes the measures of a session: told when audio comes and what is heard.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    measures: Measures,
    samples: u64,
    /// Where the last of the arrivals begins, in seconds.
    since: f64,
    /// Up to which second audio had come at which moment, from the last final on.
    arrivals: VecDeque<(f64, Instant)>,
    /// What the call that goes on has waited, which is no work of its own.
    waited: Duration,
}

impl Meter {
    /// Audio is fed now.
    pub(crate) fn fed(&mut self, now: Instant, samples: usize) {
        self.samples += samples as u64;
        let until = self.samples as f64 / f64::from(SAMPLE_RATE);
        self.measures.audio = Duration::from_secs_f64(until);
        match self.arrivals.back_mut() {
            // Tiny messages are not counted one by one.
            Some(last) if self.since + FINEST > until => *last = (until, now),
            Some(_) | None => {
                self.since = until;
                self.arrivals.push_back((until, now));
            }
        }
        let old = self.arrivals.partition_point(|(end, _)| *end < until - LONGEST);
        self.arrivals.drain(..old);
    }

    /// The call that goes on has waited for a slot, or for somebody else's work.
    pub(crate) fn waited(&mut self, waited: Duration) {
        self.waited += waited;
    }

    /// A call that began at `begun` ends now and tells this.
    pub(crate) fn told(&mut self, begun: Instant, now: Instant, heard: &[Heard]) {
        let waited = std::mem::take(&mut self.waited);
        self.measures.waited += waited;
        self.measures.work += now.saturating_duration_since(begun).saturating_sub(waited);
        for heard in heard {
            let Heard::Final(stretch) = heard else { continue };
            for word in &stretch.words {
                let arrival = self.arrivals.iter().find(|(until, _)| *until >= word.end);
                let arrived = arrival.or_else(|| self.arrivals.back()).map_or(now, |(_, at)| *at);
                self.measures.count_delay(now.saturating_duration_since(arrived));
            }
            let past = self.arrivals.partition_point(|(until, _)| *until < stretch.end);
            self.arrivals.drain(..past);
        }
    }

    pub(crate) fn measures(&self) -> &Measures {
        &self.measures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heard::{Stretch, Word};

    #[test]
    fn delays_run_from_the_moment_the_end_of_the_word_was_fed() {
        let mut meter = Meter::default();
        let second = SAMPLE_RATE as usize;
        let begun = Instant::now();
        let after = |millis: u64| begun + Duration::from_millis(millis);
        meter.fed(begun, second);
        meter.fed(after(50), second);
        let word = |end: f64| Word { text: "a".into(), start: 0.0, end, confidence: 1.0 };
        let stretch = Stretch { start: 0.0, end: 2.0, words: vec![word(0.9), word(1.9)] };
        meter.waited(Duration::from_millis(10));
        meter.waited(Duration::from_millis(5));
        meter.told(after(60), after(110), &[Heard::Final(stretch)]);
        let measures = meter.measures();
        assert_eq!(measures.final_words(), 2);
        assert_eq!(measures.audio, Duration::from_secs(2));
        assert_eq!(measures.waited, Duration::from_millis(15));
        assert_eq!(measures.work, Duration::from_millis(35));
        assert_eq!(measures.final_delay(0.5), Some(Duration::from_millis(80)));
        assert_eq!(measures.final_delay(1.0), Some(Duration::from_millis(120)));
    }

    #[test]
    fn quantiles_and_sums() {
        let mut one = Measures::default();
        assert_eq!(one.final_delay(0.5), None);
        assert_eq!(one.real_time_factor(), None);
        for delay in [10, 10, 10, 500] {
            one.count_delay(Duration::from_millis(delay));
        }
        let mut other = Measures { audio: Duration::from_secs(4), ..Measures::default() };
        other.work = Duration::from_secs(1);
        other.count_delay(Duration::from_secs(3600));
        one.add(&other);
        assert_eq!(one.final_words(), 5);
        assert_eq!(one.final_delay(0.5), Some(STEP));
        assert_eq!(one.final_delay(0.8), Some(STEP * 26));
        assert_eq!(one.final_delay(1.0), Some(Duration::from_secs(30)));
        assert_eq!(one.real_time_factor(), Some(0.25));
    }
}
