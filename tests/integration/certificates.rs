//! What a certificate upload promises once it is answered, and once it is refused.

use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use crate::support::certificates::{Bundle, CertificateAuthority, KeyKind};
use crate::support::curl::{curl, curl_as};
use crate::support::openssl::{fingerprint_seen_by_openssl, openssl, s_client};
use crate::support::service::Service;
use crate::support::stored::{Stored, files_below};
use crate::support::tls::served_fingerprint;

#[tokio::test]
async fn answer_describes_the_certificate_that_is_served() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let admin = service.admin();

    let answer = admin.install(&bundle).await;
    let certificate = &answer["certificate"];
    assert_eq!(certificate["fingerprint_sha256"], bundle.fingerprint, "{answer}");
    assert_eq!(certificate["chain_length"], 2, "{answer}");
    assert_eq!(certificate["default"], false, "{answer}");
    let text = certificate.to_string();
    for name in ["pair-a.example.test", "Example-Test-Issuing"] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let names = certificate["sans"].to_string();
    for name in ["appliance.example.test", "localhost", "127.0.0.1"] {
        assert!(names.contains(name), "{name} in {names}");
    }
    assert!(certificate["not_before"].is_string() && certificate["not_after"].is_string());
    assert!(certificate["key_type"].as_str().is_some_and(|kind| kind.contains("RSA")), "{answer}");
    assert!(answer["message"].is_string() && answer["warnings"].is_array(), "{answer}");

    for listener in ["https", "wss"] {
        let serving = admin.listener(listener).await.serving().number;
        assert_eq!(answer["generations"][listener], serving, "{answer}");
    }
    let told = admin.get("/v2/security/sslcertificate").await.json();
    assert_eq!(told["certificate"], *certificate);
    assert!(!told.to_string().contains("PRIVATE KEY"));
}

#[tokio::test]
async fn first_connection_after_the_answer_shows_the_new_certificate_on_every_port() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    for bundle in authority.series(10) {
        service.admin().install(&bundle).await;
        for port in service.tls_ports() {
            assert_eq!(served_fingerprint(port).await, bundle.fingerprint, "port {port}");
        }
    }
}

#[tokio::test]
async fn whole_chain_is_served_and_verifies_against_the_root_alone() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    for bundle in [authority.pair_a(), authority.pair_b()] {
        service.admin().install(&bundle).await;
        for port in service.tls_ports() {
            let root = authority.root();
            let root = root.to_str().expect("a plain path");
            let verified =
                s_client(port, &["-CAfile", root, "-verify_return_error", "-showcerts"], "");
            assert!(verified.success, "{}", verified.text);
            assert_eq!(verified.text.matches("BEGIN CERTIFICATE").count(), 2);
        }
    }
}

#[tokio::test]
async fn uploaded_certificate_survives_a_restart() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_b();
    service.admin().install(&bundle).await;
    let service = service.restart();
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, bundle.fingerprint);
    }
    let told = service.admin().get("/v2/security/sslcertificate").await.json();
    assert_eq!(told["certificate"]["default"], false);
}

#[tokio::test]
async fn state_is_readable_by_its_owner_alone() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_a()).await;
    let state = service.data_dir().join("state");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    };
    assert_eq!(mode(&state), 0o700);
    for file in files_below(&service.data_dir()) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    assert!(Stored::in_data_dir(&service.data_dir()).key_file().exists());
}

#[tokio::test]
async fn deleted_certificate_gives_way_to_the_default_one() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let default = served_fingerprint(service.port("https")).await;
    service.admin().install(&authority.pair_a()).await;
    let answer = service.admin().delete("/v2/security/sslcertificate").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, default);
    }
    assert!(Stored::in_data_dir(&service.data_dir()).bundle().is_none());
    let service = service.restart();
    assert_eq!(served_fingerprint(service.port("wss")).await, default);
}

