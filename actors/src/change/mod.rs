//! Changes of the state: one at a time, durable before they serve.
//!
//! A [`Change`] says what is asked for, and its [`ChangeKind`] what others call it. `Writer` makes
//! it: it is the only one that persists, publishes, hands over and takes back. [`Ledger`] holds the
//! state and lets one change at a time begin. What is published are `Snapshot`s; whoever owns one
//! brings it.

mod error;
mod kind;
mod ledger;
mod next;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

pub use self::{error::ChangeError, kind::ChangeKind, ledger::Ledger, next::Change};
pub(crate) use self::{
    ledger::note,
    snapshot::{Prepared, Snapshot, Undo},
    writer::{Transaction, Writer, persist},
};
