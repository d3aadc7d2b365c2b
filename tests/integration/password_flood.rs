//! Hashing passwords costs time, which must be nobody else's.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::http::{Connection, basic, open_from};
use crate::support::service::Service;
use crate::support::stored::Stored;
use crate::support::websocket::{Chat, Socket};
use crate::support::{millis, pace, seconds, within};

/// `admin` with the password `admin`, hashed with cost 12.
const COST_12_SECRET: &str =
    "YWRtaW46JDJ5JDEyJDV3M2tZaXJ0a09KMEovWVdYT2NKdGVELnE1bWsxc1BIR04yeUtHenc3WlJVai9Ma1IybWppCg==";

const CONNECTIONS: u32 = 10;

/// What one kind of client asks for.
#[derive(Clone, Copy)]
struct Requests {
    from: Ipv4Addr,
    /// Over all connections.
    per_second: u32,
    lasting: Duration,
    right: bool,
}

/// Sends requests over ten keep-alive connections; tells every status and the longest wait.
async fn send(port: u16, requests: Requests) -> (Vec<u16>, Duration) {
    let mut clients = JoinSet::new();
    for client in 0..CONNECTIONS {
        clients.spawn(async move {
            let mut connection = None;
            let (mut statuses, mut longest) = (Vec::new(), Duration::ZERO);
            let step = Duration::from_secs(1) * CONNECTIONS / requests.per_second;
            let begun = Instant::now();
            while begun.elapsed() < requests.lasting {
                let mut open = match connection.take() {
                    Some(open) => open,
                    None => {
                        let stream = open_from(requests.from, port).await.expect("a connection");
                        Connection::over(stream, port)
                    }
                };
                let password = format!("wrong-{client}-{}", statuses.len());
                let password = if requests.right { "admin" } else { &password };
                let authorization = basic("admin", password);
                let headers = [("authorization", authorization.as_str())];
                let sent = Instant::now();
                let answer = open.get("/v2/management/host/about", &headers).await;
                let answer = answer.expect("an answer");
                longest = longest.max(sent.elapsed());
                statuses.push(answer.status);
                if answer.header("connection") != Some("close") {
                    connection = Some(open);
                }
                pace(step.saturating_sub(sent.elapsed())).await;
            }
            (statuses, longest)
        });
    }
    let (mut statuses, mut longest) = (Vec::new(), Duration::ZERO);
    while let Some(client) = clients.join_next().await {
        let (of_client, wait) = client.expect("a client");
        statuses.extend(of_client);
        longest = longest.max(wait);
    }
    (statuses, longest)
}

/// Hashes now and then; what a hash of ordinary cost takes tells how busy the machine is.
async fn hashes(stopped: watch::Receiver<bool>) -> Duration {
    let mut times = Vec::new();
    while !*stopped.borrow() {
        let begun = Instant::now();
        let hashed = tokio::task::spawn_blocking(|| bcrypt::hash("anything", 10)).await;
        hashed.expect("a thread").expect("a hash");
        times.push(begun.elapsed());
        pace(millis(500)).await;
    }
    times.sort();
    times[times.len() / 2]
}

/// What clients saw beside a load.
struct Beside {
    chat: Chat,
    hash: Duration,
}

impl Beside {
    /// On an idle machine a second and a tenth of it are plenty.
    fn check(&self, longest: Duration) {
        let most = seconds(1).max(20 * self.hash);
        assert!(
            longest < most,
            "a right password waited {longest:?}, a hash takes {:?}",
            self.hash
        );
        let (echoes, most) = (self.chat.quantile(0.99), millis(100).max(2 * self.hash));
        assert!(echoes < most, "echoes took {echoes:?}, a hash takes {:?}", self.hash);
    }
}

/// Talks over a WebSocket while `work` is done.
async fn beside_a_chat<T>(service: &Service, work: impl Future<Output = T>) -> (T, Beside) {
    let (stop, stopped) = watch::channel(false);
    let socket = Socket::connect(service.port("wss"), true).await.expect("a WebSocket");
    let hashes = tokio::spawn(hashes(stopped.clone()));
    let chat = tokio::spawn(socket.chat("beside".to_owned(), millis(10), stopped));
    let result = work.await;
    stop.send_replace(true);
    let chat = within(seconds(20), "the chat ends", chat).await.expect("the chat");
    let chat = chat.expect("every message comes back");
    (result, Beside { chat, hash: hashes.await.expect("hashes") })
}

/// Right passwords from one address beside wrong ones from another, at these rates.
async fn nobody_waits(service: &Service, right_rate: u32, wrong_rate: u32, lasting: Duration) {
    let port = service.port("http");
    let right =
        Requests { from: Ipv4Addr::LOCALHOST, per_second: right_rate, lasting, right: true };
    let wrong = Requests {
        from: Ipv4Addr::new(127, 0, 0, 2),
        per_second: wrong_rate,
        lasting,
        right: false,
    };
    let both = async { tokio::join!(send(port, right), send(port, wrong)) };
    let (((right, longest), (wrong, _)), beside) = beside_a_chat(service, both).await;
    assert!(right.iter().all(|status| *status == 200), "{right:?}");
    assert!(right.len() as u64 > u64::from(right_rate) * lasting.as_secs() / 2, "{}", right.len());
    assert!(wrong.iter().all(|status| [401, 429].contains(status)), "{wrong:?}");
    // Slowed on purpose, each connection has always one of them under way.
    assert!(wrong.len() >= CONNECTIONS as usize, "{} wrong passwords are no flood", wrong.len());
    beside.check(longest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_password_over_and_over_slows_no_websocket() {
    let service = Service::echo().start();
    let requests =
        Requests { from: Ipv4Addr::LOCALHOST, per_second: 200, lasting: seconds(4), right: true };
    let work = send(service.port("http"), requests);
    let ((statuses, longest), beside) = beside_a_chat(&service, work).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert!(statuses.len() > 400, "{} requests are no load", statuses.len());
    beside.check(longest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_wrong_passwords_delays_neither_websockets_nor_the_right_password() {
    let service = Service::echo().start();
    nobody_waits(&service, 20, 200, seconds(5)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_against_a_costly_secret_delays_nobody_either() {
    let stopped = Service::echo().start().stop();
    let users = Stored::in_data_dir(&stopped.data_dir()).users_file();
    std::fs::write(users, COST_12_SECRET).expect("edit the secret");
    let service = stopped.start();
    assert_eq!(service.admin().about_status().await, 200, "the secret is understood");
    nobody_waits(&service, 20, 20, seconds(5)).await;
}
