//! Rows and what they stand for.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use time::OffsetDateTime;

use crate::jobs::{
    job::{Job, JobError, JobId, JobStatus, JobSummary},
    store_error::StoreError,
};

/// Errors that are kept of a job, the first ones.
const MOST_ERRORS: usize = 20;
/// The longest message of an error, in characters.
const LONGEST_MESSAGE: usize = 1000;

pub(super) fn append_error(
    transaction: &Transaction<'_>,
    id: JobId,
    message: &str,
) -> Result<(), StoreError> {
    let sql = "SELECT errors FROM jobs WHERE id = ?1";
    let text: Option<String> = transaction.query_row(sql, [id.0], |row| row.get(0)).optional()?;
    let mut errors: Vec<JobError> = parse_errors(&text.unwrap_or_default())?;
    if errors.len() >= MOST_ERRORS {
        return Ok(());
    }
    let message = message.chars().take(LONGEST_MESSAGE).collect();
    errors.push(JobError { message, timestamp: OffsetDateTime::now_utc() });
    let text =
        serde_json::to_string(&errors).map_err(|err| StoreError::Damaged(err.to_string()))?;
    transaction.execute("UPDATE jobs SET errors = ?2 WHERE id = ?1", params![id.0, text])?;
    Ok(())
}

pub(super) fn parse_errors(text: &str) -> Result<Vec<JobError>, StoreError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|err| StoreError::Damaged(err.to_string()))
}

pub(super) fn read_job(row: &Row<'_>) -> Result<Job, StoreError> {
    let status: String = row.get(3)?;
    Ok(Job {
        id: JobId(row.get(0)?),
        created_at: moment(row.get(1)?)?,
        finished_at: row.get::<_, Option<i64>>(2)?.map(moment).transpose()?,
        status: status_of(&status).ok_or(StoreError::Damaged(status))?,
        data_name: row.get(4)?,
        config: row.get(5)?,
        duration: Duration::from_millis(row.get::<_, i64>(6)?.unsigned_abs()),
        attempts: row.get(7)?,
        crashes: row.get(8)?,
        errors: parse_errors(&row.get::<_, String>(9)?)?,
        client: row.get(10)?,
        notify: row.get(11)?,
    })
}

pub(super) fn read_summary(row: &Row<'_>) -> Result<JobSummary, StoreError> {
    let status: String = row.get(2)?;
    Ok(JobSummary {
        id: JobId(row.get(0)?),
        created_at: moment(row.get(1)?)?,
        status: status_of(&status).ok_or(StoreError::Damaged(status))?,
        data_name: row.get(3)?,
        duration: Duration::from_millis(row.get::<_, i64>(4)?.unsigned_abs()),
        errors: parse_errors(&row.get::<_, String>(5)?)?,
    })
}

pub(super) fn name_of(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Fetching => "fetching",
        JobStatus::Queued => "queued",
        JobStatus::Running => "running",
        JobStatus::Done => "done",
        JobStatus::Rejected => "rejected",
        JobStatus::Deleted => "deleted",
        JobStatus::Expired => "expired",
    }
}

pub(super) fn status_of(name: &str) -> Option<JobStatus> {
    use JobStatus::{Deleted, Done, Expired, Fetching, Queued, Rejected, Running};
    let all = [Fetching, Queued, Running, Done, Rejected, Deleted, Expired];
    all.into_iter().find(|status| name_of(*status) == name)
}

pub(super) fn now() -> i64 {
    millis(OffsetDateTime::now_utc())
}

pub(super) fn millis(moment: OffsetDateTime) -> i64 {
    i64::try_from(moment.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX)
}

pub(super) fn duration_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn moment(millis: i64) -> Result<OffsetDateTime, StoreError> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .map_err(|err| StoreError::Damaged(err.to_string()))
}
