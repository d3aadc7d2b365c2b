//! The one place that persists a change, publishes it, hands the listeners over, and takes it back.

use std::sync::Arc;

use actix::Recipient;

use super::{
    Change, ChangeError, ChangeKind, Ledger, Prepared, Snapshot, Undo,
    ledger::{Turn, note},
};
use crate::{
    blocking,
    handover::{Generations, Handover, Scope},
    request_id::RequestId,
    requester::Requester,
    store::{AdminAccess, Revision, State, StateStore},
};

/// Makes changes; cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    ledger: Ledger,
    /// In the order in which they are published.
    snapshots: Arc<[Box<dyn Snapshot>]>,
    supervisor: Recipient<Handover>,
}

/// A change under way. It holds the ledger, so that the next one waits until it is dropped.
pub(crate) struct Transaction {
    turn: Turn,
    writer: Writer,
}

impl Writer {
    pub(crate) fn new(
        ledger: Ledger,
        snapshots: Vec<Box<dyn Snapshot>>,
        supervisor: Recipient<Handover>,
    ) -> Self {
        Self { ledger, snapshots: snapshots.into(), supervisor }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Waits for its turn, first come, first served.
    pub(crate) async fn begin(&self) -> Transaction {
        Transaction { turn: self.ledger.begin().await, writer: self.clone() }
    }

    /// Makes one change, in its turn.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub(crate) async fn apply(
        &self,
        change: Change,
        by: &Requester,
    ) -> Result<Generations, ChangeError> {
        self.begin().await.apply(change, by).await
    }

    /// Makes what readers see agree with the ledger, which an owner that died over a change may
    /// have left otherwise. What fails is told in the log, and the rest is done.
    pub(crate) async fn realign(&self, reason: &str) {
        let turn = self.ledger.begin().await;
        let prepared = match self.prepare(None, turn.state()).await {
            Ok(prepared) => prepared,
            Err(err) => return log::error!("what serves may not be what the state says: {err}"),
        };
        let sound = prepared.into_iter().filter_map(|prepared| {
            prepared
                .inspect_err(|err| log::error!("{err}: {:?}", std::error::Error::source(err)))
                .ok()
        });
        let (scope, _) = publish(sound.collect());
        if let Err(err) = self.hand_over(scope, reason, None).await {
            log::error!("what the state says is published, and the old listeners stay: {err}");
        }
    }

    /// Prepares every snapshot whose readers would see a difference.
    async fn prepare(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Vec<Result<Prepared, ChangeError>>, ChangeError> {
        let (snapshots, serving, next) = (self.snapshots.clone(), serving.cloned(), next.clone());
        let prepare = move || {
            let prepared = snapshots.iter().map(|part| part.prepare(serving.as_ref(), &next));
            prepared.filter_map(Result::transpose).collect()
        };
        Ok(blocking::change(prepare).await?)
    }

    async fn hand_over(
        &self,
        scope: Option<Scope>,
        reason: &str,
        request_id: Option<RequestId>,
    ) -> Result<Generations, ChangeError> {
        let Some(scope) = scope else { return Ok(Generations::new()) };
        let handover = Handover { scope, reason: reason.to_owned(), request_id };
        ChangeError::of_handover(self.supervisor.send(handover).await)
    }
}

impl Transaction {
    pub(crate) fn state(&self) -> &State {
        self.turn.state()
    }

    /// Persists the change, publishes it and hands over the listeners that see a difference; gives
    /// their new generations.
    ///
    /// # Errors
    /// Nothing has changed then: what serves, the ledger and the disk are as before. Where the disk
    /// refuses that, [`Ledger::divergence`] tells.
    pub(crate) async fn apply(
        &mut self,
        change: Change,
        by: &Requester,
    ) -> Result<Generations, ChangeError> {
        let kind = change.kind();
        let previous = self.turn.state().clone();
        let Some(next) = change.next(&previous)? else { return Ok(Generations::new()) };
        let serving = (!kind.settles_all()).then_some(&previous);
        let prepared = self.prepare(serving, &next).await?;
        let opens = next.admin == AdminAccess::Open && previous.admin != AdminAccess::Open;
        let remarks = remarks(&prepared, opens);
        let is_on_disk = kind == ChangeKind::StateFilesEdited;
        if !is_on_disk {
            self.turn.commit(next.clone(), kind, by).await?;
        }
        match self.serve(prepared, kind, by.request_id).await {
            Ok(generations) => {
                if is_on_disk {
                    self.turn.adopt(next);
                }
                let level = if opens { log::Level::Warn } else { log::Level::Info };
                log::log!(level, "{} by {by}{remarks}", kind.text());
                Ok(generations)
            }
            Err(err) => {
                self.turn.undo(previous, by).await;
                Err(err)
            }
        }
    }

    /// Serves what time has made of the same state: a default certificate that was made anew.
    ///
    /// # Errors
    /// What served goes on serving.
    pub(crate) async fn serve_again(&mut self, kind: ChangeKind) -> Result<(), ChangeError> {
        let state = self.turn.state().clone();
        let prepared = self.prepare(Some(&state), &state).await?;
        self.serve(prepared, kind, None).await.map(drop)
    }

    async fn prepare(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Vec<Prepared>, ChangeError> {
        self.writer.prepare(serving, next).await?.into_iter().collect()
    }

    /// Publishes, and hands over; puts back what was published where that fails.
    async fn serve(
        &self,
        prepared: Vec<Prepared>,
        kind: ChangeKind,
        request_id: Option<RequestId>,
    ) -> Result<Generations, ChangeError> {
        let (scope, undo) = publish(prepared);
        let scope = if kind.is_of_certificate() { Scope::Tls.and(scope) } else { scope };
        let handed_over = self.writer.hand_over(scope, kind.text(), request_id).await;
        if handed_over.is_err() {
            undo.into_iter().rev().for_each(|undo| undo());
        }
        handed_over
    }
}

/// Publishes everything; gives the listeners that see a difference, and the way back.
fn publish(prepared: Vec<Prepared>) -> (Option<Scope>, Vec<Undo>) {
    let mut scope = None;
    let mut undo = Vec::with_capacity(prepared.len());
    for prepared in prepared {
        scope = prepared.scope.map_or(scope, |part| part.and(scope));
        undo.push((prepared.publish)());
    }
    (scope, undo)
}

fn remarks(prepared: &[Prepared], opens: bool) -> String {
    let remarks = prepared.iter().filter_map(|prepared| prepared.remark.as_deref());
    let remarks: Vec<_> = remarks.chain(opens.then_some("anybody may administer")).collect();
    if remarks.is_empty() { String::new() } else { format!(": {}", remarks.join(", ")) }
}

/// Makes a change durable where nothing serves the state, whose lock the caller holds: the next start
/// serves it. Gives the state after it and its revision. Blocks.
///
/// # Errors
/// Nothing has changed then.
pub(crate) fn persist(
    store: &dyn StateStore,
    state: &State,
    change: Change,
    by: &Requester,
) -> Result<(State, Revision), ChangeError> {
    let kind = change.kind();
    let next = change.next(state)?.unwrap_or_else(|| state.clone());
    let revision = store.commit(&next, &note(kind, by))?;
    Ok((next, revision))
}
