//! Listing, reading and deleting jobs.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Bytes, Data, Path},
};
use futures::{StreamExt as _, stream};
use portcullis_speech::jobs::{
    Format, Job, JobConfig, JobId, JobStatus, JobStore, JobSummary, LONGEST_PAGE, ListFilter,
    Places, StoreError, transcript as render,
};
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    BatchContext, blocking,
    document::{JobErrorBody, JobRefusals, NoSuchJob, Transcript},
    error::BatchError,
    view::{self, JobDetails, JobList, JobReply, Standing},
};
use crate::http::{
    body::Query,
    pieces::{Binary, PIECE},
};

/// How long a question about an unfinished job is held: it saves the client a round.
const HOLD: Duration = Duration::from_secs(2);

/// Texts, so that what does not fit is told in the words that clients know.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Without it all jobs are listed.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    #[param(format = DateTime)]
    created_before: Option<String>,
    #[param(format = DateTime)]
    created_after: Option<String>,
    /// `false` unless given.
    #[param(value_type = Option<bool>)]
    include_deleted: Option<String>,
}

/// `GET /v2/jobs`: newest first. However many there are, one page of them is in memory at a time.
#[utoipa::path(get, path = "/v2/jobs", tag = "Jobs", operation_id = "ListJobs", security((), ("jobToken" = [])), params(ListQuery), responses((status = 200, body = JobList), JobRefusals))]
pub(super) async fn list(
    batch: Data<BatchContext>,
    Query(query): Query<ListQuery>,
) -> Result<HttpResponse, BatchError> {
    batch.check_recogniser()?;
    let filter = ListFilter {
        limit: query.limit.as_deref().map(limit).transpose()?,
        before: None,
        created_before: moment("created_before", query.created_before.as_deref())?,
        created_after: moment("created_after", query.created_after.as_deref())?,
        include_deleted: boolean("include_deleted", query.include_deleted.as_deref())?,
    };
    let first = page(&batch, filter).await?;
    if filter.limit.is_some() || first.len() < LONGEST_PAGE as usize {
        return Ok(HttpResponse::Ok().json(JobList { jobs: first }));
    }
    let head = stream::once(async { Ok(Bytes::from_static(b"{\"jobs\":[")) });
    let pages = stream::try_unfold((Some(first), filter), move |(page_, filter)| {
        let batch = batch.clone();
        async move {
            let (jobs, begun) = match page_ {
                Some(first) => (first, false),
                None => (page(&batch, filter).await?, true),
            };
            let Some(last) = jobs.last() else { return Ok(None) };
            let next = ListFilter { before: last.number(), ..filter };
            Ok::<_, BatchError>(Some((listed(&jobs, begun), (None, next))))
        }
    });
    let tail = stream::once(async { Ok(Bytes::from_static(b"]}")) });
    let body = head.chain(pages).chain(tail);
    Ok(HttpResponse::Ok().content_type("application/json").streaming(body))
}

async fn page(batch: &BatchContext, filter: ListFilter) -> Result<Vec<JobDetails>, BatchError> {
    let listed = batch.store(move |store| {
        let listed = store.list(&filter)?;
        let any_waits = listed.iter().any(|job| job.status == JobStatus::Queued);
        let places = if any_waits { store.places()? } else { Places::default() };
        Ok((listed, places))
    });
    let (listed, places) = listed.await?;
    let jobs = batch.jobs()?;
    let standing = |job: &JobSummary| Standing::of(job.id, job.status, jobs, &places);
    Ok(listed.iter().map(|job| view::summary(job, standing(job))).collect())
}

/// Some elements of a JSON array, after others where it has `begun`.
fn listed(jobs: &[JobDetails], begun: bool) -> Bytes {
    let mut text = Vec::new();
    for (index, job) in jobs.iter().enumerate() {
        if begun || index > 0 {
            text.push(b',');
        }
        serde_json::to_writer(&mut text, job).expect("texts and numbers are JSON");
    }
    text.into()
}

fn limit(text: &str) -> Result<u32, BatchError> {
    let wrong = |should| BatchError::query("limit", text, should, "a whole number from 1 to 100");
    let number: i64 = text.parse().map_err(|_| wrong("must be of type int64"))?;
    let fits = u32::try_from(number).ok().filter(|number| (1..=100).contains(number));
    fits.ok_or_else(|| {
        wrong(if number < 1 {
            "should be greater than or equal to 1"
        } else {
            "should be less than or equal to 100"
        })
    })
}

