//! The commands of the appliance manual, typed as they stand there with other ports, against
//! the appliance with real curl and openssl.

use serde_json::{Value, json};

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::openssl::{fingerprint_seen_by_openssl, s_client};
use crate::support::service::Service;
use crate::support::stored::{DOCUMENTED_SECRET, Stored};

fn about(service: &Service, listener: &str) -> String {
    service.url(listener, "/v2/management/host/about")
}

fn post(service: &Service, password: &str, path: &str, body: &str) -> Reply {
    // The manual sends some bodies with `-d` alone, so without a JSON content type.
    curl_as(password, &["-L", "-X", "POST", &service.url("https", path), "-d", body])
}

#[test]
fn about_is_told_over_https_to_the_administrator() {
    let service = Service::portcullis().start();
    let reply = curl(&["-L", "-X", "GET", &about(&service, "https"), "-u", "admin:admin"]);
    let told = reply.expect(200).json();
    assert!(told["appliance_version"].is_string(), "{told}");
    assert!(told["appliance_variant"].is_string(), "{told}");
}

#[test]
fn default_certificate_is_self_signed_and_names_the_local_host() {
    let service = Service::portcullis().start();
    // The later of the two wins: curl verifies.
    let careful = curl(&["--no-insecure", "-u", "admin:admin", &about(&service, "https")]);
    assert_eq!(careful.exit_code, 60, "{}", careful.stderr);
    assert!(careful.stderr.contains("self-signed certificate"), "{}", careful.stderr);

    let shown = s_client(service.port("https"), &[], "").text;
    let certificate = service.path().join("default.pem");
    let end = "-----END CERTIFICATE-----";
    let pem = shown.split_once("-----BEGIN").and_then(|(_, rest)| rest.split_once(end));
    let pem = format!("-----BEGIN{}{end}\n", pem.expect("a certificate").0);
    std::fs::write(&certificate, pem).expect("write the certificate");
    let trusting = ["--no-insecure", "--cacert", certificate.to_str().expect("a plain path"), "-u"];
    let url = format!("https://localhost:{}/v2/management/host/about", service.port("https"));
    curl(&[&trusting[..], &["admin:admin", &url]].concat()).expect(200);
}

#[test]
fn uploaded_certificate_is_the_one_that_openssl_sees() {
    let service = Service::portcullis().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let before = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_ne!(before, bundle.fingerprint);

    let url = service.url("https", "/v2/security/sslcertificate");
    let files = ["-F", &bundle.keyfile(), "-F", &bundle.certfile()];
    let reply = curl_as("admin", &[&["-L", "-X", "POST", url.as_str()], &files[..]].concat());
    assert_eq!(reply.expect(200).json()["certificate"]["default"], false);

    let after = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_eq!(after, bundle.fingerprint);
}

#[test]
fn plain_http_switched_off_moves_requests_to_https() {
    let service = Service::portcullis().start();
    curl_as("admin", &[&about(&service, "http")]).expect(200);

    let off = r#"{"enable_insecure_ports": false}"#;
    let reply = post(&service, "admin", "/v2/security/insecureports", off).expect(200);
    assert_eq!(reply.json(), json!({ "enable_insecure_ports": false }));

    let moved = curl_as("admin", &["-i", &about(&service, "http")]).expect(301);
    assert!(moved.headers.starts_with("HTTP/1.1 301 Moved Permanently"), "{}", moved.headers);
    assert_eq!(moved.header("location"), Some(about(&service, "https").as_str()));
    curl_as("admin", &[&about(&service, "https")]).expect(200);
}

#[test]
fn changed_password_is_asked_for_from_then_on() {
    let service = Service::portcullis().start();
    let change =
        post(&service, "admin", "/v2/security/adminpassword", r#"{"password": "example"}"#);
    let message = change.expect(200).json()["message"].clone();
    assert!(message.as_str().is_some_and(|text| !text.is_empty() && !text.contains("example")));

    let without = curl(&[&about(&service, "https")]).expect(401);
    assert!(without.body.starts_with("401 Unauthorized"), "{}", without.body);
    curl_as("admin", &[&about(&service, "https")]).expect(401);
    curl_as("example", &[&about(&service, "https")]).expect(200);
}

#[test]
fn reset_restores_certificate_password_and_plain_http() {
    let service = Service::portcullis().start();
    let default = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let upload = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &upload]).expect(200);
    let off = r#"{"enable_insecure_ports": false}"#;
    post(&service, "admin", "/v2/security/insecureports", off).expect(200);
    post(&service, "admin", "/v2/security/adminpassword", r#"{"password": "other"}"#).expect(200);

    let reset = service.url("https", "/v2/security/reset");
    curl(&["-L", "-X", "DELETE", &reset, "-u", "admin:other"]).expect(200);

    curl_as("admin", &[&about(&service, "http")]).expect(200);
    curl_as("other", &[&about(&service, "https")]).expect(401);
    let served = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_eq!(served, default);
    let stored = Stored::in_data_dir(&service.data_dir());
    assert!(stored.bundle().is_none() && stored.insecure_ports());
}

#[test]
fn reset_without_the_password_changes_nothing() {
    let service = Service::portcullis().start();
    post(&service, "admin", "/v2/security/adminpassword", r#"{"password": "other"}"#).expect(200);
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();

    for listener in ["https", "http"] {
        let reset = service.url(listener, "/v2/security/reset");
        curl(&["-X", "DELETE", &reset]).expect(401);
        curl_as("admin", &["-X", "DELETE", &reset]).expect(401);
    }

    assert!(stored.contents() == before, "the state on disk changed");
    curl_as("other", &[&about(&service, "https")]).expect(200);
}

#[test]
fn secret_edited_by_hand_makes_the_password_admin_after_a_restart() {
    let service = Service::portcullis().start();
    post(&service, "admin", "/v2/security/adminpassword", r#"{"password": "lost"}"#).expect(200);
    curl_as("lost", &[&about(&service, "https")]).expect(200);

    let stopped = service.stop();
    let users = Stored::in_data_dir(&stopped.data_dir()).users_file();
    std::fs::write(users, DOCUMENTED_SECRET).expect("edit the secret");
    let service = stopped.start();

    curl_as("lost", &[&about(&service, "https")]).expect(401);
    curl_as("admin", &[&about(&service, "https")]).expect(200);
}

#[test]
fn probes_are_answered_without_credentials() {
    let service = Service::portcullis().start();
    for listener in ["http", "https"] {
        curl(&[&service.url(listener, "/healthz")]).expect(200);
        curl(&[&service.url(listener, "/readyz")]).expect(200);
    }
}

#[test]
fn settings_are_told_as_they_are() {
    let service = Service::portcullis().start();
    let told = |path: &str| -> Value {
        curl_as("admin", &[&service.url("https", path)]).expect(200).json()
    };
    assert_eq!(told("/v2/security/insecureports"), json!({ "enable_insecure_ports": true }));
    let certificate = told("/v2/security/sslcertificate")["certificate"].clone();
    assert_eq!(certificate["default"], true);
    let served = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_eq!(certificate["fingerprint_sha256"], served);
}

#[test]
fn unknown_path_is_404_and_wrong_method_405() {
    let service = Service::portcullis().start();
    curl_as("admin", &[&service.url("https", "/v2/security/nothing")]).expect(404);
    let wrong = curl_as("admin", &["-X", "PUT", &service.url("https", "/v2/security/reset")]);
    let wrong = wrong.expect(405);
    assert_eq!(wrong.header("allow"), Some("DELETE"), "{}", wrong.headers);
}
