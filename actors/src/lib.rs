//! Who owns what behind the front door.
//!
//! | owner | state |
//! |---|---|
//! | [`certificate::CertificateActor`] | the active certified key, the default one, waiting keys |
//! | [`auth::AuthActor`] | the admin credential, the job token, failed attempts |
//! | [`supervisor::ListenerSupervisor`] | the bound sockets, the exposure, every generation |
//! | [`power::PowerActor`] | the reboot or shutdown that is scheduled |
//!
//! Writers are actors, readers hold snapshots: requests and handshakes read what an owner has
//! published, without waiting. The owners make changes through one writer (see [`change`]), which
//! holds the [`change::Ledger`] while it persists, publishes and asks the supervisor to hand over.
//! What has happened is published in the [`events::EventLog`] and counted in [`metrics`]. This
//! crate knows no route.

pub mod audit;
pub mod auth;
pub mod blocking;
pub mod bounds;
mod bucket;
pub mod certificate;
pub mod change;
pub mod clock;
pub mod engine;
pub mod events;
pub mod files;
pub mod handover;
pub mod logging;
pub mod metrics;
pub mod now_and_then;
mod owners;
pub mod power;
pub mod pulse;
pub mod request_id;
mod requester;
pub mod settings;
pub mod storage;
pub mod store;
pub mod supervise;
pub mod supervisor;
mod tls;
pub mod watch;

pub use self::{
    change::ChangeError,
    owners::{
        Configured, Owners, Prepared, ReloadError, RollbackError, StartError, change_stopped,
        factory_state, roll_back,
    },
    request_id::RequestId,
    requester::Requester,
};
