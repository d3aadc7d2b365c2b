//! Odd things found on the disk at the start: serve all the same, or refuse with one line.

use crate::support::certificates::{Bundle, CertificateAuthority, KeyKind};
use crate::support::curl::{curl, curl_as};
use crate::support::openssl::fingerprint_seen_by_openssl;
use crate::support::service::{Installation, Service};
use crate::support::stored::Stored;

/// A stopped appliance with pair A and the password `second`, and its default fingerprint.
fn stopped(authority: &CertificateAuthority) -> (Installation, String) {
    let service = Service::echo().quiet().start();
    let default = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    let bundle = authority.pair_a();
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(200);
    let url = service.url("https", "/v2/security/adminpassword");
    curl_as("admin", &["-d", r#"{"password": "second"}"#, &url]).expect(200);
    (service.stop(), default)
}

/// Starts wholly, or refuses with one line that names the culprit.
fn starts_or_refuses(installation: Installation, culprits: &[&str]) -> Option<Service> {
    match installation.try_start() {
        Ok(service) => {
            for listener in ["http", "https"] {
                let ready = curl(&[&service.url(listener, "/readyz")]);
                assert!([200, 301].contains(&ready.status), "{listener}: {}", ready.status);
            }
            for listener in ["ws", "wss"] {
                let echo = curl(&[&service.url(listener, "/echo/slow?bytes=1&seconds=0")]);
                assert!([200, 301].contains(&echo.status), "{listener}: {}", echo.status);
            }
            Some(service)
        }
        Err(refused) => {
            assert!(!refused.status.success());
            let line = &refused.stderr;
            assert_eq!(line.lines().count(), 1, "not one line:\n{line}");
            assert!(!line.contains("panicked"), "{line}");
            assert!(culprits.iter().any(|culprit| line.contains(culprit)), "{line}");
            None
        }
    }
}

/// The stored bundle cannot be served: the default one is, and the log and `about` say so.
fn falls_back_to_the_default(spoil: impl FnOnce(&Stored, &CertificateAuthority)) {
    let authority = CertificateAuthority::new();
    let (installation, default) = stopped(&authority);
    spoil(&Stored::in_data_dir(&installation.data_dir()), &authority);
    let Some(service) = starts_or_refuses(installation, &["tls.crt", "tls.key"]) else { return };
    for port in service.tls_ports() {
        assert_eq!(fingerprint_seen_by_openssl(service.path(), port), default);
    }
    tells_of_trouble(&service, "default");
}

/// The log and the warnings of `about` tell the administrator about the certificate.
fn tells_of_trouble(service: &Service, word: &str) {
    let log = service.log();
    let told = log.lines().any(|line| line.contains("certificate") && line.contains(word));
    assert!(told, "the log is silent: {log:?}");
    let about = curl_as("second", &[&service.url("https", "/v2/management/host/about")]);
    let about = about.expect(200).json();
    let warnings = about["warnings"].as_array().expect("warnings").iter();
    let mut warnings = warnings.map(ToString::to_string);
    let told = warnings.any(|warning| warning.contains("certificate") && warning.contains(word));
    assert!(told, "`about` is silent: {about}");
}

/// Whether it goes on serving the expired one or falls back, nobody has to find out by himself.
#[test]
fn certificate_that_expired_on_disk_does_not_stop_the_start_and_is_told() {
    let authority = CertificateAuthority::new();
    let (installation, default) = stopped(&authority);
    let expired = authority.expired();
    let read = |path| std::fs::read(path).expect("a file of the bundle");
    let stored = Stored::in_data_dir(&installation.data_dir());
    stored.put_pair(&read(&expired.key), &read(&expired.chain));
    let Some(service) = starts_or_refuses(installation, &["tls.crt"]) else { return };
    for port in service.tls_ports() {
        let served = fingerprint_seen_by_openssl(service.path(), port);
        assert!([&default, &expired.fingerprint].contains(&&served), "{served}");
    }
    tells_of_trouble(&service, "expired");
}

#[test]
fn garbled_key_on_disk_does_not_stop_the_start() {
    falls_back_to_the_default(|stored, _| {
        std::fs::write(stored.key_file(), "not a key\n").expect("write tls.key");
    });
}

#[test]
fn empty_certificate_on_disk_does_not_stop_the_start() {
    falls_back_to_the_default(|stored, _| {
        std::fs::write(stored.certificate_file(), "").expect("write tls.crt");
    });
}

#[test]
fn key_of_another_certificate_on_disk_does_not_stop_the_start() {
    falls_back_to_the_default(|stored, authority| {
        authority.make_key("bad.key", KeyKind::Rsa);
        let key = std::fs::read(authority.file("bad.key")).expect("a key");
        std::fs::write(stored.key_file(), key).expect("write tls.key");
    });
}

#[test]
fn certificate_without_its_key_on_disk_does_not_stop_the_start() {
    falls_back_to_the_default(|stored, _| {
        std::fs::remove_file(stored.key_file()).expect("remove tls.key");
    });
}

/// A secret that cannot be read must not open the appliance to the default password.
fn does_not_open_the_door(spoil: impl FnOnce(&Stored)) {
    let (installation, _) = stopped(&CertificateAuthority::new());
    spoil(&Stored::in_data_dir(&installation.data_dir()));
    let Some(service) = starts_or_refuses(installation, &["users"]) else { return };
    let about = service.url("https", "/v2/management/host/about");
    curl_as("admin", &[&about]).expect(401);
    curl(&[&about]).expect(401);
}

#[test]
fn garbled_secret_does_not_open_the_door() {
    does_not_open_the_door(|stored| {
        std::fs::write(stored.users_file(), "%%% not base64 %%%").expect("write users");
    });
}

#[test]
fn empty_secret_does_not_open_the_door() {
    does_not_open_the_door(|stored| {
        std::fs::write(stored.users_file(), "").expect("write users");
    });
}

#[test]
fn secret_of_another_user_does_not_open_the_door() {
    does_not_open_the_door(|stored| {
        // "root:secret", which is neither the administrator nor a hash.
        std::fs::write(stored.users_file(), "cm9vdDpzZWNyZXQK").expect("write users");
    });
}

#[test]
fn unreadable_secret_does_not_open_the_door() {
    does_not_open_the_door(|stored| {
        std::fs::remove_file(stored.users_file()).expect("remove users");
        std::fs::create_dir(stored.users_file()).expect("a folder in its place");
    });
}

#[test]
fn unknown_word_in_insecure_ports_does_not_start_half() {
    let (installation, _) = stopped(&CertificateAuthority::new());
    let file = Stored::in_data_dir(&installation.data_dir()).insecure_ports_file();
    std::fs::write(file, "perhaps").expect("write insecure-ports");
    starts_or_refuses(installation, &["insecure-ports"]);
}

#[test]
fn link_to_a_missing_revision_does_not_open_the_door() {
    let (installation, _) = stopped(&CertificateAuthority::new());
    Stored::in_data_dir(&installation.data_dir()).point_to("revisions/999");
    let Some(service) = starts_or_refuses(installation, &["revision 999", "revisions/999"]) else {
        return;
    };
    curl_as("admin", &[&service.url("https", "/v2/management/host/about")]).expect(401);
}

#[test]
fn left_over_temporary_files_are_no_trouble() {
    let authority = CertificateAuthority::new();
    let (installation, _) = stopped(&authority);
    let state = installation.data_dir().join("state");
    std::fs::create_dir_all(state.join("revisions/77/tls")).expect("half a revision");
    std::fs::write(state.join("revisions/77/tls/tls.crt"), "half").expect("half a file");
    for name in ["current.tmp", "current.new"] {
        std::fs::write(state.join(name), "").expect("a left-over");
    }
    let service = installation.start();
    let served = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    let pair_a = Bundle::new(authority.file("pair-a.key"), authority.file("pair-a.crt"));
    assert_eq!(served, pair_a.fingerprint);
    curl_as("second", &[&service.url("https", "/v2/management/host/about")]).expect(200);
    // The next change finds its way around them.
    let off = r#"{"enable_insecure_ports": false}"#;
    let ports = service.url("https", "/v2/security/insecureports");
    curl_as("second", &["-d", off, &ports]).expect(200);
    assert!(!Stored::in_data_dir(&service.data_dir()).insecure_ports());
}

#[test]
fn default_certificate_stays_the_same_over_restarts_and_differs_between_installations() {
    let fingerprint =
        |service: &Service| fingerprint_seen_by_openssl(service.path(), service.port("https"));
    let (one, other) = (Service::echo().start(), Service::echo().start());
    let first = fingerprint(&one);
    assert_ne!(first, fingerprint(&other));
    assert_eq!(first, fingerprint(&one.restart()));
}

#[test]
fn few_old_revisions_are_kept() {
    let service = Service::echo().start();
    let url = service.url("https", "/v2/security/insecureports");
    for round in 0..15 {
        let body = format!("{{\"enable_insecure_ports\": {}}}", round % 2 == 1);
        curl_as("admin", &["-d", &body, &url]).expect(200);
    }
    let revisions = service.data_dir().join("state/revisions");
    let count = std::fs::read_dir(revisions).expect("revisions").count();
    assert!((2..=11).contains(&count), "{count} revisions");
}
