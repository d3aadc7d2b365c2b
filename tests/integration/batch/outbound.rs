//! Addresses that callers name: audio that is fetched, and callbacks. Every address here is one of
//! loopback: closed unless the configuration of the test lists it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::service::{Service, Setup};
use crate::support::speech::{batch_setup, ended, id_of, job, sentence};
use crate::support::{millis, seconds, wait_until_blocking};

/// An appliance that may go to these networks.
pub(super) fn allowing(networks: &[&str]) -> Setup {
    batch_setup().settings(&format!("outbound.allow = {networks:?}"))
}

/// A web server of the test, and what it was asked.
pub(super) struct Server {
    address: SocketAddr,
    asked: Receiver<String>,
}

impl Server {
    /// Listens on `host`; `answer` makes the answer to a request.
    fn on(host: &str, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind((host, 0)).expect("an address of loopback");
        let address = listener.local_addr().expect("its address");
        let (sender, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let request = read_request(&mut stream);
                let answer = answer(&request);
                // A client that has gone away, or a test that has ended, is no matter here.
                let _ = stream.write_all(&answer);
                let _ = sender.send(request);
            }
        });
        Self { address, asked }
    }

    pub(super) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        Self::on("127.0.0.1", answer)
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn next(&self) -> String {
        self.asked.recv_timeout(seconds(30)).expect("a request")
    }

    /// Whether nobody has connected. Whatever would have been asked was asked before.
    #[track_caller]
    fn was_not_asked(&self) {
        assert_eq!(self.asked.try_recv().ok(), None);
    }
}

/// Head and body as far as the head announces one, in text.
fn read_request(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(seconds(10))).expect("a limit");
    let (mut request, mut chunk, mut whole) = (Vec::new(), vec![0; 64 << 10], None);
    while whole.is_none_or(|whole| request.len() < whole) {
        match stream.read(&mut chunk) {
            Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
            _ => break,
        }
        if whole.is_none()
            && let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
            let mut lengths = head.lines().filter_map(|line| line.strip_prefix("content-length:"));
            let length = lengths.next().map_or(0, |text| text.trim().parse().expect("a length"));
            whole = Some(end + 4 + length);
        }
    }
    String::from_utf8_lossy(&request).into_owned()
}

pub(super) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn redirect(status: &str, location: &str) -> Vec<u8> {
    answer(status, &format!("location: {location}\r\n"), b"")
}

fn audio() -> Vec<u8> {
    answer("200 OK", "", &std::fs::read(sentence()).expect("the sentence"))
}

fn config(more: Value) -> Value {
    let mut config = json!({"type": "transcription", "transcription_config": {"language": "en"}});
    let keys = config.as_object_mut().expect("an object");
    keys.extend(more.as_object().expect("an object").clone());
    config
}

fn post_config(service: &Service, more: Value) -> Reply {
    let field = format!("config={}", config(more));
    curl(&["-F", &field, &service.url("https", "/v2/jobs")])
}

fn post_with_audio(service: &Service, more: Value) -> String {
    let field = format!("config={}", config(more));
    let file = format!("data_file=@{}", sentence().display());
    id_of(&curl(&["-F", &file, "-F", &field, &service.url("https", "/v2/jobs")]).expect(201))
}

/// Posts a job that fetches its audio.
fn fetch(service: &Service, url: &str) -> String {
    id_of(&post_config(service, json!({"fetch_data": {"url": url}})).expect(201))
}

fn data(service: &Service, id: &str) -> Reply {
    curl(&[&service.url("https", &format!("/v2/jobs/{id}/data"))])
}

#[track_caller]
fn rejected(service: &Service, id: &str, reason: &str) {
    let job = ended(service, id);
    assert_eq!(job["status"], "rejected", "{job}");
    let errors = job["errors"].to_string();
    assert!(errors.contains(reason), "{errors}");
}

