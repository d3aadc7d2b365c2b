//! The realtime sessions that are open, for the management API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    bounds::{Client, Full},
    events::{EventKind, EventLog},
};

/// Who has a session open; the realtime service registers them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionBoard(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: EventLog,
    board: Mutex<Board>,
}

#[derive(Debug, Default)]
struct Board {
    next: u64,
    open: BTreeMap<u64, (String, Client)>,
    capacity: Option<usize>,
    /// Of one client.
    share: Option<usize>,
}

impl SessionBoard {
    pub(crate) fn new(events: EventLog) -> Self {
        Self(Arc::new(Shared { events, board: Mutex::default() }))
    }

    /// How many sessions may be open at once, and how many of them may be of one client; `None`: as
    /// many as come.
    pub fn set_capacity(&self, capacity: Option<usize>, share: Option<usize>) {
        self.board(|board| (board.capacity, board.share) = (capacity, share));
    }

    /// Registers a session until the guard is dropped, and tells how many are open then.
    ///
    /// # Errors
    /// There is no room for one more, or not for this client.
    pub fn try_open(
        &self,
        request_id: String,
        client: Client,
    ) -> Result<(OpenSession, usize), Full> {
        let (number, open) = self.board(|board| {
            if board.capacity.is_some_and(|capacity| board.open.len() >= capacity) {
                return Err(Full::All);
            }
            let own = board.open.values().filter(|(_, other)| *other == client).count();
            if board.share.is_some_and(|share| own >= share) {
                return Err(Full::Client);
            }
            let number = board.next;
            board.next += 1;
            board.open.insert(number, (request_id, client));
            Ok((number, board.open.len()))
        })?;
        self.0.events.publish(EventKind::SessionCount { open });
        Ok((OpenSession { board: self.clone(), number }, open))
    }

    /// The request ids of the open sessions, oldest first.
    #[must_use]
    pub fn request_ids(&self) -> Vec<String> {
        self.board(|board| board.open.values().map(|(id, _)| id.clone()).collect())
    }

    /// How many sessions are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.board(|board| board.open.len())
    }

    /// Whether one more session would be taken.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.board(|board| board.capacity.is_none_or(|capacity| board.open.len() < capacity))
    }

    fn board<T>(&self, work: impl FnOnce(&mut Board) -> T) -> T {
        work(&mut self.0.board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An open session; dropping it tells that it has ended.
#[derive(Debug)]
pub struct OpenSession {
    board: SessionBoard,
    number: u64,
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        let open = self.board.board(|board| {
            board.open.remove(&self.number);
            board.open.len()
        });
        self.board.0.events.publish(EventKind::SessionCount { open });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        std::net::IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn a_session_is_listed_until_it_is_dropped() {
        let board = SessionBoard::new(EventLog::default());
        board.set_capacity(Some(2), None);
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
        let board = SessionBoard::new(EventLog::default());
        board.set_capacity(Some(3), Some(2));
        let (first, _) = board.try_open("first".into(), client(1)).unwrap();
        let _second = board.try_open("second".into(), client(1)).unwrap();
        assert_eq!(board.try_open("third".into(), client(1)).unwrap_err(), Full::Client);
        let _other = board.try_open("other".into(), client(2)).unwrap();
        drop(first);
        board.try_open("third".into(), client(1)).unwrap();
    }
}
