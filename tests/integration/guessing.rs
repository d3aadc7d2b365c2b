//! Who knows the password gets in, whoever guesses, and however.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::support::curl::{curl, curl_as};
use crate::support::http::{Connection, basic, open_from};
use crate::support::service::{Installation, Service};
use crate::support::stored::Stored;
use crate::support::{millis, pace, seconds, wait_until};

const ABOUT: &str = "/v2/management/host/about";
const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const RIGHT: &str = "the right one";
/// The cost of the hashes that the appliance makes.
const ORDINARY: u32 = 10;

/// What somebody who knows the password needs at most. A word that is presented again goes first among
/// those whose senders stand alike; while the address comes to stand worse, twice, those that came
/// before stand better.
const ATTEMPTS: usize = 4;

async fn connect_from(from: Ipv4Addr, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("an address of this machine");
    socket.connect((HERE, port).into()).await.expect("a connection")
}

/// Presents a password on a connection of its own, and does not wait for the answer.
async fn present(from: Ipv4Addr, port: u16, password: &str) -> TcpStream {
    let mut stream = connect_from(from, port).await;
    let authorization = basic("admin", password);
    let head = format!("GET {ABOUT} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("a request is sent");
    stream
}

async fn status(from: Ipv4Addr, port: u16, password: &str) -> u16 {
    let stream = open_from(from, port).await.expect("a connection");
    let authorization = basic("admin", password);
    let headers = [("authorization", authorization.as_str())];
    Connection::over(stream, port).get(ABOUT, &headers).await.expect("an answer").status
}

/// Logs in with the right password, again after each refusal as a person or a program would.
async fn log_in(from: Ipv4Addr, port: u16) {
    let mut statuses = Vec::new();
    while statuses.last() != Some(&200) {
        assert!(statuses.len() < ATTEMPTS, "not let in: {statuses:?}");
        if !statuses.is_empty() {
            pace(millis(300)).await;
        }
        statuses.push(status(from, port, RIGHT).await);
    }
}

/// How many guesses have been judged.
fn judged(service: &Service, from: Ipv4Addr) -> u32 {
    let (from, url) = (from.to_string(), service.url("http", "/metrics"));
    let metrics = curl_as(RIGHT, &["--interface", &from, &url]).expect(200).body;
    let family = "appliance_auth_failures";
    assert!(metrics.contains(&format!("# TYPE {family}")), "{metrics}");
    let series = format!("{family}_total{{reason=\"wrong\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
    count.map_or(0, |count| count.parse().expect("a number"))
}

/// Logs in while `guesses` wait: before most of them are judged.
async fn log_in_before(guesses: u32, service: &Service) {
    let from = Ipv4Addr::new(127, 0, 0, 99);
    log_in(from, service.port("http")).await;
    let judged = judged(service, from);
    assert!(judged < guesses / 2, "{judged} of {guesses} guesses were judged before");
}

/// Sends words of `word` from `from` at this rate until it is aborted; nobody waits for an answer.
fn guess(
    guesses: &mut JoinSet<()>,
    (from, port): (Ipv4Addr, u16),
    per_second: u32,
    word: impl Fn(u32) -> String + Send + 'static,
) {
    guesses.spawn(async move {
        let mut open = std::collections::VecDeque::new();
        let begun = Instant::now();
        for number in 0.. {
            open.push_back(present(from, port, &word(number)).await);
            if open.len() > 100 {
                open.pop_front();
            }
            pace((Duration::from_secs(1) / per_second * number).saturating_sub(begun.elapsed()))
                .await;
        }
    });
}

/// A service that knows nothing of any password yet but its hash of this cost; that of the default
/// one would have been looked for at the start.
fn anew(cost: u32) -> Service {
    let services = r#"services = ["security", "management", "monitoring"]"#;
    let listeners = format!(
        r#"[[listener]]
name = "http"
address = "127.0.0.1:0"
redirect_to = "https"
{services}

[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
{services}"#
    );
    let stopped = Service::portcullis().listeners(&listeners).quiet().start().stop();
    write_secret(&stopped, RIGHT, cost);
    stopped.start()
}

fn write_secret(stopped: &Installation, password: &str, cost: u32) {
    let hash = bcrypt::hash(password, cost).expect("a hash");
    let line = format!("admin:{}\n", hash.replace("$2b$", "$2y$"));
    let users = Stored::in_data_dir(&stopped.data_dir()).users_file();
    std::fs::write(users, STANDARD.encode(line)).expect("edit the secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_of_many_who_have_gone_keep_nobody_waiting() {
    let service = anew(ORDINARY);
    let port = service.port("http");
    for client in 1..=100 {
        let from = Ipv4Addr::new(127, 0, 1, client);
        let mut sent = Vec::new();
        for number in 0..15 {
            sent.push(present(from, port, &format!("guess-{client}-{number}")).await);
        }
    }
    log_in_before(100 * 15, &service).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_of_many_who_wait_keep_nobody_waiting() {
    let service = anew(ORDINARY);
    let port = service.port("http");
    let mut open = Vec::new();
    for number in 0..8 {
        for client in 1..=60 {
            let from = Ipv4Addr::new(127, 0, 1, client);
            open.push(present(from, port, &format!("guess-{client}-{number}")).await);
        }
    }
    log_in_before(60 * 8, &service).await;
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ever_new_guesses_from_the_same_address_keep_nobody_out() {
    let service = anew(ORDINARY);
    let port = service.port("http");
    let mut guesses = JoinSet::new();
    guess(&mut guesses, (HERE, port), 20, |number| format!("guess-{number}"));
    wait_until("the address is refused", seconds(20), async || {
        status(HERE, port, "mistake").await == 429
    })
    .await;
    log_in(HERE, port).await;
    for _ in 0..10 {
        assert_eq!(status(HERE, port, RIGHT).await, 200, "it is known now");
        assert_ne!(status(HERE, port, "another mistake").await, 200);
        pace(millis(200)).await;
    }
    guesses.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn program_with_an_old_password_at_the_same_address_keeps_nobody_out() {
    for per_second in [4, 20] {
        let service = anew(ORDINARY);
        let port = service.port("http");
        let mut guesses = JoinSet::new();
        guess(&mut guesses, (HERE, port), per_second, |_| "old-password".to_owned());
        wait_until("the address is refused", seconds(30), async || {
            status(HERE, port, "old-password").await == 429
        })
        .await;
        log_in(HERE, port).await;
        for _ in 0..20 {
            assert_eq!(status(HERE, port, RIGHT).await, 200);
            assert_eq!(status(HERE, port, "old-password").await, 429);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn costly_secret_lets_in_as_soon() {
    // A quarter of a second and more for each check.
    let service = anew(12);
    let port = service.port("http");
    let mut guesses = JoinSet::new();
    guess(&mut guesses, (HERE, port), 20, |number| format!("guess-{number}"));
    wait_until("the address is refused", seconds(30), async || {
        [429, 503].contains(&status(HERE, port, "mistake").await)
    })
    .await;
    log_in(HERE, port).await;
    guesses.abort_all();
}

#[test]
fn password_is_the_same_composed_and_decomposed() {
    let service = Service::portcullis().start();
    let (composed, decomposed) = ("Grüße-é-Å", "Gru\u{308}ße-e\u{301}-A\u{30a}");
    let url = service.url("https", "/v2/security/adminpassword");
    let set = |by: &str, password: &str| {
        let body = serde_json::json!({ "password": password }).to_string();
        curl_as(by, &[&url, "--data-binary", &body]).expect(200);
    };
    let about = service.url("https", ABOUT);
    for (by, password) in [("admin", composed), (composed, decomposed)] {
        set(by, password);
        for spelling in [composed, decomposed, "Gru\u{308}ße-é-\u{212b}"] {
            curl_as(spelling, &[&about]).expect(200);
        }
        curl_as("Grusse-e-A", &[&about]).expect(401);
    }
    set(composed, "no\u{a0}break\u{3000}");
    curl_as("no break ", &[&about]).expect(200);
    curl_as("nobreak", &[&about]).expect(401);
    // Nothing is remembered after a restart.
    set("no break ", decomposed);
    let service = service.restart();
    curl_as(decomposed, &[&service.url("https", ABOUT)]).expect(200);
    let service = service.restart();
    curl_as(composed, &[&service.url("https", ABOUT)]).expect(200);
}

#[test]
fn hash_of_decomposed_letters_from_another_tool_lets_in() {
    let stopped = Service::portcullis().start().stop();
    write_secret(&stopped, "e\u{301}", 5);
    let service = stopped.start();
    let about = service.url("https", ABOUT);
    for spelling in ["é", "e\u{301}"] {
        curl_as(spelling, &[&about]).expect(200);
    }
    curl_as("e", &[&about]).expect(401);
}

const TOKEN: &str = "job-token-0123456789";

fn job_services() -> Service {
    Service::echo()
        .listeners(
            r#"[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "monitoring", "echo"]"#,
        )
        .start()
}

fn upload(service: &Service, from: &str, token: &str) -> u64 {
    let url = service.url("https", "/echo/guarded/upload");
    let header = format!("Authorization: Bearer {token}");
    curl(&["--interface", from, "-H", &header, "-d", "x", &url]).status
}

#[test]
fn wrong_job_tokens_are_slowed_counted_and_recorded_and_the_right_one_never_is() {
    let service = job_services();
    let endpoint = service.url("https", "/v2/security/jobtoken");
    curl_as("admin", &["-d", &format!(r#"{{"user_token": "{TOKEN}"}}"#), &endpoint]).expect(200);
    let mut statuses = Vec::new();
    while !statuses.contains(&429) {
        assert!(statuses.len() < 200, "never refused: {statuses:?}");
        statuses.push(upload(&service, "127.0.0.2", &format!("wrong-{}", statuses.len())));
        assert_eq!(upload(&service, "127.0.0.2", TOKEN), 200, "the right one beside them");
    }
    assert!(statuses.len() > 20 && statuses[..20].iter().all(|status| *status == 401));
    for from in ["127.0.0.2", "127.0.0.3"] {
        assert_eq!(upload(&service, from, TOKEN), 200, "{from}");
    }
    assert_eq!(upload(&service, "127.0.0.3", "wrong"), 401, "others are not affected");
    let url = service.url("https", "/v2/security/audit?limit=1000");
    let entries = curl_as("admin", &[&url]).expect(200).json()["entries"].clone();
    let tokens = entries.as_array().expect("entries").iter();
    let tokens: Vec<_> = tokens.filter(|entry| entry["action"] == "use the job token").collect();
    assert!(!tokens.is_empty());
    assert_eq!((&tokens[0]["outcome"], &tokens[0]["user"]), (&"refused".into(), &"anybody".into()));
    assert!(!entries.to_string().contains("wrong-"), "no token is recorded");
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    for line in [
        r#"appliance_token_failures_total{token="job",reason="wrong"} "#,
        r#"appliance_token_failures_total{token="job",reason="throttled"} "#,
    ] {
        assert!(metrics.contains(line), "{metrics}");
    }
}