/// Everything that must hold after a refusal: its code and part, the words, and that nothing else
/// happened.
async fn refused(
    files: &[&str],
    authority: &CertificateAuthority,
    (code, part): (&str, &str),
    words: &[&[&str]],
) {
    let service = Service::echo().start();
    let before = service.admin();
    let good = authority.issue("good", KeyKind::Ec);
    let begun = Instant::now();
    before.install(&good).await;
    let usual = begun.elapsed().as_secs_f64();
    let stored = Stored::in_data_dir(&service.data_dir());
    let contents = stored.contents();

    let url = service.url("https", "/v2/security/sslcertificate");
    let reply = curl_as("admin", &[files, &[url.as_str()]].concat()).expect(400);
    let took = reply.number("time_total");
    assert!(took < f64::max(2.0, 20.0 * usual), "took {took} s, a good one {usual} s");
    assert!(reply.body.len() <= 2048, "{}", reply.body);
    let error = reply.json();
    assert_eq!((&error["code"], &error["error"]), (&400.into(), &"Bad Request".into()), "{error}");
    assert_eq!((&error["error_code"], &error["part"]), (&code.into(), &part.into()), "{error}");
    let detail = error["detail"].as_str().expect("a detail").to_lowercase();
    for choice in words {
        assert!(choice.iter().any(|word| detail.contains(word)), "none of {choice:?} in {detail}");
    }

    assert!(stored.contents() == contents, "the state on disk changed");
    assert_eq!(before.about_status().await, 200);
    let log = service.log();
    for line in key_lines(authority) {
        assert!(!reply.body.contains(&line) && !log.contains(&line), "a key line leaked");
        for file in files_below(service.path()) {
            let text = std::fs::read(&file).expect("a file");
            let text = String::from_utf8_lossy(&text);
            assert!(!text.contains(&line), "key left behind in {}", file.display());
        }
    }
    let service = service.restart();
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, good.fingerprint);
    }
}

/// The lines of every key that was refused. Keys that are only base64 of their neighbours'
/// headers would be found in any key, so the first line of each is left out.
fn key_lines(authority: &CertificateAuthority) -> Vec<String> {
    let mut lines = Vec::new();
    for name in ["bad.key", "pair-a.key", "encrypted.key"] {
        let Ok(text) = std::fs::read_to_string(authority.file(name)) else { continue };
        let body = text.lines().filter(|line| line.len() == 64 && !line.starts_with("MII"));
        lines.extend(body.map(str::to_owned));
    }
    assert!(!lines.is_empty(), "no key to look for");
    lines
}

fn part(field: &str, authority: &CertificateAuthority, file: &str) -> String {
    format!("{field}=@{}", authority.file(file).display())
}

#[tokio::test]
async fn key_of_another_certificate_is_refused_as_not_matching() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    authority.make_key("bad.key", KeyKind::Rsa);
    let files =
        [part("keyfile", &authority, "bad.key"), part("certfile", &authority, "pair-a.crt")];
    refused(
        &["-F", &files[0], "-F", &files[1]],
        &authority,
        ("key-mismatch", "both"),
        &[&["match", "belong"]],
    )
    .await;
}

#[tokio::test]
async fn swapped_files_are_refused_as_swapped() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    let files =
        [part("keyfile", &authority, "pair-a.crt"), part("certfile", &authority, "pair-a.key")];
    refused(&["-F", &files[0], "-F", &files[1]], &authority, ("swapped", "both"), &[&["swapped"]])
        .await;
}

#[tokio::test]
async fn encrypted_key_is_refused_with_the_way_on() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    authority
        .run("pkcs8 -topk8 -in pair-a.key -v2 aes-256-cbc -passout pass:secret -out encrypted.key");
    let files =
        [part("keyfile", &authority, "encrypted.key"), part("certfile", &authority, "pair-a.crt")];
    let words: [&[&str]; 2] = [&["encrypted", "password-protected"], &["openssl pkey"]];
    refused(
        &["-F", &files[0], "-F", &files[1]],
        &authority,
        ("passphrase-needed", "passphrase"),
        &words,
    )
    .await;
}

#[tokio::test]
async fn expired_leaf_is_refused_with_its_date() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    authority.expired();
    let files =
        [part("keyfile", &authority, "expired.key"), part("certfile", &authority, "expired.crt")];
    refused(
        &["-F", &files[0], "-F", &files[1]],
        &authority,
        ("expired", "certfile"),
        &[&["expired"], &["2021"]],
    )
    .await;
}

#[tokio::test]
async fn missing_part_is_named() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    let key = part("keyfile", &authority, "pair-a.key");
    refused(&["-F", &key], &authority, ("missing", "certfile"), &[&["certfile"]]).await;
}

#[tokio::test]
async fn public_key_in_place_of_the_private_one_is_named() {
    let authority = CertificateAuthority::new();
    authority.pair_a();
    authority.run("pkey -in pair-a.key -pubout -out public.key");
    let files =
        [part("keyfile", &authority, "public.key"), part("certfile", &authority, "pair-a.crt")];
    let words: [&[&str]; 2] = [&["keyfile"], &["public key"]];
    refused(&["-F", &files[0], "-F", &files[1]], &authority, ("wrong-content", "keyfile"), &words)
        .await;
}

