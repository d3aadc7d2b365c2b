//! Jobs: audio files that wait for their transcript.
//!
//! [`JobConfig`] is what a client asks for, [`JobStore`] keeps jobs through crashes ([`SqliteStore`]
//! is the built-in one), [`Jobs`] is the store with the threads that work on it, and [`render`]
//! writes a finished job in one of its forms.

mod attempt_process;
pub mod config;
mod failure;
mod files;
mod identify;
mod job;
mod process;
pub mod render;
mod runner;
mod sqlite;
mod store;
mod store_error;

pub use self::{
    attempt_process::{APART_COMMAND, transcribe_apart},
    config::{ConfigError, JobConfig},
    files::IncomingFile,
    job::{Finished, Job, JobError, JobId, JobStatus, JobSummary, Transcript},
    render::{Format, transcript},
    runner::{JobEvent, Jobs, Progress, WorkDone},
    sqlite::{SqliteStore, StoreOptions},
    store::{JobCounts, JobStore, LONGEST_PAGE, ListFilter, NewJob, Places, UsageRow},
    store_error::StoreError,
};
