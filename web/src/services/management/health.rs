//! `GET health`: how the components of this process are.

use std::{collections::BTreeMap, path::Path, time::Duration};

use actix_web::web;
use portcullis_actors::{
    blocking, logging, storage, supervise,
    supervisor::{GetListeners, ListenerStatus},
};
use portcullis_speech::{RecogniserState, disk::RESERVE};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use super::{about, standing_warnings};
use crate::{
    http::error::ApiError,
    service::{Context, openapi::Refusals},
    services::{monitoring, shared::host_figures},
};

/// Less than this is left on the disk of the data directory: changes will soon fail.
const LOW_SPACE_BYTES: u64 = 64 << 20;
/// So few files more can be made: changes will soon fail.
const LOW_INODES: u64 = 1000;
/// How long the Prometheus behind the monitoring service may take to say that it is ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Healthy,
    Unhealthy,
    Disabled,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Component {
    status: Status,
    /// What is wrong; only when unhealthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
    /// What wants attention though it works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Unhealthy as soon as one component is.
    status: Status,
    #[serde(flatten)]
    #[schema(value_type = BTreeMap<String, Component>)]
    components: BTreeMap<&'static str, Component>,
}

impl Component {
    fn judged(errors: Vec<String>, warnings: Vec<String>) -> Self {
        let status = if errors.is_empty() { Status::Healthy } else { Status::Unhealthy };
        Self { status, errors, warnings }
    }

    fn disabled() -> Self {
        Self { status: Status::Disabled, errors: Vec::new(), warnings: Vec::new() }
    }
}

/// `GET /v2/management/health`: 200 whatever the verdict, which is in the body.
#[utoipa::path(get, path = "/v2/management/health", tag = "Diagnostics", operation_id = "Health", responses((status = 200, body = Health), Refusals))]
pub(super) async fn health(context: web::Data<Context>) -> Result<web::Json<Health>, ApiError> {
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    let serves = |name: &str| context.appliance.services.iter().any(|service| service == name);
    let mut components = BTreeMap::from([
        ("certificate", certificate(&context)),
        ("authentication", authentication(&context)),
        ("listeners", Component::judged(unserved(&listeners), Vec::new())),
        ("owners", owners()),
        ("storage", storage(&context).await?),
        ("audit", audit(&context)),
        ("log", log_files()),
        ("batch", batch(&context, serves("batch"))),
        ("realtime", realtime(&context, serves("realtime"))),
        ("monitoring", monitoring(&context, serves("monitoring")).await),
        // Nothing here has a database or a graphics processor; the names are documented.
        ("database", Component::disabled()),
        ("gpu_inference", Component::disabled()),
    ]);
    for (documented, own) in [("batch_inference", "batch"), ("realtime_inference", "realtime")] {
        components.insert(documented, components[own].clone());
    }
    let unhealthy = components.values().any(|component| component.status == Status::Unhealthy);
    let status = if unhealthy { Status::Unhealthy } else { Status::Healthy };
    Ok(web::Json(Health { status, components }))
}

fn warnings(context: &Context, codes: &[&str]) -> Vec<String> {
    let standing = standing_warnings(context).into_iter();
    standing.filter(|warning| codes.contains(&warning.code)).map(|w| w.message).collect()
}

fn certificate(context: &Context) -> Component {
    let errors = warnings(
        context,
        &[
            "certificate-fallback",
            "certificate-expired",
            "certificate-not-yet-valid",
            "watched-certificate",
        ],
    );
    Component::judged(errors, warnings(context, &["certificate-expires-soon"]))
}

fn authentication(context: &Context) -> Component {
    Component::judged(Vec::new(), warnings(context, &["authentication-off", "default-password"]))
}

fn unserved(listeners: &[ListenerStatus]) -> Vec<String> {
    let unserved = listeners.iter().filter(|listener| !listener.has_serving_generation());
    unserved.map(|listener| format!("listener {} does not accept", listener.name)).collect()
}

/// An owner that does not run is an error, one that had to be started again a warning.
fn owners() -> Component {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for (owner, death) in supervise::deaths() {
        if death.dead {
            errors
                .push(format!("the owner of {owner} died and does not run yet: {}", death.reason));
        } else {
            let at = death.at.replace_nanosecond(0).unwrap_or(death.at);
            let at = at.format(&Rfc3339).unwrap_or_default();
            warnings.push(format!(
                "the owner of {owner} died {} times since the start, the last time at {at}: {}",
                death.count, death.reason
            ));
        }
    }
    Component::judged(errors, warnings)
}

/// A speech service is as its recogniser is.
fn speech(context: &Context, served: bool) -> Component {
    if !served {
        return Component::disabled();
    }
    match context.speech.recogniser() {
        RecogniserState::Ready(_) => Component::judged(Vec::new(), Vec::new()),
        RecogniserState::Loading => {
            Component::judged(Vec::new(), vec!["the speech model is being read".into()])
        }
        RecogniserState::Unavailable(reason) => Component::judged(vec![reason], Vec::new()),
    }
}

