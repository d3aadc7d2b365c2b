//! One process at a time uses a data directory.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use nix::{errno::Errno, fcntl::OFlag};

use super::{StoreError, io as io_error};

/// The lock of a data directory, held until it is dropped.
///
/// What is locked is the folder itself, which nobody can take away unnoticed. The file `lock` in it
/// is locked too: for file systems that lock no folders, and for versions that knew the file alone.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    data_dir: PathBuf,
    folder: File,
    folder_is_locked: bool,
    /// `None` where something else than a file lies there.
    file: Mutex<Option<File>>,
}

impl DirectoryLock {
    /// Takes the lock of a folder that is there.
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        let folder = File::open(data_dir).map_err(io_error("open", data_dir))?;
        let folder_is_locked = match folder.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Err(locked(data_dir)),
            Err(TryLockError::Error(err)) if locks_no_folders(&err) => false,
            Err(TryLockError::Error(err)) => return Err(io_error("lock", data_dir)(err)),
        };
        let lock = Self {
            data_dir: data_dir.to_owned(),
            folder,
            folder_is_locked,
            file: Mutex::new(None),
        };
        let file = lock.take_file()?;
        *lock.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
        Ok(lock)
    }

    /// Whether the directory still is the one that was locked; makes the file anew that somebody
    /// has removed.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let held = self.folder.metadata().map_err(io_error("look at", &self.data_dir))?;
        match fs::metadata(&self.data_dir) {
            Ok(found) if same(&found, &held) => {}
            Ok(_) => return Err(StoreError::Replaced { path: self.data_dir.clone() }),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Replaced { path: self.data_dir.clone() });
            }
            Err(err) => return Err(io_error("look at", &self.data_dir)(err)),
        }
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(held) = file.as_ref().and_then(|file| file.metadata().ok()) else { return Ok(()) };
        if !fs::symlink_metadata(self.path()).is_ok_and(|found| same(&found, &held)) {
            log::warn!("{} was removed or replaced; it is made anew", self.path().display());
            *file = self.take_file()?;
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.data_dir.join("lock")
    }

    fn take_file(&self) -> Result<Option<File>, StoreError> {
        let path = self.path();
        let opened = open_file(&path).and_then(|file| match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(err)) => Err(err),
        });
        match opened {
            Ok(Some(file)) => Ok(Some(file)),
            Ok(None) => Err(locked(&self.data_dir)),
            // The folder is locked, which is enough.
            Err(err) if self.folder_is_locked => {
                log::warn!("{} cannot be used ({err}); remove it", path.display());
                Ok(None)
            }
            Err(err) => Err(io_error("lock", &path)(err)),
        }
    }
}

fn locked(data_dir: &Path) -> StoreError {
    StoreError::Locked { path: data_dir.to_owned() }
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// NFS plays `flock` with locks that need a file that is open for writing.
fn locks_no_folders(err: &io::Error) -> bool {
    let known = [Errno::EBADF, Errno::EINVAL, Errno::ENOLCK, Errno::EOPNOTSUPP, Errno::ENOSYS];
    known.iter().any(|errno| err.raw_os_error() == Some(*errno as i32))
}

/// Opens the file, or makes it; never waits, and never follows a link.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(0o600).custom_flags(flags.bits());
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_second_process_is_kept_out_whatever_becomes_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let other_way = tempfile::tempdir().unwrap();
        let link = other_way.path().join("link");
        symlink(dir.path(), &link).unwrap();
        let lock = DirectoryLock::take(dir.path()).unwrap();
        let refused = |data_dir: &Path| {
            matches!(DirectoryLock::take(data_dir), Err(StoreError::Locked { .. }))
        };
        assert!(refused(dir.path()));
        assert!(refused(&link), "the same folder by another path");
        fs::remove_file(&path).unwrap();
        assert!(refused(dir.path()), "the file was removed");
        for spoil in [
            (|path| fs::create_dir(path)) as fn(&Path) -> io::Result<()>,
            |path| fs::write(path, "another one"),
            |path| symlink("/nowhere", path),
            |path| Ok(nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU)?),
        ] {
            let _ = fs::remove_file(&path);
            spoil(&path).unwrap();
            assert!(refused(dir.path()));
            lock.check().unwrap();
            let _ = fs::remove_dir(&path);
        }
        drop(lock);
        assert!(DirectoryLock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_removed_file_is_made_anew_and_a_replaced_folder_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let (data_dir, moved) = (parent.path().join("data"), parent.path().join("moved"));
        fs::create_dir(&data_dir).unwrap();
        let lock = DirectoryLock::take(&data_dir).unwrap();
        fs::remove_file(data_dir.join("lock")).unwrap();
        lock.check().unwrap();
        assert!(data_dir.join("lock").is_file());

        // A version that knows the file alone has taken it.
        fs::remove_file(data_dir.join("lock")).unwrap();
        let other = open_file(&data_dir.join("lock")).unwrap();
        other.try_lock().unwrap();
        assert!(matches!(lock.check(), Err(StoreError::Locked { .. })));
        drop(other);
        lock.check().unwrap();

        fs::rename(&data_dir, &moved).unwrap();
        assert!(matches!(lock.check(), Err(StoreError::Replaced { .. })));
        fs::create_dir(&data_dir).unwrap();
        assert!(matches!(lock.check(), Err(StoreError::Replaced { .. })));
    }
}
