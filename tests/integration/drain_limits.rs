//! How long, and how many at once, replaced generations may live.

use crate::support::certificates::CertificateAuthority;
use crate::support::service::Service;
use crate::support::websocket::Socket;
use crate::support::{seconds, wait_until};

/// The close code for a service that restarts.
const SERVICE_RESTART: u16 = 1012;

#[tokio::test]
async fn generation_that_drains_too_long_ends_with_a_close_frame_and_a_log_line() {
    let service = Service::echo().settings("drain_timeout = \"2s\"").start();
    let authority = CertificateAuthority::new();
    let admin = service.admin();
    let mut socket = Socket::connect(service.port("wss"), true).await.expect("a WebSocket");
    admin.install(&authority.pair_b()).await;
    socket.echo("drains".into()).await.expect("an echo from the replaced generation");
    assert_eq!(socket.close_code_within(seconds(10)).await, Some(SERVICE_RESTART));
    admin.until_drained().await;
    wait_until("the log says what was cut", seconds(5), async || {
        let log = service.log();
        log.lines().any(|line| line.contains("wss") && line.to_lowercase().contains("websocket"))
    })
    .await;
}

#[tokio::test]
async fn past_the_number_that_may_drain_the_oldest_generation_ends() {
    let service = Service::echo().settings("max_draining = 2").start();
    let authority = CertificateAuthority::new();
    let pairs = authority.series(4);
    let admin = service.admin();
    let mut sockets = Vec::new();
    for (number, pair) in pairs.iter().take(3).enumerate() {
        sockets.push(Socket::connect(service.port("wss"), true).await.expect("a WebSocket"));
        wait_until("the WebSocket is counted", seconds(5), async || {
            admin.listener("wss").await.serving().websockets == 1
        })
        .await;
        admin.install(pair).await;
        assert_eq!(admin.listener("wss").await.serving().number, number as u64 + 2);
    }
    let oldest = sockets[0].close_code_within(seconds(10)).await;
    assert_eq!(oldest, Some(SERVICE_RESTART), "the first of three draining generations");
    wait_until("two generations drain on", seconds(10), async || {
        admin.listener("wss").await.draining().count() == 2
    })
    .await;
    for socket in &mut sockets[1..] {
        socket.echo("still here".into()).await.expect("an echo");
    }
}

#[tokio::test]
async fn no_limit_is_reached_by_replacements_that_leave_nothing_behind() {
    let service = Service::echo().settings("max_draining = 2").start();
    let authority = CertificateAuthority::new();
    let admin = service.admin();
    for pair in authority.series(12) {
        admin.install(&pair).await;
    }
    admin.until_drained().await;
    assert_eq!(admin.listener("wss").await.serving().number, 13);
}
