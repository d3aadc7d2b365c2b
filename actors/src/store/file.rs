//! The state in a folder: `state/current` is a symbolic link to `revisions/<n>/`.
//!
//! A revision is written as `revisions/<n>.new` and gets its number once it is whole, right before
//! the link moves to it; then it is marked as one that was current. So the name shows what a crash
//! has left. Only two kinds of numbered revisions are ever removed: the oldest, by a commit, and
//! one that could not be served, when its change is undone.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::unistd::geteuid;

use super::{
    ChangeNote, HistoryEntry, Loaded, Revision, State, StateStore, StoreError,
    ballast::Ballast,
    kind::kind,
    lock::DirectoryLock,
    revision::{self, CHANGE, HELPERS, Owner, WAS_CURRENT, remove},
    survey::{Found, USED, first_start_was_cut_short, number_of, numbers_in, survey},
};
use crate::blocking::Pool;

/// How many revisions are kept, the current one included.
pub const KEPT_REVISIONS: usize = 10;

/// The default [`StateStore`].
#[derive(Debug)]
pub struct FileStore {
    data_dir: PathBuf,
    state: PathBuf,
    revisions: PathBuf,
    /// Serialises commits within the process, as the lock does between processes, and knows what
    /// the last one replaced.
    last: Mutex<Option<Committed>>,
    /// Make revisions durable and remove old ones; without them it takes longer.
    helpers: Option<Pool>,
    owner: Option<Owner>,
    ballast: Ballast,
    /// Held for the life of the store.
    lock: DirectoryLock,
}

#[derive(Debug)]
struct Committed {
    revision: Revision,
    previous: Option<Revision>,
}

/// A revision that is kept, as [`FileStore::kept`] finds it.
#[derive(Debug)]
pub struct Kept {
    pub revision: Revision,
    /// What it holds, or why it cannot be used.
    pub loaded: Result<Loaded, StoreError>,
    pub note: Option<ChangeNote>,
    /// Whether it was ever in force. One that a crash left behind was not.
    pub was_current: bool,
}

