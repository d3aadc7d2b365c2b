//! Who may connect: how many connections and streams one client has, and all clients together.
//!
//! Every listener and every generation shares one [`Admission`], because descriptors and memory
//! are those of the process. A client that has as many connections as it may, or that comes when
//! all are in use, takes the place of connections on which nothing is in progress: first its own,
//! else those of the client that holds most. Where there are none, it is turned away at once,
//! before a TLS handshake. Listeners that carry the administration have a share which clients of
//! the others cannot take, and of that share nobody gets more than a few, so that a handful of
//! addresses whose requests do not end cannot keep the administrator out.

use std::{
    cmp::Reverse,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use super::{Connection, generation::GenerationContext};
use crate::bounds::{Client, Full, Held, Quota};

/// A connection on which nothing has been in progress for so long may lose its place.
const IDLE: Duration = Duration::from_secs(1);
/// How long nobody looks for idle connections again after there were none.
const BARREN: Duration = Duration::from_millis(10);
/// The most connections or streams that an address holds and still gets one of the last ones: a
/// browser opens six connections.
const MOST_OF_THE_LAST: u64 = 8;
/// The most connections that lose their places at once.
const LARGEST_CLEARANCE: usize = 512;

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

/// Lets clients in, and makes room where it is short.
#[derive(Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    connections: Arc<Quota>,
    /// The part of them that listeners without the administration may use.
    ordinary: Arc<Quota>,
    streams: Arc<Quota>,
    generations: Mutex<Vec<Weak<GenerationContext>>>,
    barren_since: Mutex<Option<Instant>>,
}

/// What is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Short {
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

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Arc<Self> {
        let ordinary = limits.connections - limits.administration_share();
        Arc::new(Self {
            limits,
            connections: Quota::new(limits.connections_per_address, limits.connections),
            ordinary: Quota::new(u64::MAX, ordinary),
            streams: Quota::new(limits.streams_per_address, limits.streams),
            generations: Mutex::default(),
            barren_since: Mutex::default(),
        })
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.limits.write_timeout
    }

    /// Counts the connections of a generation among those that may lose their places.
    pub(super) fn watch(&self, generation: &Arc<GenerationContext>) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.retain(|known| known.strong_count() > 0);
        generations.push(Arc::downgrade(generation));
    }

    /// Takes a place for a connection of `client` to a listener with the administration or
    /// without; makes room if need be.
    ///
    /// # Errors
    /// Whose share is used up, with nothing idle in it.
    pub(super) fn admit(&self, client: Client, administration: bool) -> Result<Admitted, Full> {
        let short = match self.take(client, administration) {
            Ok(admitted) => return Ok(admitted),
            Err(short) => short,
        };
        let greediest = || self.connections.greediest().map(|(client, _)| client);
        let room = match short {
            Short::Address => self
                .make_room(self.limits.connections_per_address / 64, |connection| {
                    (connection.client() == client).then_some(true)
                }),
            Short::All => {
                let greediest = greediest();
                // Who holds many gets none of the last places, so as many as are taken must go.
                let crowded = self.connections.held().saturating_sub(self.ample());
                self.make_room(self.limits.connections / 64 + crowded, |connection| {
                    Some(Some(connection.client()) == greediest)
                })
            }
            Short::Ordinary => {
                let greediest = greediest();
                self.make_room(self.limits.connections / 64, |connection| {
                    let fits = !connection.generation().listener.administration;
                    fits.then(|| Some(connection.client()) == greediest)
                })
            }
        };
        let again = if room { self.take(client, administration) } else { Err(short) };
        again.map_err(|short| match short {
            Short::Address => Full::Client,
            Short::All | Short::Ordinary => Full::All,
        })
    }

    /// All connections but the last ones.
    fn ample(&self) -> u64 {
        self.limits.connections - self.limits.administration_share()
    }

    fn take(&self, client: Client, administration: bool) -> Result<Admitted, Short> {
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

    /// Closes idle connections that `choose` names, preferred ones first, the longest idle first
    /// among them; `batch` at once, commonly a sixty-fourth of the limit, so that a flood costs one look
    /// for many.
    fn make_room(&self, batch: u64, choose: impl Fn(&Connection) -> Option<bool>) -> bool {
        let mut barren = self.barren_since.lock().unwrap_or_else(PoisonError::into_inner);
        if barren.is_some_and(|since| since.elapsed() < BARREN) {
            return false;
        }
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut idle: Vec<(Reverse<bool>, Reverse<Duration>, Arc<Connection>)> = Vec::new();
        for generation in generations.iter().filter_map(Weak::upgrade) {
            generation.each_open(|connection| {
                if let Some(idle_for) = connection.idle_for()
                    && idle_for >= IDLE
                    && let Some(preferred) = choose(connection)
                {
                    idle.push((Reverse(preferred), Reverse(idle_for), connection.clone()));
                }
            });
        }
        *barren = idle.is_empty().then(Instant::now);
        drop(barren);
        idle.sort_by_key(|(preferred, idle_for, _)| (*preferred, *idle_for));
        let batch = usize::try_from(batch).unwrap_or(usize::MAX).clamp(1, LARGEST_CLEARANCE);
        idle.iter().take(batch).for_each(|(_, _, connection)| connection.give_up_place());
        !idle.is_empty()
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
        let admission = Admission::new(limits);
        let client = |number| Client::from(IpAddr::from([192, 0, 2, number]));
        let take = |number| admission.admit_stream(client(number));
        let mut held: Vec<_> = (0..56).map(|n| take(n % 2).unwrap()).collect();
        assert_eq!(take(0).unwrap_err(), Full::All);
        assert_eq!(admission.streams.held(), 56, "nothing was taken");
        held.extend((2..10).map(|n| take(n).unwrap()));
        assert_eq!(take(10).unwrap_err(), Full::All);
        held.truncate(40);
        assert!(take(0).is_ok());
    }
}
