//! The end: what is under way comes to its end first, within limits.

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::http2::Watcher;
use crate::support::service::Service;
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::websocket::Socket;
use crate::support::{millis, seconds, wait_until};

/// An upload whose last piece waits for the gate, certainly in progress.
async fn upload_in_progress(
    service: &Service,
) -> (JoinHandle<Result<(), String>>, watch::Sender<bool>) {
    let (gate, opened) = watch::channel(false);
    let upload = SlowUpload {
        name: "upload".to_owned(),
        port: service.port("https"),
        seed: 1,
        pieces: Pieces { count: 3, bytes: 1000, step: millis(10) },
        gate: opened,
    };
    let upload = tokio::spawn(upload.over_http1(true, Framing::ContentLength));
    let admin = service.admin();
    wait_until("the upload is in progress", seconds(5), async || {
        // One of them is the question itself.
        admin.listener("https").await.serving().requests_in_progress >= 2
    })
    .await;
    (upload, gate)
}

async fn until_refused(port: u16) {
    wait_until("new connections are refused", seconds(5), async || {
        TcpStream::connect(("127.0.0.1", port)).await.is_err()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upload_in_progress_is_answered_before_the_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut service = Service::echo().start();
        let (upload, gate) = upload_in_progress(&service).await;
        service.signal(signal);
        until_refused(service.port("https")).await;
        until_refused(service.port("http")).await;
        assert!(service.ended().is_none(), "it ended under an upload");
        gate.send_replace(true);
        upload.await.expect("the upload").expect("a whole upload");
        assert!(service.wait_for_end(seconds(5)).success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_signal_ends_at_once() {
    let mut service = Service::echo().start();
    let (upload, _gate) = upload_in_progress(&service).await;
    service.signal(Signal::SIGTERM);
    until_refused(service.port("https")).await;
    assert!(service.ended().is_none(), "the first signal ended it already");
    service.signal(Signal::SIGTERM);
    service.wait_for_end(seconds(2));
    upload.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn end_comes_when_the_shutdown_timeout_is_over() {
    let mut service = Service::echo().settings("shutdown_timeout = \"2s\"").start();
    let (upload, _gate) = upload_in_progress(&service).await;
    let mut socket = Socket::connect(service.port("wss"), true).await.expect("a WebSocket");
    socket.echo("hello".into()).await.expect("an echo");
    service.signal(Signal::SIGTERM);
    service.wait_for_end(seconds(6));
    upload.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_do_not_hold_up_the_end() {
    let mut service = Service::echo().start();
    let port = service.port("https");
    let mut kept = Connection::tls(port).await.expect("a connection");
    assert_eq!(kept.get("/healthz", &[]).await.expect("an answer").status, 200);
    let mut watcher = Watcher::connect(port).await.expect("an HTTP/2 connection");
    watcher.get("/healthz").await.expect("an answer");
    service.signal(Signal::SIGTERM);
    assert!(service.wait_for_end(seconds(5)).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_hold_up_the_end_no_longer_than_the_shutdown_timeout() {
    let mut service = Service::echo().settings("shutdown_timeout = \"2s\"").start();
    let _silent_tls = TcpStream::connect(("127.0.0.1", service.port("https"))).await;
    let _silent_plain = TcpStream::connect(("127.0.0.1", service.port("http"))).await;
    let mut half = Connection::plain(service.port("http")).await.expect("a connection");
    half.send(b"GET /healthz HTTP/1.1\r\nHo").await.expect("half a head");
    let admin = service.admin();
    wait_until("the connections are accepted", seconds(5), async || {
        admin.listener("http").await.serving().connections >= 2
    })
    .await;
    service.signal(Signal::SIGTERM);
    service.wait_for_end(seconds(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generation_that_drains_has_until_the_shutdown_timeout_too() {
    let mut service = Service::echo().start();
    let (upload, gate) = upload_in_progress(&service).await;
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_b()).await;
    service.signal(Signal::SIGTERM);
    until_refused(service.port("https")).await;
    gate.send_replace(true);
    upload.await.expect("the upload").expect("a whole upload");
    assert!(service.wait_for_end(seconds(5)).success());
}

#[test]
fn service_manager_is_told_of_start_and_end() {
    let folder = tempfile::tempdir().expect("tempdir");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a datagram socket");
    socket.set_read_timeout(Some(seconds(20))).expect("a timeout");
    let variable = format!("NOTIFY_SOCKET={}", path.display());
    let mut service = Service::echo().wrapper(&["env", &variable]).start();
    let heard = |word: &str| {
        let mut buffer = [0; 4096];
        loop {
            let count = socket.recv(&mut buffer).expect("a word to the service manager");
            if String::from_utf8_lossy(&buffer[..count]).lines().any(|line| line == word) {
                return;
            }
        }
    };
    heard("READY=1");
    service.signal(Signal::SIGTERM);
    heard("STOPPING=1");
    assert!(service.wait_for_end(seconds(10)).success());
}
