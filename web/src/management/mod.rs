//! `/v2/management`: what runs here and how it is. Specification: appliance, section 2.

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use portcullis_actors::supervisor::{GetListeners, ListenerStatus};
use serde::Serialize;
use serde_json::json;
use time::OffsetDateTime;

use crate::{
    error::ApiError,
    routes::Endpoint,
    security::CertificateView,
    service::{Authentication, Context, Mount, Service},
};

/// The management API, with `/healthz` and `/readyz` beside it.
#[derive(Debug, Default)]
pub struct Management;

impl Service for Management {
    fn name(&self) -> &'static str {
        "management"
    }

    fn mounts(&self, context: &Context) -> Vec<Mount> {
        let (api, ready) = (context.clone(), context.clone());
        vec![
            Mount::new("/v2/management", Authentication::Admin, move |config| routes(api, config)),
            Mount::new("/healthz", Authentication::Open, |config| {
                Endpoint::new("").get(healthz).register(config);
            }),
            Mount::new("/readyz", Authentication::Open, move |config| {
                config.app_data(web::Data::new(ready));
                Endpoint::new("").get(readyz).register(config);
            }),
        ]
    }
}

fn routes(context: Context, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(context));
    Endpoint::new("/host/about").get(about).register(config);
    Endpoint::new("/listeners").get(listeners).register(config);
}

/// What an administrator should know about without asking.
#[derive(Debug, Clone, Serialize)]
pub struct StandingWarning {
    /// Stable, in kebab case.
    pub code: &'static str,
    pub message: String,
}

/// The warnings that hold now.
pub(crate) fn standing_warnings(context: &Context) -> Vec<StandingWarning> {
    let mut warnings = Vec::new();
    let mut warn = |code, message: String| warnings.push(StandingWarning { code, message });
    let authenticator = &context.owners.authenticator;
    if !authenticator.is_enabled() {
        warn(
            "authentication-off",
            "authentication is off: anybody who reaches this appliance may administer it".into(),
        );
    }
    if authenticator.has_default_password() == Some(true) {
        warn("default-password", "the admin password is the default one; set another with POST /v2/security/adminpassword".into());
    }
    let active = context.owners.certificates.active();
    if let Some(reason) = &active.fallback {
        warn(
            "certificate-fallback",
            format!(
                "the installed certificate cannot be used and the default certificate serves: {reason}"
            ),
        );
    }
    if let Some(watched) = &context.appliance.watched_certificate
        && let Some(error) = &watched.state().error
    {
        warn(
            "watched-certificate",
            format!(
                "the watched certificate files cannot be used and the last good pair serves: {error}"
            ),
        );
    }
    let facts = active.bundle.facts();
    let left = facts.not_after() - OffsetDateTime::now_utc();
    if left.is_negative() {
        warn(
            "certificate-expired",
            format!("the certificate expired on {}; upload another one", facts.not_after),
        );
    } else if left.whole_days() < 30 {
        warn(
            "certificate-expires-soon",
            format!(
                "the certificate expires in {} days, on {}",
                left.whole_days(),
                facts.not_after
            ),
        );
    }
    warnings
}

/// `GET /v2/management/host/about`
async fn about(context: web::Data<Context>) -> HttpResponse {
    let facts = &context.appliance;
    let owners = &context.owners;
    HttpResponse::Ok().json(json!({
        "appliance_version": facts.version,
        "appliance_variant": format!("{}-appliance-{}", facts.name, facts.version),
        "languages": [],
        "name": facts.name,
        "services": facts.services,
        "uptime_seconds": facts.started.elapsed().as_secs(),
        "authentication": {
            "auth_enabled": owners.authenticator.is_enabled(),
            "default_password": owners.authenticator.has_default_password(),
        },
        "enable_insecure_ports": owners.insecure_ports.are_enabled(),
        "certificate": CertificateView::of(&owners.certificates.active()),
        "warnings": standing_warnings(&context),
    }))
}

#[derive(Serialize)]
struct Listeners {
    listeners: Vec<ListenerStatus>,
}

/// `GET /v2/management/listeners`
async fn listeners(context: web::Data<Context>) -> Result<web::Json<Listeners>, ApiError> {
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    Ok(web::Json(Listeners { listeners }))
}

/// `GET /healthz`: the process answers.
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`: every listener has a generation that serves.
async fn readyz(context: web::Data<Context>) -> Result<HttpResponse, ApiError> {
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    if listeners.iter().all(ListenerStatus::has_serving_generation) {
        Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"))
    } else {
        Err(ApiError::Unavailable)
    }
}
