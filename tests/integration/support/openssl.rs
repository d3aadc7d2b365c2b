//! The openssl command line, as an administrator would use it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs openssl in a folder; it must succeed.
pub(crate) fn openssl(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the openssl command");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {}: {stderr}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What `openssl s_client` said, and whether it was content.
pub(crate) struct Conversation {
    pub(crate) success: bool,
    /// Standard output and standard error.
    pub(crate) text: String,
}

/// Runs `openssl s_client` against a port and sends it `input`.
pub(crate) fn s_client(port: u16, arguments: &[&str], input: &str) -> Conversation {
    let mut child = Command::new("timeout")
        .args(["20", "openssl", "s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the timeout and openssl commands");
    // A client whose handshake failed no longer reads; what it said still counts.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("openssl s_client");
    let text = [output.stdout, output.stderr].concat();
    Conversation {
        success: output.status.success(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// `openssl s_client | openssl x509 -fingerprint -sha256`, without the label.
pub(crate) fn fingerprint_seen_by_openssl(folder: &Path, port: u16) -> String {
    let shown = s_client(port, &[], "").text;
    let seen = folder.join(format!("seen-{port}.pem"));
    std::fs::write(&seen, &shown).expect("write what was shown");
    let seen = seen.to_str().expect("a plain path");
    let line = openssl(folder, &["x509", "-noout", "-fingerprint", "-sha256", "-in", seen]);
    line.trim().rsplit('=').next().expect("rsplit gives at least one").to_owned()
}
