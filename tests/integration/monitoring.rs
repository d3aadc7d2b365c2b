//! Metrics, and what comes along to watch them with.

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::http::{Connection, basic};
use crate::support::openssl::s_client;
use crate::support::prometheus::{promtool, said};
use crate::support::service::{Service, Setup};
use crate::support::websocket::Socket;
use crate::support::{seconds, wait_until};

/// The listeners of the manual, on free ports.
pub(crate) fn documented(setup: Setup) -> Setup {
    let listener = |name: &str, extra: &str, services: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [{services}]\n\n"
        )
    };
    let all = r#""security", "management", "monitoring""#;
    setup.listeners(
        &(listener("http", "redirect_to = \"https\"", r#""security", "management""#)
            + &listener("https", "tls = true", all)
            + &listener(
                "monitoring",
                "tls = \"auto\"\nredirect_to = \"https\"",
                r#""monitoring""#,
            )),
    )
}

fn metrics(service: &Service) -> String {
    curl_as("admin", &[&service.url("monitoring", "/metrics")]).expect(200).body
}

/// The value of the series whose line begins so.
#[track_caller]
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(series) && !line.starts_with('#'));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.rsplit(' ').next().and_then(|digits| digits.parse().ok()).expect("a number")
}

#[test]
fn metrics_are_for_the_administrator_in_either_format_on_both_ports() {
    let service = documented(Service::portcullis()).start();
    for listener in ["monitoring", "https"] {
        let url = service.url(listener, "/metrics");
        curl(&[&url]).expect(401);
        let text = curl_as("admin", &[&url]).expect(200);
        let format = text.header("content-type").unwrap_or_default();
        assert_eq!(format, "text/plain; version=0.0.4; charset=utf-8");
        let accept = "Accept: application/openmetrics-text; version=1.0.0";
        let open = curl_as("admin", &["-H", accept, &url]).expect(200);
        let format = open.header("content-type").unwrap_or_default();
        assert_eq!(format, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        assert!(open.body.ends_with("# EOF\n"), "{}", open.body);
    }
    // One port, both ways: the plain one obeys the switch.
    let plain = format!("http://127.0.0.1:{}/metrics", service.port("monitoring"));
    curl_as("admin", &[&plain]).expect(200);
}

#[test]
fn token_of_a_scraper_opens_the_metrics_and_nothing_that_changes_anything() {
    let folder = tempfile::tempdir().expect("tempdir");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "# one a line\nclarinet-0123456789\nbassoon-0123456789\n")
        .expect("write");
    let settings = format!("[security]\nmonitoring_token_file = \"{}\"\n", tokens.display());
    let service = documented(Service::portcullis().settings(&settings)).start();
    let ask = |token: &str, more: &[&str], listener: &str, path: &str| {
        let header = format!("Authorization: Bearer {token}");
        let url = service.url(listener, path);
        curl(&[&["-H", header.as_str()], more, &[url.as_str()]].concat())
    };
    for token in ["clarinet-0123456789", "bassoon-0123456789"] {
        for listener in ["monitoring", "https"] {
            let scraped = ask(token, &[], listener, "/metrics").expect(200);
            assert!(scraped.body.contains("appliance_build_info"), "{}", scraped.body);
        }
    }
    let good = "clarinet-0123456789";
    ask("oboe-0123456789", &[], "monitoring", "/metrics").expect(401);
    ask("", &[], "monitoring", "/metrics").expect(401);
    ask(good, &["-X", "POST"], "monitoring", "/-/reload").expect(401);
    for path in ["/v2/management/health", "/v2/security/insecureports", "/docs/openapi.json"] {
        ask(good, &[], "https", path).expect(401);
    }
    // The administrator scrapes as well.
    curl_as("admin", &[&service.url("monitoring", "/metrics")]).expect(200);
}

