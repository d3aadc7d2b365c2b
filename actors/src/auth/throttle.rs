//! How fast one address may get passwords wrong.
//!
//! Each address has a bucket of failures that leaks with time. The first few failures cost
//! nothing, the next ones are answered more and more slowly, and past the brim the answer is 429
//! until one has leaked out. Other addresses are not affected.
//!
//! Many people may share one address, so a refused address must not keep out who knows the right
//! word. Its words are still *looked at*, and the right one lets in; everything else is 429 whatever
//! it was. Looks are counted, for each one may be a guess: [`LOOKS`] at words that the address has
//! not presented in the last two minutes, [`LOOKS_AGAIN`] more at words that it has, and one of each
//! comes back in a second. Somebody who knows the password sends the same word again; somebody who
//! guesses sends others, and spends his looks. A word that is known to be wrong costs none.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use serde::Serialize;
use utoipa::ToSchema;

use super::words::{Presented, Tag};
use crate::{bounds::Client, settings::ThrottleLimits};

/// What each failure past the free ones adds to the time of its answer; 15 of them make 750 ms.
const SLOWER: Duration = Duration::from_millis(50);
/// The longest that a refusal is held back, however many failures are set to be allowed.
const SLOWEST: Duration = Duration::from_secs(2);
/// Addresses that are remembered at once; the emptiest bucket makes room.
const MAX_ADDRESSES: usize = 10_000;

/// Addresses that are told at once.
const LISTED: usize = 500;

/// Looks that a refused address has at words that it did not present a moment ago: three minutes of
/// twenty guesses a second.
const LOOKS: f64 = 3600.0;
/// Looks that it has at words that it presents again.
const LOOKS_AGAIN: f64 = 60.0;
/// Looks of either kind that come back in a second.
const LOOKS_BACK: f64 = 1.0;

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
    buckets: HashMap<Client, Bucket>,
    presented: Presented,
    limits: ThrottleLimits,
}

#[derive(Debug)]
struct Bucket {
    failures: f64,
    /// Checks under way, each of which may become a failure.
    pending: u32,
    /// Looks that are spent: at new words, at words that were presented again.
    looks: [f64; 2],
    at: Instant,
}

impl Bucket {
    fn new(at: Instant) -> Self {
        Self { failures: 0.0, pending: 0, looks: [0.0; 2], at }
    }

    fn leak(&mut self, per_second: f64, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.failures = (self.failures - passed * per_second).max(0.0);
        self.looks = self.looks.map(|spent| (spent - passed * LOOKS_BACK).max(0.0));
        self.at = now;
    }

    fn is_empty(&self) -> bool {
        self.failures <= 0.0 && self.pending == 0 && self.looks == [0.0; 2]
    }

    /// Takes a look, of those at words that come again if `again`.
    fn look(&mut self, again: bool) -> Option<Kind> {
        if again && self.looks[1] + 1.0 <= LOOKS_AGAIN {
            self.looks[1] += 1.0;
            return Some(Kind::LookAgain);
        }
        if self.looks[0] + 1.0 <= LOOKS {
            self.looks[0] += 1.0;
            return Some(Kind::Look);
        }
        None
    }
}

/// A word that is being judged; to be given back with [`Throttle::end`] or [`Throttle::abandon`].
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(super) client: Client,
    pub(super) standing: Standing,
    /// Whether the client has presented the same word a moment ago.
    pub(super) again: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Look,
    LookAgain,
}

/// How a client stands; the better ones are served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Nothing is held against it.
    Clean,
    /// It was wrong before.
    Failed,
    /// It is refused; its words are looked at all the same, while it has looks left.
    Refused,
}

/// What a client is told whose word was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// That it was wrong, after this time.
    Wrong { hold: Duration },
    /// Nothing but when to try again.
    Throttled { retry_after: Duration },
}

impl Throttle {
    /// From now on; failures that were counted stay counted.
    pub(crate) fn set_limits(&mut self, limits: ThrottleLimits) {
        self.limits = limits;
    }

    /// Begins to judge a word of `client`.
    ///
    /// # Errors
    /// Nothing is judged; the time after which the next attempt is worth while.
    pub(crate) fn begin(
        &mut self,
        client: Client,
        word: &Tag,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let refused = self.refuse(client, now).err();
        let again = self.presented.again(client, word, now);
        if self.buckets.len() >= MAX_ADDRESSES && !self.buckets.contains_key(&client) {
            self.make_room(now);
        }
        let bucket = self.buckets.entry(client).or_insert_with(|| Bucket::new(now));
        let (standing, kind) = match refused {
            Some(retry_after) => (Standing::Refused, bucket.look(again).ok_or(retry_after)?),
            None if bucket.failures > 0.0 => (Standing::Failed, Kind::Ordinary),
            None => (Standing::Clean, Kind::Ordinary),
        };
        if kind == Kind::Ordinary {
            bucket.pending += 1;
        }
        Ok(Attempt { client, standing, again, kind })
    }

