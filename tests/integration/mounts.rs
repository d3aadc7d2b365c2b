//! One path in many spellings: whatever handler it reaches, it is guarded and recorded like that
//! handler.

use serde_json::Value;

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::service::Service;

/// Spellings that the router takes for the plain one.
const SAME: [&str; 4] = [
    "/v2/%73ecurity/insecureports",
    "/v2/security/insecure%70orts",
    "/%76%32/%73%65%63%75%72%69%74%79/insecureports",
    "/v2/security/insecureports?x=/v2/jobs",
];

/// Spellings that some server or proxy folds into the plain one; the router does not.
const OTHER: [&str; 14] = [
    "/v2//security/insecureports",
    "//v2/security/insecureports",
    "/v2/./security/insecureports",
    "/v2/%2e/security/insecureports",
    "/v2/jobs/../security/insecureports",
    "/v2/jobs/%2e%2e/security/insecureports",
    "/v2/security/../security/insecureports",
    "/V2/security/insecureports",
    "/v2/Security/insecureports",
    "/v2/security%2finsecureports",
    "/v2%2fsecurity%2finsecureports",
    "/v2/%2573ecurity/insecureports",
    "/v2/security;a=b/insecureports",
    "/v2/security/insecureports/",
];

fn entries(service: &Service) -> Vec<Value> {
    let url = service.url("https", "/v2/security/audit?limit=1000");
    let answer = curl_as("admin", &[&url]).expect(200).json();
    answer["entries"].as_array().expect("entries").clone()
}

fn is_on(service: &Service) -> bool {
    let url = service.url("https", "/v2/security/insecureports");
    let answer = curl_as("admin", &[&url]).expect(200).json();
    answer["enable_insecure_ports"].as_bool().expect("a boolean")
}

/// Asks for plain HTTP to be switched, by this spelling.
fn switch(service: &Service, protocol: &str, path: &str, on: bool) -> Reply {
    let url = service.url("https", path);
    let body = format!(r#"{{"enable_insecure_ports": {on}}}"#);
    curl_as("admin", &["--path-as-is", protocol, "-d", &body, &url])
}

#[test]
fn change_by_any_spelling_is_recorded_or_not_made() {
    let service = Service::portcullis()
        .listeners(
            r#"[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["interface", "security", "management"]"#,
        )
        .start();
    for protocol in ["--http1.1", "--http2"] {
        for path in SAME.into_iter().chain(OTHER) {
            let (before, wanted) = (entries(&service).len(), !is_on(&service));
            let reply = switch(&service, protocol, path, wanted);
            let after = entries(&service);
            assert_eq!(reply.status == 200, SAME.contains(&path), "{path}: {}", reply.status);
            assert_eq!(is_on(&service) == wanted, reply.status == 200, "{protocol} {path}");
            // All of it is below a mount that asks for the password, so all of it is recorded.
            assert_eq!(after.len(), before + 1, "{protocol} {path}: {after:?}");
            let outcome = if reply.status == 200 { "done" } else { "refused" };
            assert_eq!(after[0]["outcome"], outcome, "{protocol} {path}: {}", after[0]);
            if reply.status == 200 {
                let action = "POST /v2/security/insecureports";
                assert_eq!(after[0]["action"], action, "one handler has one name");
            }
        }
    }
}

#[test]
fn failed_login_by_any_spelling_is_recorded() {
    let service = Service::portcullis().start();
    for path in SAME {
        let before = entries(&service).len();
        // In HTTP/2 no target is absolute.
        let absolute = format!("http://box.test{path}");
        for (protocol, target) in [("--http2", path), ("--http1.1", &absolute)] {
            let url = service.url("https", "/");
            let from = ["--interface", "127.0.0.2", protocol];
            curl_as("wrong", &[&from[..], &["--request-target", target, &url]].concat())
                .expect(401);
        }
        let after = entries(&service);
        assert_eq!(after.len(), before + 2, "{path}: {after:?}");
        for entry in &after[..2] {
            assert_eq!(
                (&entry["action"], &entry["outcome"]),
                (&"log in".into(), &"refused".into())
            );
        }
    }
}

#[test]
fn upload_that_waits_for_100_is_refused_by_any_spelling_before_its_body() {
    let service = Service::portcullis().start();
    for path in SAME {
        let url = service.url("https", path);
        let body = "x".repeat(2000);
        let expect = ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "20"];
        let reply = curl(&[&expect[..], &["--path-as-is", "-d", &body, &url]].concat()).expect(401);
        assert_eq!(reply.number("size_upload"), 0.0, "{path}: its body was asked for");
    }
}

#[test]
fn target_that_is_no_path_reaches_nothing() {
    let service = Service::portcullis().start();
    let url = service.url("https", "/");
    let asterisk = ["--http1.1", "-X", "OPTIONS", "--request-target", "*", &url];
    curl_as("admin", &asterisk).expect(404);
    for path in ["/v2//security/audit", "/v2/security%2faudit", "/v2/./security/audit"] {
        let url = service.url("https", path);
        curl_as("admin", &["--path-as-is", &url]).expect(404);
    }
}
