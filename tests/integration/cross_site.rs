//! Pages of other sites, whose requests carry the password that the browser remembers.

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{Reply, curl_as};
use crate::support::service::Service;
use crate::support::stored::Stored;

const OFF: &str = r#"{"enable_insecure_ports": false}"#;

/// Asks for plain HTTP to be switched off, with these header lines.
fn switch(service: &Service, headers: &[&str]) -> Reply {
    let url = service.url("https", "/v2/security/insecureports");
    let mut arguments = vec![url.as_str(), "-d", OFF];
    for header in headers {
        arguments.extend(["-H", header]);
    }
    curl_as("admin", &arguments)
}

const FOREIGN: [&[&str]; 8] = [
    &["Content-Type: application/json", "Origin: https://evil.example"],
    &["Content-Type: application/json", "Origin: null"],
    &["Content-Type: application/json", "Referer: https://evil.example/"],
    &["Content-Type: application/json", "Sec-Fetch-Site: cross-site"],
    &["Content-Type: text/plain", "Origin: https://evil.example"],
    &["Content-Type: text/plain", "Sec-Fetch-Site: cross-site"],
    &["Origin: https://127.0.0.1.evil.example"],
    &["Sec-Fetch-Site: same-site", "Origin: https://evil.127.0.0.1.example"],
];

#[test]
fn change_asked_for_by_a_foreign_page_is_403_and_changes_nothing() {
    let service = Service::echo().start();
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();
    for headers in FOREIGN {
        let reply = switch(&service, headers).expect(403);
        assert_eq!(reply.header("access-control-allow-origin"), None, "{headers:?}");
    }
    assert!(stored.contents() == before, "the state on disk changed");
    assert!(stored.insecure_ports());
}

#[test]
fn every_kind_of_change_asked_for_by_a_foreign_page_is_403() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();
    let origin = ["-H", "Origin: https://evil.example"];
    let (key, certificate) = (bundle.keyfile(), bundle.certfile());
    let changes: [(&str, &[&str]); 4] = [
        ("/v2/security/sslcertificate", &["-F", &key, "-F", &certificate]),
        ("/v2/security/sslcertificate", &["-X", "DELETE"]),
        ("/v2/security/adminpassword", &["-d", r#"{"password": "theirs"}"#]),
        ("/v2/security/reset", &["-X", "DELETE"]),
    ];
    for (path, change) in changes {
        curl_as("admin", &[&origin[..], change, &[&service.url("https", path)]].concat())
            .expect(403);
    }
    assert!(stored.contents() == before, "the state on disk changed");
}

#[test]
fn own_page_and_clients_that_are_no_browsers_may_change() {
    let own = |service: &Service| format!("Origin: https://127.0.0.1:{}", service.port("https"));
    for headers in [&[][..], &["Content-Type: text/plain"], &["Sec-Fetch-Site: none"]] {
        let service = Service::echo().start();
        switch(&service, headers).expect(200);
        assert!(!Stored::in_data_dir(&service.data_dir()).insecure_ports());
    }
    let service = Service::echo().start();
    let origin = own(&service);
    switch(&service, &["Content-Type: application/json", &origin]).expect(200);
    switch(&service, &["Sec-Fetch-Site: same-origin", &origin]).expect(200);
    assert!(!Stored::in_data_dir(&service.data_dir()).insecure_ports());
}

#[test]
fn foreign_page_is_not_let_read_an_answer_and_its_get_changes_nothing() {
    let service = Service::echo().start();
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();
    let origin = ["-H", "Origin: https://evil.example"];
    for path in
        ["/v2/security/insecureports", "/v2/security/sslcertificate", "/v2/management/listeners"]
    {
        let url = service.url("https", path);
        let get = curl_as("admin", &[&origin[..], &[&url]].concat());
        assert_eq!(get.header("access-control-allow-origin"), None, "{path}");
        let asks = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST", &url];
        let preflight = curl_as("admin", &[&origin[..], &asks[..]].concat());
        assert_eq!(preflight.header("access-control-allow-origin"), None, "{path}");
    }
    assert!(stored.contents() == before, "the state on disk changed");
}
