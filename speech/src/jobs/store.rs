//! What keeps jobs: the trait, and what it speaks of.

use std::{collections::HashMap, fmt, fs::File, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{Date, OffsetDateTime};

use super::files::IncomingFile;
use crate::{disk::NoRoom, transcript::Item};

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

/// A job to be.
pub struct NewJob {
    pub config: String,
    /// Who posts it, for fair turns: an address.
    pub client: String,
    pub data_name: String,
    /// `None` for a job whose audio is to be fetched.
    pub audio: Option<IncomingFile>,
    /// Whether somebody wants to be told at its end.
    pub notify: bool,
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

/// The most jobs that are listed at once.
pub const LONGEST_PAGE: u32 = 100;

/// Which jobs to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListFilter {
    /// How many at most, [`LONGEST_PAGE`] at most.
    pub limit: Option<u32>,
    /// Only jobs with smaller ids: the page after the one that ended there.
    pub before: Option<JobId>,
    pub created_before: Option<OffsetDateTime>,
    pub created_after: Option<OffsetDateTime>,
    pub include_deleted: bool,
}

/// How many jobs there are, by where they are on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobCounts {
    pub fetching: u64,
    pub queued: u64,
    pub running: u64,
    pub done: u64,
    pub rejected: u64,
}

/// The places of waiting jobs in the queue: 1 has the one that is begun next.
pub type Places = Arc<HashMap<JobId, u64>>;

/// What was transcribed in a time, by language and model.
#[derive(Debug, Clone, PartialEq)]
pub struct UsageRow {
    pub language: String,
    pub model: String,
    pub count: u64,
    pub duration: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the job database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the job folder failed")]
    Files(#[source] std::io::Error),
    #[error("{0}")]
    NoRoom(NoRoom),
    #[error("a stored job cannot be read: {0}")]
    Damaged(String),
    /// The store as it lies there cannot be used. Nothing of it was changed or removed.
    #[error("the jobs cannot be opened: {0}")]
    Unusable(String),
    #[error("{0} jobs wait already, and no more may")]
    QueueFull(u64),
    #[error("{0} jobs of this address wait already, and no more may")]
    ShareFull(u64),
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::NoRoom(_) => true,
            Self::Files(err) => matches!(err.kind(), StorageFull | QuotaExceeded),
            _ => false,
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(err: std::io::Error) -> Self {
        Self::Files(err)
    }
}

impl From<NoRoom> for StoreError {
    fn from(err: NoRoom) -> Self {
        match err {
            NoRoom::Unknown(err) => Self::Files(err),
            NoRoom::Bytes | NoRoom::Files | NoRoom::Share { .. } => Self::NoRoom(err),
        }
    }
}

/// Keeps jobs through crashes: what a call has returned is on the disk. Calls block.
pub trait JobStore: Send + Sync {
    /// A file for audio of `client` that arrives, of which `announced` bytes are known to come.
    ///
    /// # Errors
    /// There is no room for it, or the folder cannot be written.
    fn begin_upload(&self, client: &str, announced: u64) -> Result<IncomingFile, StoreError>;

    /// Whether a job of `client` would be taken now.
    ///
    /// # Errors
    /// Too many jobs wait, or there is no room.
    fn check_room(&self, client: &str) -> Result<(), StoreError>;

    /// What wants an operator's attention though jobs are served.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Brings all of it into its lasting form, at an orderly end.
    ///
    /// # Errors
    /// The database failed; nothing is lost by that.
    fn rest(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Makes a job. Its audio must be synced to the disk already.
    ///
    /// # Errors
    /// Nothing was made then.
    fn create(&self, job: NewJob) -> Result<JobId, StoreError>;

    /// Gives a fetching job its audio and queues it.
    ///
    /// # Errors
    /// The job is as it was then.
    fn attach_audio(&self, id: JobId, audio: IncomingFile) -> Result<(), StoreError>;

    /// # Errors
    /// The database failed.
    fn get(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Newest first, one page of them. Expired jobs never show.
    ///
    /// # Errors
    /// The database failed.
    fn list(&self, filter: &ListFilter) -> Result<Vec<JobSummary>, StoreError>;

    /// # Errors
    /// The database failed.
    fn counts(&self) -> Result<JobCounts, StoreError>;

    /// The places of all queued jobs, as they are until one of them is begun or deleted, or another
    /// one comes. As cheap as can be: clients ask again and again.
    ///
    /// # Errors
    /// The database failed.
    fn places(&self) -> Result<Places, StoreError>;

    /// Takes a queued job to work on; counts the attempt. Clients take turns, each with its oldest
    /// job.
    ///
    /// # Errors
    /// The database failed.
    fn claim(&self) -> Result<Option<Job>, StoreError>;

    /// Puts a running job back; nothing counts against it.
    ///
    /// # Errors
    /// The database failed.
    fn release(&self, id: JobId) -> Result<(), StoreError>;

    /// Notes that an attempt failed and puts the job back, or rejects it after the third.
    ///
    /// # Errors
    /// The database failed.
    fn fail(&self, id: JobId, reason: &str) -> Result<(), StoreError>;

    /// Stores a transcript, unless the job was deleted meanwhile.
    ///
    /// # Errors
    /// The database failed.
    fn finish(&self, id: JobId, finished: &Finished) -> Result<(), StoreError>;

    /// Ends a job with a reason, unless it has ended otherwise.
    ///
    /// # Errors
    /// The database failed.
    fn reject(&self, id: JobId, reason: &str, log: &str) -> Result<(), StoreError>;

    /// Notes something that went wrong beside the job's own work.
    ///
    /// # Errors
    /// The database failed.
    fn add_error(&self, id: JobId, message: &str) -> Result<(), StoreError>;

    /// The transcript; `None` unless the job is done.
    ///
    /// # Errors
    /// The database failed.
    fn transcript(&self, id: JobId) -> Result<Option<Transcript>, StoreError>;

    /// What the work on it said.
    ///
    /// # Errors
    /// The database failed.
    fn log(&self, id: JobId) -> Result<Option<String>, StoreError>;

    /// The audio as it was sent.
    ///
    /// # Errors
    /// The file cannot be opened.
    fn open_audio(&self, id: JobId) -> Result<Option<File>, StoreError>;

    /// Deletes audio and transcript; the job stays as a deleted one until its retention is over.
    ///
    /// # Errors
    /// The database failed.
    fn delete(&self, id: JobId) -> Result<(), StoreError>;

    /// Deletes what was finished longer ago than `age`, in time that has passed, whatever the wall
    /// clock says; gives how many jobs.
    ///
    /// # Errors
    /// The database failed.
    fn expire(&self, age: Duration) -> Result<usize, StoreError>;

    /// The jobs whose audio is to be fetched.
    ///
    /// # Errors
    /// The database failed.
    fn fetching(&self) -> Result<Vec<JobId>, StoreError>;

    /// The finished jobs whose end was not told yet.
    ///
    /// # Errors
    /// The database failed.
    fn unnotified(&self) -> Result<Vec<JobId>, StoreError>;

    /// The end of a job was told, or given up.
    ///
    /// # Errors
    /// The database failed.
    fn mark_notified(&self, id: JobId) -> Result<(), StoreError>;

    /// What was transcribed on these days, both included; deleted jobs count.
    ///
    /// # Errors
    /// The database failed.
    fn usage(&self, since: Date, until: Date) -> Result<Vec<UsageRow>, StoreError>;
}
