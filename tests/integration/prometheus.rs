//! The real Prometheus: it scrapes the appliance, and is reached through it.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::interface::play;
use crate::monitoring::documented;
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::prometheus::{Prometheus, free_port, promtool, said};
use crate::support::service::Service;
use crate::support::{millis, pace, seconds, wait_until};

const TOKEN: &str = "clarinet-0123456789";

/// An appliance and the Prometheus behind it, which scrapes it by its token.
struct Watched {
    service: Service,
    prometheus_port: u16,
    /// Where the file of the token lies.
    folder: tempfile::TempDir,
}

impl Watched {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let prometheus_port = free_port();
        let token = folder.path().join("monitoring-token");
        std::fs::write(&token, TOKEN).expect("write the token");
        std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        let service = documented(Service::portcullis().settings(&format!(
            "[monitoring]\nprometheus = \"http://127.0.0.1:{prometheus_port}\"\n[security]\nmonitoring_token_file = \"{}\"\n",
            token.display()
        )))
        .start();
        Self { service, prometheus_port, folder }
    }

    /// Starts Prometheus with the packaged configuration and rules, at the ports of this test, and
    /// waits until it has scraped.
    async fn with_prometheus(&self) -> Prometheus {
        let alerts = include_str!("../../packaging/alerts.yml");
        std::fs::write(self.folder.path().join("alerts.yml"), alerts).expect("write the rules");
        let token = self.folder.path().join("monitoring-token").display().to_string();
        let config = include_str!("../../packaging/prometheus.yml")
            .replace("/etc/portcullis/monitoring-token", &token)
            .replace("127.0.0.1:9001", &format!("127.0.0.1:{}", self.service.port("monitoring")))
            .replace("scrape_interval: 15s", "scrape_interval: 1s");
        let prometheus = Prometheus::start(self.folder.path(), &config, self.prometheus_port);
        wait_until("the appliance is scraped", seconds(20), async || {
            pace(millis(200)).await;
            let up = self.query("up{job=\"portcullis\"}").json();
            up["data"]["result"][0]["value"][1] == "1"
        })
        .await;
        prometheus
    }

    fn query(&self, expression: &str) -> Reply {
        let data = format!("query={expression}");
        let url = self.service.url("monitoring", "/api/v1/query");
        curl_as("admin", &["-G", "--data-urlencode", &data, &url]).expect(200)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_prometheus_scrapes_by_token_and_answers_the_documented_queries() {
    let watched = Watched::start();
    let health = watched.service.url("https", "/v2/management/health");
    let unhealthy = curl_as("admin", &[&health]).expect(200).json();
    assert_eq!(unhealthy["monitoring"]["status"], "unhealthy", "{unhealthy}");
    let _prometheus = watched.with_prometheus().await;
    assert_eq!(curl_as("admin", &[&health]).expect(200).json()["monitoring"]["status"], "healthy");

    let base = watched.service.url("monitoring", "");
    let trusted = watched.service.data_dir().join("default-certificate").join("tls.crt");
    let server = base.replace("https://", "https://admin:admin@");
    for expression in [
        "node_filesystem_free_bytes{mountpoint=\"/\"}",
        "node_memory_MemFree_bytes",
        "container_memory_rss{image=~\".*portcullis.*\"}",
        "container_cpu_usage_seconds_total{container=\"portcullis\"}",
        "traefik_entrypoint_requests_bytes_total{entrypoint=\"websecure\"}",
        "sum by (code) (appliance_http_requests_total)",
        "(appliance_tls_certificate_not_after_seconds - time()) / 86400 > 30",
    ] {
        let asked = promtool(&["query", "instant", &server, expression], "", Some(&trusted));
        let told = said(&asked);
        assert!(asked.status.success() && told.contains("=>"), "{expression}: {told}");
    }
    for login in ["https://admin:wrong@", "https://"] {
        let server = base.replace("https://", login);
        let asked = promtool(&["query", "instant", &server, "up"], "", Some(&trusted));
        assert!(!asked.status.success() && said(&asked).contains("401"), "{}", said(&asked));
    }
}

/// What a Grafana data source asks, by GET and by a form in the body.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_of_a_grafana_data_source_are_handed_on() {
    let watched = Watched::start();
    let _prometheus = watched.with_prometheus().await;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let range = format!("start={}&end={now}&step=15", now - 60);
    let series = "match[]=up";
    // On the port of the manual and by path.
    for listener in ["monitoring", "https"] {
        let url = |path: &str| watched.service.url(listener, &format!("/api/v1/{path}"));
        for (path, form) in [
            ("query", format!("query=up&time={now}")),
            ("query_range", format!("query=up&{range}")),
            ("series", series.to_owned()),
            ("labels", series.to_owned()),
        ] {
            let read = curl_as("admin", &["-g", &format!("{}?{form}", url(path))]).expect(200);
            assert_eq!(read.json()["status"], "success", "{path}: {}", read.body);
            let posted = curl_as("admin", &["-d", &form, &url(path)]).expect(200);
            assert_eq!(posted.json()["status"], "success", "{path}: {}", posted.body);
            assert_eq!(posted.json()["data"], read.json()["data"], "{path}");
            curl(&["-d", &form, &url(path)]).expect(401);
        }
        for path in ["label/job/values", "metadata", "targets", "rules", "status/buildinfo"] {
            let read = curl_as("admin", &[&url(path)]).expect(200).json();
            assert_eq!(read["status"], "success", "{path}: {read}");
            curl(&[&url(path)]).expect(401);
        }
    }
    let refused = curl_as("admin", &[&watched.service.url("https", "/api/v1/query?query=(")]);
    let refused = refused.expect(400);
    assert_eq!(refused.json()["errorType"], "bad_data", "{}", refused.body);
    for path in ["/-/healthy", "/-/ready"] {
        curl_as("admin", &[&watched.service.url("monitoring", path)]).expect(200);
    }
    let too_large = format!("query=up+%23{}", "x".repeat(2 << 20));
    let file = watched.folder.path().join("large");
    std::fs::write(&file, too_large).expect("write");
    let form = format!("@{}", file.display());
    curl_as("admin", &["-d", &form, &watched.service.url("https", "/api/v1/query")]).expect(413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_of_prometheus_works_in_a_browser_through_the_appliance() {
    let watched = Watched::start();
    let _prometheus = watched.with_prometheus().await;
    let monitoring = watched.service.url("monitoring", "");
    play(&watched.service, "graph", json!({ "monitoring": monitoring })).await;
}

/// Answers each request with `answer` and gives what was asked.
fn impostor(answer: &'static str) -> (u16, std::sync::mpsc::Receiver<String>) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (sender, asked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count @ 1..) => request.extend_from_slice(&chunk[..count]),
                    _ => break,
                }
            }
            let _ = stream.write_all(answer.as_bytes());
            let _ = sender.send(String::from_utf8_lossy(&request).into_owned());
        }
    });
    (port, asked)
}