impl FileStore {
    /// Takes the lock of `data_dir`, which is made if it is missing. Nothing else is made before
    /// the first commit, and nothing but unfinished revisions (`<n>.new`) is removed.
    ///
    /// # Errors
    /// The folder cannot be made or written, or another process holds the lock.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        make_dir(data_dir)?;
        let lock = DirectoryLock::take(data_dir)?;
        let found = fs::metadata(data_dir).map_err(io("look at", data_dir))?;
        let owner = (geteuid().is_root() && found.uid() != 0)
            .then(|| Owner { user: found.uid(), group: found.gid() });
        let helpers = Pool::start("fsync", HELPERS - 1)
            .inspect_err(|err| log::warn!("changes take longer, for want of threads: {err}"))
            .ok();
        let state = data_dir.join("state");
        let store = Self {
            ballast: Ballast::new(&state),
            data_dir: data_dir.to_owned(),
            revisions: state.join("revisions"),
            state,
            last: Mutex::new(None),
            helpers,
            owner,
            lock,
        };
        if first_start_was_cut_short(&store.data_dir)? {
            log::warn!("the first start was cut short; its state is in force now");
            store.point_current_at(1)?;
        }
        if let Found::Link(current) = store.survey()? {
            store.remove_unfinished()?;
            store.mark(current);
            store.record_files(current);
            store.mark_used();
            store.keep_room();
        }
        Ok(store)
    }

    /// Whether nothing tells that `data_dir` was ever used. Looks only.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn is_new(data_dir: &Path) -> Result<bool, StoreError> {
        Ok(survey(data_dir).map_err(|err| err.with_remedy(data_dir))? == Found::Nothing)
    }

    /// What is wrong with the link to the current revision, and the revision that the damaged link
    /// names; `None` where it leads to one.
    ///
    /// # Errors
    /// The directory cannot be looked at.
    pub fn damage(&self) -> Result<Option<(String, Option<Revision>)>, StoreError> {
        match self.survey()? {
            Found::Damaged { what, hint } => Ok(Some((what, hint))),
            Found::Nothing | Found::Link(_) => Ok(None),
        }
    }

    /// Every revision that is kept, newest first, whole or not.
    ///
    /// # Errors
    /// They cannot be listed.
    pub fn kept(&self) -> Result<Vec<Kept>, StoreError> {
        let kept = |revision| {
            let dir = self.folder(revision);
            Kept {
                revision,
                loaded: revision::read_from(&dir),
                note: revision::read_note(&dir),
                was_current: self.was_current(revision),
            }
        };
        Ok(numbers_in(&self.revisions)?.into_iter().map(kept).collect())
    }

    /// The revision whose files are those of the folder that a copy made of the link.
    #[must_use]
    pub fn copied_by_link(&self) -> Option<Revision> {
        let copy = revision::read_from(&self.current_dir()).ok()?;
        let numbers = numbers_in(&self.revisions).ok()?;
        numbers.into_iter().find(|number| {
            revision::read_from(&self.folder(*number)).is_ok_and(|kept| kept.state == copy.state)
        })
    }

    /// Points the link at a revision that is kept and whole. What lies in place of the link is set
    /// aside, and told.
    ///
    /// # Errors
    /// There is no such revision, it cannot be used, or the disk fails; nothing has changed then.
    pub fn repair(&self, revision: Revision) -> Result<Option<PathBuf>, StoreError> {
        self.lock.check()?;
        if !self.folder(revision).is_dir() {
            return Err(StoreError::NoSuchRevision(revision));
        }
        revision::read_from(&self.folder(revision))?;
        let aside = self.set_aside()?;
        self.point_current_at(revision)?;
        self.mark(revision);
        self.mark_used();
        Ok(aside)
    }

    /// Makes room for the link where something else lies.
    fn set_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let current = self.current_dir();
        match fs::symlink_metadata(&current) {
            Ok(found) if !found.is_symlink() => {
                let aside = self.unused_name("current.aside")?;
                fs::rename(&current, &aside).map_err(io("set aside", &current))?;
                log::warn!("{} was no link; it is {} now", current.display(), aside.display());
                Ok(Some(aside))
            }
            _ => Ok(None),
        }
    }

    fn unused_name(&self, name: &str) -> Result<PathBuf, StoreError> {
        for number in 1..1000 {
            let path = self.state.join(format!("{name}-{number}"));
            if kind(&path)?.is_none() {
                return Ok(path);
            }
        }
        let path = self.state.join(name);
        Err(StoreError::Malformed { path, reason: "was set aside too often; tidy up".into() })
    }

    /// The folder that `current` points to.
    #[must_use]
    pub fn current_dir(&self) -> PathBuf {
        self.state.join("current")
    }

    fn folder(&self, revision: Revision) -> PathBuf {
        self.revisions.join(revision.to_string())
    }

    fn survey(&self) -> Result<Found, StoreError> {
        survey(&self.data_dir).map_err(|err| err.with_remedy(&self.data_dir))
    }

    fn last(&self) -> MutexGuard<'_, Option<Committed>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision in force; `None` where there is none, or where the link is damaged.
    fn current(&self) -> Result<Option<Revision>, StoreError> {
        match self.survey()? {
            Found::Link(revision) => Ok(Some(revision)),
            Found::Nothing | Found::Damaged { .. } => Ok(None),
        }
    }

    /// What a crash left of a revision that never got its number.
    fn remove_unfinished(&self) -> Result<(), StoreError> {
        let entries = fs::read_dir(&self.revisions).map_err(io("list", &self.revisions))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.strip_suffix(".new").and_then(number_of).is_some()
                && let Err(err) = remove(&path)
            {
                log::warn!("cannot remove the unfinished revision {}: {err}", path.display());
            }
        }
        Ok(())
    }

    fn was_current(&self, revision: Revision) -> bool {
        self.folder(revision).join(WAS_CURRENT).exists()
    }

    /// Marks a revision as one that was in force. Where a version that did not mark them has left
    /// the directory, those before it are marked too, as far as anybody can know.
    fn mark(&self, current: Revision) {
        if self.was_current(current) {
            return;
        }
        let numbers = numbers_in(&self.revisions).unwrap_or_default();
        let none_is_marked = !numbers.iter().any(|number| self.was_current(*number));
        let older = numbers.iter().filter(|number| none_is_marked && **number < current);
        for number in older.chain([&current]) {
            self.put(&self.folder(*number).join(WAS_CURRENT), b"");
        }
    }

    /// Notes what a revision holds that was not made by us, before it is used for the first time.
    fn record_files(&self, current: Revision) {
        let (record, used) = (self.folder(current).join(CHANGE), self.data_dir.join(USED));
        if fs::symlink_metadata(&used).is_err() && fs::symlink_metadata(&record).is_err() {
            self.put(&record, &revision::record_of(&self.folder(current)));
        }
    }

    /// Notes beside the state that there is one, so that its loss is noticed.
    fn mark_used(&self) {
        let path = self.data_dir.join(USED);
        if fs::symlink_metadata(&path).is_err() {
            self.put(&path, b"There is a state below state/. Where it is gone, the appliance does not start as a new one.\n");
        }
    }

    /// What root would make in the directory of somebody else, that one could not give up.
    fn keep_room(&self) {
        if self.owner.is_none() {
            self.ballast.fill();
        }
    }

    /// Writes something whose loss is no harm.
    fn put(&self, path: &Path, bytes: &[u8]) {
        let written = create_file(path, bytes).and_then(|file| self.give_away(path, &file));
        if let Err(err) = written {
            log::debug!("{}", err.chain());
        }
    }

    fn give_away(&self, path: &Path, file: &File) -> Result<(), StoreError> {
        let Some(Owner { user, group }) = self.owner else { return Ok(()) };
        std::os::unix::fs::fchown(file, Some(user), Some(group)).map_err(io("give away", path))
    }

    /// Makes the folders of the state where they are missing.
    fn make_folders(&self) -> Result<(), StoreError> {
        for folder in [&self.state, &self.revisions] {
            if !folder.is_dir() {
                make_dir(folder)?;
                let made = File::open(folder).map_err(io("open", folder))?;
                self.give_away(folder, &made)?;
                sync_dir(folder.parent().unwrap_or(&self.data_dir))?;
            }
        }
        Ok(())
    }

    /// A revision as a whole, or nothing of it.
    fn write_or_clear_away(
        &self,
        revision: Revision,
        previous: Option<Revision>,
        state: &State,
        note: &ChangeNote,
    ) -> Result<(), StoreError> {
        self.write_and_point(revision, state, note).map_err(|err| {
            match self.clear_away(revision, previous) {
                Ok(()) => err,
                Err(_) => StoreError::Unsettled { reason: err.chain() },
            }
        })
    }

    fn write_and_point(
        &self,
        revision: Revision,
        state: &State,
        note: &ChangeNote,
    ) -> Result<(), StoreError> {
        let (unfinished, folder) = (self.unfinished(revision), self.folder(revision));
        remove(&unfinished).map_err(io("remove", &unfinished))?;
        revision::write(&unfinished, state, note, self.owner, self.helpers.as_ref())?;
        fs::rename(&unfinished, &folder).map_err(io("rename", &unfinished))?;
        sync_dir(&self.revisions)?;
        self.set_aside()?;
        self.point_current_at(revision)
    }

    fn unfinished(&self, revision: Revision) -> PathBuf {
        self.revisions.join(format!("{revision}.new"))
    }

    fn point_current_at(&self, revision: Revision) -> Result<(), StoreError> {
        let fresh = self.state.join("current.new");
        remove(&fresh).map_err(io("remove", &fresh))?;
        symlink(Path::new("revisions").join(revision.to_string()), &fresh)
            .map_err(io("create", &fresh))?;
        if let Some(Owner { user, group }) = self.owner {
            std::os::unix::fs::lchown(&fresh, Some(user), Some(group))
                .map_err(io("give away", &fresh))?;
        }
        let current = self.current_dir();
        fs::rename(&fresh, &current).map_err(io("replace", &current))?;
        sync_dir(&self.state)
    }

    /// Takes back a commit of which a step failed, so that nothing of it is left.
    fn clear_away(&self, revision: Revision, previous: Option<Revision>) -> Result<(), StoreError> {
        if self.current()? == Some(revision) {
            // Moved, but perhaps not durably: nobody can tell what a crash would leave.
            match previous {
                Some(previous) => self.point_current_at(previous)?,
                None => {
                    let current = self.current_dir();
                    remove(&current).map_err(io("remove", &current))?;
                }
            }
        }
        for path in [self.unfinished(revision), self.folder(revision)] {
            if let Err(err) = remove(&path) {
                log::warn!("cannot remove the refused revision {}: {err}", path.display());
            }
        }
        Ok(())
    }

    /// Removes the oldest revisions, without keeping anybody waiting.
    fn prune(&self, current: Revision) {
        let revisions = self.revisions.clone();
        let prune = move || {
            let numbers = numbers_in(&revisions).unwrap_or_default();
            for number in numbers.into_iter().skip(KEPT_REVISIONS).filter(|n| *n != current) {
                let path = revisions.join(number.to_string());
                if let Err(err) = remove(&path) {
                    log::warn!("cannot remove the old revision {}: {err}", path.display());
                }
            }
        };
        match &self.helpers {
            Some(helpers) => helpers.submit(prune),
            None => prune(),
        }
    }
}

