//! Room on the disks that strangers can fill: one account for each disk, whoever writes there.
//!
//! Uploads, fetched audio, the job database and the audio of realtime sessions ask here before they
//! write, so that all of them together leave [`RESERVE`] for the appliance itself: for its state,
//! its log and its audit record. What is promised and not yet written counts as taken.

use std::{
    collections::HashMap,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
};

/// Bytes that are left on a disk for everything else.
pub const RESERVE: u64 = 128 << 20;
/// Files that may still be made there, where the file system counts them.
const RESERVED_FILES: u64 = 1024;

/// Why there is no room. Nothing was written then.
#[derive(Debug, thiserror::Error)]
pub enum NoRoom {
    #[error(
        "the disk is full: less than {} MiB would be left for the appliance itself",
        RESERVE >> 20
    )]
    Bytes,
    #[error("the disk has no room for more files: no more than {RESERVED_FILES} inodes are left")]
    Files,
    #[error(
        "the disk is full for this address: its unfinished uploads may hold half of what is free, which is {most} bytes now"
    )]
    Share {
        /// What one of its uploads could have now, in bytes.
        most: u64,
    },
    #[error("the disk cannot be asked for its room: {0}")]
    Unknown(#[from] io::Error),
}

/// The accounts by device number, for the life of the process.
static DISKS: LazyLock<Mutex<HashMap<u64, Arc<Mutex<Account>>>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Account {
    /// Bytes that were promised and are not written.
    promised: u64,
    /// Bytes that lie in unfinished uploads, by client.
    unfinished: HashMap<Arc<str>, u64>,
}

/// The disk below a folder. Clones and other folders on the same disk share its account.
#[derive(Debug, Clone)]
pub struct Disk {
    folder: Arc<Path>,
    account: Arc<Mutex<Account>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Disk {
    /// # Errors
    /// The folder is not there or cannot be looked at.
    pub fn of(folder: &Path) -> io::Result<Self> {
        let device = std::fs::metadata(folder)?.dev();
        let account = lock(&DISKS).entry(device).or_default().clone();
        Ok(Self { folder: folder.into(), account })
    }

    /// Bytes that may still be promised.
    ///
    /// # Errors
    /// The disk cannot be asked.
    pub fn room(&self) -> io::Result<u64> {
        Ok(self.find(lock(&self.account).promised)?.0)
    }

    /// Promises `bytes`; they count as taken until what is returned is dropped, which is when they
    /// are written.
    ///
    /// # Errors
    /// There is no room.
    pub fn promise(&self, bytes: u64) -> Result<Promise, NoRoom> {
        let mut account = lock(&self.account);
        self.judge(&account, bytes)?;
        account.promised += bytes;
        Ok(Promise { account: self.account.clone(), bytes })
    }

    /// The same for what was promised before this process began: it is not refused any more.
    #[must_use]
    pub fn owe(&self, bytes: u64) -> Promise {
        lock(&self.account).promised += bytes;
        Promise { account: self.account.clone(), bytes }
    }

    /// Begins an upload of which `announced` bytes are known to come. Nothing is promised for
    /// them: an announcement costs its sender nothing.
    ///
    /// # Errors
    /// So much does not fit.
    pub fn begin_upload(&self, client: &str, announced: u64) -> Result<Upload, NoRoom> {
        let account = lock(&self.account);
        self.judge_upload(&account, client, announced)?;
        Ok(Upload { disk: self.clone(), client: client.into(), written: 0 })
    }

    /// Bytes and files that may still be given out.
    fn find(&self, promised: u64) -> io::Result<(u64, u64)> {
        let facts = nix::sys::statvfs::statvfs(&*self.folder)?;
        #[expect(clippy::useless_conversion, reason = "the width differs between platforms")]
        let free = u64::from(facts.blocks_available()) * u64::from(facts.fragment_size());
        // Some file systems make inodes as they are needed and say that there are none.
        let counted = facts.files() > 0;
        #[expect(clippy::useless_conversion, reason = "the width differs between platforms")]
        let files = if counted { u64::from(facts.files_available()) } else { u64::MAX };
        let bytes = free.saturating_sub(promised).saturating_sub(RESERVE);
        Ok((bytes, files.saturating_sub(RESERVED_FILES)))
    }

    fn judge(&self, account: &Account, bytes: u64) -> Result<u64, NoRoom> {
        let (room, files) = self.find(account.promised)?;
        // With no room at all, even nothing does not fit: what comes after it would not.
        if room == 0 || bytes > room {
            return Err(NoRoom::Bytes);
        }
        if files == 0 {
            return Err(NoRoom::Files);
        }
        Ok(room)
    }

    /// Unfinished uploads of one client hold half at most of what would be free without them.
    fn judge_upload(&self, account: &Account, client: &str, bytes: u64) -> Result<(), NoRoom> {
        let room = self.judge(account, bytes)?;
        let held = account.unfinished.get(client).copied().unwrap_or(0);
        let most = (held.saturating_add(room) / 2).saturating_sub(held);
        if bytes > most { Err(NoRoom::Share { most }) } else { Ok(()) }
    }
}

/// Room that is promised; given back when dropped.
#[derive(Debug)]
pub struct Promise {
    account: Arc<Mutex<Account>>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        lock(&self.account).promised -= self.bytes;
    }
}

