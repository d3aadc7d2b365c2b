//! The end: what is under way comes to its end first, within limits.

use std::io::Write;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::http2::Watcher;
use crate::support::process::Process;
use crate::support::service::Service;
use crate::support::shim::Shim;
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::websocket::Socket;
use crate::support::{millis, seconds, wait_until, wait_until_blocking};

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

/// The appliance with two seconds to end, on the machine of a shim.
fn on_the_machine_of(shim: &Shim) -> Service {
    let installation = Service::portcullis().settings("shutdown_timeout = \"2s\"").prepare();
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    installation.try_start_by(command).map_err(|refused| refused.stderr).expect("a start")
}

/// Sends something and does not wait for an answer.
fn begin(mut stream: impl Write, bytes: &[u8]) -> impl Write {
    stream.write_all(bytes).expect("a request");
    stream
}

/// The ways to hang it, each with what it waits for at its end.
fn hang(way: &str, shim: &Shim, service: &Service) -> Box<dyn Write> {
    let plain = || std::net::TcpStream::connect(("127.0.0.1", service.port("http")));
    let plain = || plain().expect("a connection");
    match way {
        "the disk" => {
            shim.hang_disk(true);
            let change = b"POST /v2/security/insecureports HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic YWRtaW46YWRtaW4=\r\nContent-Length: 32\r\n\r\n{\"enable_insecure_ports\": false}";
            Box::new(begin(plain(), change))
        }
        "a worker" => {
            shim.hang_workers();
            Box::new(begin(plain(), b"GET /healthz HTTP/1.1\r\n"))
        }
        "the owners" => {
            let socket = service.data_dir().join("console.sock");
            let socket = std::os::unix::net::UnixStream::connect(socket).expect("the console");
            shim.hang_readers(true);
            Box::new(begin(socket, b"{"))
        }
        _ => unreachable!("{way}"),
    }
}

#[test]
fn shutdown_timeout_is_kept_whatever_hangs() {
    for (way, told) in [
        ("the disk", Some("still waits for the disk")),
        ("the owners", Some("still waits for the owners' thread")),
        // Nobody waits for the answer of a hanging worker any longer than for others.
        ("a worker", None),
    ] {
        let shim = Shim::new();
        let mut service = on_the_machine_of(&shim);
        let _open = hang(way, &shim, &service);
        service.signal(Signal::SIGTERM);
        let status = service.wait_for_end(seconds(8));
        assert_eq!(status.code(), Some(if told.is_some() { 3 } else { 0 }), "{way}");
        if let Some(told) = told {
            wait_until_blocking("it is told", seconds(5), || service.log().contains(told));
        }
    }
}

#[test]
fn second_signal_ends_at_once_whatever_hangs() {
    for (way, signal) in [
        ("the disk", Signal::SIGTERM),
        ("the owners", Signal::SIGINT),
        ("a worker", Signal::SIGQUIT),
    ] {
        let shim = Shim::new();
        let installation = Service::portcullis().prepare();
        let address = installation.path().join("notify");
        let manager = UnixDatagram::bind(&address).expect("a datagram socket");
        manager.set_read_timeout(Some(seconds(20))).expect("a timeout");
        let mut command = installation.command();
        shim.attach(&mut command, &installation.data_dir());
        command.env("NOTIFY_SOCKET", &address);
        let started = installation.try_start_by(command).map_err(|refused| refused.stderr);
        let mut service = started.expect("a start");
        let _open = hang(way, &shim, &service);
        service.signal(Signal::SIGTERM);
        // Signals of one number are one while they wait: the first has to be taken up first.
        let mut word = [0; 64];
        while !word.starts_with(b"STOPPING=1") {
            manager.recv(&mut word).expect("a word to the service manager");
        }
        service.signal(signal);
        let status = service.wait_for_end(seconds(5));
        assert_eq!(status.code(), Some(0), "{way}");
    }
}

#[test]
fn signal_during_a_start_that_hangs_ends_it() {
    let shim = Shim::new();
    shim.hang_disk(true);
    let installation = Service::portcullis().prepare();
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let mut process = Process::spawn(command);
    let status = format!("/proc/{}/status", process.child.id());
    wait_until_blocking("the process listens for signals", seconds(20), || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.and_then(|caught| u64::from_str_radix(caught.trim(), 16).ok());
        caught.is_some_and(|caught| caught & (1 << (Signal::SIGTERM as u32 - 1)) != 0)
    });
    let pid = nix::unistd::Pid::from_raw(i32::try_from(process.child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, Signal::SIGTERM).expect("signal it");
    wait_until_blocking("it ends", seconds(5), || {
        process.child.try_wait().expect("wait").is_some()
    });
    assert_eq!(process.child.wait().expect("wait").code(), Some(0));
    assert!(process.whole_log().contains("SIGTERM during the start"));
}

#[test]
fn watched_pipe_is_told_and_holds_up_nothing() {
    let folder = tempfile::tempdir().expect("tempdir");
    let at = |name: &str| folder.path().join(name);
    nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    std::os::unix::fs::symlink("pipe", at("link")).expect("a link");
    std::fs::create_dir(at("folder")).expect("a folder");
    let _socket = UnixDatagram::bind(at("socket")).expect("a socket");
    std::fs::File::create(at("huge")).and_then(|file| file.set_len(1 << 40)).expect("a file");
    for (path, told) in [
        (at("pipe"), "a named pipe"),
        (at("link"), "a named pipe"),
        (at("folder"), "a folder"),
        (at("socket"), "a socket"),
        (at("huge"), "larger than"),
        ("/dev/zero".into(), "a device"),
        (at("nothing"), "does not exist"),
    ] {
        let path = path.display();
        let watch = format!("[tls]\nwatch = {{ certificate = \"{path}\", key = \"{path}\" }}");
        let mut service = Service::portcullis().settings(&watch).start();
        wait_until_blocking(told, seconds(10), || service.log().contains(told));
        service.signal(Signal::SIGHUP);
        service.signal(Signal::SIGTERM);
        assert!(service.wait_for_end(seconds(5)).success(), "{path}");
    }
}