#[test]
fn audio_is_fetched_and_the_end_is_told() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let (from, to) = (Server::start(|_| audio()), Server::start(|_| answer("200 OK", "", b"")));
    let reply = post_config(
        &service,
        json!({
            "fetch_data": {"url": from.url("/a.wav"), "auth_headers": ["X-Key: k1"]},
            "notification_config": [{"url": to.url("/cb?x=1"),
                "contents": ["transcript.txt"], "auth_headers": ["X-Key: k2"]}],
        }),
    );
    let id = id_of(&reply.expect(201));
    assert_eq!(ended(&service, &id)["status"], "done");
    let asked = from.next();
    assert!(asked.starts_with("GET /a.wav HTTP/1.1\r\n") && asked.contains("k1"), "{asked}");
    let told = to.next();
    assert!(told.starts_with(&format!("POST /cb?x=1&id={id}&status=success HTTP/1.1")), "{told}");
    assert!(told.contains("Speechmatics-API/2.0") && told.contains("k2"), "{told}");
    assert!(told.contains("respectable"), "{told}");
    // What was fetched has shown to be audio.
    data(&service, &id).expect(200);
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    for purpose in ["fetch", "callback"] {
        let series = format!(
            "appliance_outbound_requests_total{{purpose=\"{purpose}\",outcome=\"done\"}} 1"
        );
        assert!(metrics.contains(&series), "{series}\n{metrics}");
    }
}

#[test]
fn audio_that_cannot_be_fetched_rejects_the_job() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let from = Server::start(|_| answer("404 Not Found", "", b""));
    let to = Server::start(|_| answer("200 OK", "", b""));
    let reply = post_config(
        &service,
        json!({"fetch_data": {"url": from.url("/")}, "notification_config": [{"url": to.url("/")}]}),
    );
    let id = id_of(&reply.expect(201));
    rejected(&service, &id, "unable to fetch audio: http status code 404");
    assert!(to.next().contains("status=fetch_error"));
}

#[test]
fn an_address_inside_is_refused_when_the_job_is_posted_in_every_spelling() {
    let service = batch_setup().start();
    let inside = Server::start(|_| audio());
    let port = inside.address.port();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.0.2",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "017700000001",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "x.localhost",
        "127.0.0.1.",
        "a@127.0.0.1",
        "example.com\\@127.0.0.1",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "0xa9fea9fe",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        let url = format!("http://{host}:{port}/");
        let fetching = json!({"fetch_data": {"url": url}});
        let telling = json!({"notification_config": [{"url": url}]});
        for (key, more) in [("fetch_data", fetching), ("notification_config", telling)] {
            let reply = post_config(&service, more).expect(400);
            let detail = reply.json()["detail"].as_str().expect("a text").to_owned();
            assert!(detail.starts_with(&format!("{key}.url")), "{host}: {detail}");
        }
    }
    inside.was_not_asked();
    assert_eq!(curl(&[&service.url("https", "/v2/jobs")]).json()["jobs"], json!([]));
}

