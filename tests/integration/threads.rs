//! What no further thread can be started for is refused with the reason and leaves nothing behind;
//! what needs none is done.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use serde_json::json;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::service::{Installation, Service};
use crate::support::tls::served_fingerprint;
use crate::support::{seconds, wait_until};

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
async fn without_further_threads_changes_are_done_or_refused_whole() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("left out: a limit of threads does not bind without another user");
    }
    let authority = CertificateAuthority::new();
    let (first, second) = (authority.pair_a(), authority.pair_b());
    let service = installation_of_user().start();
    let admin = service.admin();
    admin.install(&first).await;
    wait_until("the old generation is gone", seconds(20), async || {
        admin.listeners().await.iter().all(|listener| listener.generations.len() == 1)
    })
    .await;
    let before = history(&service);

    limit_threads(&service, 1);
    let refused = admin.try_install(&second).await.expect("an answer");
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.text().contains("thread"), "{}", refused.text());
    assert_eq!(served_fingerprint(service.port("https")).await, first.fingerprint);
    let off = json!({ "enable_insecure_ports": false });
    let refused = admin.post("/v2/security/insecureports", &off).await;
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.text().contains("thread"), "{}", refused.text());
    let mut plain = Connection::plain(service.port("http")).await.expect("a connection");
    assert_eq!(plain.get("/healthz", &[]).await.expect("an answer").status, 200);
    assert_eq!(history(&service), before, "a refused change stays");

    // No listener changes, so no thread is needed.
    let admin = admin.set_password("set without threads").await;
    assert_eq!(admin.about_status().await, 200);
    assert_eq!(history(&service)[0], "admin password set");
    let mut ready = Connection::tls(service.port("https")).await.expect("a connection");
    assert_eq!(ready.get("/readyz", &[]).await.expect("an answer").status, 200);
    assert!(!service.log().contains("panicked"), "{}", service.log());

    limit_threads(&service, 10_000);
    admin.install(&second).await;
    assert_eq!(served_fingerprint(service.port("https")).await, second.fingerprint);
    admin.set_insecure_ports(false).await;
}
