//! What a replaced generation still carries is told one by one.

use serde_json::Value;
use tokio::sync::watch;

use crate::support::admin::Generation;
use crate::support::certificates::CertificateAuthority;
use crate::support::service::Service;
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::websocket::Socket;
use crate::support::{millis, seconds, wait_until};

const PIECES: Pieces = Pieces { count: 3, bytes: 40_000, step: millis(10) };

fn upload(port: u16, gate: &watch::Sender<bool>) -> SlowUpload {
    SlowUpload { name: "upload".into(), port, seed: 7, pieces: PIECES, gate: gate.subscribe() }
}

fn of_kind<'a>(generation: &'a Generation, kind: &str) -> Vec<&'a Value> {
    generation.carried.iter().filter(|one| one["kind"] == kind).collect()
}

#[tokio::test]
async fn a_draining_generation_tells_its_uploads_with_their_progress_and_its_websockets() {
    let service = Service::echo().start();
    let (admin, authority) = (service.admin(), CertificateAuthority::new());
    let port = service.port("https");
    let (gate, _) = watch::channel(false);
    let announced = tokio::spawn(upload(port, &gate).over_http1(true, Framing::ContentLength));
    let chunked = tokio::spawn(upload(port, &gate).over_http1(true, Framing::Chunked));
    let multiplexed = tokio::spawn(upload(port, &gate).over_http2());
    let mut socket = Socket::connect(port, true).await.expect("a WebSocket");
    let arrived = u64::try_from((PIECES.count - 1) * PIECES.bytes).expect("a small number");
    wait_until("everything but the last pieces has come", seconds(20), async || {
        let listener = admin.listener("https").await;
        let uploads = of_kind(listener.serving(), "upload");
        uploads.len() == 3 && uploads.iter().all(|one| one["received_bytes"] == arrived)
    })
    .await;

    admin.install(&authority.pair_a()).await;
    let listener = admin.listener("https").await;
    let draining = listener.draining().next().expect("the old generation drains").clone();
    let uploads = of_kind(&draining, "upload");
    let whole = arrived + u64::try_from(PIECES.bytes).expect("a small number");
    let mut totals: Vec<_> = uploads.iter().map(|one| one["total_bytes"].as_u64()).collect();
    totals.sort_unstable();
    // Neither chunks nor an HTTP/2 stream tell the length beforehand.
    assert_eq!(totals, [None, None, Some(whole)], "{draining:?}");
    assert!(uploads.iter().all(|one| one["path"] == "/echo/upload"), "{draining:?}");
    let sockets = of_kind(&draining, "websocket");
    assert_eq!((sockets.len(), &sockets[0]["path"]), (1, &"/echo/ws".into()), "{draining:?}");
    assert!(sockets[0]["since"].is_string(), "{draining:?}");
    assert!(draining.requests_total >= 4, "{draining:?}");

    gate.send_replace(true);
    for upload in [announced, chunked, multiplexed] {
        upload.await.expect("the upload").expect("a whole upload");
    }
    wait_until("only the WebSocket is left", seconds(20), async || {
        let listener = admin.listener("https").await;
        let draining = listener.draining().next().expect("the WebSocket holds it");
        draining.carried.len() == 1 && draining.carried[0]["kind"] == "websocket"
    })
    .await;
    socket.echo("still here".into()).await.expect("an echo");
    drop(socket);
    admin.until_drained().await;
}
