//! Listeners are replaced while clients come, talk and upload: nobody notices.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::certificates::CertificateAuthority;
use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::tls::{connect, fingerprint_of};
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::websocket::Socket;
use crate::support::{millis, pace, seconds, tls, wait_until, within};

/// What the clients of the load test share.
struct Load {
    /// Position of each certificate in the order of the replacements.
    order: HashMap<String, usize>,
    /// The newest certificate whose upload has been answered.
    answered: AtomicUsize,
    finished: AtomicBool,
}

impl Load {
    /// Opens a connection and fails if it shows a certificate that was already replaced.
    async fn connection(&self, port: u16) -> Result<tls::ClientStream, String> {
        let at_least = self.answered.load(Ordering::SeqCst);
        let stream = connect(port, &["http/1.1"]).await.map_err(|err| format!("TLS: {err}"))?;
        let shown = fingerprint_of(&stream);
        match self.order.get(&shown) {
            Some(position) if *position >= at_least => Ok(stream),
            other => Err(format!("stale: {other:?} shown, {at_least} was answered before")),
        }
    }

    /// Opens connections until the end, each with a whole request.
    async fn requests(&self, port: u16) -> Result<u64, String> {
        let mut count = 0;
        while !self.finished.load(Ordering::SeqCst) {
            let stream = Box::new(self.connection(port).await?);
            let mut connection = Connection::over(stream, port);
            let answer = connection.get("/healthz", &[]).await;
            let answer = answer.map_err(|err| format!("request {count}: {err}"))?;
            if answer.status != 200 {
                return Err(format!("request {count}: {answer:?}"));
            }
            count += 1;
        }
        Ok(count)
    }

    /// Opens WebSockets until the end, each with one echo.
    async fn websockets(&self, port: u16) -> Result<u64, String> {
        let mut count = 0;
        while !self.finished.load(Ordering::SeqCst) {
            let stream = Box::new(self.connection(port).await?);
            let socket = Socket::over(stream, port, true).await;
            let mut socket = socket.map_err(|err| format!("upgrade {count}: {err}"))?;
            socket.echo("hello".into()).await?;
            socket.close().await?;
            count += 1;
        }
        Ok(count)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_new_connection_fails_or_shows_an_old_certificate_over_fifty_replacements() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let series = authority.series(51);
    let admin = service.admin();
    admin.install(&series[0]).await;
    let order = series.iter().enumerate().map(|(at, one)| (one.fingerprint.clone(), at)).collect();
    let load =
        Arc::new(Load { order, answered: AtomicUsize::new(0), finished: AtomicBool::new(false) });

    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (load, https, wss) = (Arc::clone(&load), service.port("https"), service.port("wss"));
        clients.spawn(async move {
            if number < 5 { load.requests(https).await } else { load.websockets(wss).await }
        });
    }
    for (position, bundle) in series.iter().enumerate().skip(1) {
        admin.install(bundle).await;
        load.answered.store(position, Ordering::SeqCst);
        for port in service.tls_ports() {
            load.connection(port).await.expect("the first connection after the answer");
        }
        pace(millis(50)).await;
    }
    load.finished.store(true, Ordering::SeqCst);
    let mut connections = 0;
    while let Some(client) = clients.join_next().await {
        connections += client.expect("a client").expect("every connection of a client");
    }
    assert!(connections > 200, "{connections} connections are too few to show anything");
    admin.until_drained().await;
}

/// Everything that is under way while listeners change.
struct Traffic {
    uploads: JoinSet<Result<(), String>>,
    chats: JoinSet<Result<u64, String>>,
    gate: watch::Sender<bool>,
    stop: watch::Sender<bool>,
}

const HTTP1_UPLOADS: u64 = 20;
const HTTP2_UPLOADS: u64 = 5;
const WEBSOCKETS: u64 = 50;

impl Traffic {
    /// Begins 20 uploads over HTTP/1.1, 5 over HTTP/2 and 50 chats; every other one plain.
    fn begin(service: &Service) -> Self {
        let (gate, opened) = watch::channel(false);
        let (stop, stopped) = watch::channel(false);
        let (mut uploads, mut chats) = (JoinSet::new(), JoinSet::new());
        let pieces = Pieces { count: 121, bytes: 4096, step: millis(100) };
        for number in 0..HTTP1_UPLOADS + HTTP2_UPLOADS {
            let (http1, with_tls) = (number < HTTP1_UPLOADS, number % 2 == 0);
            let listener = if http1 && !with_tls { "http" } else { "https" };
            let upload = SlowUpload {
                name: format!("upload {number} to {listener}"),
                port: service.port(listener),
                seed: number,
                pieces,
                gate: opened.clone(),
            };
            let framing = if number % 4 < 2 { Framing::ContentLength } else { Framing::Chunked };
            if http1 {
                uploads.spawn(upload.over_http1(with_tls, framing));
            } else {
                uploads.spawn(upload.over_http2());
            }
        }
        for number in 0..WEBSOCKETS {
            let (listener, with_tls) = if number % 2 == 0 { ("wss", true) } else { ("ws", false) };
            let (port, stopped) = (service.port(listener), stopped.clone());
            chats.spawn(async move {
                let name = format!("socket {number} on {listener}");
                let socket = Socket::connect(port, with_tls).await;
                let socket = socket.map_err(|err| format!("{name}: {err}"))?;
                Ok(socket.chat(name, millis(100), stopped).await?.messages)
            });
        }
        Self { uploads, chats, gate, stop }
    }

