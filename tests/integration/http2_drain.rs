//! HTTP/2 connections of a replaced generation: told to go when idle, left alone when busy.

use std::time::Instant;

use crate::support::certificates::CertificateAuthority;
use crate::support::http2::{Client, GOAWAY, Watcher};
use crate::support::seconds;
use crate::support::service::Service;
use crate::support::wait_until;

/// Longest life of an idle connection after a replacement.
const IDLE_LIFE: std::time::Duration = seconds(5);

#[tokio::test]
async fn idle_connection_is_told_to_go_away_and_closed_within_five_seconds() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let port = service.port("https");
    let mut used = Watcher::connect(port).await.expect("a connection");
    used.get("/healthz").await.expect("an answer");
    let mut unused = Watcher::connect(port).await.expect("a connection");

    service.admin().install(&authority.pair_b()).await;

    let (of_used, of_unused) =
        tokio::join!(used.frames_until_closed(IDLE_LIFE), unused.frames_until_closed(IDLE_LIFE));
    for (name, frames) in [("used", of_used), ("unused", of_unused)] {
        let frames = frames.unwrap_or_else(|| panic!("the {name} connection stays open"));
        let goaway = frames.iter().find(|frame| frame.kind == GOAWAY);
        let goaway = goaway.unwrap_or_else(|| panic!("{name}: no GOAWAY in {frames:?}"));
        assert_eq!(goaway.payload[4..8], [0; 4], "{name}: NO_ERROR");
    }
    service.admin().until_drained().await;
}

#[tokio::test]
async fn connection_with_a_stream_in_progress_stays_until_the_stream_ends() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let client = Client::connect(service.port("https")).await.expect("a connection");
    let slow = client.begin("GET", "/echo/slow?bytes=800000&seconds=8", true).await;
    let (status, mut stream) = slow.expect("a stream").head().await.expect("its head");
    assert_eq!(status, 200);

    let replaced = Instant::now();
    service.admin().install(&authority.pair_b()).await;

    let mut received = 0;
    while let Some(piece) = stream.data().await {
        let piece = piece.expect("no piece is missing");
        stream.flow_control().release_capacity(piece.len()).expect("room for more");
        received += piece.len();
    }
    assert_eq!(received, 800_000);
    assert!(replaced.elapsed() > IDLE_LIFE, "the stream ended before it could be cut");
    let ended = Instant::now();
    wait_until("the connection closes after its stream", IDLE_LIFE, async || client.ended()).await;
    assert!(ended.elapsed() < IDLE_LIFE);
    service.admin().until_drained().await;
}

#[tokio::test]
async fn request_sent_just_after_a_replacement_is_answered_or_refused_cleanly() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let port = service.port("https");
    let clients = [Client::connect(port).await, Client::connect(port).await];
    let clients = clients.map(|client| client.expect("a connection"));
    for client in &clients {
        assert_eq!(client.get("/healthz").await.expect("an answer").0, 200);
    }
    service.admin().install(&authority.pair_b()).await;
    for client in &clients {
        match client.get("/healthz").await {
            Ok((status, _)) => assert_eq!(status, 200),
            // The client knows from the GOAWAY that the request was not begun.
            Err(err) => assert!(err.is_go_away() || err.is_io(), "{err}"),
        }
    }
}
