//! Who owns what behind the front door.
//!
//! | owner | state | speaks to |
//! |---|---|---|
//! | [`certificate::CertificateActor`] | the active certified key, the default one | the supervisor, to hand over |
//! | [`auth::AuthActor`] | the admin credential, the job token, failed attempts | nobody |
//! | [`supervisor::ListenerSupervisor`] | the bound sockets, the exposure, every generation | nobody |
//!
//! Writers are actors, readers hold snapshots: each owner publishes its state, and requests and
//! handshakes read it without waiting. A change is one transaction that holds the
//! [`ledger::Ledger`] while it persists, publishes and hands over. This crate knows no route.

pub mod audit;
pub mod auth;
pub mod certificate;
pub mod ledger;
mod owners;
pub mod store;
pub mod supervisor;
pub mod watch;

pub use self::{
    ledger::Requester,
    owners::{ChangeError, Owners, OwnersSlot, Prepared, ReloadError, StartError, factory_state},
};
