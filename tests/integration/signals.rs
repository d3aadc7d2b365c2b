//! Signals other than those of the end: none kills.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{http::Connection, seconds, service::Service, wait_until_blocking};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signals_that_mean_nothing_do_not_kill() {
    let mut service = Service::portcullis().start();
    let mut kept = Connection::tls(service.port("https")).await.expect("a connection");
    for signal in [
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGALRM,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
        Signal::SIGIO,
        Signal::SIGPIPE,
        Signal::SIGXFSZ,
    ] {
        service.signal(signal);
        let told = format!("{signal} means nothing here");
        wait_until_blocking("the signal is told", seconds(10), || service.log().contains(&told));
        assert_eq!(kept.get("/healthz", &[]).await.expect("an answer").status, 200, "{signal}");
    }
    // nix has no names for these.
    for number in ["16", "34", "35", "50", "64"] {
        let (number_of, pid) = (format!("-{number}"), service.pid().to_string());
        let sent = Command::new("kill").args([number_of, pid]).status().expect("kill");
        assert!(sent.success());
        assert_eq!(kept.get("/healthz", &[]).await.expect("an answer").status, 200, "{number}");
    }
    assert!(service.ended().is_none());
}

#[test]
fn each_signal_of_the_end_drains_and_puts_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGPWR] {
        let mut service = Service::portcullis().start();
        service.signal(signal);
        assert!(service.wait_for_end(seconds(10)).success(), "{signal}");
        assert!(!service.data_dir().join("console.sock").exists(), "{signal}");
        let log = service.log();
        assert!(log.contains(&format!("{signal}: shutting down")), "{log}");
    }
}
