//! State files edited by hand while the service runs: the documented rescue, and its mistakes.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::service::{Service, Setup};
use crate::support::stored::{DOCUMENTED_SECRET, Stored};
use crate::support::tls::served_fingerprint;
use crate::support::{pace, seconds, wait_until};

/// Longest wait for an edit to be acted on: shorter than the interval at which the service looks
/// without being told, so that a test shows that it was told.
const FOLLOWED: Duration = seconds(6);

const ABOUT: &str = "/v2/management/host/about";

/// `violin` and the kind, hashed by libxcrypt at cost 4.
const SPELLINGS: [(&str, &str); 4] = [
    ("violin-2a", "$2a$04$Q1xPUPRrDoz/40XFn7OZTuC6HrBz7LewVFVW6xhciYWzXKO44MY.2"),
    ("violin-2b", "$2b$04$Q1xPUPRrDoz/40XFn7OZTub2uTTL9fPpwJyjFRNGenHeSP2M3aPl6"),
    ("violin-2x", "$2x$04$Q1xPUPRrDoz/40XFn7OZTuK06ewm71XN38v4Dkvo1/tggP9iXoZC6"),
    ("violin-2y", "$2y$04$Q1xPUPRrDoz/40XFn7OZTuNOuCeD7NGmVN0vRnJUDzVMxR7EIFpOa"),
];

/// The greatest cost that is taken.
const COSTLY: (&str, &str) =
    ("cost-15", "$2y$15$Q1xPUPRrDoz/40XFn7OZTuO2w2EOin05XN7uYvulvX/j3laaXkMJW");

fn secret(text: &str) -> String {
    STANDARD.encode(text)
}

/// Replaces a file in one step, as careful editors do.
fn put(path: &Path, text: &str) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text).expect("write the edited file");
    fs::rename(fresh, path).expect("put the edited file in place");
}

fn stored(service: &Service) -> Stored {
    Stored::in_data_dir(&service.data_dir())
}

/// Waits until the password no longer opens. Only the last attempt fails, so nobody is slowed.
async fn until_refused(service: &Service, password: &str) {
    let admin = service.admin().with_password(password);
    wait_until("the old password is refused", FOLLOWED, async || admin.about_status().await == 401)
        .await;
}

async fn opens(service: &Service, password: &str) -> bool {
    service.admin().with_password(password).about_status().await == 200
}

/// The documented rescue: what `users` must hold to bring back the password `admin`.
async fn rescued(setup: Setup, edit: impl FnOnce(&Path)) -> Service {
    let service = setup.start();
    service.admin().set_password("forgotten").await;
    let begun = Instant::now();
    edit(&stored(&service).users_file());
    until_refused(&service, "forgotten").await;
    eprintln!("the edited password was picked up after {:?}", begun.elapsed());
    assert!(opens(&service, "admin").await, "the documented secret does not open");
    service
}

#[tokio::test]
async fn documented_secret_written_in_place_opens_without_a_restart() {
    rescued(Service::portcullis(), |users| {
        fs::write(users, DOCUMENTED_SECRET).expect("edit in place");
    })
    .await;
}

#[tokio::test]
async fn documented_secret_put_in_place_by_rename_opens_without_a_restart() {
    let service = rescued(Service::portcullis(), |users| put(users, DOCUMENTED_SECRET)).await;
    // And it is what holds after the next change and a restart.
    service.admin().set_insecure_ports(false).await;
    let service = service.restart();
    assert!(opens(&service, "admin").await);
    assert!(!opens(&service, "forgotten").await);
}

