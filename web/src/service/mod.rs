//! What a listener is made of.

pub mod endpoint;
pub mod openapi;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Instant};

use actix_web::web::ServiceConfig;
use portcullis_actors::{Owners, watch::WatchedCertificate};
use portcullis_speech::Speech;

use crate::{
    front::names::PublicNames,
    outbound::Outbound,
    services::{monitoring::Prometheus, realtime::RealtimeSettings},
};

/// A service behind the front door: a name for the configuration, and its mounts.
///
/// One value serves all listeners and threads; state that handlers share belongs in an `Arc`
/// that [`Service::mounts`] clones into its routes.
pub trait Service: Send + Sync + 'static {
    /// The name under which listeners list it: lower case, unique.
    fn name(&self) -> &'static str;

    /// The paths it answers. Called for each worker of each generation of a listener.
    fn mounts(&self, context: &Context) -> Vec<Mount>;

    /// Its part of the OpenAPI 3.1 document: an object with `paths` and, if need be,
    /// `components`; `None` for a service that documents nothing.
    fn openapi(&self) -> Option<serde_json::Value> {
        None
    }

    /// Whether a path below one of its mounts takes WebSockets. On every other path the offer of an
    /// upgrade is ignored: the request is answered as if it were not there.
    fn takes_websocket(&self, _path: &str) -> bool {
        true
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
}

/// Who may use a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// Anybody.
    Open,
    /// Basic authentication as `admin`, unless it was switched off.
    Admin,
    /// The same, or one of the scrapers' bearer tokens for GET and HEAD.
    Monitoring,
    /// `Authorization: Bearer` with the job token, while one is set.
    JobToken,
}

/// A path prefix and the routes below it.
pub struct Mount {
    pub(crate) prefix: &'static str,
    pub(crate) authentication: Authentication,
    pub(crate) any_host: bool,
    pub(crate) routes: Box<dyn FnOnce(&mut ServiceConfig)>,
}

impl Mount {
    /// Mounts `routes` below `prefix` (`/echo`; the empty prefix is everything). Route patterns
    /// are relative to it.
    #[must_use]
    pub fn new(
        prefix: &'static str,
        authentication: Authentication,
        routes: impl FnOnce(&mut ServiceConfig) + 'static,
    ) -> Self {
        Self { prefix, authentication, any_host: false, routes: Box::new(routes) }
    }

    /// Answers browsers whatever name they reached the appliance by: for what tells nothing and
    /// does nothing, such as the probes of a load balancer. Everything else is refused under a
    /// name that is not the appliance's, see `host_names` in the configuration.
    #[must_use]
    pub fn for_any_host(mut self) -> Self {
        self.any_host = true;
        self
    }
}

/// What services may know and use.
#[derive(Clone)]
pub struct Context {
    pub owners: Owners,
    pub appliance: Arc<ApplianceFacts>,
    /// The recogniser and the jobs.
    pub speech: Arc<Speech>,
}

/// A port that a listener of ours is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPort {
    pub port: u16,
    /// Whether it speaks plain HTTP, and whether it speaks TLS.
    pub plain: bool,
    pub tls: bool,
}

impl OwnPort {
    /// Whether it is this port, and speaks TLS or plain HTTP as asked.
    pub(crate) fn serves(&self, tls: bool, port: u16) -> bool {
        self.port == port && if tls { self.tls } else { self.plain }
    }
}

/// What is fixed for the life of the process.
#[derive(Debug)]
pub struct ApplianceFacts {
    /// The name of the appliance, for `about`.
    pub name: String,
    pub version: &'static str,
    pub started: Instant,
    /// The address that each listener was bound to, by its name.
    pub addresses: BTreeMap<String, SocketAddr>,
    /// The ports of all listeners, and what they speak.
    pub ports: Vec<OwnPort>,
    /// What the configuration says about names and origins outside.
    pub names: PublicNames,
    /// Names of the services that some listener carries.
    pub services: Vec<String>,
    /// The files that the certificate is followed from, if any.
    pub watched_certificate: Option<WatchedCertificate>,
    /// Whether a certificate may be uploaded although files are followed.
    pub upload_beside_watch: bool,
    /// Where state, log and all that the services keep lies.
    pub data_dir: PathBuf,
    /// The text of the configuration, secrets masked.
    pub configuration: String,
    /// The Prometheus that graphs and queries are handed to.
    pub prometheus: Option<Prometheus>,
    /// What sends requests to addresses that others name.
    pub outbound: Arc<Outbound>,
    /// How realtime sessions are served.
    pub realtime: RealtimeSettings,
    /// The OpenAPI document of the services that are served.
    pub openapi: serde_json::Value,
}
