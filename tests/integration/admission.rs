//! How many connections one address may have, and all of them; who gives way, who is refused.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::bounded::{ask_slowly, bounded, counted, narrow_from};
use crate::support::curl::curl;
use crate::support::http2::Client;
use crate::support::{millis, pace, seconds, wait_until, within};

/// An address of this machine that nobody else of a test uses.
fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 10 + number)
}

/// Whether the server ends the connection without a word.
async fn is_refused(mut stream: TcpStream) -> bool {
    let mut byte = [0];
    let end = within(seconds(10), "a refusal", stream.read(&mut byte)).await;
    !matches!(end, Ok(1..))
}

/// Whether a request of this address is answered.
async fn is_served(source: Ipv4Addr, port: u16) -> bool {
    let Ok(mut stream) = narrow_from(source, port).await else { return false };
    let request =
        b"GET /echo/slow?bytes=1&seconds=0 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut answer).await.is_ok()
        && answer.starts_with(b"HTTP/1.1 200")
}

async fn busy(source: Ipv4Addr, port: u16) -> TcpStream {
    let mut stream = narrow_from(source, port).await.expect("a connection");
    ask_slowly(&mut stream, 60).await.expect("an answer begins");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_an_address_give_way_to_its_next_ones() {
    let service = bounded("connections_per_address = 16").start();
    for listener in ["http", "https", "ws"] {
        let port = service.port(listener);
        let before = counted(&service, "appliance_connections_displaced_total");
        let mut silent = vec![narrow_from(address(1), port).await.expect("a connection")];
        pace(millis(300)).await;
        for _ in 1..16 {
            silent.push(narrow_from(address(1), port).await.expect("a connection"));
        }
        // Two workers accept, in whatever order: the next one is the seventeenth only once all are in.
        let open = format!("appliance_connections_open{{listener=\"{listener}\"}}");
        let asking = u64::from(listener == "https");
        wait_until("all are accepted", seconds(10), async || {
            counted(&service, &open) >= 16 + asking
        })
        .await;
        wait_until("one of the address is served again", seconds(10), async || match listener {
            "https" => {
                let url = service.url("https", "/healthz");
                curl(&["--interface", &address(1).to_string(), &url]).status == 200
            }
            _ => is_served(address(1), port).await,
        })
        .await;
        assert!(counted(&service, "appliance_connections_displaced_total") > before);
        assert!(is_refused(silent.remove(0)).await, "the longest idle one is closed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_whose_connections_are_all_busy_gets_no_more_and_others_do() {
    let service = bounded("connections = 200\nconnections_per_address = 10").start();
    let port = service.port("http");
    let mut held = Vec::new();
    for _ in 0..10 {
        held.push(busy(address(2), port).await);
    }
    for _ in 0..20 {
        let next = narrow_from(address(2), port).await.expect("the kernel takes it");
        assert!(is_refused(next).await);
    }
    assert!(is_served(address(3), port).await, "another address");
    let series = "appliance_refused_total{listener=\"http\",what=\"connection\",limit=\"address\"}";
    assert_eq!(counted(&service, series), 20);
    let log = service.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("is refused")).collect();
    assert!((1..=3).contains(&lines.len()), "{lines:?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("127.0.0.12:"), "{lines:?}");

    drop(held.pop());
    wait_until("a place is free", seconds(20), async || is_served(address(2), port).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn busy_clients_of_other_listeners_leave_the_administration_its_share() {
    // An eighth of 64 is kept.
    let service = bounded("connections = 64\nconnections_per_address = 14").start();
    let port = service.port("ws");
    let mut held = Vec::new();
    for number in 0..4 {
        for _ in 0..14 {
            held.push(busy(address(20 + number), port).await);
        }
    }
    let next = narrow_from(address(30), port).await.expect("the kernel takes it");
    assert!(is_refused(next).await, "there is no place without the share");
    assert_eq!(service.admin().about_status().await, 200);
    assert!(is_served(address(30), service.port("http")).await);
    let series = "appliance_refused_total{listener=\"ws\",what=\"connection\",limit=\"all\"}";
    assert_eq!(counted(&service, series), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_of_many_addresses_give_way_to_the_administrator() {
    let service = bounded("connections = 64\nconnections_per_address = 20").start();
    let mut silent = Vec::new();
    for number in 0..6 {
        for _ in 0..20 {
            silent.extend(narrow_from(address(40 + number), service.port("https")).await);
        }
    }
    wait_until("the administrator gets in", seconds(20), async || {
        let url = service.url("https", "/v2/management/host/about");
        curl(&["-u", "admin:admin", &url]).status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_drip_give_way_to_the_administrator() {
    let service = bounded("connections = 64\nconnections_per_address = 32").start();
    let mut dripping = JoinSet::new();
    for number in 0..64 {
        let port = service.port("http");
        dripping.spawn(async move {
            let mut stream = narrow_from(address(50 + number % 2), port).await?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ").await?;
            loop {
                stream.write_all(b"x").await?;
                pace(millis(100)).await;
            }
            #[expect(unreachable_code, reason = "it names the type")]
            std::io::Result::Ok(())
        });
    }
    wait_until("the administrator gets in", seconds(20), async || {
        let url = service.url("https", "/v2/management/host/about");
        curl(&["-u", "admin:admin", &url]).status == 200
    })
    .await;
    wait_until("one of their addresses is served", seconds(20), async || {
        is_served(address(50), service.port("http")).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_do_not_end_leave_the_last_places_to_those_who_hold_few() {
    // An eighth of 64 is 8; of those nobody gets one who holds more than one.
    let service = bounded("connections = 64\nconnections_per_address = 32").start();
    let port = service.port("http");
    let mut held = Vec::new();
    for source in [address(60), address(61)] {
        for _ in 0..28 {
            held.push(busy(source, port).await);
        }
    }
    for source in [address(60), address(61)] {
        let next = narrow_from(source, port).await.expect("the kernel takes it");
        assert!(is_refused(next).await, "{source} holds enough");
    }
    assert_eq!(service.admin().about_status().await, 200);
    for number in 0..6 {
        held.push(busy(address(70 + number), port).await);
    }
    // The administrator's own connection of before may still be on its way out.
    wait_until("one who holds none is served", seconds(10), async || {
        is_served(address(90), port).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_gives_way_is_closed_in_order() {
    let service = bounded("connections_per_address = 4").start();
    let port = service.port("http");
    let mut idle = Vec::new();
    for _ in 0..4 {
        let mut stream = narrow_from(address(5), port).await.expect("a connection");
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request).await.expect("a request");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
        idle.push(stream);
        // So that the first one is the longest idle.
        pace(millis(200)).await;
    }
    pace(seconds(1)).await;
    wait_until("newcomers are served", seconds(10), async || is_served(address(5), port).await)
        .await;
    let mut rest = Vec::new();
    let end = within(seconds(10), "the end", idle[0].read_to_end(&mut rest)).await;
    assert!(end.is_ok(), "closed in order, not reset: {end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_address_are_counted_over_its_connections() {
    let service = bounded("streams_per_address = 6").start();
    let port = service.port("https");
    let slow = "/echo/slow?bytes=1000&seconds=60";
    let (first, second) =
        (Client::connect(port).await.unwrap(), Client::connect(port).await.unwrap());
    let mut open = Vec::new();
    for number in 0..6 {
        let client = if number % 2 == 0 { &first } else { &second };
        let (status, body) = client.begin("GET", slow, true).await.unwrap().head().await.unwrap();
        assert_eq!(status, 200);
        open.push(body);
    }
    for client in [&first, &second] {
        let refused = client.get("/healthz").await.expect_err("one too many");
        assert_eq!(refused.reason(), Some(h2::Reason::REFUSED_STREAM));
    }
    open.pop();
    wait_until("a place is free", seconds(10), async || {
        second.get("/healthz").await.is_ok_and(|(status, _)| status == 200)
    })
    .await;
    // Clients that know the rule send it again by themselves.
    curl(&["--http1.1", &service.url("https", "/healthz")]).expect(200);
    let series = "appliance_refused_total{listener=\"https\",what=\"stream\",limit=\"address\"}";
    assert!(counted(&service, series) >= 2);
}
