//! How the disk takes what is written.
//!
//! Whoever writes tells how it went, by what it writes: [`STATE`], [`AUDIT`], [`LOG`], and
//! what services [`watch`]. From
//! the first write that failed until one succeeds, `health`, `about`, the log and the metrics say so,
//! with the reason. Nothing may be waiting to be written for hours, so [`probe`] tries a small write
//! meanwhile.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::statvfs::statvfs};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::metrics::{METRICS, StorageFailureLabels, StorageLabels};

/// A write that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(10);
/// Bytes of the write that is tried: more than a small change needs.
const PROBE: usize = 64 << 10;
/// The name of the file that is tried, which goes again at once.
const PROBE_NAME: &str = "disk-probe.new";

/// The state and the keys that wait for their certificates.
pub static STATE: Writes = Writes::new("state", "state-not-written", "the state");
/// The audit record.
pub static AUDIT: Writes = Writes::new("audit", "audit-not-written", "the audit record");
/// The log files.
pub static LOG: Writes = Writes::new("log", "log-not-written", "the log file");

/// What services write, and the folders of the data directory that it lies in.
static OF_SERVICES: RwLock<Vec<(&'static Writes, &'static str)>> = RwLock::new(Vec::new());

/// Everything that is written.
#[must_use]
pub fn all() -> Vec<&'static Writes> {
    let mut all = vec![&STATE, &AUDIT, &LOG];
    all.extend(of_services());
    all
}

/// Puts what a service writes below `folder` of the data directory among all that is written.
pub fn watch(writes: &'static Writes, folder: &'static str) {
    let mut watched = OF_SERVICES.write().unwrap_or_else(PoisonError::into_inner);
    if !watched.iter().any(|(known, _)| std::ptr::eq(*known, writes)) {
        watched.push((writes, folder));
    }
    METRICS.storage_failing.get_or_create(&StorageLabels { what: writes.label }).set(0);
}

/// What services write.
#[must_use]
pub fn of_services() -> Vec<&'static Writes> {
    watched().into_iter().map(|(writes, _)| writes).collect()
}

fn watched() -> Vec<(&'static Writes, &'static str)> {
    OF_SERVICES.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Why a write failed, as far as an administrator has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No byte is left.
    Space,
    /// No inode is left: there are too many files.
    Inodes,
    Quota,
    ReadOnly,
    /// The device fails.
    Device,
    /// The file server has forgotten the folder.
    Stale,
    /// Another owner or mode.
    Permission,
    /// Something that is no file is in its place.
    NotAFile,
    /// The process may open no further file.
    Descriptors,
    Other,
}

impl Reason {
    /// Judges `err`, which came from `path`. Looks at the file system where space ran out.
    #[must_use]
    pub fn of(err: &io::Error, path: &Path) -> Self {
        match err.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC) if has_no_inode(path) => Self::Inodes,
            Some(Errno::ENOSPC) => Self::Space,
            Some(Errno::EDQUOT) => Self::Quota,
            Some(Errno::EROFS) => Self::ReadOnly,
            Some(Errno::EIO | Errno::ENXIO | Errno::ENODEV) => Self::Device,
            Some(Errno::ESTALE) => Self::Stale,
            Some(Errno::EACCES | Errno::EPERM) => Self::Permission,
            Some(Errno::EISDIR | Errno::ENOTDIR | Errno::ELOOP) => Self::NotAFile,
            Some(Errno::EMFILE | Errno::ENFILE) => Self::Descriptors,
            Some(_) => Self::Other,
            None => match err.kind() {
                io::ErrorKind::StorageFull => Self::Space,
                io::ErrorKind::QuotaExceeded => Self::Quota,
                io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
                // As `files` says it of what is no file.
                io::ErrorKind::InvalidInput => Self::NotAFile,
                _ => Self::Other,
            },
        }
    }

    /// Its name in metrics, in kebab case.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Space => "space",
            Self::Inodes => "inodes",
            Self::Quota => "quota",
            Self::ReadOnly => "read-only",
            Self::Device => "input-output",
            Self::Stale => "stale",
            Self::Permission => "permission",
            Self::NotAFile => "not-a-file",
            Self::Descriptors => "descriptors",
            Self::Other => "other",
        }
    }

    /// What is wrong and what to do; `None` where the error itself says all there is.
    #[must_use]
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Space => Some("no space is left on the disk; make room"),
            Self::Inodes => {
                Some("the disk has room but no inode for another file; remove files (`df -i`)")
            }
            Self::Quota => Some("the disk quota is used up; make room or raise it"),
            Self::ReadOnly => {
                Some("the disk is read-only; see `dmesg` for why, then mount it writable again")
            }
            Self::Device => Some("the disk fails (input/output error); see `dmesg`, replace it"),
            Self::Stale => Some("the file server has forgotten the folder; mount it again"),
            Self::Permission => {
                Some("this process may not write there; mend the owner and the mode")
            }
            Self::NotAFile => Some("something that is no file is in its place; move it away"),
            Self::Descriptors => Some("no file descriptor is left; raise LimitNOFILE"),
            Self::Other => None,
        }
    }

    /// Whether the disk as a whole is at fault, so that any other write there tells when it is not.
    #[must_use]
    pub fn is_of_the_disk(self) -> bool {
        match self {
            Self::Space
            | Self::Inodes
            | Self::Quota
            | Self::ReadOnly
            | Self::Device
            | Self::Stale
            | Self::Descriptors => true,
            Self::Permission | Self::NotAFile | Self::Other => false,
        }
    }
}

