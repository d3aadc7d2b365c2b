//! The errors of the batch API: the phrases are those that clients know.

use actix_web::{
    HttpResponse, ResponseError,
    error::PayloadError,
    http::{StatusCode, header},
};
use portcullis_speech::jobs::{ConfigError, StoreError};
use serde_json::json;

use crate::{body::IDLE_TIMEOUT, error::ApiError};

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
    #[error("{0}")]
    Query(String),
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
    #[error(
        "the disk is full: the audio was not kept; delete jobs or make room, then send it again"
    )]
    StorageFull,
    #[error("nothing arrived for {0} seconds; the upload was given up")]
    Timeout(u64),
    #[error("the jobs could not be read or written; see the log of the appliance")]
    Store,
    #[error("too many patterns are being compiled; try again later")]
    Busy,
    #[error("the appliance is shutting down")]
    Stopping,
}

impl From<StoreError> for BatchError {
    fn from(err: StoreError) -> Self {
        if err.is_storage_full() {
            return Self::StorageFull;
        }
        let source = std::error::Error::source(&err).map(|source| format!(": {source}"));
        log::error!("{err}{}", source.unwrap_or_default());
        Self::Store
    }
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
    /// The phrase that clients match.
    fn phrase(&self) -> &str {
        match self {
            Self::Malformed(_) | Self::Timeout(_) => "Malformed request",
            Self::MissingData => "Missing data_file",
            Self::Config(ConfigError::NoLanguage) => "No language selected",
            Self::Config(ConfigError::Product(_)) | Self::NoRecogniser(_) => {
                "Requested product not available"
            }
            Self::Config(
                ConfigError::NotJson { .. } | ConfigError::Schema(_) | ConfigError::Replacements(_),
            )
            | Self::Rejected(_)
            | Self::JobFailed(_) => "Job rejected",
            Self::Query(reason) => reason,
            Self::NotFound => "Job not found",
            Self::Expired => "Job Expired",
            Self::FileExpired => "File Expired",
            Self::Locked => "Resource Locked",
            Self::NotReady => "Transcription not ready",
            Self::Format => "Format Not Supported",
            Self::NotAlignment => "Job is not of type alignment",
            Self::NoLog => "Log file not available",
            Self::NoData => "Data file not available",
            Self::StorageFull | Self::Store | Self::Busy | Self::Stopping => {
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
            Self::Query(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound
            | Self::NotReady
            | Self::JobFailed(_)
            | Self::NotAlignment
            | Self::NoLog
            | Self::NoData => StatusCode::NOT_FOUND,
            Self::Expired | Self::FileExpired => StatusCode::GONE,
            Self::Locked => StatusCode::LOCKED,
            Self::NoRecogniser(_) | Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Store => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut body = json!({"code": status.as_u16(), "error": self.phrase()});
        // What is a phrase already needs no detail.
        if !matches!(self, Self::Query(_)) {
            body["detail"] = json!(self.to_string());
        }
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "60"));
        }
        response.json(body)
    }
}
