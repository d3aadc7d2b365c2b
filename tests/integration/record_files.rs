//! The files of the log and of the audit record, which others remove, rename and replace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::service::Service;
use crate::support::{seconds, wait_until};

fn files(service: &Service) -> [PathBuf; 2] {
    ["log/portcullis.log", "audit/audit.jsonl"].map(|name| service.data_dir().join(name))
}

async fn entries(admin: &Admin) -> Vec<Value> {
    let answer = admin.get("/v2/security/audit").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["entries"].as_array().expect("entries").clone()
}

async fn health(admin: &Admin, component: &str) -> (String, String) {
    let health = admin.get("/v2/management/health").await.json();
    let component = &health[component];
    (component["status"].as_str().expect("a status").to_owned(), component["errors"].to_string())
}

/// Something that somebody does to a file.
type Accident = fn(&Path);

/// What somebody does to a file, and whether what was in it is gone from the record with it.
const ACCIDENTS: [(&str, Accident, bool); 6] = [
    ("removed", |path| fs::remove_file(path).expect("remove"), true),
    ("renamed", |path| fs::rename(path, path.with_extension("2026")).expect("rename"), true),
    ("its folder removed", |path| fs::remove_dir_all(path.parent().unwrap()).expect("rmdir"), true),
    (
        "its folder renamed",
        |path| {
            let folder = path.parent().unwrap();
            let names = (1..).map(|number| folder.with_extension(number.to_string()));
            let free = names.into_iter().find(|name| !name.exists()).expect("a free name");
            fs::rename(folder, free).expect("rename");
        },
        true,
    ),
    ("cut", |path| fs::write(path, "").expect("cut"), true),
    (
        "replaced by a copy",
        |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).expect("copy");
            fs::rename(copy, path).expect("rename");
        },
        false,
    ),
];

#[tokio::test]
async fn files_that_are_taken_away_come_back_and_hold_what_comes_after() {
    for (accident, happens, loses) in ACCIDENTS {
        let service = Service::portcullis().start();
        let admin = service.admin();
        admin.set_insecure_ports(false).await;
        let before = entries(&admin).await.len();
        let [log, record] = files(&service);
        for file in [&log, &record] {
            happens(file);
        }
        // At once: nothing that follows is lost.
        for round in 0..4 {
            admin.set_insecure_ports(round % 2 == 0).await;
        }
        let after = entries(&admin).await;
        let expected = if loses { 4 } else { before + 4 };
        assert_eq!(after.len(), expected, "{accident}: {after:?}");
        let answer = admin.get("/v2/management/logs?limit=1h").await.text();
        assert!(answer.matches("plain HTTP switched").count() >= 4, "{accident}: {answer}");
        for file in [&log, &record] {
            let mode = file.metadata().expect("it is there again").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{accident}");
            let folder = file.parent().unwrap().metadata().expect("a folder");
            assert_eq!(folder.permissions().mode() & 0o777, 0o700, "{accident}");
        }
        assert_eq!(health(&admin, "audit").await.0, "healthy", "{accident}");
        // Also without anything to write.
        happens(&record);
        happens(&log);
        service.signal(Signal::SIGHUP);
        wait_until("both are there again", seconds(10), async || log.exists() && record.exists())
            .await;
    }
}

#[tokio::test]
async fn what_is_no_file_is_left_alone_and_told_until_it_is_gone() {
    let accidents: [(&str, Accident); 3] = [
        ("a folder", |path| fs::create_dir(path).expect("a folder")),
        ("a pipe", |path| mkfifo(path, Mode::S_IRWXU).expect("a pipe")),
        ("a symbolic link", |path| {
            let target = path.with_extension("target");
            fs::write(&target, "").expect("a target");
            std::os::unix::fs::symlink(target, path).expect("a link");
        }),
    ];
    let service = Service::portcullis().start();
    let admin = service.admin();
    let files = files(&service);
    for (change, (what, happens)) in accidents.into_iter().enumerate() {
        for file in &files {
            fs::remove_file(file).expect("remove");
            happens(file);
        }
        for component in ["audit", "log"] {
            wait_until(what, seconds(10), async || {
                let (status, errors) = health(&admin, component).await;
                status == "unhealthy" && errors.contains(what)
            })
            .await;
        }
        let about = admin.get("/v2/management/host/about").await.text();
        assert!(
            about.contains("audit-not-written") && about.contains("log-not-written"),
            "{about}"
        );
        admin.set_insecure_ports(change % 2 == 1).await;
        for file in &files {
            let _ = fs::remove_file(file).or_else(|_| fs::remove_dir(file));
            if what == "a symbolic link" {
                let target = fs::read(file.with_extension("target")).expect("the target");
                assert_eq!(target, b"", "the link was followed");
            }
        }
        wait_until("it is well again", seconds(10), async || {
            health(&admin, "audit").await.0 == "healthy"
                && health(&admin, "log").await.0 == "healthy"
        })
        .await;
        // What was done meanwhile was kept, and the gap is told.
        let all = entries(&admin).await;
        let actions: Vec<_> = all.iter().map(|entry| entry["action"].to_string()).collect();
        assert!(actions.iter().any(|action| action.contains("insecureports")), "{actions:?}");
        assert!(actions.iter().any(|action| action.contains("\"record\"")), "{actions:?}");
        let log = fs::read_to_string(&files[0]).expect("the log");
        assert!(log.contains("are missing here"), "{log}");
    }
}
