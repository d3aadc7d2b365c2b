//! The places that there are for connections and streams, of one client and of all together.

use std::{sync::Arc, time::Duration};

use crate::bounds::{Client, Full, Held, Quota};

/// The most connections or streams that an address holds and still gets one of the last ones: a
/// browser opens six connections.
const MOST_OF_THE_LAST: u64 = 8;

/// What clients may hold at once, over all listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Connections of all clients.
    pub connections: u64,
    /// Connections of one address.
    pub connections_per_address: u64,
    /// HTTP/2 streams in progress of all clients.
    pub streams: u64,
    /// HTTP/2 streams in progress of one address.
    pub streams_per_address: u64,
    /// How long a client may take nothing of what is sent to it.
    pub write_timeout: Duration,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 5_000,
            streams: 4_000,
            streams_per_address: 1_000,
            write_timeout: Duration::from_secs(300),
        }
    }
}

impl AdmissionLimits {
    /// The connections that are kept for listeners which carry the administration.
    #[must_use]
    pub fn administration_share(&self) -> u64 {
        self.connections / 8
    }
}

/// The last eighth of `limit` is for those who hold few: whether `client` holds too many for it.
fn holds_too_many(quota: &Quota, limit: u64, client: Client) -> bool {
    let last = limit / 8;
    let few = (last / 8).clamp(1, MOST_OF_THE_LAST);
    quota.held() > limit - last && quota.held_by(client) > few
}

/// What is taken of each.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) limits: AdmissionLimits,
    pub(super) connections: Arc<Quota>,
    /// The part of them that listeners without the administration may use.
    ordinary: Arc<Quota>,
    streams: Arc<Quota>,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// What the address may have.
    Address,
    /// What there is.
    All,
    /// What listeners without the administration may have.
    Ordinary,
}

/// A connection's places in the quotas; given back when dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _everybody: Held,
    _ordinary: Option<Held>,
}

impl Places {
    pub(super) fn new(limits: AdmissionLimits) -> Arc<Self> {
        let ordinary = limits.connections - limits.administration_share();
        Arc::new(Self {
            limits,
            connections: Quota::new(limits.connections_per_address, limits.connections),
            ordinary: Quota::new(u64::MAX, ordinary),
            streams: Quota::new(limits.streams_per_address, limits.streams),
        })
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.limits.write_timeout
    }

    /// All connections but the last ones.
    pub(super) fn ample(&self) -> u64 {
        self.limits.connections - self.limits.administration_share()
    }

    /// Takes a place for a connection of `client` to a listener with the administration or without.
    ///
    /// # Errors
    /// What is used up.
    pub(super) fn take(&self, client: Client, administration: bool) -> Result<Admitted, Short> {
        let everybody = self.connections.take(client, 1).map_err(|full| match full {
            Full::Client => Short::Address,
            Full::All => Short::All,
        })?;
        if holds_too_many(&self.connections, self.limits.connections, client) {
            return Err(Short::All);
        }
        let ordinary = match administration {
            true => None,
            false => Some(self.ordinary.take(client, 1).map_err(|_| Short::Ordinary)?),
        };
        Ok(Admitted { _everybody: everybody, _ordinary: ordinary })
    }

    /// Takes a place for a stream of `client`.
    ///
    /// # Errors
    /// Whose share is used up.
    pub(super) fn admit_stream(&self, client: Client) -> Result<Held, Full> {
        let place = self.streams.take(client, 1)?;
        if holds_too_many(&self.streams, self.limits.streams, client) {
            return Err(Full::All);
        }
        Ok(place)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    #[test]
    fn the_last_streams_are_for_those_who_hold_few() {
        let limits = AdmissionLimits { streams: 64, streams_per_address: 40, ..Default::default() };
        let places = Places::new(limits);
        let client = |number| Client::from(IpAddr::from([192, 0, 2, number]));
        let take = |number| places.admit_stream(client(number));
        let mut held: Vec<_> = (0..56).map(|n| take(n % 2).unwrap()).collect();
        assert_eq!(take(0).unwrap_err(), Full::All);
        assert_eq!(places.streams.held(), 56, "nothing was taken");
        held.extend((2..10).map(|n| take(n).unwrap()));
        assert_eq!(take(10).unwrap_err(), Full::All);
        held.truncate(40);
        assert!(take(0).is_ok());
    }
}