#[test]
fn every_usual_spelling_of_a_key_is_taken() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (rsa, ec) = (authority.pair_a(), authority.pair_b());
    authority.run("rsa -in pair-a.key -traditional -out pkcs1.key");
    authority.run("ec -in pair-b.key -out sec1.key");
    // What `openssl ecparam -genkey` writes: the parameters, then the key.
    let parameters = openssl(authority.path(), &["ecparam", "-name", "prime256v1"]);
    let key = std::fs::read_to_string(authority.file("sec1.key")).expect("sec1.key");
    std::fs::write(authority.file("parameters.key"), parameters + &key).expect("write the key");

    let url = service.url("https", "/v2/security/sslcertificate");
    let spellings = [
        ("pkcs1.key", "BEGIN RSA PRIVATE KEY", &rsa),
        ("sec1.key", "BEGIN EC PRIVATE KEY", &ec),
        ("pair-a.key", "BEGIN PRIVATE KEY", &rsa),
        ("parameters.key", "BEGIN EC PARAMETERS", &ec),
        ("pair-b.key", "BEGIN PRIVATE KEY", &ec),
    ];
    for (file, heading, bundle) in spellings {
        let text = std::fs::read_to_string(authority.file(file)).expect("a key");
        assert!(text.contains(heading), "{file} is not what it should be");
        let key = part("keyfile", &authority, file);
        curl_as("admin", &["-F", &key, "-F", &bundle.certfile(), &url]).expect(200);
        let served = fingerprint_seen_by_openssl(service.path(), service.port("wss"));
        assert_eq!(served, bundle.fingerprint, "{file}");
    }
}

#[test]
fn upload_without_credentials_is_refused_and_changes_nothing() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let contents = Stored::in_data_dir(&service.data_dir()).contents();
    let url = service.url("https", "/v2/security/sslcertificate");
    curl(&["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(401);
    assert!(Stored::in_data_dir(&service.data_dir()).contents() == contents);
    let served = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_ne!(served, bundle.fingerprint);
}

#[tokio::test]
async fn what_clients_may_object_to_is_told_of_the_served_certificate_at_any_time() {
    let service = Service::portcullis().start();
    let told = service.admin().get("/v2/security/sslcertificate").await.json();
    let warnings = told["warnings"].as_array().expect("warnings");
    assert!(warnings.iter().any(|warning| warning["code"] == "self-signed"), "{told}");
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_a()).await;
    let told = service.admin().get("/v2/security/sslcertificate").await.json();
    assert_eq!(told["warnings"], serde_json::json!([]), "{told}");
}

/// A certificate of the authority with so many names.
fn with_names(authority: &CertificateAuthority, count: usize) -> Bundle {
    let name = format!("names-{count}");
    authority.make_key(&format!("{name}.key"), KeyKind::Ec);
    let names: Vec<_> = (0..count).map(|number| format!("DNS:h{number:05}.example.test")).collect();
    let extensions = format!("subjectAltName=DNS:localhost,{}\n", names.join(","));
    std::fs::write(authority.file(&format!("{name}.cnf")), extensions).expect("write");
    authority
        .run(&format!("req -x509 -key {name}.key -subj /CN=localhost -days 90 -out plain.crt"));
    authority.run(&format!(
        "x509 -in plain.crt -signkey {name}.key -clrext -extfile {name}.cnf -days 90 -out {name}.crt"
    ));
    Bundle::new(authority.file(&format!("{name}.key")), authority.file(&format!("{name}.crt")))
}

#[tokio::test]
async fn certificate_that_is_taken_works_whatever_its_size() {
    let service = Service::portcullis().start();
    let (authority, admin) = (CertificateAuthority::new(), service.admin());
    let port = service.port("https");
    for (count, warned) in [(300, false), (1500, true), (3000, true)] {
        let bundle = with_names(&authority, count);
        let answer = admin.install(&bundle).await;
        assert_eq!(answer["warnings"].to_string().contains("large-chain"), warned, "{count}");
        assert_eq!(served_fingerprint(port).await, bundle.fingerprint, "{count} names, rustls");
        for version in ["-tls1_2", "-tls1_3"] {
            let heard = s_client(port, &[version, "-showcerts"], "");
            assert!(heard.success, "{count} names, {version}: {}", &heard.text[..400]);
        }
    }
    let served = served_fingerprint(port).await;
    let answer = admin.try_install(&with_names(&authority, 3200)).await.expect("an answer");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(answer.text().contains("fewer names"), "{}", answer.text());
    assert_eq!(served_fingerprint(port).await, served);
}