fn has_no_inode(path: &Path) -> bool {
    let found = path.ancestors().find_map(|folder| statvfs(folder).ok());
    // Some file systems make inodes as they go, and count none.
    found.is_some_and(|figures| figures.files() > 0 && figures.files_available() == 0)
}

/// Says of `err`, which came from `path`, what is wrong, what to do, and how the system put it.
#[must_use]
pub fn explain(err: &io::Error, path: &Path) -> (Reason, String) {
    let reason = Reason::of(err, path);
    let text = match reason.remedy() {
        Some(remedy) => format!("{remedy} ({}: {err})", path.display()),
        None => format!("{}: {err}", path.display()),
    };
    (reason, text)
}

/// How writes of one kind go.
#[derive(Debug)]
pub struct Writes {
    label: &'static str,
    warning: &'static str,
    name: &'static str,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    failing: Option<Failing>,
    /// Since when a write is under way.
    under_way: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Failing {
    since: OffsetDateTime,
    reason: Reason,
    text: String,
}

impl Writes {
    /// `label` names it in metrics, `warning` is the code of the warning in `about`, `name` says in
    /// sentences what it is that is written.
    #[must_use]
    pub const fn new(label: &'static str, warning: &'static str, name: &'static str) -> Self {
        Self { label, warning, name, now: Mutex::new(Now { failing: None, under_way: None }) }
    }

    /// The code of the warning in `about` while it cannot be written.
    #[must_use]
    pub fn warning(&self) -> &'static str {
        self.warning
    }

    /// Runs `write`, which writes to `path`, and takes note of how it went. Blocks as it does.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn attempt<T>(&self, path: &Path, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let written = self.under_way(write);
        match &written {
            Ok(_) => self.succeeded(),
            Err(err) => self.failed(path, err),
        }
        written
    }

    /// Runs `write`, and takes note only of how long it takes. Blocks as it does.
    pub fn under_way<T>(&self, write: impl FnOnce() -> T) -> T {
        self.now().under_way = Some(Instant::now());
        let written = write();
        self.now().under_way = None;
        written
    }

    /// A write has failed. The first one is logged.
    pub fn failed(&self, path: &Path, err: &io::Error) {
        let (reason, text) = explain(err, path);
        let labels = StorageFailureLabels { what: self.label, reason: reason.label() };
        METRICS.storage_failures.get_or_create(&labels).inc();
        METRICS.storage_failing.get_or_create(&StorageLabels { what: self.label }).set(1);
        let mut now = self.now();
        let since = match &now.failing {
            Some(failing) => failing.since,
            None => OffsetDateTime::now_utc(),
        };
        let is_new = now.failing.as_ref().is_none_or(|failing| failing.reason != reason);
        now.failing = Some(Failing { since, reason, text: text.clone() });
        drop(now);
        if is_new {
            log::error!("{} cannot be written: {text}", self.name);
        }
    }

    /// A write has succeeded.
    pub fn succeeded(&self) {
        let Some(failing) = self.now().failing.take() else { return };
        METRICS.storage_failing.get_or_create(&StorageLabels { what: self.label }).set(0);
        log::info!("{} can be written again; it could not since {}", self.name, at(failing.since));
    }

    /// What is wrong now, in a sentence; `None`, as it should be: nothing.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let now = self.now();
        if let Some(failing) = &now.failing {
            let since = at(failing.since);
            return Some(format!(
                "{} cannot be written since {since}: {}",
                self.name, failing.text
            ));
        }
        let waited = now.under_way?.elapsed();
        (waited > HANGS).then(|| {
            format!("the disk hangs: {} waits for it for {} s", self.name, waited.as_secs())
        })
    }

    /// Why the last write failed; `None` once one has succeeded.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.now().failing.as_ref().map(|failing| failing.reason)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(time: OffsetDateTime) -> String {
    let second = time.replace_nanosecond(0).unwrap_or(time);
    second.format(&Rfc3339).unwrap_or_else(|_| second.to_string())
}

