//! The built-in store: SQLite beside a folder of audio.

mod open;
mod rows;
mod turns;

use std::{
    collections::HashMap,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use time::{Date, OffsetDateTime};

use self::{
    rows::{
        append_error, duration_millis, millis, name_of, now, read_job, read_summary, status_of,
    },
    turns::Turns,
};
use super::{
    files::{Folder, IncomingFile},
    job::{Finished, Job, JobId, JobStatus, JobSummary, Transcript},
    store::{JobCounts, JobStore, LONGEST_PAGE, ListFilter, NewJob, Places, UsageRow},
    store_error::StoreError,
};
use crate::disk::Promise;

/// A job that fails so often is given up.
const MOST_FAILURES: u32 = 3;
/// That there was a job is remembered for so long after it has expired.
const TOMBSTONES: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a row takes besides its texts, with what SQLite writes to change its tables.
const ROW: u64 = 64 << 10;
/// Pages that go back to the disk at once, each of 4 KiB.
const PAGES_AT_ONCE: u32 = 16_384;

const COLUMNS: &str = "id, created_at, finished_at, status, data_name,
    coalesce((SELECT config FROM configs WHERE job = jobs.id), config), duration_ms, attempts, crashes, errors, client, notify";
/// Without the configuration, which is large.
const SUMMARY: &str = "id, created_at, status, data_name, duration_ms, errors";

/// How a store is to be kept.
#[derive(Clone)]
pub struct StoreOptions {
    /// The time for which the store was in use, over all starts. It never jumps: ages of finished
    /// jobs are counted in it.
    pub running_time: Arc<dyn Fn() -> Duration + Send + Sync>,
    /// Jobs that may wait; those of one client may be half of them.
    pub most_waiting: u64,
}

/// One connection, one writer; calls are short.
pub struct SqliteStore {
    connection: Mutex<Connection>,
    folder: Folder,
    root: PathBuf,
    options: StoreOptions,
    /// Room for the transcripts of the jobs that wait and run.
    promised: Mutex<HashMap<JobId, Promise>>,
    turns: Mutex<Turns>,
    /// The places of the waiting jobs, and how many changes the connection had made then.
    places: Mutex<Option<(u64, Places)>>,
    /// Audio that belongs to no job.
    strays: Vec<JobId>,
}

impl From<rusqlite::Error> for StoreError {
    fn from(err: rusqlite::Error) -> Self {
        match err.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => {
                Self::Files(std::io::ErrorKind::StorageFull.into())
            }
            Some(rusqlite::ErrorCode::ReadOnly) => {
                Self::Files(std::io::ErrorKind::ReadOnlyFilesystem.into())
            }
            Some(rusqlite::ErrorCode::SystemIoFailure) => {
                Self::Files(nix::errno::Errno::EIO.into())
            }
            _ => Self::Database(Box::new(err)),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the transcript of so much audio takes at most, in bytes: the barest speech codecs take four
/// times as much for a second as its words do.
fn transcript_room(audio: u64) -> u64 {
    (audio / 4).min(16 << 20) + 4096
}

impl SqliteStore {
    /// Opens the store below `root`, or makes it where nothing is. Jobs that were running are
    /// queued again; uploads that were in progress are gone.
    ///
    /// # Errors
    /// What is there cannot be used ([`StoreError::Unusable`]); nothing of it was changed then. Or
    /// the folder cannot be written.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let running_time = duration_millis((options.running_time)());
        let connection = open::open(root, running_time)?;
        let folder = Folder::open(root)?;
        folder.mend_modes()?;
        let mut store = Self {
            connection: Mutex::new(connection),
            folder,
            root: root.to_owned(),
            options,
            promised: Mutex::default(),
            turns: Mutex::default(),
            places: Mutex::default(),
            strays: Vec::new(),
        };
        store.strays = store.recover()?;
        if let Some(warning) = store.warnings().first() {
            log::warn!("{warning}");
        }
        Ok(store)
    }

    /// Gives the audio that belongs to no job.
    fn recover(&self) -> Result<Vec<JobId>, StoreError> {
        let sql =
            "UPDATE jobs SET status = 'queued', crashes = crashes + 1 WHERE status = 'running'";
        self.connection().execute(sql, [])?;
        let kept = self.folder.kept()?;
        let gone = |status| matches!(status, JobStatus::Deleted | JobStatus::Expired);
        for id in kept.new {
            match self.status(id)? {
                Some(status) if !gone(status) => self.folder.settle(id),
                // Its client was told of no job yet.
                _ => self.folder.remove(id),
            }
        }
        let mut strays = Vec::new();
        for id in kept.whole {
            match self.status(id)? {
                Some(status) if gone(status) => self.folder.remove(id),
                Some(_) => {}
                None => strays.push(id),
            }
        }
        if let Some(last) = strays.iter().max() {
            self.number_after(*last)?;
        }
        for id in self.ids("SELECT id FROM jobs WHERE status IN ('queued', 'fetching')")? {
            let owed = self.folder.disk().owe(transcript_room(self.folder.length_of(id)));
            lock(&self.promised).insert(id, owed);
        }
        Ok(strays)
    }

    /// New jobs get larger numbers than `last`, so that none takes the audio of another one.
    fn number_after(&self, last: JobId) -> Result<(), StoreError> {
        let connection = self.connection();
        let sql = "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'jobs'";
        if connection.execute(sql, [last.0])? == 0 {
            let sql = "INSERT INTO sqlite_sequence (name, seq) VALUES ('jobs', ?1)";
            connection.execute(sql, [last.0])?;
        }
        Ok(())
    }

    fn status(&self, id: JobId) -> Result<Option<JobStatus>, StoreError> {
        let sql = "SELECT status FROM jobs WHERE id = ?1";
        let name: Option<String> =
            self.connection().query_row(sql, [id.0], |row| row.get(0)).optional()?;
        name.map(|name| status_of(&name).ok_or(StoreError::Damaged(name))).transpose()
    }

    fn running_time(&self) -> i64 {
        duration_millis((self.options.running_time)())
    }

    /// Whether `client` may have one job more in the queue.
    fn check_queue(&self, connection: &Connection, client: &str) -> Result<(), StoreError> {
        let sql = "SELECT count(*), count(*) FILTER (WHERE client = ?1) FROM jobs
                   WHERE status IN ('queued', 'fetching')";
        let (all, own) = connection.query_row(sql, [client], |row| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
        })?;
        if all >= self.options.most_waiting {
            return Err(StoreError::QueueFull(all));
        }
        if own >= self.options.most_waiting.div_ceil(2) {
            return Err(StoreError::ShareFull(own));
        }
        Ok(())
    }

    /// Nothing more will be written for this job.
    fn settle_account(&self, id: JobId) {
        lock(&self.promised).remove(&id);
    }

    /// Gives pages that hold nothing any more back to the disk.
    fn give_back(&self) -> Result<(), StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})"))?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        checkpoint(&connection)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        lock(&self.connection)
    }

    fn transaction<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Whether the job was in one of the states `from`.
    fn set_status(&self, id: JobId, to: JobStatus, from: &[JobStatus]) -> Result<bool, StoreError> {
        let connection = self.connection();
        let states: Vec<_> = from.iter().map(|status| format!("'{}'", name_of(*status))).collect();
        let sql = format!(
            "UPDATE jobs SET status = ?2 WHERE id = ?1 AND status IN ({})",
            states.join(",")
        );
        Ok(connection.execute(&sql, params![id.0, name_of(to)])? > 0)
    }
}

