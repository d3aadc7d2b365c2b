//! Who did what, when, from where, and with what outcome; never a secret.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::stored::{DOCUMENTED_SECRET, Stored};
use crate::support::tls::served_fingerprint;
use crate::support::watched::PlainFiles;
use crate::support::{seconds, wait_until};

const AUDIT: &str = "/v2/security/audit";

/// The entries that this query gives, newest first.
async fn entries(admin: &Admin, query: &str) -> Vec<Value> {
    let answer = admin.get(&format!("{AUDIT}{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["entries"].as_array().expect("a list of entries").clone()
}

async fn newest(admin: &Admin) -> Value {
    entries(admin, "?limit=1").await.pop().expect("an entry")
}

/// The parts of an entry that every one has.
#[track_caller]
fn check(entry: &Value, user: &str, outcome: &str, action: &str) {
    let text = |key: &str| entry[key].as_str().unwrap_or_else(|| panic!("no {key} in {entry}"));
    assert!(text("user").contains(user), "{entry}");
    assert_eq!(text("outcome"), outcome, "{entry}");
    assert!(text("action").contains(action), "{entry}");
    let at = text("at");
    assert!(at.starts_with("20") && at.ends_with('Z'), "{entry}");
}

fn record(service: &Service) -> PathBuf {
    service.data_dir().join("audit/audit.jsonl")
}

#[tokio::test]
async fn installed_certificate_is_recorded_with_the_fingerprints_before_and_after() {
    let service = Service::portcullis().start();
    let authority = CertificateAuthority::new();
    let mut old = served_fingerprint(service.port("https")).await;
    for bundle in [authority.pair_a(), authority.pair_b()] {
        service.admin().install(&bundle).await;
        let entry = newest(&service.admin()).await;
        check(&entry, "admin", "done", "sslcertificate");
        assert_eq!(entry["address"], "127.0.0.1", "{entry}");
        assert_eq!(entry["old_fingerprint"], old, "{entry}");
        assert_eq!(entry["new_fingerprint"], bundle.fingerprint, "{entry}");
        old = bundle.fingerprint;
    }
    service.admin().delete("/v2/security/sslcertificate").await;
    let entry = newest(&service.admin()).await;
    check(&entry, "admin", "done", "DELETE");
    assert_eq!(entry["old_fingerprint"], old, "{entry}");
}

#[tokio::test]
async fn refused_upload_is_recorded_with_its_reason() {
    let service = Service::portcullis().start();
    let authority = CertificateAuthority::new();
    let (one, other) = (authority.pair_a(), authority.pair_b());
    let url = service.url("https", "/v2/security/sslcertificate");
    let error = curl_as("admin", &["-F", &one.keyfile(), "-F", &other.certfile(), &url]);
    let error = error.expect(400).json();
    let entry = newest(&service.admin()).await;
    check(&entry, "admin", "refused", "sslcertificate");
    assert_eq!(entry["detail"], error["detail"]);
    assert!(entry["new_fingerprint"].is_null(), "{entry}");
}

#[tokio::test]
async fn every_kind_of_change_is_recorded() {
    let service = Service::portcullis().start();
    let admin = service.admin();
    let changes = [
        ("POST", "insecureports", json!({ "enable_insecure_ports": false })),
        ("POST", "jobtoken", json!({ "user_token": "bassoon-token" })),
        ("DELETE", "jobtoken", Value::Null),
        ("POST", "adminpassword", json!({ "password": "admin" })),
        ("DELETE", "adminpassword", Value::Null),
        ("DELETE", "reset", Value::Null),
    ];
    for (method, name, body) in changes {
        let path = format!("/v2/security/{name}");
        let answer = match method {
            "POST" => admin.post(&path, &body).await,
            _ => admin.delete(&path).await,
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let entry = newest(&admin).await;
        check(&entry, "admin", "done", name);
        check(&entry, "admin", "done", method);
    }
    let wrong = json!({ "password": "" });
    assert_eq!(admin.post("/v2/security/adminpassword", &wrong).await.status, 400);
    let entry = newest(&admin).await;
    check(&entry, "admin", "refused", "adminpassword");
    assert!(entry["detail"].as_str().is_some_and(|why| why.contains("empty")), "{entry}");
}

#[tokio::test]
async fn changes_tell_what_was_changed() {
    let service = Service::portcullis()
        .settings("[power]\nreboot = [\"false\"]\nshutdown = [\"true\"]\ndelay = \"1s\"\n")
        .start();
    let admin = service.admin();
    let url = |path: &str| service.url("https", &format!("/v2/management/{path}"));
    let put = |body: &str| curl_as("admin", &["-X", "PUT", "-d", body, &url("settings")]);
    put(r#"{"max_draining": 4, "log_level": "debug"}"#).expect(200);
    let entry = newest(&admin).await;
    check(&entry, "admin", "done", "PUT /v2/management/settings");
    assert_eq!(entry["detail"], "log_level: null -> \"debug\", max_draining: 32 -> 4", "{entry}");
    put(r#"{"max_draining": 0}"#).expect(400);
    let entry = newest(&admin).await;
    check(&entry, "admin", "refused", "PUT /v2/management/settings");
    curl_as("admin", &["-d", r#"{"minutes": 1}"#, &url("cleanupinterval")]).expect(200);
    let entry = newest(&admin).await;
    check(&entry, "admin", "done", "POST /v2/management/cleanupinterval");
    assert_eq!(entry["detail"], "cleanup_interval_minutes: 1440 -> 1", "{entry}");

    curl_as("admin", &["-X", "DELETE", &url("reboot")]).expect(200);
    wait_until("the command has failed", seconds(10), async || {
        let entry = newest(&admin).await;
        entry["action"] == "reboot now" && entry["outcome"] == "failed"
    })
    .await;
    let all = entries(&admin, "?limit=3").await;
    assert!(all[0]["detail"].as_str().is_some_and(|why| why.contains("exit status: 1")), "{all:?}");
    check(&all[1], "admin", "done", "reboot now");
    check(&all[2], "admin", "done", "DELETE /v2/management/reboot");
    assert!(all[2]["detail"].as_str().is_some_and(|due| due.starts_with("reboot at 20")));
}

#[tokio::test]
async fn failed_login_is_recorded_and_a_question_is_not() {
    let service = Service::portcullis().start();
    let admin = service.admin();
    let before = entries(&admin, "").await.len();
    assert_eq!(admin.about_status().await, 200);
    assert_eq!(entries(&admin, "").await.len(), before);
    assert_eq!(admin.with_password("guitar").about_status().await, 401);
    let all = entries(&admin, "").await;
    assert_eq!(all.len(), before + 1);
    check(&all[0], "", "refused", "log in");
    assert_eq!(all[0]["address"], "127.0.0.1");
    let change = json!({ "password": "mine now" });
    let answer = admin.with_password("guitar").post("/v2/security/adminpassword", &change).await;
    assert_eq!(answer.status, 401);
    let entry = newest(&admin).await;
    check(&entry, "", "refused", "adminpassword");
    assert_ne!(entry["user"], "admin", "somebody who guessed is not the administrator");
}

#[tokio::test]
async fn stranger_who_tries_to_change_something_is_recorded() {
    let service = Service::portcullis().start();
    curl(&["-X", "DELETE", &service.url("https", "/v2/security/reset")]).expect(401);
    let entry = newest(&service.admin()).await;
    check(&entry, "anybody", "refused", "reset");
    curl(&[&service.url("https", AUDIT)]).expect(401);
}

#[tokio::test]
async fn newest_entries_come_first_and_limit_and_since_choose_among_them() {
    let service = Service::portcullis().start();
    let admin = service.admin();
    for round in 0..6 {
        admin.set_insecure_ports(round % 2 == 0).await;
        admin.post("/v2/security/jobtoken", &json!({ "user_token": "bassoon-token" })).await;
    }
    let all = entries(&admin, "").await;
    let actions = all.iter().map(|entry| entry["action"].as_str().expect("an action"));
    let actions = actions.collect::<Vec<_>>();
    assert_eq!(actions.len(), 12);
    assert!(actions[0].contains("jobtoken") && actions[1].contains("insecureports"), "{actions:?}");
    assert_eq!(entries(&admin, "?limit=5").await, all[..5]);
    // Both ends belong to it.
    let since = all[3]["at"].as_str().expect("a time").replace('+', "%2B");
    assert_eq!(entries(&admin, &format!("?since={since}")).await, all[..4]);
    assert_eq!(entries(&admin, &format!("?limit=2&since={since}")).await, all[..2]);
    assert!(entries(&admin, "?since=2100-01-01T00:00:00Z").await.is_empty());
}

#[tokio::test]
async fn wrong_limit_or_since_is_refused_by_name() {
    let service = Service::portcullis().start();
    for (query, word) in [
        ("?limit=0", "limit"),
        ("?limit=many", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=99999999", "limit"),
        ("?since=yesterday", "since"),
        ("?since=2026-01-01", "since"),
        ("?sicne=2026-01-01T00:00:00Z", "since"),
    ] {
        let answer = service.admin().get(&format!("{AUDIT}{query}")).await;
        assert_eq!(answer.status, 400, "{query}: {}", answer.text());
        let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(word), "{query}: {detail}");
    }
}

#[tokio::test]
async fn record_survives_a_restart_and_is_only_ever_appended_to() {
    let service = Service::portcullis().start();
    service.admin().set_insecure_ports(false).await;
    let before = entries(&service.admin(), "").await;
    let bytes = std::fs::read(record(&service)).expect("the record");
    let mode = std::fs::metadata(record(&service)).expect("the record").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let service = service.restart();
    service.admin().set_insecure_ports(true).await;
    let after = entries(&service.admin(), "").await;
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after[1..], before);
    let longer = std::fs::read(record(&service)).expect("the record");
    assert!(longer.len() > bytes.len() && longer.starts_with(&bytes), "it was written anew");
    for line in String::from_utf8(longer).expect("text").lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|err| panic!("{err} in {line}"));
    }
}

/// What was recorded just before a crash is there, and half a line does not spoil the rest.
#[tokio::test]
async fn record_survives_a_crash() {
    let service = Service::portcullis().start();
    service.admin().set_insecure_ports(false).await;
    let before = entries(&service.admin(), "").await;
    let file = record(&service);
    let installation = service.kill();
    let mut bytes = std::fs::read(&file).expect("the record");
    bytes.extend_from_slice(br#"{"at":"2026-01-01T00:0"#);
    std::fs::write(&file, bytes).expect("cut a line short");
    let service = installation.start();
    service.admin().set_insecure_ports(true).await;
    let after = entries(&service.admin(), "").await;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    assert_eq!(after[1..], before);
}

#[tokio::test]
async fn operator_at_the_console_is_recorded_whether_the_service_runs_or_not() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let service = Service::portcullis().start();
    service.console().set_password("own");
    let admin = service.admin().with_password("own");
    let entry = newest(&admin).await;
    check(&entry, "console", "done", "password");
    assert!(entry["address"].is_null(), "{entry}");
    let old = served_fingerprint(service.port("https")).await;
    let installation = service.stop();
    let (key, chain) = (bundle.key.display().to_string(), bundle.chain.display().to_string());
    let install = ["certificate", "install", "--key", &key, "--certificate", &chain];
    installation.console().done(&install);
    let service = installation.start();
    let entry = newest(&service.admin().with_password("own")).await;
    check(&entry, "console", "done", "certificate");
    assert_eq!(entry["old_fingerprint"], old, "{entry}");
    assert_eq!(entry["new_fingerprint"], bundle.fingerprint, "{entry}");
}

#[tokio::test]
async fn refusal_at_the_console_is_recorded() {
    let service = Service::portcullis().start();
    service.console().run(&["set-password"]).refusal();
    check(&newest(&service.admin()).await, "console", "refused", "password");
}

#[tokio::test]
async fn edited_and_watched_files_are_recorded_as_what_they_are() {
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&old);
    let service = Service::portcullis().settings(&files.settings()).start();
    let admin = service.admin();
    files.replace_key("not a key\n");
    let found = async |user: &str, outcome: &str| {
        let all = entries(&admin, "").await;
        all.into_iter().find(|entry| entry["user"] == user && entry["outcome"] == outcome)
    };
    let until = async |user: &str, outcome: &str| {
        wait_until(outcome, seconds(6), async || found(user, outcome).await.is_some()).await;
        found(user, outcome).await.expect("just seen")
    };
    let refused = until("watched files", "refused").await;
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("keyfile")), "{refused}");
    files.write(&new);
    wait_until("the new pair is recorded", seconds(6), async || {
        newest(&admin).await["new_fingerprint"] == new.fingerprint
    })
    .await;
    check(&newest(&admin).await, "watched files", "done", "certificate");
    let users = Stored::in_data_dir(&service.data_dir()).users_file();
    std::fs::write(&users, DOCUMENTED_SECRET).expect("edit users");
    check(&until("edited files", "done").await, "edited files", "done", "state files");
}

#[tokio::test]
async fn no_secret_is_recorded() {
    let service = Service::portcullis().start();
    let authority = CertificateAuthority::new();
    let (one, other) = (authority.pair_a(), authority.pair_b());
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &one.keyfile(), "-F", &one.certfile(), &url]).expect(200);
    curl_as("admin", &["-F", &other.keyfile(), "-F", &one.certfile(), &url]).expect(400);
    let swapped =
        [format!("keyfile=@{}", one.chain.display()), format!("certfile=@{}", one.key.display())];
    curl_as("admin", &["-F", &swapped[0], "-F", &swapped[1], &url]).expect(400);
    let admin = service.admin().set_password("accordion").await;
    admin.post("/v2/security/jobtoken", &json!({ "user_token": "bassoon-token" })).await;
    admin.post("/v2/security/jobtoken", &json!({ "user_token": "bassoon token" })).await;
    admin.post("/v2/security/jobtoken", &json!({ "usr_token": "bassoon-token" })).await;
    assert_eq!(admin.with_password("ukulele").about_status().await, 401);
    // A login in the path or in a query is nothing to be recorded either.
    let mut connection = Connection::tls(service.port("https")).await.expect("a connection");
    let secret = [("authorization", "Bearer bassoon-token")];
    connection
        .request("POST", "/v2/security/reset?password=ukulele", &secret, b"")
        .await
        .expect("an answer");
    let answer = admin.get(AUDIT).await.text();
    let file = std::fs::read_to_string(record(&service)).expect("the record");
    let key = std::fs::read_to_string(&one.key).expect("the key");
    let words = ["accordion", "ukulele", "bassoon", "PRIVATE KEY"].map(str::to_owned);
    let lines = key.lines().filter(|line| line.len() == 64).map(str::to_owned);
    for word in words.into_iter().chain(lines) {
        assert!(!answer.contains(&word) && !file.contains(&word), "{word} is recorded");
    }
}

