//! `/v2/jobs`, `/v2/usage` and `/v1/discovery`: the batch Speech API, and `/v2/ui`, its page.
//! Specification: speech, section 2.
//!
//! Requests are answered from the job store, whose calls block and therefore run on blocking
//! threads; [`callbacks`] fetches audio and tells ends, [`housekeeping`] clears finished jobs away
//! and publishes events, both on their own.

mod callbacks;
mod discovery;
mod document;
mod error;
mod housekeeping;
mod read;
mod submit;
mod upload;
mod usage;
mod view;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpResponse,
    web::{self, ServiceConfig},
};
use portcullis_speech::{
    RecogniserState, Speech,
    jobs::{Job, JobId, JobStatus, JobStore, Jobs, StoreError},
    recogniser::Recogniser,
};
use utoipa::OpenApi;

use self::error::BatchError;
pub use self::housekeeping::start;
use crate::{
    outbound::Outbound,
    service::{Authentication, Context, Mount, Service, endpoint::Endpoint, openapi},
    services::shared::docs,
};

/// How long a job that is posted right after the start waits for the model.
const LOADING: Duration = Duration::from_secs(20);

/// The batch Speech API.
#[derive(Debug, Default)]
pub struct Batch;

impl Service for Batch {
    fn name(&self) -> &'static str {
        "batch"
    }

    fn takes_websocket(&self, _path: &str) -> bool {
        false
    }

    fn mounts(&self, context: &Context) -> Vec<Mount> {
        let [jobs, usage, features] = [(); 3].map(|()| BatchContext::new(context));
        vec![
            Mount::new("/v2/jobs", Authentication::JobToken, move |config| routes(jobs, config)),
            Mount::new("/v2/usage", Authentication::JobToken, move |config| {
                config.app_data(web::Data::new(usage));
                for path in ["", "/"] {
                    Endpoint::new(path).get(usage::usage).register(config);
                }
            }),
            Mount::new("/v1/discovery", Authentication::JobToken, move |config| {
                config.app_data(web::Data::new(features));
                for path in ["/features", "/features/"] {
                    Endpoint::new(path).get(discovery::features).register(config);
                }
            }),
            // Open like the page of any API: what it shows is no secret, and a browser could not
            // send the job token with a link. The requests that it makes carry the token.
            Mount::new("/v2/ui", Authentication::Open, {
                let facts = context.appliance.clone();
                move |config| {
                    let services: [&dyn Service; 1] = [&Self];
                    let document =
                        openapi::document(&facts.name, facts.version, services.into_iter());
                    let document = Arc::new(document);
                    let answer = move || {
                        let document = document.clone();
                        async move { HttpResponse::Ok().json(&*document) }
                    };
                    Endpoint::new("/openapi.json").get(answer).register(config);
                    docs::routes("/v2/ui", config);
                }
            }),
        ]
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        openapi::part(&Document::openapi())
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

fn routes(batch: BatchContext, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(batch));
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
}

impl BatchContext {
    fn new(context: &Context) -> Self {
        Self { speech: context.speech.clone(), outbound: context.appliance.outbound.clone() }
    }

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
