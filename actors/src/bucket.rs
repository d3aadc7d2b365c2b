//! Occasions that are let through: some at once, then one each so often.

use std::time::{Duration, Instant};

/// How many at once, and after how long one more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) most: u32,
    pub(crate) refill: Duration,
}

/// A token bucket: full at first.
#[derive(Debug)]
pub(crate) struct Bucket {
    left: u32,
    filled: Instant,
}

impl Bucket {
    pub(crate) fn new(limit: Limit, now: Instant) -> Self {
        Self { left: limit.most, filled: now }
    }

    /// Whether all that it can hold is there.
    pub(crate) fn is_full(&mut self, limit: Limit, now: Instant) -> bool {
        self.fill(limit, now);
        self.left >= limit.most
    }

    /// Whether there is something to take.
    pub(crate) fn has_some(&mut self, limit: Limit, now: Instant) -> bool {
        self.fill(limit, now);
        self.left > 0
    }

    /// Takes one, if there is one.
    pub(crate) fn take(&mut self, limit: Limit, now: Instant) -> bool {
        let has_some = self.has_some(limit, now);
        self.left -= u32::from(has_some);
        has_some
    }

    fn fill(&mut self, limit: Limit, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        let refills = passed.as_millis() / limit.refill.as_millis().max(1);
        let refills = u32::try_from(refills).unwrap_or(u32::MAX);
        if refills >= limit.most.saturating_sub(self.left) {
            (self.left, self.filled) = (limit.most, now);
        } else {
            self.left += refills;
            self.filled += limit.refill * refills;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_what_it_holds_and_then_what_is_filled_in() {
        let limit = Limit { most: 3, refill: Duration::from_secs(10) };
        let start = Instant::now();
        let mut bucket = Bucket::new(limit, start);
        let mut taken = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            (0..9).filter(|_| bucket.take(limit, now)).count()
        };
        assert_eq!(taken(0), 3);
        assert_eq!(taken(9), 0);
        assert_eq!(taken(15), 1);
        assert_eq!(taken(20), 1, "what had begun to fill goes on");
        assert_eq!(taken(1 << 40), 3, "nothing is saved up");
    }
}
