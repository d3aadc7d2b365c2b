//! Jobs as clients see them.

use portcullis_speech::jobs::{
    Job, JobStatus,
    render::{timestamp, whole_seconds},
};
use serde_json::{Value, json};

/// The name of a state: what is still to be done counts as running.
pub(super) fn status_name(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Fetching | JobStatus::Queued | JobStatus::Running => "running",
        JobStatus::Done => "done",
        JobStatus::Rejected => "rejected",
        JobStatus::Deleted => "deleted",
        JobStatus::Expired => "expired",
    }
}

/// What lists show: without the configuration.
pub(super) fn summary(job: &Job) -> Value {
    let mut view = json!({
        "created_at": timestamp(job.created_at),
        "data_name": job.data_name,
        "duration": whole_seconds(job),
        "id": job.id.to_string(),
        "status": status_name(job.status),
    });
    if !job.errors.is_empty() {
        let errors = job.errors.iter().map(
            |error| json!({"message": error.message, "timestamp": timestamp(error.timestamp)}),
        );
        view["errors"] = errors.collect();
    }
    view
}

/// A job with its configuration as it was submitted.
pub(super) fn details(job: &Job) -> Value {
    let mut view = summary(job);
    if let Ok(config) = serde_json::from_str::<Value>(&job.config) {
        view["config"] = config;
    }
    view
}