#[test]
fn promtool_finds_nothing_but_the_documented_names_to_complain_about() {
    let service = documented(Service::portcullis()).start();
    curl_as("admin", &[&service.url("https", "/v2/management/health")]).expect(200);
    let checked = promtool(&["check", "metrics"], &metrics(&service), None);
    let said = said(&checked);
    let complaints: Vec<&str> =
        said.lines().filter(|line| !line.starts_with("node_memory_Mem")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn rules_and_configuration_that_come_along_are_right() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging");
    let file = |name: &str| packaging.join(name).display().to_string();
    for arguments in [
        vec!["check", "config", "--syntax-only", &file("prometheus.yml")],
        vec!["check", "rules", &file("alerts.yml")],
        vec!["test", "rules", &file("alerts_test.yml")],
    ] {
        let checked = promtool(&arguments, "", None);
        assert!(checked.status.success(), "{arguments:?}: {}", said(&checked));
    }
    let dashboard = std::fs::read(file("grafana/portcullis.json")).expect("the dashboard");
    let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).expect("JSON");
    // The services bring figures of their own.
    let everything = "[[listener]]\nname = \"monitoring\"\naddress = \"127.0.0.1:0\"\ntls = true\nservices = [\"security\", \"management\", \"monitoring\", \"batch\", \"realtime\"]";
    let service = Service::portcullis().listeners(everything).start();
    let settings = service.url("monitoring", "/v2/management/settings");
    curl_as("admin", &["-X", "PUT", "-d", r#"{"max_draining": 4}"#, &settings]).expect(200);
    curl_as("wrong", &[&settings]).expect(401);
    let metrics = metrics(&service);
    for word in alerts_words() {
        assert!(metrics.contains(&format!("# HELP {word} ")), "{word} of the alerts is no metric");
    }
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    for target in targets {
        let query = target["expr"].as_str().expect("a query");
        let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let own =
            |name: &&str| ["appliance_", "process_", "node_"].iter().any(|p| name.starts_with(p));
        for name in names.filter(own) {
            let described = format!("# HELP {} ", name.trim_end_matches("_bucket"));
            assert!(metrics.contains(&described), "{name} of {query} is no metric");
        }
    }
}

/// The names of metrics in the rules that come along.
fn alerts_words() -> impl Iterator<Item = &'static str> {
    let words = include_str!("../../packaging/alerts.yml")
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("appliance_") || word.starts_with("node_"))
}

