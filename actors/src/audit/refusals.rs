//! How many refusals of strangers are recorded: some of each client, some of all, and the number of
//! the others.

use std::{
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use time::OffsetDateTime;

use crate::{
    bounds::Client,
    bucket::{Bucket, Limit},
};

/// Entries of one client at once, and the time after which it may have one more.
const EACH: Limit = Limit { most: 20, refill: Duration::from_secs(30) };
/// The same for all clients together.
const ALL: Limit = Limit { most: 100, refill: Duration::from_secs(5) };
/// Clients that are told apart; those after them have what all have.
const MAX_CLIENTS: usize = 4096;
/// How often it is told how many were left out.
const TELL: Duration = Duration::from_secs(60);

/// Refusals that were not recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    pub(super) since: OffsetDateTime,
    pub(super) until: OffsetDateTime,
    /// Where the last one came from.
    pub(super) address: Option<IpAddr>,
}

#[derive(Debug)]
pub(super) struct Refusals {
    all: Bucket,
    clients: HashMap<Client, Bucket>,
    left_out: Option<LeftOut>,
    told: Instant,
}

impl Refusals {
    pub(super) fn new(now: Instant) -> Self {
        let all = Bucket::new(ALL, now);
        Self { all, clients: HashMap::new(), left_out: None, told: now }
    }

    /// Whether one more refusal of somebody at `address`, which happened at `at`, is recorded.
    pub(super) fn admit(
        &mut self,
        address: Option<IpAddr>,
        at: OffsetDateTime,
        now: Instant,
    ) -> bool {
        let admitted = self.all.has_some(ALL, now) && self.admit_client(address, now);
        if admitted {
            self.all.take(ALL, now);
        } else {
            self.leave_out(address, at);
        }
        admitted
    }

    fn admit_client(&mut self, address: Option<IpAddr>, now: Instant) -> bool {
        let Some(client) = address.map(Client::from) else { return true };
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&client) {
            // Those who may have all that anybody may have need not be remembered.
            self.clients.retain(|_, entries| !entries.is_full(EACH, now));
            if self.clients.len() >= MAX_CLIENTS {
                return true;
            }
        }
        self.clients.entry(client).or_insert_with(|| Bucket::new(EACH, now)).take(EACH, now)
    }

    fn leave_out(&mut self, address: Option<IpAddr>, at: OffsetDateTime) {
        let left_out =
            self.left_out.get_or_insert(LeftOut { count: 0, since: at, until: at, address });
        left_out.count += 1;
        left_out.until = at;
        left_out.address = address.or(left_out.address);
    }

    /// What was left out, once it is time to tell.
    pub(super) fn take_left_out(&mut self, now: Instant) -> Option<LeftOut> {
        if now.saturating_duration_since(self.told) < TELL {
            return None;
        }
        let left_out = self.left_out.take()?;
        self.told = now;
        Some(left_out)
    }

    /// What was left out and not told yet.
    pub(super) fn left_out(&self) -> Option<LeftOut> {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from((0xC000_0200 + number).to_be_bytes()))
    }

    #[test]
    fn one_client_does_not_take_the_places_of_others() {
        let start = Instant::now();
        let mut refusals = Refusals::new(start);
        let loud = (0..500).filter(|_| refusals.admit(address(1), AT, start)).count();
        assert_eq!(loud, 20);
        assert!(refusals.admit(address(2), AT, start));
        let left_out = refusals.left_out().unwrap();
        assert_eq!((left_out.count, left_out.address), (480, address(1)));
        assert_eq!(refusals.take_left_out(start), None, "not each second");
        let later = start + Duration::from_secs(61);
        assert_eq!(refusals.take_left_out(later), Some(left_out));
        assert_eq!(refusals.left_out(), None);
        assert_eq!((0..9).filter(|_| refusals.admit(address(1), AT, later)).count(), 2);
    }

    #[test]
    fn many_clients_together_are_bounded() {
        let start = Instant::now();
        let mut refusals = Refusals::new(start);
        let admitted = (0..10_000).filter(|n| refusals.admit(address(*n), AT, start)).count();
        assert_eq!(admitted, 100);
        assert!(refusals.clients.len() <= MAX_CLIENTS);
        let hour = start + Duration::from_secs(3600);
        let admitted = (0..10_000).filter(|n| refusals.admit(address(*n), AT, hour)).count();
        assert_eq!(admitted, 100, "what nobody used is not saved up");
    }
}
