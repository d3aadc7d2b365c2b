//! Handshakes and frames: sizes, compression.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::support::curl::curl;
use crate::support::http::open;
use crate::support::realtime::{Client, realtime_setup, start_raw};
use crate::support::service::Service;
use crate::support::{seconds, within};

async fn with_origin(service: &Service, origin: Option<&str>) -> u16 {
    let headers: Vec<_> = origin.map(|origin| ("origin", origin)).into_iter().collect();
    match Client::with_headers(service, "wss", "/v2/en", &headers).await {
        Ok(_) => 101,
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(err) => panic!("{err}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_other_origins_open_nothing_unless_they_are_listed() {
    let listed = "[realtime]\nallowed_origins = [\"https://app.example\"]";
    let service = realtime_setup().settings(listed).start();
    for foreign in [
        "https://evil.example",
        "null",
        "https://127.0.0.1.evil.example",
        // Another port is another origin (RFC 6454, section 4).
        "https://127.0.0.1",
        "https://app.example.evil",
    ] {
        assert_eq!(with_origin(&service, Some(foreign)).await, 403, "{foreign}");
    }
    let other_port = format!("http://127.0.0.1:{}", service.port("http"));
    for own in [None, Some(&*other_port), Some("https://app.example")] {
        assert_eq!(with_origin(&service, own).await, 101, "{own:?}");
    }
}

#[test]
fn what_is_no_handshake_is_answered_as_http() {
    let service = realtime_setup().start();
    for listener in ["ws", "wss", "https"] {
        for path in ["/v2", "/v2/", "/v2/en", "/v2/en/"] {
            curl(&[&service.url(listener, path)]).expect(400);
        }
        curl(&["-X", "POST", &service.url(listener, "/v2")]).expect(405);
        curl(&[&service.url(listener, "/v3")]).expect(404);
        curl(&[&service.url(listener, "/v2/en/more")]).expect(404);
    }
    // The others are still there.
    curl(&[&service.url("https", "/v2/jobs")]).expect(200);
    curl(&[&service.url("https", "/v2/management/about")]).expect(401);
}

fn piece(data: &[u8], opcode: Data, last: bool) -> Message {
    Message::Frame(Frame::message(data.to_vec(), OpCode::Data(opcode), last))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_fragments_arrives_whole_and_pings_between_are_answered() {
    let service = realtime_setup().start();
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    let text = start_raw(&json!({})).to_string();
    let (first, rest) = text.as_bytes().split_at(7);
    let (second, third) = rest.split_at(11);
    client.send(piece(first, Data::Text, false)).await.expect("sent");
    client.send(Message::Ping("mid".into())).await.expect("sent");
    client.send(piece(second, Data::Continue, false)).await.expect("sent");
    client.send(piece(third, Data::Continue, true)).await.expect("sent");
    client.next_of("RecognitionStarted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_inside_another_and_one_without_a_mask_are_errors_of_the_protocol() {
    let service = realtime_setup().start();
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    client.send(piece(b"a", Data::Text, false)).await.expect("sent");
    client.send(piece(b"b", Data::Text, true)).await.expect("sent");
    assert_eq!(client.closed().await.0, 1002);

    let (head, mut stream) = raw_handshake(&service, "").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(&[0x81, 1, b'x']).await.expect("sent");
    let mut frame = [0; 4];
    within(seconds(20), "a close frame", stream.read_exact(&mut frame)).await.expect("a frame");
    assert_eq!((frame[0], u16::from_be_bytes([frame[2], frame[3]])), (0x88, 1002));
}

async fn raw_handshake(
    service: &Service,
    extra: &str,
) -> (String, crate::support::http::BoxedStream) {
    let port = service.port("ws");
    let mut stream = open(port, false).await.expect("a connection");
    let request = format!(
        "GET /v2 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extra}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(seconds(20), "the answer", stream.read_u8()).await.expect("a byte"));
    }
    (String::from_utf8(head).expect("text"), stream)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compression_is_declined_by_saying_nothing_of_it() {
    let service = realtime_setup().start();
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let (head, _stream) = raw_handshake(&service, offer).await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(!head.to_lowercase().contains("sec-websocket-extensions"), "{head}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_four_mebibytes_is_refused_and_one_of_that_size_is_taken() {
    let service = realtime_setup().start();
    let mut client = Client::session(&service, &json!({})).await;
    client.audio(&vec![0; 4 << 20]).await;
    client.next_of("AudioAdded").await;
    client.audio(&vec![0; (4 << 20) + 1]).await;
    assert_eq!(client.fails().await, ("invalid_message".to_owned(), 1009));
}
