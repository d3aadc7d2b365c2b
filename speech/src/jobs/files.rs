//! The folder beside the database: audio that arrives, and audio that has arrived.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::store::JobId;

/// `incoming/` holds uploads in progress, `audio/` one file for each job.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    incoming: PathBuf,
    audio: PathBuf,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Folder {
    /// Makes the folders and throws away uploads that a crash has left.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let folder = Self { incoming: root.join("incoming"), audio: root.join("audio") };
        if folder.incoming.exists() {
            fs::remove_dir_all(&folder.incoming)?;
        }
        for path in [&folder.incoming, &folder.audio] {
            fs::create_dir_all(path)?;
        }
        sync_folder(root)?;
        Ok(folder)
    }

    pub(super) fn begin_upload(&self) -> io::Result<IncomingFile> {
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = self.incoming.join(name);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(IncomingFile { file: Some(file), path, kept: false })
    }

    /// Moves an upload, which is on the disk already, to its place; it is there for good after it.
    pub(super) fn keep(&self, mut incoming: IncomingFile, id: JobId) -> io::Result<()> {
        fs::rename(&incoming.path, self.audio_of(id))?;
        incoming.kept = true;
        sync_folder(&self.audio)
    }

    pub(super) fn audio_of(&self, id: JobId) -> PathBuf {
        self.audio.join(id.to_string())
    }

    pub(super) fn remove(&self, id: JobId) {
        let path = self.audio_of(id);
        if let Err(err) = fs::remove_file(&path)
            && err.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{} cannot be removed: {err}", path.display());
        }
    }

    /// The jobs that have a file.
    pub(super) fn kept(&self) -> io::Result<Vec<JobId>> {
        let entries = fs::read_dir(&self.audio)?.filter_map(Result::ok);
        Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    /// Bytes that may still be written.
    pub(super) fn free_space(&self) -> io::Result<u64> {
        let facts = nix::sys::statvfs::statvfs(&self.incoming)?;
        #[expect(clippy::useless_conversion, reason = "the width differs between platforms")]
        Ok(u64::from(facts.blocks_available()) * u64::from(facts.fragment_size()))
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// An upload in progress. It goes away with its owner unless a job took it.
#[derive(Debug)]
pub struct IncomingFile {
    file: Option<File>,
    path: PathBuf,
    kept: bool,
}

impl IncomingFile {
    /// The file to write to, once.
    pub fn take_file(&mut self) -> Option<File> {
        self.file.take()
    }
}

impl Drop for IncomingFile {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}