/// The account of one upload. What it has written counts as unfinished until it is dropped.
#[derive(Debug)]
pub struct Upload {
    disk: Disk,
    client: Arc<str>,
    written: u64,
}

impl Upload {
    /// Writes `bytes` bytes by `write`, if there is room for them.
    ///
    /// # Errors
    /// There is no room, or writing failed.
    pub fn write(
        &mut self,
        bytes: u64,
        write: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), NoRoom> {
        let promise = {
            let mut account = lock(&self.disk.account);
            self.disk.judge_upload(&account, &self.client, bytes)?;
            account.promised += bytes;
            Promise { account: self.disk.account.clone(), bytes }
        };
        let written = write();
        // A part of it may be on the disk also where writing failed.
        *lock(&self.disk.account).unfinished.entry(self.client.clone()).or_default() += bytes;
        self.written += bytes;
        drop(promise);
        written.map_err(NoRoom::from)
    }

    /// Bytes that were written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let mut account = lock(&self.disk.account);
        if let Some(held) = account.unfinished.get_mut(&self.client) {
            *held = held.saturating_sub(self.written);
            if *held == 0 {
                account.unfinished.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk whose account nobody else uses.
    fn disk(folder: &Path) -> Disk {
        Disk { folder: folder.into(), account: Arc::default() }
    }

    #[test]
    fn what_is_promised_counts_as_taken_until_it_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path());
        // Others write on this disk during the test: halves leave a wide margin.
        let all = disk.room().unwrap();
        let promise = disk.promise(all / 4 * 3).unwrap();
        assert!(matches!(disk.promise(all / 2), Err(NoRoom::Bytes)));
        assert!(disk.room().unwrap() < all / 2);
        drop(promise);
        drop(disk.promise(all / 2).unwrap());
        let owed = disk.owe(u64::MAX / 2);
        assert!(matches!(disk.promise(0), Err(NoRoom::Bytes)), "nothing fits where nothing is");
        drop(owed);
    }

    #[test]
    fn folders_on_one_disk_share_its_account() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        std::fs::create_dir(&one).unwrap();
        std::fs::create_dir(&other).unwrap();
        let (one, other) = (Disk::of(&one).unwrap(), Disk::of(&other).unwrap());
        let room = other.room().unwrap();
        let promise = one.promise(room / 2).unwrap();
        assert!(other.room().unwrap() < room / 4 * 3);
        drop(promise);
    }

    #[test]
    fn unfinished_uploads_of_one_client_hold_half_and_others_may_have_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path());
        let all = disk.room().unwrap();
        let share = |result| match result {
            Err(NoRoom::Share { most }) => most,
            other => panic!("{other:?}"),
        };
        let most = share(disk.begin_upload("192.0.2.1", all / 8 * 5));
        assert!(most > all / 4 && most <= all / 2 + all / 8, "{most} of {all}");
        let mut upload = disk.begin_upload("192.0.2.1", 0).unwrap();
        // As if so much had been written: the disk itself is spared.
        upload.write(all / 2, || Ok(())).unwrap();
        let owed = disk.owe(all / 2);
        assert_eq!(share(upload.write(all / 4, || Ok(())).map(|()| panic!("written"))), 0);
        drop(disk.begin_upload("192.0.2.2", all / 8).unwrap());
        drop((upload, owed));
        assert!(lock(&disk.account).unfinished.is_empty());
        drop(disk.begin_upload("192.0.2.1", all / 4).unwrap());
    }
}
