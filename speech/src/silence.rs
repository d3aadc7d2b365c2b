//! What a live session owes a client that stops sending: words and the end of the utterance come by
//! the clock then, as if silence had come in place of the audio.

use std::time::{Duration, Instant};

use crate::recogniser::{LiveOptions, SAMPLE_RATE};

/// Speech that ends this many seconds before the end of the audio, or later, may go on.
pub(crate) const EDGE: f64 = 0.2;
/// A shorter gap between messages, in seconds, is no silence.
const SHORTEST: f64 = 0.3;
/// In a shorter gap nothing is looked at that is not due.
const SHORTEST_LOOK: f64 = 0.5;
/// A longer gap is a client that was silent, whatever comes after it.
const LONGEST_STALL: f64 = 5.0;
/// A gap was a stall on the way if this part of it comes within [`CAUGHT_UP`] seconds after it.
const STALLED: f64 = 0.4;
const CAUGHT_UP: f64 = 0.3;
/// How much longer than a stall before it a silence has to be, in seconds.
const LONGER: f64 = 0.25;
/// Stalls count for one to two times so much audio, in seconds.
const REMEMBERED: f64 = 20.0;
/// A speaker who is cut off in a word has ended the utterance this many seconds later than others.
const CUT_OFF: f64 = 0.5;

/// What is to be done though no audio comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Due {
    /// There is speech that no decode has seen: a look, so many seconds after the audio.
    Look { after: f64 },
    /// Words that were heard before this second of the stream are final.
    Words { until: f64 },
    /// All words are final: the last one has waited as long as it may.
    All,
    /// All words are final, and the silence ends the utterance.
    Utterance,
}

/// Where a session stands. Times are in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    /// The audio that came.
    pub(crate) position: f64,
    /// The end of the audio that is silent.
    pub(crate) quiet: f64,
    /// Whether there is speech that no decode has seen.
    pub(crate) unseen: bool,
    /// Whether the last decode gave nothing to go by.
    pub(crate) astray: bool,
    /// Where the first word ends that was heard and is not final.
    pub(crate) oldest: Option<f64>,
    /// Whether words were told since the last end of an utterance.
    pub(crate) spoken: bool,
    /// The silence after which a look would be due.
    pub(crate) look: f64,
    /// How long before its deadline a decode has to begin.
    pub(crate) lead: f64,
}

impl Standing {
    /// Whether there are words, or may be, that are not final.
    pub(crate) fn owes_words(&self) -> bool {
        self.unseen || self.astray || self.oldest.is_some()
    }
}

/// When audio came, and how steadily.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    since: Option<Instant>,
    /// The last gap, the moment after it, and the seconds of audio that came since.
    gap: Option<(f64, Instant, f64)>,
    /// The longest stall of the present stretch of audio and of the one before.
    stalls: [f64; 2],
    /// The length of the present stretch.
    stretch: f64,
}

impl Silence {
    /// Audio comes.
    pub(crate) fn fed(&mut self, now: Instant, samples: usize) {
        let audio = samples as f64 / f64::from(SAMPLE_RATE);
        let length = self.since.map_or(0.0, |since| seconds(since, now));
        self.since = Some(now);
        if length > SHORTEST {
            self.gap = (length <= LONGEST_STALL).then_some((length, now, 0.0));
        }
        if self.gap.is_some_and(|(_, ended, _)| seconds(ended, now) >= CAUGHT_UP) {
            self.gap = None;
        }
        if let Some((length, _, caught_up)) = &mut self.gap {
            *caught_up += audio;
            if *caught_up >= *length * STALLED {
                self.stalls[0] = self.stalls[0].max(*length);
            }
        }
        self.stretch += audio;
        if self.stretch > REMEMBERED {
            (self.stalls, self.stretch) = ([0.0, self.stalls[0]], 0.0);
        }
    }

    /// What is due first if no audio comes, and when. `None`: nothing waits.
    pub(crate) fn due(&self, live: &LiveOptions, now: &Standing) -> Option<(Instant, Due)> {
        let since = self.since?;
        let max_delay = live.max_delay.as_secs_f64();
        let cut_off = now.quiet < EDGE;
        let words = now.owes_words();
        let utterance = live.end_of_utterance.filter(|_| words || now.spoken).map(|silence| {
            let wanted = silence.as_secs_f64() + if cut_off { CUT_OFF } else { 0.0 };
            ((wanted - now.quiet).max(self.patience()), Due::Utterance)
        });
        let all = words.then(|| {
            let quiet = if cut_off { 0.0 } else { now.quiet };
            ((max_delay - now.lead - quiet).max(self.patience()), Due::All)
        });
        let heard = now.oldest.filter(|end| now.position - end >= EDGE).map(|end| {
            let after = (end + max_delay - now.lead - now.position).max(self.patience());
            // Not past what may go on, and in any case the word itself.
            let until = (now.position + after + now.lead - max_delay).min(now.position - EDGE);
            (after, Due::Words { until: until.max(end) })
        });
        let look = now.unseen.then(|| {
            let after = now.look.max(SHORTEST_LOOK).max(self.patience());
            (after, Due::Look { after })
        });
        let first = [utterance, all, heard, look].into_iter().flatten();
        let (after, due) = first.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        Some((since + Duration::from_secs_f64(after.max(0.0)), due))
    }

