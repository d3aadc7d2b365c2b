//! Certificates at the console: judged as an upload is, installed with the service running or not.

use serde_json::Value;

use crate::support::certificates::{Bundle, CertificateAuthority, KeyKind};
use crate::support::console::{Console, Machine, Said};
use crate::support::curl::curl_as;
use crate::support::service::{Program, Service};
use crate::support::stored::Stored;
use crate::support::tls::served_fingerprint;

/// `certificate install` with more words and something on standard input.
fn install(console: &Console, key: &str, certificate: &str, more: &[&str], stdin: &str) -> Said {
    let words = ["certificate", "install", "--key", key, "--certificate", certificate];
    console.run_with(&[&words, more].concat(), stdin)
}

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

fn install_bundle(console: &Console, bundle: &Bundle) -> Said {
    install(console, &text(&bundle.key), &text(&bundle.chain), &[], "")
}

fn no_key(said: &Said) {
    assert!(!said.stdout.contains("PRIVATE KEY") && !said.stderr.contains("PRIVATE KEY"));
}

#[tokio::test]
async fn installed_certificate_is_served_from_the_next_connection_on() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    for machine in Machine::both() {
        let said = install_bundle(&machine.console(), &bundle).expect(0);
        assert!(said.stdout.contains(&bundle.fingerprint), "{}", said.stdout);
        no_key(&said);
        let stored = Stored::in_data_dir(&machine.data_dir()).bundle().expect("a stored pair");
        assert_eq!(stored.fingerprint, bundle.fingerprint);
        let service = machine.serving();
        for port in service.tls_ports() {
            assert_eq!(served_fingerprint(port).await, bundle.fingerprint);
        }
        let told = service.admin().get("/v2/security/sslcertificate").await.json();
        let installed = &told["certificate"]["installed"];
        assert!(installed["by"].as_str().is_some_and(|by| by.contains("console")), "{told}");
    }
}

#[tokio::test]
async fn reset_certificate_gives_way_to_the_default_one() {
    let authority = CertificateAuthority::new();
    for machine in Machine::both() {
        let console = machine.console();
        let default = console.status()["certificate"]["fingerprint_sha256"].clone();
        install_bundle(&console, &authority.pair_b()).expect(0);
        assert_eq!(console.status()["default_certificate"], false);
        console.done(&["certificate", "reset"]);
        assert_eq!(console.status()["default_certificate"], true);
        assert!(Stored::in_data_dir(&machine.data_dir()).bundle().is_none());
        let service = machine.serving();
        assert_eq!(served_fingerprint(service.port("https")).await, default);
    }
}

#[tokio::test]
async fn rollback_brings_back_the_certificate() {
    let authority = CertificateAuthority::new();
    let (early, late) = (authority.pair_a(), authority.pair_b());
    for machine in Machine::both() {
        let console = machine.console();
        install_bundle(&console, &early).expect(0);
        let revision = console.current_revision().to_string();
        install_bundle(&console, &late).expect(0);
        console.done(&["rollback", &revision]);
        let service = machine.serving();
        assert_eq!(served_fingerprint(service.port("https")).await, early.fingerprint);
    }
}

#[test]
fn shown_certificate_is_the_one_that_serves() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    for machine in Machine::both() {
        let console = machine.console();
        install_bundle(&console, &bundle).expect(0);
        let said = console.done(&["certificate", "show"]);
        for word in ["pair-a.example.test", "Example-Test-Issuing", "127.0.0.1", "RSA"] {
            assert!(said.stdout.contains(word), "no {word} in {}", said.stdout);
        }
        assert!(said.stdout.contains(&bundle.fingerprint), "{}", said.stdout);
        no_key(&said);
        let json = console.done(&["--json", "certificate", "show"]).json();
        assert_eq!(json["certificate"]["fingerprint_sha256"], bundle.fingerprint);
        assert_eq!((&json["default"], json["installed"].is_object()), (&false.into(), true));
    }
}

#[test]
fn encrypted_key_is_opened_with_the_passphrase_from_standard_input() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    authority
        .run("pkcs8 -topk8 -in pair-a.key -v2 aes-256-cbc -passout pass:glockenspiel -out e.key");
    let (key, chain) = (text(&authority.file("e.key")), text(&bundle.chain));
    for machine in Machine::both() {
        let console = machine.console();
        let stdin = ["--passphrase-stdin"];
        assert!(install(&console, &key, &chain, &[], "").refusal().contains("encrypted"));
        assert!(
            install(&console, &key, &chain, &stdin, "xylophone\n").refusal().contains("passphrase")
        );
        install(&console, &key, &chain, &stdin, "glockenspiel\n").expect(0);
        assert_eq!(console.status()["certificate"]["fingerprint_sha256"], bundle.fingerprint);
        let check = ["certificate", "check", &chain, &key, "--passphrase-stdin"];
        console.run_with(&check, "glockenspiel\n").expect(0);
        console.run_with(&check, "xylophone\n").refusal();
    }
}

/// Everything that an upload and the console are both asked about.
struct Judged {
    authority: CertificateAuthority,
    service: Service,
}

impl Judged {
    fn new() -> Self {
        Self { authority: CertificateAuthority::new(), service: Service::portcullis().start() }
    }

