//! A child process with everything that it says and uses.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A child whose standard error is kept, and which does not outlive its owner.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("spawn the service");
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, copy) = (child.stderr.take().expect("piped"), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while matches!(lines.read_until(b'\n', &mut line), Ok(1..)) {
                copy.lock().expect("log").push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        Self { child, log, reader: Some(reader) }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("log").clone()
    }

    /// Everything it said; only for one that has ended.
    pub(crate) fn whole_log(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("log reader");
        }
        self.log()
    }

    /// What the process uses at this moment.
    pub(crate) fn usage(&self) -> Usage {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let status = std::fs::read_to_string(proc.join("status")).expect("status");
        let number = |key: &str| {
            let line = status.lines().find(|line| line.starts_with(key));
            let digits = line.and_then(|line| line.split_whitespace().nth(1));
            digits.and_then(|digits| digits.parse().ok()).expect("a number in /proc status")
        };
        Usage {
            threads: number("Threads:"),
            descriptors: std::fs::read_dir(proc.join("fd")).expect("descriptors").count(),
            resident_kib: number("VmRSS:"),
            peak_kib: number("VmHWM:"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(60).collect::<Vec<_>>();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            eprintln!("---- the service's last words ----\n{tail}\n----");
        }
    }
}

/// Threads, descriptors and memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident_kib: usize,
    pub(crate) peak_kib: usize,
}
