//! What a listener is, and what answers on it.

use std::sync::Arc;

use actix_http::{Request, Response, body::BoxBody};
use actix_service::boxed;

use super::offers::TakesWebSocket;

/// What answers the requests of a listener, made once a worker.
pub type HttpApp = boxed::BoxServiceFactory<(), Request, Response<BoxBody>, Response<BoxBody>, ()>;

/// What judges a request that waits for `100 Continue` before it sends its body; made once a
/// worker. It gives the request back, or the answer that is sent instead.
pub type ContinueGate = boxed::BoxServiceFactory<(), Request, Request, Response<BoxBody>, ()>;

/// What answers on the listeners, as the supervisor needs it: it never learns what that is.
pub trait Application: Send + Sync + 'static {
    /// What answers on this listener; its generations share it.
    fn on(&self, listener: &ListenerPlan) -> Arc<dyn ListenerApplication>;
}

/// What answers on one listener.
pub trait ListenerApplication: Send + Sync + 'static {
    /// Asked for by each worker.
    fn app(&self) -> HttpApp;
    /// Asked for by each worker.
    fn continue_gate(&self) -> ContinueGate;
    /// Which paths take WebSockets: on all others the offer of one is no more than a request.
    fn takes_websocket(&self) -> TakesWebSocket;
    /// Whether `h2` is offered in ALPN.
    fn offers_http2(&self) -> bool;
    /// Whether the administration is behind it, so that it keeps a share of the connections.
    fn administers(&self) -> bool;
}

/// What a listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerPlan {
    pub name: String,
    /// As configured; the port may be 0.
    pub address: std::net::SocketAddr,
    pub tls: Tls,
    /// The names of the services, in the order of the configuration.
    pub services: Vec<String>,
    /// The TLS listener where requests go while plain ports are off.
    pub redirect_to: Option<String>,
    /// The port that redirects to `redirect_to` name where it is another one outside.
    pub redirect_port: Option<u16>,
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP only: it redirects while plain ports are off.
    Off,
    /// TLS only.
    On,
    /// Both on one port, told apart by the first byte; the plain side redirects while plain ports
    /// are off.
    Auto,
}

impl Tls {
    #[must_use]
    pub fn takes_tls(self) -> bool {
        matches!(self, Self::On | Self::Auto)
    }

    #[must_use]
    pub fn takes_plain(self) -> bool {
        matches!(self, Self::Off | Self::Auto)
    }
}
