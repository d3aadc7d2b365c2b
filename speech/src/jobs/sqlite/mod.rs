//! The built-in store: SQLite beside a folder of audio.

mod rows;

use std::{
    fs::File,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use time::{Date, OffsetDateTime};

use self::rows::{append_error, millis, name_of, now, read_job, status_of};
use super::{
    files::{Folder, IncomingFile},
    store::{
        Finished, Job, JobCounts, JobId, JobStatus, JobStore, ListFilter, NewJob, StoreError,
        UsageRow,
    },
};
use crate::transcript::Item;

/// A job that fails so often is given up.
const MOST_FAILURES: u32 = 3;
/// The number of the schema, as SQLite's `user_version`.
const VERSION: i64 = 1;
/// That there was a job is remembered for so long after it has expired.
const TOMBSTONES: Duration = Duration::from_secs(7 * 24 * 3600);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        created_at INTEGER NOT NULL,
        finished_at INTEGER,
        status TEXT NOT NULL,
        data_name TEXT NOT NULL,
        config TEXT NOT NULL,
        duration_ms INTEGER NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        crashes INTEGER NOT NULL DEFAULT 0,
        errors TEXT NOT NULL DEFAULT '[]',
        notify INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, id);
    CREATE TABLE IF NOT EXISTS transcripts (
        job INTEGER PRIMARY KEY,
        items TEXT,
        log TEXT NOT NULL
    );
    CREATE TABLE IF NOT EXISTS usage (
        day TEXT NOT NULL,
        language TEXT NOT NULL,
        model TEXT NOT NULL,
        count INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        PRIMARY KEY (day, language, model)
    );
";

const COLUMNS: &str = "id, created_at, finished_at, status, data_name, config, duration_ms, attempts, crashes, errors";

/// One connection, one writer; calls are short.
pub struct SqliteStore {
    connection: Mutex<Connection>,
    folder: Folder,
}

impl From<rusqlite::Error> for StoreError {
    fn from(err: rusqlite::Error) -> Self {
        let full = err.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
        if full {
            return Self::Files(std::io::ErrorKind::StorageFull.into());
        }
        Self::Database(Box::new(err))
    }
}

impl SqliteStore {
    /// Opens the store below `root`, or makes it. Jobs that were running are queued again; uploads
    /// that were in progress are gone.
    ///
    /// # Errors
    /// The folder cannot be written, or the database is damaged or of a later version.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(root)?;
        private(root)?;
        let folder = Folder::open(root)?;
        let connection = Connection::open(root.join("jobs.sqlite"))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A commit is on the disk when it returns.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if version > VERSION {
            return Err(StoreError::Later(root.display().to_string()));
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", VERSION)?;
        let store = Self { connection: Mutex::new(connection), folder };
        store.recover()?;
        Ok(store)
    }

