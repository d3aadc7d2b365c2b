//! The folder beside the database: audio that arrives, and audio that has arrived.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{job::JobId, store_error::StoreError};
use crate::{
    disk::{Disk, Upload},
    regular,
};

/// What the name of audio ends in until its job is in the database.
const NEW: &str = ".new";

/// `incoming/` holds uploads in progress, `audio/` one file for each job.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    incoming: PathBuf,
    audio: PathBuf,
    disk: Disk,
}

/// What lies in the folder of audio.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Audio of jobs.
    pub(super) whole: Vec<JobId>,
    /// Audio whose job was perhaps not made any more when the process ended.
    pub(super) new: Vec<JobId>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Folder {
    /// Makes the folders and throws away uploads that a crash has left.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let (incoming, audio) = (root.join("incoming"), root.join("audio"));
        if incoming.exists() {
            fs::remove_dir_all(&incoming)?;
        }
        for path in [&incoming, &audio] {
            make_private_dir(path)?;
        }
        sync_folder(root)?;
        Ok(Self { disk: Disk::of(&audio)?, incoming, audio })
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(super) fn begin_upload(
        &self,
        client: &str,
        announced: u64,
    ) -> Result<IncomingFile, StoreError> {
        let account = self.disk.begin_upload(client, announced)?;
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.incoming.join(name);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(IncomingFile { file, path, account, kept: false })
    }

    /// Moves an upload, which is on the disk already, to its place. Until [`Folder::settle`] a
    /// crash may find it there without its job.
    pub(super) fn keep(&self, mut incoming: IncomingFile, id: JobId) -> io::Result<()> {
        fs::rename(&incoming.path, self.new_audio_of(id))?;
        incoming.kept = true;
        sync_folder(&self.audio)
    }

    /// The job of new audio is in the database. What a crash prevents here the next start does.
    pub(super) fn settle(&self, id: JobId) {
        if let Err(err) = fs::rename(self.new_audio_of(id), self.audio_of(id)) {
            log::warn!("the audio of job {id} keeps its first name: {err}");
        }
    }

    fn audio_of(&self, id: JobId) -> PathBuf {
        self.audio.join(id.to_string())
    }

    fn new_audio_of(&self, id: JobId) -> PathBuf {
        self.audio.join(format!("{id}{NEW}"))
    }

    /// `None` if there is none.
    pub(super) fn open_audio(&self, id: JobId) -> io::Result<Option<File>> {
        for path in [self.audio_of(id), self.new_audio_of(id)] {
            match regular::open(&path) {
                Ok(file) => return Ok(Some(file)),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => return Err(err),
            }
        }
        Ok(None)
    }

    /// In bytes; zero where there is none.
    pub(super) fn length_of(&self, id: JobId) -> u64 {
        fs::metadata(self.audio_of(id)).map_or(0, |facts| facts.len())
    }

    pub(super) fn remove(&self, id: JobId) {
        for path in [self.audio_of(id), self.new_audio_of(id)] {
            if let Err(err) = fs::remove_file(&path)
                && err.kind() != io::ErrorKind::NotFound
            {
                log::warn!("{} cannot be removed: {err}", path.display());
            }
        }
    }

    pub(super) fn kept(&self) -> io::Result<Kept> {
        kept_in(&self.audio)
    }

    /// Takes the rights of others away, also where an earlier version gave some.
    pub(super) fn mend_modes(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.audio)?.filter_map(Result::ok) {
            make_private(&entry.path())?;
        }
        Ok(())
    }
}

/// What lies in a folder of audio; nothing where there is none.
pub(super) fn kept_in(audio: &Path) -> io::Result<Kept> {
    let entries = match fs::read_dir(audio) {
        Ok(entries) => entries,
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(err) => return Err(err),
    };
    let mut kept = Kept::default();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        let (number, list) = match name.strip_suffix(NEW) {
            Some(number) => (number, &mut kept.new),
            None => (name, &mut kept.whole),
        };
        list.extend(number.parse::<JobId>());
    }
    Ok(kept)
}

/// Makes a folder that its owner alone can enter, or makes one that is there so.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Leaves a file to its owner alone. What is no file, a link for instance, is left as it is.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o777 != 0o600 => {
            fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Ok(_) => Ok(()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(err) => Err(err),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An upload in progress. It goes away with its owner unless a job took it. Its calls block, and so
/// does dropping it.
#[derive(Debug)]
pub struct IncomingFile {
    file: File,
    path: PathBuf,
    account: Upload,
    kept: bool,
}

impl IncomingFile {
    /// Appends `bytes`, if the disk has room for them.
    ///
    /// # Errors
    /// There is no room, or the file cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let file = &mut self.file;
        self.account.write(bytes.len() as u64, || file.write_all(bytes))?;
        Ok(())
    }

    /// Returns once all of it is on the disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync(&self) -> Result<(), StoreError> {
        Ok(self.file.sync_all()?)
    }

    /// Bytes that were written.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.account.written()
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
