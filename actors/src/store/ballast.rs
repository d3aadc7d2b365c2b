//! Space kept in advance: on a disk that somebody else has filled, a commit gives it up and has
//! room, so that a password can be changed and a reset done whoever filled the disk.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, posix_fallocate};

/// How much it is at best. A revision is some tens of kilobytes; its certificate and its key could be
/// 4 MiB each.
const BEST: u64 = 8 << 20;
/// Where there is no room for all of it, as many steps of it as there is room for are kept: little
/// more than a change has taken is lost with each change on a full disk.
const STEP: usize = 64 << 10;

/// A file of allocated blocks, worth nothing but its room.
#[derive(Debug)]
pub(super) struct Ballast(PathBuf);

impl Ballast {
    /// In the folder of the state, so that it lies on the same disk.
    pub(super) fn new(state: &Path) -> Self {
        Self(state.join("reserve"))
    }

    /// Makes it as large as it can be. Cheap where that was done before.
    pub(super) fn fill(&self) {
        if let Err(err) = self.try_fill() {
            log::debug!("no space can be kept in advance in {}: {err}", self.0.display());
        }
    }

    /// Whether there was some room to give up.
    pub(super) fn give_up(&self) -> bool {
        let given = fs::remove_file(&self.0);
        if given.is_ok() {
            log::warn!("the disk is full: the change goes into the space kept in advance for it");
        }
        given.is_ok()
    }

    fn try_fill(&self) -> io::Result<()> {
        let allocated = |file: &File| file.metadata().map(|facts| facts.blocks() * 512);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&self.0)?;
        let before = allocated(&file)?;
        let mut failure = None;
        for size in (STEP as u64..=BEST).rev().step_by(STEP) {
            if before >= size {
                return Ok(());
            }
            let length = size.try_into().map_err(io::Error::other)?;
            match posix_fallocate(&file, 0, length) {
                Ok(()) => return Ok(()),
                Err(err) => failure = Some(io::Error::from(err)),
            }
            // A part of it may have been allocated, and others need that now.
            file.set_len(before)?;
        }
        failure.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_really_taken_and_given_up_once() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path());
        assert!(!ballast.give_up(), "there was none");
        ballast.fill();
        let facts = fs::metadata(dir.path().join("reserve")).unwrap();
        assert!(facts.blocks() * 512 >= BEST, "{} blocks", facts.blocks());
        assert_eq!(facts.mode() & 0o777, 0o600);
        assert!(ballast.give_up() && !ballast.give_up());
    }

    #[test]
    fn what_lies_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("reserve")).unwrap();
        Ballast::new(dir.path()).fill();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
    }
}
