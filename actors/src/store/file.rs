//! The state in a folder: `state/current` is a symbolic link to `revisions/<n>/`, a folder of
//! small files that an operator can read and, in an emergency, edit.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use super::{
    AdminAccess, ChangeNote, HistoryEntry, Installed, Loaded, Revision, State, StateStore,
    StoreError, StoredBundle, ballast::Ballast,
};
use crate::settings::StoredSettings;

/// How many revisions are kept, the current one included.
pub const KEPT_REVISIONS: usize = 10;

const USERS: &str = "management-auth-secret/users";
const OPEN: &str = "management-auth-secret/disabled";
const CERTIFICATE: &str = "tls/tls.crt";
const KEY: &str = "tls/tls.key";
const INSTALLED: &str = "tls/installed.json";
const INSECURE_PORTS: &str = "insecure-ports";
const JOB_TOKEN: &str = "job-token";
const SETTINGS: &str = "settings.json";
const CHANGE: &str = "change.json";

/// A state file is small; anything larger is not ours.
const MAX_FILE: u64 = 4 << 20;

/// The default [`StateStore`].
#[derive(Debug)]
pub struct FileStore {
    state: PathBuf,
    revisions: PathBuf,
    /// Serialises commits within the process; the lock file does so between processes.
    writing: Mutex<()>,
    /// Old revisions are being removed.
    pruning: Arc<AtomicBool>,
    ballast: Ballast,
    /// Held for the life of the store.
    _lock: File,
}

impl FileStore {
    /// Opens (or makes) the store under `data_dir` and takes its lock.
    ///
    /// # Errors
    /// The folder cannot be made or written, or another process holds the lock.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let state = data_dir.join("state");
        let revisions = state.join("revisions");
        for dir in [data_dir, &state, &revisions] {
            make_dir(dir)?;
        }
        let lock_path = data_dir.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::Locked { path: data_dir.to_owned() });
            }
            Err(fs::TryLockError::Error(source)) => return Err(io("lock", &lock_path)(source)),
        }
        let store = Self {
            ballast: Ballast::new(&state),
            state,
            revisions,
            writing: Mutex::new(()),
            pruning: Arc::default(),
            _lock: lock,
        };
        store.remove_unfinished()?;
        store.ballast.fill();
        Ok(store)
    }

    /// The folder that `current` points to.
    #[must_use]
    pub fn current_dir(&self) -> PathBuf {
        self.state.join("current")
    }

    fn current(&self) -> Result<Option<Revision>, StoreError> {
        let link = self.current_dir();
        match fs::read_link(&link) {
            Ok(target) => target
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse().ok())
                .map(Some)
                .ok_or_else(|| StoreError::Malformed {
                    path: link,
                    reason: format!("points to {}, not to revisions/<number>", target.display()),
                }),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) if err.kind() == ErrorKind::InvalidInput => Err(StoreError::Malformed {
                path: link,
                reason: "is not a symbolic link to revisions/<number>".into(),
            }),
            Err(source) => Err(io("read", &link)(source)),
        }
    }

    fn numbers(&self) -> Result<Vec<Revision>, StoreError> {
        numbers_in(&self.revisions)
    }

    /// A crash between writing a revision and renaming the link leaves one that was never current.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        let current = self.current()?.unwrap_or(0);
        for number in self.numbers()?.into_iter().filter(|number| *number > current) {
            let path = self.revisions.join(number.to_string());
            fs::remove_dir_all(&path).map_err(io("remove", &path))?;
        }
        Ok(())
    }

    /// Writes all of a revision, then makes all of it durable at once: file systems with a journal
    /// answer fsyncs that come together with one write of it.
    fn write_revision(
        &self,
        dir: &Path,
        state: &State,
        note: &ChangeNote,
    ) -> Result<(), StoreError> {
        let mut written = Unsynced::default();
        let secret = dir.join("management-auth-secret");
        written.folder(dir)?;
        written.folder(&secret)?;
        match &state.admin {
            AdminAccess::Htpasswd(line) => {
                let encoded = STANDARD.encode(format!("{line}\n"));
                written.file(dir.join(USERS), encoded.as_bytes())?;
            }
            AdminAccess::Open => written.file(dir.join(OPEN), b"authentication is off\n")?,
        }
        if let Some(bundle) = &state.tls {
            written.folder(&dir.join("tls"))?;
            written.file(dir.join(KEY), bundle.key_pem.as_bytes())?;
            written.file(dir.join(CERTIFICATE), bundle.certificate_pem.as_bytes())?;
            if let Some(installed) = &bundle.installed {
                written.file(dir.join(INSTALLED), &json(installed))?;
            }
        }
        let exposure: &[u8] = if state.insecure_ports { b"enabled\n" } else { b"disabled\n" };
        written.file(dir.join(INSECURE_PORTS), exposure)?;
        if let Some(token) = &state.job_token {
            written.file(dir.join(JOB_TOKEN), token.as_bytes())?;
        }
        if state.settings != StoredSettings::default() {
            written.file(dir.join(SETTINGS), &json(&state.settings))?;
        }
        written.file(dir.join(CHANGE), &json(note))?;
        written.existing_folder(&self.revisions)?;
        written.sync()
    }

    /// A revision as a whole, or nothing of it.
    fn write_and_point_at(
        &self,
        number: Revision,
        state: &State,
        note: &ChangeNote,
    ) -> Result<(), StoreError> {
        let dir = self.revisions.join(number.to_string());
        let written =
            self.write_revision(&dir, state, note).and_then(|()| self.point_current_at(number));
        if written.is_err()
            // Nothing points at it unless the very last fsync failed.
            && self.current().ok().flatten() != Some(number)
            && let Err(err) = fs::remove_dir_all(&dir)
            && err.kind() != ErrorKind::NotFound
        {
            log::warn!("cannot remove the unfinished revision {}: {err}", dir.display());
        }
        written
    }

    fn point_current_at(&self, number: Revision) -> Result<(), StoreError> {
        let fresh = self.state.join("current.new");
        match fs::remove_file(&fresh) {
            Ok(()) => {}
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(io("remove", &fresh)(source)),
        }
        symlink(Path::new("revisions").join(number.to_string()), &fresh)
            .map_err(io("create", &fresh))?;
        let current = self.current_dir();
        fs::rename(&fresh, &current).map_err(io("replace", &current))?;
        sync_dir(&self.state)
    }
}

