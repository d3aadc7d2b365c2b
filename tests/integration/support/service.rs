//! The binary under test, started with a data directory and ports of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tempfile::TempDir;

use super::console::Console;
use super::process::{Process, Usage};
use super::{seconds, wait_until_blocking};

/// How long a start may take, first key pair included, on a busy machine.
const START_DEADLINE: Duration = seconds(30);

/// Which program serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The appliance itself.
    Portcullis,
    /// The example with the echo service beside the built-in ones.
    Echo,
    /// The example with services that have all that a service can have.
    Notes,
    /// The example with own and built-in services on five ports.
    Combined,
}

impl Program {
    /// The environment names the binary, or it lies where cargo puts it beside this test.
    pub(crate) fn path(self) -> PathBuf {
        let (variable, relative) = match self {
            Program::Portcullis => ("PORTCULLIS_BIN", "portcullis"),
            Program::Echo => ("PORTCULLIS_ECHO", "examples/echo"),
            Program::Notes => ("PORTCULLIS_NOTES", "examples/notes"),
            Program::Combined => ("PORTCULLIS_COMBINED", "examples/combined"),
        };
        if let Some(path) = std::env::var_os(variable) {
            return path.into();
        }
        let test = std::env::current_exe().expect("the test knows its own path");
        let profile = test.parent().and_then(Path::parent).expect("tests lie in target/*/deps");
        let path = profile.join(relative);
        assert!(path.exists(), "{} is not built; name it in {variable}", path.display());
        path
    }
}

/// One listener as the ready file tells it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ReadyListener {
    pub(crate) name: String,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) tls: bool,
}

/// The ready file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) pid: u32,
    pub(crate) listeners: Vec<ReadyListener>,
}

/// What a test asks of the service before it starts.
pub(crate) struct Setup {
    program: Program,
    settings: String,
    listeners: Option<String>,
    wrapper: Vec<String>,
    log_level: &'static str,
}

impl Setup {
    /// Adds top-level lines to the configuration.
    pub(crate) fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self.settings.push('\n');
        self
    }

    /// Replaces the usual four listeners.
    pub(crate) fn listeners(mut self, toml: &str) -> Self {
        self.listeners = Some(toml.to_owned());
        self
    }

    /// Puts a command in front of the binary, `sh -c '... exec "$@"' sh` for instance.
    pub(crate) fn wrapper(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Lets the log carry warnings and errors alone.
    pub(crate) fn quiet(mut self) -> Self {
        self.log_level = "warn";
        self
    }

    /// Lets the log carry everything that helps to find a fault.
    pub(crate) fn verbose(mut self) -> Self {
        self.log_level = "debug";
        self
    }

    /// Lets the log carry everything there is, that of every library included.
    pub(crate) fn traced(mut self) -> Self {
        self.log_level = "trace";
        self
    }

    /// Lays out the folder without starting anything.
    pub(crate) fn prepare(self) -> Installation {
        let dir = tempfile::Builder::new().prefix("portcullis-test-").tempdir().expect("tempdir");
        let listeners = self.listeners.unwrap_or_else(|| usual_listeners(self.program));
        let config = format!("{}\n{listeners}", self.settings);
        std::fs::write(dir.path().join("portcullis.toml"), config).expect("write configuration");
        std::fs::create_dir(dir.path().join("data")).expect("create data directory");
        Installation {
            dir,
            program: self.program,
            wrapper: self.wrapper,
            log_level: self.log_level,
        }
    }

    /// Starts the service and waits until every port accepts.
    pub(crate) fn start(self) -> Service {
        self.prepare().start()
    }
}

