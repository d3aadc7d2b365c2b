//! `/v2/management`: what runs here and how it is.

mod about;
mod events;
mod figures;
mod health;
mod logs;
mod power;
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
        Absent, Authentication, Context, Kind, Mount, Service, Start, StartError, Tables,
        endpoint::Endpoint,
        openapi::{self, Refusals},
        table::ConfigError,
    },
    services::shared::docs,
};

/// The kind of the management API.
#[derive(Debug, Default)]
pub struct Management;

impl Kind for Management {
    fn name(&self) -> &'static str {
        "management"
    }

    fn configure(&self, _: &mut Tables<'_>) -> Result<Start, ConfigError> {
        Ok(Start::new(|door| async move {
            Ok::<_, StartError>(RunningManagement(web::Data::new(door.context().clone())))
        }))
    }
}

/// The management API, with `/healthz` and `/readyz` beside it.
struct RunningManagement(web::Data<Context>);

impl Service for RunningManagement {
    fn administers(&self) -> bool {
        true
    }

    fn mounts(&self) -> Vec<Mount> {
        let with_context = |routes: fn(&mut ServiceConfig)| {
            let context = self.0.clone();
            move |config: &mut ServiceConfig| {
                config.app_data(context.clone());
                routes(config);
            }
        };
        let mut mounts = vec![
            Mount::new("/v2/management", Authentication::Admin, with_context(routes)),
            Mount::new(
                "/docs",
                Authentication::Admin,
                with_context(|config| {
                    Endpoint::new("/openapi.json").get(openapi).register(config);
                    docs::routes("/docs", config);
                }),
            ),
            Mount::new("/healthz", Authentication::Open, |config| {
                Endpoint::new("").get(healthz).register(config);
            })
            .for_any_host(),
            Mount::new(
                "/readyz",
                Authentication::Open,
                with_context(|config| Endpoint::new("").get(readyz).register(config)),
            )
            .for_any_host(),
        ];
        let house = &self.0.house;
        let residents = house.residents().iter();
        mounts.extend(residents.flat_map(|resident| resident.service.administration()));
        mounts.extend(house.absent().iter().filter_map(not_served));
        mounts
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
    HttpResponse::Ok().json(context.house.openapi())
}

/// Where it is said that a service is not served.
fn not_served(absent: &Absent) -> Option<Mount> {
    let name = absent.name.clone();
    let text = format!("this appliance serves no {name}: no listener lists the service `{name}`");
    let answer = move || {
        let text = text.clone();
        async move { Err::<String, _>(ApiError::missing(Code::NOT_SERVED, text)) }
    };
    Some(Mount::new(absent.administration_prefix?, Authentication::Admin, move |config| {
        // Not the scope's default service, which is the listener's own.
        let everything = web::resource(["", "/{below:.*}"]);
        config.service(everything.route(web::route().to(answer.clone())));
    }))
}

fn routes(config: &mut ServiceConfig) {
    Endpoint::new("/host/about").get(about::about).register(config);
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
