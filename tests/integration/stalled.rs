//! Clients that take nothing of what they have asked for are cut, and hold little until then.

use std::net::Ipv4Addr;

use h2::Reason;
use http1::Request;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::bounded::{ask_and_stall, bounded, counted, narrow_from};
use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::service::{Service, Setup};
use crate::support::speech::{CONFIG, batch_setup, post, sentence};
use crate::support::websocket::Socket;
use crate::support::{seconds, tls, wait_until, within};

const TIMEOUT: &str = "write_timeout = \"2s\"";

/// Reads and throws away until the connection ends, whichever way.
async fn drain(mut stream: impl AsyncReadExt + Unpin) {
    let mut buffer = vec![0; 1 << 20];
    let end = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    within(seconds(20), "the end of a connection that was cut", end).await;
}

async fn tls_over(stream: tokio::net::TcpStream) -> tls::ClientStream {
    tls::connect_over(stream, &["http/1.1"]).await.expect("a TLS connection")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_take_nothing_are_cut_and_do_not_hold_up_a_drain() {
    let service = bounded(TIMEOUT).start();
    let (admin, authority) = (service.admin(), CertificateAuthority::new());
    let mut plain = Vec::new();
    let mut secure = Vec::new();
    for _ in 0..5 {
        let mut stream = narrow_from(Ipv4Addr::LOCALHOST, service.port("http")).await.unwrap();
        ask_and_stall(&mut stream).await;
        plain.push(stream);
        let stream = narrow_from(Ipv4Addr::LOCALHOST, service.port("https")).await.unwrap();
        let mut stream = tls_over(stream).await;
        ask_and_stall(&mut stream).await;
        secure.push(stream);
    }
    admin.install(&authority.pair_a()).await;
    admin.until_drained().await;
    wait_until("the readers of the plain port are gone too", seconds(20), async || {
        admin.listener("http").await.serving().connections == 0
    })
    .await;
    assert_eq!(counted(&service, "appliance_stalled_total"), 10);
    let log = service.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("took nothing")).collect();
    assert!((1..=4).contains(&lines.len()), "{lines:?}");
    assert!(lines[0].contains("INFO") && lines[0].contains("127.0.0.1:"), "{lines:?}");
    for stream in plain {
        drain(stream).await;
    }
    for stream in secure {
        drain(stream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_that_takes_something_now_and_then_gets_everything() {
    let service = bounded(TIMEOUT).start();
    let mut stream = narrow_from(Ipv4Addr::LOCALHOST, service.port("http")).await.unwrap();
    let request = b"GET /echo/slow?bytes=16000000&seconds=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut read = 0;
    let mut piece = vec![0; 2_000_000];
    // Eight pauses of a second, in each of which the connection is stuck.
    while read < 16_000_000 {
        tokio::time::sleep(seconds(1)).await;
        let mut wanted = piece.len();
        while wanted > 0 {
            let count = stream.read(&mut piece[..wanted]).await.expect("it is not cut");
            if count == 0 {
                break;
            }
            (read, wanted) = (read + count, wanted - count);
        }
    }
    assert!(read >= 16_000_000, "{read} bytes came");
    assert_eq!(counted(&service, "appliance_stalled_total"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_peer_that_takes_nothing_is_cut() {
    let service = bounded(TIMEOUT).start();
    let stream = narrow_from(Ipv4Addr::LOCALHOST, service.port("ws")).await.unwrap();
    let mut socket = Socket::over(Box::new(stream), service.port("ws"), false).await.unwrap();
    // More than both kernels hold for it.
    for _ in 0..128 {
        let message = tokio_tungstenite::tungstenite::Message::binary(vec![7; 128 << 10]);
        if tokio::time::timeout(seconds(1), socket.send(message)).await.is_err() {
            break;
        }
    }
    wait_until("it is gone", seconds(20), async || {
        counted(&service, "appliance_stalled_total{listener=\"ws\"") == 1
            && service.admin().listener("ws").await.serving().connections == 0
    })
    .await;
}

/// An HTTP/2 connection whose streams may send nothing before their windows are opened.
async fn shut(port: u16, window: u32) -> h2::client::SendRequest<bytes::Bytes> {
    let stream = tls::connect(port, &["h2"]).await.expect("a TLS connection");
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .handshake(stream)
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn request(port: u16, path: &str, authorization: Option<&str>) -> Request<()> {
    let mut request = Request::get(format!("https://127.0.0.1:{port}{path}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(()).expect("a request")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_whose_windows_stay_shut_are_reset_and_their_connection_goes_on() {
    let service = bounded(TIMEOUT).start();
    let port = service.port("https");
    for window in [0, 1, 20_000] {
        let sender = shut(port, window).await;
        let mut bodies = Vec::new();
        for _ in 0..20 {
            let mut ready = sender.clone().ready().await.unwrap();
            let path = "/echo/slow?bytes=1000000&seconds=0";
            let (response, _) = ready.send_request(request(port, path, None), true).unwrap();
            bodies.push(within(seconds(10), "a head", response).await.unwrap().into_body());
        }
        for mut body in bodies {
            let end = async {
                loop {
                    match body.data().await {
                        Some(Ok(_)) => {}
                        Some(Err(err)) => return err.reason(),
                        None => return None,
                    }
                }
            };
            let end = within(seconds(20), "the end of a stream", end).await;
            assert_eq!(end, Some(Reason::CANCEL), "window {window}");
        }
        let mut ready = sender.clone().ready().await.expect("the connection is still there");
        let (response, _) = ready.send_request(request(port, "/healthz", None), true).unwrap();
        assert_eq!(within(seconds(10), "a head", response).await.unwrap().status(), 200);
    }
    assert_eq!(counted(&service, "appliance_stalled_total"), 60);
}

/// A job store without a recogniser that answers: the audio alone matters.
fn jobs(limits: &str) -> Setup {
    let upstream = "[speech]\nengine = \"upstream\"\nupstream = \"ws://127.0.0.1:1\"";
    batch_setup().settings(&format!("[limits]\n{limits}\n{upstream}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_take_nothing_hold_no_files_and_are_bounded_by_address() {
    let service = jobs("streams_per_address = 150").start();
    let id = post(&service, &sentence(), CONFIG).expect(201).json()["id"].clone();
    let path = format!("/v2/jobs/{}/data", id.as_str().expect("a number"));
    let port = service.port("https");
    let before = service.usage().descriptors;
    let (mut held, mut senders) = (Vec::new(), Vec::new());
    let (mut open, mut refused) = (0, 0);
    for window in [0, 1, 1000] {
        let sender = shut(port, window).await;
        for _ in 0..90 {
            let mut ready = sender.clone().ready().await.unwrap();
            let (response, _) = ready.send_request(request(port, &path, None), true).unwrap();
            match within(seconds(20), "a head", response).await {
                Ok(head) => {
                    open += 1;
                    held.push(head.into_body());
                }
                Err(err) => {
                    assert_eq!(err.reason(), Some(Reason::REFUSED_STREAM), "{err}");
                    refused += 1;
                }
            }
        }
        senders.push(sender);
    }
    assert_eq!((open, refused), (150, 120));
    wait_until("nothing but connections is open", seconds(20), async || {
        service.usage().descriptors <= before + 8
    })
    .await;
    curl_as("admin", &[&service.url("http", "/v2/management/health")]).expect(200);
    // Over HTTP/1 as well, where the kernel takes some before it takes nothing.
    let whole = curl(&[&service.url("http", &path), "-o", "/dev/null", "-w", "%{size_download}"]);
    assert_eq!(whole.exit_code, 0);
    drop((held, senders));
    wait_until("the streams are given back", seconds(20), async || {
        let one = shut(port, 1 << 20).await;
        let mut ready = one.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(request(port, &path, None), true).unwrap();
        response.await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_downloads_that_are_not_read_hold_no_threads() {
    let installation = jobs("").prepare();
    let log = installation.data_dir().join("log");
    std::fs::create_dir_all(&log).expect("the folder of the log");
    let at = OffsetDateTime::now_utc().format(&Rfc3339).expect("a time");
    let line = format!("{at} INFO  test {}\n", "x".repeat(100));
    std::fs::write(log.join("portcullis.log"), line.repeat(30_000)).expect("a log");
    let service = installation.start();
    let admin = service.admin();
    let port = service.port("https");
    let mut held = Vec::new();
    for (number, path) in ["logs?limit=24h", "logs/zip?limit=24h", "logs?follow=true&limit=24h"]
        .iter()
        .cycle()
        .take(60)
        .enumerate()
    {
        let sender = shut(port, if number % 2 == 0 { 0 } else { 500 }).await;
        let mut ready = sender.clone().ready().await.unwrap();
        let path = format!("/v2/management/{path}");
        let asked = request(port, &path, Some(&admin.authorization()));
        let (response, _) = ready.send_request(asked, true).unwrap();
        let head = within(seconds(20), "a head", response).await.unwrap();
        assert_eq!(head.status(), 200, "{path}");
        held.push((sender, head.into_body()));
    }
    for path in ["/v2/management/health", "/metrics", "/v2/security/audit", "/v2/jobs"] {
        let url = service.url("https", path);
        let reply = curl_as("admin", &["-m", "10", &url]);
        assert!(reply.status == 200 || reply.status == 503, "{path}: {}", reply.status);
    }
    // Whoever reads gets all of it.
    let whole = curl_as("admin", &[&service.url("https", "/v2/management/logs?limit=24h")]);
    assert!(whole.expect(200).body.matches(&at).count() >= 30_000);
    drop(held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_and_no_more_follow_the_log() {
    let service = Service::echo().start();
    let (admin, port) = (service.admin(), service.port("https"));
    let path = "/v2/management/logs?follow=true";
    let mut followers = Vec::new();
    for number in 0..33 {
        let sender = shut(port, 1 << 16).await;
        let mut ready = sender.clone().ready().await.unwrap();
        let asked = request(port, path, Some(&admin.authorization()));
        let (response, _) = ready.send_request(asked, true).unwrap();
        let head = within(seconds(20), "a head", response).await.unwrap();
        assert_eq!(head.status(), if number < 32 { 200 } else { 503 }, "follower {number}");
        followers.push((sender, head.into_body()));
    }
    drop(followers);
    wait_until("a place is free again", seconds(20), async || {
        let sender = shut(port, 1 << 16).await;
        let mut ready = sender.clone().ready().await.unwrap();
        let asked = request(port, path, Some(&admin.authorization()));
        let (response, _) = ready.send_request(asked, true).unwrap();
        response.await.is_ok_and(|head| head.status() == 200)
    })
    .await;
}
