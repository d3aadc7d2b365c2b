//! The audit record: who changed what, from where, and with what outcome.
//!
//! JSON lines under `<data_dir>/audit/`, only ever appended, rotated by size. A thread of its own
//! writes them, so that nobody waits for the disk; reading waits until what was recorded before is
//! written. No entry holds a secret.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    ledger::Requester,
    store::{StoreError, make_dir},
};

const CURRENT: &str = "audit.jsonl";
/// When the current file is set aside.
const MAX_BYTES: u64 = 4 << 20;
/// Files that were set aside and are kept: with the current one at most 36 MiB.
const KEPT: u32 = 8;
/// A longer explanation is cut.
const MAX_DETAIL: usize = 1024;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Done,
    /// The request was wrong or not allowed; nothing was changed.
    Refused,
    /// The appliance could not do it; nothing was changed.
    Failed,
}

/// One attempt to change something, or to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    pub user: String,
    /// `None` at the console.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// What was attempted, as `install certificate`.
    pub action: String,
    pub outcome: Outcome,
    /// What was changed in particular, or why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// SHA-256 of the certificate before and after, where it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_fingerprint: Option<String>,
}

impl AuditEntry {
    #[must_use]
    pub fn new(by: &Requester, action: &str, outcome: Outcome) -> Self {
        Self {
            at: OffsetDateTime::now_utc(),
            user: by.user.clone(),
            address: by.address,
            action: action.to_owned(),
            outcome,
            detail: None,
            old_fingerprint: None,
            new_fingerprint: None,
        }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        let mut detail = detail.into();
        if detail.len() > MAX_DETAIL {
            detail.truncate(detail.floor_char_boundary(MAX_DETAIL));
        }
        self.detail = Some(detail);
        self
    }

    /// Notes the fingerprints if they differ.
    #[must_use]
    pub fn fingerprints(mut self, old: &str, new: &str) -> Self {
        if old != new {
            self.old_fingerprint = Some(old.to_owned());
            self.new_fingerprint = Some(new.to_owned());
        }
        self
    }
}

/// The way to the record. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit {
    folder: PathBuf,
    writer: Sender<Order>,
}

#[derive(Debug)]
enum Order {
    Write(Box<AuditEntry>),
    /// Answered once everything ordered before is in the file.
    Flush(Sender<()>),
}

impl Audit {
    /// Opens the record under `data_dir` and starts its writer.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join("audit");
        make_dir(&folder)?;
        let path = folder.join(CURRENT);
        let io = |action, source| StoreError::Io { action, path: path.clone(), source };
        let mut file = append_to(&path).map_err(|err| io("open", err))?;
        end_last_line(&path, &mut file).map_err(|err| io("mend", err))?;
        let (writer, orders) = channel();
        let files = folder.clone();
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || {
                for order in orders {
                    match order {
                        Order::Write(entry) => {
                            if let Err(err) = write(&files, &mut file, &entry) {
                                log::error!("the audit record cannot be written: {err}");
                            }
                        }
                        Order::Flush(done) => drop(done.send(())),
                    }
                }
            })
            .map_err(|err| io("start the writer of", err))?;
        Ok(Self { folder, writer })
    }

    /// Appends an entry, soon.
    pub fn record(&self, entry: AuditEntry) {
        log::debug!("audit: {} by {}: {:?}", entry.action, entry.user, entry.outcome);
        if self.writer.send(Order::Write(Box::new(entry))).is_err() {
            log::error!("the audit record has no writer any more");
        }
    }

    /// The newest entries first, at most `limit`, none older than `since`. Blocks.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&self, limit: usize, since: Option<OffsetDateTime>) -> io::Result<Vec<AuditEntry>> {
        let (done, flushed) = channel();
        if self.writer.send(Order::Flush(done)).is_ok() {
            let _ = flushed.recv();
        }
        let mut newest = Vec::new();
        for path in self.files() {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
                Err(err) => return Err(err),
            };
            // A line that a crash cut short is passed over.
            let lines: Vec<AuditEntry> = BufReader::new(file)
                .lines()
                .map_while(Result::ok)
                .filter_map(|line| serde_json::from_str(&line).ok())
                .collect();
            for entry in lines.into_iter().rev() {
                if newest.len() == limit || since.is_some_and(|since| entry.at < since) {
                    return Ok(newest);
                }
                newest.push(entry);
            }
        }
        Ok(newest)
    }

    /// The files of the record, newest first.
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        std::iter::once(self.folder.join(CURRENT))
            .chain((1..=KEPT).map(|number| set_aside(&self.folder, number)))
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// A crash may have cut the last line short; the next one must not be glued to it.
fn end_last_line(path: &Path, file: &mut File) -> io::Result<()> {
    let mut last = [b'\n'];
    let mut reader = File::open(path)?;
    if reader.seek(SeekFrom::End(0))? > 0 {
        reader.seek(SeekFrom::End(-1))?;
        reader.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

fn set_aside(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("audit.{number}.jsonl"))
}

fn write(folder: &Path, file: &mut File, entry: &AuditEntry) -> io::Result<()> {
    let mut line = serde_json::to_vec(entry)?;
    line.push(b'\n');
    if file.metadata()?.len() + line.len() as u64 > MAX_BYTES {
        rotate(folder)?;
        *file = append_to(&folder.join(CURRENT))?;
    }
    file.write_all(&line)?;
    file.sync_data()
}

fn rotate(folder: &Path) -> io::Result<()> {
    for number in (1..KEPT).rev() {
        let from = set_aside(folder, number);
        if from.exists() {
            fs::rename(from, set_aside(folder, number + 1))?;
        }
    }
    fs::rename(folder.join(CURRENT), set_aside(folder, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(action: &str) -> AuditEntry {
        AuditEntry::new(&Requester::appliance(), action, Outcome::Done)
    }

    #[test]
    fn the_newest_entries_come_first_and_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        for number in 0..5 {
            audit.record(entry(&format!("change {number}")));
        }
        let actions = |audit: &Audit, limit| -> Vec<String> {
            audit.read(limit, None).unwrap().into_iter().map(|entry| entry.action).collect()
        };
        assert_eq!(actions(&audit, 2), ["change 4", "change 3"]);
        drop(audit);
        let audit = Audit::open(dir.path()).unwrap();
        audit.record(entry("after"));
        assert_eq!(actions(&audit, 2), ["after", "change 4"]);
        assert!(audit.read(9, Some(OffsetDateTime::now_utc())).unwrap().is_empty());
    }

    #[test]
    fn the_record_is_rotated_and_read_across_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        let long = "x".repeat(MAX_DETAIL * 2);
        let count = 2 * MAX_BYTES as usize / MAX_DETAIL;
        // Enough for three files, without an fsync for each line.
        let mut lines = Vec::new();
        for number in 0..count {
            let line = entry(&number.to_string()).detail(long.clone());
            serde_json::to_writer(&mut lines, &line).unwrap();
            lines.push(b'\n');
            if lines.len() as u64 > MAX_BYTES {
                rotate(&audit.folder).unwrap();
                fs::write(audit.folder.join(CURRENT), std::mem::take(&mut lines)).unwrap();
            }
        }
        let read = audit.read(count, None).unwrap();
        let numbers: Vec<usize> = read.iter().map(|entry| entry.action.parse().unwrap()).collect();
        assert!(numbers.len() > MAX_BYTES as usize / MAX_DETAIL);
        assert!(numbers.windows(2).all(|pair| pair[0] == pair[1] + 1));
        assert!(read[0].detail.as_ref().unwrap().len() <= MAX_DETAIL);
    }
}