    /// Lets everything come to its end, which must be a good one.
    async fn finish(mut self) -> u64 {
        assert!(self.uploads.try_join_next().is_none(), "an upload ended before its time");
        assert!(self.chats.try_join_next().is_none(), "a chat ended before its time");
        self.gate.send_replace(true);
        while let Some(upload) = self.uploads.join_next().await {
            upload.expect("an upload").expect("every upload arrives whole");
        }
        self.stop.send_replace(true);
        let mut messages = 0;
        while let Some(chat) = self.chats.join_next().await {
            messages += chat.expect("a chat").expect("no message is lost");
        }
        messages
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_and_websockets_cross_replacements_and_switches_untouched() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let pairs = [authority.pair_a(), authority.pair_b()];
    let admin = service.admin();
    admin.install(&pairs[1]).await;
    admin.until_drained().await;
    let before = service.usage();

    let traffic = Traffic::begin(&service);
    wait_until("everything is in flight", seconds(20), async || {
        let listeners = admin.listeners().await;
        let serving = listeners.iter().map(|listener| listener.serving());
        let (requests, sockets) = serving.fold((0, 0), |(requests, sockets), one| {
            (requests + one.requests_in_progress, sockets + one.websockets)
        });
        // The question itself may be counted among the requests.
        requests >= HTTP1_UPLOADS + HTTP2_UPLOADS && sockets == WEBSOCKETS
    })
    .await;

    for round in 0..20 {
        admin.install(&pairs[round % 2]).await;
        if round % 4 == 3 {
            admin.set_insecure_ports(round % 8 == 7).await;
        }
        pace(millis(450)).await;
    }
    assert_eq!(admin.listener("ws").await.exposure, "redirecting", "the fifth switch was off");
    assert!(admin.draining().await > 0, "nothing drains, so nothing was crossed");
    let messages = within(seconds(60), "a good end", traffic.finish()).await;
    assert!(messages > WEBSOCKETS * 50, "{messages} messages are too few to show anything");

    admin.until_drained().await;
    wait_until("threads and descriptors are back", seconds(40), async || {
        let now = service.usage();
        now.threads <= before.threads && now.descriptors <= before.descriptors
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replacements_leave_no_memory_threads_or_generations_behind() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let pairs = [authority.pair_a(), authority.pair_b()];
    let admin = service.admin();
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(Socket::connect(service.port("wss"), true).await.expect("a WebSocket"));
    }
    let replace = async |count: usize| {
        for round in 0..count {
            admin.install(&pairs[round % 2]).await;
            wait_until("replaced generations end in time", seconds(20), async || {
                admin.draining().await <= 4
            })
            .await;
        }
        wait_until("only the one with WebSockets drains", seconds(20), async || {
            admin.draining().await == 1
        })
        .await;
    };
    replace(20).await;
    let early = service.usage();
    replace(80).await;
    let late = service.usage();
    assert!(late.resident_kib < early.resident_kib + 20 * 1024, "{early:?} then {late:?}");
    assert!(late.threads <= early.threads + 4, "{early:?} then {late:?}");
    assert!(late.descriptors <= early.descriptors + 4, "{early:?} then {late:?}");

    for mut socket in sockets {
        socket.echo("still here".into()).await.expect("a WebSocket of the first generation");
        socket.close().await.expect("a good end");
    }
    admin.until_drained().await;
}

#[tokio::test]
async fn every_generation_is_reported_until_it_is_gone() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let admin = service.admin();
    let first = admin.listener("wss").await;
    assert!(first.tls && first.exposure == "serving" && first.services == ["echo"], "{first:?}");
    assert_eq!(first.redirect_to, None);
    assert!(first.address.ends_with(&format!(":{}", service.port("wss"))), "{first:?}");
    assert_eq!((first.serving().number, first.generations.len()), (1, 1));
    assert_eq!(first.serving().reason, "start");

    let socket = Socket::connect(service.port("wss"), true).await.expect("a WebSocket");
    wait_until("the WebSocket is counted", seconds(5), async || {
        admin.listener("wss").await.serving().websockets == 1
    })
    .await;
    admin.install(&authority.pair_b()).await;

    let second = admin.listener("wss").await;
    let old = second.draining().next().expect("the first generation drains");
    assert_eq!((old.number, old.websockets, second.serving().number), (1, 1, 2));
    assert!(old.connections >= 1, "{second:?}");
    assert!(second.serving().reason.contains("certificate"), "{second:?}");
    assert!(second.serving().since >= first.serving().since, "{second:?}");
    // Plain listeners have nothing to do with certificates.
    assert_eq!(admin.listener("http").await.serving().number, 1);
    assert_eq!(admin.listener("http").await.redirect_to.as_deref(), Some("https"));

    socket.close().await.expect("a good end");
    admin.until_drained().await;
}

#[tokio::test]
async fn idle_keep_alive_connection_is_closed_and_a_busy_one_after_its_answer() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let admin = service.admin();
    let port = service.port("https");
    let mut idle = Connection::tls(port).await.expect("a connection");
    assert_eq!(idle.get("/healthz", &[]).await.expect("an answer").status, 200);
    let mut busy = Connection::tls(port).await.expect("a connection");
    busy.send_head("GET", "/echo/slow?bytes=300000&seconds=3", &[]).await.expect("a request");
    wait_until("the answer is under way", seconds(5), async || {
        // One of them is the question itself.
        admin.listener("https").await.serving().requests_in_progress >= 2
    })
    .await;

    admin.install(&authority.pair_b()).await;

    assert!(idle.closed_within(seconds(5)).await, "the idle connection stays");
    let answer = busy.answer().await.expect("the whole answer");
    assert_eq!((answer.status, answer.body.len()), (200, 300_000));
    assert!(busy.closed_within(seconds(5)).await, "the busy connection stays");
}
