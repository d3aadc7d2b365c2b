//! The realtime sessions that are open, for the management API.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::events::{EventKind, EventLog};

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
    open: BTreeMap<u64, String>,
    capacity: Option<usize>,
}

impl SessionBoard {
    pub(crate) fn new(events: EventLog) -> Self {
        Self(Arc::new(Shared { events, board: Mutex::default() }))
    }

    /// How many sessions may be open at once; `None`: as many as come.
    pub fn set_capacity(&self, capacity: Option<usize>) {
        self.board(|board| board.capacity = capacity);
    }

    /// Registers a session until the guard is dropped, and tells how many are open then; `None`
    /// while there is no room for one more.
    #[must_use]
    pub fn try_open(&self, request_id: String) -> Option<(OpenSession, usize)> {
        let (number, open) = self.board(|board| {
            if board.capacity.is_some_and(|capacity| board.open.len() >= capacity) {
                return None;
            }
            let number = board.next;
            board.next += 1;
            board.open.insert(number, request_id);
            Some((number, board.open.len()))
        })?;
        self.0.events.publish(EventKind::SessionCount { open });
        Some((OpenSession { board: self.clone(), number }, open))
    }

    /// The request ids of the open sessions, oldest first.
    #[must_use]
    pub fn request_ids(&self) -> Vec<String> {
        self.board(|board| board.open.values().cloned().collect())
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

    #[test]
    fn a_session_is_listed_until_it_is_dropped() {
        let board = SessionBoard::new(EventLog::default());
        board.set_capacity(Some(2));
        let (first, _) = board.try_open("first".into()).unwrap();
        let (_second, open) = board.try_open("second".into()).unwrap();
        assert_eq!((board.request_ids(), open), (vec!["first".into(), "second".into()], 2));
        assert!(!board.is_ready());
        assert!(board.try_open("third".into()).is_none());
        drop(first);
        assert_eq!(board.request_ids(), ["second"]);
        assert!(board.is_ready());
    }
}
