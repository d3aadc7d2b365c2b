//! Files that somebody else may have put there: opened without waiting, and only if they are files.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt},
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

/// A file of our own that is appended to for a long time, while others may remove, rename or
/// replace it.
#[derive(Debug)]
pub struct Appended {
    file: File,
    device: u64,
    inode: u64,
}

impl Appended {
    /// Opens `path`, mode 0600, or makes it. Anything else than a file in its place is left alone,
    /// a symbolic link too. What a crash has cut short in its last line is ended, so that the next
    /// line is not glued to it.
    ///
    /// # Errors
    /// It cannot be opened, or it is something else; the text says what.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let mut options = OpenOptions::new();
        let options = options.create(true).read(true).append(true).mode(0o600);
        let opened = options.custom_flags(flags.bits()).open(path);
        let mut file = opened.map_err(|err| match err.raw_os_error() {
            Some(nix::libc::ELOOP) => other("a symbolic link"),
            Some(nix::libc::EISDIR) => other("a folder"),
            Some(nix::libc::ENXIO) => other("a socket or a pipe"),
            _ => err,
        })?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(other("a pipe or a device"));
        }
        let mut last = [b'\n'];
        if found.len() > 0 {
            file.read_exact_at(&mut last, found.len() - 1)?;
        }
        if last != [b'\n'] {
            file.write_all(b"\n")?;
        }
        Ok(Self { file, device: found.dev(), inode: found.ino() })
    }

    /// The bytes in the file; `None` once another file, or none, has its name.
    ///
    /// # Errors
    /// The name cannot be looked up.
    pub fn length_at(&self, path: &Path) -> io::Result<Option<u64>> {
        match path.symlink_metadata() {
            Ok(found) => {
                let same = found.dev() == self.device && found.ino() == self.inode;
                Ok(same.then_some(found.len()))
            }
            Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(err) => Err(err),
        }
    }

    /// Appends all of `bytes`. On an error some of them may be there.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Takes back what was appended after the first `length` bytes.
    ///
    /// # Errors
    /// It cannot be taken back.
    pub fn cut_to(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    /// Makes what was appended durable. Blocks.
    ///
    /// # Errors
    /// The disk cannot.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
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
    fn a_file_that_is_appended_to_notices_that_its_name_was_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "half a li").unwrap();
        let mut file = Appended::open(&path).unwrap();
        file.append(b"a line\n").unwrap();
        assert_eq!(file.length_at(&path).unwrap(), Some(17));
        assert_eq!(std::fs::read(&path).unwrap(), b"half a li\na line\n");
        file.cut_to(10).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"half a li\n");
        std::fs::rename(&path, dir.path().join("older")).unwrap();
        assert_eq!(file.length_at(&path).unwrap(), None, "renamed");
        std::fs::write(&path, "").unwrap();
        assert_eq!(file.length_at(&path).unwrap(), None, "replaced");
    }

    #[test]
    fn nothing_but_a_file_is_appended_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        std::fs::write(path("elsewhere"), "").unwrap();
        std::os::unix::fs::symlink(path("elsewhere"), path("link")).unwrap();
        let _bound = UnixListener::bind(path("socket")).unwrap();
        for name in ["pipe", "folder", "link", "socket"] {
            let err = Appended::open(&path(name)).unwrap_err();
            assert_eq!(err.kind(), ErrorKind::InvalidInput, "{name}: {err}");
        }
        assert_eq!(std::fs::read(path("elsewhere")).unwrap(), b"");
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
