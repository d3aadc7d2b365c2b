//! Big uploads, welcome or not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::service::Service;
use crate::support::uploads::hex;

const MIB: u64 = 1 << 20;

/// A file of zeros that takes no room on the disk.
fn sparse(folder: &Path, bytes: u64) -> PathBuf {
    let path = folder.join(format!("zeros-{bytes}"));
    let file = File::create(&path).expect("a file");
    file.set_len(bytes).expect("a sparse file");
    path
}

/// Uploads two gigabytes with a wrong password.
fn unwelcome(service: &Service, extra: &[&str]) -> Reply {
    let big = format!("keyfile=@{}", sparse(service.path(), 2048 * MIB).display());
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("wrong", &[&["-F", &big, &url], extra].concat())
}

#[test]
fn unwelcome_upload_that_asks_first_is_refused_before_it_begins() {
    let service = Service::echo().start();
    for protocol in ["--http1.1", "--http2"] {
        let ask = [protocol, "-H", "Expect: 100-continue", "--expect100-timeout", "120"];
        let reply = unwelcome(&service, &ask).expect(401);
        assert_eq!(reply.exit_code, 0, "{protocol}: {}", reply.stderr);
        assert_eq!(reply.number("size_upload"), 0.0, "{protocol}: bytes were sent");
    }
}

#[test]
fn unwelcome_upload_that_does_not_ask_reads_its_refusal_early() {
    let service = Service::echo().start();
    for protocol in ["--http1.1", "--http2"] {
        let reply = unwelcome(&service, &[protocol, "-H", "Expect:"]).expect(401);
        assert_eq!(reply.exit_code, 0, "{protocol}: {}", reply.stderr);
        assert!(reply.number("time_total") < 5.0, "{protocol}: {}", reply.number("time_total"));
        let sent = reply.number("size_upload");
        assert!(sent < (64 * MIB) as f64, "{protocol}: {sent} bytes were sent");
    }
}

#[test]
fn request_after_an_unwelcome_upload_is_answered() {
    let service = Service::echo().start();
    let big = format!("keyfile=@{}", sparse(service.path(), 2048 * MIB).display());
    let upload = service.url("https", "/v2/security/sslcertificate");
    let about = service.url("https", "/v2/management/host/about");
    for expect in ["Expect: 100-continue", "Expect:"] {
        let common =
            ["-sSk", "--http1.1", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}\n"];
        let output = Command::new("curl")
            .args(common)
            .args(["-u", "admin:wrong", "-H", expect, "-F", &big, &upload, "--next"])
            .args(common)
            .args(["-u", "admin:admin", &about])
            .output()
            .expect("the curl command");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(told, "401\n200\n", "{expect} {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn welcome_upload_that_asks_first_is_told_to_go_on_at_once() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let url = service.url("https", "/v2/security/sslcertificate");
    let files = ["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url];
    // A client that hears nothing goes on by itself, this one later than it gives up.
    let ask = ["--http1.1", "-H", "Expect: 100-continue", "--expect100-timeout", "120"];
    let reply = curl_as("admin", &[&ask[..], &files[..]].concat()).expect(200);
    assert!(reply.headers.starts_with("HTTP/1.1 100"), "{}", reply.headers);
}

#[test]
fn unknown_expectation_is_417() {
    let service = Service::echo().start();
    let url = service.url("https", "/v2/security/insecureports");
    let body = r#"{"enable_insecure_ports": false}"#;
    let fish = ["--http1.1", "-H", "Expect: fish", "-d", body, &url];
    curl_as("admin", &fish).expect(417);
    let told = curl_as("admin", &[&url]).expect(200).json();
    assert_eq!(told["enable_insecure_ports"], true, "it was carried out all the same");
}

#[test]
fn unwelcome_plain_upload_is_redirected_before_its_body() {
    let service = Service::echo().start();
    let ports = service.url("https", "/v2/security/insecureports");
    curl_as("admin", &["-d", r#"{"enable_insecure_ports": false}"#, &ports]).expect(200);
    let big = sparse(service.path(), 2048 * MIB);
    let big = big.to_str().expect("a plain path");
    let upload = service.url("http", "/echo/upload");
    for expect in ["Expect: 100-continue", "Expect:"] {
        let reply = curl(&["-X", "POST", "-T", big, "-H", expect, &upload]).expect(308);
        assert_eq!(reply.exit_code, 0, "{}", reply.stderr);
        let sent = reply.number("size_upload");
        assert!(sent < (64 * MIB) as f64, "{expect} {sent} bytes were sent");
    }
}

/// The size that no certificate has.
#[test]
fn certificate_of_many_megabytes_is_413() {
    let service = Service::echo().start();
    let big = format!("keyfile=@{}", sparse(service.path(), 64 * MIB).display());
    let url = service.url("https", "/v2/security/sslcertificate");
    for protocol in ["--http1.1", "--http2"] {
        let reply = curl_as("admin", &[protocol, "-F", &big, &url]).expect(413);
        assert_eq!(reply.json()["code"], 413);
    }
    curl_as("admin", &[&url]).expect(200);
}

/// Uploads so many zeros to the echo service and compares what arrived.
fn arrives_whole(bytes: u64, extra: &[&str]) {
    let service = Service::echo().start();
    let file = sparse(service.path(), bytes);
    let url = service.url("https", "/echo/upload");
    let post = ["-X", "POST", "-H", "Expect:", "-T", file.to_str().expect("a plain path"), &url];
    let reply = curl(&[&post[..], extra].concat()).expect(200);

    let mut digest = Sha256::new();
    let zeros = vec![0; MIB as usize];
    for _ in 0..bytes / MIB {
        digest.update(&zeros);
    }
    let answer = reply.json();
    assert_eq!(answer["length"], bytes);
    assert_eq!(answer["sha256"], hex(&digest.finalize()));
    let peak = service.usage().peak_kib;
    assert!(peak < 300 * 1024, "{peak} KiB of memory");
}

#[test]
fn gibibyte_over_http1_arrives_whole_and_is_not_kept_in_memory() {
    arrives_whole(1024 * MIB, &["--http1.1"]);
}

#[test]
fn big_upload_over_http2_arrives_whole() {
    arrives_whole(256 * MIB, &["--http2"]);
}

#[test]
fn big_upload_of_unknown_length_arrives_whole() {
    arrives_whole(256 * MIB, &["--http1.1", "-H", "Transfer-Encoding: chunked"]);
}
