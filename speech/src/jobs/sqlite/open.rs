//! Opening the database: a new one where there is nothing, the one that is there if it is sound.
//! What is neither is left as it is: audio and transcripts of people may be all that is left of
//! something that cannot be had again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::Duration,
};

use nix::unistd::{AccessFlags, access};
use rusqlite::{Connection, ErrorCode};

use crate::jobs::{
    files::{kept_in, make_private, make_private_dir},
    store_error::StoreError,
};

/// The number of the schema, as SQLite's `user_version`.
pub(super) const VERSION: i64 = 3;
/// A larger database is not read whole at the start, which would take long on a slow disk. What is
/// damaged inside of it is told when it is needed.
const CHECKED: u64 = 64 << 20;
const MAGIC: &[u8] = b"SQLite format 3\0";

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

/// Version 2: `ended_after` is the running time, in milliseconds, after which a job ended;
/// configurations lie apart, so that lists do not read them (those of older jobs stay where they
/// are).
const SECOND: &str = "
    ALTER TABLE jobs ADD COLUMN client TEXT NOT NULL DEFAULT '';
    ALTER TABLE jobs ADD COLUMN ended_after INTEGER;
    CREATE INDEX jobs_by_turn ON jobs (status, client, id);
    CREATE TABLE configs (
        job INTEGER PRIMARY KEY,
        config TEXT NOT NULL
    );
";

/// Version 3: a transcript tells more than its words. Older ones have the language of their jobs.
const THIRD: &str = "
    ALTER TABLE transcripts ADD COLUMN language TEXT;
    ALTER TABLE transcripts ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
";

/// Opens `jobs.sqlite` below `root`, or makes it. `now` is the running time, in milliseconds.
///
/// # Errors
/// [`StoreError::Unusable`] says what is wrong and what to do; nothing was changed then.
pub(super) fn open(root: &Path, now: i64) -> Result<Connection, StoreError> {
    let told = |what: String| unusable(root, &what);
    let found = examine(root).map_err(told)?;
    let path = root.join("jobs.sqlite");
    make_private_dir(root)?;
    // Made here, since SQLite would let others read it.
    drop(OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?);
    for name in ["jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"] {
        make_private(&root.join(name))?;
    }
    prepare(&path, found, now).map_err(|err| match err {
        Fault::Database(err) => told(format!("jobs.sqlite cannot be used: {}", described(&err))),
        Fault::Found(what) => told(what),
    })
}

fn unusable(root: &Path, what: &str) -> StoreError {
    let root = root.display();
    StoreError::Unusable(format!(
        "{root}: {what}. Nothing was removed. Put a backup in its place, or begin anew with `mv {root} {root}.damaged`; no restart is needed"
    ))
}

/// What lies there before it is opened.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Files of audio, each of some job.
    audio: usize,
    /// The length of the database in bytes.
    length: u64,
}

/// Looks without touching anything.
fn examine(root: &Path) -> Result<Found, String> {
    let shown = |name: &str, err: io::Error| format!("{name} cannot be read: {err}");
    match fs::metadata(root) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => return Err("it is no folder".into()),
        Err(err) if err.kind() == ErrorKind::NotFound && !root.is_symlink() => {
            return Ok(Found { audio: 0, length: 0 });
        }
        Err(err) => return Err(shown("it", err)),
    }
    for name in ["", "audio", "incoming", "jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"] {
        let path = root.join(name);
        if fs::symlink_metadata(&path).is_err_and(|err| err.kind() == ErrorKind::NotFound) {
            continue;
        }
        let facts = fs::metadata(&path).map_err(|err| shown(name, err))?;
        let database = name.starts_with("jobs.sqlite");
        if database && !facts.is_file() {
            return Err(format!("{name} is not a file"));
        }
        if !database && !facts.is_dir() {
            return Err(format!("{name} is not a folder"));
        }
        access(&path, AccessFlags::R_OK | AccessFlags::W_OK).map_err(|err| {
            format!(
                "the appliance may not read and write {}: {}; give it to the user that the appliance runs as (chown -R)",
                path.display(),
                err.desc()
            )
        })?;
    }
    let kept = kept_in(&root.join("audio")).map_err(|err| shown("audio", err))?;
    let audio = kept.whole.len() + kept.new.len();
    let length = |name: &str| fs::metadata(root.join(name)).map_or(0, |facts| facts.len());
    let database = length("jobs.sqlite");
    if database > 0 {
        let mut magic = Vec::new();
        File::open(root.join("jobs.sqlite"))
            .and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut magic))
            .map_err(|err| shown("jobs.sqlite", err))?;
        if magic != MAGIC {
            return Err("jobs.sqlite is no SQLite database".into());
        }
    } else {
        let state = if root.join("jobs.sqlite").exists() { "empty" } else { "missing" };
        if audio > 0 {
            return Err(format!("jobs.sqlite is {state}, and the audio of {audio} jobs is there"));
        }
        if length("jobs.sqlite-wal") > 0 {
            return Err(format!("jobs.sqlite is {state}, and jobs.sqlite-wal is there"));
        }
    }
    Ok(Found { audio, length: database })
}

enum Fault {
    Database(rusqlite::Error),
    Found(String),
}

impl From<rusqlite::Error> for Fault {
    fn from(err: rusqlite::Error) -> Self {
        Self::Database(err)
    }
}

fn prepare(path: &Path, found: Found, now: i64) -> Result<Connection, Fault> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(Fault::Found("jobs.sqlite was made by a later version; run that one".into()));
    }
    if version == 0 && found.audio > 0 {
        let audio = found.audio;
        return Err(Fault::Found(format!(
            "jobs.sqlite holds no jobs, and the audio of {audio} jobs is there"
        )));
    }
    if (1..=CHECKED).contains(&found.length) {
        let verdict: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != "ok" {
            let line = verdict.lines().next().unwrap_or_default();
            return Err(Fault::Found(format!("jobs.sqlite is damaged: {line}")));
        }
    }
    if version == 0 {
        // Room that jobs have used goes back to the disk; it must be said before the first table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit is on the disk when it returns.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    let transaction = connection.transaction()?;
    if version < 1 {
        transaction.execute_batch(SCHEMA)?;
    }
    if version < 2 {
        transaction.execute_batch(SECOND)?;
    }
    if version < 3 {
        transaction.execute_batch(THIRD)?;
    }
    transaction.pragma_update(None, "user_version", VERSION)?;
    // Their ages count from now where nothing is known: from version 1, and after the running time
    // itself was lost.
    let sql = "UPDATE jobs SET ended_after = ?1
               WHERE finished_at IS NOT NULL AND (ended_after IS NULL OR ended_after > ?1)";
    transaction.execute(sql, [now])?;
    transaction.commit()?;
    Ok(connection)
}

/// An error of SQLite with what it does not say itself.
fn described(err: &rusqlite::Error) -> String {
    match err.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("{err}: another process has it open")
        }
        _ => err.to_string(),
    }
}
