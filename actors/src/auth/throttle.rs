//! How fast one address may get passwords wrong.
//!
//! Each address has a bucket of failures that leaks with time. The first few failures cost
//! nothing, the next ones are answered more and more slowly, and past the brim the answer is 429
//! until one has leaked out. Other addresses are not affected.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use crate::settings::ThrottleLimits;

/// What each failure past the free ones adds to the time of its answer; 15 of them make 750 ms.
const SLOWER: Duration = Duration::from_millis(50);
/// The longest that a refusal is held back, however many failures are set to be allowed.
const SLOWEST: Duration = Duration::from_secs(2);
/// Addresses that are remembered at once; the emptiest bucket makes room.
const MAX_ADDRESSES: usize = 10_000;

/// Addresses that are told at once.
const LISTED: usize = 500;

/// An address whose next wrong password is not answered at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ThrottledAddress {
    /// An IPv4 address, or the /64 of an IPv6 one, which counts as one address.
    pub address: String,
    pub state: ThrottleState,
    /// Wrong passwords that are held against it now, rounded up; time forgives them.
    pub failures: u32,
    /// Seconds until its next attempt is looked at; 0 unless refused.
    pub retry_after_seconds: u64,
    /// Seconds until nothing is held against it any more.
    pub forgiven_in_seconds: u64,
}

/// What becomes of an attempt from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ThrottleState {
    /// A wrong password is answered late.
    Slowed,
    /// Nothing is checked, the answer is 429.
    Refused,
}

#[derive(Debug, Default)]
pub(crate) struct Throttle {
    buckets: HashMap<IpAddr, Bucket>,
    limits: ThrottleLimits,
}

#[derive(Debug)]
struct Bucket {
    failures: f64,
    /// Checks under way, each of which may become a failure.
    pending: u32,
    at: Instant,
}

impl Bucket {
    fn leak(&mut self, per_second: f64, now: Instant) {
        let leaked = now.saturating_duration_since(self.at).as_secs_f64() * per_second;
        self.failures = (self.failures - leaked).max(0.0);
        self.at = now;
    }
}

impl Throttle {
    /// From now on; failures that were counted stay counted.
    pub(crate) fn set_limits(&mut self, limits: ThrottleLimits) {
        self.limits = limits;
    }

    /// Begins a check for `address`, to be ended by [`Self::end`].
    ///
    /// # Errors
    /// The time after which the next attempt is worth while.
    pub(crate) fn begin(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let key = bucket_key(address);
        self.refuse(key, now)?;
        if self.buckets.len() >= MAX_ADDRESSES && !self.buckets.contains_key(&key) {
            self.make_room(now);
        }
        let bucket =
            self.buckets.entry(key).or_insert(Bucket { failures: 0.0, pending: 0, at: now });
        bucket.pending += 1;
        Ok(())
    }

    /// Whether an attempt from `address` would be refused now.
    pub(crate) fn refuse(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let leak = self.limits.leak();
        let Some(bucket) = self.buckets.get_mut(&bucket_key(address)) else {
            return Ok(());
        };
        bucket.leak(leak, now);
        let brim = f64::from(self.limits.brim);
        let over = bucket.failures + f64::from(bucket.pending) + 1.0 - brim;
        if over <= 0.0 {
            return Ok(());
        }
        Err(Duration::from_secs_f64((over / leak).ceil().max(1.0)))
    }

