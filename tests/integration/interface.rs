//! The Management Interface in a real browser. What happens there is written down in
//! `tests/browser/scenarios/`; here the appliance is started and certificates are made.
//!
//! Needs node, a Chromium (`CHROMIUM` names another than Debian's) and the packages of
//! `tests/browser`; `scripts/tools.sh test` installs them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::batch::channels::recording;
use crate::support::certificates::{Bundle, CertificateAuthority, KeyKind};
use crate::support::http::Connection;
use crate::support::service::{Service, Setup};
use crate::support::speech::{long_recording, sample, sentence};
use crate::support::{seconds, within};

/// A whole scenario, on a busy machine.
const DEADLINE: std::time::Duration = seconds(150);

const PASSPHRASE: &str = "open sesame";

fn service() -> Service {
    with_services(Service::echo(), "\"echo\"")
}

/// With the speech services, which have a model to read.
fn speaking_service() -> Service {
    with_services(Service::portcullis(), "\"batch\", \"realtime\"")
}

fn with_services(setup: Setup, more: &str) -> Service {
    let listener = |name: &str, extra: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [\"interface\", \"security\", \"management\", \"monitoring\", {more}]\n\n"
        )
    };
    let listeners = listener("http", "redirect_to = \"https\"") + &listener("https", "tls = true");
    setup.listeners(&listeners).start()
}

fn files_of(bundle: &Bundle) -> Value {
    json!({
        "key": bundle.key,
        "certificate": bundle.chain,
        "fingerprint": bundle.fingerprint,
    })
}

/// The same pair with its key behind a passphrase.
fn encrypted(authority: &CertificateAuthority, bundle: &Bundle) -> Bundle {
    let key = authority.file("encrypted.key");
    std::fs::write(authority.file("pass"), PASSPHRASE).expect("write the passphrase");
    authority.run(&format!(
        "pkey -in {} -aes256 -passout file:pass -out encrypted.key",
        bundle.key.display()
    ));
    Bundle::new(key, bundle.chain.clone())
}

