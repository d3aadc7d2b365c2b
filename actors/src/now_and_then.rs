//! Log lines that anybody can bring about: one now and then, with the number that was left out.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lets one of many occasions through each interval, and counts the others.
///
/// It can be a `static`: one for each kind of line, or one for each kind and listener.
#[derive(Debug)]
pub struct NowAndThen {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

/// How many occasions were let pass since the last one that was told; prints as the end of a log
/// line, empty where there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut(pub u64);

impl NowAndThen {
    /// One occasion each `interval`.
    #[must_use]
    pub const fn each(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(State { last: None, left_out: 0 }) }
    }

    /// Counts an occasion. `Some` if it is to be told, with the number of those before it that
    /// were not.
    pub fn due(&self) -> Option<LeftOut> {
        self.due_at(Instant::now())
    }

    fn due_at(&self, now: Instant) -> Option<LeftOut> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(LeftOut(std::mem::take(&mut state.left_out)))
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            left_out => write!(f, " ({left_out} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_an_interval_is_told_and_the_others_are_counted() {
        let lines = NowAndThen::each(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(lines.due_at(start), Some(LeftOut(0)), "the first one is told at once");
        for millis in 1..=500 {
            assert_eq!(lines.due_at(start + Duration::from_millis(millis)), None);
        }
        let later = start + Duration::from_secs(10);
        assert_eq!(lines.due_at(later), Some(LeftOut(500)));
        assert_eq!(lines.due_at(later), None);
        assert_eq!(lines.due_at(later + Duration::from_secs(60)), Some(LeftOut(1)));
        assert_eq!(LeftOut(0).to_string(), "");
        assert_eq!(LeftOut(2).to_string(), " (2 more since the last such line)");
    }
}
