//! `GET host/about`, and the warnings that stand.

use std::time::Duration;

use actix_web::web;
use portcullis_actors::{certificate::not_yet, clock::jumps, storage};
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    service::{Context, openapi::Refusals},
    services::security::ServedCertificate,
};

/// How long a step of the clock is told.
const JUMP_IS_NEWS: Duration = Duration::from_secs(3600);

/// What runs here.
#[derive(Serialize, ToSchema)]
pub(super) struct About {
    appliance_version: &'static str,
    appliance_variant: String,
    /// Codes of those that the speech services know; empty until the model has been read.
    languages: Vec<String>,
    /// Whether jobs may leave it to the appliance to find the language: `auto`.
    language_identification: bool,
    name: String,
    services: Vec<String>,
    uptime_seconds: u64,
    authentication: Access,
    enable_insecure_ports: bool,
    certificate: ServedCertificate,
    warnings: Vec<StandingWarning>,
}

#[derive(Serialize, ToSchema)]
struct Access {
    auth_enabled: bool,
    /// Null until it has been checked.
    #[schema(required)]
    default_password: Option<bool>,
    /// Whether the speech services ask for a token.
    job_token_set: bool,
}

/// What an administrator should know about without asking.
#[derive(Debug, Clone, Serialize, ToSchema)]
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
    if let Some(told) = context.owners.ledger.divergence() {
        warn("state-not-stored", told.to_string());
    }
    if let Some(told) = &context.owners.open_modes {
        warn("open-modes", told.to_string());
    }
    for writes in storage::all() {
        if let Some(trouble) = writes.trouble() {
            warn(writes.warning(), trouble);
        }
    }
    if let Some(told) = lost_entries(context) {
        warn("audit-entries-lost", told);
    }
    let facts = active.bundle.facts();
    let now = OffsetDateTime::now_utc();
    let left = facts.not_after() - now;
    if now < facts.not_before() {
        let wrong = not_yet(&active, now);
        warn(
            "certificate-not-yet-valid",
            format!("the certificate {wrong}; set the clock or upload another one"),
        );
    } else if left.is_negative() {
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
    let jump = *jumps().borrow();
    if let Some(jump) = jump.filter(|jump| jump.age() < JUMP_IS_NEWS) {
        let ago = humantime::format_duration(Duration::from_secs(jump.age().as_secs()));
        warn("clock-set", format!("{jump}, {ago} ago; nothing is cleared away because of it"));
    }
    warnings
}

/// What to say of audit entries of changes that are lost for good, if there are any.
pub(super) fn lost_entries(context: &Context) -> Option<String> {
    let lost = context.owners.audit.standing().lost;
    (lost > 0).then(|| {
        format!("{lost} entries of the audit record were lost since the start; it tells when")
    })
}

/// `GET /v2/management/host/about`
#[utoipa::path(get, path = "/v2/management/host/about", tag = "Management", operation_id = "About", responses((status = 200, body = About), Refusals))]
pub(super) async fn about(context: web::Data<Context>) -> web::Json<About> {
    web::Json(facts(&context))
}

/// What runs here, for `about` and for the log archive.
pub(super) fn facts(context: &Context) -> About {
    let facts = &context.appliance;
    let owners = &context.owners;
    let residents = context.house.residents();
    let languages = residents.iter().find_map(|resident| resident.service.languages());
    let languages = languages.unwrap_or_default();
    About {
        appliance_version: facts.version,
        appliance_variant: format!("{}-appliance-{}", facts.name, facts.version),
        languages: languages.codes,
        language_identification: languages.identifies,
        name: facts.name.clone(),
        services: residents.iter().map(|resident| resident.name.clone()).collect(),
        uptime_seconds: facts.started.elapsed().as_secs(),
        authentication: Access {
            auth_enabled: owners.authenticator.is_enabled(),
            default_password: owners.authenticator.has_default_password(),
            job_token_set: owners.authenticator.has_job_token(),
        },
        enable_insecure_ports: owners.insecure_ports.are_enabled(),
        certificate: ServedCertificate::of(&owners.certificates.active()),
        warnings: standing_warnings(context),
    }
}
