//! What is no HTTP and no TLS is counted, and told now and then with its sender.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::bounded::{bounded, counted, narrow_from};
use crate::support::curl::curl;
use crate::support::{seconds, tls, within};

/// Sends this from an address of its own and reads to the end.
async fn send(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = narrow_from(Ipv4Addr::new(127, 0, 0, 77), port).await.expect("a connection");
    exchange(&mut stream, bytes).await
}

async fn exchange(
    stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin),
    bytes: &[u8],
) -> Vec<u8> {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut answer = Vec::new();
    let _ = within(seconds(20), "the end", stream.read_to_end(&mut answer)).await;
    answer
}

const HTTP1: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nA b\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    b"\x00\x01\x02\x03\x04\x05\x06\x07\r\n\r\n",
    b"GE\tT / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
];

const PROXY: [&[u8]; 3] = [
    b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 443\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PROXY UNKNOWN\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\0\0\0\0\0\0\0\0\0\0\0\0GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_is_counted_and_one_now_and_then_is_told_with_its_address_below_error() {
    let service = bounded("").start();
    let (http, https) = (service.port("http"), service.port("https"));
    for _ in 0..40 {
        for bytes in HTTP1 {
            let answer = send(http, bytes).await;
            assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
        }
    }
    for bytes in PROXY {
        assert!(!send(http, bytes).await.starts_with(b"HTTP/1.1 200"));
        assert!(!send(https, bytes).await.starts_with(b"HTTP/1.1 200"));
    }
    for _ in 0..10 {
        send(https, b"GET / HTTP/1.0\r\n\r\n").await;
        send(https, &[0x55; 64]).await;
        send(https, b"\x16\x03\x01\xff\xff\x01\x00\x00\x00").await;
    }
    for _ in 0..10 {
        let mut stream = tls::connect(https, &["http/1.1"]).await.expect("a TLS connection");
        assert!(exchange(&mut stream, HTTP1[0]).await.starts_with(b"HTTP/1.1 400"));
        let mut stream = tls::connect(https, &["h2"]).await.expect("a TLS connection");
        exchange(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    }
    let count = |listener: &str, protocol: &str| {
        let series =
            format!("appliance_malformed_total{{listener=\"{listener}\",protocol=\"{protocol}\"}}");
        counted(&service, &series)
    };
    assert_eq!(count("http", "HTTP/1"), 200);
    assert_eq!((count("http", "PROXY"), count("https", "PROXY")), (3, 3));
    assert_eq!((count("https", "HTTP/1"), count("https", "HTTP/2")), (10, 10));
    assert_eq!(count("https", "TLS"), 30);

    let log = service.log();
    assert!(!log.contains("ERROR"), "{log}");
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("malformed") || line.contains("PROXY")).collect();
    assert!((2..=8).contains(&lines.len()), "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.contains("INFO") && line.contains("127.0.0.")),
        "{lines:#?}"
    );
    curl(&[&service.url("http", "/healthz")]).expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_only_look_whether_somebody_is_there_are_not_malformed() {
    let service = bounded("").start();
    for listener in ["http", "https"] {
        for _ in 0..10 {
            let stream = narrow_from(Ipv4Addr::LOCALHOST, service.port(listener)).await.unwrap();
            drop(stream);
        }
    }
    // TLS that does not suit is counted among the handshakes.
    let old = ["--tls-max", "1.1", "--ciphers", "ALL:@SECLEVEL=0"];
    let url = service.url("https", "/healthz");
    curl(&[&old[..], &[&url]].concat());
    curl(&["--cacert", "/etc/ssl/certs/ca-certificates.crt", &url]);
    assert_eq!(counted(&service, "appliance_malformed_total"), 0);
}
