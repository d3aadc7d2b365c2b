//! When a live session decodes its open window again.

use std::time::{Duration, Instant};

use crate::recogniser::{LiveOptions, SAMPLE_RATE};

/// Partials are made anew after this much more audio.
const PARTIAL_STEP: f64 = 1.0;
/// The least and the most audio between two looks, where the machine is idle.
const LEAST_STEP: f64 = 0.3;
const LONGEST_STEP: f64 = 4.0;
/// Between two looks a session lets at least this part of the time pass that the audio lasts.
/// Audio that comes faster waited somewhere, or is a file: the session is behind, and does without
/// looks until it has caught up.
const LEAST_IDLE: f64 = 0.25;
/// A second of waiting for a slot makes the step this many seconds longer: before decodes queue up,
/// sessions look less often.
const WIDENING: f64 = 8.0;
/// Who waits longer for a slot, in seconds, does not ask for more than is needed.
const CROWDED: f64 = 0.1;
/// What else delays a final: the length of the client's messages.
const SLACK: f64 = 0.1;

/// The rhythm of one session.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the last decode ended, or the session began.
    since: Instant,
    /// Seconds of audio that came since the last decode began.
    audio: f64,
    /// What decodes take and wait at present, in seconds.
    took: f64,
    waited: f64,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, audio: 0.0, took: 0.0, waited: 0.0 }
    }

    /// Audio came.
    pub(crate) fn fed(&mut self, samples: usize) {
        self.audio += samples as f64 / f64::from(SAMPLE_RATE);
    }

    /// A decode has ended.
    pub(crate) fn decoded(&mut self, now: Instant, took: Duration, waited: Duration) {
        self.since = now;
        self.audio = 0.0;
        // The mean of the last few: a single slow decode does not change the rhythm.
        let mean = |old: f64, new: Duration| f64::midpoint(old, new.as_secs_f64());
        self.took = if self.took == 0.0 { took.as_secs_f64() } else { mean(self.took, took) };
        self.waited = mean(self.waited, waited);
    }

    /// Whether the open window should be decoded again.
    pub(crate) fn is_due(&self, now: Instant, live: &LiveOptions) -> bool {
        self.audio >= self.step(live) && self.keeps_up(now)
    }

    /// Whether a pause that has just begun is reason enough to decode it.
    pub(crate) fn may_hurry(&self, now: Instant) -> bool {
        self.waited < CROWDED && self.audio >= LEAST_STEP && self.keeps_up(now)
    }

    /// Whether the session is not behind; see [`LEAST_IDLE`].
    fn keeps_up(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.since).as_secs_f64();
        idle >= self.audio * LEAST_IDLE
    }

    /// The silence after which the open window should be decoded again if no more audio comes, in
    /// seconds.
    pub(crate) fn due_after(&self, live: &LiveOptions) -> f64 {
        (self.step(live) - self.audio).max(self.audio * LEAST_IDLE)
    }

    /// How long a decode takes until its words are told, in seconds.
    pub(crate) fn lead(&self) -> f64 {
        self.took + self.waited + SLACK
    }

    /// Until the look after the present one has its words, in seconds of audio.
    pub(crate) fn next(&self, live: &LiveOptions) -> f64 {
        self.step(live) + self.lead()
    }

    /// Two looks within `max_delay`, so that two decodes can agree before the deadline.
    fn step(&self, live: &LiveOptions) -> f64 {
        let longest = if live.partials { PARTIAL_STEP } else { LONGEST_STEP };
        let wanted = (live.max_delay.as_secs_f64() - self.took) / 2.0;
        let possible = (self.took + self.waited) / (1.0 - LEAST_IDLE);
        let polite = self.took + self.waited * WIDENING;
        wanted.clamp(LEAST_STEP, longest).max(possible).max(polite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(partials: bool, max_delay: f64) -> LiveOptions {
        let max_delay = Duration::from_secs_f64(max_delay);
        LiveOptions { partials, max_delay, ..LiveOptions::default() }
    }

    fn step(took: f64, waited: f64, live: &LiveOptions) -> f64 {
        Pace { since: Instant::now(), audio: 0.0, took, waited }.step(live)
    }

    #[test]
    fn the_step_follows_the_delay_and_grows_with_the_load() {
        assert!((step(0.2, 0.0, &live(true, 4.0)) - 1.0).abs() < 1e-9);
        assert!((step(0.2, 0.0, &live(false, 4.0)) - 1.9).abs() < 1e-9);
        assert!((step(0.2, 0.0, &live(true, 0.7)) - 0.3).abs() < 1e-9);
        assert!((step(0.2, 0.0, &live(false, 20.0)) - 4.0).abs() < 1e-9);
        let light = step(0.3, 0.1, &live(true, 2.0));
        let heavy = step(0.3, 1.0, &live(true, 2.0));
        assert!(light < 1.2 && heavy > 8.0);
    }

    #[test]
    fn a_session_that_is_behind_does_not_look() {
        let begun = Instant::now();
        let mut pace = Pace::new(begun);
        let options = live(true, 2.0);
        let after = |seconds: f64| begun + Duration::from_secs_f64(seconds);
        pace.fed(SAMPLE_RATE as usize * 10);
        assert!(!pace.is_due(after(0.1), &options));
        assert!(pace.is_due(after(9.0), &options));
        pace.decoded(after(9.3), Duration::from_millis(300), Duration::ZERO);
        pace.fed(SAMPLE_RATE as usize / 2);
        assert!(!pace.is_due(after(9.7), &options));
        pace.fed(SAMPLE_RATE as usize / 2);
        assert!(pace.is_due(after(10.2), &options));
    }
}
