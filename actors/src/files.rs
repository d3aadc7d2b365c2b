//! Files that somebody else may have put there: opened without waiting, and only if they are files.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::{FileTypeExt, OpenOptionsExt},
    path::Path,
};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

/// Opens `path` for reading if it is a regular file. A pipe, a device or a socket in its place
/// never makes the caller wait, and is never read. Symbolic links are followed.
///
/// # Errors
/// It cannot be opened, or it is something else; the text says what.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(
        // A Unix socket cannot be opened at all (ENXIO).
        |err| if err.raw_os_error() == Some(nix::libc::ENXIO) { other("a socket") } else { err },
    )?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(other("a folder"))
    } else if kind.is_fifo() {
        Err(other("a named pipe"))
    } else if kind.is_char_device() || kind.is_block_device() {
        Err(other("a device"))
    } else {
        Err(other("something else"))
    }
}

fn other(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, format!("it is {what}, not a file"))
}

/// Reads a regular file of at most `max` bytes, without waiting. `None` where there is none.
///
/// # Errors
/// It cannot be read, is no regular file, or is larger ([`ErrorKind::FileTooLarge`]).
pub fn read_at_most(path: &Path, max: u64) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = format!("it is larger than {max} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn what_is_no_file_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let socket = dir.path().join("socket");
        let _bound = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for (path, what) in [
            (pipe.as_path(), "a named pipe"),
            (&link, "a named pipe"),
            (dir.path(), "a folder"),
            (&socket, "a socket"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let err = read_at_most(path, 10).unwrap_err();
            assert!(err.to_string().contains(what), "{}: {err}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert!(read_at_most(&path, 3).unwrap().is_none());
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(read_at_most(&path, 3).unwrap().unwrap().as_slice(), b"abc");
        assert_eq!(read_at_most(&path, 2).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