impl JobStore for SqliteStore {
    fn begin_upload(&self, client: &str, announced: u64) -> Result<IncomingFile, StoreError> {
        self.folder.begin_upload(client, announced)
    }

    fn check_room(&self, client: &str) -> Result<(), StoreError> {
        self.check_queue(&self.connection(), client)?;
        self.folder.disk().promise(0)?;
        Ok(())
    }

    fn warnings(&self) -> Vec<String> {
        let Some(newest) = self.strays.iter().max() else { return Vec::new() };
        vec![format!(
            "{} files in {} belong to no job, number {newest} is the last of them: jobs.sqlite is older than they are or has lost something. They are kept. Put the right database back, or move them away, and start again",
            self.strays.len(),
            self.root.join("audio").display()
        )]
    }

    fn rest(&self) -> Result<(), StoreError> {
        checkpoint(&self.connection())
    }

    fn create(&self, job: NewJob) -> Result<JobId, StoreError> {
        let status = if job.audio.is_some() { JobStatus::Queued } else { JobStatus::Fetching };
        let disk = self.folder.disk();
        // SQLite writes everything twice: first into its journal.
        let _row = disk.promise(2 * (job.config.len() + job.data_name.len()) as u64 + ROW)?;
        let length = job.audio.as_ref().map_or(0, IncomingFile::length);
        let transcript = disk.promise(transcript_room(length))?;
        let mut connection = self.connection();
        self.check_queue(&connection, &job.client)?;
        let transaction = connection.transaction()?;
        transaction.execute(
            "INSERT INTO jobs (created_at, status, data_name, config, notify, client) VALUES (?1, ?2, ?3, '', ?4, ?5)",
            params![now(), name_of(status), job.data_name, job.notify, job.client],
        )?;
        let id = JobId(transaction.last_insert_rowid());
        let sql = "INSERT INTO configs (job, config) VALUES (?1, ?2)";
        transaction.execute(sql, params![id.0, job.config])?;
        // The file is in its place before the job is there: a job never lacks its audio.
        let has_audio = job.audio.is_some();
        if let Some(audio) = job.audio {
            self.folder.keep(audio, id)?;
        }
        if let Err(err) = transaction.commit() {
            self.folder.remove(id);
            return Err(err.into());
        }
        if has_audio {
            self.folder.settle(id);
        }
        lock(&self.promised).insert(id, transcript);
        Ok(id)
    }

