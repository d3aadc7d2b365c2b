//! Keys, passwords and tokens stay where they belong: not in the log even at its most talkative,
//! not in an answer, not in any other file, not in a core dump.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use crate::support::certificates::{CertificateAuthority, KeyKind};
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::http::basic;
use crate::support::needles::Needles;
use crate::support::service::{Installation, Service};
use crate::support::stored::files_below;
use crate::support::{seconds, wait_until_blocking};

const CERTIFICATE: &str = "/v2/security/sslcertificate";
const PASSWORD: &str = "/v2/security/adminpassword";
const TOKEN: &str = "/v2/security/jobtoken";

/// A service at work for a day, and everything that it answered.
struct Day {
    service: Service,
    authority: CertificateAuthority,
    answers: String,
    /// Where it would put temporary files.
    scratch: tempfile::TempDir,
}

impl Day {
    fn begin() -> Self {
        let scratch = tempfile::tempdir().expect("tempdir");
        let tokens = scratch.path().join("tokens");
        std::fs::write(&tokens, "# scrapers\nclarinet-0123456789\n").expect("write the tokens");
        let settings = format!("[security]\nmonitoring_token_file = \"{}\"", tokens.display());
        let variable = format!("TMPDIR={}", scratch.path().display());
        let service =
            Service::echo().traced().settings(&settings).wrapper(&["env", &variable]).start();
        Self { service, authority: CertificateAuthority::new(), answers: String::new(), scratch }
    }

    fn note(&mut self, reply: Reply, status: u64) {
        let reply = reply.expect(status);
        self.answers.push_str(&reply.headers);
        self.answers.push_str(&reply.body);
    }

    /// A request with a password.
    fn ask(&mut self, password: &str, arguments: &[&str], path: &str, status: u64) {
        let url = self.service.url("https", path);
        self.note(curl_as(password, &[arguments, &[url.as_str()]].concat()), status);
    }

    /// An upload of two files of the authority, over both protocols.
    fn upload(&mut self, key: &str, certificate: &str, more: &[&str], status: u64) {
        let part =
            |field: &str, name: &str| format!("{field}=@{}", self.authority.file(name).display());
        let (key, certificate) = (part("keyfile", key), part("certfile", certificate));
        for protocol in ["--http1.1", "--http2"] {
            let files = [protocol, "-F", &key, "-F", &certificate];
            self.ask("admin", &[&files, more].concat(), CERTIFICATE, status);
        }
    }

    fn console(&mut self, words: &[&str], stdin: &str, code: i32) {
        let said = self.service.console().run_with(words, stdin).expect(code);
        self.answers.push_str(&said.stdout);
        self.answers.push_str(&said.stderr);
    }

    fn certificates(&mut self) {
        self.authority.pair_a();
        self.authority.pair_b();
        self.authority.make_key("other.key", KeyKind::Rsa);
        let locked = "-v2 aes-256-cbc -passout pass:glockenspiel -out locked.key";
        self.authority.run(&format!("pkcs8 -topk8 -in pair-a.key {locked}"));
        self.authority.run("rsa -in pair-a.key -traditional -out pkcs1.key");
        self.authority.run(
            "pkcs12 -export -inkey pair-b.key -in pair-b.crt -passout pass:glockenspiel -out b.p12",
        );
        self.upload("pair-a.key", "pair-a.crt", &[], 200);
        self.upload("pkcs1.key", "pair-a.crt", &[], 200);
        self.upload("pair-b.key", "pair-b.crt", &[], 200);
        self.upload("locked.key", "pair-a.crt", &["-F", "passphrase=glockenspiel"], 200);
        self.upload("b.p12", "pair-b.crt", &["-F", "passphrase=glockenspiel"], 200);
        self.upload("other.key", "pair-a.crt", &[], 400);
        self.upload("pair-a.crt", "pair-a.key", &[], 400);
        self.upload("locked.key", "pair-a.crt", &["-F", "passphrase=vibraphone"], 400);
        self.upload("other.key", "other.key", &[], 400);
        // The right content under the wrong media type.
        let key = format!("@{}", self.authority.file("other.key").display());
        self.ask("admin", &["--data-binary", &key], CERTIFICATE, 415);
        self.ask("admin", &[], CERTIFICATE, 200);
        self.ask("admin", &[], &format!("{CERTIFICATE}?format=pem"), 200);
    }

