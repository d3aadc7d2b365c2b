//! Jobs as clients see them.

use portcullis_speech::jobs::{
    Job, JobId, JobStatus, JobSummary, Jobs, Places,
    render::{timestamp, whole_seconds},
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::outbound::Target;

/// What is still to be done counts as running.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum JobState {
    Running,
    Done,
    Rejected,
    Deleted,
    Expired,
}

#[derive(Serialize, ToSchema)]
struct JobProblem {
    message: String,
    #[schema(format = DateTime)]
    timestamp: String,
}

/// A job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobDetails {
    #[schema(format = DateTime)]
    created_at: String,
    /// The name of the file as it was posted; empty for audio that is fetched.
    data_name: String,
    /// Whole seconds of audio; 0 until they are known.
    duration: u64,
    #[schema(example = "1")]
    id: String,
    status: JobState,
    #[serde(flatten)]
    standing: Standing,
    /// As it was submitted, without keys that were null; secrets are `***`. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    config: Option<Value>,
    /// What went wrong, if anything did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<JobProblem>,
}

/// Where a job stands that has not ended; nothing of one that has.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct Standing {
    /// How much of the audio was heard, 0 to 1; only while it is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.0, maximum = 1.0)]
    progress: Option<f64>,
    /// Whole seconds that the work will still take at the speed that it has had; only once that is
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    seconds_left: Option<u64>,
    /// Its place among the jobs that wait, while it does: 1 is begun next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    queue_position: Option<u64>,
}

impl Standing {
    pub(super) fn of(id: JobId, status: JobStatus, jobs: &Jobs, places: &Places) -> Self {
        if status.is_final() {
            return Self::default();
        }
        let progress = jobs.progress(id);
        let share = progress.map_or(0.0, |progress| progress.share);
        let left = progress.and_then(|progress| progress.left);
        Self {
            progress: Some((share.clamp(0.0, 1.0) * 1000.0).round() / 1000.0),
            seconds_left: left.map(|left| (left.as_secs_f64().ceil() as u64).max(1)),
            queue_position: places.get(&id).copied(),
        }
    }
}

impl JobDetails {
    pub(super) fn number(&self) -> Option<JobId> {
        self.id.parse().ok()
    }
}

/// One job.
#[derive(Serialize, ToSchema)]
pub(super) struct JobReply {
    pub(super) job: JobDetails,
}

/// Jobs, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    pub(super) jobs: Vec<JobDetails>,
}

/// The job that was made.
#[derive(Serialize, ToSchema)]
pub(super) struct JobMade {
    #[schema(example = "1")]
    pub(super) id: String,
}

/// What lists show: without the configuration.
pub(super) fn summary(job: &JobSummary, standing: Standing) -> JobDetails {
    let problem = |error: &portcullis_speech::jobs::JobError| JobProblem {
        message: error.message.clone(),
        timestamp: timestamp(error.timestamp),
    };
    JobDetails {
        created_at: timestamp(job.created_at),
        data_name: job.data_name.clone(),
        duration: whole_seconds(job.duration),
        id: job.id.to_string(),
        status: match job.status {
            JobStatus::Fetching | JobStatus::Queued | JobStatus::Running => JobState::Running,
            JobStatus::Done => JobState::Done,
            JobStatus::Rejected => JobState::Rejected,
            JobStatus::Deleted => JobState::Deleted,
            JobStatus::Expired => JobState::Expired,
        },
        standing,
        config: None,
        errors: job.errors.iter().map(problem).collect(),
    }
}

/// A job with its configuration as it was submitted but for secrets.
pub(super) fn details(job: &Job, standing: Standing) -> JobReply {
    let job = JobDetails {
        config: serde_json::from_str(&job.config).ok().map(masked),
        ..summary(&job.summary(), standing)
    };
    JobReply { job }
}

/// A configuration without the secrets in it: the values of headers, and of addresses what comes
/// after the host, for that is where tokens of callbacks and signatures of downloads stand.
fn masked(mut config: Value) -> Value {
    for key in ["fetch_data", "fetch_text"] {
        if let Some(entry) = config.get_mut(key) {
            mask(entry);
        }
    }
    let notifications = config.get_mut("notification_config").and_then(Value::as_array_mut);
    notifications.into_iter().flatten().for_each(mask);
    config
}

fn mask(entry: &mut Value) {
    if let Some(Value::String(url)) = entry.get_mut("url") {
        *url = match url.parse::<Target>() {
            Ok(target) if target.path() == "/" => target.origin().to_string(),
            Ok(target) => format!("{}/***", target.origin()),
            Err(_) => "***".into(),
        };
    }
    let lines = entry.get_mut("auth_headers").and_then(Value::as_array_mut);
    for line in lines.into_iter().flatten() {
        let name = line.as_str().and_then(|line| line.split_once(':')).map(|(name, _)| name);
        *line = name.map_or_else(|| "***".into(), |name| format!("{name}: ***")).into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_of_addresses_are_not_shown() {
        let config = json!({
            "type": "transcription",
            "transcription_config": {"language": "en"},
            "tracking": {"title": "https://example.com/kept?kept"},
            "fetch_data": {
                "url": "https://bucket.example/a.wav?X-Amz-Signature=s3cret",
                "auth_headers": ["Authorization: Bearer s3cret", "s3cret", 7],
            },
            "fetch_text": {"url": "https://user:s3cret@example.com/"},
            "notification_config": [
                {"url": "http://hooks.example:8080/services/s3cret", "auth_headers": ["X-Key:s3cret"]},
                {"url": "https://plain.example", "contents": ["jobinfo"]},
                {"url": "https://query.example/?token=s3cret"},
            ],
        });
        assert_eq!(
            masked(config),
            json!({
                "type": "transcription",
                "transcription_config": {"language": "en"},
                "tracking": {"title": "https://example.com/kept?kept"},
                "fetch_data": {
                    "url": "https://bucket.example/***",
                    "auth_headers": ["Authorization: ***", "***", "***"],
                },
                "fetch_text": {"url": "***"},
                "notification_config": [
                    {"url": "http://hooks.example:8080/***", "auth_headers": ["X-Key: ***"]},
                    {"url": "https://plain.example", "contents": ["jobinfo"]},
                    {"url": "https://query.example/***"},
                ],
            })
        );
        for odd in [json!({"fetch_data": 1}), json!({"notification_config": {}}), json!([])] {
            assert_eq!(masked(odd.clone()), odd);
        }
    }
}
