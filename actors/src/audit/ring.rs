//! One ring of files: the current one and those that were set aside, the oldest of which goes.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use crate::files::{Appended, open_regular};

/// What a ring is called and how much it holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// `audit` for `audit.jsonl` and `audit.1.jsonl`.
    pub(super) stem: &'static str,
    /// Bytes after which the current file is set aside.
    pub(super) max_bytes: u64,
    /// Files that were set aside and are kept.
    pub(super) kept: u32,
    /// Whether what was appended has to survive a power cut.
    pub(super) durable: bool,
}

impl Shape {
    pub(super) fn current(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.jsonl", self.stem))
    }

    fn set_aside(&self, folder: &Path, number: u32) -> PathBuf {
        folder.join(format!("{}.{number}.jsonl", self.stem))
    }

    /// Opens the files that there are, the newest first.
    pub(super) fn open(&self, folder: &Path) -> Vec<io::Result<File>> {
        let older = (1..=self.kept).map(|number| self.set_aside(folder, number));
        let files = std::iter::once(self.current(folder)).chain(older);
        let is_there = |file: &io::Result<File>| !matches!(file, Err(err) if err.kind() == io::ErrorKind::NotFound);
        files.map(|path| open_regular(&path)).filter(is_there).collect()
    }

    fn rotate(&self, folder: &Path) -> io::Result<()> {
        for number in (1..self.kept).rev() {
            rename(&self.set_aside(folder, number), &self.set_aside(folder, number + 1))?;
        }
        rename(&self.current(folder), &self.set_aside(folder, 1))
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

/// The writing end of a ring.
#[derive(Debug)]
pub(super) struct Ring {
    shape: Shape,
    folder: PathBuf,
    path: PathBuf,
    file: Option<Appended>,
}

impl Ring {
    pub(super) fn new(shape: Shape, folder: &Path) -> Self {
        Self { shape, folder: folder.to_owned(), path: shape.current(folder), file: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is(&self, shape: Shape) -> bool {
        self.shape.stem == shape.stem
    }

    /// Appends the lines if there are any, and looks after the file in any case.
    pub(super) fn put(&mut self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() { self.length().map(drop) } else { self.append(lines) }
    }

    /// The bytes in the file of the name, which is opened, and made, where it is not ours any more.
    pub(super) fn length(&mut self) -> io::Result<u64> {
        if let Some(file) = &self.file
            && let Some(length) = file.length_at(&self.path)?
        {
            return Ok(length);
        }
        self.file = None;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let file = self.file.insert(Appended::open(&self.path)?);
        Ok(file.length_at(&self.path)?.unwrap_or(0))
    }

    /// Appends whole lines. On an error none of them is there, as far as that can be had.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut length = self.length()?;
        if length > 0 && length + lines.len() as u64 > self.shape.max_bytes {
            self.shape.rotate(&self.folder)?;
            length = self.length()?;
        }
        let Some(file) = &mut self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let durable = self.shape.durable;
        let written = file.append(lines).and_then(|()| if durable { file.sync() } else { Ok(()) });
        if written.is_err() {
            // Else they would be there twice. What cannot be taken back is ended as a line when the
            // file is opened again.
            let _ = file.cut_to(length);
            self.file = None;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { stem: "ring", max_bytes: 20, kept: 2, durable: true };

    fn read(path: PathBuf) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_ring_turns_over_and_loses_the_oldest_file() {
        let dir = tempfile::tempdir().unwrap();
        let mut ring = Ring::new(SHAPE, dir.path());
        for number in 0..8 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(read(ring.path.clone()), "line 6\nline 7\n");
        assert_eq!(read(SHAPE.set_aside(dir.path(), 1)), "line 4\nline 5\n");
        assert_eq!(read(SHAPE.set_aside(dir.path(), 2)), "line 2\nline 3\n");
        assert_eq!(SHAPE.open(dir.path()).len(), 3);
        // One that somebody took away does not stop the others.
        fs::remove_file(SHAPE.set_aside(dir.path(), 1)).unwrap();
        for number in 8..12 {
            ring.append(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert_eq!(read(SHAPE.set_aside(dir.path(), 2)), "line 6\nline 7\n");
    }

    #[test]
    fn files_and_folders_that_were_taken_away_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("audit");
        let mut ring = Ring::new(SHAPE, &folder);
        ring.append(b"one\n").unwrap();
        fs::remove_file(&ring.path).unwrap();
        ring.append(b"two\n").unwrap();
        assert_eq!(read(ring.path.clone()), "two\n");
        fs::rename(&folder, dir.path().join("older")).unwrap();
        assert_eq!(ring.length().unwrap(), 0, "without a line");
        ring.append(b"three\n").unwrap();
        assert_eq!(read(ring.path.clone()), "three\n");
    }

    #[test]
    fn what_is_no_file_is_left_alone_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        fs::write(&elsewhere, "").unwrap();
        let mut ring = Ring::new(SHAPE, dir.path());
        std::os::unix::fs::symlink(&elsewhere, &ring.path).unwrap();
        assert!(ring.append(b"one\n").is_err());
        assert_eq!(read(elsewhere), "");
        fs::remove_file(&ring.path).unwrap();
        ring.append(b"one\n").unwrap();
        assert_eq!(read(ring.path.clone()), "one\n");
    }
}
