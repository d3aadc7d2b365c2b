//! Connections: how they come in, who serves them, what they carry, and how they are talked into
//! ending. `LIFECYCLE.md` tells the life of a generation.
//!
//! A connection's way in: `acceptor` takes it from the kernel on a worker of the `pool`, `entrance`
//! finds it a place and makes the TLS handshake, `http1` or `http2` serves it.

mod acceptor;
mod admission;
mod answers;
mod app;
mod carried;
mod connection;
mod context;
mod entrance;
mod generation;
mod http1;
mod http2;
mod load;
mod offers;
mod places;
mod plan;
mod pool;
pub mod room;
mod sockets;
mod stream;
mod upgrade;
mod worker;

pub(crate) use self::{
    acceptor::Acceptors,
    admission::Admission,
    context::Lines,
    entrance::Entrance,
    generation::Generation,
    pool::Pool,
    sockets::{bind, prepare, refuse_newcomers},
};
pub use self::{
    carried::CarriedRequest,
    connection::{Connection, HEAD_TIMEOUT, RequestInProgress, Tracked},
    context::GenerationContext,
    generation::{GenerationState, GenerationStatus},
    offers::TakesWebSocket,
    places::AdmissionLimits,
    plan::{Application, ContinueGate, HttpApp, ListenerApplication, ListenerPlan, Tls},
    sockets::BindError,
};
