//! What the [`ListenerSupervisor`](super::ListenerSupervisor) is asked.

use std::{net::SocketAddr, time::Duration};

use actix::Message;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    change::ChangeError,
    engine::{GenerationState, GenerationStatus},
    handover::Generations,
    requester::Requester,
};

/// Lets plain ports serve (`true`) or redirect (`false`); replies once new requests find it so.
#[derive(Debug, Message)]
#[rtype(result = "Result<Generations, ChangeError>")]
pub struct SetInsecurePorts {
    pub enabled: bool,
    pub by: Requester,
}

/// Replies with every listener and its generations, oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<ListenerStatus>")]
pub struct GetListeners;

/// Stops accepting, tells WebSockets to close, and replies when the last request was answered or
/// the timeout is over; what is left then is cut. The reply tells how many connections were cut.
#[derive(Debug, Message)]
#[rtype(result = "usize")]
pub struct Shutdown {
    pub timeout: Duration,
}

/// One listener and what serves on it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ListenerStatus {
    pub name: String,
    #[schema(value_type = String)]
    pub address: SocketAddr,
    /// It is no longer configured and accepts nothing; what it carries drains.
    pub removed: bool,
    pub tls: bool,
    pub exposure: Exposure,
    pub services: Vec<String>,
    pub redirect_to: Option<String>,
    pub generations: Vec<GenerationStatus>,
}

/// What a listener does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Exposure {
    Serving,
    Redirecting,
}

impl ListenerStatus {
    /// Whether new connections are accepted.
    #[must_use]
    pub fn has_serving_generation(&self) -> bool {
        self.generations.iter().any(|generation| generation.state == GenerationState::Serving)
    }
}
