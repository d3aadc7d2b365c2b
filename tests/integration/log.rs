//! What the log says, and what it must never say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::curl_as;
use crate::support::service::Service;

#[test]
fn no_key_and_no_password_is_logged_even_at_debug_level() {
    let service = Service::echo().verbose().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let upload = service.url("https", "/v2/security/sslcertificate");
    let change = service.url("https", "/v2/security/adminpassword");
    let about = service.url("https", "/v2/management/host/about");
    for protocol in ["--http1.1", "--http2"] {
        let files = [protocol, "-F", &bundle.keyfile(), "-F", &bundle.certfile(), &upload];
        curl_as("admin", &files).expect(200);
        // A refused one as well: the certificate is no key.
        let swapped = format!("keyfile=@{}", bundle.chain.display());
        let key = format!("certfile=@{}", bundle.key.display());
        curl_as("admin", &[protocol, "-F", &swapped, "-F", &key, &upload]).expect(400);
        curl_as("admin", &[protocol, &change, "-d", r#"{"password": "xylophone"}"#]).expect(200);
        curl_as("xylophone", &[protocol, &about]).expect(200);
        curl_as("marimba", &[protocol, &about]).expect(401);
        curl_as("xylophone", &[protocol, &change, "-d", r#"{"password": "admin"}"#]).expect(200);
    }
    let log = service.log();
    assert!(log.contains("DEBUG"), "nothing at debug level: {log}");
    for password in ["xylophone", "marimba"] {
        let token = STANDARD.encode(format!("admin:{password}"));
        assert!(!log.contains(password) && !log.contains(&token), "{password} is in the log");
    }
    let key = std::fs::read_to_string(&bundle.key).expect("the key");
    let mut lines = key.lines().filter(|line| line.len() == 64);
    assert!(lines.all(|line| !log.contains(line)), "a line of the key is in the log");
}

#[test]
fn what_an_administrator_did_is_logged() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let upload = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &upload]).expect(200);
    let ports = service.url("https", "/v2/security/insecureports");
    curl_as("admin", &[&ports, "-d", r#"{"enable_insecure_ports": false}"#]).expect(200);
    let change = service.url("https", "/v2/security/adminpassword");
    curl_as("admin", &[&change, "-d", r#"{"password": "other"}"#]).expect(200);
    let log = service.log();
    let told = |word: &str| log.lines().any(|line| line.contains("INFO") && line.contains(word));
    assert!(told(&bundle.fingerprint), "no certificate in {log}");
    assert!(told("password"), "no password change in {log}");
    assert!(told("plain") || told("insecure"), "no switch in {log}");
}