impl StateStore for FileStore {
    fn load(&self) -> Result<Option<Loaded>, StoreError> {
        match self.survey()? {
            Found::Nothing => Ok(None),
            Found::Link(revision) => revision::read_from(&self.folder(revision)).map(Some),
            Found::Damaged { what, .. } => {
                let kept = numbers_in(&self.revisions)?;
                let newest = kept.iter().find(|number| self.was_current(**number));
                let newest = newest.or_else(|| kept.first()).copied();
                Err(StoreError::Damaged { data_dir: self.data_dir.clone(), what, newest })
            }
        }
    }

    fn commit(&self, state: &State, note: &ChangeNote) -> Result<Revision, StoreError> {
        let mut last = self.last();
        self.lock.check()?;
        self.make_folders()?;
        let previous = self.current()?;
        let newest = numbers_in(&self.revisions)?.first().copied();
        let revision = newest.max(previous).unwrap_or(0) + 1;
        let mut written = self.write_or_clear_away(revision, previous, state, note);
        if written.as_ref().is_err_and(StoreError::is_storage_full) && self.ballast.give_up() {
            written = self.write_or_clear_away(revision, previous, state, note);
        }
        self.keep_room();
        written?;
        self.mark(revision);
        self.mark_used();
        *last = Some(Committed { revision, previous });
        self.prune(revision);
        Ok(revision)
    }