fn moment(name: &str, text: Option<&str>) -> Result<Option<OffsetDateTime>, BatchError> {
    let Some(text) = text else { return Ok(None) };
    let write = "a time such as 2026-01-31T12:00:00Z, in which `+` is written %2B";
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    parsed.map(Some).map_err(|_| BatchError::query(name, text, "must be of type date-time", write))
}

fn boolean(name: &str, text: Option<&str>) -> Result<bool, BatchError> {
    match text {
        None | Some("false" | "0") => Ok(false),
        Some("true" | "1") => Ok(true),
        Some(text) => {
            Err(BatchError::query(name, text, "must be of type boolean", "true or false"))
        }
    }
}

/// Waits until a job has ended, for [`HOLD`] at most.
async fn hold(batch: &BatchContext, id: &str) -> Result<Job, BatchError> {
    let mut events = batch.jobs()?.events();
    let until = Instant::now() + HOLD;
    let mut job = batch.find(id).await?;
    while !job.status.is_final() {
        let left = until.saturating_duration_since(Instant::now());
        let ended = async {
            use portcullis_speech::jobs::JobEvent;
            use tokio::sync::broadcast::error::RecvError;
            loop {
                match events.recv().await {
                    Ok(JobEvent::Ended(ended)) if ended == job.id => return,
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                    Ok(_) => {}
                }
            }
        };
        if tokio::time::timeout(left, ended).await.is_err() {
            return Ok(job);
        }
        job = batch.find(id).await?;
    }
    Ok(job)
}

