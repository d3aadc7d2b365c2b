//! Where requests go while plain HTTP is off, to the letter.

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::http::Connection;
use crate::support::service::Service;

const OFF: &str = r#"{"enable_insecure_ports": false}"#;
const ON: &str = r#"{"enable_insecure_ports": true}"#;

fn switch(service: &Service, body: &str) {
    curl_as("admin", &[&service.url("https", "/v2/security/insecureports"), "-d", body])
        .expect(200);
}

fn switched_off() -> Service {
    let service = Service::echo().start();
    switch(&service, OFF);
    service
}

#[test]
fn get_and_head_are_moved_with_301_and_everything_else_with_308() {
    let service = switched_off();
    let url = service.url("http", "/v2/security/insecureports");
    let target = service.url("https", "/v2/security/insecureports");
    for (method, status) in
        [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308), ("PATCH", 308)]
    {
        let select = if method == "HEAD" { vec!["-I"] } else { vec!["-X", method, "-d", ON] };
        let reply = curl(&[&select[..], &[url.as_str()]].concat()).expect(status);
        assert_eq!(reply.header("location"), Some(target.as_str()), "{method}");
    }
    // Nothing was carried out on the plain side.
    let told = curl_as("admin", &[&target]).expect(200).json();
    assert_eq!(told["enable_insecure_ports"], false);
}

#[test]
fn body_of_a_redirected_post_arrives_whole() {
    let service = switched_off();
    let url = service.url("http", "/v2/security/insecureports");
    let reply = curl_as("admin", &["-L", "--location-trusted", "-X", "POST", "-d", ON, &url]);
    assert_eq!(reply.expect(200).json()["enable_insecure_ports"], true);
}

fn location(service: &Service, listener: &str, target: &str, host: Option<&str>) -> Reply {
    let url = service.url(listener, target);
    let header = host.map(|host| format!("Host: {host}"));
    let mut arguments = vec!["--path-as-is", "-g", url.as_str()];
    if let Some(header) = &header {
        arguments.extend(["-H", header]);
    }
    curl(&arguments).expect(301)
}

#[test]
fn location_keeps_host_path_and_query_and_takes_the_port_of_the_https_listener() {
    let service = switched_off();
    let port = service.port("https");
    let hosts = [
        ("box.example.test:80", "box.example.test"),
        ("box.example.test", "box.example.test"),
        ("192.0.2.7:8080", "192.0.2.7"),
        ("[2001:db8::10]", "[2001:db8::10]"),
        ("[2001:db8::10]:80", "[2001:db8::10]"),
    ];
    for (host, kept) in hosts {
        let reply = location(&service, "http", "/x", Some(host));
        assert_eq!(reply.header("location"), Some(format!("https://{kept}:{port}/x").as_str()));
    }
    for target in ["/a%2Fb/c%20d?q=1&r=%2F%3D;x//y?z", "/", "/?", "/a/../b/./c", "/%C3%A9?%"] {
        let reply = location(&service, "http", target, None);
        let expected = service.url("https", target);
        assert_eq!(reply.header("location"), Some(expected.as_str()));
    }
}

#[test]
fn each_plain_listener_leads_to_the_one_that_it_names() {
    let service = switched_off();
    let reply = location(&service, "ws", "/echo/slow", Some("box.example.test:9000"));
    let expected = format!("https://box.example.test:{}/echo/slow", service.port("wss"));
    assert_eq!(reply.header("location"), Some(expected.as_str()));
}

#[test]
fn redirect_is_not_cached_and_nothing_pins_https() {
    let service = switched_off();
    let moved = location(&service, "http", "/x", None);
    assert_eq!(moved.header("cache-control"), Some("no-store"));
    let about = service.url("https", "/v2/management/host/about");
    let secure = curl_as("admin", &[&about]).expect(200);
    for reply in [&moved, &secure] {
        assert_eq!(reply.header("strict-transport-security"), None, "{}", reply.headers);
    }
    switch(&service, ON);
    curl_as("admin", &[&service.url("http", "/v2/management/host/about")]).expect(200);
    curl(&[&service.url("ws", "/echo/slow?bytes=10&seconds=0")]).expect(200);
}

#[test]
fn switch_is_still_off_after_a_restart() {
    let service = switched_off().restart();
    location(&service, "http", "/x", None);
    location(&service, "ws", "/x", None);
}

#[test]
fn redirect_comes_before_authentication() {
    let service = switched_off();
    let reply = location(&service, "http", "/v2/management/host/about", None);
    assert_eq!(reply.header("www-authenticate"), None, "{}", reply.headers);
}

