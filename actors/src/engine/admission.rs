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

use super::{
    connection::{Connection, OpenConnections},
    places::{AdmissionLimits, Admitted, Places, Short},
};
use crate::bounds::{Client, Full};

/// A connection on which nothing has been in progress for so long may lose its place.
const IDLE: Duration = Duration::from_secs(1);
/// How long nobody looks for idle connections again after there were none.
const BARREN: Duration = Duration::from_millis(10);
/// The most connections that lose their places at once.
const LARGEST_CLEARANCE: usize = 512;

/// Lets clients in, and makes room where it is short.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Arc<Places>,
    generations: Mutex<Vec<Weak<OpenConnections>>>,
    barren_since: Mutex<Option<Instant>>,
}

impl Admission {
    pub(crate) fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Self {
            places: Places::new(limits),
            generations: Mutex::default(),
            barren_since: Mutex::default(),
        })
    }

    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Counts the connections of a generation among those that may lose their places.
    pub(super) fn watch(&self, generation: &Arc<OpenConnections>) {
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
        let places = &self.places;
        let short = match places.take(client, administration) {
            Ok(admitted) => return Ok(admitted),
            Err(short) => short,
        };
        let greediest = || places.connections.greediest().map(|(client, _)| client);
        let room = match short {
            Short::Address => self
                .make_room(places.limits.connections_per_address / 64, |connection| {
                    (connection.client() == client).then_some(true)
                }),
            Short::All => {
                let greediest = greediest();
                // Who holds many gets none of the last places, so as many as are taken must go.
                let crowded = places.connections.held().saturating_sub(places.ample());
                self.make_room(places.limits.connections / 64 + crowded, |connection| {
                    Some(Some(connection.client()) == greediest)
                })
            }
            Short::Ordinary => {
                let greediest = greediest();
                self.make_room(places.limits.connections / 64, |connection| {
                    let fits = !connection.generation().administers;
                    fits.then(|| Some(connection.client()) == greediest)
                })
            }
        };
        let again = if room { places.take(client, administration) } else { Err(short) };
        again.map_err(|short| match short {
            Short::Address => Full::Client,
            Short::All | Short::Ordinary => Full::All,
        })
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
            generation.look_at_each(|connection| {
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
}
