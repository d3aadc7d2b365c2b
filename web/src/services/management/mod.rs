//! `/v2/management`: what runs here and how it is. Specification: appliance, section 2.

mod about;
mod events;
mod figures;
mod health;
mod logs;
mod power;
mod realtime;
mod settings;

use actix_web::{
    HttpResponse,
    http::Method,
    web::{self, ServiceConfig},
};
use portcullis_actors::{
    supervise,
    supervisor::{GetListeners, ListenerStatus},
};
use serde::Serialize;
use utoipa::OpenApi;

pub use self::about::StandingWarning;
pub(crate) use self::about::standing_warnings;
use crate::{
    http::error::{ApiError, Code, ErrorBody},
    service::{
        Authentication, Context, Mount, Service,
        endpoint::Endpoint,
        openapi::{self, Refusals},
    },
    services::shared::docs,
};

/// The management API, with `/healthz` and `/readyz` beside it.
#[derive(Debug, Default)]
pub struct Management;

impl Service for Management {
    fn name(&self) -> &'static str {
        "management"
    }

    fn administers(&self) -> bool {
        true
    }

    fn takes_websocket(&self, _path: &str) -> bool {
        false
    }

    fn mounts(&self, context: &Context) -> Vec<Mount> {
        let (api, ready) = (context.clone(), context.clone());
        vec![
            Mount::new("/v2/management", Authentication::Admin, move |config| routes(api, config)),
            Mount::new("/docs", Authentication::Admin, {
                let context = context.clone();
                move |config| {
                    config.app_data(web::Data::new(context));
                    Endpoint::new("/openapi.json").get(openapi).register(config);
                    docs::routes("/docs", config);
                }
            }),
            Mount::new("/healthz", Authentication::Open, |config| {
                Endpoint::new("").get(healthz).register(config);
            })
            .for_any_host(),
            Mount::new("/readyz", Authentication::Open, move |config| {
                config.app_data(web::Data::new(ready));
                Endpoint::new("").get(readyz).register(config);
            })
            .for_any_host(),
        ]
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        openapi::part(&Document::openapi())
    }
}

#[derive(OpenApi)]
#[openapi(paths(
    about::about,
    health::health,
    figures::cpuinfo,
    figures::meminfo,
    figures::diskinfo,
    figures::nodeinfo,
    events::events,
    settings::get_settings,
    settings::put_settings,
    settings::get_cleanup_interval,
    settings::set_cleanup_interval,
    power::reboot,
    power::shutdown,
    power::cancel_reboot,
    power::cancel_shutdown,
    realtime::sessions,
    realtime::ready,
    logs::logs,
    logs::zip,
    listeners,
    healthz,
    readyz,
    openapi,
))]
struct Document;

/// `GET /docs/openapi.json`: the API of the services that some listener carries.
#[utoipa::path(get, path = "/docs/openapi.json", tag = "Management", operation_id = "OpenApi", responses((status = 200, body = Object, content_type = "application/json"), Refusals))]
async fn openapi(context: web::Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(&context.appliance.openapi)
}

fn routes(context: Context, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(context));
    Endpoint::new("/host/about").get(about::about).register(config);
    Endpoint::new("/host/realtime/sessions").get(realtime::sessions).register(config);
    Endpoint::new("/host/realtime/ready").get(realtime::ready).register(config);
    Endpoint::new("/listeners").get(listeners).register(config);
    Endpoint::new("/health").get(health::health).register(config);
    Endpoint::new("/cpuinfo").get(figures::cpuinfo).register(config);
    Endpoint::new("/meminfo").get(figures::meminfo).register(config);
    Endpoint::new("/diskinfo").get(figures::diskinfo).register(config);
    Endpoint::new("/nodeinfo").get(figures::nodeinfo).register(config);
    Endpoint::new("/events").get(events::events).register(config);
    Endpoint::new("/settings")
        .get(settings::get_settings)
        .method(Method::PUT, settings::put_settings)
        .register(config);
    Endpoint::new("/cleanupinterval")
        .get(settings::get_cleanup_interval)
        .post(settings::set_cleanup_interval)
        .register(config);
    Endpoint::new("/reboot").delete(power::reboot).register(config);
    Endpoint::new("/shutdown").delete(power::shutdown).register(config);
    Endpoint::new("/reboot/cancel").post(power::cancel_reboot).register(config);
    Endpoint::new("/shutdown/cancel").post(power::cancel_shutdown).register(config);
    Endpoint::new("/logs").get(logs::logs).register(config);
    Endpoint::new("/logs/zip").get(logs::zip).register(config);
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Listeners {
    listeners: Vec<ListenerStatus>,
}

/// `GET /v2/management/listeners`
#[utoipa::path(get, path = "/v2/management/listeners", tag = "Diagnostics", operation_id = "Listeners", responses((status = 200, body = Listeners), Refusals))]
async fn listeners(context: web::Data<Context>) -> Result<web::Json<Listeners>, ApiError> {
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    Ok(web::Json(Listeners { listeners }))
}

/// `GET /healthz`: the process answers.
#[utoipa::path(get, path = "/healthz", tag = "Diagnostics", operation_id = "Live", security(()), responses((status = 200, content_type = "text/plain", body = String), (status = 400, body = ErrorBody)))]
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`: every listener has a generation that serves, and every owner runs.
#[utoipa::path(get, path = "/readyz", tag = "Diagnostics", operation_id = "Ready", security(()), responses((status = 200, content_type = "text/plain", body = String), (status = 400, body = ErrorBody), (status = 503, body = ErrorBody)))]
async fn readyz(context: web::Data<Context>) -> Result<HttpResponse, ApiError> {
    if let [owner, ..] = &supervise::dead()[..] {
        let reason = format!("the owner of {owner} died and does not run yet");
        return Err(ApiError::unavailable(Code::NOT_READY, reason));
    }
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    if listeners.iter().all(ListenerStatus::has_serving_generation) {
        Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
    } else {
        Err(ApiError::Unavailable)
    }
}