#[test]
fn an_own_listener_is_out_of_reach_also_where_its_network_is_allowed() {
    let service = allowing(&["127.0.0.0/8", "::1", "0.0.0.0/8"]).start();
    for listener in ["http", "https"] {
        let port = service.port(listener);
        for host in
            ["127.0.0.1", "127.9.9.9", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"]
        {
            let url = format!("http://{host}:{port}/v2/management/host/about");
            let reply = post_config(&service, json!({"fetch_data": {"url": url}})).expect(400);
            let detail = reply.json()["detail"].as_str().expect("a text").to_owned();
            assert!(detail.contains("leads to a network that is not allowed"), "{url}: {detail}");
        }
        // Nor by a redirect.
        let location = format!("http://127.0.0.3:{port}/healthz");
        let away = Server::start(move |_| redirect("302 Found", &location));
        let id = fetch(&service, &away.url("/"));
        rejected(&service, &id, "leads to a network that is not allowed");
        data(&service, &id).expect(404);
    }
}

#[test]
fn a_redirect_is_judged_like_the_address_itself() {
    let service = allowing(&["127.0.0.2"]).start();
    let inside = Server::start(|_| audio());
    let port = inside.address.port();
    for location in [
        inside.url("/"),
        format!("//127.0.0.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        "http://169.254.169.254/latest/meta-data/".into(),
        "file:///etc/passwd".into(),
    ] {
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"]
        {
            let target = location.clone();
            let away = Server::on("127.0.0.2", move |_| redirect(status, &target));
            let id = fetch(&service, &away.url("/"));
            rejected(&service, &id, "unable to fetch audio: the ");
            assert!(away.next().starts_with("GET / "));
            away.was_not_asked();
        }
    }
    inside.was_not_asked();
    // What is allowed is reached, also by a redirect.
    let there = Server::on("127.0.0.2", |_| audio());
    let location = there.url("/b");
    let away = Server::on("127.0.0.2", move |_| redirect("302 Found", &location));
    assert_eq!(ended(&service, &fetch(&service, &away.url("/")))["status"], "done");
}

#[test]
fn what_was_fetched_and_is_no_audio_is_not_handed_out() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let secret = Server::start(|_| answer("200 OK", "", b"password = s3cret"));
    let to = Server::start(|_| answer("200 OK", "", b""));
    let reply = post_config(
        &service,
        json!({
            "fetch_data": {"url": secret.url("/")},
            "notification_config": [{"url": to.url("/"), "contents": ["data", "jobinfo"]}],
        }),
    );
    let id = id_of(&reply.expect(201));
    rejected(&service, &id, "invalid audio");
    let reply = data(&service, &id).expect(404);
    assert_eq!(reply.json()["error"], "Data file not available", "{}", reply.body);
    let told = to.next();
    assert!(told.contains("jobinfo.json") && !told.contains("s3cret"), "{told}");
}

#[test]
fn headers_are_taken_by_name_and_stay_with_their_origin() {
    let service = allowing(&["127.0.0.0/8"]).start();
    for (line, part) in [
        ("Host: internal", "may not hold host"),
        ("Content-Length: 5", "may not hold content-length"),
        ("Transfer-Encoding: chunked", "may not hold transfer-encoding"),
        ("Connection: X-A", "may not hold connection"),
        ("Upgrade: websocket", "may not hold upgrade"),
        ("Metadata-Flavor: Google", "may not hold metadata-flavor"),
        ("X-aws-ec2-metadata-token: a", "may not hold x-aws-ec2-metadata-token"),
        ("X-Forwarded-For: 127.0.0.1", "may not hold x-forwarded-for"),
        ("Range: bytes=0-", "may not hold range"),
        ("X-A: b\r\nHost: c", "Name: value"),
        ("no header", "Name: value"),
    ] {
        for key in ["fetch_data", "notification_config"] {
            let entry = json!({"url": "http://192.0.2.1/", "auth_headers": [line]});
            let more = match key {
                "fetch_data" => json!({"fetch_data": entry}),
                _ => json!({"notification_config": [entry]}),
            };
            let reply = post_config(&service, more).expect(400);
            let detail = reply.json()["detail"].as_str().expect("a text").to_owned();
            assert!(detail.starts_with(&format!("{key}.auth_headers")), "{line}: {detail}");
            assert!(detail.contains(part), "{line}: {detail}");
        }
    }
    let many = vec!["X-A: b"; 17];
    let more = json!({"fetch_data": {"url": "http://192.0.2.1/", "auth_headers": many}});
    post_config(&service, more).expect(400);

    let other = Server::start(|_| audio());
    let location = other.url("/b");
    let first = Server::start(move |request| match request {
        _ if request.starts_with("GET /a ") => redirect("302 Found", "/same"),
        _ => redirect("307 Temporary", &location),
    });
    let lines = ["Authorization: Bearer s3cret", "X-Api-Key: s3cret", "Cookie: s3cret"];
    let more = json!({"fetch_data": {"url": first.url("/a"), "auth_headers": lines}});
    let id = id_of(&post_config(&service, more).expect(201));
    assert_eq!(ended(&service, &id)["status"], "done");
    for _ in 0..2 {
        assert_eq!(first.next().matches("s3cret").count(), 3);
    }
    let elsewhere = other.next();
    assert!(!elsewhere.contains("s3cret"), "{elsewhere}");
}

#[test]
fn secrets_of_addresses_show_nowhere() {
    let service = allowing(&["127.0.0.0/8"]).traced().start();
    let from = Server::start(|_| audio());
    let to = Server::start(|_| answer("200 OK", "", b""));
    let reply = post_config(
        &service,
        json!({
            "fetch_data": {"url": from.url("/s3cret-1?X-Signature=s3cret-2"),
                "auth_headers": ["Authorization: Bearer s3cret-3"]},
            "notification_config": [{"url": to.url("/hooks/s3cret-4?token=s3cret-5"),
                "contents": ["jobinfo"], "auth_headers": ["X-Key: s3cret-6"]}],
        }),
    );
    let id = id_of(&reply.expect(201));
    let shown = ended(&service, &id);
    assert_eq!(shown["status"], "done");
    let fetch_data = json!({"url": from.url("/***"), "auth_headers": ["Authorization: ***"]});
    assert_eq!(shown["config"]["fetch_data"], fetch_data);
    let (head, body) = {
        let told = to.next();
        let (head, body) = told.split_once("\r\n\r\n").expect("a body");
        (head.to_owned(), body.to_owned())
    };
    assert!(head.contains("s3cret-4") && head.contains("s3cret-6"), "{head}");
    assert!(body.contains("\"id\"") && !body.contains("s3cret"), "{body}");
    let list = curl(&[&service.url("https", "/v2/jobs")]).body;
    let log = curl(&[&service.url("https", &format!("/v2/jobs/{id}/log"))]).body;
    let url = service.url("https", &format!("/v2/jobs/{id}"));
    let deleted = curl(&["-X", "DELETE", &url]).expect(200).body;
    for text in [shown.to_string(), list, log, deleted] {
        assert!(!text.contains("s3cret"), "{text}");
    }
    let (_, log) = service.stop_and_tell();
    assert!(!log.contains("s3cret"), "a secret was logged");
}

#[test]
fn a_callback_that_is_redirected_keeps_its_body_or_has_failed() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let end = Server::start(|_| answer("200 OK", "", b""));
    let (kept, lost) = (end.url("/kept"), end.url("/lost"));
    let hook = Server::start(move |request| match request {
        _ if request.starts_with("POST /307") => redirect("307 Temporary", &kept),
        _ => redirect("302 Found", &lost),
    });
    let entry = |path: &str| json!({"url": hook.url(path), "contents": ["transcript.txt"]});
    let entries = json!({"notification_config": [entry("/307"), entry("/302")]});
    let id = post_with_audio(&service, entries);
    assert_eq!(ended(&service, &id)["status"], "done");
    let told = end.next();
    assert!(told.starts_with("POST /kept ") && told.contains("respectable"), "{told}");
    wait_until_blocking("the other one is noted", seconds(20), || {
        job(&service, &id)["errors"].to_string().contains("http status code 302")
    });
    end.was_not_asked();
}

