//! Space kept in advance: on a disk that somebody else has filled, a commit gives it up and has
//! room, so that a password can be changed and a reset done whoever filled the disk. The same for the
//! inodes of its files.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::fcntl::{OFlag, posix_fallocate};

/// How much it is at best. A revision is some tens of kilobytes; its certificate and its key could be
/// 4 MiB each.
const BEST: u64 = 8 << 20;
/// Where there is no room for all of it, as many steps of it as there is room for are kept: little
/// more than a change has taken is lost with each change on a full disk.
const STEP: usize = 64 << 10;

/// How many inodes are kept. A revision takes a dozen, so that there is enough for some changes
/// while somebody else takes each that an old revision gives back.
const INODES: usize = 128;

/// A file of allocated blocks and a folder of empty files, worth nothing but their room.
#[derive(Debug)]
pub(super) struct Ballast {
    blocks: PathBuf,
    inodes: PathBuf,
}

impl Ballast {
    /// In the folder of the state, so that it lies on the same disk.
    pub(super) fn new(state: &Path) -> Self {
        Self { blocks: state.join("reserve"), inodes: state.join("reserve-inodes") }
    }

    /// Makes it as large as it can be. Cheap where that was done before.
    pub(super) fn fill(&self) {
        let filled = [(&self.blocks, self.fill_blocks()), (&self.inodes, self.fill_inodes())];
        for (path, filled) in filled {
            if let Err(err) = filled {
                log::debug!("no space can be kept in advance in {}: {err}", path.display());
            }
        }
    }

    /// Whether there was some room to give up.
    pub(super) fn give_up(&self) -> bool {
        let blocks = fs::remove_file(&self.blocks).is_ok();
        // Not through a link, which would be none of ours.
        let inodes = fs::symlink_metadata(&self.inodes).is_ok_and(|found| found.is_dir())
            && fs::remove_dir_all(&self.inodes).is_ok();
        let given = blocks || inodes;
        if given {
            log::warn!("the disk is full: the change goes into the space kept in advance for it");
        }
        given
    }

    fn fill_inodes(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.inodes) {
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if !fs::symlink_metadata(&self.inodes)?.is_dir() {
            return Err(io::Error::other("something else is in its place"));
        }
        if fs::read_dir(&self.inodes)?.count() >= INODES {
            return Ok(());
        }
        for number in 0..INODES {
            let path = self.inodes.join(number.to_string());
            match OpenOptions::new().create_new(true).write(true).mode(0o600).open(path) {
                Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
                made => drop(made?),
            }
        }
        Ok(())
    }

    fn fill_blocks(&self) -> io::Result<()> {
        let allocated = |file: &File| file.metadata().map(|facts| facts.blocks() * 512);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
            .open(&self.blocks)?;
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
        assert_eq!(fs::read_dir(dir.path().join("reserve-inodes")).unwrap().count(), INODES);
        assert!(ballast.give_up() && !ballast.give_up());
    }

    #[test]
    fn what_lies_in_its_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let other = dir.path().join("other");
        fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, dir.path().join("reserve")).unwrap();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("precious"), "").unwrap();
        std::os::unix::fs::symlink(&folder, dir.path().join("reserve-inodes")).unwrap();
        let ballast = Ballast::new(dir.path());
        ballast.fill();
        ballast.give_up();
        assert_eq!(fs::read(&other).unwrap(), b"precious");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
