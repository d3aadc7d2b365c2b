//! The state, and who may change it now.
//!
//! Every change is a transaction that holds the ledger from its first look at the state until its
//! new listeners serve, so that changes happen one after another whichever actor they belong to.
//! While it holds the ledger it sends the supervisor a handover, which never takes the ledger
//! itself; that order keeps the actors from waiting for each other.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwapOption;

use time::OffsetDateTime;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::{ChangeError, ChangeKind, kind::UNDONE};
use crate::{
    blocking,
    events::{EventKind, EventLog},
    metrics::{ChangeLabels, METRICS},
    requester::Requester,
    storage::STATE,
    store::{ChangeNote, Revision, State, StateStore, StoreError},
};

/// Shared by the owners; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn StateStore>,
    current: Arc<Mutex<State>>,
    events: EventLog,
    divergence: Arc<ArcSwapOption<String>>,
}

impl Ledger {
    pub(crate) fn new(store: Arc<dyn StateStore>, current: State, events: EventLog) -> Self {
        let divergence = Arc::default();
        Self { store, current: Arc::new(Mutex::new(current)), events, divergence }
    }

    /// Waits for its turn, first come, first served.
    pub(crate) async fn begin(&self) -> Turn {
        Turn {
            store: self.store.clone(),
            current: self.current.clone().lock_owned().await,
            events: self.events.clone(),
            divergence: self.divergence.clone(),
            begun: Instant::now(),
            committed: None,
            ended: None,
        }
    }

    /// A copy of the state as it is now, behind any change under way.
    pub async fn state(&self) -> State {
        self.current.lock().await.clone()
    }

    /// Why the disk holds another state than the one that serves; `None`, as it should be: it does
    /// not. The next change that is stored mends it.
    #[must_use]
    pub fn divergence(&self) -> Option<Arc<String>> {
        self.divergence.load_full()
    }

    /// Where changes, and what owners have to tell, are published.
    #[must_use]
    pub fn events(&self) -> &EventLog {
        &self.events
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn StateStore> {
        self.store.clone()
    }
}

/// The right to change the state, and whatever else is changed under the ledger; dropping it lets
/// the next one begin.
pub(crate) struct Turn {
    store: Arc<dyn StateStore>,
    current: OwnedMutexGuard<State>,
    events: EventLog,
    divergence: Arc<ArcSwapOption<String>>,
    begun: Instant,
    /// What was committed last and not taken back.
    committed: Option<Revision>,
    /// What was changed and how it ended, once something was tried.
    ended: Option<(ChangeKind, &'static str)>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some((kind, outcome)) = self.ended.take() {
            let labels = ChangeLabels { kind: kind.label(), outcome };
            METRICS.changes.get_or_create(&labels).inc();
            let seconds = self.begun.elapsed().as_secs_f64();
            METRICS.change_duration.get_or_create(&labels).observe(seconds);
        }
    }
}

impl Turn {
    pub(crate) fn state(&self) -> &State {
        &self.current
    }

    /// Takes over a state that is on disk already.
    pub(super) fn adopt(&mut self, next: State) {
        *self.current = next;
        self.divergence.store(None);
    }

    /// Takes back what was committed and could not be served, so that no rollback finds it. Where
    /// that cannot be stored, the state is `previous` all the same, for that is what serves, and
    /// [`Ledger::divergence`] tells.
    pub(super) async fn undo(&mut self, previous: State, by: &Requester) {
        let Some(revision) = self.committed.take() else { return };
        self.ended = self.ended.take().map(|(kind, _)| (kind, "undone"));
        let store = self.store.clone();
        let withdrawn = match blocking::change(move || store.withdraw(revision)).await {
            Ok(withdrawn) => withdrawn.map_err(|err| err.chain()),
            Err(err) => Err(err.to_string()),
        };
        match withdrawn {
            Ok(revision) => {
                self.adopt(previous);
                self.tell(revision, UNDONE, by);
            }
            Err(reason) => {
                self.diverge(&reason);
                *self.current = previous;
            }
        }
    }

    /// The disk holds something else than what serves.
    fn diverge(&self, reason: &str) {
        let told = format!(
            "the disk holds a change that could not be served and could not be taken back ({reason}); a restart would serve it, the next change that can be stored mends it"
        );
        log::error!("{told}");
        self.divergence.store(Some(Arc::new(told)));
    }

    /// Makes `next` durable; on an error the state is what it was.
    pub(super) async fn commit(
        &mut self,
        next: State,
        kind: ChangeKind,
        by: &Requester,
    ) -> Result<Revision, ChangeError> {
        let note = note(kind, by);
        let store = self.store.clone();
        let written = next.clone();
        let committed = blocking::change(move || store.commit(&written, &note)).await;
        let outcome = if matches!(committed, Ok(Ok(_))) { "done" } else { "failed" };
        self.ended = Some((kind, outcome));
        match &committed {
            Ok(Ok(_)) => STATE.succeeded(),
            Ok(Err(StoreError::Io { path, source, .. })) => STATE.failed(path, source),
            Ok(Err(_)) | Err(_) => {}
        }
        let revision = committed?.inspect_err(|err| {
            if let StoreError::Unsettled { reason } = err {
                self.diverge(reason);
            }
        })?;
        self.committed = Some(revision);
        self.adopt(next);
        self.tell(revision, kind.text(), by);
        Ok(revision)
    }

    fn tell(&self, revision: Revision, what: &str, by: &Requester) {
        let kind =
            EventKind::ConfigurationChanged { revision, what: what.to_owned(), by: by.to_string() };
        self.events.publish_for(by.request_id, kind);
    }
}

/// What the history says of a change that is made now.
pub(crate) fn note(kind: ChangeKind, by: &Requester) -> ChangeNote {
    let (what, by) = (kind.text().to_owned(), by.to_string());
    ChangeNote { at: OffsetDateTime::now_utc(), what, by }
}
