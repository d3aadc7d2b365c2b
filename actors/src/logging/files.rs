//! The log files: one that is written, older ones beside it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The name of the file that is written.
const NAME: &str = "portcullis.log";

/// When a new file is begun and how many are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes of a file after which the next one is begun.
    pub max_bytes: u64,
    /// Files that are kept, the one that is written included.
    pub files: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { max_bytes: 10 << 20, files: 10 }
    }
}

pub(super) struct Files {
    path: PathBuf,
    rotation: Rotation,
    file: File,
    length: u64,
    /// Whether the last write failed, which is told once.
    failing: bool,
}

impl Files {
    pub(super) fn open(dir: &Path, rotation: Rotation) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let path = dir.join(NAME);
        let (file, length) = open(&path)?;
        Ok(Self { path, rotation, file, length, failing: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line; a full disk costs lines of the file, nothing else.
    pub(super) fn write(&mut self, line: &str) {
        let written = self.try_write(line);
        if let Err(err) = &written
            && !self.failing
        {
            log::error!("cannot write {}: {err}", self.path.display());
        }
        self.failing = written.is_err();
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        if self.length > 0 && self.length + line.len() as u64 > self.rotation.max_bytes {
            self.rotate()?;
        }
        self.file.write_all(line.as_bytes())?;
        self.length += line.len() as u64;
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let older = self.rotation.files.saturating_sub(1);
        for number in (1..older).rev() {
            rename(&numbered(&self.path, number), &numbered(&self.path, number + 1))?;
        }
        if older == 0 {
            fs::remove_file(&self.path)?;
        } else {
            rename(&self.path, &numbered(&self.path, 1))?;
        }
        (self.file, self.length) = open(&self.path)?;
        Ok(())
    }
}

/// The `number`th file before `path`.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_turned_over_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::open(dir.path(), Rotation { max_bytes: 20, files: 3 }).unwrap();
        for number in 0..10 {
            files.write(&format!("line number {number}\n"));
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(files.path()), "line number 9\n");
        assert_eq!(read(&numbered(files.path(), 1)), "line number 8\n");
        assert_eq!(read(&numbered(files.path(), 2)), "line number 7\n");
        assert!(!numbered(files.path(), 3).exists());
    }
}
