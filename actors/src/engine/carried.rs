//! What a generation carries that takes long: uploads and WebSockets.
//!
//! Only these are listed one by one. Other requests are many and short, so they are counted and
//! cost nothing more.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Uploads, and WebSockets, that are told of one generation; the oldest come first.
const LISTED: usize = 50;
/// Characters of a path that are told.
const LONGEST_PATH: usize = 128;

/// One upload or WebSocket. Neither the client nor the query is told: the query may hold a token.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CarriedRequest {
    /// A request whose body is on its way in, or that is being answered after it has come.
    Upload {
        path: String,
        #[serde(with = "time::serde::rfc3339")]
        #[schema(value_type = String, format = DateTime)]
        since: OffsetDateTime,
        /// Bytes of the body that have arrived.
        received_bytes: u64,
        /// The length that the client announced; null where it announced none.
        total_bytes: Option<u64>,
    },
    WebSocket {
        path: String,
        #[serde(with = "time::serde::rfc3339")]
        #[schema(value_type = String, format = DateTime)]
        since: OffsetDateTime,
    },
}

/// What is still carried, in the order in which it began.
#[derive(Debug, Default)]
pub(super) struct CarriedRequests(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    next: u64,
    uploads: BTreeMap<u64, Upload>,
    websockets: BTreeMap<u64, Begun>,
}

#[derive(Debug)]
struct Begun {
    path: String,
    since: OffsetDateTime,
}

impl Begun {
    fn now(path: &str) -> Self {
        let path = path.chars().take(LONGEST_PATH).collect();
        Self { path, since: OffsetDateTime::now_utc() }
    }
}

#[derive(Debug)]
struct Upload {
    begun: Begun,
    received: Arc<AtomicU64>,
    total: Option<u64>,
}

/// Names an entry, to be taken out by it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryId(u64);

impl CarriedRequests {
    pub(super) fn add_upload(
        &self,
        path: &str,
        total: Option<u64>,
        received: Arc<AtomicU64>,
    ) -> EntryId {
        let upload = Upload { begun: Begun::now(path), received, total };
        let mut entries = self.entries();
        let id = entries.next_id();
        entries.uploads.insert(id, upload);
        EntryId(id)
    }

    pub(super) fn add_websocket(&self, path: &str) -> EntryId {
        let begun = Begun::now(path);
        let mut entries = self.entries();
        let id = entries.next_id();
        entries.websockets.insert(id, begun);
        EntryId(id)
    }

    pub(super) fn remove(&self, EntryId(id): EntryId) {
        let mut entries = self.entries();
        if entries.uploads.remove(&id).is_none() {
            entries.websockets.remove(&id);
        }
    }

    /// The oldest of them, uploads first, and how many more there are.
    pub(super) fn list(&self) -> (Vec<CarriedRequest>, usize) {
        let entries = self.entries();
        let uploads = entries.uploads.values().take(LISTED).map(|upload| CarriedRequest::Upload {
            path: upload.begun.path.clone(),
            since: upload.begun.since,
            received_bytes: upload.received.load(Relaxed),
            total_bytes: upload.total,
        });
        let websockets = entries.websockets.values().take(LISTED).map(|begun| {
            CarriedRequest::WebSocket { path: begun.path.clone(), since: begun.since }
        });
        let listed: Vec<_> = uploads.chain(websockets).collect();
        let left_out = entries.uploads.len() + entries.websockets.len() - listed.len();
        (listed, left_out)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_listed_and_the_rest_is_counted() {
        let carried = CarriedRequests::default();
        let received = Arc::new(AtomicU64::new(0));
        let first = carried.add_upload("/v2/jobs", Some(10), received.clone());
        for _ in 0..=LISTED {
            carried.add_websocket("/v2");
        }
        received.store(7, Relaxed);
        let (listed, left_out) = carried.list();
        assert_eq!((listed.len(), left_out), (1 + LISTED, 1));
        let CarriedRequest::Upload { path, received_bytes, total_bytes, .. } = &listed[0] else {
            panic!("uploads come first: {listed:?}");
        };
        assert_eq!((path.as_str(), *received_bytes, *total_bytes), ("/v2/jobs", 7, Some(10)));
        carried.remove(first);
        let (listed, left_out) = carried.list();
        assert_eq!((listed.len(), left_out), (LISTED, 1));
        let json = serde_json::to_value(&listed[0]).unwrap();
        assert_eq!((&json["kind"], &json["path"]), (&"websocket".into(), &"/v2".into()));
    }

    #[test]
    fn a_path_is_told_up_to_a_length() {
        let carried = CarriedRequests::default();
        carried.add_websocket(&"/x".repeat(LONGEST_PATH));
        let (listed, _) = carried.list();
        let CarriedRequest::WebSocket { path, .. } = &listed[0] else { panic!("{listed:?}") };
        assert_eq!(path.len(), LONGEST_PATH);
    }
}
