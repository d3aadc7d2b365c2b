//! Handing a listener over to a new generation, as changes ask the supervisor for it.

use std::collections::BTreeMap;

use actix::Message;

use crate::request_id::RequestId;

/// The number of a generation; each listener counts its own from 1.
pub type GenerationNumber = u64;

/// The new generation of each listener that was handed over, by the listener's name.
pub type Generations = BTreeMap<String, GenerationNumber>;

/// Which listeners a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Tls,
    Plain,
    All,
}

impl Scope {
    /// This one and the other.
    pub(crate) fn and(self, other: Option<Self>) -> Option<Self> {
        let other = other.unwrap_or(self);
        Some(if self == other { self } else { Self::All })
    }
}

/// Starts a new generation on each listener in scope and drains the old ones; replies once the
/// new ones accept. What the change is about must have been published before.
#[derive(Debug, Message)]
#[rtype(result = "Result<Generations, HandoverError>")]
pub(crate) struct Handover {
    pub(crate) scope: Scope,
    pub(crate) reason: String,
    /// The request that asked for the change.
    pub(crate) request_id: Option<RequestId>,
}

/// A new generation could not start; the old ones go on serving.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` could not start a new generation")]
pub struct HandoverError {
    pub listener: String,
    #[source]
    pub source: std::io::Error,
}