#[test]
fn what_clients_make_up_does_not_become_a_label() {
    let service = documented(Service::portcullis()).start();
    for number in 0..40 {
        curl_as("admin", &[&service.url("https", &format!("/v2/management/made-up-{number}"))]);
        curl(&[&service.url("https", &format!("/made-up-{number}"))]);
    }
    curl_as("admin", &["-X", "MADEUP", &service.url("https", "/v2/management/health")]);
    let metrics = metrics(&service);
    assert!(
        !metrics.to_lowercase().contains("made-up") && !metrics.contains("MADEUP"),
        "{metrics}"
    );
    let unknown =
        r#"appliance_http_requests_total{listener="https",route="none",method="GET",code="404"}"#;
    assert!(value(&metrics, unknown) >= 40.0, "{metrics}");
    assert!(metrics.contains(r#"method="other",code="405""#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_generations_handshakes_and_websockets_are_counted() {
    let services = r#"services = ["security", "management", "monitoring", "echo"]"#;
    let service = Service::echo()
        .listeners(&format!(
            "[[listener]]\nname = \"https\"\naddress = \"127.0.0.1:0\"\ntls = true\n{services}\n"
        ))
        .start();
    let read = || curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    let mut socket = Socket::connect(service.port("https"), true).await.expect("a WebSocket");
    socket.echo("hello".into()).await.expect("an echo");
    assert_eq!(value(&read(), r#"appliance_websockets_open{listener="https"}"#), 1.0);

    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_b()).await;
    curl_as("wrong", &[&service.url("https", "/metrics")]).expect(401);
    let metrics = read();
    let changes =
        r#"appliance_configuration_changes_total{kind="certificate-installed",outcome="done"}"#;
    assert_eq!(value(&metrics, changes), 1.0);
    let draining = r#"appliance_generations{listener="https",state="draining"}"#;
    assert_eq!(value(&metrics, draining), 1.0);
    assert_eq!(value(&metrics, r#"appliance_auth_failures_total{reason="wrong"}"#), 1.0);
    assert_eq!(value(&metrics, "appliance_tls_certificate_default"), 0.0);
    let handshakes = r#"appliance_tls_handshakes_total{listener="https",version="1.3""#;
    assert!(value(&metrics, handshakes) > 1.0, "{metrics}");
    drop(socket);
    wait_until("the generation has drained", seconds(20), async || value(&read(), draining) == 0.0)
        .await;
    let ended = r#"appliance_generations_ended_total{listener="https"}"#;
    assert_eq!(value(&read(), ended), 1.0);
}

/// Versions, suites and outcomes of handshakes, seen by real clients.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_are_counted_by_version_suite_and_outcome() {
    let service = documented(Service::portcullis()).start();
    let port = service.port("https");
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let store = service.path().join("session");
    let store = store.to_str().expect("a plain path");
    let first = ["-tls1_2", "-ign_eof", "-sess_out", store];
    assert!(s_client(port, &first, request).text.contains("New, TLS"));
    let again = ["-tls1_2", "-ign_eof", "-sess_in", store];
    assert!(s_client(port, &again, request).text.contains("Reused, TLS"));
    curl(&["--tls-max", "1.3", &service.url("https", "/healthz")]).expect(200);
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("connect");
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("no TLS");
    let _ = stream.read_to_end(&mut Vec::new()).await;

    let metrics = metrics(&service);
    for (version, suite, outcome) in [
        ("1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "full"),
        ("1.2", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "resumed"),
        ("1.3", "TLS_AES_128_GCM_SHA256", "full"),
        ("none", "none", "failed"),
    ] {
        let series = format!(
            "appliance_tls_handshakes_total{{listener=\"https\",version=\"{version}\",suite=\"{suite}\",outcome=\"{outcome}\"}}"
        );
        assert_eq!(value(&metrics, &series), 1.0, "{series}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_bytes_and_refused_addresses_are_counted() {
    let service = documented(Service::portcullis()).start();
    let before = metrics(&service);
    let uploads = r#"appliance_uploads_open{listener="https"}"#;
    assert_eq!(value(&before, uploads), 0.0);
    let mut upload = Connection::tls(service.port("https")).await.expect("a connection");
    let login = basic("admin", "admin");
    let headers = [("authorization", login.as_str()), ("content-length", "1000")];
    upload.send_head("POST", "/v2/security/jobtoken", &headers).await.expect("a head");
    let one_open = async || value(&metrics(&service), uploads) == 1.0;
    wait_until("the upload is counted", seconds(10), one_open).await;
    upload.send(&[b' '; 1000]).await.expect("a body");
    assert_eq!(upload.answer().await.expect("an answer").status, 400);

    let refused =
        async || curl_as("wrong", &[&service.url("https", "/v2/management/health")]).status == 429;
    wait_until("the address is refused", seconds(30), refused).await;
    // This address is refused, whatever it sends.
    let elsewhere = ["--interface", "127.0.0.2", &service.url("monitoring", "/metrics")];
    let after = curl_as("admin", &elsewhere).expect(200).body;
    assert_eq!(value(&after, uploads), 0.0);
    assert_eq!(value(&after, "appliance_auth_throttled_addresses"), 1.0);
    assert!(value(&after, r#"appliance_auth_failures_total{reason="wrong"}"#) >= 20.0);
    let of = |series: &str| value(&after, series) - value(&before, series);
    assert!(of(r#"appliance_network_received_bytes_total{listener="https"}"#) > 1000.0);
    assert!(of(r#"appliance_network_sent_bytes_total{listener="https"}"#) > 1000.0);
    let bodies = r#"traefik_entrypoint_requests_bytes_total{code="400",method="POST",entrypoint="websecure"}"#;
    assert_eq!(value(&after, bodies), 1000.0);
}

#[test]
fn graph_and_queries_without_a_prometheus_name_the_key_to_set() {
    let service = documented(Service::portcullis()).start();
    for path in [
        "/graph",
        "/api/v1/query?query=up",
        "/-/ready",
        // What the pages of several versions are and load.
        "/classic/graph",
        "/targets",
        "/query",
        "/static/js/main.js",
        "/assets/index.js",
        "/favicon.ico",
    ] {
        curl(&[&service.url("monitoring", path)]).expect(401);
        let refused = curl_as("admin", &[&service.url("monitoring", path)]).expect(501);
        assert!(refused.body.contains("[monitoring]"), "{}", refused.body);
        assert!(refused.body.contains("prometheus = "), "{}", refused.body);
    }
}