/// The same, and as the job store is.
fn batch(context: &Context, served: bool) -> Component {
    let mut component = speech(context, served);
    if let Some(trouble) = context.speech.trouble() {
        component.status = Status::Unhealthy;
        component.errors.push(trouble);
    }
    if let Some(jobs) = context.speech.jobs() {
        component.warnings.extend(jobs.store().warnings());
    }
    component
}

/// The same, with a warning while no further session is taken.
fn realtime(context: &Context, served: bool) -> Component {
    let mut component = speech(context, served);
    let sessions = &context.owners.sessions;
    if served && component.errors.is_empty() && !sessions.is_ready() {
        component.warnings.push(format!("all {} sessions are taken", sessions.count()));
    }
    component
}

async fn storage(context: &Context) -> Result<Component, ApiError> {
    let data_dir = context.appliance.data_dir.clone();
    let keeps_jobs = context.speech.jobs().is_some();
    let errors = blocking::run(move || {
        let mut errors = Vec::new();
        if keeps_jobs {
            errors.extend(room_for_jobs(&data_dir.join("jobs")));
        }
        errors.extend(room_for_files(&data_dir));
        match host_figures::file_systems(&[("data", &data_dir)]).first() {
            Some(found) if found.available < LOW_SPACE_BYTES => errors.push(format!(
                "{} bytes are free where {} lies; make room",
                found.available,
                data_dir.display()
            )),
            Some(_) => {}
            None => errors.push(format!("{} cannot be looked at", data_dir.display())),
        }
        let writable = nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK;
        if let Err(err) = nix::unistd::access(&data_dir, writable) {
            errors.push(format!("{} cannot be written: {}", data_dir.display(), err.desc()));
        }
        errors
    });
    let mut errors = errors.await?;
    errors.extend(warnings(context, &["state-not-stored"]));
    errors.extend(
        [&storage::STATE, &storage::JOBS].into_iter().filter_map(|writes| writes.trouble()),
    );
    Ok(Component::judged(errors, Vec::new()))
}

/// What is wrong if the disk will soon take no further file, however small.
fn room_for_files(folder: &Path) -> Option<String> {
    let figures = nix::sys::statvfs::statvfs(folder).ok()?;
    // Some file systems make inodes as they go, and count none.
    let (all, free) = (figures.files(), figures.files_available());
    (all > 0 && free < LOW_INODES).then(|| {
        format!("{free} inodes are free where {} lies; remove files (`df -i`)", folder.display())
    })
}

/// The audit record: unhealthy from the first entry that could not be written until one can.
fn audit(context: &Context) -> Component {
    let waiting = context.owners.audit.standing().waiting;
    let trouble = storage::AUDIT.trouble();
    let errors = trouble.map(|trouble| format!("{trouble}; {waiting} entries wait in memory"));
    Component::judged(
        errors.into_iter().collect(),
        about::lost_entries(context).into_iter().collect(),
    )
}

/// The log: its file, and whether standard error is read.
fn log_files() -> Component {
    let (stderr, file) = logging::left_out();
    let told = |lines: u64, what: &str| {
        (lines > 0).then(|| format!("{lines} lines were left out of {what} since the start"))
    };
    let warnings =
        [told(stderr, "standard error, which was not read in time"), told(file, "the log file")];
    Component::judged(
        storage::LOG.trouble().into_iter().collect(),
        warnings.into_iter().flatten().collect(),
    )
}

/// What is wrong if uploads are refused for want of room.
fn room_for_jobs(folder: &Path) -> Option<String> {
    let found = host_figures::file_systems(&[("jobs", folder)]);
    let free = found.first()?.available;
    (free <= RESERVE).then(|| {
        format!(
            "{free} bytes are free where the jobs lie ({}); jobs are refused below {}: delete jobs, shorten the clean-up interval or make room",
            folder.display(),
            RESERVE
        )
    })
}

async fn monitoring(context: &Context, served: bool) -> Component {
    if !served {
        return Component::disabled();
    }
    let Some(prometheus) = &context.appliance.prometheus else {
        return Component::judged(Vec::new(), Vec::new());
    };
    let probe = monitoring::probe(prometheus);
    let error = match tokio::time::timeout(PROBE_TIMEOUT, probe).await {
        Ok(Ok(())) => None,
        Ok(Err(reason)) => Some(reason),
        Err(_) => Some(format!("it did not answer within {} s", PROBE_TIMEOUT.as_secs())),
    };
    let errors = error.map(|reason| format!("Prometheus at {prometheus} is not ready: {reason}"));
    Component::judged(errors.into_iter().collect(), Vec::new())
}

/// Health as the log archive keeps it.
pub(super) async fn as_json(context: &web::Data<Context>) -> serde_json::Value {
    match health(context.clone()).await {
        Ok(health) => serde_json::to_value(&*health).unwrap_or_default(),
        Err(err) => serde_json::json!({
            "error": err.to_string(),
            "at": OffsetDateTime::now_utc().to_string(),
        }),
    }
}
