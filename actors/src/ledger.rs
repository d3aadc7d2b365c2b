//! The one place through which the state changes.
//!
//! Every change is a transaction that holds the ledger from its first look at the state until its
//! new listeners serve, so that changes happen one after another whichever actor they belong to.
//! While it holds the ledger an actor may send the supervisor a handover, which never takes the
//! ledger itself; that order keeps the actors from waiting for each other.

use std::sync::Arc;

use time::OffsetDateTime;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::store::{ChangeNote, Revision, State, StateStore, StoreError};

/// Shared by the owners; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn StateStore>,
    current: Arc<Mutex<State>>,
}

impl Ledger {
    pub(crate) fn new(store: Arc<dyn StateStore>, current: State) -> Self {
        Self { store, current: Arc::new(Mutex::new(current)) }
    }

    /// Waits for its turn, first come, first served.
    pub(crate) async fn begin(&self) -> Change {
        Change { store: self.store.clone(), current: self.current.clone().lock_owned().await }
    }

    /// A copy of the state as it is now, behind any change under way.
    pub async fn state(&self) -> State {
        self.current.lock().await.clone()
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn StateStore> {
        self.store.clone()
    }
}

/// A change under way; dropping it lets the next one begin.
pub(crate) struct Change {
    store: Arc<dyn StateStore>,
    current: OwnedMutexGuard<State>,
}

impl Change {
    pub(crate) fn state(&self) -> &State {
        &self.current
    }

    /// Takes over a state that is on disk already.
    pub(crate) fn adopt(&mut self, next: State) {
        *self.current = next;
    }

    /// Makes `next` durable; on an error the state is what it was.
    pub(crate) async fn commit(
        &mut self,
        next: State,
        what: &str,
        by: &Requester,
    ) -> Result<Revision, StoreError> {
        let note =
            ChangeNote { at: OffsetDateTime::now_utc(), what: what.to_owned(), by: by.to_string() };
        let store = self.store.clone();
        let written = next.clone();
        let revision = tokio::task::spawn_blocking(move || store.commit(&written, &note))
            .await
            .expect("a commit does not panic and is not cancelled")?;
        *self.current = next;
        Ok(revision)
    }
}

/// On whose behalf something happens, for the history and the audit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    pub user: String,
    pub address: Option<std::net::IpAddr>,
}

impl Requester {
    /// The appliance itself.
    #[must_use]
    pub fn appliance() -> Self {
        Self { user: "appliance".into(), address: None }
    }
}

impl std::fmt::Display for Requester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} from {address}", self.user),
            None => f.write_str(&self.user),
        }
    }
}