/// Written through another name of the same file, where no watch sees it.
#[tokio::test]
async fn hangup_signal_reads_an_edit_that_nothing_told() {
    let service = Service::portcullis().start();
    service.admin().set_password("forgotten").await;
    let elsewhere = service.path().join("users-elsewhere");
    fs::hard_link(stored(&service).users_file(), &elsewhere).expect("a second name");
    // What the change of the password has set off is over once a later one is served.
    put(&stored(&service).insecure_ports_file(), "disabled\n");
    wait_until("the edit before is served", FOLLOWED, async || {
        let about = service.admin().with_password("forgotten").get(ABOUT).await.json();
        about["enable_insecure_ports"] == false
    })
    .await;
    fs::write(&elsewhere, DOCUMENTED_SECRET).expect("edit in place");
    pace(seconds(1)).await;
    assert!(opens(&service, "forgotten").await, "the service reads its files all the time");
    service.signal(Signal::SIGHUP);
    until_refused(&service, "forgotten").await;
    assert!(opens(&service, "admin").await);
}

#[tokio::test]
async fn edit_of_a_stopped_service_holds_at_the_next_start() {
    let service = Service::portcullis().start();
    service.admin().set_password("forgotten").await;
    let installation = service.stop();
    put(&Stored::in_data_dir(&installation.data_dir()).users_file(), DOCUMENTED_SECRET);
    let service = installation.start();
    assert!(opens(&service, "admin").await);
}

#[tokio::test]
async fn every_spelling_of_bcrypt_is_taken() {
    let service = Service::portcullis().start();
    let users = stored(&service).users_file();
    let mut before = "admin";
    for (password, hash) in SPELLINGS.into_iter().chain([COSTLY]) {
        put(&users, &secret(&format!("admin:{hash}\n")));
        until_refused(&service, before).await;
        assert!(opens(&service, password).await, "{password}");
        before = password;
    }
}

/// A secret that cannot be used, and what must be said of it.
const MISTAKES: [(&str, &[&str]); 14] = [
    ("", &["users", "empty"]),
    ("admin\n", &["line 1", "colon"]),
    ("\n# nothing but remarks\n", &["users", "empty"]),
    ("# kept by hand\n\nadmin\n", &["line 3", "colon"]),
    ("root:$2y$04$Q1xPUPRrDoz/40XFn7OZTuNOuCeD7NGmVN0vRnJUDzVMxR7EIFpOa\n", &["line 1", "user"]),
    ("admin:$apr1$LeXzbx7.$NYiRC7DBGKAW4cwmt6P1t.\n", &["line 1", "MD5"]),
    ("admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n", &["line 1", "SHA-1"]),
    (
        "admin:$5$tvEPTPxkPn5ZkMIC$KHb5sMrV3ycOTBSv0xqUt38hpxPYfm0gRthcCEotK4D\n",
        &["line 1", "SHA-256"],
    ),
    ("#\nadmin:$6$ZdxKSKCExuSG3stC$PFxRHk.AEdNao7vehbJpBes.\n", &["line 2", "SHA-512"]),
    ("admin:plain-words\n", &["line 1", "plain"]),
    (
        "admin:$2y$16$Q1xPUPRrDoz/40XFn7OZTuc9rXeDeGkSM.gn029XZuHd4mOt7crxq\n",
        &["line 1", "cost 16", "15"],
    ),
    (
        "admin:$2y$03$Q1xPUPRrDoz/40XFn7OZTuNOuCeD7NGmVN0vRnJUDzVMxR7EIFpOa\n",
        &["line 1", "cost 3", "4"],
    ),
    ("admin:$2y$05$Q1xPUPRrDoz/40XFn7OZTumWWsjYTyia8z5eI\n", &["line 1", "damaged"]),
    (
        "admin:$2y$04$Q1xPUPRrDoz/40XFn7OZTuNOuCeD7NGmVN0vRnJUDzVMxR7EIFpOa\nadmin:second\n",
        &["line 2", "one"],
    ),
];