    /// Whether an attempt of `client` would be refused now.
    pub(crate) fn refuse(&mut self, client: Client, now: Instant) -> Result<(), Duration> {
        let leak = self.limits.leak();
        let Some(bucket) = self.buckets.get_mut(&client) else {
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

    /// Ends an attempt whose word was wrong.
    pub(crate) fn end(&mut self, attempt: &Attempt, now: Instant) -> Told {
        if attempt.kind != Kind::Ordinary {
            let retry_after = self.refuse(attempt.client, now).err();
            return Told::Throttled { retry_after: retry_after.unwrap_or(Duration::from_secs(1)) };
        }
        let Some(bucket) = self.buckets.get_mut(&attempt.client) else {
            return Told::Wrong { hold: Duration::ZERO };
        };
        bucket.leak(self.limits.leak(), now);
        bucket.pending = bucket.pending.saturating_sub(1);
        bucket.failures += 1.0;
        let past_free = (bucket.failures - f64::from(self.limits.free)).max(0.0);
        Told::Wrong { hold: SLOWER.mul_f64(past_free).min(SLOWEST) }
    }

    /// Ends an attempt whose word was right or was not judged: it costs nothing. Nothing is forgiven
    /// either, or who guesses beside others at one address would profit from their log-ins.
    pub(crate) fn abandon(&mut self, attempt: &Attempt) {
        let Some(bucket) = self.buckets.get_mut(&attempt.client) else { return };
        match attempt.kind {
            Kind::Ordinary => bucket.pending = bucket.pending.saturating_sub(1),
            Kind::Look => bucket.looks[0] = (bucket.looks[0] - 1.0).max(0.0),
            Kind::LookAgain => bucket.looks[1] = (bucket.looks[1] - 1.0).max(0.0),
        }
        if bucket.is_empty() {
            self.buckets.remove(&attempt.client);
        }
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
                address: key.to_string(),
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
        let keys: Vec<Client> = self.buckets.keys().copied().collect();
        keys.into_iter().filter(|key| self.refuse(*key, now).is_err()).count()
    }

    /// Drops the buckets that have leaked dry.
    pub(crate) fn forget_empty(&mut self, now: Instant) {
        let leak = self.limits.leak();
        self.buckets.retain(|_, bucket| {
            bucket.leak(leak, now);
            !bucket.is_empty()
        });
    }

    fn make_room(&mut self, now: Instant) {
        self.forget_empty(now);
        if self.buckets.len() >= MAX_ADDRESSES {
            let held = |bucket: &Bucket| bucket.failures + bucket.looks[0] / LOOKS;
            let emptiest = self
                .buckets
                .iter()
                .filter(|(_, bucket)| bucket.pending == 0)
                .min_by(|a, b| held(a.1).total_cmp(&held(b.1)))
                .map(|(address, _)| *address);
            if let Some(address) = emptiest {
                self.buckets.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn client(address: &str) -> Client {
        address.parse::<IpAddr>().unwrap().into()
    }

    fn word(number: u32) -> Tag {
        let mut tag = [0; 32];
        tag[..4].copy_from_slice(&number.to_be_bytes());
        tag
    }

    fn fail(throttle: &mut Throttle, client: Client, now: Instant) -> Told {
        fail_with(throttle, client, 0, now)
    }

    fn fail_with(throttle: &mut Throttle, client: Client, number: u32, now: Instant) -> Told {
        match throttle.begin(client, &word(number), now) {
            Ok(attempt) => throttle.end(&attempt, now),
            Err(retry_after) => Told::Throttled { retry_after },
        }
    }

    fn is_let_in(throttle: &mut Throttle, client: Client, number: u32, now: Instant) -> bool {
        let begun = throttle.begin(client, &word(number), now);
        begun.is_ok_and(|attempt| {
            throttle.abandon(&attempt);
            true
        })
    }

    const RIGHT: u32 = u32::MAX;

    #[test]
    fn failures_are_free_then_slow_then_refused() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address = client("192.0.2.1");
        let answers: Vec<_> = (0..25).map(|_| fail(&mut throttle, address, now)).collect();
        let hold = |told: &Told| match told {
            Told::Wrong { hold } => Some(*hold),
            Told::Throttled { .. } => None,
        };
        let holds: Vec<_> = answers.iter().map(hold).collect();
        assert!(holds[..5].iter().all(|hold| *hold == Some(Duration::ZERO)));
        assert!(holds[4..20].windows(2).all(|pair| pair[0].unwrap() < pair[1].unwrap()));
        assert!(holds[20..].iter().all(Option::is_none));
        assert!(matches!(fail(&mut throttle, client("192.0.2.2"), now), Told::Wrong { .. }));
    }

    #[test]
    fn a_refused_address_gets_another_try_after_the_time_it_was_told() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let (address, neighbour) = (client("2001:db8::1"), client("2001:db8::2"));
        while matches!(fail(&mut throttle, address, now), Told::Wrong { .. }) {}
        let wait = throttle.refuse(neighbour, now).unwrap_err();
        assert!(matches!(fail(&mut throttle, neighbour, now + wait), Told::Wrong { .. }));
    }

    #[test]
    fn a_right_word_costs_nothing_and_forgives_nothing() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert!(is_let_in(&mut throttle, client("192.0.2.1"), RIGHT, now));
        assert!(throttle.buckets.is_empty());
        for number in 0..19 {
            fail_with(&mut throttle, client("192.0.2.1"), number, now);
            assert!(is_let_in(&mut throttle, client("192.0.2.1"), RIGHT, now));
        }
        assert_eq!(throttle.throttled(now).0[0].failures, 19);
    }

    /// Twenty ever new guesses a second beside somebody who logs in once a second, for an hour.
    #[test]
    fn who_knows_the_word_gets_in_at_a_shared_address_whoever_guesses_there() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let address = client("192.0.2.1");
        let (mut judged, mut in_a_row, mut longest) = (0, 0, 0);
        for tick in 0..3600 * 20 {
            let now = start + Duration::from_millis(50) * tick;
            judged += u32::from(throttle.begin(address, &word(tick), now).is_ok_and(|attempt| {
                throttle.end(&attempt, now);
                true
            }));
            if tick % 20 == 7 {
                let in_time = is_let_in(&mut throttle, address, RIGHT, now);
                in_a_row = if in_time { 0 } else { in_a_row + 1 };
                longest = longest.max(in_a_row);
            }
        }
        assert_eq!(longest, 0, "log-ins in a row that were refused");
        // 20 failures, 3,600 looks, one more each second, and half a failure.
        assert!((3600..9100).contains(&judged), "{judged} guesses were judged");
    }

    /// The same by somebody who has read this file: each guess twice.
    #[test]
    fn guesses_that_come_twice_have_fewer_looks() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let address = client("192.0.2.1");
        let mut judged = 0;
        for tick in 0..3600 * 20 {
            let now = start + Duration::from_millis(50) * tick;
            let begun = throttle.begin(address, &word(tick / 2), now);
            judged += u32::from(begun.is_ok_and(|attempt| {
                throttle.end(&attempt, now);
                true
            }));
        }
        assert!(judged < 13_000, "{judged} in the first hour");
    }

    #[test]
    fn looks_outlive_the_failures_that_they_came_from() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address = client("192.0.2.1");
        for number in 0..1000 {
            fail_with(&mut throttle, address, number, now);
        }
        let later = now + Duration::from_secs(60);
        throttle.forget_empty(later);
        assert!(throttle.refuse(address, later).is_ok(), "its failures have leaked");
        assert!((900.0..930.0).contains(&throttle.buckets[&address].looks[0]));
        throttle.forget_empty(now + Duration::from_secs(3600));
        assert!(throttle.buckets.is_empty());
    }

    #[test]
    fn addresses_that_are_slowed_or_refused_are_told_the_worst_first() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for (address, failures) in [("192.0.2.1", 4), ("192.0.2.2", 5), ("2001:db8::1", 20)] {
            for _ in 0..failures {
                fail(&mut throttle, client(address), now);
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
        let address = client("192.0.2.1");
        let under_way: Vec<_> =
            (0..20).map(|number| throttle.begin(address, &word(number), now).unwrap()).collect();
        assert!(throttle.refuse(address, now).is_err());
        under_way.iter().for_each(|attempt| throttle.abandon(attempt));
        assert!(throttle.buckets.is_empty(), "who has gone has not failed");
    }
}