impl FileStore {
    /// Removes the oldest revisions, without keeping anybody waiting.
    fn prune(&self) {
        let (revisions, pruning) = (self.revisions.clone(), self.pruning.clone());
        if pruning.swap(true, Ordering::AcqRel) {
            return;
        }
        std::thread::spawn(move || {
            for number in
                numbers_in(&revisions).unwrap_or_default().into_iter().skip(KEPT_REVISIONS)
            {
                let path = revisions.join(number.to_string());
                if let Err(err) = fs::remove_dir_all(&path) {
                    log::warn!("cannot remove the old revision {}: {err}", path.display());
                }
            }
            pruning.store(false, Ordering::Release);
        });
    }
}

/// The revisions in a folder, newest first.
fn numbers_in(revisions: &Path) -> Result<Vec<Revision>, StoreError> {
    let mut numbers: Vec<Revision> = fs::read_dir(revisions)
        .map_err(io("list", revisions))?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// Files and folders that are written but may not survive a crash yet.
#[derive(Default)]
struct Unsynced(Vec<(PathBuf, File)>);

impl Unsynced {
    fn file(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
        let file = create_file(&path, bytes)?;
        self.0.push((path, file));
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> Result<(), StoreError> {
        make_dir(path)?;
        self.existing_folder(path)
    }

    fn existing_folder(&mut self, path: &Path) -> Result<(), StoreError> {
        let folder = File::open(path).map_err(io("open", path))?;
        self.0.push((path.to_owned(), folder));
        Ok(())
    }

    /// Waits until all of them are durable.
    fn sync(self) -> Result<(), StoreError> {
        std::thread::scope(|scope| {
            let syncing: Vec<_> = self
                .0
                .iter()
                .map(|(path, file)| scope.spawn(move || file.sync_all().map_err(io("sync", path))))
                .collect();
            syncing.into_iter().try_for_each(|thread| thread.join().expect("fsync does not panic"))
        })
    }
}

impl StateStore for FileStore {
    fn load(&self) -> Result<Option<Loaded>, StoreError> {
        self.current()?.map(|number| self.revision(number)).transpose()
    }

    fn commit(&self, state: &State, note: &ChangeNote) -> Result<Revision, StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let number = self.numbers()?.first().copied().max(self.current()?).unwrap_or(0) + 1;
        let mut written = self.write_and_point_at(number, state, note);
        if written.as_ref().is_err_and(StoreError::is_storage_full) && self.ballast.give_up() {
            written = self.write_and_point_at(number, state, note);
        }
        self.ballast.fill();
        written?;
        self.prune();
        Ok(number)
    }

    fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        let current = self.current()?;
        let entry = |revision: Revision| {
            let path = self.revisions.join(revision.to_string()).join(CHANGE);
            let note = read(&path).ok().flatten();
            HistoryEntry {
                revision,
                current: Some(revision) == current,
                note: note.and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            }
        };
        Ok(self.numbers()?.into_iter().map(entry).collect())
    }

    fn revision(&self, revision: Revision) -> Result<Loaded, StoreError> {
        let dir = self.revisions.join(revision.to_string());
        if !dir.is_dir() {
            return Err(StoreError::NoSuchRevision(revision));
        }
        let admin = if dir.join(OPEN).exists() {
            AdminAccess::Open
        } else {
            AdminAccess::Htpasswd(read_users(&dir.join(USERS))?)
        };
        let (tls, unusable_bundle) = match read_bundle(&dir) {
            Ok(tls) => (tls, None),
            Err(err) => (None, Some(err)),
        };
        let state = State {
            admin,
            tls,
            insecure_ports: read_exposure(&dir.join(INSECURE_PORTS))?,
            job_token: read_text(&dir.join(JOB_TOKEN))?
                .map(|token| Zeroizing::new(token.trim().to_owned()))
                .filter(|token| !token.is_empty()),
            settings: read_settings(&dir.join(SETTINGS))?,
        };
        Ok(Loaded { state, unusable_bundle })
    }
}