    fn withdraw(&self, revision: Revision) -> Result<Revision, StoreError> {
        let mut last = self.last();
        let previous = match last.as_ref() {
            Some(Committed { revision: newest, previous: Some(previous) })
                if *newest == revision =>
            {
                *previous
            }
            _ => return Err(StoreError::NoSuchRevision(revision)),
        };
        self.lock.check()?;
        // It was not in force for anybody; without the mark it never is.
        let mark = self.folder(revision).join(WAS_CURRENT);
        remove(&mark).map_err(io("remove", &mark))?;
        let mut pointed = self.point_current_at(previous);
        if pointed.as_ref().is_err_and(StoreError::is_storage_full) && self.ballast.give_up() {
            pointed = self.point_current_at(previous);
        }
        pointed?;
        *last = None;
        self.clear_away(revision, Some(previous))?;
        self.keep_room();
        Ok(previous)
    }

    fn history(&self) -> Result<Vec<HistoryEntry>, StoreError> {
        let current = self.current()?;
        let entry = |revision: Revision| HistoryEntry {
            revision,
            current: Some(revision) == current,
            was_current: self.was_current(revision),
            note: revision::read_note(&self.folder(revision)),
        };
        Ok(numbers_in(&self.revisions)?.into_iter().map(entry).collect())
    }

    fn revision(&self, revision: Revision) -> Result<Loaded, StoreError> {
        let dir = self.folder(revision);
        if !dir.is_dir() {
            return Err(StoreError::NoSuchRevision(revision));
        }
        if !self.was_current(revision) {
            return Err(StoreError::NeverCurrent(revision));
        }
        revision::read_from(&dir)
    }
}

/// Makes a folder that only its owner can enter; one that exists is left as it is.
pub(crate) fn make_dir(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("create", path))
}

/// Writes a new file, mode 0600 from its first instant, and fsyncs it.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    create_file(path, bytes)?.sync_all().map_err(io("write", path))
}

