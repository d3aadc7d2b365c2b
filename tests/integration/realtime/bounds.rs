//! What somebody without a password can make the appliance hold or compute is bounded.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

use crate::support::curl::curl;
use crate::support::http::{BoxedStream, open_from};
use crate::support::realtime::{Client, realtime_setup, start_raw};
use crate::support::service::Service;
use crate::support::speech::sentence;
use crate::support::{seconds, within};

/// A WebSocket whose frames are written by hand.
async fn by_hand(service: &Service, path: &str, source: Ipv4Addr) -> BoxedStream {
    let port = service.port("ws");
    let mut stream = open_from(source, port).await.expect("a connection");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(seconds(20), "the answer", stream.read_u8()).await.expect("a byte"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The code of the close frame, whatever comes before it.
async fn close_code(stream: &mut BoxedStream) -> u16 {
    loop {
        let first = within(seconds(60), "a frame", stream.read_u8()).await.expect("a frame");
        let short = stream.read_u8().await.expect("a length");
        let length = if short == 126 {
            stream.read_u16().await.expect("a length").into()
        } else {
            usize::from(short)
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("a payload");
        if first == 0x88 {
            return u16::from_be_bytes([payload[0], payload[1]]);
        }
    }
}

/// The head of a frame that claims to have `length` bytes.
fn claim(first: u8, length: u64) -> Vec<u8> {
    let mut head = vec![first, 0xff];
    head.extend(length.to_be_bytes());
    head.extend([0; 4]);
    head
}

fn words(count: usize) -> Value {
    let word = |n| json!({"content": format!("gnocchi{n}"), "sounds_like": ["nyohki", "nokey"]});
    json!({"additional_vocab": (0..count).map(word).collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_claims_too_much_is_refused_before_anything_of_it_comes() {
    let service = realtime_setup().start();
    for head in [
        claim(0x82, 1 << 40),
        claim(0x81, u64::MAX),
        claim(0x01, 1 << 20),
        [claim(0x01, 1), vec![b'{'], claim(0x80, 300 << 10)].concat(),
    ] {
        let mut stream = by_hand(&service, "/v2/en", Ipv4Addr::LOCALHOST).await;
        stream.write_all(&head).await.expect("sent");
        assert_eq!(close_code(&mut stream).await, 1009, "{head:?}");
    }
    // A start with a large vocabulary is taken.
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    client.say(&start_raw(&words(1000))).await;
    client.next_of("RecognitionStarted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_send_without_end_take_no_memory() {
    let service = realtime_setup().start();
    Client::session(&service, &json!({})).await;
    let before = service.usage().peak_kib;
    let mut open = Vec::new();
    for _ in 0..40 {
        let mut stream = by_hand(&service, "/v2/en", Ipv4Addr::LOCALHOST).await;
        stream.write_all(&claim(0x82, 1 << 40)).await.expect("sent");
        // The appliance throws it away, or has gone.
        let _ = stream.write_all(&vec![0; 4 << 20]).await;
        open.push(stream);
    }
    let after = service.usage().peak_kib;
    assert!(after < before + (48 << 10), "{before} KiB before, {after} at most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_does_not_end_is_given_up() {
    let service = realtime_setup().settings("[realtime]\npeer_timeout = \"2s\"").start();
    let mut stream = by_hand(&service, "/v2/en", Ipv4Addr::LOCALHOST).await;
    stream.write_all(&claim(0x81, 1000)).await.expect("sent");
    let (mut reader, mut writer) = tokio::io::split(stream);
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"{").await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    let mut heard = Vec::new();
    within(seconds(60), "the end", reader.read_to_end(&mut heard)).await.expect("read");
    let close = heard.windows(4).position(|frame| frame[0] == 0x88 && frame[2..] == [0x03, 0xf0]);
    assert!(close.is_some(), "{heard:?}");
    dripping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_does_not_start_a_session_is_closed() {
    let service = realtime_setup().settings("[realtime]\nstart_timeout = \"1s\"").start();
    let mut client = Client::connect(&service, "ws", "/v2").await;
    assert_eq!(client.fails().await, ("idle_timeout".to_owned(), 1008));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_leaves_a_session_to_others() {
    let service = realtime_setup().settings("[realtime]\nmax_sessions = 3").start();
    let mut kept = Vec::new();
    for _ in 0..2 {
        kept.push(Client::session(&service, &json!({})).await);
    }
    let start = start_raw(&json!({})).to_string();
    let mut third = Client::connect(&service, "ws", "/v2").await;
    third.send(Message::Text(start.clone().into())).await.expect("sent");
    assert_eq!(third.fails().await, ("quota_exceeded".to_owned(), 4005));

    let mut other = by_hand(&service, "/v2", Ipv4Addr::new(127, 0, 0, 2)).await;
    let mut frame = claim(0x81, start.len() as u64);
    frame.extend(start.bytes());
    other.write_all(&frame).await.expect("sent");
    let mut told = [0; 200];
    within(seconds(60), "an answer", other.read_exact(&mut told)).await.expect("an answer");
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("RecognitionStarted"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patterns_that_are_too_large_are_refused_by_sessions_and_jobs_alike() {
    let service = realtime_setup().start();
    let rules = |from: &str, count| vec![json!({"from": from, "to": ""}); count];
    for (rules, expected) in [
        (rules(r"/\w{60}/", 300), "replacements[200] is one pattern too many"),
        (rules(r"/\w{60}/", 1), "replacements[0].from is a pattern that is too large"),
        (rules(r"/\w{5}/", 150), "bytes are the most for all together"),
        (rules(r"/(a{100}){100}{100}/", 1), "replacements[0].from is a pattern that is too large"),
        (rules("word", 1001), "replacements has 1001 entries; 1000 are the most"),
        (rules(&"a".repeat(501), 1), "replacements[0].from has 501 bytes"),
    ] {
        let filtering = json!({"replacements": rules});
        let mut client = Client::connect(&service, "wss", "/v2/en").await;
        client.say(&start_raw(&json!({"transcript_filtering_config": filtering}))).await;
        let error = client.next_of("Error").await;
        assert_eq!(error["type"], "invalid_config");
        let reason = error["reason"].as_str().expect("a reason");
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(client.closed().await, (1003, "invalid_config".to_owned()));

        let config = json!({"type": "transcription", "transcription_config":
            {"language": "en", "transcript_filtering_config": filtering}});
        let file = service.path().join("config.json");
        std::fs::write(&file, config.to_string()).expect("written");
        let (form, audio) =
            (format!("config=<{}", file.display()), format!("data_file=@{}", sentence().display()));
        let refused =
            curl(&["-F", &form, "-F", &audio, &service.url("https", "/v2/jobs")]).expect(400);
        let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains(reason), "the job says {detail}, the session {reason}");
    }
}
