//! What the [`ListenerSupervisor`](super::ListenerSupervisor) is asked.

use std::{net::SocketAddr, time::Duration};

use actix::Message;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::CarriedRequest;
use crate::{
    change::ChangeError,
    handover::{GenerationNumber, Generations},
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GenerationState {
    Serving,
    Draining,
}

/// One generation and what it carries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GenerationStatus {
    pub number: GenerationNumber,
    pub state: GenerationState,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: OffsetDateTime,
    /// Why it began, in the past tense.
    pub reason: String,
    /// Open connections, idle ones and handshakes included.
    pub connections: usize,
    /// Requests being answered, WebSockets not counted.
    pub requests_in_progress: usize,
    pub websockets: usize,
    /// Requests begun since the start of this generation, WebSockets included.
    pub requests_total: u64,
    /// The oldest 50 uploads, then the oldest 50 WebSockets.
    pub carried: Vec<CarriedRequest>,
    /// How many more uploads and WebSockets there are.
    pub carried_left_out: usize,
}

impl ListenerStatus {
    /// Whether new connections are accepted.
    #[must_use]
    pub fn has_serving_generation(&self) -> bool {
        self.generations.iter().any(|generation| generation.state == GenerationState::Serving)
    }
}