/// A plain and a TLS listener for everything, and a pair for the echo service alone.
fn usual_listeners(program: Program) -> String {
    let listener = |name: &str, extra: &str, services: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [{services}]\n\n"
        )
    };
    match program {
        Program::Portcullis => {
            let services = r#""security", "management""#;
            listener("http", "redirect_to = \"https\"", services)
                + &listener("https", "tls = true", services)
        }
        Program::Combined => listener("https", "tls = true", r#""management", "board""#),
        Program::Notes => listener("https", "tls = true", r#""management", "notes""#),
        Program::Echo => {
            let services = r#""security", "management", "echo""#;
            listener("http", "redirect_to = \"https\"", services)
                + &listener("https", "tls = true", services)
                + &listener("ws", "redirect_to = \"wss\"", r#""echo""#)
                + &listener("wss", "tls = true", r#""echo""#)
        }
    }
}

/// A configuration and a data directory, with nothing running on them.
pub(crate) struct Installation {
    dir: TempDir,
    program: Program,
    wrapper: Vec<String>,
    log_level: &'static str,
}

impl Installation {
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("portcullis.toml")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The operator at this machine.
    pub(crate) fn console(&self) -> Console {
        Console::new(self.program, &self.data_dir())
    }

    fn ready_file(&self) -> PathBuf {
        self.dir.path().join("ready.json")
    }

    /// The command that runs the service here.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.wrapper.iter().map(Into::into).collect::<Vec<std::ffi::OsString>>();
        words.push(self.program.path().into());
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(self.config_file())
            .arg("--data-dir")
            .arg(self.data_dir())
            .arg("--ready-file")
            .arg(self.ready_file())
            .current_dir(self.dir.path())
            .env("RUST_LOG", self.log_level)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// Starts the service and waits until every port accepts.
    pub(crate) fn start(self) -> Service {
        match self.try_start() {
            Ok(service) => service,
            Err(refused) => {
                panic!("refused to start, {}:\n{}", refused.status, refused.stderr)
            }
        }
    }

    /// Starts the service, or tells how it refused.
    pub(crate) fn try_start(self) -> Result<Service, Box<Refused>> {
        let command = self.command();
        self.try_start_by(command)
    }

    /// The same with a command that [`Self::command`] gave and the test has changed.
    pub(crate) fn try_start_by(self, command: Command) -> Result<Service, Box<Refused>> {
        let _ = std::fs::remove_file(self.ready_file());
        let begun = Instant::now();
        let mut process = Process::spawn(command);
        loop {
            if let Ok(text) = std::fs::read(self.ready_file()) {
                let ready = serde_json::from_slice(&text)
                    .expect("the ready file is whole from its first moment");
                return Ok(Service { installation: Some(self), process, ready });
            }
            if let Some(status) = process.child.try_wait().expect("wait for the service") {
                let stderr = process.whole_log();
                return Err(Box::new(Refused {
                    installation: self,
                    status,
                    stderr,
                    after: begun.elapsed(),
                }));
            }
            if begun.elapsed() > START_DEADLINE {
                panic!("no ready file within {START_DEADLINE:?}:\n{}", process.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// How a service ended instead of starting.
pub(crate) struct Refused {
    pub(crate) installation: Installation,
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) after: Duration,
}

/// The service, running. Dropping it kills it.
pub(crate) struct Service {
    installation: Option<Installation>,
    process: Process,
    ready: Ready,
}

impl Service {
    /// The echo appliance with its usual listeners.
    pub(crate) fn echo() -> Setup {
        Self::setup(Program::Echo)
    }

    /// The appliance with a board on five ports.
    pub(crate) fn combined() -> Setup {
        Self::setup(Program::Combined)
    }

    /// The appliance with notes.
    pub(crate) fn notes() -> Setup {
        Self::setup(Program::Notes)
    }

    /// The appliance itself.
    pub(crate) fn portcullis() -> Setup {
        Self::setup(Program::Portcullis)
    }

    fn setup(program: Program) -> Setup {
        Setup {
            program,
            settings: String::new(),
            listeners: None,
            wrapper: Vec::new(),
            log_level: "info",
        }
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) fn port(&self, listener: &str) -> u16 {
        self.ready
            .listeners
            .iter()
            .find(|candidate| candidate.name == listener)
            .unwrap_or_else(|| panic!("no listener {listener} in {:?}", self.ready))
            .address
            .port()
    }

    /// Every port that speaks TLS.
    pub(crate) fn tls_ports(&self) -> Vec<u16> {
        let tls = self.ready.listeners.iter().filter(|listener| listener.tls);
        tls.map(|listener| listener.address.port()).collect()
    }

    /// `https://127.0.0.1:PORT/path`, or with `http` as the listener asks.
    pub(crate) fn url(&self, listener: &str, path: &str) -> String {
        let tls = self.ready.listeners.iter().any(|known| known.name == listener && known.tls);
        let scheme = if tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}{path}", self.port(listener))
    }

    fn installation(&self) -> &Installation {
        self.installation.as_ref().expect("taken only when the service is consumed")
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.installation().data_dir()
    }

    /// The operator at this machine.
    pub(crate) fn console(&self) -> Console {
        self.installation().console()
    }

    /// A folder that goes away with the service.
    pub(crate) fn path(&self) -> &Path {
        self.installation().path()
    }

    /// What the service has said so far.
    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("signal the service");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.child.id()).expect("a pid"))
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.child.try_wait().expect("wait for the service")
    }

    /// Waits for its end.
    pub(crate) fn wait_for_end(&mut self, deadline: Duration) -> ExitStatus {
        wait_until_blocking("the service ends", deadline, || self.ended().is_some());
        self.ended().expect("just seen")
    }

    /// Asks it to stop, waits, and gives everything that it ever said with its files.
    pub(crate) fn stop_and_tell(mut self) -> (Installation, String) {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(seconds(40));
        let log = self.process.whole_log();
        (self.installation.take().expect("not yet taken"), log)
    }

    /// Ends it without a word, as a power cut would, and keeps its files.
    pub(crate) fn kill(mut self) -> Installation {
        let _ = self.process.child.kill();
        let _ = self.process.child.wait();
        self.installation.take().expect("not yet taken")
    }

    /// Asks it to stop, waits, and keeps its files.
    pub(crate) fn stop(mut self) -> Installation {
        self.signal(Signal::SIGTERM);
        self.wait_for_end(seconds(40));
        self.installation.take().expect("not yet taken")
    }

    /// Stops and starts again on the same files.
    pub(crate) fn restart(self) -> Self {
        self.stop().start()
    }

    /// What the process uses at this moment.
    pub(crate) fn usage(&self) -> Usage {
        self.process.usage()
    }
}