/// `GET /v2/jobs/{id}`: while it is running the answer is held for two seconds.
#[utoipa::path(get, path = "/v2/jobs/{id}", tag = "Jobs", operation_id = "GetJob", security((), ("jobToken" = [])), params(("id" = String, Path, description = "The number of the job", example = "1")), responses((status = 200, body = JobReply), JobRefusals, NoSuchJob))]
pub(super) async fn job(
    batch: Data<BatchContext>,
    id: Path<String>,
) -> Result<web::Json<JobReply>, BatchError> {
    let job = hold(&batch, &id).await?;
    let status = job.status;
    let places = match status {
        JobStatus::Queued => batch.store(|store| store.places()).await?,
        _ => Places::default(),
    };
    let standing = Standing::of(job.id, status, batch.jobs()?, &places);
    Ok(web::Json(view::details(&job, standing)))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeleteQuery {
    /// Whether a running job is ended first; otherwise it is not deleted.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
}

/// `DELETE /v2/jobs/{id}`
#[utoipa::path(delete, path = "/v2/jobs/{id}", tag = "Jobs", operation_id = "DeleteJob", security((), ("jobToken" = [])), params(("id" = String, Path, description = "The number of the job", example = "1"), DeleteQuery), responses((status = 200, body = JobReply), JobRefusals, NoSuchJob, (status = 423, description = "It is running", body = JobErrorBody)))]
pub(super) async fn delete(
    batch: Data<BatchContext>,
    id: Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Result<web::Json<JobReply>, BatchError> {
    let force = boolean("force", query.force.as_deref())?;
    let mut job = batch.find(&id).await?;
    if !job.status.is_final() && !force {
        return Err(BatchError::Locked);
    }
    let (jobs, number) = (batch.jobs()?.clone(), job.id);
    blocking(move || jobs.delete(number)).await??;
    job.status = JobStatus::Deleted;
    Ok(web::Json(view::details(&job, Standing::default())))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TranscriptQuery {
    /// `json-v2` (the default), `txt` or `srt`.
    #[param(example = "txt")]
    format: Option<String>,
}

/// `GET /v2/jobs/{id}/transcript?format=json-v2|txt|srt`: also held while the job is running.
#[utoipa::path(get, path = "/v2/jobs/{id}/transcript", tag = "Jobs", operation_id = "GetTranscript", security((), ("jobToken" = [])), params(("id" = String, Path, description = "The number of the job", example = "1"), TranscriptQuery), responses((status = 200, content((Transcript = "application/json"), (String = "text/plain"))), JobRefusals, NoSuchJob))]
pub(super) async fn transcript(
    batch: Data<BatchContext>,
    id: Path<String>,
    Query(query): Query<TranscriptQuery>,
) -> Result<HttpResponse, BatchError> {
    let format = query.format.as_deref().unwrap_or("json-v2");
    let format: Format = format.parse().map_err(|_| BatchError::Format)?;
    let job = hold(&batch, &id).await?;
    match job.status {
        JobStatus::Done => {}
        JobStatus::Rejected => {
            let reasons = job.errors.iter().map(|error| error.message.as_str());
            return Err(BatchError::JobFailed(reasons.collect::<Vec<_>>().join("; ")));
        }
        JobStatus::Deleted => return Err(BatchError::NotFound),
        JobStatus::Expired => return Err(BatchError::Expired),
        JobStatus::Fetching | JobStatus::Queued | JobStatus::Running => {
            return Err(BatchError::NotReady);
        }
    }
    let text = batch
        .store(move |store| {
            let Some(found) = store.transcript(job.id)? else { return Ok(None) };
            let config = JobConfig::parse(&job.config).ok();
            Ok(config.map(|config| render(&job, &config, &found, format)))
        })
        .await?
        .ok_or(BatchError::FileExpired)?;
    Ok(HttpResponse::Ok().content_type(format.content_type()).body(text))
}

/// `GET /v2/jobs/{id}/log`: what the work on it said.
#[utoipa::path(get, path = "/v2/jobs/{id}/log", tag = "Jobs", operation_id = "GetJobLog", security((), ("jobToken" = [])), params(("id" = String, Path, description = "The number of the job", example = "1")), responses((status = 200, content_type = "text/plain", body = String), JobRefusals, NoSuchJob))]
pub(super) async fn log(
    batch: Data<BatchContext>,
    id: Path<String>,
) -> Result<HttpResponse, BatchError> {
    let job = batch.find(&id).await?;
    let log = batch.store(move |store| store.log(job.id)).await?.ok_or(BatchError::NoLog)?;
    Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(log))
}

/// `GET /v2/jobs/{id}/data`: the audio as it was sent; what was fetched, once the job is done.
#[utoipa::path(get, path = "/v2/jobs/{id}/data", tag = "Jobs", operation_id = "GetJobData", security((), ("jobToken" = [])), params(("id" = String, Path, description = "The number of the job", example = "1")), responses((status = 200, content_type = "application/octet-stream", body = inline(Binary)), JobRefusals, NoSuchJob))]
pub(super) async fn data(
    batch: Data<BatchContext>,
    id: Path<String>,
) -> Result<HttpResponse, BatchError> {
    let job = batch.find(&id).await?;
    if !may_be_handed_out(&job) {
        return Err(BatchError::NoData);
    }
    let file = batch.store(move |store| store.open_audio(job.id)).await?;
    let length = file.ok_or(BatchError::FileExpired)?.metadata()?.len();
    let body = stream::unfold(Some(0), move |offset| {
        let batch = batch.clone();
        async move {
            let offset = offset?;
            match batch.store(move |store| audio_at(store, job.id, offset)).await {
                Ok(chunk) if chunk.is_empty() => None,
                Ok(chunk) => {
                    let next = offset + chunk.len() as u64;
                    Some((Ok(chunk), Some(next)))
                }
                Err(err) => Some((Err(err), None)),
            }
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((header::CONTENT_DISPOSITION, "attachment"))
        .no_chunking(length)
        .streaming(body))
}

/// Whether the data of a job is its client's to have. What was fetched is only once it was read as
/// audio: nobody is to read through us what is not meant for him.
pub(super) fn may_be_handed_out(job: &Job) -> bool {
    let config = || serde_json::from_str::<serde_json::Value>(&job.config);
    job.status == JobStatus::Done || config().is_ok_and(|config| config.get("fetch_data").is_none())
}

/// A piece of the audio. The file is open only while it is read: a client that takes nothing
/// holds no descriptor. One that is removed meanwhile breaks the answer off.
fn audio_at(store: &dyn JobStore, id: JobId, offset: u64) -> Result<Bytes, StoreError> {
    let mut file = store.open_audio(id)?.ok_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::NotFound, "the audio was removed")
    })?;
    file.seek(SeekFrom::Start(offset))?;
    let mut chunk = Vec::with_capacity(PIECE);
    file.take(PIECE as u64).read_to_end(&mut chunk)?;
    Ok(chunk.into())
}

/// `GET /v2/jobs/{id}/text` and `/alignment`: there are no alignment jobs.
pub(super) async fn alignment(
    batch: Data<BatchContext>,
    id: Path<String>,
) -> Result<HttpResponse, BatchError> {
    batch.find(&id).await?;
    Err(BatchError::NotAlignment)
}