#[test]
fn headers_of_one_connection_and_cookies_pass_in_neither_direction() {
    let (port, asked) = impostor(concat!(
        "HTTP/1.1 200 OK\r\n",
        "Connection: close, X-Inner\r\n",
        "Connection: X-Other\r\n",
        "X-Inner: s3cret\r\n",
        "X-Other: s3cret\r\n",
        "Set-Cookie: session=s3cret\r\n",
        "Set-Cookie2: session=s3cret\r\n",
        "Proxy-Authenticate: Basic realm=s3cret\r\n",
        "Keep-Alive: timeout=5, x=s3cret\r\n",
        "Trailer: X-s3cret\r\n",
        "Strict-Transport-Security: max-age=s3cret\r\n",
        "Clear-Site-Data: \"s3cret\"\r\n",
        "Access-Control-Allow-Origin: https://s3cret.example\r\n",
        "Alt-Svc: s3cret\r\n",
        "WWW-Authenticate: Basic realm=s3cret\r\n",
        "X-Kept: yes\r\n",
        "Content-Length: 2\r\n\r\n{}",
    ));
    let setting = format!("monitoring.prometheus = \"http://127.0.0.1:{port}\"");
    let service = documented(Service::portcullis().settings(&setting)).start();
    let sent = [
        "Connection: keep-alive, X-Hop",
        "X-Hop: s3cret",
        "Cookie: s3cret",
        "Keep-Alive: timeout=s3cret",
        "Proxy-Connection: s3cret",
        "Proxy-Authorization: Basic s3cret",
        "TE: trailers, s3cret",
        "HTTP2-Settings: s3cret",
        "X-Kept: yes",
    ];
    let mut arguments: Vec<_> = sent.iter().flat_map(|line| ["-H", line]).collect();
    let url = service.url("monitoring", "/api/v1/query?query=up");
    arguments.extend(["--http1.1", url.as_str()]);
    let reply = curl_as("admin", &arguments).expect(200);
    let handed_on = asked.recv_timeout(seconds(10)).expect("a request").to_lowercase();
    assert!(handed_on.contains("x-kept: yes\r\n"), "{handed_on}");
    for text in ["s3cret", "authorization", "x-hop"] {
        assert!(!handed_on.contains(text), "{text} in {handed_on}");
    }
    assert_eq!((reply.body.as_str(), reply.header("x-kept")), ("{}", Some("yes")));
    for text in ["s3cret", "set-cookie", "x-inner"] {
        assert!(!reply.headers.to_lowercase().contains(text), "{text} in {}", reply.headers);
    }
}

#[test]
fn what_is_no_answer_to_the_client_is_a_bad_gateway() {
    for (answer, status) in [
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "101"),
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "401"),
    ] {
        let (port, _asked) = impostor(answer);
        let setting = format!("monitoring.prometheus = \"http://127.0.0.1:{port}\"");
        let service = documented(Service::portcullis().settings(&setting)).start();
        let url = service.url("monitoring", "/graph");
        let reply = curl_as("admin", &["--http1.1", &url]).expect(502);
        assert!(reply.body.contains(&format!("answered {status}")), "{}", reply.body);
    }
}
