//! What a service is.
//!
//! | module | what |
//! |---|---|
//! | [`kind`] | what a kind of service reads from the configuration, and how a service starts |
//! | [`table`] | a table of the configuration, read key by key |
//! | [`door`] | what a service learns from the door |
//! | [`mount`] | where a service answers, and for whom |
//! | [`endpoint`] | a path with its methods |
//! | [`generation`] | the generation that a request came in on |
//! | [`health`] | how a service is |
//! | [`openapi`] | its part of the API document |
//! | [`house`] | all services that run |

#![warn(missing_docs)]

pub mod door;
pub mod endpoint;
pub mod generation;
pub mod health;
pub mod house;
pub mod kind;
pub mod mount;
pub mod openapi;
pub mod table;

use futures::future::{LocalBoxFuture, ready};

pub use self::{
    door::{ApplianceFacts, Context, Door},
    health::{Folder, Health},
    house::{Absent, House, Resident},
    kind::{Kind, Start, StartError, Tables},
    mount::{Authentication, Mount},
};

/// A service that runs behind the front door.
///
/// One value serves all listeners and threads. [`Kind`] makes it from the configuration; a service that
/// has nothing to configure and nothing to start goes to the appliance as it is.
///
/// ```
/// use portcullis::{Authentication, Endpoint, Mount, Service};
///
/// struct Greeter;
///
/// impl Service for Greeter {
///     fn mounts(&self) -> Vec<Mount> {
///         vec![Mount::new("/greeter", Authentication::Open, |config| {
///             Endpoint::new("/hello").get(hello).register(config);
///         })]
///     }
/// }
///
/// async fn hello() -> &'static str {
///     "hello\n"
/// }
/// ```
pub trait Service: Send + Sync + 'static {
    /// The paths that it answers. Asked for by each generation of a listener that carries it; has no
    /// effect beside.
    fn mounts(&self) -> Vec<Mount>;

    /// Paths that the management API answers for it, on the listeners that carry that: behind the
    /// admin password, below `/v2/management`.
    fn administration(&self) -> Vec<Mount> {
        Vec::new()
    }

    /// Its part of the OpenAPI 3.1 document: an object with `paths` and, if need be, `components`;
    /// `None` for a service that documents nothing.
    fn openapi(&self) -> Option<serde_json::Value> {
        None
    }

    /// How it is, as `health` reports under its name; `None`: there is nothing to report. Asked for each
    /// time that somebody looks at `health`; it has five seconds to say so.
    fn health(&self) -> LocalBoxFuture<'_, Option<Health>> {
        Box::pin(ready(None))
    }

    /// What it keeps on the disk.
    fn folders(&self) -> Vec<Folder> {
        Vec::new()
    }

    /// The languages that it can work in, for `about`; `None` for a service that has nothing to do with
    /// language.
    fn languages(&self) -> Option<Languages> {
        None
    }

    /// Whether it speaks WebSocket only, so that a TLS listener with nothing else offers
    /// `http/1.1` alone in ALPN.
    fn http1_only(&self) -> bool {
        false
    }

    /// Whether the appliance is administered by it: its listeners keep a share of the connections
    /// which clients of other listeners cannot take.
    fn administers(&self) -> bool {
        false
    }

    /// Puts away what it has, once the connections have ended or the time for that is over. Called once,
    /// on a thread where it may block for some seconds; not at all if the appliance does not come to serve,
    /// or is killed.
    fn stop(&self) {}
}

/// Languages that a service can work in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages {
    /// Their codes (ISO 639-1 or -3).
    pub codes: Vec<String>,
    /// Whether it finds the language of what it is given by itself.
    pub identifies: bool,
}