fn browser_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Plays a scenario of `tests/browser/scenarios/` in front of the service.
pub(crate) async fn play(service: &Service, scenario: &str, more: Value) {
    let authority = CertificateAuthority::new();
    let (first, second) = (authority.pair_a(), authority.issue("pair-c", KeyKind::Rsa));
    let mut given = json!({
        "https": service.url("https", "/"),
        "http": service.url("http", "/"),
        "folder": service.path(),
        "first": files_of(&first),
        "second": files_of(&second),
        "encrypted": files_of(&encrypted(&authority, &first)),
        "passphrase": PASSPHRASE,
        "sentence": sentence(),
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        given[name] = value.clone();
    }
    let mut command = tokio::process::Command::new("node");
    command
        .arg(browser_folder().join("run.js"))
        .arg(scenario)
        .env("PORTCULLIS_BROWSER", given.to_string())
        .env("HOME", service.path())
        .kill_on_drop(true);
    let output = within(DEADLINE, scenario, command.output()).await.expect("node");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{scenario}: {said}");
    eprint!("{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn the_browser_asks_for_the_password_before_anything_shows() {
    play(&service(), "prompt", json!({})).await;
}

/// With a browser that takes the new certificate.
#[tokio::test]
async fn certificates_are_judged_and_installed_and_the_page_survives_its_own_replacement() {
    let authority = CertificateAuthority::new();
    let expired = files_of(&authority.expired());
    play(&service(), "certificate", json!({ "expired": expired })).await;
}

/// With a browser that does not trust the new certificate.
#[tokio::test]
async fn a_page_whose_new_certificate_is_not_trusted_says_so_and_does_not_spin() {
    let service = service();
    let about = service.admin().get("/v2/security/sslcertificate").await.json();
    let pin = about["certificate"]["spki_sha256"].clone();
    play(&service, "untrusted", json!({ "trusted": pin })).await;
}

#[tokio::test]
async fn plain_http_password_token_and_reset_are_changed_from_the_page() {
    play(&service(), "access", json!({})).await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing_with_the_remembered_password() {
    play(&service(), "foreign", json!({})).await;
}

#[tokio::test]
async fn a_replacement_can_be_watched_with_an_upload_and_a_websocket_crossing_it() {
    play(&service(), "listeners", json!({})).await;
}

#[tokio::test]
async fn jobs_are_submitted_and_read_and_sound_is_transcribed_as_it_comes() {
    play(&speaking_service(), "speech", json!({})).await;
}

#[tokio::test]
async fn jobs_show_their_place_and_what_is_left_and_transcripts_show_who_spoke() {
    // One job at a time, so that others wait.
    let service =
        with_services(Service::portcullis().settings("speech.decoding_threads = 1"), "\"batch\"");
    let long = long_recording(service.path(), 30);
    let call = recording(service.path(), "call.flac", &["sentence", "later"]);
    play(&service, "jobs", json!({ "long": long, "call": call })).await;
}

#[tokio::test]
async fn languages_of_the_model_are_offered_and_one_is_found_by_itself() {
    let setup = Service::portcullis().settings("[speech]\nmodel = \"base\"\n");
    let service = with_services(setup, "\"batch\", \"realtime\"");
    let foreign = sample("zh/nihao_shijie.wav");
    play(&service, "languages", json!({ "foreign": foreign })).await;
}

#[tokio::test]
async fn settings_change_and_the_record_and_the_log_tell_of_it() {
    play(&service(), "activity", json!({})).await;
}

#[tokio::test]
async fn a_lost_connection_shows_and_comes_back_and_the_keyboard_is_enough() {
    play(&service(), "connection", json!({})).await;
}

#[tokio::test]
async fn every_page_is_accessible_quiet_and_small() {
    play(&speaking_service(), "pages", json!({})).await;
}

/// `make screens`: pictures of every page.
#[tokio::test]
#[ignore = "writes pictures, see `make screens`"]
async fn screens_of_every_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screens");
    play(&speaking_service(), "screens", json!({ "screens": folder })).await;
}

#[tokio::test]
async fn the_mount_of_everything_leaves_other_mounts_their_answers() {
    let service = service();
    let admin = service.admin();
    let ask = async |path: &str| {
        let mut connection = Connection::tls(service.port("https")).await.expect("a connection");
        connection.get(path, &[]).await.expect("an answer")
    };
    let page = ask("/").await;
    assert_eq!(page.status, 401, "{}", page.text());
    assert_eq!(ask("/healthz").await.status, 200);
    assert_eq!(ask("/echo/nothing").await.status, 404);
    assert_eq!(ask("/nothing").await.status, 401);
    assert_eq!(admin.get("/nothing").await.status, 404);
    assert_eq!(admin.get("/v2/security/nothing").await.status, 404);
    assert_eq!(admin.get("/").await.status, 200);
    assert_eq!(admin.post("/", &json!({})).await.status, 405);
    // Who tries passwords at the page is on record as well.
    assert_eq!(admin.with_password("wrong").get("/").await.status, 401);
    let audit = admin.get("/v2/security/audit?limit=1").await.json();
    assert_eq!(audit["entries"][0]["action"], "log in", "{audit}");
}

#[test]
fn vendored_files_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("static/vendor");
    let table = std::fs::read_to_string(folder.join("README.md")).expect("the table");
    for entry in std::fs::read_dir(&folder).expect("static/vendor") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if name == "README.md" || path.is_dir() {
            continue;
        }
        let content = std::fs::read(&path).expect("a vendored file");
        let digest = <sha2::Sha256 as sha2::Digest>::digest(&content);
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let row = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("{name} is not in the table"));
        assert!(row.contains(&digest), "{name} is not the file of the table: {digest}");
    }
}
