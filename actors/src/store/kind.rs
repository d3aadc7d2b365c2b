//! What lies at a path.

use std::{fs, io::ErrorKind, os::unix::fs::FileTypeExt, path::Path};

use super::{StoreError, io};

/// What lies at a path; links are followed, unless they lead nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    Pipe,
    DanglingLink,
    Other,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Folder => "a folder",
            Self::Pipe => "a named pipe",
            Self::DanglingLink => "a symbolic link that leads nowhere",
            Self::Other => "something else",
        })
    }
}

pub(super) fn kind(path: &Path) -> Result<Option<Kind>, StoreError> {
    let found = match fs::metadata(path) {
        Ok(found) => found.file_type(),
        Err(err) if err.kind() == ErrorKind::NotFound => {
            return Ok(fs::symlink_metadata(path).is_ok().then_some(Kind::DanglingLink));
        }
        // A file where a folder above it should be: what is above is told first.
        Err(err) if err.kind() == ErrorKind::NotADirectory => return Ok(None),
        Err(source) => return Err(io("look at", path)(source)),
    };
    Ok(Some(if found.is_file() {
        Kind::File
    } else if found.is_dir() {
        Kind::Folder
    } else if found.is_fifo() {
        Kind::Pipe
    } else {
        Kind::Other
    }))
}
