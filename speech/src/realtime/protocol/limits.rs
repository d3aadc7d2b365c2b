//! What time does to a session: warnings, and its end.

use std::time::Duration;

use super::Protocol;
use crate::realtime::messages::{ErrorType, Refusal, ServerMessage, Warning};

/// What is left of the idle limit when warnings come: 15, 10 and 5 minutes of an hour.
const IDLE_WARNINGS: [u32; 3] = [4, 6, 12];
/// The same of the session limit: 45, 30 and 15 minutes of 48 hours.
const SESSION_WARNINGS: [u32; 3] = [64, 96, 192];

impl Protocol {
    pub(super) fn check_start(&self, now: Duration) -> Result<(), Refusal> {
        let limit = self.limits.start;
        if now.saturating_sub(self.began) < limit {
            return Ok(());
        }
        let reason = format!("no StartRecognition came within {}", minutes(limit));
        Err(Refusal::new(ErrorType::IdleTimeout, reason))
    }

    pub(super) fn check_idle_limit(&mut self, now: Duration) -> Result<(), Refusal> {
        let limit = self.limits.idle;
        let left = limit.saturating_sub(now.saturating_sub(self.last_audio));
        let reason = format!(
            "Session will timeout in {} due to inactivity, no audio sent within the last {}",
            minutes(left),
            minutes(limit - left)
        );
        if left.is_zero() {
            let reason = format!("no audio was sent within the last {}", minutes(limit));
            return Err(Refusal::new(ErrorType::IdleTimeout, reason));
        }
        if due(left, limit, &IDLE_WARNINGS, &mut self.idle_warnings) {
            self.send(ServerMessage::Warning { warning: Warning::IdleTimeout, reason });
        }
        Ok(())
    }

    pub(super) fn check_session_limit(&mut self, now: Duration) -> Result<(), Refusal> {
        let limit = self.limits.session;
        let left = limit.saturating_sub(now.saturating_sub(self.began));
        if left.is_zero() {
            let reason = format!("the session has lasted {}, the longest here", minutes(limit));
            return Err(Refusal::new(ErrorType::SessionTimeout, reason));
        }
        if due(left, limit, &SESSION_WARNINGS, &mut self.session_warnings) {
            let reason = format!(
                "Session will timeout in {}: it has reached the longest time a session may last",
                minutes(left)
            );
            self.send(ServerMessage::Warning { warning: Warning::SessionTimeout, reason });
        }
        Ok(())
    }
}

/// Whether the next warning is due; several that were missed count as one.
fn due(left: Duration, limit: Duration, marks: &[u32], given: &mut usize) -> bool {
    let passed = marks.iter().filter(|share| left <= limit / **share).count();
    let due = passed > *given;
    *given = (*given).max(passed);
    due
}

/// `15m`, or `3s` where minutes say too little.
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    if seconds >= 60 { format!("{}m", (seconds + 30) / 60) } else { format!("{seconds}s") }
}
