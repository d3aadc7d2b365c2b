//! Whose turn it is: what goes on at once is bounded, and shared fairly.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// For everybody.
const ALL: usize = 64;
/// For one client.
const EACH: usize = 8;
/// For one client at one origin, so that a slow server holds up what leads there alone.
const EACH_ORIGIN: usize = 4;

/// Requests of one kind. Who waits for a share of his own takes no turn from others.
#[derive(Debug)]
pub(super) struct Turns {
    all: Arc<Semaphore>,
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    of: HashMap<Key, Weak<Semaphore>>,
    /// How many there were after the last sweep.
    swept: usize,
}

/// Clients are told apart as jobs tell them; those that are not known count as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Client(String),
    Origin(String, String),
}

/// The right to go on; it ends when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _permits: [OwnedSemaphorePermit; 3],
}

impl Turns {
    pub(super) fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(ALL)), shares: Mutex::default() }
    }

    /// Waits until there is room for one more, for `client` and at `origin`.
    pub(super) async fn wait(&self, client: &str, origin: &str) -> Option<Turn> {
        let at_origin = self.share(Key::Origin(client.to_owned(), origin.to_owned()), EACH_ORIGIN);
        let at_origin = at_origin.acquire_owned().await.ok()?;
        let own = self.share(Key::Client(client.to_owned()), EACH).acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn { _permits: [at_origin, own, of_all] })
    }

    fn share(&self, key: Key, size: usize) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if shares.of.len() > 2 * shares.swept + 64 {
            shares.of.retain(|_, share| share.strong_count() > 0);
            shares.swept = shares.of.len();
        }
        let share = shares.of.entry(key).or_default();
        share.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(size));
            *share = Arc::downgrade(&new);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    /// Takes a turn if there is one at once.
    fn now(turns: &Turns, client: &str, origin: &str) -> Option<Turn> {
        turns.wait(client, origin).now_or_never().flatten()
    }

    #[test]
    fn a_slow_server_and_a_greedy_client_leave_turns_to_others() {
        let turns = Turns::new();
        let mut held: Vec<_> =
            (0..EACH_ORIGIN).map(|_| now(&turns, "greedy", "http://slow").unwrap()).collect();
        assert!(now(&turns, "greedy", "http://slow").is_none(), "one origin has its share");
        held.extend((0..EACH - EACH_ORIGIN).map(|_| now(&turns, "greedy", "http://b").unwrap()));
        assert!(now(&turns, "greedy", "http://c").is_none(), "one client has its share");
        for other in ["192.0.2.2", "2001:db8::/64", ""] {
            assert!(now(&turns, other, "http://slow").is_some(), "{other}");
        }
        held.pop();
        assert!(now(&turns, "greedy", "http://c").is_some(), "a turn that ended is another's");
    }

    #[test]
    fn all_together_are_bounded_and_what_nobody_holds_is_forgotten() {
        let turns = Turns::new();
        let held: Vec<_> =
            (0..ALL).map(|n| now(&turns, &n.to_string(), "http://a").unwrap()).collect();
        assert!(now(&turns, "another", "http://a").is_none());
        drop(held);
        for n in 0..10_000 {
            assert!(now(&turns, "one", &format!("http://{n}")).is_some());
        }
        let kept = turns.shares.lock().unwrap().of.len();
        assert!(kept <= 300, "{kept} shares are kept");
    }
}