/// Reads the documented `users` value: base64 of one htpasswd line.
fn read_users(path: &Path) -> Result<String, StoreError> {
    let malformed =
        |reason: &str| StoreError::Malformed { path: path.to_owned(), reason: reason.into() };
    let text = read_text(path)?.ok_or_else(|| malformed("is missing"))?;
    let compact: String = text.split_whitespace().collect();
    let line = STANDARD
        .decode(&compact)
        .map_err(|_| malformed("is not base64 of an htpasswd line (admin:$2y$…)"))?;
    let line = String::from_utf8(line)
        .map_err(|_| malformed("holds base64 of something that is not text"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn read_bundle(dir: &Path) -> Result<Option<StoredBundle>, StoreError> {
    let certificate = read_text(&dir.join(CERTIFICATE))?;
    let key = read_text(&dir.join(KEY))?.map(Zeroizing::new);
    let missing = |name: &str| StoreError::Malformed {
        path: dir.join(name),
        reason: "is missing while the other half of the pair is there".into(),
    };
    match (certificate, key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(missing(CERTIFICATE)),
        (Some(_), None) => Err(missing(KEY)),
        (Some(certificate_pem), Some(key_pem)) => {
            let installed: Option<Installed> =
                read(&dir.join(INSTALLED))?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            Ok(Some(StoredBundle { certificate_pem, key_pem, installed }))
        }
    }
}

fn read_exposure(path: &Path) -> Result<bool, StoreError> {
    match read_text(path)?.as_deref().map(str::trim) {
        Some("enabled") => Ok(true),
        Some("disabled") => Ok(false),
        _ => Err(StoreError::Malformed {
            path: path.to_owned(),
            reason: "must hold `enabled` or `disabled`".into(),
        }),
    }
}

fn read_settings(path: &Path) -> Result<StoredSettings, StoreError> {
    let Some(bytes) = read(path)? else { return Ok(StoredSettings::default()) };
    serde_json::from_slice(&bytes).map_err(|err| StoreError::Malformed {
        path: path.to_owned(),
        reason: format!(
            "is not the JSON of settings ({err}); remove it to use the configured ones"
        ),
    })
}

fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    read(path)?
        .map(|bytes| {
            String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Malformed {
                path: path.to_owned(),
                reason: "is not text".into(),
            })
        })
        .transpose()
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io("read", path)(source)),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(StoreError::Malformed {
            path: path.to_owned(),
            reason: format!("is larger than {MAX_FILE} bytes"),
        });
    }
    Ok(Some(bytes))
}