    fn attach_audio(&self, id: JobId, audio: IncomingFile) -> Result<(), StoreError> {
        let transcript = self.folder.disk().promise(transcript_room(audio.length()))?;
        self.folder.keep(audio, id)?;
        if self.set_status(id, JobStatus::Queued, &[JobStatus::Fetching])? {
            self.folder.settle(id);
            lock(&self.promised).insert(id, transcript);
        } else {
            self.folder.remove(id);
        }
        Ok(())
    }

    fn get(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        find(&self.connection(), id)
    }

    fn list(&self, filter: &ListFilter) -> Result<Vec<JobSummary>, StoreError> {
        let connection = self.connection();
        let sql = format!(
            "SELECT {SUMMARY} FROM jobs WHERE id < ?5 AND status != 'expired'
             AND (?1 OR status != 'deleted')
             AND created_at < ?2 AND created_at > ?3 ORDER BY id DESC LIMIT ?4"
        );
        let mut statement = connection.prepare(&sql)?;
        let bounds = params![
            filter.include_deleted,
            filter.created_before.map_or(i64::MAX, millis),
            filter.created_after.map_or(i64::MIN, millis),
            filter.limit.unwrap_or(LONGEST_PAGE).min(LONGEST_PAGE),
            filter.before.map_or(i64::MAX, |id| id.0),
        ];
        let rows = statement.query_map(bounds, |row| Ok(read_summary(row)))?;
        rows.map(|row| row.map_err(StoreError::from)?).collect()
    }

    fn counts(&self) -> Result<JobCounts, StoreError> {
        let connection = self.connection();
        let mut statement =
            connection.prepare("SELECT status, count(*) FROM jobs GROUP BY status")?;
        let rows =
            statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        let mut counts = JobCounts::default();
        for row in rows {
            let (status, count) = row?;
            let slot = match status_of(&status).ok_or(StoreError::Damaged(status))? {
                JobStatus::Fetching => &mut counts.fetching,
                JobStatus::Queued => &mut counts.queued,
                JobStatus::Running => &mut counts.running,
                JobStatus::Done => &mut counts.done,
                JobStatus::Rejected => &mut counts.rejected,
                JobStatus::Deleted | JobStatus::Expired => continue,
            };
            *slot = count.unsigned_abs();
        }
        Ok(counts)
    }

    fn places(&self) -> Result<Places, StoreError> {
        let connection = self.connection();
        let changes = connection.total_changes();
        let mut known = lock(&self.places);
        if let Some((then, places)) = &*known
            && *then == changes
        {
            return Ok(places.clone());
        }
        let sql = "SELECT client, id FROM jobs WHERE status = 'queued' ORDER BY client, id";
        let mut statement = connection.prepare(sql)?;
        let waiting = statement.query_map([], |row| Ok((row.get(0)?, JobId(row.get(1)?))))?;
        let order = lock(&self.turns).order(waiting.collect::<Result<_, _>>()?);
        let places: Places = Arc::new(order.into_iter().zip(1..).collect());
        *known = Some((changes, places.clone()));
        Ok(places)
    }

