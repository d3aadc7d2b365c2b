//! `/v2` and `/v2/{language}`: the realtime Speech API over WebSocket.
//!
//! The protocol is `portcullis_speech::realtime::protocol`; `session` carries it: frames in,
//! actions out. What computes and what touches the disk runs on threads of the speech side.

mod administration;
mod board;
mod figures;
mod session;
mod settings;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, Payload, ServiceConfig},
};
use futures::future::LocalBoxFuture;
use portcullis_speech::{Speech, realtime::Pipes};
use utoipa::OpenApi;

use self::{board::SessionBoard, figures::Figures, settings::RealtimeSettings};
use crate::{
    service::{
        Authentication, Health, Kind, Languages, Mount, Service, Start, StartError, Tables,
        endpoint::Endpoint, openapi, table::ConfigError,
    },
    services::shared::speech::{self, SpeechRoom},
};

/// The routes below `/v2`. A language must not be what the general listeners have there as well.
const PATHS: [&str; 4] = [
    "",
    "/",
    "/{language:[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})*|auto|multi}",
    "/{language:[A-Za-z]{2,3}(?:[-_][A-Za-z]{2,4})*|auto|multi}/",
];

/// The share of `shutdown_timeout` in which sessions may tell what they have heard.
const FLUSH: f64 = 0.8;

/// The kind of the realtime Speech API.
pub struct Realtime {
    speech: SpeechRoom,
}

impl Realtime {
    /// Recognises with what `speech` holds, which the batch service may use too.
    #[must_use]
    pub fn new(speech: SpeechRoom) -> Self {
        Self { speech }
    }
}

impl Kind for Realtime {
    fn name(&self) -> &'static str {
        "realtime"
    }

    fn shared_tables(&self) -> &'static [&'static str] {
        &[speech::TABLE]
    }

    fn components(&self) -> &'static [&'static str] {
        &["realtime", "realtime_inference"]
    }

    fn administration_prefix(&self) -> Option<&'static str> {
        Some(administration::PREFIX)
    }

    fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
        let speech_settings = speech::read(tables.shared(speech::TABLE))?;
        let settings = settings::read(&mut tables.own)?;
        let room = self.speech.clone();
        Ok(Start::new(move |door| async move {
            let figures = Figures::default();
            door.figures(|registry| figures.register(registry));
            let (capacity, share) = (settings.max_sessions, settings.max_sessions_per_address);
            let board =
                SessionBoard::new(door.events().clone(), figures.open.clone(), capacity, share);
            let measured = {
                let figures = figures.clone();
                Arc::new(move |measures: &_| figures.measured(measures))
            };
            let facts = door.appliance();
            let pipes = Pipes::start(&facts.data_dir.join("realtime"), measured);
            if let Err(err) = &pipes {
                log::error!("realtime sessions cannot be served: {err}");
            }
            Ok::<_, StartError>(RunningRealtime(Arc::new(RealtimeContext {
                speech: room.start(&speech_settings),
                sessions: board,
                figures,
                pipes: pipes.ok(),
                settings,
                flush: facts.shutdown_timeout.mul_f64(FLUSH),
                version: format!("{} {}", facts.name, facts.version),
            })))
        }))
    }
}

/// The realtime Speech API.
struct RunningRealtime(Arc<RealtimeContext>);

/// What all sessions share.
struct RealtimeContext {
    speech: Arc<Speech>,
    sessions: SessionBoard,
    figures: Figures,
    /// `None`: they could not be started, which was logged.
    pipes: Option<Pipes>,
    settings: RealtimeSettings,
    /// How long a session may tell what it has heard once the appliance stops.
    flush: Duration,
    /// Name and version of the appliance.
    version: String,
}

impl Service for RunningRealtime {
    fn mounts(&self) -> Vec<Mount> {
        let shared = self.0.clone();
        let mount = Mount::new("/v2", Authentication::JobToken, move |config| {
            routes(shared.clone(), config);
        });
        let origins = self.0.settings.allowed_origins.as_slice();
        vec![mount.with_websockets(PATHS).allowing_origins(origins)]
    }

    fn administration(&self) -> Vec<Mount> {
        vec![administration::mount(self.0.sessions.clone())]
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        let own = serde_json::from_str(include_str!("openapi.json")).ok()?;
        let administration = openapi::part(&administration::Document::openapi())?;
        Some(openapi::joined([own, administration]))
    }

    /// As the recogniser is, with a warning while no further session is taken.
    fn health(&self) -> LocalBoxFuture<'_, Option<Health>> {
        let mut health = speech::health(&self.0.speech);
        let sessions = &self.0.sessions;
        if health.is_good() && !sessions.is_ready() {
            health = health.with_warning(format!("all {} sessions are taken", sessions.count()));
        }
        Box::pin(std::future::ready(Some(health)))
    }

    fn languages(&self) -> Option<Languages> {
        Some(speech::languages(&self.0.speech))
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
