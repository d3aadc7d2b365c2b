//! What keeps jobs: the trait, and what it speaks of.

use std::{fmt, fs::File, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use time::{Date, OffsetDateTime};

use super::files::IncomingFile;
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
}

/// A job to be.
pub struct NewJob {
    pub config: String,
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
    pub language: String,
    pub model: String,
}

/// Which jobs to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListFilter {
    pub limit: Option<u32>,
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
    Files(#[from] std::io::Error),
    #[error("a stored job cannot be read: {0}")]
    Damaged(String),
    #[error("the job database was made by a later version; run that one, or move {0} away")]
    Later(String),
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Files(err) if err.kind() == std::io::ErrorKind::StorageFull)
    }
}

/// Keeps jobs through crashes: what a call has returned is on the disk. Calls block.
pub trait JobStore: Send + Sync {
    /// A file for audio that arrives.
    ///
    /// # Errors
    /// The folder cannot be written.
    fn begin_upload(&self) -> Result<IncomingFile, StoreError>;

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// The folder cannot be asked.
    fn free_space(&self) -> Result<u64, StoreError>;

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

    /// Newest first. Expired jobs never show.
    ///
    /// # Errors
    /// The database failed.
    fn list(&self, filter: &ListFilter) -> Result<Vec<Job>, StoreError>;

    /// # Errors
    /// The database failed.
    fn counts(&self) -> Result<JobCounts, StoreError>;

    /// Takes the oldest queued job to work on; counts the attempt.
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
    fn items(&self, id: JobId) -> Result<Option<Vec<Item>>, StoreError>;

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

    /// Deletes what was finished before; gives how many jobs.
    ///
    /// # Errors
    /// The database failed.
    fn expire(&self, finished_before: OffsetDateTime) -> Result<usize, StoreError>;

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
