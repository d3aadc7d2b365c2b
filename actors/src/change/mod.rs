//! Changes of the state: one at a time, durable before they serve.

mod error;
mod ledger;

pub(crate) use self::ledger::Change;
pub use self::{error::ChangeError, ledger::Ledger};
