//! Names that are the appliance's own, and pages that reach it under others.

use nix::unistd::gethostname;

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::openssl::openssl;
use crate::support::service::Service;

const SWITCH: &str = "/v2/security/insecureports";
const ON: &str = r#"{"enable_insecure_ports": true}"#;

/// What a page sends whose name was turned to the appliance's address: for its browser all of it is
/// of one origin.
fn page(host: &str) -> Vec<String> {
    vec![
        "-H".into(),
        format!("Host: {host}"),
        "-H".into(),
        format!("Origin: https://{host}"),
        "-H".into(),
        "Sec-Fetch-Site: same-origin".into(),
    ]
}

fn ask(service: &Service, path: &str, arguments: &[String]) -> Reply {
    let url = service.url("https", path);
    let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
    all.push(&url);
    curl_as("admin", &all)
}

fn change(service: &Service, host: &str) -> Reply {
    let mut arguments = page(host);
    arguments.extend(["-d".into(), ON.into()]);
    ask(service, SWITCH, &arguments)
}

const ALL: &str = r#"[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["interface", "security", "management", "monitoring", "batch", "realtime"]
"#;

fn everything(settings: &str) -> Service {
    Service::portcullis()
        .settings(settings)
        .listeners(&format!(
            "{ALL}[speech]\nengine = \"upstream\"\nupstream = \"ws://127.0.0.1:1\""
        ))
        .start()
}

#[test]
fn page_of_a_foreign_name_is_421_whatever_it_asks_for() {
    let service = everything("");
    let named =
        ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost"];
    for host in named {
        let reply = change(&service, host).expect(421);
        assert!(reply.body.contains("host_names"), "{}", reply.body);
    }
    let paths = [
        "/",
        "/v2/jobs",
        "/v2/ui",
        "/docs",
        "/metrics",
        "/v2/management/logs",
        "/v2/security/audit",
    ];
    for path in paths {
        for header in [
            "Sec-Fetch-Site: same-origin",
            "Origin: http://evil.example",
            "Referer: http://evil.example/x",
            "Accept-Language: de-DE",
            "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0",
        ] {
            let arguments = ["-H", "Host: evil.example", "-H", header].map(str::to_owned);
            ask(&service, path, &arguments).expect(421);
        }
    }
    // What a load balancer asks with tells nothing, and what is not there need not be hidden.
    for path in ["/healthz", "/readyz"] {
        ask(&service, path, &page("evil.example")).expect(200);
    }
}

#[test]
fn programs_may_use_any_name() {
    let service = everything("");
    let host = ["-H", "Host: appliance.corp.example"].map(str::to_owned);
    ask(&service, SWITCH, &host).expect(200);
    ask(&service, "/v2/jobs", &host).expect(200);
    // As the fetch of Node.js does.
    let mut node = host.to_vec();
    node.extend(["-H", "Accept-Language: *", "-H", "Sec-Fetch-Mode: cors"].map(str::to_owned));
    ask(&service, "/v2/jobs", &node).expect(200);
}

#[test]
fn own_names_are_addresses_the_machine_the_certificates_and_what_is_listed() {
    let settings = r#"[security]
host_names = ["Listed.example.test", "*.wild.example.test"]
public_origins = ["https://portal.example.test:4443"]"#;
    let service = everything(settings);
    let machine = gethostname().expect("a host name").into_string().expect("text");
    let port = service.port("https");
    let local = format!("{}.local", machine.split('.').next().unwrap_or_default());
    for host in [
        "127.0.0.1",
        "[::1]",
        "192.0.2.7:18443",
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        &machine,
        &local,
        "listed.example.test",
        "listed.example.test.:8443",
        "box.wild.example.test",
        "portal.example.test:4443",
        &format!("localhost:{port}"),
    ] {
        change(&service, host).expect(200);
    }
    for host in ["wild.example.test", "a.b.wild.example.test", "other.example.test"] {
        change(&service, host).expect(421);
    }
    let named = "www.example.test";
    change(&service, named).expect(421);
    let made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -keyout n.key -out n.crt -subj /CN=names -addext subjectAltName=DNS:www.example.test,DNS:*.star.example.test -addext basicConstraints=critical,CA:FALSE";
    openssl(service.path(), &made.split(' ').collect::<Vec<_>>());
    let file = |name: &str| format!("@{}", service.path().join(name).display());
    let (key, certificate) =
        (format!("keyfile={}", file("n.key")), format!("certfile={}", file("n.crt")));
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &key, "-F", &certificate, &url]).expect(200);
    change(&service, "any.star.example.test").expect(200);
    change(&service, "star.example.test").expect(421);
    change(&service, named).expect(200);
    change(&service, "localhost").expect(200);
}

#[test]
fn job_token_keeps_pages_of_foreign_names_out_by_itself() {
    let service = everything("");
    ask(&service, "/v2/jobs", &page("evil.example")).expect(421);
    let token = service.url("https", "/v2/security/jobtoken");
    curl_as("admin", &["-d", r#"{"user_token": "a-token"}"#, &token]).expect(200);
    let url = service.url("https", "/v2/jobs");
    let host = ["-H", "Host: speech.example.test", "-H", "Sec-Fetch-Site: same-origin"];
    curl(&[&host[..], &[&url]].concat()).expect(401);
    curl(&[&host[..], &["-H", "Authorization: Bearer a-token", &url]].concat()).expect(200);
}

#[test]
fn management_behind_a_proxy_that_rewrites_host_has_a_remedy() {
    let behind = |service: &Service| {
        let port = service.port("https");
        let arguments = [
            "-H".to_owned(),
            format!("Host: 127.0.0.1:{port}"),
            "-H".into(),
            "Origin: https://portal.example.test".into(),
            "-H".into(),
            "Sec-Fetch-Site: same-origin".into(),
            "-d".into(),
            ON.into(),
        ];
        ask(service, SWITCH, &arguments)
    };
    let told = behind(&everything("")).expect(403).body;
    assert!(told.contains("public_origins") && told.contains("pass Host on"), "{told}");
    let service = everything("[security]\npublic_origins = [\"https://portal.example.test\"]");
    behind(&service).expect(200);
    // One that passes it on needs no more.
    change(&service, "portal.example.test").expect(200);
    let forwarded =
        ["-H", "X-Forwarded-Host: portal.example.test", "-H", "Origin: https://a.example"];
    let forwarded: Vec<String> =
        forwarded.into_iter().chain(["-d", ON]).map(str::to_owned).collect();
    ask(&service, SWITCH, &forwarded).expect(403);
}

#[test]
fn page_of_another_port_of_the_same_host_is_a_foreign_one() {
    let service = Service::portcullis().start();
    let (http, https) = (service.port("http"), service.port("https"));
    let change = |origin: String| {
        let arguments = ["-H".into(), format!("Origin: {origin}"), "-d".into(), ON.into()];
        ask(&service, SWITCH, &arguments).status
    };
    for origin in [format!("https://127.0.0.1:{https}"), format!("http://127.0.0.1:{http}")] {
        assert_eq!(change(origin.clone()), 200, "{origin}");
    }
    for origin in [
        "https://127.0.0.1".to_owned(),
        "http://127.0.0.1".into(),
        "http://127.0.0.1:3000".into(),
        format!("http://127.0.0.1:{https}.evil.example"),
        format!("https://127.0.0.1:{http}"),
        format!("https://localhost:{https}"),
    ] {
        assert_eq!(change(origin.clone()), 403, "{origin}");
    }
}