fn json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("plain structs of strings serialise");
    bytes.push(b'\n');
    bytes
}

/// Makes a folder that only its owner can enter; one that exists is left as it is.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create", path))
}

/// Writes a new file, mode 0600 from its first instant, and fsyncs it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    create_file(path, bytes)?.sync_all().map_err(io("write", path))
}

fn create_file(path: &Path, bytes: &[u8]) -> Result<File, StoreError> {
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(io("create", path))?;
    file.write_all(bytes).map_err(io("write", path))?;
    Ok(file)
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(io("sync", path))
}

pub(crate) fn io<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use time::OffsetDateTime;

    use super::*;

    fn state(insecure_ports: bool) -> State {
        State {
            admin: AdminAccess::Htpasswd("admin:$2y$05$x".into()),
            tls: insecure_ports.then(|| StoredBundle {
                certificate_pem: "certificate".into(),
                key_pem: Zeroizing::new("key".into()),
                installed: None,
            }),
            insecure_ports,
            job_token: Some(Zeroizing::new("token".into())),
            settings: StoredSettings::default(),
        }
    }

    fn note() -> ChangeNote {
        ChangeNote { at: OffsetDateTime::UNIX_EPOCH, what: "tested".into(), by: "test".into() }
    }

    #[test]
    fn a_committed_state_is_read_back_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().unwrap().is_none());
        for insecure_ports in [true, false] {
            store.commit(&state(insecure_ports), &note()).unwrap();
            assert!(store.load().unwrap().unwrap().state == state(insecure_ports));
        }
        let mode = fs::metadata(store.current_dir().join(USERS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_revision_that_never_became_current_is_removed_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        store.commit(&state(true), &note()).unwrap();
        store.write_revision(&store.revisions.join("2"), &state(false), &note()).unwrap();
        drop(store);
        let store = FileStore::open(dir.path()).unwrap();
        assert_eq!(store.numbers().unwrap(), [1]);
        assert!(store.load().unwrap().unwrap().state == state(true));
    }

    #[test]
    fn only_the_newest_revisions_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        for _ in 0..15 {
            store.commit(&state(true), &note()).unwrap();
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let history = loop {
            store.prune();
            let history = store.history().unwrap();
            if history.len() == KEPT_REVISIONS || std::time::Instant::now() > deadline {
                break history;
            }
        };
        assert_eq!(history.len(), KEPT_REVISIONS);
        assert!(history[0].current && history[0].revision == 15);
        assert!(matches!(store.revision(3), Err(StoreError::NoSuchRevision(3))));
    }

    #[test]
    fn a_second_process_is_kept_out() {
        let dir = tempfile::tempdir().unwrap();
        let _store = FileStore::open(dir.path()).unwrap();
        assert!(matches!(FileStore::open(dir.path()), Err(StoreError::Locked { .. })));
    }

    #[test]
    fn half_a_pair_is_named_and_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        store.commit(&state(true), &note()).unwrap();
        fs::remove_file(store.current_dir().join(KEY)).unwrap();
        let loaded = store.load().unwrap().unwrap();
        assert!(loaded.state.tls.is_none());
        let err = loaded.unusable_bundle.unwrap().to_string();
        assert!(err.contains("tls.key is missing"), "{err}");
    }
}
