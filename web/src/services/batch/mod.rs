//! `/v2/jobs`, `/v2/usage` and `/v1/discovery`: the batch Speech API, and `/v2/ui`, its page.
//!
//! Requests are answered from the job store, whose calls block and therefore run on blocking
//! threads; `callbacks` fetches audio and tells ends, `housekeeping` clears finished jobs away
//! and publishes events, both on their own.

mod callbacks;
mod discovery;
mod document;
mod error;
mod figures;
mod housekeeping;
mod read;
mod submit;
mod upload;
mod usage;
mod view;

use std::{path::PathBuf, sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use futures::future::LocalBoxFuture;
use portcullis_actors::{
    clock,
    storage::{self, Writes},
};
use portcullis_speech::{
    JobsPlace, RecogniserState, Speech,
    disk::RESERVE,
    jobs::{Job, JobId, JobStatus, JobStore, Jobs, StoreError},
    recogniser::Recogniser,
};
use utoipa::OpenApi;

use self::{error::BatchError, figures::Figures};
use crate::{
    outbound::Outbound,
    service::{
        Authentication, Folder, Health, Kind, Languages, Mount, Service, Start, StartError, Tables,
        endpoint::Endpoint, openapi, table::ConfigError,
    },
    services::shared::{
        docs,
        speech::{self, SpeechRoom},
    },
};

/// How long a job that is posted right after the start waits for the model.
const LOADING: Duration = Duration::from_secs(20);

/// What the job store writes, and the audio of jobs.
static STORED: Writes = Writes::new("jobs", "jobs-not-written", "the job store");
/// The folder of the data directory that it lies in.
const FOLDER: &str = "jobs";

/// The kind of the batch Speech API.
pub struct Batch {
    speech: SpeechRoom,
}

impl Batch {
    /// Recognises with what `speech` holds, which the realtime service may use too.
    #[must_use]
    pub fn new(speech: SpeechRoom) -> Self {
        Self { speech }
    }
}

impl Kind for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn shared_tables(&self) -> &'static [&'static str] {
        &[speech::TABLE]
    }

    fn components(&self) -> &'static [&'static str] {
        &["batch", "batch_inference"]
    }

    fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
        let settings = speech::read(tables.shared(speech::TABLE))?;
        let room = self.speech.clone();
        Ok(Start::new(move |door| async move {
            let speech = room.start(&settings);
            storage::watch(&STORED, FOLDER);
            let folder = door.appliance().data_dir.join(FOLDER);
            let place =
                JobsPlace { folder: folder.clone(), running_time: Arc::new(clock::running_time) };
            let opening = speech.clone();
            tokio::task::spawn_blocking(move || opening.serve_jobs(place, &settings)).await?;
            let figures = Figures::default();
            door.figures(|registry| figures.register(speech.clone(), registry));
            let context = BatchContext { speech, outbound: door.outbound().clone(), figures };
            housekeeping::start(&context, &door);
            let facts = door.appliance();
            let document =
                openapi::document(&facts.name, facts.version, openapi::part(&Document::openapi()));
            Ok::<_, StartError>(RunningBatch { context, folder, document: Arc::new(document) })
        }))
    }
}

/// The batch Speech API.
struct RunningBatch {
    context: BatchContext,
    /// Where the jobs lie.
    folder: PathBuf,
    /// What `/v2/ui` shows.
    document: Arc<serde_json::Value>,
}

impl Service for RunningBatch {
    fn mounts(&self) -> Vec<Mount> {
        let batch = web::Data::new(self.context.clone());
        let guarded = |prefix: &str, routes: fn(&mut ServiceConfig)| {
            let batch = batch.clone();
            Mount::new(prefix, Authentication::JobToken, move |config| {
                config.app_data(batch.clone());
                routes(config);
            })
        };
        let document = self.document.clone();
        vec![
            guarded("/v2/jobs", routes),
            guarded("/v2/usage", |config| {
                for path in ["", "/"] {
                    Endpoint::new(path).get(usage::usage).register(config);
                }
            }),
            guarded("/v1/discovery", |config| {
                for path in ["/features", "/features/"] {
                    Endpoint::new(path).get(discovery::features).register(config);
                }
            }),
            // Open like the page of any API: what it shows is no secret, and a browser could not
            // send the job token with a link. The requests that it makes carry the token.
            Mount::new("/v2/ui", Authentication::Open, move |config| {
                let document = document.clone();
                let answer = move || {
                    let document = document.clone();
                    async move { HttpResponse::Ok().json(&*document) }
                };
                Endpoint::new("/openapi.json").get(answer).register(config);
                docs::routes("/v2/ui", config);
            }),
        ]
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        openapi::part(&Document::openapi())
    }

