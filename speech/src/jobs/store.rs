//! What keeps jobs: the trait, and what it speaks of.

use std::{collections::HashMap, fs::File, sync::Arc, time::Duration};

use time::{Date, OffsetDateTime};

use super::{
    files::IncomingFile,
    job::{Finished, Job, JobId, JobSummary, Transcript},
    store_error::StoreError,
};

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
