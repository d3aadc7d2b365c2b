//! A machine on which the clock is wrong or the disk fails, played by a preloaded library.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use tempfile::TempDir;

/// The knobs of one preloaded process. `shim.c` says what they do.
pub(crate) struct Shim {
    dir: TempDir,
}

/// The library, built once for the process of the test.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().expect("tempdir");
        let source = dir.path().join("shim.c");
        std::fs::write(&source, include_str!("shim.c")).expect("write the source");
        let library = dir.path().join("shim.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .status()
            .expect("run cc");
        assert!(built.success(), "the shim does not build");
        (dir, library)
    });
    path
}

impl Shim {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("tempdir") }
    }

    /// Lets `command` run on the machine of this shim; the disk that can fail is `disk`.
    pub(crate) fn attach(&self, command: &mut Command, disk: &Path) {
        command
            .env("LD_PRELOAD", library())
            .env("SHIM_CLOCK", self.file("clock"))
            .env("SHIM_BROKEN", self.file("broken"))
            .env("SHIM_HANGING", self.file("hanging"))
            .env("SHIM_DEAF", self.file("deaf"))
            .env("SHIM_DIR", disk);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets the wall clock `seconds` off the right time.
    pub(crate) fn set_clock_off_by(&self, seconds: i64) {
        self.put("clock", &seconds.to_string());
    }

    /// From now on every change below the disk's folder fails with this number of an error.
    pub(crate) fn break_disk(&self, errno: nix::errno::Errno) {
        self.put("broken", &(errno as i32).to_string());
    }

    pub(crate) fn mend_disk(&self) {
        std::fs::remove_file(self.file("broken")).expect("the disk was broken");
    }

    /// From now on whoever changes something on the disk waits, or goes on.
    pub(crate) fn hang_disk(&self, hangs: bool) {
        self.put("hanging", if hangs { "1" } else { "0" });
    }

    /// From now on each thread that reads from a socket hangs there, or goes on.
    pub(crate) fn hang_readers(&self, hang: bool) {
        self.put("deaf", if hang { "1" } else { "0" });
    }

    /// The same for each thread but the main one, which the owners share with the signals.
    pub(crate) fn hang_workers(&self) {
        self.put("deaf", "2");
    }

    /// Whole from its first instant.
    fn put(&self, name: &str, text: &str) {
        let fresh = self.file("fresh");
        std::fs::write(&fresh, text).expect("write");
        std::fs::rename(&fresh, self.file(name)).expect("rename");
    }
}