/// Tries a small write where writes have failed for a reason of the disk, so that a disk that works
/// again is seen without a change. Blocks.
pub fn probe(data_dir: &Path) {
    let state = (&STATE, "state");
    for (writes, folder) in std::iter::once(state).chain(watched()) {
        if writes.reason().is_some_and(Reason::is_of_the_disk) {
            let own = data_dir.join(folder);
            let folder = if own.is_dir() { own } else { data_dir.to_owned() };
            // What it says is noted.
            let _ = writes.attempt(&folder, || try_to_write(&folder));
        }
    }
}

fn try_to_write(folder: &Path) -> io::Result<()> {
    let path: PathBuf = folder.join(PROBE_NAME);
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let options = options.create(true).truncate(true).write(true).mode(0o600);
        let mut file = options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(&path)?;
        file.write_all(&vec![0; PROBE])?;
        file.sync_data()
    })();
    let removed = fs::remove_file(&path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    static TRIED: Writes = Writes::new("tried", "tried-not-written", "what is tried");

    #[test]
    fn reasons_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        for (errno, label, word) in [
            (Errno::ENOSPC, "space", "make room"),
            (Errno::EDQUOT, "quota", "quota"),
            (Errno::EROFS, "read-only", "read-only"),
            (Errno::EIO, "input-output", "dmesg"),
            (Errno::ESTALE, "stale", "mount it again"),
            (Errno::EACCES, "permission", "owner"),
            (Errno::EISDIR, "not-a-file", "no file"),
            (Errno::ELOOP, "not-a-file", "no file"),
            (Errno::EMFILE, "descriptors", "LimitNOFILE"),
            (Errno::EINVAL, "other", "Invalid argument"),
        ] {
            let err = io::Error::from_raw_os_error(errno as i32);
            let (reason, text) = explain(&err, dir.path());
            assert_eq!(reason.label(), label);
            assert!(text.contains(word), "{text}");
            assert!(text.contains(&dir.path().display().to_string()), "{text}");
        }
    }

    #[test]
    fn trouble_lasts_from_the_first_failure_to_the_first_success() {
        let path = Path::new("/nowhere");
        assert_eq!(TRIED.trouble(), None);
        let failed = TRIED.attempt(path, || Err::<(), _>(Errno::EROFS.into()));
        assert!(failed.is_err());
        let trouble = TRIED.trouble().unwrap();
        assert!(trouble.starts_with("what is tried cannot be written since 20"), "{trouble}");
        assert_eq!(TRIED.reason(), Some(Reason::ReadOnly));
        TRIED.attempt(path, || Ok(())).unwrap();
        assert_eq!((TRIED.trouble(), TRIED.reason()), (None, None));
    }

    #[test]
    fn a_disk_that_works_again_is_seen_without_a_change() {
        let dir = tempfile::tempdir().unwrap();
        STATE.failed(dir.path(), &Errno::EIO.into());
        probe(dir.path());
        assert_eq!(STATE.trouble(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
        // What is not of the disk is mended only by the write itself.
        STATE.failed(dir.path(), &Errno::EACCES.into());
        probe(dir.path());
        assert_eq!(STATE.reason(), Some(Reason::Permission));
    }
}
