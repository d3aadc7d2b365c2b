//! The audit record: who changed what, from where, and with what outcome.
//!
//! JSON lines under `<data_dir>/audit/`, only ever appended, in two rings of files: what people with
//! the password did, and refusals of strangers. However much strangers do, they turn over their own
//! ring alone, at a bounded rate, with the number of what was left out.
//!
//! A thread of its own writes, so that nobody waits for the disk. What cannot be written waits in
//! memory, up to a bound; what is lost is counted, and told in the record once it can be written
//! again. No entry holds a secret.

mod backwards;
mod refusals;
mod ring;

use std::{
    collections::VecDeque,
    fs::File,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use utoipa::ToSchema;

use self::{
    backwards::Backwards,
    refusals::Refusals,
    ring::{Ring, Shape},
};
use crate::{
    metrics::{AuditLabels, METRICS},
    requester::Requester,
    storage::{self, AUDIT},
    store::{StoreError, make_dir},
};

/// What people with the password did: 36 MiB.
const CHANGES: Shape = Shape { stem: "audit", max_bytes: 4 << 20, kept: 8, durable: true };
/// Refusals of strangers: 8 MiB, at the rate of a flood the last day and a half.
const REFUSALS: Shape = Shape { stem: "refusals", max_bytes: 2 << 20, kept: 3, durable: false };
/// A longer explanation is cut.
const MAX_DETAIL: usize = 1024;
/// Changes, and refusals, that wait in memory for the disk; more are lost and counted.
const MAX_CHANGES: usize = 4096;
const MAX_REFUSALS: usize = 256;
/// Entries that are written at once.
const BATCH: usize = 64;
/// How often the files are looked after, and tried again, though nothing is recorded.
const LOOK: Duration = Duration::from_secs(1);
/// How long the end of a process waits for its last entries.
pub const AT_END: Duration = Duration::from_secs(2);
/// How long a reader waits for the disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was done.
    Done,
    /// The request was wrong or not allowed; nothing was changed.
    Refused,
    /// The appliance could not do it; nothing was changed.
    Failed,
}

/// One attempt to change something, or to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// When it was attempted.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// Who attempted it.
    pub user: String,
    /// `None` at the console.
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// What was attempted, as `install certificate`.
    pub action: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was changed in particular, or why it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// SHA-256 of the certificate before, where it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_fingerprint: Option<String>,
    /// The same afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_fingerprint: Option<String>,
    /// The number of entries that are missing here: refusals past their rate, or entries that could
    /// not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<u64>,
}

impl AuditEntry {
    /// An attempt at this moment.
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
            left_out: None,
        }
    }

    /// With what was changed in particular, or why not; cut after 1024 bytes. Never a secret.
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
    shared: Arc<Shared>,
    /// The writer ends, once everything is written, when the last of these is dropped.
    _open: Arc<Open>,
}

#[derive(Debug)]
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.waiting().is_closed = true;
        self.0.filled.notify_all();
    }
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    waiting: Mutex<Waiting>,
    /// Something waits, or there is nothing to wait for any more.
    filled: Condvar,
    /// Something was written, or could not be.
    emptied: Condvar,
    /// Held while the files are changed.
    files: Mutex<()>,
}

/// What is not on the disk yet.
#[derive(Debug)]
struct Waiting {
    changes: Line,
    refusals: Line,
    strangers: Refusals,
    /// Whether the last attempt to write has failed.
    is_failing: bool,
    is_closed: bool,
}

/// The entries that wait for one ring.
#[derive(Debug)]
struct Line {
    entries: VecDeque<AuditEntry>,
    most: usize,
    lost: Option<Lost>,
    /// Entries that were lost since the start.
    lost_ever: u64,
    /// Entries that were ever taken in, and those of them that are on the disk.
    taken: u64,
    written: u64,
}

#[derive(Debug, Clone, Copy)]
struct Lost {
    count: u64,
    since: OffsetDateTime,
    until: OffsetDateTime,
}