pub(super) fn create_file(path: &Path, bytes: &[u8]) -> Result<File, StoreError> {
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
    use zeroize::Zeroizing;

    use super::{
        super::{
            AdminAccess, StoredBundle,
            revision::{INSECURE_PORTS, JOB_TOKEN, KEY, OPEN, USERS},
        },
        *,
    };
    use crate::settings::StoredSettings;

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
    fn what_a_crash_leaves_is_told_apart_and_no_numbered_revision_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        for insecure_ports in [true, false, true] {
            store.commit(&state(insecure_ports), &note()).unwrap();
        }
        let write = |name: &str| {
            let dir = store.revisions.join(name);
            revision::write(&dir, &state(false), &note(), None, None).unwrap();
        };
        write("4"); // Whole, but the link did not move any more.
        write("5.new");
        store.point_current_at(2).unwrap(); // By hand, to an older one.
        drop(store);
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().unwrap().unwrap().state == state(false));
        assert_eq!(numbers_in(&store.revisions).unwrap(), [4, 3, 2, 1]);
        assert!(!store.revisions.join("5.new").exists());
        let history = store.history().unwrap();
        let known: Vec<_> =
            history.iter().map(|entry| (entry.current, entry.was_current)).collect();
        assert_eq!(known, [(false, false), (false, true), (true, true), (false, true)]);
        assert!(matches!(store.revision(4), Err(StoreError::NeverCurrent(4))));
        assert_eq!(store.commit(&state(true), &note()).unwrap(), 5);
        assert!(store.revision(3).is_ok() && store.revision(4).is_err());
    }

    #[test]
    fn a_directory_of_a_version_without_marks_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        for _ in 0..3 {
            store.commit(&state(true), &note()).unwrap();
        }
        for number in 1..=3 {
            fs::remove_file(store.folder(number).join(WAS_CURRENT)).unwrap();
        }
        store.point_current_at(2).unwrap();
        drop(store);
        let store = FileStore::open(dir.path()).unwrap();
        let was_current = |number| store.was_current(number);
        assert_eq!([1, 2, 3].map(was_current), [true, true, false]);
    }

    #[test]
    fn a_state_that_was_made_by_hand_is_recorded_before_its_first_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        store.commit(&State { job_token: None, ..state(true) }, &note()).unwrap();
        let record = store.folder(1).join(CHANGE);
        drop(store);
        for name in [&record, &dir.path().join(USED)] {
            fs::remove_file(name).unwrap();
        }
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().unwrap().is_some());
        assert!(fs::read_to_string(&record).unwrap().contains(USERS));
        fs::remove_file(&record).unwrap();
        drop(store);
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().is_err(), "whether there was a job token cannot be told any more");
    }

    #[test]
    fn a_withdrawn_revision_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        store.commit(&state(true), &note()).unwrap();
        let refused = store.commit(&state(false), &note()).unwrap();
        assert_eq!(store.withdraw(refused).unwrap(), 1);
        assert!(store.load().unwrap().unwrap().state == state(true));
        assert_eq!(numbers_in(&store.revisions).unwrap(), [1]);
        assert!(store.withdraw(1).is_err(), "only the newest can be withdrawn");
    }

    #[test]
    fn a_used_directory_without_its_state_is_damaged_and_an_empty_one_is_new() {
        let lost = |lose: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let store = FileStore::open(dir.path()).unwrap();
            assert!(store.load().unwrap().is_none(), "an empty one is new");
            store.commit(&state(true), &note()).unwrap();
            drop(store);
            lose(dir.path());
            let store = FileStore::open(dir.path()).unwrap();
            let err = store.load().expect_err("it was used");
            assert!(matches!(err, StoreError::Damaged { .. }), "{err}");
            err.to_string()
        };
        let told = lost(|dir| fs::remove_file(dir.join("state/current")).unwrap());
        assert!(told.contains("current is missing") && told.contains("revision 1"), "{told}");
        assert!(told.contains(" recover") && told.contains("ln -sfn revisions/1 "), "{told}");
        let told = lost(|dir| fs::remove_dir_all(dir.join("state")).unwrap());
        assert!(told.contains("initialised tells that this directory was used"), "{told}");
        let told = lost(|dir| {
            fs::remove_dir_all(dir.join("state")).unwrap();
            fs::create_dir(dir.join("default-certificate")).unwrap();
            fs::rename(dir.join(USED), dir.join("default-certificate/tls.key")).unwrap();
        });
        assert!(told.contains("default-certificate tells"), "{told}");
        let told = lost(|dir| {
            fs::remove_dir_all(dir.join("state")).unwrap();
            fs::create_dir_all(dir.join("jobs/audio")).unwrap();
            fs::rename(dir.join(USED), dir.join("jobs/audio/1")).unwrap();
        });
        assert!(told.contains("jobs/audio tells"), "{told}");
        let told = lost(|dir| fs::remove_dir_all(dir.join("state/revisions")).unwrap());
        assert!(told.contains("points to revisions/1, which is not there"), "{told}");
        let told = lost(|dir| {
            fs::remove_file(dir.join("state/current")).unwrap();
            symlink("/elsewhere/revisions/1", dir.join("state/current")).unwrap();
        });
        assert!(told.contains("points to /elsewhere/revisions/1, not to"), "{told}");
    }

    #[test]
    fn a_first_start_that_was_cut_short_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        store.commit(&state(false), &note()).unwrap();
        drop(store);
        let cut = || {
            for name in ["state/current", "state/revisions/1/was-current", USED] {
                fs::remove_file(dir.path().join(name)).unwrap();
            }
        };
        cut();
        // Something else tells that it was not the first start.
        fs::write(dir.path().join("default-certificate"), "of a run").unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().is_err());
        drop(store);

        fs::remove_file(dir.path().join("default-certificate")).unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        assert!(store.load().unwrap().unwrap().state == state(false));
        assert!(store.was_current(1) && dir.path().join(USED).exists());
    }

    #[test]
    fn a_link_that_became_a_text_or_a_folder_is_put_right() {
        let dir = tempfile::tempdir().unwrap();
        let store = FileStore::open(dir.path()).unwrap();
        for insecure_ports in [true, false] {
            store.commit(&state(insecure_ports), &note()).unwrap();
        }
        let current = store.current_dir();
        fs::remove_file(&current).unwrap();
        fs::write(&current, "revisions/1\n").unwrap();
        let (what, hint) = store.damage().unwrap().unwrap();
        assert!(what.contains("is a file, not a symbolic link"), "{what}");
        assert_eq!(hint, Some(1));
        assert!(store.repair(1).unwrap().unwrap().is_file(), "the file is set aside");
        assert!(store.load().unwrap().unwrap().state == state(true));

        fs::remove_file(&current).unwrap();
        revision::write(&current, &state(false), &note(), None, None).unwrap();
        assert_eq!(store.copied_by_link(), Some(2));
        assert!(store.repair(2).unwrap().unwrap().is_dir(), "the folder is set aside");
        assert!(store.damage().unwrap().is_none());
        assert!(store.repair(7).is_err());
    }

    #[test]
    fn what_is_missing_never_opens_what_was_closed() {
        let spoilt = |spoil: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            let store = FileStore::open(dir.path()).unwrap();
            store.commit(&state(true), &note()).unwrap();
            spoil(&store.current_dir());
            store.load().map(Option::unwrap).map_err(|err| err.to_string())
        };
        let refused = |spoil: fn(&Path)| spoilt(spoil).expect_err("it must not be used");
        let told = refused(|dir| fs::remove_file(dir.join(JOB_TOKEN)).unwrap());
        assert!(told.contains("job-token is missing"), "{told}");
        let told = refused(|dir| fs::write(dir.join(JOB_TOKEN), " \n").unwrap());
        assert!(told.contains("job-token is empty"), "{told}");
        let told = refused(|dir| {
            fs::remove_file(dir.join(JOB_TOKEN)).unwrap();
            fs::write(dir.join(CHANGE), "{").unwrap();
        });
        assert!(told.contains("change.json is missing or damaged"), "{told}");
        let told = refused(|dir| fs::write(dir.join(OPEN), "").unwrap());
        assert!(told.contains("lies beside `users`"), "{told}");
        let told = refused(|dir| fs::remove_file(dir.join(INSECURE_PORTS)).unwrap());
        assert!(told.contains("insecure-ports is missing"), "{told}");
        let loaded = spoilt(|dir| fs::remove_dir_all(dir.join("tls")).unwrap()).unwrap();
        let told = loaded.unusable_bundle.expect("a certificate was installed").to_string();
        assert!(told.contains("tls.key is missing though"), "{told}");
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
            store.prune(15);
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
