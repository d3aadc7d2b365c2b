//! Offers of other protocols: what is no WebSocket for a path that takes one is answered as if it had
//! not been offered.

use serde_json::json;

use crate::support::curl::curl;
use crate::support::http::{Answer, Connection};
use crate::support::service::Service;
use crate::support::websocket::Socket;
use crate::support::{millis, seconds, wait_until};

const HANDSHAKE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// Offers that clients and proxies send with ordinary requests.
const OFFERS: [&[(&str, &str)]; 8] = [
    &[("connection", "upgrade")],
    &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AA")],
    &[("connection", "keep-alive, Upgrade"), ("upgrade", "TLS/1.2")],
    &[("connection", "upgrade"), ("upgrade", "")],
    &[("connection", "upgrade"), ("upgrade", "websockets")],
    &[("upgrade", "websocket")],
    &[("upgrade", "h2c")],
    &HANDSHAKE,
];

/// A link on a page of another site.
const LINK: [(&str, &str); 4] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://dash.example.test/"),
];

fn switch_off(service: &Service) {
    curl(&[
        "-d",
        &json!({"enable_insecure_ports": false}).to_string(),
        &service.url("https", "/v2/security/insecureports"),
        "-u",
        "admin:admin",
    ])
    .expect(200);
}

#[track_caller]
fn is_ordinary(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("connection"), None, "{answer:?}");
    assert_eq!(answer.header("upgrade"), None, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_change_neither_the_answer_nor_the_connection() {
    let service = Service::echo().start();
    for (listener, tls) in [("http", false), ("https", true)] {
        let port = service.port(listener);
        let mut connection = if tls {
            Connection::tls(port).await.expect("a connection")
        } else {
            Connection::plain(port).await.expect("a connection")
        };
        for offer in OFFERS {
            let headers = [offer, &LINK[..]].concat();
            is_ordinary(&connection.get("/healthz", &headers).await.expect("an answer"), 200);
            // One behind the other, in one packet.
            let offered: String =
                offer.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let one = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n{offered}\r\n");
            connection.send(format!("{one}{one}").as_bytes()).await.expect("sent");
            for _ in 0..2 {
                is_ordinary(&connection.answer().await.expect("an answer"), 200);
            }
            let answer = connection.request("POST", "/echo/upload", offer, b"abc").await;
            let answer = answer.expect("an answer");
            is_ordinary(&answer, 200);
            assert_eq!(answer.json()["length"], 3, "{offer:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offers_are_sent_to_https_and_websockets_to_wss() {
    let service = Service::echo().start();
    switch_off(&service);
    let mut connection = Connection::plain(service.port("http")).await.expect("a connection");
    let at =
        |scheme: &str, path: &str| format!("{scheme}://127.0.0.1:{}{path}", service.port("https"));
    for offer in OFFERS {
        let answer = connection.get("/healthz", offer).await.expect("an answer");
        is_ordinary(&answer, 301);
        assert_eq!(answer.header("location"), Some(&*at("https", "/healthz")), "{offer:?}");
    }
    let answer = connection.get("/echo/ws", &HANDSHAKE).await.expect("an answer");
    assert_eq!(answer.header("location"), Some(&*at("wss", "/echo/ws")));
    let answer = curl(&["--http2", "-L", &service.url("http", "/healthz")]);
    answer.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_with_an_offer_is_one_like_any_other() {
    let service = Service::echo().start();
    let admin = service.admin();
    for offer in OFFERS {
        let mut connection = Connection::plain(service.port("http")).await.expect("a connection");
        let headers = [offer, &[("content-length", "6")]].concat();
        connection.send_head("POST", "/echo/upload", &headers).await.expect("sent");
        connection.send(b"abc").await.expect("sent");
        // Only what falls under the limit of silence is listed.
        wait_until("the upload is listed", seconds(20), async || {
            let listener = admin.listener("http").await;
            listener.serving().carried.iter().any(|one| {
                one["kind"] == "upload" && one["received_bytes"] == 3 && one["total_bytes"] == 6
            })
        })
        .await;
        connection.send(b"def").await.expect("sent");
        is_ordinary(&connection.answer().await.expect("an answer"), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_open_where_they_are_one_of_several_offers_and_end_cleanly_elsewhere() {
    let service = Service::echo().start();
    let port = service.port("http");
    let with = |upgrade, connection| {
        [("upgrade", upgrade), ("connection", connection), HANDSHAKE[2], HANDSHAKE[3]]
    };
    for (upgrade, tokens) in [
        ("h2c, websocket", "Upgrade"),
        ("WebSocket", "keep-alive, upgrade"),
        ("websocket", "upgrade"),
    ] {
        let mut connection = Connection::plain(port).await.expect("a connection");
        let answer = connection.get("/echo/ws", &with(upgrade, tokens)).await.expect("an answer");
        assert_eq!(answer.status, 101, "{upgrade}: {answer:?}");
        // "a", masked with nothing, comes back.
        connection.send(&[0x81, 0x81, 0, 0, 0, 0, b'a']).await.expect("sent");
        assert_eq!(connection.bytes(3).await.expect("an echo"), [0x81, 1, b'a']);
    }
    // What is refused ends, and says so.
    let mut connection = Connection::plain(port).await.expect("a connection");
    let headers = [HANDSHAKE[0], HANDSHAKE[1], ("sec-websocket-version", "99"), HANDSHAKE[3]];
    let answer = connection.get("/echo/ws", &headers).await.expect("an answer");
    let expected = (426, Some("close, upgrade"));
    assert_eq!((answer.status, answer.header("connection")), expected, "{answer:?}");
    assert!(connection.closed_within(seconds(20)).await);
    // A page of another host may still not open one.
    let mut connection = Connection::plain(port).await.expect("a connection");
    let foreign = [&HANDSHAKE[..], &[("origin", "https://evil.example")]].concat();
    let answer = connection.get("/echo/ws", &foreign).await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")), "{answer:?}");
    // HTTP/1.0 has no upgrade.
    let mut connection = Connection::plain(port).await.expect("a connection");
    connection
        .send(b"GET /echo/ws HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await
        .expect("sent");
    assert_eq!(connection.answer().await.expect("an answer").status, 400);
    Socket::connect(port, false).await.expect("a WebSocket").close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_ends_the_connection_once_both_sides_have_closed() {
    let service = Service::echo().start();
    for (listener, tls) in [("http", false), ("https", true)] {
        let mut socket = Socket::connect(service.port(listener), tls).await.expect("a WebSocket");
        socket.echo("a".into()).await.expect("an echo");
        // Clients wait for it, and browsers tell their pages only then.
        socket.close_and_wait(millis(2500)).await.expect(listener);
    }
}
