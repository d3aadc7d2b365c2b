//! The sessions that are open.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use portcullis_actors::{
    bounds::{Client, Full},
    events::{EventLog, ServiceEvent},
};
use prometheus_client::metrics::gauge::Gauge;

/// Who has a session open. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct SessionBoard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: EventLog,
    gauge: Gauge,
    /// How many sessions may be open at once.
    capacity: usize,
    /// How many of them may be of one client.
    share: usize,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    next: u64,
    open: BTreeMap<u64, (String, Client)>,
}

impl SessionBoard {
    /// A board for `capacity` sessions, `share` of them of one client. `gauge` shows how many are open.
    pub(super) fn new(events: EventLog, gauge: Gauge, capacity: usize, share: usize) -> Self {
        Self(Arc::new(Shared { events, gauge, capacity, share, board: Mutex::default() }))
    }

    /// Registers a session until the guard is dropped, and tells how many are open then.
    ///
    /// # Errors
    /// There is no room for one more, or not for this client.
    pub(super) fn try_open(
        &self,
        request_id: String,
        client: Client,
    ) -> Result<(OpenSession, usize), Full> {
        let (number, open) = self.board(|board| {
            if board.open.len() >= self.0.capacity {
                return Err(Full::All);
            }
            let own = board.open.values().filter(|(_, other)| *other == client).count();
            if own >= self.0.share {
                return Err(Full::Client);
            }
            let number = board.next;
            board.next += 1;
            board.open.insert(number, (request_id, client));
            Ok((number, board.open.len()))
        })?;
        self.tell(open);
        Ok((OpenSession { board: self.clone(), number }, open))
    }

    /// The request ids of the open sessions, oldest first.
    #[must_use]
    pub(super) fn request_ids(&self) -> Vec<String> {
        self.board(|board| board.open.values().map(|(id, _)| id.clone()).collect())
    }

    /// How many sessions are open.
    #[must_use]
    pub(super) fn count(&self) -> usize {
        self.board(|board| board.open.len())
    }

    /// Whether one more session would be taken.
    #[must_use]
    pub(super) fn is_ready(&self) -> bool {
        self.count() < self.0.capacity
    }

    fn tell(&self, open: usize) {
        self.0.gauge.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.0.events.publish(ServiceEvent::new("session-count").with("open", open));
    }

    fn board<T>(&self, work: impl FnOnce(&mut Board) -> T) -> T {
        work(&mut self.0.board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An open session; dropping it tells that it has ended.
#[derive(Debug)]
pub(super) struct OpenSession {
    board: SessionBoard,
    number: u64,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let open = self.board.board(|board| {
            board.open.remove(&self.number);
            board.open.len()
        });
        self.board.tell(open);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        std::net::IpAddr::from([192, 0, 2, last]).into()
    }

    fn board(capacity: usize, share: usize) -> SessionBoard {
        SessionBoard::new(EventLog::default(), Gauge::default(), capacity, share)
    }

    #[test]
    fn a_session_is_listed_until_it_is_dropped() {
        let board = board(2, 2);
        let (first, _) = board.try_open("first".into(), client(1)).unwrap();
        let (_second, open) = board.try_open("second".into(), client(1)).unwrap();
        assert_eq!((board.request_ids(), open), (vec!["first".into(), "second".into()], 2));
        assert!(!board.is_ready());
        assert_eq!(board.try_open("third".into(), client(2)).unwrap_err(), Full::All);
        drop(first);
        assert_eq!(board.request_ids(), ["second"]);
        assert!(board.is_ready());
    }

    #[test]
    fn one_client_does_not_take_all_of_them() {
        let board = board(3, 2);
        let (first, _) = board.try_open("first".into(), client(1)).unwrap();
        let _second = board.try_open("second".into(), client(1)).unwrap();
        assert_eq!(board.try_open("third".into(), client(1)).unwrap_err(), Full::Client);
        let _other = board.try_open("other".into(), client(2)).unwrap();
        drop(first);
        board.try_open("third".into(), client(1)).unwrap();
    }
}