impl Line {
    fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), most, lost: None, lost_ever: 0, taken: 0, written: 0 }
    }

    fn put(&mut self, entry: AuditEntry) {
        self.entries.push_back(entry);
        self.taken += 1;
    }

    /// Takes an entry in, or loses it and says `false`.
    fn push(&mut self, entry: AuditEntry) -> bool {
        if self.entries.len() + 2 > self.most {
            let at = entry.at;
            let lost = self.lost.get_or_insert(Lost { count: 0, since: at, until: at });
            lost.count += 1;
            lost.until = at;
            self.lost_ever += 1;
            return false;
        }
        self.close_gap();
        self.put(entry);
        true
    }

    /// Lets the entries that were lost take their place in the order.
    fn close_gap(&mut self) {
        let Some(lost) = self.lost.take() else { return };
        let entry = AuditEntry::new(&Requester::appliance(), "record", Outcome::Failed);
        let detail = format!(
            "{} entries were lost between {} and {}: they could not be written",
            lost.count,
            rfc3339(lost.since),
            rfc3339(lost.until)
        );
        self.put(AuditEntry { at: lost.until, left_out: Some(lost.count), ..entry.detail(detail) });
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none()
    }

    /// The lines of the entries that are written next, and how many entries those are.
    fn batch(&mut self) -> (Vec<u8>, usize) {
        if self.entries.is_empty() {
            self.close_gap();
        }
        let mut lines = Vec::new();
        let count = self.entries.len().min(BATCH);
        for entry in self.entries.iter().take(count) {
            // An entry is a plain struct of strings, which serialises.
            if serde_json::to_writer(&mut lines, entry).is_ok() {
                lines.push(b'\n');
            }
        }
        (lines, count)
    }

    fn remove(&mut self, count: usize) {
        self.entries.drain(..count);
        self.written += count as u64;
    }
}

fn rfc3339(time: OffsetDateTime) -> String {
    let second = time.replace_nanosecond(0).unwrap_or(time);
    second.format(&Rfc3339).unwrap_or_else(|_| second.to_string())
}

/// How the record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Entries that wait in memory for the disk.
    pub waiting: usize,
    /// Entries of changes that were lost since the start.
    pub lost: u64,
}

