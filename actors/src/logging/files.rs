//! The log files: one that is written, older ones beside it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use super::line::Format;
use crate::{files::Appended, storage};

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
    format: Format,
    file: Option<Appended>,
    /// Lines that are missing since the last one that was written.
    left_out: u64,
}

impl Files {
    pub(super) fn new(dir: &Path, rotation: Rotation, format: Format) -> Self {
        Self { path: dir.join(NAME), rotation, format, file: None, left_out: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a line; a full disk costs lines of the file, nothing else. Says whether it did.
    pub(super) fn write(&mut self, line: &str) -> bool {
        let path = self.path.clone();
        let written = storage::LOG.attempt(&path, || {
            self.tell_left_out()?;
            self.append(line)
        });
        if written.is_err() {
            self.left_out += 1;
        }
        written.is_ok()
    }

    /// Lines were left out before they came here.
    pub(super) fn leave_out(&mut self, lines: u64) {
        self.left_out += lines;
        self.look_after();
    }

    /// Makes a file that was removed or renamed anew, and tells of what is missing once that can
    /// be told.
    pub(super) fn look_after(&mut self) {
        let path = self.path.clone();
        let _ = storage::LOG.attempt(&path, || {
            self.length()?;
            self.tell_left_out()
        });
    }

    fn tell_left_out(&mut self) -> io::Result<()> {
        if self.left_out > 0 {
            let text = format!(
                "{} lines are missing here: the log file could not be written in time",
                self.left_out
            );
            self.append(&self.format.notice(&text))?;
            self.left_out = 0;
        }
        Ok(())
    }

    fn append(&mut self, line: &str) -> io::Result<()> {
        let length = self.length()?;
        if length > 0 && length + line.len() as u64 > self.rotation.max_bytes {
            self.rotate()?;
            self.length()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        // What was cut short is ended when the file is opened again.
        file.append(line.as_bytes()).inspect_err(|_| self.file = None)
    }

    /// The bytes in the file of the name, which is opened, and made, where it is not ours.
    fn length(&mut self) -> io::Result<u64> {
        if let Some(file) = &self.file
            && let Some(length) = file.length_at(&self.path)?
        {
            return Ok(length);
        }
        self.file = None;
        if let Some(dir) = self.path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        let file = self.file.insert(Appended::open(&self.path)?);
        Ok(file.length_at(&self.path)?.unwrap_or(0))
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
        Ok(())
    }
}

/// The `number`th file before `path`.
pub(super) fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
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

    fn files(dir: &Path, max_bytes: u64) -> Files {
        Files::new(dir, Rotation { max_bytes, files: 3 }, Format::Text)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn files_are_turned_over_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 20);
        for number in 0..10 {
            assert!(files.write(&format!("line number {number}\n")));
        }
        assert_eq!(read(files.path()), "line number 9\n");
        assert_eq!(read(&numbered(files.path(), 1)), "line number 8\n");
        assert_eq!(read(&numbered(files.path(), 2)), "line number 7\n");
        assert!(!numbered(files.path(), 3).exists());
    }

    #[test]
    fn a_file_that_others_took_away_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut files = files(&log, 1000);
        let path = files.path().to_owned();
        assert!(files.write("one\n"));
        fs::remove_file(&path).unwrap();
        assert!(files.write("two\n"));
        assert_eq!(read(&path), "two\n");
        fs::rename(&path, log.join("moved")).unwrap();
        files.look_after();
        assert_eq!(read(&path), "", "without a line that has to be written");
        assert!(files.write("three\n"));
        assert_eq!((read(&path), read(&log.join("moved"))), ("three\n".into(), "two\n".into()));
        fs::remove_dir_all(&log).unwrap();
        assert!(files.write("four\n"));
        assert_eq!(read(&path), "four\n");
        fs::write(&path, "").unwrap();
        assert!(files.write("five\n"));
        assert_eq!(read(&path), "five\n", "cut in place");
    }

    #[test]
    fn what_is_no_file_is_left_alone_and_what_was_missed_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = files(dir.path(), 1000);
        let path = files.path().to_owned();
        fs::create_dir(&path).unwrap();
        assert!(!files.write("one\n"));
        assert!(!files.write("two\n"));
        assert!(storage::LOG.trouble().is_some_and(|text| text.contains("it is a folder")));
        fs::remove_dir(&path).unwrap();
        files.look_after();
        assert_eq!(storage::LOG.trouble(), None);
        assert!(read(&path).contains("2 lines are missing here"), "{}", read(&path));
    }
}