    fn recover(&self) -> Result<(), StoreError> {
        let sql =
            "UPDATE jobs SET status = 'queued', crashes = crashes + 1 WHERE status = 'running'";
        self.connection().execute(sql, [])?;
        // Audio whose job was not made, or is gone, because of a crash in between.
        for id in self.folder.kept()? {
            let wanted = self
                .get(id)?
                .is_some_and(|job| !matches!(job.status, JobStatus::Deleted | JobStatus::Expired));
            if !wanted {
                self.folder.remove(id);
            }
        }
        Ok(())
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn begin_upload(&self) -> Result<IncomingFile, StoreError> {
        Ok(self.folder.begin_upload()?)
    }

    fn free_space(&self) -> Result<u64, StoreError> {
        Ok(self.folder.free_space()?)
    }

    fn create(&self, job: NewJob) -> Result<JobId, StoreError> {
        let status = if job.audio.is_some() { JobStatus::Queued } else { JobStatus::Fetching };
        self.transaction(|transaction| {
            transaction.execute(
                "INSERT INTO jobs (created_at, status, data_name, config, notify) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![now(), name_of(status), job.data_name, job.config, job.notify],
            )?;
            let id = JobId(transaction.last_insert_rowid());
            // The file is in its place before the job is there: a job never lacks its audio.
            if let Some(audio) = job.audio {
                self.folder.keep(audio, id)?;
            }
            Ok(id)
        })
    }

    fn attach_audio(&self, id: JobId, audio: IncomingFile) -> Result<(), StoreError> {
        self.folder.keep(audio, id)?;
        if !self.set_status(id, JobStatus::Queued, &[JobStatus::Fetching])? {
            self.folder.remove(id);
        }
        Ok(())
    }

    fn get(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        let connection = self.connection();
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1");
        let found = connection.query_row(&sql, [id.0], |row| Ok(read_job(row))).optional()?;
        found.transpose()
    }

    fn list(&self, filter: &ListFilter) -> Result<Vec<Job>, StoreError> {
        let connection = self.connection();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE status != 'expired' AND (?1 OR status != 'deleted')
             AND created_at < ?2 AND created_at > ?3 ORDER BY id DESC LIMIT ?4"
        );
        let mut statement = connection.prepare(&sql)?;
        let bounds = params![
            filter.include_deleted,
            filter.created_before.map_or(i64::MAX, millis),
            filter.created_after.map_or(i64::MIN, millis),
            filter.limit.map_or(-1, i64::from),
        ];
        let rows = statement.query_map(bounds, |row| Ok(read_job(row)))?;
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

    fn claim(&self) -> Result<Option<Job>, StoreError> {
        let connection = self.connection();
        let sql = format!(
            "UPDATE jobs SET status = 'running', attempts = attempts + 1
             WHERE id = (SELECT min(id) FROM jobs WHERE status = 'queued') RETURNING {COLUMNS}"
        );
        let mut statement = connection.prepare(&sql)?;
        let found = statement.query_row([], |row| Ok(read_job(row))).optional()?;
        found.transpose()
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
        let items = serde_json::to_string(&finished.items)
            .map_err(|err| StoreError::Damaged(err.to_string()))?;
        let duration = i64::try_from(finished.duration.as_millis()).unwrap_or(i64::MAX);
        self.transaction(|transaction| {
            let sql = "UPDATE jobs SET status = 'done', finished_at = ?2, duration_ms = ?3
                       WHERE id = ?1 AND status = 'running'";
            if transaction.execute(sql, params![id.0, now(), duration])? == 0 {
                return Ok(());
            }
            let sql = "INSERT OR REPLACE INTO transcripts (job, items, log) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![id.0, items, finished.log])?;
            let sql = "INSERT INTO usage (day, language, model, count, duration_ms) VALUES (?1, ?2, ?3, 1, ?4)
                       ON CONFLICT DO UPDATE SET count = count + 1, duration_ms = duration_ms + ?4";
            let day = OffsetDateTime::now_utc().date().to_string();
            transaction.execute(sql, params![day, finished.language, finished.model, duration])?;
            Ok(())
        })
    }

    fn reject(&self, id: JobId, reason: &str, log: &str) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let sql = "UPDATE jobs SET status = 'rejected', finished_at = ?2
                       WHERE id = ?1 AND status IN ('running', 'queued', 'fetching')";
            if transaction.execute(sql, params![id.0, now()])? == 0 {
                return Ok(());
            }
            append_error(transaction, id, reason)?;
            let sql = "INSERT OR REPLACE INTO transcripts (job, items, log) VALUES (?1, NULL, ?2)";
            transaction.execute(sql, params![id.0, format!("{log}{reason}\n")])?;
            Ok(())
        })
    }

    fn add_error(&self, id: JobId, message: &str) -> Result<(), StoreError> {
        self.transaction(|transaction| append_error(transaction, id, message))
    }

    fn items(&self, id: JobId) -> Result<Option<Vec<Item>>, StoreError> {
        let sql = "SELECT items FROM transcripts WHERE job = ?1 AND items IS NOT NULL";
        let text: Option<String> =
            self.connection().query_row(sql, [id.0], |row| row.get(0)).optional()?;
        let parsed = text.map(|text| serde_json::from_str(&text));
        parsed.transpose().map_err(|err| StoreError::Damaged(err.to_string()))
    }

    fn log(&self, id: JobId) -> Result<Option<String>, StoreError> {
        let sql = "SELECT log FROM transcripts WHERE job = ?1";
        Ok(self.connection().query_row(sql, [id.0], |row| row.get(0)).optional()?)
    }

    fn open_audio(&self, id: JobId) -> Result<Option<File>, StoreError> {
        match File::open(self.folder.audio_of(id)) {
            Ok(file) => Ok(Some(file)),
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err.into()),
        }
    }

    fn delete(&self, id: JobId) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            let sql = "UPDATE jobs SET status = 'deleted', notify = 0, finished_at = ?2
                       WHERE id = ?1 AND status != 'expired'";
            transaction.execute(sql, params![id.0, now()])?;
            transaction.execute("DELETE FROM transcripts WHERE job = ?1", [id.0])?;
            Ok(())
        })?;
        self.folder.remove(id);
        Ok(())
    }

    fn expire(&self, finished_before: OffsetDateTime) -> Result<usize, StoreError> {
        let ids = self.transaction(|transaction| {
            // The configuration may hold secrets for callbacks: it goes with the rest.
            let sql = "UPDATE jobs SET status = 'expired', config = '{}', data_name = '', errors = '[]'
                       WHERE status IN ('done', 'rejected', 'deleted') AND finished_at < ?1 RETURNING id";
            let mut statement = transaction.prepare(sql)?;
            let rows = statement.query_map([millis(finished_before)], |row| row.get(0))?;
            let ids = rows.collect::<Result<Vec<i64>, _>>()?;
            for id in &ids {
                transaction.execute("DELETE FROM transcripts WHERE job = ?1", [id])?;
            }
            let long_ago = millis(finished_before - TOMBSTONES);
            let sql = "DELETE FROM jobs WHERE status = 'expired' AND finished_at < ?1";
            transaction.execute(sql, [long_ago])?;
            Ok(ids)
        })?;
        for id in &ids {
            self.folder.remove(JobId(*id));
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

/// Audio and transcripts are nobody else's business.
fn private(root: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
mod tests;
