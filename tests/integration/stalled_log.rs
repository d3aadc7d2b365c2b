//! Whoever reads standard error may stop, go away or have no room: nothing but the log waits.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;

use crate::support::http::Connection;
use crate::support::service::{Service, Setup};
use crate::support::{seconds, wait_until_blocking, within};

/// Sends standard error of the service somewhere else; `redirection` is one of the shell.
fn into(setup: Setup, redirection: &str) -> Setup {
    setup.wrapper(&["sh", "-c", &format!("exec \"$@\" {redirection}"), "sh"])
}

/// The reading end of a pipe that nobody reads.
fn unread(path: &Path) -> File {
    mkfifo(path, Mode::S_IRWXU).expect("a pipe");
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    options.open(path).expect("its reading end")
}

fn log_file(service: &Service) -> String {
    std::fs::read_to_string(service.data_dir().join("log/portcullis.log")).expect("the log")
}

/// What comes out of the pipe until `word` does.
fn read_until(reader: &mut File, word: &str) -> String {
    let mut read = Vec::new();
    wait_until_blocking(word, seconds(20), || {
        let mut piece = vec![0; 1 << 20];
        while let Ok(length @ 1..) = reader.read(&mut piece) {
            read.extend_from_slice(&piece[..length]);
        }
        String::from_utf8_lossy(&read).contains(word)
    });
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn a_reader_that_stalls_holds_up_nothing_and_is_told_what_it_missed() {
    let folder = tempfile::tempdir().expect("tempdir");
    let pipe = folder.path().join("pipe");
    let mut reader = unread(&pipe);
    // Nobody has read anything when it is ready.
    let setup = Service::portcullis().verbose();
    let mut service = into(setup, &format!("2>{}", pipe.display())).start();
    let mut stranger = Connection::plain(service.port("http")).await.expect("a connection");
    // More than the pipe and the queue hold together.
    let path = format!("/{}", "x".repeat(6000));
    for _ in 0..1000 {
        let answer = within(seconds(5), "an answer", stranger.get(&path, &[])).await;
        assert_eq!(answer.expect("an answer").status, 404);
    }
    let admin = service.admin();
    for round in 0..10 {
        within(seconds(5), "a change", admin.set_insecure_ports(round % 2 == 1)).await;
    }
    let health = admin.get("/v2/management/health").await.json();
    let warning = health["log"]["warnings"][0].as_str().expect("a warning").to_owned();
    assert!(warning.contains("standard error"), "{warning}");

    let read = read_until(&mut reader, "lines were left out: standard error was not read in time");
    let first = read.lines().find(|line| line.contains("listener http")).expect("the first lines");
    assert!(first.contains("INFO"), "{first}");
    // It flows again.
    service.signal(Signal::SIGHUP);
    read_until(&mut reader, "SIGHUP");

    let mut stranger = Connection::plain(service.port("http")).await.expect("a connection");
    for _ in 0..100 {
        stranger.get(&path, &[]).await.expect("an answer");
    }
    service.signal(Signal::SIGTERM);
    service.wait_for_end(seconds(10));
}

#[tokio::test]
async fn standard_error_that_takes_nothing_holds_up_nothing() {
    for redirection in ["2>&-", "2>/dev/full", "2> >(exec 0<&-; sleep 1)"] {
        let setup = Service::portcullis();
        let words = ["bash", "-c", &format!("exec \"$@\" {redirection}"), "bash"];
        let mut service = setup.wrapper(&words).start();
        let admin = service.admin();
        for round in 0..4 {
            within(seconds(5), redirection, admin.set_insecure_ports(round % 2 == 1)).await;
        }
        let token = json!({ "user_token": "bassoon-token" });
        assert_eq!(admin.post("/v2/security/jobtoken", &token).await.status, 200);
        wait_until_blocking("the log file has it", seconds(10), || {
            log_file(&service).contains("job token set")
        });
        service.signal(Signal::SIGTERM);
        let status = service.wait_for_end(seconds(10));
        assert!(status.success(), "{redirection}: {status}");
    }
}

/// The last words of a process that cannot start are read by whoever wants to know why.
#[test]
fn the_reason_for_no_start_is_told_behind_the_log() {
    let listeners =
        "[[listener]]\nname = \"http\"\naddress = \"192.0.2.1:1\"\nservices = [\"management\"]\n";
    let Err(refused) = Service::portcullis().listeners(listeners).prepare().try_start() else {
        panic!("it started on an address that is not here")
    };
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("cannot listen on 192.0.2.1:1"), "{}", refused.stderr);
}