#[test]
fn a_proxy_of_the_environment_is_not_used() {
    let proxy = Server::start(|_| audio());
    let address = proxy.url("");
    let variables = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"];
    let variables: Vec<_> =
        variables.iter().map(|variable| format!("{variable}={address}")).collect();
    let mut words = vec!["env"];
    words.extend(variables.iter().map(String::as_str));
    let service = allowing(&["127.0.0.0/8"]).wrapper(&words).start();
    let there = Server::start(|_| audio());
    assert_eq!(ended(&service, &fetch(&service, &there.url("/")))["status"], "done");
    assert!(there.next().starts_with("GET / "));
    proxy.was_not_asked();
}

/// Sends the head of a body and then next to nothing, for ever.
fn tarpit() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                read_request(&mut stream);
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";
                let mut alive = stream.write_all(head).is_ok();
                while alive {
                    thread::sleep(millis(200));
                    alive = stream.write_all(b"a").is_ok();
                }
            });
        }
    });
    address
}

#[test]
fn dripping_servers_hold_up_nobody_else_and_no_end_of_the_process() {
    let mut service = allowing(&["127.0.0.0/8"]).start();
    let slow = tarpit();
    for _ in 0..16 {
        fetch(&service, &format!("http://{slow}/"));
    }
    // Others are fetched, and told, meanwhile.
    let (from, to) = (Server::start(|_| audio()), Server::start(|_| answer("200 OK", "", b"")));
    let more = json!({"fetch_data": {"url": from.url("/")},
        "notification_config": [{"url": to.url("/"), "contents": ["jobinfo"]}]});
    let id = id_of(&post_config(&service, more).expect(201));
    assert_eq!(ended(&service, &id)["status"], "done");
    assert!(to.next().contains("status=success"));
    service.signal(Signal::SIGTERM);
    let status = service.wait_for_end(seconds(20));
    assert!(status.success(), "{status}");
}

#[test]
fn a_fetch_that_takes_too_long_is_given_up() {
    let service = allowing(&["127.0.0.0/8"]).settings("outbound.longest = \"1s\"").start();
    let id = fetch(&service, &format!("http://{}/", tarpit()));
    rejected(&service, &id, "unable to fetch audio: it took longer than 1s");
}

