//! The real Prometheus and its promtool, where they are installed.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::curl::curl;
use super::{seconds, wait_until_blocking};

/// A running Prometheus, killed when dropped.
pub(crate) struct Prometheus {
    child: Child,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

impl Prometheus {
    /// Starts it in `folder` and waits until it is ready.
    pub(crate) fn start(folder: &Path, config: &str, port: u16) -> Self {
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, config).expect("write the configuration");
        let log = std::fs::File::create(folder.join("prometheus.log")).expect("a log file");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Debian's prometheus; scripts/tools.sh test installs it");
        let prometheus = Self { child };
        wait_until_blocking("Prometheus is ready", seconds(30), || {
            curl(&[&format!("http://127.0.0.1:{port}/-/ready")]).status == 200
        });
        prometheus
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs promtool with this standard input; `authority` is trusted for TLS.
pub(crate) fn promtool(arguments: &[&str], input: &str, authority: Option<&Path>) -> Output {
    let mut command = Command::new("promtool");
    if let Some(file) = authority {
        command.env("SSL_CERT_FILE", file);
    }
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool, of Debian's prometheus");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("its input");
    child.wait_with_output().expect("promtool")
}

/// What a command said, both ways.
pub(crate) fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}