#[tokio::test]
async fn unusable_secret_keeps_the_last_good_password_and_the_log_names_the_line() {
    let service = Service::portcullis().start();
    service.admin().set_password("kept").await;
    let users = stored(&service).users_file();
    for (text, words) in MISTAKES {
        let before = service.log().len();
        put(&users, &secret(text));
        wait_until("the log tells of the mistake", FOLLOWED, async || {
            service.log()[before..].contains("ERROR")
        })
        .await;
        let said = service.log()[before..].to_owned();
        for word in words {
            assert!(said.contains(word), "{text:?}: no {word} in {said}");
        }
        assert!(!said.contains("plain-words") && !said.contains("$2y$0"), "a secret in {said}");
        assert!(opens(&service, "kept").await, "{text:?}");
    }
    assert!(!opens(&service, "admin").await);
    // Mended, it is picked up like any other edit.
    put(&users, DOCUMENTED_SECRET);
    until_refused(&service, "kept").await;
    assert!(opens(&service, "admin").await);
}

#[tokio::test]
async fn secret_that_is_not_base64_or_gone_keeps_the_last_good_password() {
    let service = Service::portcullis().start();
    service.admin().set_password("kept").await;
    let users = stored(&service).users_file();
    let spoils = [
        ("base64", Some("admin:$2y$05$ in the clear")),
        ("text", Some("/////w==")),
        ("missing", None),
    ];
    for (word, text) in spoils {
        let before = service.log().len();
        match text {
            Some(text) => put(&users, text),
            None => fs::remove_file(&users).expect("remove users"),
        }
        wait_until("the log tells of the mistake", FOLLOWED, async || {
            let log = service.log();
            let mut lines = log[before..].lines().filter(|line| line.contains("ERROR"));
            lines.any(|line| line.contains("users") && line.contains(word))
        })
        .await;
        assert!(opens(&service, "kept").await, "{word}");
        let anybody = Connection::tls(service.port("https")).await.expect("a connection");
        let answer = { anybody }.get(ABOUT, &[]).await.expect("an answer");
        assert_eq!(answer.status, 401, "{word}");
    }
}

#[tokio::test]
async fn unusable_secret_is_told_once() {
    let service = Service::portcullis().start();
    put(&stored(&service).users_file(), &secret("admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"));
    let told = || service.log().lines().filter(|line| line.contains("SHA-1")).count();
    wait_until("the log tells of the mistake", FOLLOWED, async || told() > 0).await;
    for round in 1..=3 {
        service.signal(Signal::SIGHUP);
        wait_until("SIGHUP is acted on", FOLLOWED, async || {
            service.log().matches("SIGHUP").count() == round
        })
        .await;
    }
    put(&stored(&service).users_file(), DOCUMENTED_SECRET);
    wait_until("the log tells that it is mended", FOLLOWED, async || {
        service.log().contains("sound again")
    })
    .await;
    assert_eq!(told(), 1, "{}", service.log());
}

#[tokio::test]
async fn edited_exposure_is_picked_up() {
    let service = Service::portcullis().start();
    let port = service.port("http");
    let status = async || {
        let mut connection = Connection::plain(port).await.expect("a connection");
        connection.get("/healthz", &[("connection", "close")]).await.expect("an answer").status
    };
    assert_eq!(status().await, 200);
    put(&stored(&service).insecure_ports_file(), "disabled\n");
    wait_until("plain HTTP redirects", FOLLOWED, async || status().await == 301).await;
    put(&stored(&service).insecure_ports_file(), "enabled\n");
    wait_until("plain HTTP serves", FOLLOWED, async || status().await == 200).await;
}

#[tokio::test]
async fn edited_pair_is_served_and_half_of_one_is_not() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    service.admin().install(&old).await;
    let read = |path| fs::read_to_string(path).expect("a file of the bundle");
    put(&stored(&service).key_file(), &read(&new.key));
    put(&stored(&service).certificate_file(), &read(&new.chain));
    wait_until("the edited pair is served", FOLLOWED, async || {
        served_fingerprint(service.port("https")).await == new.fingerprint
    })
    .await;
    assert_eq!(served_fingerprint(service.port("wss")).await, new.fingerprint);
    put(&stored(&service).certificate_file(), &read(&old.chain));
    wait_until("the log tells of the mix", FOLLOWED, async || {
        service.log().lines().any(|line| line.contains("ERROR") && line.contains("state files"))
    })
    .await;
    assert_eq!(served_fingerprint(service.port("https")).await, new.fingerprint);
}
