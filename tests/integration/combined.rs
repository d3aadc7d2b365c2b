//! Services of a program's own beside built-in ones, each where the configuration puts it.

use serde_json::json;

use crate::support::curl::{curl, curl_as};
use crate::support::service::Service;

#[test]
fn own_and_built_in_services_share_five_ports() {
    let config = include_str!("../../examples/combined.toml");
    let ports = ["[::]:8080", "[::]:8443", "[::]:8444", "[::]:9004", "[::]:9001"];
    let free = ports.iter().fold(config.to_owned(), |config, port| {
        assert!(config.contains(port), "{port}");
        config.replace(port, "127.0.0.1:0")
    });
    let service = Service::combined().listeners(&free).start();
    assert_eq!(service.ready().listeners.len(), 5);

    let (public, admin) = (service.url("public", "/board"), service.url("admin", "/board"));
    curl(&["-d", r#"{"text": "x"}"#, &public]).expect(405);
    curl(&["-d", r#"{"text": "x"}"#, &admin]).expect(401);
    curl_as("admin", &["-d", r#"{"text": "Back at five."}"#, &admin]).expect(200);
    let shown = curl(&[&public]).expect(200).json();
    assert_eq!(shown, json!({ "text": "Back at five.", "by": "admin" }));

    for (listener, path, status) in [
        ("public", "/v2/management/health", 404),
        ("public", "/v2/jobs", 404),
        ("admin", "/v2/management/health", 200),
        ("admin", "/v2/jobs", 404),
        ("jobs", "/v2/jobs", 200),
        ("jobs", "/v2/security/audit", 404),
        ("live", "/v2/jobs", 404),
        ("live", "/board", 404),
        ("figures", "/metrics", 200),
        ("figures", "/board", 404),
    ] {
        curl_as("admin", &[&service.url(listener, path)]).expect(status);
    }
    // What plain HTTP says once it is off.
    let off = r#"{"enable_insecure_ports": false}"#;
    curl_as("admin", &["-d", off, &service.url("admin", "/v2/security/insecureports")]).expect(200);
    let redirected = curl(&[&public]).expect(301);
    assert_eq!(redirected.header("location"), Some(admin.as_str()));
}
