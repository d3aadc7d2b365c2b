//! A disk of the service's own, as small as the test wants it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::service::{Service, Setup};

/// What all that clients send leaves free there.
pub(crate) const RESERVE: u64 = 128 << 20;

/// Puts a disk of so many mebibytes, and of `inodes` files where that is given, below `folder` of
/// the installation; `None` where nothing can be mounted.
pub(crate) fn on_a_small_disk(
    setup: Setup,
    folder: &str,
    mebibytes: usize,
    inodes: Option<usize>,
) -> Option<Setup> {
    let may = |how: &&str| {
        let try_it = [how, "mount", "-t", "tmpfs", "none", "/mnt"];
        Command::new("unshare").args(try_it).status().is_ok_and(|status| status.success())
    };
    // As root, or as root of a namespace of its own.
    let Some(unshare) = ["-m", "-rm"].into_iter().find(may) else {
        eprintln!("no file system can be mounted here: nothing was tried");
        return None;
    };
    let inodes = inodes.map_or_else(String::new, |count| format!(",nr_inodes={count}"));
    let script = format!(
        "mkdir -p {folder} && mount -t tmpfs -o size={mebibytes}m{inodes} none {folder} && exec \"$@\""
    );
    Some(setup.wrapper(&["unshare", unshare, "sh", "-c", &script, "sh"]))
}

/// A path below the installation as the service sees it, on its own disk.
pub(crate) fn seen_by(service: &Service, path: &str) -> PathBuf {
    let inside = service.path().join(path);
    let inside = inside.strip_prefix("/").expect("an absolute path");
    Path::new("/proc").join(service.pid().to_string()).join("root").join(inside)
}

/// Writes into a file there until the disk is full to its last byte.
pub(crate) fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file on the small disk");
    let block = vec![1; 1 << 16];
    let full = loop {
        if let Err(err) = file.write_all(&block) {
            break err;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    // The last page of it may have been half full.
    while file.write_all(&[1]).is_ok() {}
}

/// Bytes that may still be written where this path lies.
pub(crate) fn free(path: &Path) -> u64 {
    let facts = nix::sys::statvfs::statvfs(path).expect("a file system");
    facts.blocks_available() * facts.fragment_size()
}
