//! Changes that meet each other, and a disk that takes no more.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::certificates::CertificateAuthority;
use crate::support::openssl::s_client;
use crate::support::service::Service;
use crate::support::stored::Stored;
use crate::support::tls::served_fingerprint;
use crate::support::{millis, pace};

/// Rounds of two uploads at once.
const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_uploads_at_once_give_two_whole_changes_one_after_the_other() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (a, b) = (authority.pair_a(), authority.pair_b());
    let root = authority.root();
    let root = root.to_str().expect("a plain path");
    let stored = Stored::in_data_dir(&service.data_dir());
    let admin = service.admin();
    for _ in 0..ROUNDS {
        let number = admin.listener("https").await.serving().number;
        tokio::join!(admin.install(&a), admin.install(&b));
        let kept = stored.bundle().expect("a stored bundle").fingerprint;
        for port in service.tls_ports() {
            assert_eq!(served_fingerprint(port).await, kept, "port {port} and disk disagree");
        }
        let verified =
            s_client(service.port("wss"), &["-CAfile", root, "-verify_return_error"], "");
        assert!(verified.success, "{}", verified.text);
        assert_eq!(admin.listener("https").await.serving().number, number + 2);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_between_two_uploads_leaves_one_whole_pair() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (a, b) = (authority.pair_a(), authority.pair_b());
    let admin = service.admin();
    admin.install(&a).await;
    static KILLED: AtomicBool = AtomicBool::new(false);
    let uploads = [a.clone(), b.clone()].map(|bundle| {
        let admin = admin.clone();
        tokio::spawn(async move {
            let mut answered = 0;
            while let Ok(answer) = admin.try_install(&bundle).await {
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            assert!(KILLED.load(Ordering::SeqCst), "an upload failed before the kill");
            answered
        })
    });
    pace(millis(700)).await;
    KILLED.store(true, Ordering::SeqCst);
    let killed = service.kill();
    for upload in uploads {
        assert!(upload.await.expect("an upload") > 0, "the kill came before the first answer");
    }

    let service = killed.start();
    let kept = Stored::in_data_dir(&service.data_dir()).bundle().expect("a bundle").fingerprint;
    assert!([&a, &b].iter().any(|pair| pair.fingerprint == kept));
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, kept);
    }
}

/// Limits how large a file the service may write, which is how a full disk looks to it.
fn limit_file_size(service: &Service, limit: &str) {
    let (pid, limit) = (service.pid().to_string(), format!("--fsize={limit}"));
    let status = Command::new("prlimit").args(["--pid", &pid, &limit]).status();
    assert!(status.expect("the prlimit command").success());
}

#[tokio::test]
async fn change_that_finds_the_disk_full_is_refused_and_the_old_state_goes_on() {
    // The signal that comes with the limit is ignored, so that writing fails instead.
    let shell = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];
    let service = Service::echo().wrapper(&shell).start();
    let authority = CertificateAuthority::new();
    let (a, b) = (authority.pair_a(), authority.pair_b());
    let admin = service.admin();
    admin.install(&a).await;
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();

    limit_file_size(&service, "0:unlimited");
    let upload = admin.try_install(&b).await.expect("an answer to the upload");
    assert_eq!(upload.status / 100, 5, "{}", upload.text());
    assert!(upload.json()["detail"].is_string(), "{}", upload.text());
    let body = serde_json::json!({ "password": "never" });
    let password = admin.post("/v2/security/adminpassword", &body).await;
    assert_eq!(password.status / 100, 5, "{}", password.text());
    let body = serde_json::json!({ "enable_insecure_ports": false });
    let ports = admin.post("/v2/security/insecureports", &body).await;
    assert_eq!(ports.status / 100, 5, "{}", ports.text());

    assert!(stored.contents() == before, "the state on disk changed");
    assert_eq!(admin.about_status().await, 200, "the old password holds");
    assert_eq!(admin.listener("http").await.exposure, "serving");
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, a.fingerprint);
    }

    limit_file_size(&service, "unlimited:unlimited");
    admin.install(&b).await;
    assert_eq!(served_fingerprint(service.port("wss")).await, b.fingerprint);
    let service = service.restart();
    assert_eq!(served_fingerprint(service.port("https")).await, b.fingerprint);
}