impl Audit {
    /// Opens the record under `data_dir` and starts its writer, which tries small writes too where
    /// the disk fails. Files that cannot be opened now are tried again; health tells.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = data_dir.join("audit");
        if let Err(StoreError::Io { source, .. }) = make_dir(&folder) {
            AUDIT.failed(&folder, &source);
        }
        let shared = Arc::new(Shared {
            folder,
            waiting: Mutex::new(Waiting {
                changes: Line::new(MAX_CHANGES),
                refusals: Line::new(MAX_REFUSALS),
                strangers: Refusals::new(Instant::now()),
                is_failing: false,
                is_closed: false,
            }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            files: Mutex::new(()),
        });
        let (writer, data) = (shared.clone(), data_dir.to_owned());
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.write(&data))
            .map_err(|source| StoreError::Io {
                action: "start the writer of",
                path: shared.folder.clone(),
                source,
            })?;
        let open = Arc::new(Open(shared.clone()));
        Ok(Self { shared, _open: open })
    }

    /// Appends what somebody with the password did, or what was done on the machine itself, soon.
    pub fn record(&self, entry: AuditEntry) {
        log::debug!("audit: {} by {}: {:?}", entry.action, entry.user, entry.outcome);
        if !self.shared.waiting().changes.push(entry) {
            left_out("changes", 1);
        }
        self.shared.filled.notify_all();
    }

    /// Appends the refusal of a stranger, soon; past the rate it is counted instead.
    pub fn record_refusal(&self, entry: AuditEntry) {
        log::debug!("audit: {} by {}: {:?}", entry.action, entry.user, entry.outcome);
        let mut waiting = self.shared.waiting();
        let (address, at) = (entry.address, entry.at);
        let is_admitted = waiting.strangers.admit(address, at, Instant::now());
        if !(is_admitted && waiting.refusals.push(entry)) {
            left_out("refusals", 1);
        }
        drop(waiting);
        self.shared.filled.notify_all();
    }

    /// Waits until what was recorded before is on the disk, so long at most, and not while the disk
    /// fails. Says whether it is. Blocks.
    pub fn flush(&self, patience: Duration) -> bool {
        self.shared.flush(patience)
    }

    /// How the record is; [`AUDIT`] tells whether it can be written.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let waiting = self.shared.waiting();
        Standing {
            waiting: waiting.changes.entries.len() + waiting.refusals.entries.len(),
            lost: waiting.changes.lost_ever,
        }
    }

    /// The newest entries first, at most `limit`, none older than `since`: what waits for the disk
    /// as well. Blocks, but not for ever.
    ///
    /// # Errors
    /// A file cannot be read, or the disk does not answer.
    pub fn read(&self, limit: usize, since: Option<OffsetDateTime>) -> io::Result<Vec<AuditEntry>> {
        let shared = &self.shared;
        shared.flush(PATIENCE);
        // Together, so that no entry is on its way from one place to the other.
        let (changes, refusals) = {
            let _files = shared.lock_files(PATIENCE)?;
            let (changes, refusals) = shared.waiting().newest_first();
            let open = |shape: Shape| shape.open(&shared.folder);
            ((changes, open(CHANGES)), (refusals, open(REFUSALS)))
        };
        let mut changes = newest_first(changes, since).peekable();
        let mut refusals = newest_first(refusals, since).peekable();
        let mut newest = Vec::new();
        while newest.len() < limit {
            let next = match (changes.peek(), refusals.peek()) {
                (Some(Ok(change)), Some(Ok(refusal))) if refusal.at > change.at => refusals.next(),
                (None, _) | (_, Some(Err(_))) => refusals.next(),
                _ => changes.next(),
            };
            match next {
                Some(entry) => newest.push(entry?),
                None => break,
            }
        }
        Ok(newest)
    }
}

fn left_out(record: &'static str, count: u64) {
    METRICS.audit_entries_left_out.get_or_create(&AuditLabels { record }).inc_by(count);
}

/// The entry that stands for refusals of strangers that have none.
fn not_recorded(left_out: &refusals::LeftOut) -> AuditEntry {
    let by = Requester { address: left_out.address, ..Requester::local("anybody") };
    let detail = format!(
        "{} refusals of strangers were not recorded between {} and {}; the last came from this address",
        left_out.count,
        rfc3339(left_out.since),
        rfc3339(left_out.until)
    );
    let entry = AuditEntry::new(&by, "refusals left out", Outcome::Refused).detail(detail);
    AuditEntry { at: left_out.until, left_out: Some(left_out.count), ..entry }
}