/// Somebody who guesses all day must not be able to fill the disk, or to hide among the guesses.
#[tokio::test]
async fn flood_of_failed_logins_leaves_few_entries() {
    let service = Service::portcullis().start();
    let url = service.url("https", "/v2/management/host/about");
    // A few from each of many addresses, so that none of them is slowed down for its own sake.
    let entry = |host: usize| {
        format!(
            "next\nurl = \"{url}\"\nuser = \"admin:wrong\"\ninterface = \"127.0.1.{}\"\ninsecure\nsilent\noutput = \"/dev/null\"\n",
            host + 1
        )
    };
    let config = (0..300).map(|number| entry(number / 5)).collect::<String>();
    let config = config.trim_start_matches("next\n");
    let file = service.path().join("curl.txt");
    std::fs::write(&file, config).expect("write the list");
    service.admin().set_insecure_ports(true).await;
    // Reading waits until it is written.
    newest(&service.admin()).await;
    let changes = std::fs::read(record(&service)).expect("the record");
    let mut command = Command::new("curl");
    command.args(["--parallel", "--parallel-max", "20", "--config"]).arg(&file);
    assert!(command.status().expect("the curl command").success());
    let all = entries(&service.admin(), "?limit=10000").await;
    let (told, others): (Vec<_>, Vec<_>) =
        all.iter().partition(|entry| entry["left_out"].is_number());
    let refused = others.iter().filter(|entry| entry["outcome"] == "refused").count();
    // A hundred at once, and one more each five seconds.
    assert!((100..160).contains(&refused), "{refused} entries");
    let left_out: u64 = told.iter().filter_map(|entry| entry["left_out"].as_u64()).sum();
    assert_eq!(refused as u64 + left_out, 300, "every guess is counted: {told:?}");
    assert_eq!(std::fs::read(record(&service)).expect("the record"), changes, "changes alone");
    let refusals = service.data_dir().join("audit/refusals.jsonl");
    let mode = std::fs::metadata(refusals).expect("the refusals").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Refusals of many kinds, none of which lands among the changes.
#[tokio::test]
async fn refusals_of_strangers_lie_in_a_ring_of_their_own() {
    let service = Service::portcullis().start();
    let admin = service.admin();
    admin.set_insecure_ports(true).await;
    let url = |path: &str| service.url("https", path);
    let foreign = ["-H", "Origin: https://evil.example.test", "-H", "Sec-Fetch-Site: cross-site"];
    let reset = url("/v2/security/reset");
    curl(&[&foreign[..], &["-X", "DELETE", &reset]].concat()).expect(403);
    curl_as("admin", &[&foreign[..], &["-X", "DELETE", &reset]].concat()).expect(403);
    curl(&["-X", "DELETE", &reset]).expect(401);
    curl_as("wrong", &["-d", "{}", &url("/v2/security/insecureports")]).expect(401);
    curl(&["-H", "Authorization: Bearer x", &url("/v2/security/audit")]).expect(401);
    // People with the password are recorded apart, also where they are refused.
    curl_as("admin", &["-d", "{", &url("/v2/security/insecureports")]).expect(400);
    let all = entries(&admin, "").await;
    let lines = |name: &str| {
        let file = service.data_dir().join("audit").join(name);
        let text = std::fs::read_to_string(file).expect("a file");
        text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")).collect()
    };
    let (changes, refusals): (Vec<Value>, Vec<Value>) =
        (lines("audit.jsonl"), lines("refusals.jsonl"));
    assert_eq!((changes.len(), refusals.len()), (2, 5), "{all:?}");
    assert!(changes.iter().all(|entry| entry["user"] == "admin"), "{changes:?}");
    assert_eq!(all.len(), 7, "both are read as one");
    let times: Vec<_> = all.iter().map(|entry| entry["at"].as_str().expect("a time")).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
}

/// Files that a version before refusals had a ring of their own has left.
#[tokio::test]
async fn a_record_of_an_older_version_is_read_on() {
    let installation = Service::portcullis().start().stop();
    let folder = installation.data_dir().join("audit");
    let entry = |second: usize, user: &str| {
        format!(
            r#"{{"at":"2026-01-01T00:00:0{second}Z","user":"{user}","address":"192.0.2.1","action":"log in","outcome":"refused"}}"#
        ) + "\n"
    };
    let older = entry(1, "admin?") + &entry(2, "admin");
    std::fs::write(folder.join("audit.1.jsonl"), older).expect("write");
    std::fs::write(folder.join("audit.jsonl"), entry(3, "anybody")).expect("write");
    let service = installation.start();
    service.admin().set_insecure_ports(false).await;
    let all = entries(&service.admin(), "").await;
    assert_eq!(all.len(), 4, "{all:?}");
    assert_eq!(all[3]["at"], "2026-01-01T00:00:01Z");
}
