//! `/v2` and `/v2/{language}`: the realtime Speech API over WebSocket. Specification: speech,
//! section 3.
//!
//! The protocol is `portcullis_speech::realtime::protocol`; [`session`] carries it: frames in,
//! actions out. What computes and what touches the disk runs on threads of the speech side.

mod session;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    dev::ResourceDef,
    web::{self, Payload, ServiceConfig},
};
use portcullis_actors::{metrics::METRICS, sessions::SessionBoard};
use portcullis_speech::{
    Speech,
    measures::Measures,
    realtime::{Pipes, protocol::Limits},
};

use crate::service::{Authentication, Context, Mount, Service, endpoint::Endpoint};

/// The routes below `/v2`. A language must not be what the general listeners have there as well.
const PATHS: [&str; 4] = [
    "",
    "/",
    "/{language:[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})*|auto|multi}",
    "/{language:[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})*|auto|multi}/",
];

/// `[realtime]`: how many sessions there may be, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealtimeSettings {
    /// Sessions at once.
    pub max_sessions: usize,
    /// How many of them may be of one address.
    pub max_sessions_per_address: usize,
    pub limits: Limits,
    /// A peer of whom nothing was heard for so long is cut off; it is pinged four times as often.
    pub peer_timeout: Duration,
    /// How long a session may tell what it has heard once the appliance stops.
    pub flush: Duration,
    /// Origins such as `https://app.example.com` whose pages may open WebSockets here.
    pub allowed_origins: Vec<String>,
}

impl Default for RealtimeSettings {
    /// Four sessions for each core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            max_sessions: 4 * cores,
            max_sessions_per_address: Self::share_of(4 * cores),
            limits: Limits::default(),
            peer_timeout: Duration::from_secs(90),
            flush: Duration::from_secs(24),
            allowed_origins: Vec::new(),
        }
    }
}

impl RealtimeSettings {
    /// What one address may have of so many sessions if nothing else is said: all but an eighth, and
    /// all but one at least, so that a single client works and does not keep the others out.
    #[must_use]
    pub fn share_of(max_sessions: usize) -> usize {
        (max_sessions - (max_sessions / 8).max(1)).max(1)
    }
}

/// The realtime Speech API.
#[derive(Default)]
pub struct Realtime {
    /// Made once, when the first listener asks for the routes.
    pipes: OnceLock<Option<Arc<Pipes>>>,
    /// The paths of its routes.
    paths: OnceLock<ResourceDef>,
}

/// What all sessions share.
struct RealtimeContext {
    speech: Arc<Speech>,
    sessions: SessionBoard,
    pipes: Option<Arc<Pipes>>,
    settings: RealtimeSettings,
    /// Name and version of the appliance.
    version: String,
}

impl Service for Realtime {
    fn name(&self) -> &'static str {
        "realtime"
    }

    fn mounts(&self, context: &Context) -> Vec<Mount> {
        let facts = &context.appliance;
        let sessions = context.owners.sessions.clone();
        let settings = &facts.realtime;
        sessions.set_capacity(Some(settings.max_sessions), Some(settings.max_sessions_per_address));
        let pipes = self.pipes.get_or_init(|| {
            let started = Pipes::start(&facts.data_dir.join("realtime"), Arc::new(measured));
            let told = |err| log::error!("realtime sessions cannot be served: {err}");
            started.map_err(told).ok().map(Arc::new)
        });
        let shared = Arc::new(RealtimeContext {
            speech: context.speech.clone(),
            sessions,
            pipes: pipes.clone(),
            settings: facts.realtime.clone(),
            version: format!("{} {}", facts.name, facts.version),
        });
        vec![Mount::new("/v2", Authentication::JobToken, move |config| routes(shared, config))]
    }

    fn takes_websocket(&self, path: &str) -> bool {
        let patterns = || PATHS.map(|path| format!("/v2{path}"));
        self.paths.get_or_init(|| ResourceDef::new(patterns())).is_match(path)
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        serde_json::from_str(include_str!("openapi.json")).ok()
    }

    fn http1_only(&self) -> bool {
        true
    }
}

fn routes(shared: Arc<RealtimeContext>, config: &mut ServiceConfig) {
    config.app_data(web::Data::from(shared));
    for path in PATHS {
        Endpoint::new(path).get(open).register(config);
    }
}

/// `GET /v2[/{language}]` with an upgrade to WebSocket.
async fn open(
    shared: web::Data<RealtimeContext>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    session::start(shared.into_inner(), &request, payload)
}

/// What a channel has cost and how late it was, once it is over.
fn measured(measures: &Measures) {
    if let Some(factor) = measures.real_time_factor() {
        METRICS.realtime_factor.observe(factor);
    }
    for (delay, words) in measures.delays() {
        for _ in 0..words {
            METRICS.realtime_final_delay.observe(delay.as_secs_f64());
        }
    }
}
