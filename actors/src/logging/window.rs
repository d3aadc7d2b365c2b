//! The last part of the log, by time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    time::SystemTime,
};

use time::OffsetDateTime;

use super::{files::numbered, line::time_of};
use crate::files::open_regular;

/// The lines since a time, oldest first, read as they are asked for: one file is open at a time,
/// and none before the first read. All of it blocks.
#[derive(Debug)]
pub struct Window {
    files: std::vec::IntoIter<PathBuf>,
    since: OffsetDateTime,
    /// Whether a line since then was seen; lines are in the order of time.
    reached: bool,
    file: Option<BufReader<File>>,
    line: Vec<u8>,
    /// Bytes of `line` that were given out.
    given: usize,
}

impl Window {
    /// The lines since `since` of the log whose newest file is `path`.
    #[must_use]
    pub fn new(path: &Path, since: OffsetDateTime) -> Self {
        let files = files_since(path, since).into_iter();
        Self { files, since, reached: false, file: None, line: Vec::new(), given: 0 }
    }

    /// Whole lines, `bytes` and the rest of a line at most; nothing at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn lines(&mut self, bytes: usize) -> io::Result<Vec<u8>> {
        let mut lines = Vec::new();
        while lines.len() < bytes && self.next_line()? {
            lines.extend_from_slice(&self.line);
            self.given = self.line.len();
        }
        Ok(lines)
    }

    /// Reads the next line that belongs to the window; `false` at the end.
    fn next_line(&mut self) -> io::Result<bool> {
        self.given = 0;
        loop {
            self.line.clear();
            let Some(file) = &mut self.file else {
                let Some(path) = self.files.next() else { return Ok(false) };
                self.file = match open_regular(&path) {
                    Ok(file) => Some(BufReader::with_capacity(64 << 10, file)),
                    // Turned over meanwhile.
                    Err(err) if err.kind() == io::ErrorKind::NotFound => None,
                    Err(err) => return Err(err),
                };
                continue;
            };
            if file.read_until(b'\n', &mut self.line)? == 0 {
                self.file = None;
                continue;
            }
            // One look each until the first that fits.
            self.reached = self.reached || time_of(&self.line).is_some_and(|at| at >= self.since);
            if self.reached {
                return Ok(true);
            }
        }
    }
}

impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() || self.given == self.line.len() && !self.next_line()? {
            return Ok(0);
        }
        let part = (self.line.len() - self.given).min(out.len());
        out[..part].copy_from_slice(&self.line[self.given..self.given + part]);
        self.given += part;
        Ok(part)
    }
}

/// The files that were written to since then, oldest first.
fn files_since(path: &Path, since: OffsetDateTime) -> Vec<PathBuf> {
    let since = SystemTime::from(since);
    let mut files = vec![path.to_owned()];
    for number in 1.. {
        let file = numbered(path, number);
        let recent = file.metadata().and_then(|data| data.modified()).is_ok_and(|at| at >= since);
        if !recent {
            break;
        }
        files.push(file);
    }
    files.reverse();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_begins_inside_a_file_and_spans_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("portcullis.log");
        let old = "2026-01-01T00:00:00Z INFO a old\n2026-01-01T02:00:00Z INFO a new\n";
        std::fs::write(numbered(&path, 1), old).unwrap();
        let json = "{\"time\":\"2026-01-01T03:00:00Z\",\"msg\":\"newer\"}\n";
        std::fs::write(&path, json).unwrap();
        let since = OffsetDateTime::from_unix_timestamp(1_767_229_200).unwrap();
        let expected = format!("2026-01-01T02:00:00Z INFO a new\n{json}");
        let mut read = String::new();
        Window::new(&path, since).read_to_string(&mut read).unwrap();
        assert_eq!(read, expected);
        let mut window = Window::new(&path, since);
        let first = window.lines(1).unwrap();
        assert_eq!(first, b"2026-01-01T02:00:00Z INFO a new\n", "lines are whole");
        assert_eq!([first, window.lines(1 << 20).unwrap()].concat(), expected.as_bytes());
        assert!(window.lines(1).unwrap().is_empty());
    }
}
