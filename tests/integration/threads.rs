//! A change starts no thread: it is made where none can be started any more.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::service::{Installation, Service};
use crate::support::tls::served_fingerprint;

/// A user of its own: the limit counts the threads of a user, whatever runs beside this test.
const USER: u32 = 54_322;

fn installation_of_user() -> Installation {
    let installation = Service::echo()
        .wrapper(&["setpriv", "--reuid", "54322", "--regid", "54322", "--clear-groups"])
        .prepare();
    fs::set_permissions(installation.path(), Permissions::from_mode(0o755)).expect("chmod");
    for path in [installation.path(), &installation.data_dir()] {
        chown(path, Some(USER), Some(USER)).expect("chown");
    }
    installation
}

fn limit_threads(service: &Service, limit: usize) {
    let done = Command::new("setpriv")
        .args(["--reuid", "54322", "--regid", "54322", "--clear-groups", "prlimit"])
        .args(["--pid", &service.pid().to_string(), &format!("--nproc={limit}:")])
        .status()
        .expect("run prlimit");
    assert!(done.success());
}

/// What is in the history, newest first.
fn history(service: &Service) -> Vec<String> {
    let history = service.console().done(&["--json", "history"]).json();
    let entries = history["revisions"].as_array().expect("revisions").iter();
    entries.map(|entry| entry["what"].as_str().expect("what").to_owned()).collect()
}

#[tokio::test]
async fn without_further_threads_every_change_is_made() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("left out: a limit of threads does not bind without another user");
    }
    let authority = CertificateAuthority::new();
    let (first, second) = (authority.pair_a(), authority.pair_b());
    let service = installation_of_user().start();
    let admin = service.admin();
    // The threads that a change needs are there before the first one.
    limit_threads(&service, 1);
    for pair in [&first, &second] {
        admin.install(pair).await;
        assert_eq!(served_fingerprint(service.port("https")).await, pair.fingerprint);
    }
    admin.set_insecure_ports(false).await;
    let mut plain = Connection::plain(service.port("http")).await.expect("a connection");
    assert_eq!(plain.get("/healthz", &[]).await.expect("an answer").status, 301);
    let admin = admin.set_password("set without threads").await;
    assert_eq!(admin.about_status().await, 200);
    assert_eq!(history(&service)[0], "admin password set");
    let mut ready = Connection::tls(service.port("https")).await.expect("a connection");
    assert_eq!(ready.get("/readyz", &[]).await.expect("an answer").status, 200);
    assert!(!service.log().contains("panicked"), "{}", service.log());
}