    fn passwords(&mut self) {
        let body = |password: &str| json!({ "password": password }).to_string();
        self.ask("admin", &["-d", &body("xylophone")], PASSWORD, 200);
        self.ask("xylophone", &[], "/v2/management/host/about", 200);
        self.ask("marimba", &[], "/v2/management/host/about", 401);
        self.ask("xylophone", &["-d", &body("theremin\n")], PASSWORD, 400);
        self.ask("xylophone", &["-d", "{\"password\": \"theremin\""], PASSWORD, 400);
        self.ask("xylophone", &["-d", "{\"pasword\": \"theremin\"}"], PASSWORD, 400);
        self.ask("xylophone", &["-d", &body("admin")], PASSWORD, 200);
        self.ask("admin", &["-X", "DELETE"], PASSWORD, 200);
        self.console(&["auth", "on"], "", 0);
        self.console(&["set-password"], "mandolin\n", 0);
        self.console(&["set-password"], &"mandolin".repeat(10), 1);
        self.console(&["reset-password"], "", 0);
    }

    fn tokens(&mut self) {
        let body = |token: &str| json!({ "user_token": token }).to_string();
        self.ask("admin", &["-d", &body("bassoon-0123456789")], TOKEN, 200);
        self.ask("admin", &["-d", &body("harpsichord in parts")], TOKEN, 400);
        self.ask("admin", &["-d", "{\"token\": \"harpsichord\"}"], TOKEN, 400);
        let about = self.service.url("https", "/v2/management/host/about");
        for token in ["bassoon-0123456789", "clarinet-0123456789"] {
            let header = format!("authorization: Bearer {token}");
            self.note(curl(&["-H", &header, &about]), 401);
        }
    }

    fn console_certificates(&mut self) {
        let path = |name: &str| self.authority.file(name).display().to_string();
        let (key, chain) = (path("pair-b.key"), path("pair-b.crt"));
        let (locked, other) = (path("locked.key"), path("pair-a.crt"));
        let install = ["certificate", "install", "--key", &key, "--certificate", &chain];
        self.console(&install, "", 0);
        let check = ["certificate", "check", &locked, &other, "--passphrase-stdin"];
        self.console(&check, "glockenspiel\n", 0);
        self.console(&check, "vibraphone\n", 1);
        for words in [&["status"][..], &["history"], &["certificate", "show"]] {
            self.console(words, "", 0);
            self.console(&[&["--json"], words].concat(), "", 0);
        }
        self.console(&["rollback", "999"], "", 1);
    }

    fn questions(&mut self) {
        for path in [
            "/v2/management/host/about",
            "/v2/management/listeners",
            "/v2/security/audit",
            "/v2/security/csr",
            PASSWORD,
        ] {
            self.ask("admin", &[], path, 200);
        }
    }

    /// What may be told nowhere.
    fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        for name in ["pair-a.key", "pair-b.key", "other.key", "pkcs1.key"] {
            needles = needles.key(&self.authority.file(name));
        }
        for word in ["xylophone", "marimba", "theremin", "mandolin", "glockenspiel", "vibraphone"] {
            needles = needles.password(word);
        }
        for token in ["bassoon-0123456789", "clarinet-0123456789", "harpsichord", "$2y$10$"] {
            needles = needles.token(token);
        }
        needles
    }
}

/// The files in which a key or a credential may lie, by the end of their path.
fn is_its_place(path: &Path) -> bool {
    let text = path.display().to_string();
    let in_a_revision = text.contains("/state/revisions/");
    let places = ["/tls/tls.key", "/management-auth-secret/users", "/job-token"];
    in_a_revision && places.iter().any(|place| text.ends_with(place))
}

#[test]
fn nothing_secret_is_told_or_left_behind_by_a_day_of_work() {
    let mut day = Day::begin();
    day.certificates();
    day.passwords();
    day.tokens();
    day.console_certificates();
    day.questions();
    let needles = day.needles();
    for word in ["xylophone", "glockenspiel"] {
        let shown = basic("admin", word);
        assert!(!needles.found_in(shown.as_bytes()).is_empty(), "{word} would not be found");
    }
    let Day { service, answers, scratch, authority: _authority } = day;
    let (installation, log) = service.stop_and_tell();
    assert!(log.contains("TRACE"), "the log is not at its most talkative");
    needles.not_in("the log", log.as_bytes());
    needles.not_in("the answers", answers.as_bytes());
    for file in files_below(installation.path()) {
        if !is_its_place(&file) {
            let bytes = std::fs::read(&file).expect("a file");
            needles.not_in(&file.display().to_string(), &bytes);
        }
    }
    let left = files_below(scratch.path());
    assert_eq!(left, [scratch.path().join("tokens")], "temporary files are left behind");
}

