//! Plain HTTP is switched off under clients that are in the middle of something.

use tokio::sync::watch;

use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::websocket::Socket;
use crate::support::{millis, seconds, wait_until};

/// A keep-alive connection to a plain listener, with one answer behind it.
async fn idle_connection(service: &Service, listener: &str) -> Connection {
    let connection = Connection::plain(service.port(listener)).await;
    let mut connection = connection.expect("a connection");
    connection.get("/", &[]).await.expect("an answer");
    connection
}

/// Its end is the sign that the generation it belongs to has been told to stop.
async fn until_stopped(mut idle: Connection) {
    assert!(idle.closed_within(seconds(5)).await, "the idle connection stays");
}

#[tokio::test]
async fn plain_upload_in_progress_arrives_whole_after_the_switch() {
    let service = Service::echo().start();
    let admin = service.admin();
    let (gate, opened) = watch::channel(false);
    let upload = SlowUpload {
        name: "plain upload".to_owned(),
        port: service.port("http"),
        seed: 1,
        pieces: Pieces { count: 10, bytes: 1000, step: millis(20) },
        gate: opened,
    };
    let upload = tokio::spawn(upload.over_http1(false, Framing::ContentLength));
    wait_until("the upload is in progress", seconds(5), async || {
        admin.listener("http").await.serving().requests_in_progress == 1
    })
    .await;
    let idle = idle_connection(&service, "http").await;

    admin.set_insecure_ports(false).await;
    assert_eq!(admin.listener("http").await.exposure, "redirecting");
    until_stopped(idle).await;
    let mut fresh = Connection::plain(service.port("http")).await.expect("a connection");
    assert_eq!(fresh.get("/healthz", &[]).await.expect("an answer").status, 301);

    gate.send_replace(true);
    upload.await.expect("the upload").expect("a whole upload");
}

#[tokio::test]
async fn plain_websocket_stays_open_after_the_switch_and_a_new_one_is_redirected() {
    let service = Service::echo().start();
    let admin = service.admin();
    let mut socket = Socket::connect(service.port("ws"), false).await.expect("a WebSocket");
    socket.echo("before".into()).await.expect("an echo");
    let idle = idle_connection(&service, "ws").await;
    admin.set_insecure_ports(false).await;
    until_stopped(idle).await;
    socket.echo("after".into()).await.expect("an echo after the switch");

    let mut upgrade = Connection::plain(service.port("ws")).await.expect("a connection");
    let headers = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let moved = upgrade.get("/echo/ws", &headers).await.expect("an answer");
    assert_eq!(moved.status, 301, "{moved:?}");
    let location = moved.header("location").expect("a location");
    let target = format!("127.0.0.1:{}/echo/ws", service.port("wss"));
    assert!(
        [format!("https://{target}"), format!("wss://{target}")].iter().any(|ok| ok == location)
    );

    socket.close().await.expect("a good end");
    admin.until_drained().await;
}

#[tokio::test]
async fn idle_plain_connections_are_closed_and_serve_nothing_more_after_the_switch() {
    let service = Service::echo().start();
    let admin = service.admin();
    let port = service.port("http");
    let mut idle = Connection::plain(port).await.expect("a connection");
    let mut quick = Connection::plain(port).await.expect("a connection");
    for connection in [&mut idle, &mut quick] {
        assert_eq!(connection.get("/healthz", &[]).await.expect("an answer").status, 200);
    }
    admin.set_insecure_ports(false).await;
    // Whoever asks on an old connection before it is closed is redirected as well.
    if let Ok(answer) = quick.get("/healthz", &[]).await {
        assert_eq!(answer.status, 301, "{answer:?}");
    }
    assert!(idle.closed_within(seconds(5)).await, "the idle connection stays");
    assert!(quick.closed_within(seconds(5)).await, "the used connection stays");
}

#[tokio::test]
async fn switching_to_the_same_state_disturbs_nobody() {
    let service = Service::echo().start();
    let admin = service.admin();
    let mut idle = Connection::plain(service.port("http")).await.expect("a connection");
    assert_eq!(idle.get("/healthz", &[]).await.expect("an answer").status, 200);
    admin.set_insecure_ports(true).await;
    assert_eq!(admin.listener("http").await.serving().number, 1);
    assert_eq!(idle.get("/healthz", &[]).await.expect("an answer").status, 200);
}

#[tokio::test]
async fn tls_listeners_are_not_touched_by_the_switch() {
    let service = Service::echo().start();
    let admin = service.admin();
    let mut secure = Connection::tls(service.port("https")).await.expect("a connection");
    assert_eq!(secure.get("/healthz", &[]).await.expect("an answer").status, 200);
    admin.set_insecure_ports(false).await;
    assert_eq!(admin.listener("https").await.serving().number, 1);
    assert_eq!(secure.get("/healthz", &[]).await.expect("an answer").status, 200);
}
