//! Connections that say nothing hold no place, and clients that vanish leave nothing behind.

use std::io::ErrorKind;

use tokio::net::TcpStream;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::curl;
use crate::support::http::{Connection, open};
use crate::support::service::Service;
use crate::support::{millis, pace, seconds, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_silent_connections_do_not_delay_a_request() {
    let service = Service::echo().start();
    let mut silent = Vec::new();
    for listener in ["http", "https"] {
        for _ in 0..500 {
            let port = service.port(listener);
            silent.push(TcpStream::connect(("127.0.0.1", port)).await.expect("a connection"));
        }
    }
    for (listener, last) in [("http", 499), ("https", 999)] {
        curl(&[&service.url(listener, "/healthz")]).expect(200);
        let still = silent[last].try_read(&mut [0]).expect_err("the silent one before is open");
        assert_eq!(still.kind(), ErrorKind::WouldBlock, "{listener} waited for the silent ones");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_that_never_begins_is_closed() {
    let service = Service::echo().start();
    let mut in_handshake =
        Connection::over(open(service.port("https"), false).await.expect("a connection"), 0);
    let mut half = Connection::plain(service.port("http")).await.expect("a connection");
    half.send(b"GET /healthz HTTP/1.1\r\nHo").await.expect("half a head");
    assert!(in_handshake.closed_within(seconds(15)).await, "a silent TLS client stays");
    // Some are told so before.
    if let Ok(answer) = tokio::time::timeout(seconds(40), half.answer()).await {
        assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408));
    } else {
        panic!("half a request head stays");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_whose_client_vanishes_leave_nothing_behind() {
    let service = Service::echo().start();
    let admin = service.admin();
    let authority = CertificateAuthority::new();
    admin.install(&authority.pair_b()).await;
    admin.until_drained().await;
    let before = service.usage();
    let paths = ["/echo/upload", "/v2/security/sslcertificate"];
    for number in 0..40 {
        let path = paths[number % 2];
        let mut upload = Connection::tls(service.port("https")).await.expect("a connection");
        let authorization = admin.authorization();
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "multipart/form-data; boundary=x"),
            ("content-length", "500000"),
        ];
        upload.send_head("POST", path, &headers).await.expect("a head");
        let begin = b"--x\r\nContent-Disposition: form-data; name=\"keyfile\"\r\n\r\nhalf a ";
        upload.send(begin).await.expect("half a body");
        pace(millis(5)).await;
    }
    wait_until("descriptors are back and nothing is in progress", seconds(20), async || {
        // One request is the question itself.
        let busy = admin.listener("https").await.serving().requests_in_progress;
        busy <= 1 && service.usage().descriptors <= before.descriptors
    })
    .await;
}
