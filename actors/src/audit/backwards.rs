//! The lines of a file, the last one first, in bounded memory.

use std::{fs::File, io, os::unix::fs::FileExt};

/// Bytes that are read at once.
const PIECE: u64 = 64 << 10;
/// A longer line is none of ours; what is given of it does not parse.
const MAX_LINE: usize = 256 << 10;

pub(super) struct Backwards {
    file: File,
    /// The byte at which `rest` begins.
    at: u64,
    /// What was read and not given yet.
    rest: Vec<u8>,
}

impl Backwards {
    /// What is appended from now on is not read.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let at = file.metadata()?.len();
        Ok(Self { file, at, rest: Vec::new() })
    }

    fn read_piece(&mut self) -> io::Result<()> {
        let length = self.at.min(PIECE);
        let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
        self.file.read_exact_at(&mut piece, self.at - length)?;
        self.at -= length;
        if self.rest.len() > MAX_LINE {
            self.rest.clear();
        }
        piece.append(&mut self.rest);
        self.rest = piece;
        Ok(())
    }
}

impl Iterator for Backwards {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let line = self.rest.split_off(end + 1);
                self.rest.truncate(end);
                if !line.is_empty() {
                    return Some(Ok(line));
                }
            } else if self.at == 0 {
                let first = std::mem::take(&mut self.rest);
                return (!first.is_empty()).then_some(Ok(first));
            } else if let Err(err) = self.read_piece() {
                // Nothing that is further back can be read either.
                self.at = 0;
                self.rest.clear();
                return Some(Err(err));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, text).unwrap();
        let lines = Backwards::new(File::open(path).unwrap()).unwrap();
        lines.map(|line| String::from_utf8(line.unwrap()).unwrap()).collect()
    }

    #[test]
    fn every_line_comes_once_whatever_the_pieces() {
        assert_eq!(lines(b""), [""; 0]);
        assert_eq!(lines(b"\n\n"), [""; 0]);
        assert_eq!(lines(b"one\ntwo\n\nthree"), ["three", "two", "one"]);
        let many: Vec<String> = (0..40_000).map(|number| format!("{number:07}")).collect();
        let mut read = lines(many.join("\n").as_bytes());
        read.reverse();
        assert!(read == many);
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let mut text = b"first\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 3 * MAX_LINE));
        text.extend(b"\nlast\n");
        let read = lines(&text);
        assert_eq!((read[0].as_str(), read[read.len() - 1].as_str()), ("last", "first"));
        assert!(read.iter().all(|line| line.len() < 2 * MAX_LINE));
    }
}