    /// What an upload that changes nothing is answered.
    fn upload(&self, key: &str, certificate: &str, status: u64) -> Value {
        let url = self.service.url("https", "/v2/security/sslcertificate?dry_run=true");
        let part =
            |field: &str, name: &str| format!("{field}=@{}", self.authority.file(name).display());
        let parts = [part("keyfile", key), part("certfile", certificate)];
        curl_as("admin", &["-F", &parts[0], "-F", &parts[1], &url]).expect(status).json()
    }

    /// The words of `certificate check`, on a machine that has no appliance.
    fn check(&self, words: &[&str]) -> Said {
        let files = words.iter().map(|name| text(&self.authority.file(name)));
        let files = files.collect::<Vec<_>>();
        let files = files.iter().map(String::as_str).collect::<Vec<_>>();
        let nowhere = Console::new(Program::Portcullis, self.authority.path());
        nowhere.run(&[&["certificate", "check"], &files[..]].concat())
    }
}

#[test]
fn check_refuses_with_the_words_of_an_upload() {
    let judged = Judged::new();
    let authority = &judged.authority;
    authority.pair_a();
    authority.expired();
    authority.make_key("other.key", KeyKind::Rsa);
    authority.run("pkey -in pair-a.key -pubout -out public.key");
    authority
        .run("pkcs8 -topk8 -in pair-a.key -v2 aes-256-cbc -passout pass:secret -out locked.key");
    std::fs::write(authority.file("letter.txt"), "Dear administrator,\n").expect("write a letter");
    for (key, certificate) in [
        ("other.key", "pair-a.crt"),
        ("expired.key", "expired.crt"),
        ("locked.key", "pair-a.crt"),
        ("public.key", "pair-a.crt"),
        ("letter.txt", "pair-a.crt"),
        ("pair-a.key", "letter.txt"),
        ("pair-a.key", "pair-a.csr"),
    ] {
        let error = judged.upload(key, certificate, 400);
        let detail = error["detail"].as_str().expect("a detail");
        let line = judged.check(&[key, certificate]).refusal();
        assert_eq!(no_clock(line.trim_end()), no_clock(detail), "{key} with {certificate}");
    }
}

/// A refusal without what the clock says, which may be a second later for the second one asked.
fn no_clock(refusal: &str) -> String {
    const CLOCK: &str = "clock says ";
    let Some((before, after)) = refusal.split_once(CLOCK) else { return refusal.to_owned() };
    let (_, after) = after.split_once(';').expect("more after the time");
    format!("{before}{CLOCK}…;{after}")
}

#[test]
fn check_praises_and_warns_as_an_upload_does_in_either_order() {
    let judged = Judged::new();
    let bundle = judged.authority.pair_a();
    for (key, certificate) in [("pair-a.key", "pair-a.crt"), ("pair-a.key", "pair-a.leaf.crt")] {
        let answer = judged.upload(key, certificate, 200);
        let warnings = answer["warnings"].as_array().expect("warnings");
        assert_eq!(warnings.is_empty(), certificate == "pair-a.crt", "{answer}");
        for order in [[key, certificate], [certificate, key]] {
            let said = judged.check(&order).expect(0);
            assert!(said.stdout.contains(&bundle.fingerprint), "{}", said.stdout);
            for warning in warnings {
                let message = warning["message"].as_str().expect("a message");
                assert!(said.stdout.contains(message), "no {message} in {}", said.stdout);
            }
            assert_eq!(said.stdout.matches("warning").count(), warnings.len(), "{}", said.stdout);
            no_key(&said);
        }
    }
}

#[test]
fn check_takes_one_file_that_holds_everything() {
    let judged = Judged::new();
    let bundle = judged.authority.pair_b();
    let read = |path| std::fs::read_to_string(path).expect("a file of the bundle");
    let both = read(&bundle.key) + &read(&bundle.chain);
    std::fs::write(judged.authority.file("both.pem"), both).expect("write the file");
    let said = judged.check(&["both.pem"]).expect(0);
    assert!(said.stdout.contains(&bundle.fingerprint), "{}", said.stdout);
    judged.check(&["pair-b.crt"]).refusal();
    assert!(judged.check(&["missing.pem"]).refusal().contains("missing.pem"));
}

#[test]
fn check_for_scripts_tells_the_facts_and_the_warnings() {
    let judged = Judged::new();
    let bundle = judged.authority.pair_a();
    let leaf = text(&judged.authority.file("pair-a.leaf.crt"));
    let nowhere = Console::new(Program::Portcullis, judged.authority.path());
    let json = nowhere.done(&["--json", "certificate", "check", &text(&bundle.key), &leaf]).json();
    assert_eq!(json["certificate"]["fingerprint_sha256"], bundle.fingerprint, "{json}");
    assert_eq!(json["warnings"].as_array().map(Vec::len), Some(1), "{json}");
}

#[test]
fn refused_certificate_changes_nothing() {
    let authority = CertificateAuthority::new();
    let (good, other) = (authority.pair_a(), authority.pair_b());
    for machine in Machine::both() {
        let console = machine.console();
        install_bundle(&console, &good).expect(0);
        let stored = Stored::in_data_dir(&machine.data_dir());
        let contents = stored.contents();
        let line = install(&console, &text(&other.key), &text(&good.chain), &[], "").refusal();
        assert!(["match", "belong"].iter().any(|word| line.contains(word)), "{line}");
        let missing = install(&console, "/nonexistent/key", &text(&good.chain), &[], "").refusal();
        assert!(missing.contains("/nonexistent/key"), "{missing}");
        assert!(stored.contents() == contents, "the state changed");
    }
}
