//! The operator at the machine itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::service::{Installation, Program, Service};

/// `portcullis console` on one data directory.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    program: Program,
    data_dir: PathBuf,
}

impl Console {
    pub(crate) fn new(program: Program, data_dir: &Path) -> Self {
        Self { program, data_dir: data_dir.to_owned() }
    }

    /// The command that runs these words.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.program.path());
        command.arg("console").arg("--data-dir").arg(&self.data_dir).args(words);
        command.env_remove("RUST_LOG");
        command
    }

    /// Runs these words with nothing on standard input.
    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.run_with(words, "")
    }

    /// Runs these words with something on standard input.
    pub(crate) fn run_with(&self, words: &[&str], stdin: &str) -> Said {
        said(self.command(words), stdin)
    }

    /// Runs these words, which must be done.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> Said {
        self.run(words).expect(0)
    }

    /// Sets the password as a script would.
    #[track_caller]
    pub(crate) fn set_password(&self, password: &str) {
        self.run_with(&["set-password"], &format!("{password}\n")).expect(0);
    }

    /// `status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.done(&["--json", "status"]).json()
    }

    /// The number of the current revision, from `history --json`.
    #[track_caller]
    pub(crate) fn current_revision(&self) -> u64 {
        let history = self.done(&["--json", "history"]).json();
        let revisions = history["revisions"].as_array().expect("a list of revisions");
        let mut current = revisions.iter().filter(|revision| revision["current"] == true);
        let number = current.next().and_then(|revision| revision["revision"].as_u64());
        assert!(current.next().is_none(), "two are current: {history}");
        number.expect("a current revision")
    }
}

/// Runs a command to its end.
pub(crate) fn said(mut command: Command, stdin: &str) -> Said {
    let words = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary");
    // One that refuses at once does not read what it is sent.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("the end of the command");
    Said {
        words,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a command said, and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    words: String,
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// Fails with everything it said when the exit code is another.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}{}", self.words, self.stdout, self.stderr);
        self
    }

    /// A refusal: exit code 1 and one line on standard error, which this gives.
    #[track_caller]
    pub(crate) fn refusal(self) -> String {
        let said = self.expect(1);
        assert_eq!(said.stderr.lines().count(), 1, "not one line: {:?}", said.stderr);
        assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
        said.stderr
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let parsed = serde_json::from_str(&self.stdout);
        parsed.unwrap_or_else(|err| panic!("{}: {err} in {:?}", self.words, self.stdout))
    }
}

/// An appliance for the console, running or stopped.
pub(crate) enum Machine {
    Running(Box<Service>),
    Stopped(Box<Installation>),
}

impl Machine {
    /// One of each kind, both on the files of a first start.
    pub(crate) fn both() -> [Self; 2] {
        let running = Service::portcullis().start();
        let stopped = Service::portcullis().start().stop();
        [Self::Running(Box::new(running)), Self::Stopped(Box::new(stopped))]
    }

    pub(crate) fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }

    pub(crate) fn console(&self) -> Console {
        match self {
            Self::Running(service) => service.console(),
            Self::Stopped(installation) => installation.console(),
        }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        match self {
            Self::Running(service) => service.data_dir(),
            Self::Stopped(installation) => installation.data_dir(),
        }
    }

    /// The service as clients see it: started if it was stopped, untouched if it ran.
    pub(crate) fn serving(self) -> Service {
        match self {
            Self::Running(service) => *service,
            Self::Stopped(installation) => installation.start(),
        }
    }
}
