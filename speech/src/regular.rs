//! Files that the configuration names: opened without waiting, and only if they are files.

use std::{
    fs::{File, OpenOptions},
    io::{Error, ErrorKind, Read, Result},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use nix::fcntl::OFlag;

/// More is neither a token nor a list of certificates.
const MAX_TEXT: u64 = 4 << 20;

/// Opens a regular file; a pipe in its place would make the caller wait for ever.
pub(crate) fn open(path: &Path) -> Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(Error::new(ErrorKind::InvalidInput, "it is a folder, a pipe or a device, not a file"))
}

/// Reads one of a bounded size.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_TEXT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_TEXT {
        return Err(Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {MAX_TEXT} bytes"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_a_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [pipe.as_path(), dir.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let file = dir.path().join("file");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(read(&file).unwrap(), b"abc");
        File::options().write(true).open(&file).unwrap().set_len(MAX_TEXT + 1).unwrap();
        assert_eq!(read(&file).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }
}
