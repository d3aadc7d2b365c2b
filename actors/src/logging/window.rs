//! The last part of the log, by time.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    time::SystemTime,
};

use time::OffsetDateTime;

use super::{files::numbered, line::time_of};

/// Copies the lines since `since` of the log whose newest file is `path`, oldest first. Blocks.
///
/// # Errors
/// A file cannot be read, or `out` cannot be written.
pub fn copy_window(path: &Path, since: OffsetDateTime, out: &mut dyn Write) -> io::Result<()> {
    let mut reached = false;
    for file in files_since(path, since) {
        let file = match File::open(&file) {
            Ok(file) => file,
            // Turned over meanwhile.
            Err(err) if err.kind() == io::ErrorKind::NotFound => continue,
            Err(err) => return Err(err),
        };
        let mut reader = BufReader::with_capacity(64 << 10, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            // Lines are in the order of time, so one look each until the first that fits.
            reached = reached || time_of(&line).is_some_and(|time| time >= since);
            if reached {
                out.write_all(&line)?;
            }
        }
    }
    Ok(())
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
        let mut out = Vec::new();
        copy_window(&path, since, &mut out).unwrap();
        let expected = format!("2026-01-01T02:00:00Z INFO a new\n{json}");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