    fn claim(&self) -> Result<Option<Job>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT client, min(id) FROM jobs WHERE status = 'queued' GROUP BY client";
        let mut statement = connection.prepare(sql)?;
        let waiting = statement.query_map([], |row| Ok((row.get(0)?, JobId(row.get(1)?))))?;
        let waiting = waiting.collect::<Result<Vec<(String, JobId)>, _>>()?;
        let Some(id) = lock(&self.turns).next(waiting) else { return Ok(None) };
        let sql = "UPDATE jobs SET status = 'running', attempts = attempts + 1 WHERE id = ?1";
        connection.execute(sql, [id.0])?;
        find(&connection, id)
    }

    fn release(&self, id: JobId) -> Result<(), StoreError> {
        let sql = "UPDATE jobs SET status = 'queued' WHERE id = ?1 AND status = 'running'";
        self.connection().execute(sql, [id.0])?;
        Ok(())
    }

    fn fail(&self, id: JobId, reason: &str) -> Result<(), StoreError> {
        self.add_error(id, reason)?;
        let sql = "UPDATE jobs SET failures = failures + 1,
                   status = iif(failures + 1 < ?2, 'queued', status)
                   WHERE id = ?1 AND status = 'running' RETURNING failures";
        let failures: Option<u32> = self
            .connection()
            .query_row(sql, params![id.0, MOST_FAILURES], |row| row.get(0))
            .optional()?;
        match failures {
            Some(failures) if failures >= MOST_FAILURES => {
                self.reject(id, &format!("the recogniser failed {failures} times on this job"), "")
            }
            _ => Ok(()),
        }
    }

    fn finish(&self, id: JobId, finished: &Finished) -> Result<(), StoreError> {
        let damaged = |err: serde_json::Error| StoreError::Damaged(err.to_string());
        let items = serde_json::to_string(&finished.items).map_err(damaged)?;
        let metadata = serde_json::to_string(&finished.metadata).map_err(damaged)?;
        let duration = i64::try_from(finished.duration.as_millis()).unwrap_or(i64::MAX);
        self.transaction(|transaction| {
            let sql = "UPDATE jobs SET status = 'done', finished_at = ?2, duration_ms = ?3, ended_after = ?4
                       WHERE id = ?1 AND status = 'running'";
            if transaction.execute(sql, params![id.0, now(), duration, self.running_time()])? == 0 {
                return Ok(());
            }
            let sql = "INSERT OR REPLACE INTO transcripts (job, items, log, language, metadata)
                       VALUES (?1, ?2, ?3, ?4, ?5)";
            let language = &finished.language;
            transaction.execute(sql, params![id.0, items, finished.log, language, metadata])?;
            let sql = "INSERT INTO usage (day, language, model, count, duration_ms) VALUES (?1, ?2, ?3, 1, ?4)
                       ON CONFLICT DO UPDATE SET count = count + 1, duration_ms = duration_ms + ?4";
            let day = OffsetDateTime::now_utc().date().to_string();
            transaction.execute(sql, params![day, finished.language, finished.model, duration])?;
            Ok(())
        })?;
        self.settle_account(id);
        Ok(())
    }

    fn reject(&self, id: JobId, reason: &str, log: &str) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let sql = "UPDATE jobs SET status = 'rejected', finished_at = ?2, ended_after = ?3
                       WHERE id = ?1 AND status IN ('running', 'queued', 'fetching')";
            if transaction.execute(sql, params![id.0, now(), self.running_time()])? == 0 {
                return Ok(());
            }
            append_error(transaction, id, reason)?;
            let sql = "INSERT OR REPLACE INTO transcripts (job, items, log) VALUES (?1, NULL, ?2)";
            transaction.execute(sql, params![id.0, format!("{log}{reason}\n")])?;
            Ok(())
        })?;
        self.settle_account(id);
        Ok(())
    }

    fn add_error(&self, id: JobId, message: &str) -> Result<(), StoreError> {
        self.transaction(|transaction| append_error(transaction, id, message))
    }

    fn transcript(&self, id: JobId) -> Result<Option<Transcript>, StoreError> {
        let sql = "SELECT items, language, metadata FROM transcripts
                   WHERE job = ?1 AND items IS NOT NULL";
        let row = self.connection().query_row(sql, [id.0], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?))
        });
        let Some((items, language, metadata)) = row.optional()? else { return Ok(None) };
        let damaged = |err: serde_json::Error| StoreError::Damaged(err.to_string());
        let items = serde_json::from_str(&items).map_err(damaged)?;
        let metadata = serde_json::from_str(&metadata).map_err(damaged)?;
        Ok(Some(Transcript { items, language, metadata }))
    }

    fn log(&self, id: JobId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT log FROM transcripts WHERE job = ?1";
        Ok(self.connection().query_row(sql, [id.0], |row| row.get(0)).optional()?)
    }

    fn open_audio(&self, id: JobId) -> Result<Option<File>, StoreError> {
        Ok(self.folder.open_audio(id)?)
    }

    fn delete(&self, id: JobId) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let sql =
                "UPDATE jobs SET status = 'deleted', notify = 0, finished_at = ?2, ended_after = ?3
                       WHERE id = ?1 AND status != 'expired'";
            transaction.execute(sql, params![id.0, now(), self.running_time()])?;
            forget(transaction, id)
        })?;
        self.folder.remove(id);
        self.settle_account(id);
        Ok(())
    }

    fn expire(&self, age: Duration) -> Result<usize, StoreError> {
        let before = self.running_time() - duration_millis(age);
        let ids = self.transaction(|transaction| {
            // What identifies anybody goes with the rest.
            let sql = "UPDATE jobs SET status = 'expired', config = '{}', data_name = '', errors = '[]', client = ''
                       WHERE status IN ('done', 'rejected', 'deleted') AND ended_after < ?1 RETURNING id";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([before], |row| row.get(0).map(JobId))?;
            let ids = rows.collect::<Result<Vec<JobId>, _>>()?;
            for id in &ids {
                forget(transaction, *id)?;
            }
            let long_ago = before - duration_millis(TOMBSTONES);
            let sql = "DELETE FROM jobs WHERE status = 'expired' AND ended_after < ?1";
            transaction.execute(sql, [long_ago])?;
            Ok(ids)
        })?;
        for id in &ids {
            self.folder.remove(*id);
        }
        if !ids.is_empty() {
            self.give_back()?;
        }
        Ok(ids.len())
    }

    fn fetching(&self) -> Result<Vec<JobId>, StoreError> {
        self.ids("SELECT id FROM jobs WHERE status = 'fetching' ORDER BY id")
    }

    fn unnotified(&self) -> Result<Vec<JobId>, StoreError> {
        self.ids("SELECT id FROM jobs WHERE notify AND status IN ('done', 'rejected') ORDER BY id")
    }

    fn mark_notified(&self, id: JobId) -> Result<(), StoreError> {
        self.connection().execute("UPDATE jobs SET notify = 0 WHERE id = ?1", [id.0])?;
        Ok(())
    }

    fn usage(&self, since: Date, until: Date) -> Result<Vec<UsageRow>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(
            "SELECT language, model, sum(count), sum(duration_ms) FROM usage
             WHERE day BETWEEN ?1 AND ?2 GROUP BY language, model ORDER BY language, model",
        )?;
        let rows = statement.query_map([since.to_string(), until.to_string()], |row| {
            Ok(UsageRow {
                language: row.get(0)?,
                model: row.get(1)?,
                count: row.get::<_, i64>(2)?.unsigned_abs(),
                duration: Duration::from_millis(row.get::<_, i64>(3)?.unsigned_abs()),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

impl SqliteStore {
    fn ids(&self, sql: &str) -> Result<Vec<JobId>, StoreError> {
        let connection = self.connection();
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map([], |row| Ok(JobId(row.get(0)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Empties the journal into the database.
fn checkpoint(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
}

fn find(connection: &Connection, id: JobId) -> Result<Option<Job>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
    let found = connection.query_row(&sql, [id.0], |row| Ok(read_job(row))).optional()?;
    found.transpose()
}

/// Removes the transcript of a job and its configuration, which may hold secrets for callbacks.
fn forget(transaction: &Transaction<'_>, id: JobId) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM transcripts WHERE job = ?1", [id.0])?;
    transaction.execute("DELETE FROM configs WHERE job = ?1", [id.0])?;
    Ok(())
}

#[cfg(test)]
mod tests;
