//! What a job is, and what came of it.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::transcript::Item;

/// The number of a job: 1, 2, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is no job's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("job ids are whole numbers from 1")]
pub struct NoJobId;

impl FromStr for JobId {
    type Err = NoJobId;

    fn from_str(text: &str) -> Result<Self, NoJobId> {
        // Only the form that was given out: `01` and `+1` name no job.
        let digits = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Self).ok_or(NoJobId)
    }
}

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Its audio is to be fetched first.
    Fetching,
    Queued,
    Running,
    Done,
    /// It cannot be transcribed; the errors say why.
    Rejected,
    /// A client deleted it: audio and transcript are gone.
    Deleted,
    /// Its retention is over: audio and transcript are gone.
    Expired,
}

impl JobStatus {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_final(self) -> bool {
        match self {
            Self::Fetching | Self::Queued | Self::Running => false,
            Self::Done | Self::Rejected | Self::Deleted | Self::Expired => true,
        }
    }
}

/// Something that went wrong on a job's way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    pub message: String,
    #[serde(with = "time::serde::rfc3339")]
    pub timestamp: OffsetDateTime,
}

/// A job as it is kept.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: JobId,
    pub created_at: OffsetDateTime,
    pub finished_at: Option<OffsetDateTime>,
    pub status: JobStatus,
    /// Who posted it: an address. Empty where that is not known (any more).
    pub client: String,
    /// The file's name as the client gave it.
    pub data_name: String,
    /// The configuration as submitted: JSON.
    pub config: String,
    /// The length of the audio as far as it is known.
    pub duration: Duration,
    /// How often work on it has begun.
    pub attempts: u32,
    /// How often the process ended, without a word, while work on it went on.
    pub crashes: u32,
    pub errors: Vec<JobError>,
    /// Whether somebody is still to be told of its end.
    pub notify: bool,
}

/// What lists show of a job: all but its configuration.
#[derive(Debug, Clone)]
pub struct JobSummary {
    pub id: JobId,
    pub created_at: OffsetDateTime,
    pub status: JobStatus,
    pub data_name: String,
    /// The length of the audio as far as it is known.
    pub duration: Duration,
    pub errors: Vec<JobError>,
}

impl Job {
    #[must_use]
    pub fn summary(&self) -> JobSummary {
        JobSummary {
            id: self.id,
            created_at: self.created_at,
            status: self.status,
            data_name: self.data_name.clone(),
            duration: self.duration,
            errors: self.errors.clone(),
        }
    }
}

/// What came of a job that went well.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Finished {
    pub duration: Duration,
    pub items: Vec<Item>,
    pub log: String,
    /// The language that was recognised, which is not that of the configuration where that says `auto`.
    pub language: String,
    pub model: String,
    /// What else is to be told in the `metadata` of the transcript, by key.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// What is kept of it for those who read it.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    pub items: Vec<Item>,
    /// `None` for one that an earlier version made: it is that of the configuration then.
    pub language: Option<String>,
    pub metadata: Map<String, Value>,
}