/// The entries of one ring since `since`: those that wait, then those of its files.
fn newest_first(
    (waiting, files): (Vec<AuditEntry>, Vec<io::Result<File>>),
    since: Option<OffsetDateTime>,
) -> impl Iterator<Item = io::Result<AuditEntry>> {
    let lines = files.into_iter().flat_map(|file| match file.and_then(Backwards::new) {
        Ok(lines) => Box::new(lines) as Box<dyn Iterator<Item = io::Result<Vec<u8>>>>,
        Err(err) => Box::new(std::iter::once(Err(err))),
    });
    // A line that a crash cut short is passed over.
    let entries = lines.filter_map(|line| match line {
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(err) => Some(Err(err)),
    });
    let is_recent = move |entry: &io::Result<AuditEntry>| {
        entry.as_ref().map_or(true, |entry| since.is_none_or(|since| entry.at >= since))
    };
    waiting.into_iter().map(Ok).chain(entries).take_while(is_recent)
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, patience: Duration) -> bool {
        let waiting = self.waiting();
        let (changes, refusals) = (waiting.changes.taken, waiting.refusals.taken);
        let is_written = move |waiting: &Waiting| {
            waiting.changes.written >= changes && waiting.refusals.written >= refusals
        };
        let (waiting, _) = self
            .emptied
            .wait_timeout_while(waiting, patience, |waiting| {
                !is_written(waiting) && !waiting.is_failing
            })
            .unwrap_or_else(PoisonError::into_inner);
        is_written(&waiting)
    }

    /// The right to look at the files as one. The writer holds it while it waits for the disk.
    fn lock_files(&self, patience: Duration) -> io::Result<MutexGuard<'_, ()>> {
        let deadline = Instant::now() + patience;
        loop {
            match self.files.try_lock() {
                Ok(files) => return Ok(files),
                Err(TryLockError::Poisoned(files)) => return Ok(files.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the disk does not answer; the entries wait in memory",
                    ));
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Writes what comes, and looks after the files, until nothing can come any more.
    fn write(&self, data_dir: &Path) {
        let mut rings = [Ring::new(CHANGES, &self.folder), Ring::new(REFUSALS, &self.folder)];
        let mut failed_since = None;
        let mut probed = Instant::now();
        loop {
            let is_well = self.write_what_waits(&mut rings);
            if is_well {
                failed_since.take().into_iter().for_each(|since| self.tell_of_failure(since));
            } else {
                failed_since.get_or_insert_with(OffsetDateTime::now_utc);
            }
            if probed.elapsed() >= LOOK {
                probed = Instant::now();
                storage::probe(data_dir);
            }
            let mut waiting = self.waiting();
            waiting.is_failing = !is_well;
            self.emptied.notify_all();
            if let Some(left_out) = waiting.strangers.take_left_out(Instant::now()) {
                waiting.refusals.push(not_recorded(&left_out));
            }
            if waiting.is_closed && (!is_well || waiting.has_nothing()) {
                return;
            }
            // A disk that fails is not tried for each entry that comes.
            let sleeps = |waiting: &mut Waiting| {
                !waiting.is_closed && (waiting.is_failing || waiting.has_nothing())
            };
            let waiting = self.filled.wait_timeout_while(waiting, LOOK, sleeps);
            drop(waiting);
        }
    }

    /// Says whether everything that waits was written, and the files are where they should be.
    fn write_what_waits(&self, rings: &mut [Ring; 2]) -> bool {
        loop {
            let _files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            for ring in &mut *rings {
                // Not held while the disk is waited for.
                let (lines, count) = self.waiting().of(ring).batch();
                if let Err(err) = AUDIT.under_way(|| ring.put(&lines)) {
                    AUDIT.failed(ring.path(), &err);
                    return false;
                }
                self.waiting().of(ring).remove(count);
            }
            AUDIT.succeeded();
            self.emptied.notify_all();
            if self.waiting().has_nothing() {
                return true;
            }
        }
    }

    /// The record says itself when it could not be written.
    fn tell_of_failure(&self, since: OffsetDateTime) {
        let entry = AuditEntry::new(&Requester::appliance(), "record", Outcome::Failed);
        let detail = format!(
            "the record could not be written from {} on; entries since then waited in memory",
            rfc3339(since)
        );
        self.waiting().changes.push(entry.detail(detail));
    }
}

impl Waiting {
    fn has_nothing(&self) -> bool {
        self.changes.is_empty() && self.refusals.is_empty()
    }

    fn of(&mut self, ring: &Ring) -> &mut Line {
        if ring.is(CHANGES) { &mut self.changes } else { &mut self.refusals }
    }

