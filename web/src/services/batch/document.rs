//! What the forms and answers of the batch API hold, for its document.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

use crate::http::error::ErrorBody;

/// Why a request about jobs was not carried out.
#[derive(Serialize, ToSchema)]
pub(super) struct JobErrorBody {
    /// The status once more.
    pub(super) code: u16,
    /// A phrase that programs can match, such as `Job not found`.
    pub(super) error: String,
    /// What is wrong, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
}

/// What any operation may answer instead of what was asked for.
#[derive(IntoResponses)]
#[allow(dead_code)] // The document is made of its variants; nothing makes them.
pub(super) enum JobRefusals {
    /// The request does not fit; `detail` says what would.
    #[response(status = 400)]
    BadRequest(#[to_schema] JobErrorBody),
    /// A job token is set, and the request has none or a wrong one.
    #[response(status = 401)]
    Unauthorized(#[to_schema] JobErrorBody),
    /// A page of another site sent it.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// The body was not sent in time.
    #[response(status = 408)]
    Timeout(#[to_schema] JobErrorBody),
    /// The `Expect` header asks for more than `100-continue`.
    #[response(status = 417)]
    ExpectationFailed(#[to_schema] ErrorBody),
    /// A parameter of the query does not fit; `error` says which.
    #[response(status = 422)]
    Query(#[to_schema] JobErrorBody),
    /// The jobs cannot be read or written.
    #[response(status = 500)]
    Internal(#[to_schema] JobErrorBody),
    /// There is no recogniser, or the appliance is shutting down; `detail` says what to do.
    #[response(status = 503)]
    Unavailable(#[to_schema] JobErrorBody),
}

/// What operations on one job may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code)]
pub(super) enum NoSuchJob {
    /// There is no such job, or not what was asked for of it: `error` tells.
    #[response(status = 404)]
    NotFound(#[to_schema] JobErrorBody),
    /// It was cleared away.
    #[response(status = 410)]
    Gone(#[to_schema] JobErrorBody),
}

/// A job and its audio; the parts may come in any order.
#[derive(Serialize, ToSchema)]
pub(super) struct JobForm {
    /// The job's configuration: JSON.
    #[schema(example = r#"{"type": "transcription", "transcription_config": {"language": "en"}}"#)]
    config: String,
    /// The audio; left out where `config` has `fetch_data`.
    #[schema(format = Binary)]
    data_file: Option<String>,
}

/// A transcript in json-v2.
#[derive(Serialize, ToSchema)]
pub(super) struct Transcript {
    #[schema(example = "2.9")]
    format: String,
    #[schema(value_type = Object)]
    job: serde_json::Value,
    /// With `warnings` where words are missing, or features that were asked for.
    #[schema(value_type = Object)]
    metadata: serde_json::Value,
    /// Words and marks in their order.
    #[schema(value_type = Vec<Object>)]
    results: Vec<serde_json::Value>,
}