    /// The silence, in seconds, that is no stall.
    fn patience(&self) -> f64 {
        let stall = self.stalls[0].max(self.stalls[1]);
        if stall > 0.0 { stall + LONGER } else { SHORTEST }
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = SAMPLE_RATE as usize;

    fn live(max_delay: f64, end_of_utterance: Option<f64>) -> LiveOptions {
        LiveOptions {
            max_delay: Duration::from_secs_f64(max_delay),
            end_of_utterance: end_of_utterance.map(Duration::from_secs_f64),
            ..LiveOptions::default()
        }
    }

    fn standing(quiet: f64, unseen: bool, oldest: Option<f64>) -> Standing {
        let (position, spoken, look, lead) = (10.0, true, 1.0, 0.4);
        Standing { position, quiet, unseen, astray: false, oldest, spoken, look, lead }
    }

    /// What is due, and after how many seconds of silence.
    fn due(silence: &Silence, live: &LiveOptions, standing: &Standing) -> Option<(f64, Due)> {
        let (at, due) = silence.due(live, standing)?;
        Some(((seconds(silence.since?, at) * 100.0).round() / 100.0, due))
    }

    fn steady() -> Silence {
        let (mut silence, begun) = (Silence::default(), Instant::now());
        for tenth in 0..100 {
            silence.fed(begun + Duration::from_millis(100) * tenth, SECOND / 10);
        }
        silence
    }

    #[test]
    fn every_word_is_due_by_the_clock_within_its_delay() {
        let silence = steady();
        for max_delay in [0.7, 1.0, 2.0, 4.0, 10.0, 20.0] {
            let live = live(max_delay, None);
            let all = due(&silence, &live, &standing(0.0, false, Some(9.95)));
            assert_eq!(all, Some(((max_delay - 0.4_f64).max(0.3), Due::All)), "{max_delay}");
            // A pause before the silence has passed already.
            let (after, all) = due(&silence, &live, &standing(0.3, false, Some(9.95))).unwrap();
            assert!(
                all == Due::All && after <= (max_delay - 0.69).max(0.3),
                "{max_delay}: {after}"
            );
            assert_eq!(due(&silence, &live, &standing(0.0, false, None)), None);
        }
        let live = live(4.0, None);
        let look = due(&silence, &live, &standing(0.0, true, None));
        assert_eq!(look, Some((1.0, Due::Look { after: 1.0 })));
        let Some((after, Due::Words { until })) =
            due(&silence, &live, &standing(0.0, false, Some(8.0)))
        else {
            panic!("the word that was heard first waits longest")
        };
        assert!((after - 1.6).abs() < 0.01 && (until - 8.0).abs() < 1e-9, "{after} {until}");
    }

    #[test]
    fn the_silence_that_ends_an_utterance_may_be_that_of_the_client() {
        let silence = steady();
        let after = |trigger, quiet, unseen| {
            due(&silence, &live(4.0, Some(trigger)), &standing(quiet, unseen, None))
        };
        assert_eq!(after(1.0, 0.4, true), Some((0.6, Due::Utterance)));
        assert_eq!(after(0.5, 0.4, true), Some((0.3, Due::Utterance)));
        assert_eq!(after(0.7, 0.3, false), Some((0.4, Due::Utterance)));
        // In the middle of a word it takes a little longer.
        assert_eq!(after(0.5, 0.0, false), Some((1.0, Due::Utterance)));
        let mut nothing = standing(0.4, false, None);
        nothing.spoken = false;
        assert_eq!(due(&silence, &live(4.0, Some(0.5)), &nothing), None);
    }

    /// A client whose audio comes in lumps is not silent between them; one that was silent is.
    #[test]
    fn stalls_are_told_from_silence_by_what_comes_after_them() {
        let live = live(1.0, Some(0.5));
        let after = |silence: &Silence| due(silence, &live, &standing(0.0, true, None)).unwrap().0;
        for (messages, rate) in [(1, 1.0), (30, 1.0), (1, 0.5), (15, 0.5)] {
            let (mut silence, begun) = (Silence::default(), Instant::now());
            for lump in 0..30 {
                for message in 0..messages {
                    let now = Duration::from_secs(3 * lump) + Duration::from_millis(message);
                    let samples = SECOND as f64 * 3.0 * rate / messages as f64;
                    silence.fed(begun + now, samples as usize);
                }
                // The first lump is like the end of all.
                assert!(lump == 0 || after(&silence) > 3.1, "{messages} {rate} {lump}");
            }
        }
        for pause in [1_000, 3_000, 30_000] {
            let mut silence = steady();
            let again = silence.since.unwrap() + Duration::from_millis(pause);
            for tenth in 0..50 {
                silence.fed(again + Duration::from_millis(100) * tenth, SECOND / 10);
                assert!(after(&silence) < 1.1, "{pause} {tenth}");
            }
        }
        // What is over is forgotten.
        let mut silence = steady();
        silence.fed(silence.since.unwrap() + Duration::from_secs(3), 3 * SECOND);
        assert!(after(&silence) > 3.1);
        for _ in 0..410 {
            silence.fed(silence.since.unwrap() + Duration::from_millis(100), SECOND / 10);
        }
        assert!(after(&silence) < 1.1);
    }
}