    /// Copies of what waits for both rings, with what stands for refusals that were left out.
    fn newest_first(&self) -> (Vec<AuditEntry>, Vec<AuditEntry>) {
        let left_out = self.strangers.left_out().as_ref().map(not_recorded);
        let refusals = left_out.into_iter().chain(self.refusals.entries.iter().rev().cloned());
        (self.changes.entries.iter().rev().cloned().collect(), refusals.collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn the_record_is_read_across_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        assert!(audit.flush(PATIENCE));
        let long = "x".repeat(MAX_DETAIL * 2);
        let count = 2 * usize::try_from(CHANGES.max_bytes).unwrap() / MAX_DETAIL;
        // Enough for three files, without an fsync for each line.
        let mut ring = Ring::new(Shape { durable: false, ..CHANGES }, &audit.shared.folder);
        for number in 0..count {
            let mut line =
                serde_json::to_vec(&entry(&number.to_string()).detail(long.clone())).unwrap();
            line.push(b'\n');
            ring.append(&line).unwrap();
        }
        let read = audit.read(count, None).unwrap();
        let numbers: Vec<usize> = read.iter().map(|entry| entry.action.parse().unwrap()).collect();
        assert_eq!(numbers, (0..count).rev().collect::<Vec<_>>());
        assert!(read[0].detail.as_ref().unwrap().len() <= MAX_DETAIL);
    }

    fn refusal(number: u8) -> AuditEntry {
        let by = Requester::new("anybody", [192, 0, 2, number].into());
        AuditEntry::new(&by, "log in", Outcome::Refused)
    }

    #[test]
    fn strangers_never_displace_changes_and_their_number_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        audit.record(entry("change"));
        for round in 0..100 {
            for number in 0..100 {
                audit.record_refusal(refusal(number));
            }
            if round == 50 {
                audit.record(entry("change in between"));
            }
        }
        let read = audit.read(10_000, None).unwrap();
        let told: Vec<u64> = read.iter().filter_map(|entry| entry.left_out).collect();
        assert_eq!(told, [9_900], "{read:?}");
        let actions = |user: &str| read.iter().filter(|entry| entry.user == user).count();
        assert_eq!((actions("anybody"), actions("appliance")), (101, 2));
        let file = |name: &str| fs::read_to_string(dir.path().join("audit").join(name)).unwrap();
        assert_eq!(file("audit.jsonl").lines().count(), 2, "changes alone");
        assert_eq!(file("refusals.jsonl").lines().count(), 100);
        assert!(read.windows(2).all(|pair| pair[0].at >= pair[1].at), "in the order of time");
    }

    #[test]
    fn what_cannot_be_written_waits_and_what_is_lost_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let audit = Audit::open(dir.path()).unwrap();
        audit.record(entry("first"));
        assert!(audit.flush(PATIENCE));
        let folder = dir.path().join("audit");
        fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
        fs::write(&folder, "no folder").unwrap();
        audit.record(entry("second"));
        let begun = Instant::now();
        while AUDIT.trouble().is_none() {
            assert!(begun.elapsed() < PATIENCE, "the failure is not told");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!audit.flush(PATIENCE), "it says that it is not written");
        for number in 0..MAX_CHANGES {
            audit.record(entry(&format!("change {number}")));
        }
        let standing = audit.standing();
        assert_eq!((standing.waiting, standing.lost), (MAX_CHANGES - 1, 2), "{standing:?}");
        assert!(audit.read(10_000, None).is_err(), "half the record would be a false statement");
        fs::remove_file(&folder).unwrap();
        let is_well = || {
            let read = audit.read(10_000, None).unwrap_or_default();
            read.iter().filter(|entry| entry.action == "record").count() == 2
        };
        while !is_well() {
            assert!(begun.elapsed() < 4 * PATIENCE, "{:?}", audit.read(3, None));
            std::thread::sleep(Duration::from_millis(10));
        }
        let read = audit.read(10_000, None).unwrap();
        assert_eq!(read.iter().filter_map(|entry| entry.left_out).sum::<u64>(), 2);
        assert_eq!(read.last().unwrap().action, "second");
        assert_eq!(AUDIT.trouble(), None);
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&folder.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
    }
}