    /// Ends a check and tells how long to hold back a refusal.
    pub(crate) fn end(&mut self, address: IpAddr, right: bool, now: Instant) -> Duration {
        let key = bucket_key(address);
        let Some(bucket) = self.buckets.get_mut(&key) else {
            return Duration::ZERO;
        };
        bucket.leak(self.limits.leak(), now);
        bucket.pending = bucket.pending.saturating_sub(1);
        if right {
            bucket.failures = 0.0;
            if bucket.pending == 0 {
                self.buckets.remove(&key);
            }
            return Duration::ZERO;
        }
        bucket.failures += 1.0;
        let past_free = (bucket.failures - f64::from(self.limits.free)).max(0.0);
        SLOWER.mul_f64(past_free).min(SLOWEST)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Addresses that are slowed or refused now, the worst first, and how many there are in all.
    pub(crate) fn throttled(&mut self, now: Instant) -> (Vec<ThrottledAddress>, usize) {
        self.forget_empty(now);
        let free = f64::from(self.limits.free);
        let slowed = self.buckets.iter().filter(|(_, bucket)| bucket.failures + 1.0 > free);
        let mut keys: Vec<_> = slowed.map(|(key, bucket)| (*key, bucket.failures)).collect();
        keys.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let count = keys.len();
        keys.truncate(LISTED);
        let leak = self.limits.leak();
        let told = keys.into_iter().map(|(key, failures)| {
            let wait = self.refuse(key, now).err();
            ThrottledAddress {
                address: bucket_name(key),
                state: if wait.is_some() { ThrottleState::Refused } else { ThrottleState::Slowed },
                // At most the brim and a few checks that were under way.
                failures: failures.ceil() as u32,
                retry_after_seconds: wait.map_or(0, |wait| wait.as_secs()),
                forgiven_in_seconds: (failures / leak).ceil() as u64,
            }
        });
        (told.collect(), count)
    }

    /// How many addresses are refused now.
    pub(crate) fn refused(&mut self, now: Instant) -> usize {
        self.forget_empty(now);
        let keys: Vec<IpAddr> = self.buckets.keys().copied().collect();
        keys.into_iter().filter(|key| self.refuse(*key, now).is_err()).count()
    }

    /// Drops the buckets that have leaked dry.
    pub(crate) fn forget_empty(&mut self, now: Instant) {
        let leak = self.limits.leak();
        self.buckets.retain(|_, bucket| {
            bucket.leak(leak, now);
            bucket.failures > 0.0 || bucket.pending > 0
        });
    }

    fn make_room(&mut self, now: Instant) {
        self.forget_empty(now);
        if self.buckets.len() >= MAX_ADDRESSES {
            let emptiest = self
                .buckets
                .iter()
                .filter(|(_, bucket)| bucket.pending == 0)
                .min_by(|a, b| a.1.failures.total_cmp(&b.1.failures))
                .map(|(address, _)| *address);
            if let Some(address) = emptiest {
                self.buckets.remove(&address);
            }
        }
    }
}

/// One IPv6 site commonly holds a /64, so that is what counts as one address there.
fn bucket_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => {
            let s = v6.segments();
            IpAddr::V6([s[0], s[1], s[2], s[3], 0, 0, 0, 0].into())
        }
    }
}

fn bucket_name(key: IpAddr) -> String {
    match key {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(network) => format!("{network}/64"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(throttle: &mut Throttle, address: IpAddr, now: Instant) -> Result<Duration, Duration> {
        throttle.begin(address, now)?;
        Ok(throttle.end(address, false, now))
    }

    #[test]
    fn failures_are_free_then_slow_then_refused() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let answers: Vec<_> = (0..25).map(|_| fail(&mut throttle, address, now)).collect();
        assert!(answers[..5].iter().all(|answer| *answer == Ok(Duration::ZERO)));
        assert!(answers[5..20].windows(2).all(|pair| pair[0].unwrap() < pair[1].unwrap()));
        assert!(answers[20..].iter().all(Result::is_err));
        assert!(fail(&mut throttle, "192.0.2.2".parse().unwrap(), now).is_ok());
    }

    #[test]
    fn a_refused_address_gets_another_try_after_the_time_it_was_told() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        while fail(&mut throttle, address, now).is_ok() {}
        let wait = throttle.refuse(neighbour, now).unwrap_err();
        assert!(throttle.begin(neighbour, now + wait).is_ok());
        throttle.end(neighbour, true, now + wait);
        assert!(throttle.is_empty());
    }

    #[test]
    fn addresses_that_are_slowed_or_refused_are_told_the_worst_first() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for (address, failures) in [("192.0.2.1", 4), ("192.0.2.2", 5), ("2001:db8::1", 20)] {
            let address: IpAddr = address.parse().unwrap();
            for _ in 0..failures {
                fail(&mut throttle, address, now).unwrap();
            }
        }
        let (told, count) = throttle.throttled(now);
        assert_eq!(count, 2, "the first is free: {told:?}");
        let refused = ThrottledAddress {
            address: "2001:db8::/64".into(),
            state: ThrottleState::Refused,
            failures: 20,
            retry_after_seconds: 2,
            forgiven_in_seconds: 40,
        };
        let slowed = ThrottledAddress {
            address: "192.0.2.2".into(),
            state: ThrottleState::Slowed,
            failures: 5,
            retry_after_seconds: 0,
            forgiven_in_seconds: 10,
        };
        assert_eq!(told, [refused, slowed]);
        assert_eq!(throttle.refused(now), 1);
        assert_eq!(throttle.throttled(now + Duration::from_secs(40)), (vec![], 0));
    }

    #[test]
    fn checks_under_way_count() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        for _ in 0..20 {
            throttle.begin(address, now).unwrap();
        }
        assert!(throttle.begin(address, now).is_err());
    }
}
