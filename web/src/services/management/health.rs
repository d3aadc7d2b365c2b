//! `GET health`: how the components of this process are.

use std::{collections::BTreeMap, path::Path, time::Duration};

use actix_web::web;
use futures::future::join_all;
use portcullis_actors::{
    blocking, logging, pulse, storage, supervise,
    supervisor::{GetListeners, ListenerStatus},
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{about, figures::folders, standing_warnings};
use crate::{
    http::error::ApiError,
    service::{Context, Folder, Health, Resident, health::Status, openapi::Refusals},
    services::shared::host_figures,
};

/// How long a service may take to say how it is.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// A thread that has not run its tasks for so long hangs.
const HANGS: Duration = Duration::from_secs(2);
/// Less than this is left on the disk of the data directory: changes will soon fail.
const LOW_SPACE_BYTES: u64 = 64 << 20;
/// So few files more can be made: changes will soon fail.
const LOW_INODES: u64 = 1000;

#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct Verdict {
    /// Unhealthy as soon as one component is.
    status: Status,
    #[serde(flatten)]
    components: BTreeMap<String, Health>,
}

/// `GET /v2/management/health`: 200 whatever the verdict, which is in the body.
#[utoipa::path(get, path = "/v2/management/health", tag = "Diagnostics", operation_id = "Health", responses((status = 200, body = Verdict), Refusals))]
pub(super) async fn health(context: web::Data<Context>) -> Result<web::Json<Verdict>, ApiError> {
    let listeners = context.owners.supervisor.send(GetListeners).await?;
    let own = [
        ("certificate", certificate(&context)),
        ("authentication", authentication(&context)),
        ("listeners", Health::judged(unserved(&listeners), Vec::new())),
        ("owners", owners()),
        ("workers", workers()),
        ("storage", storage(&context).await?),
        ("audit", audit(&context)),
        ("log", log_files()),
        // Nothing here has a database or a graphics processor; the names are documented.
        ("database", Health::disabled()),
        ("gpu_inference", Health::disabled()),
    ];
    let mut components: BTreeMap<_, _> =
        own.into_iter().map(|(name, health)| (name.to_owned(), health)).collect();
    for name in context.house.absent().iter().flat_map(|absent| absent.components) {
        components.insert((*name).to_owned(), Health::disabled());
    }
    let residents = context.house.residents().iter();
    for (resident, health) in join_all(residents.map(ask)).await {
        let Some(health) = health else { continue };
        for name in resident.components {
            components.insert((*name).to_owned(), health.clone());
        }
        components.insert(resident.name.clone(), health);
    }
    let unhealthy = components.values().any(|component| component.status == Status::Unhealthy);
    let status = if unhealthy { Status::Unhealthy } else { Status::Healthy };
    Ok(web::Json(Verdict { status, components }))
}

/// How a service says that it is.
async fn ask(resident: &Resident) -> (&Resident, Option<Health>) {
    let asked = timeout(LONGEST_LOOK, resident.service.health()).await;
    let late = |_| {
        let text = format!("it did not say how it is within {} s", LONGEST_LOOK.as_secs());
        Some(Health::good().with_error(text))
    };
    (resident, asked.unwrap_or_else(late))
}

fn warnings(context: &Context, codes: &[&str]) -> Vec<String> {
    let standing = standing_warnings(context).into_iter();
    standing.filter(|warning| codes.contains(&warning.code)).map(|w| w.message).collect()
}

fn certificate(context: &Context) -> Health {
    let errors = warnings(
        context,
        &[
            "certificate-fallback",
            "certificate-expired",
            "certificate-not-yet-valid",
            "watched-certificate",
        ],
    );
    Health::judged(errors, warnings(context, &["certificate-expires-soon"]))
}

fn authentication(context: &Context) -> Health {
    Health::judged(Vec::new(), warnings(context, &["authentication-off", "default-password"]))
}

fn unserved(listeners: &[ListenerStatus]) -> Vec<String> {
    let unserved = listeners.iter().filter(|listener| !listener.has_serving_generation());
    unserved.map(|listener| format!("listener {} does not accept", listener.name)).collect()
}

/// An owner that does not run is an error, one that had to be started again a warning.
fn owners() -> Health {
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
    Health::judged(errors, warnings)
}

/// A worker that hangs keeps all its connections waiting.
fn workers() -> Health {
    let silent = pulse::silent(HANGS);
    Health::judged(silent.iter().map(|silent| format!("hanging: {silent}")).collect(), Vec::new())
}

async fn storage(context: &Context) -> Result<Health, ApiError> {
    let data_dir = context.appliance.data_dir.clone();
    let folders = folders(context);
    let errors = blocking::run(move || {
        let mut errors = Vec::new();
        errors.extend(folders.iter().filter_map(room_for_work));
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
    let written = std::iter::once(&storage::STATE).chain(storage::of_services());
    errors.extend(written.filter_map(|writes| writes.trouble()));
    Ok(Health::judged(errors, Vec::new()))
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
fn audit(context: &Context) -> Health {
    let waiting = context.owners.audit.standing().waiting;
    let trouble = storage::AUDIT.trouble();
    let errors = trouble.map(|trouble| format!("{trouble}; {waiting} entries wait in memory"));
    Health::judged(errors.into_iter().collect(), about::lost_entries(context).into_iter().collect())
}

/// The log: its file, and whether standard error is read.
fn log_files() -> Health {
    let (stderr, file) = logging::left_out();
    let told = |lines: u64, what: &str| {
        (lines > 0).then(|| format!("{lines} lines were left out of {what} since the start"))
    };
    let warnings =
        [told(stderr, "standard error, which was not read in time"), told(file, "the log file")];
    Health::judged(
        storage::LOG.trouble().into_iter().collect(),
        warnings.into_iter().flatten().collect(),
    )
}

/// What is wrong if a service refuses work for want of room.
fn room_for_work(folder: &Folder) -> Option<String> {
    let Folder { name, path, reserve, remedy } = folder;
    let free = host_figures::file_systems(&[(name, path)]).first()?.available;
    (free <= *reserve)
        .then(|| format!("{free} bytes are free where {} lies; {remedy}", path.display()))
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
