//! The errors of the batch API: the phrases are those that clients know.

use std::{path::Path, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    error::PayloadError,
    http::{StatusCode, header},
};
use portcullis_actors::{now_and_then::NowAndThen, storage::Reason};
use portcullis_speech::jobs::{ConfigError, StoreError};

use super::{STORED, document::JobErrorBody};
use crate::http::{body::IDLE_TIMEOUT, error::ApiError, query::shown};

/// Why a request about jobs was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum BatchError {
    #[error("{0}")]
    Malformed(String),
    #[error("send the audio in the field data_file, or fetch_data in the config")]
    MissingData,
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Rejected(String),
    /// The key and its type, as clients know it, and what to write instead.
    #[error("{remedy}")]
    Query { phrase: String, remedy: String },
    #[error("there is no job of this id")]
    NotFound,
    #[error("the job's retention is over")]
    Expired,
    #[error("file deleted from the storage")]
    FileExpired,
    #[error("the job is still running; use force=true to end and delete it")]
    Locked,
    #[error("the job is not finished yet")]
    NotReady,
    #[error("{0}")]
    JobFailed(String),
    #[error("the formats are json-v2, txt and srt")]
    Format,
    #[error("the jobs here are of type transcription")]
    NotAlignment,
    #[error("could not read log file")]
    NoLog,
    #[error("what was fetched is handed out once the job is done, and has shown to be audio")]
    NoData,
    #[error("{0}")]
    NoRecogniser(String),
    #[error("{0}; nothing was kept: delete jobs or make room, then send it again")]
    StorageFull(String),
    #[error("{0}")]
    TooLarge(String),
    /// This client has too much of it.
    #[error("{0}")]
    ClientBusy(String),
    /// All together have too much of it.
    #[error("{0}; try again later")]
    Busy(String),
    #[error(
        "the jobs of this appliance cannot be opened; its health says why and what to do about it"
    )]
    NoStore,
    #[error("nothing arrived for {0} seconds; the upload was given up")]
    Timeout(u64),
    #[error("the upload was not over after {0} hours and was given up")]
    TooSlow(u64),
    #[error("the jobs could not be read or written; see the log of the appliance")]
    Store,
    #[error("the jobs could not be read or written: {0}")]
    Disk(&'static str),
    #[error("the appliance is shutting down")]
    Stopping,
}

impl From<StoreError> for BatchError {
    fn from(err: StoreError) -> Self {
        let fault = fault_of_the_disk(&err);
        match &err {
            StoreError::QueueFull(_) => return Self::Busy(err.to_string()),
            StoreError::ShareFull(_) => {
                return Self::ClientBusy(format!("{err}; wait for some of them to end"));
            }
            StoreError::NoRoom(reason) => return Self::StorageFull(reason.to_string()),
            _ if err.is_storage_full() => return Self::StorageFull("the disk is full".into()),
            _ => {}
        }
        static FAILURES: NowAndThen = NowAndThen::each(Duration::from_secs(10));
        if let Some(left_out) = FAILURES.due() {
            let source = std::error::Error::source(&err).map(|source| format!(": {source}"));
            log::error!("{err}{}{left_out}", source.unwrap_or_default());
        }
        fault.and_then(Reason::remedy).map_or(Self::Store, Self::Disk)
    }
}

/// Whether the disk is at fault, which health tells from then on.
fn fault_of_the_disk(err: &StoreError) -> Option<Reason> {
    let StoreError::Files(source) = err else { return None };
    let folder = Path::new("jobs");
    let reason = Reason::of(source, folder);
    reason.is_of_the_disk().then(|| STORED.failed(folder, source)).map(|()| reason)
}

impl From<std::io::Error> for BatchError {
    fn from(err: std::io::Error) -> Self {
        Self::from(StoreError::from(err))
    }
}

impl From<PayloadError> for BatchError {
    fn from(err: PayloadError) -> Self {
        match ApiError::from(err) {
            ApiError::Timeout(_) => Self::Timeout(IDLE_TIMEOUT.as_secs()),
            err => Self::Malformed(err.to_string()),
        }
    }
}

impl BatchError {
    /// What there is too much of, for the figures.
    pub(super) fn excess(&self) -> Option<&'static str> {
        match self {
            Self::StorageFull(_) => Some("disk"),
            Self::ClientBusy(_) => Some("address"),
            Self::Busy(_) => Some("all"),
            Self::TooLarge(_) => Some("size"),
            _ => None,
        }
    }

    /// A parameter of the query is wrong: how it `should` be, and what to `write`.
    pub(super) fn query(name: &str, given: &str, should: &str, write: &str) -> Self {
        let phrase = format!("{name} in query {should}");
        Self::Query { phrase, remedy: format!("{name} is `{}`; write {write}", shown(given)) }
    }

    /// The phrase that clients match.
    fn phrase(&self) -> &str {
        match self {
            Self::Malformed(_) | Self::Timeout(_) | Self::TooSlow(_) => "Malformed request",
            Self::MissingData => "Missing data_file",
            Self::Config(ConfigError::NoLanguage) => "No language selected",
            Self::Config(ConfigError::Product(_)) | Self::NoRecogniser(_) => {
                "Requested product not available"
            }
            Self::Config(
                ConfigError::NotJson(_) | ConfigError::Schema(_) | ConfigError::Replacements(_),
            )
            | Self::Rejected(_)
            | Self::JobFailed(_) => "Job rejected",
            Self::Query { phrase, .. } => phrase,
            Self::NotFound => "Job not found",
            Self::Expired => "Job Expired",
            Self::FileExpired => "File Expired",
            Self::Locked => "Resource Locked",
            Self::NotReady => "Transcription not ready",
            Self::Format => "Format Not Supported",
            Self::NotAlignment => "Job is not of type alignment",
            Self::NoLog => "Log file not available",
            Self::NoData => "Data file not available",
            Self::TooLarge(_) => "Malformed request",
            Self::ClientBusy(_) => "Rate Limited",
            Self::Busy(_) | Self::NoStore => "Service Unavailable",
            Self::StorageFull(_) | Self::Store | Self::Disk(_) | Self::Stopping => {
                "Internal Server Error"
            }
        }
    }
}

impl ResponseError for BatchError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Malformed(_)
            | Self::MissingData
            | Self::Config(_)
            | Self::Rejected(_)
            | Self::Format => StatusCode::BAD_REQUEST,
            Self::Query { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound
            | Self::NotReady
            | Self::JobFailed(_)
            | Self::NotAlignment
            | Self::NoLog
            | Self::NoData => StatusCode::NOT_FOUND,
            Self::Expired | Self::FileExpired => StatusCode::GONE,
            Self::Locked => StatusCode::LOCKED,
            Self::NoRecogniser(_) | Self::Stopping | Self::Busy(_) | Self::NoStore => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ClientBusy(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::StorageFull(_) => StatusCode::INSUFFICIENT_STORAGE,
            Self::Timeout(_) | Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Store | Self::Disk(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let body = JobErrorBody {
            code: status.as_u16(),
            error: self.phrase().to_owned(),
            detail: Some(self.to_string()),
        };
        let mut response = HttpResponse::build(status);
        let later = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS];
        if later.contains(&status) {
            response.insert_header((header::RETRY_AFTER, "60"));
        }
        response.json(body)
    }
}