/// Sends the bytes of a request as they stand and reads the answer to it.
async fn raw(service: &Service, request: &str) -> crate::support::http::Answer {
    let mut connection = Connection::plain(service.port("http")).await.expect("a connection");
    connection.send(request.as_bytes()).await.expect("sent");
    let answer = tokio::time::timeout(crate::support::seconds(20), connection.answer()).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer within 20 s to {request:?}"));
    answer.unwrap_or_else(|err| panic!("{err} instead of an answer to {request:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_empty_doubled_or_malformed_host_is_400_and_leads_nowhere() {
    let service = switched_off();
    for request in [
        "GET /x HTTP/1.0\r\n\r\n",
        "GET /x HTTP/1.1\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost:\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: user@evil.example\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: evil.example/y?\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: evil.example#\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: [2001:db8::10\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: box.test:port\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: box.test:1:2\r\n\r\n",
    ] {
        let answer = raw(&service, request).await;
        assert_eq!(answer.status, 400, "{request:?} {answer:?}");
        assert_eq!(answer.header("location"), None, "{request:?} {answer:?}");
    }
    let log = service.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_paths_stay_on_the_host_and_add_no_header() {
    let service = switched_off();
    let port = service.port("https");
    let host = "HTTP/1.1\r\nHost: box.test\r\n\r\n";
    for path in ["//evil.example/", "/%0d%0aX-Y:1", "/\\evil.example", "/@evil.example"] {
        let answer = raw(&service, &format!("GET {path} {host}")).await;
        assert_eq!(answer.status, 301, "{path}");
        let expected = format!("https://box.test:{port}{path}");
        assert_eq!(answer.header("location"), Some(expected.as_str()));
        assert_eq!(answer.header("x-y"), None);
    }
}

#[test]
fn client_that_drops_its_password_is_told_why_and_nothing_is_reset() {
    let service = Service::echo().start();
    let body = r#"{"password": "kept"}"#;
    let change = service.url("https", "/v2/security/adminpassword");
    curl_as("admin", &[&change, "-d", body]).expect(200);
    curl_as("kept", &[&service.url("https", "/v2/security/insecureports"), "-d", OFF]).expect(200);

    let about = service.url("http", "/v2/management/host/about");
    let followed = curl_as("kept", &["-L", &about]).expect(401);
    assert_eq!(followed.number("num_redirects") as u64, 1);
    let text = followed.body.to_lowercase();
    assert!(text.starts_with("401 unauthorized") && text.contains("authorization"), "{text}");
    let wrong = curl_as("wrong", &[&service.url("https", "/v2/management/host/about")]);
    assert_ne!(wrong.expect(401).body.to_lowercase(), text, "no password is not a wrong one");

    let moved = curl(&[&about]).expect(301).body.to_lowercase();
    assert!(moved.contains("https://") && moved.contains("password"), "{moved}");

    let reset = service.url("http", "/v2/security/reset");
    curl_as("kept", &["-L", "-X", "DELETE", &reset]).expect(401);
    let told = curl_as("kept", &[&service.url("https", "/v2/security/insecureports")]);
    assert_eq!(told.expect(200).json()["enable_insecure_ports"], false);
}

#[tokio::test]
async fn port_that_is_published_under_another_number_is_the_one_that_redirects_name() {
    let listener = |name: &str, extra: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [\"security\", \"management\"]\n\n"
        )
    };
    let service = Service::echo()
        .listeners(
            &(listener("http", "redirect_to = \"https\"\nredirect_port = 18443")
                + &listener("standard", "redirect_to = \"https\"\nredirect_port = 443")
                + &listener("alone", "redirect_port = 9443")
                + &listener("https", "tls = true")),
        )
        .start();
    service.admin().set_insecure_ports(false).await;
    for (listener, host, expected) in [
        ("http", "box.example.test:18080", "https://box.example.test:18443/x?y=z"),
        ("http", "[2001:db8::7]:18080", "https://[2001:db8::7]:18443/x?y=z"),
        ("http", "[fe80::7%25eth0]:18080", "https://[fe80::7]:18443/x?y=z"),
        ("standard", "box.example.test:18080", "https://box.example.test/x?y=z"),
        ("alone", "box.example.test", "https://box.example.test:9443/x?y=z"),
    ] {
        let header = format!("Host: {host}");
        let forwarded = "X-Forwarded-Port: 1";
        let url = service.url(listener, "/x?y=z");
        let reply = curl(&["-H", &header, "-H", forwarded, &url]).expect(301);
        assert_eq!(reply.header("location"), Some(expected), "{listener} {host}");
    }
}