#[test]
fn a_stored_fetch_goes_on_after_a_restart_and_ends_if_its_configuration_is_not_taken_any_more() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let address = tarpit();
    let (goes_on, ends) = (
        fetch(&service, &format!("http://{address}/")),
        fetch(&service, &format!("http://{address}/")),
    );
    let installation = service.stop();
    let jobs = installation.data_dir().join("jobs/jobs.sqlite");
    let database = rusqlite::Connection::open(jobs).expect("the job database");
    let from = Server::start(|_| audio());
    for (id, config) in [
        (&goes_on, config(json!({"fetch_data": {"url": from.url("/")}}))),
        (&ends, json!({"type": "transcription", "fetch_data": {"url": from.url("/")}})),
    ] {
        let sql = "UPDATE configs SET config = ?2 WHERE job = ?1";
        assert_eq!(database.execute(sql, (id, config.to_string())).expect("an update"), 1);
    }
    drop(database);
    let service = installation.start();
    assert_eq!(ended(&service, &goes_on)["status"], "done");
    rejected(&service, &ends, "unable to fetch audio: transcription_config has no language");
}

#[test]
fn a_callback_carries_the_audio_as_it_was_sent() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let to = Server::start(|_| answer("200 OK", "", b""));
    let one = json!({"url": to.url("/one"), "contents": ["data"], "method": "put"});
    let form = json!({"url": to.url("/form"), "contents": ["data", "transcript.txt"]});
    post_with_audio(&service, json!({"notification_config": [one, form]}));
    let mut told = [to.next(), to.next()];
    told.sort();
    let [form, one] = told;
    let sent = String::from_utf8_lossy(&std::fs::read(sentence()).expect("audio")).into_owned();
    let (head, body) = one.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("PUT /one?") && body == sent, "{head}");
    assert!(form.starts_with("POST /form?") && form.contains(&sent), "the form lacks the audio");
    assert!(form.contains("respectable") && form.ends_with("--\r\n"), "the form is cut");
}

/// Addresses are signed, headers carry tokens: whoever reads the log must not be able to use them,
/// however talkative it is.
#[test]
fn nothing_that_is_sent_on_is_logged() {
    let from = Server::start(|_| answer("200 OK", "", b"no audio at all"));
    let to = Server::start(|_| answer("200 OK", "", b""));
    let behind = Server::start(|_| answer("401 Unauthorized", "", b""));
    let folder = tempfile::tempdir().expect("tempdir");
    let token = folder.path().join("token");
    std::fs::write(&token, "secret-of-upstream\n").expect("write the token");
    let service = allowing(&["127.0.0.0/8"])
        .settings(&format!(
            "speech.engine = \"upstream\"\nspeech.upstream = \"ws://{}\"\nspeech.upstream_token_file = \"{}\"",
            behind.address,
            token.display()
        ))
        .traced()
        .start();
    let url = |path: &str| service.url("https", path);
    let body = r#"{"user_token": "secret-of-jobs"}"#;
    curl_as("admin", &["-d", body, &url("/v2/security/jobtoken")]).expect(200);
    let bearer =
        ["-H", "Authorization: Bearer secret-of-jobs", "-H", "Cookie: id=secret-of-cookie"];
    let post = |more: Value, file: Option<String>| {
        let config = format!("config={}", config(more));
        let file = file.map(|file| format!("data_file=@{file}"));
        let file = file.iter().flat_map(|file| ["-F", file.as_str()]).collect::<Vec<_>>();
        let jobs = url("/v2/jobs");
        curl(&[&bearer[..], &file, &["-F", &config, &jobs]].concat())
    };
    post(
        json!({
            "fetch_data": {"url": from.url("/a?sig=secret-of-fetch"),
                "auth_headers": ["Authorization: Bearer secret-of-header"]},
            "notification_config": [{"url": to.url("/cb?key=secret-of-callback"),
                "auth_headers": ["Authorization: Basic secret-of-notify"]}],
        }),
        None,
    )
    .expect(201);
    assert!(from.next().contains("secret-of-fetch"));
    assert!(to.next().contains("secret-of-callback"));
    // Refused ones as well: userinfo, a closed network, a port that nobody listens on.
    for address in [
        "http://user:secret-of-userinfo@127.0.0.1:9/a",
        "http://10.0.0.1/a?sig=secret-of-closed",
        "http://127.0.0.1:9/a?sig=secret-of-nobody",
    ] {
        post(json!({"fetch_data": {"url": address}}), None);
    }
    post(json!({}), Some(sentence().display().to_string())).expect(201);
    assert!(behind.next().contains("secret-of-upstream"));
    let wrong = ["-H", "Authorization: Bearer secret-of-guess"];
    curl(&[&wrong[..], &[url("/v2/jobs?jwt=secret-of-query").as_str()]].concat()).expect(401);

    let (_installation, log) = service.stop_and_tell();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "the log is not at its most talkative");
    let told = log.lines().find(|line| line.contains("secret-of"));
    assert_eq!(told, None);
}