/// The folders of the kept revisions hold the keys that a rollback needs, and nothing else does.
#[test]
fn keys_lie_in_their_own_files_alone_and_go_with_the_last_revision_that_needs_them() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (gone, kept) = (authority.pair_a(), authority.pair_b());
    let url = service.url("https", CERTIFICATE);
    for bundle in [&gone, &kept] {
        curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(200);
    }
    let ports = service.url("https", "/v2/security/insecureports");
    for round in 0..10 {
        let body = json!({ "enable_insecure_ports": round % 2 == 1 }).to_string();
        curl_as("admin", &["-d", &body, &ports]).expect(200);
    }
    let (gone, kept) = (Needles::default().key(&gone.key), Needles::default().key(&kept.key));
    let mut defaults = 0;
    for file in files_below(service.path()) {
        let bytes = std::fs::read(&file).expect("a file");
        gone.not_in(&file.display().to_string(), &bytes);
        let holds_a_key = String::from_utf8_lossy(&bytes).contains("PRIVATE KEY");
        if holds_a_key {
            let mode = std::fs::metadata(&file).expect("metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        let is_kept = !kept.found_in(&bytes).is_empty();
        assert_eq!(is_kept, file.ends_with("tls/tls.key"), "{}", file.display());
        defaults += usize::from(holds_a_key && !is_kept);
    }
    assert_eq!(defaults, 1, "one key besides: that of the default certificate");
    let current = files_below(&service.data_dir().join("state/current/"));
    let keys = current.iter().filter(|file| file.ends_with("tls/tls.key")).count();
    assert_eq!(keys, 1, "the current revision holds one key");
}

/// Lets a process of the installation write core dumps as large as they come.
const UNLIMITED: [&str; 4] = ["sh", "-c", "ulimit -c unlimited && exec \"$@\"", "sh"];

#[test]
fn service_that_is_aborted_leaves_no_core_dump() {
    let control = tempfile::tempdir().expect("tempdir");
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited && kill -ABRT $$"]).current_dir(control.path());
    let status = command.status().expect("a shell");
    assert!(status.core_dumped(), "no core dump is written on this machine at all: {status}");
    let mut service = Service::portcullis().wrapper(&UNLIMITED).start();
    service.signal(Signal::SIGABRT);
    let status = service.wait_for_end(seconds(10));
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32), "{status}");
    assert!(!status.core_dumped(), "the memory was written to a core dump");
}

/// The kernel gives the files of such a process in /proc to root, so that no process of the same
/// user can read its memory.
#[test]
fn memory_is_closed_to_other_processes_of_the_same_user() {
    const NOBODY: u32 = 65534;
    let environ = |pid: Pid| PathBuf::from(format!("/proc/{pid}/environ"));
    let owner = |pid: Pid| std::fs::metadata(environ(pid)).expect("a process").uid();
    let am_root = owner(Pid::this()) == 0;
    let words: &[&str] = if am_root {
        &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    } else {
        &["env"]
    };
    let mut command = Command::new(words[0]);
    let mut control = command.args(&words[1..]).args(["sleep", "60"]).spawn().expect("a process");
    let control_pid = Pid::from_raw(i32::try_from(control.id()).expect("a pid"));
    wait_until_blocking("the control has become an ordinary process", seconds(5), || {
        owner(control_pid) != 0
    });
    control.kill().and_then(|()| control.wait().map(drop)).expect("end the control");

    let installation = Service::portcullis().wrapper(words).prepare();
    if am_root {
        hand_over(&installation, NOBODY);
    }
    let service = installation.start();
    assert_eq!(owner(service.pid()), 0, "its memory is open to processes of the same user");
}

fn hand_over(installation: &Installation, user: u32) {
    let (config, data) = (installation.config_file(), installation.data_dir());
    for path in [installation.path(), &config, &data] {
        chown(path, Some(user), Some(user)).expect("hand over to another user");
    }
}
