//! Memory that a load has taken is given back.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::open;
use crate::support::service::Service;
use crate::support::{seconds, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_a_load_is_given_back_soon_after_it() {
    let service = Service::echo().quiet().start();
    let before = service.usage().resident_kib;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(open(service.port("https"), true).await.expect("a connection"));
    }
    let loads = (0..150).map(|number| {
        let secure = number % 2 == 0;
        let port = service.port(if secure { "https" } else { "http" });
        tokio::spawn(async move {
            let mut stream = open(port, secure).await.expect("a connection");
            let request = b"GET /echo/slow?bytes=6000000&seconds=0.2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.expect("a request");
            let mut buffer = vec![0; 64 << 10];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("a download");
    }
    drop(idle);
    // What is touched once, code and tables, stays.
    let bound = before * 13 / 10 + (24 << 10);
    wait_until("memory is back", seconds(60), async || service.usage().resident_kib <= bound).await;
}