    /// As the recogniser and the job store are.
    fn health(&self) -> LocalBoxFuture<'_, Option<Health>> {
        let speech = &self.context.speech;
        let mut health = speech::health(speech);
        if let Some(trouble) = speech.trouble() {
            health = health.with_error(trouble);
        }
        if let Some(jobs) = speech.jobs() {
            health = jobs.store().warnings().into_iter().fold(health, Health::with_warning);
        }
        Box::pin(std::future::ready(Some(health)))
    }

    fn folders(&self) -> Vec<Folder> {
        vec![Folder {
            name: FOLDER.into(),
            path: self.folder.clone(),
            reserve: RESERVE,
            remedy: format!(
                "jobs are refused below {RESERVE}: delete jobs, shorten the clean-up interval or make room"
            ),
        }]
    }

    fn languages(&self) -> Option<Languages> {
        Some(speech::languages(&self.context.speech))
    }

    fn stop(&self) {
        self.context.speech.stop();
    }
}

#[derive(OpenApi)]
#[openapi(paths(
    read::list,
    submit::submit,
    read::job,
    read::delete,
    read::transcript,
    read::log,
    read::data,
    usage::usage,
    discovery::features,
))]
struct Document;

fn routes(config: &mut ServiceConfig) {
    // Clients follow no redirect, so both forms of every path are served.
    for slash in ["", "/"] {
        let path = |path: &str| format!("{path}{slash}");
        Endpoint::new(&path("")).get(read::list).post(submit::submit).register(config);
        Endpoint::new(&path("/{id}")).get(read::job).delete(read::delete).register(config);
        Endpoint::new(&path("/{id}/transcript")).get(read::transcript).register(config);
        Endpoint::new(&path("/{id}/log")).get(read::log).register(config);
        Endpoint::new(&path("/{id}/data")).get(read::data).register(config);
        for alignment in ["/{id}/text", "/{id}/alignment"] {
            Endpoint::new(&path(alignment)).get(read::alignment).register(config);
        }
    }
}

/// What the handlers work with.
#[derive(Clone)]
struct BatchContext {
    speech: Arc<Speech>,
    outbound: Arc<Outbound>,
    figures: Figures,
}

impl BatchContext {
    fn jobs(&self) -> Result<&Jobs, BatchError> {
        self.speech.jobs().ok_or(BatchError::NoStore)
    }

    /// Refuses while there is no recogniser, with what to do about it.
    fn check_recogniser(&self) -> Result<(), BatchError> {
        match self.speech.recogniser() {
            RecogniserState::Ready(_) | RecogniserState::Loading => Ok(()),
            RecogniserState::Unavailable(reason) => Err(BatchError::NoRecogniser(reason)),
        }
    }

    /// The same once the model has been read, which takes a moment after the start.
    async fn recogniser(&self) -> Result<Arc<dyn Recogniser>, BatchError> {
        let reason = match self.speech.loaded(LOADING).await {
            RecogniserState::Ready(recogniser) => return Ok(recogniser),
            RecogniserState::Loading => {
                "the speech model is still being read; try again soon".to_owned()
            }
            RecogniserState::Unavailable(reason) => reason,
        };
        Err(BatchError::NoRecogniser(reason))
    }

    /// Calls the store on a blocking thread.
    async fn store<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn JobStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, BatchError> {
        let store = self.jobs()?.store().clone();
        blocking(move || work(store.as_ref())).await?.map_err(BatchError::from)
    }

    /// A job that a client may see.
    async fn find(&self, id: &str) -> Result<Job, BatchError> {
        let id: JobId = id.parse().map_err(|_| BatchError::NotFound)?;
        let job = self.store(move |store| store.get(id)).await?.ok_or(BatchError::NotFound)?;
        match job.status {
            JobStatus::Deleted => Err(BatchError::NotFound),
            JobStatus::Expired => Err(BatchError::Expired),
            JobStatus::Fetching
            | JobStatus::Queued
            | JobStatus::Running
            | JobStatus::Done
            | JobStatus::Rejected => Ok(job),
        }
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BatchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BatchError::Stopping)
}
