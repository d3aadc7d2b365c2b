//! Certificates that arrive as files: followed at once, judged like an upload, the last good pair
//! serving while they are bad.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio::task::JoinSet;

use crate::support::certificates::{Bundle, CertificateAuthority, KeyKind};
use crate::support::curl::curl_as;
use crate::support::http::Connection;
use crate::support::openssl::s_client;
use crate::support::service::Service;
use crate::support::stored::Stored;
use crate::support::tls::{connect, fingerprint_of, served_fingerprint};
use crate::support::watched::{Certbot, MountedSecret, PlainFiles};
use crate::support::{pace, seconds, wait_until};

/// Longest wait for a change of the files to be acted on: shorter than the interval at which the
/// service looks without being told, so that a test shows that it was told.
const FOLLOWED: Duration = seconds(6);

/// Every TLS port shows this certificate soon.
async fn until_served(service: &Service, bundle: &Bundle) {
    for port in service.tls_ports() {
        wait_until("the new certificate is served", FOLLOWED, async || {
            served_fingerprint(port).await == bundle.fingerprint
        })
        .await;
    }
}

/// The standing warning about the files, if there is one.
async fn warning(service: &Service) -> Option<String> {
    let about = service.admin().get("/v2/management/host/about").await.json();
    let warnings = about["warnings"].as_array().expect("warnings");
    let mut ours = warnings.iter().filter(|warning| warning["code"] == "watched-certificate");
    ours.next().map(|warning| warning["message"].as_str().expect("a message").to_owned())
}

async fn until_warned(service: &Service) -> String {
    wait_until("`about` warns of the files", FOLLOWED, async || warning(service).await.is_some())
        .await;
    warning(service).await.expect("just seen")
}

async fn until_not_warned(service: &Service) {
    wait_until("`about` warns no longer", FOLLOWED, async || warning(service).await.is_none())
        .await;
}

/// Leaves with keys of their own, so that no half of one fits a half of another.
fn distinct(authority: &CertificateAuthority, count: usize) -> Vec<Bundle> {
    (0..count).map(|number| authority.issue(&format!("leaf-{number}"), KeyKind::Ec)).collect()
}

/// What the clients of the load share.
struct Load {
    order: HashMap<String, usize>,
    /// The newest certificate that every port has shown.
    reached: AtomicUsize,
    finished: AtomicBool,
}

impl Load {
    /// Opens connections until the end; none may fail or show what was replaced before.
    async fn connections(&self, port: u16) -> Result<u64, String> {
        let mut count = 0;
        while !self.finished.load(Ordering::SeqCst) {
            let at_least = self.reached.load(Ordering::SeqCst);
            let told = |err: std::io::Error| format!("connection {count}: {err}");
            let stream = connect(port, &["http/1.1"]).await.map_err(told)?;
            let shown = fingerprint_of(&stream);
            if self.order.get(&shown).is_none_or(|position| *position < at_least) {
                return Err(format!("connection {count}: {shown} after number {at_least}"));
            }
            let mut connection = Connection::over(Box::new(stream), port);
            let answer = connection.get("/healthz", &[]).await.map_err(told)?;
            if answer.status != 200 {
                return Err(format!("connection {count}: {answer:?}"));
            }
            count += 1;
        }
        Ok(count)
    }
}

/// Fifty swaps under load: no connection fails, and each certificate is served within a second.
async fn fifty_swaps_go_unnoticed(
    name: &str,
    service: &Service,
    series: &[Bundle],
    mut swap: impl FnMut(&Bundle),
) {
    assert_eq!(served_fingerprint(service.port("https")).await, series[0].fingerprint);
    let order = series.iter().enumerate().map(|(at, one)| (one.fingerprint.clone(), at)).collect();
    let load =
        Arc::new(Load { order, reached: AtomicUsize::new(0), finished: AtomicBool::new(false) });
    let mut clients = JoinSet::new();
    for _ in 0..4 {
        let (load, port) = (Arc::clone(&load), service.port("https"));
        clients.spawn(async move { load.connections(port).await });
    }
    let mut delays = Vec::new();
    for (position, bundle) in series.iter().enumerate().skip(1) {
        let begun = Instant::now();
        swap(bundle);
        until_served(service, bundle).await;
        delays.push(begun.elapsed());
        load.reached.store(position, Ordering::SeqCst);
    }
    load.finished.store(true, Ordering::SeqCst);
    let mut connections = 0;
    while let Some(client) = clients.join_next().await {
        connections += client.expect("a client").expect("every connection of a client");
    }
    delays.sort();
    let (median, longest) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    eprintln!(
        "{name}: {} swaps, {connections} connections, 0 failed; served after p50 {median:?}, max {longest:?}",
        delays.len()
    );
    assert!(connections > 200, "{connections} connections are too few to show anything");
    // Without a report of a change they would be looked at every ten seconds.
    assert!(median < seconds(5), "half of the certificates took {median:?} or longer");
    service.admin().until_drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_renewals_by_certbot_fail_no_connection() {
    let authority = CertificateAuthority::new();
    let series = distinct(&authority, 51);
    let mut certbot = Certbot::holding(&series[0]);
    let service = Service::echo().settings(&certbot.settings()).start();
    fifty_swaps_go_unnoticed("certbot", &service, &series, |bundle| certbot.renew(bundle)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_updates_of_a_mounted_secret_fail_no_connection() {
    let authority = CertificateAuthority::new();
    let series = distinct(&authority, 51);
    let mut secret = MountedSecret::holding(&series[0]);
    let service = Service::echo().settings(&secret.settings()).start();
    fifty_swaps_go_unnoticed("kubernetes", &service, &series, |bundle| secret.update(bundle)).await;
    assert_eq!(warning(&service).await, None);
}

#[tokio::test]
async fn first_client_sees_the_certificate_of_the_files() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let files = PlainFiles::holding(&bundle);
    let service = Service::echo().settings(&files.settings()).start();
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, bundle.fingerprint);
    }
    let told = service.admin().get("/v2/security/sslcertificate").await.json();
    assert_eq!(told["certificate"]["default"], false, "{told}");
}

#[tokio::test]
async fn renewal_that_stops_half_way_keeps_the_last_good_pair_until_it_is_done() {
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    let mut certbot = Certbot::holding(&old);
    let service = Service::echo().settings(&certbot.settings()).start();
    certbot.archive(&new);
    certbot.swap("privkey");
    let told = until_warned(&service).await;
    assert!(["match", "belong"].iter().any(|word| told.contains(word)), "{told}");
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, old.fingerprint);
    }
    certbot.swap("fullchain");
    until_served(&service, &new).await;
    until_not_warned(&service).await;
}

#[tokio::test]
async fn certificate_that_is_written_in_pieces_is_served_only_when_it_is_whole() {
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&old);
    let service = Service::echo().settings(&files.settings()).start();
    fs::copy(&new.key, files.key()).expect("write the key");
    let whole = fs::read(&new.chain).expect("the chain");
    for length in [0, 1, whole.len() / 4] {
        fs::write(files.certificate(), &whole[..length]).expect("write a piece");
        until_warned(&service).await;
        assert_eq!(served_fingerprint(service.port("https")).await, old.fingerprint);
    }
    fs::write(files.certificate(), &whole).expect("write the whole");
    until_served(&service, &new).await;
}

#[tokio::test]
async fn bad_pair_is_told_once_with_its_reason_and_works_again_when_it_is_mended() {
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&old);
    let service = Service::echo().settings(&files.settings()).start();
    files.replace_key("not a key\n");
    let told = until_warned(&service).await;
    for word in [files.key().display().to_string().as_str(), "keyfile"] {
        assert!(told.contains(word), "no {word} in {told}");
    }
    let health = curl_as("admin", &[&service.url("https", "/v2/management/health")]).expect(200);
    let certificate = &health.json()["certificate"];
    assert_eq!(certificate["status"], "unhealthy", "{certificate}");
    assert!(certificate["errors"].to_string().contains("keyfile"), "{certificate}");
    for round in 1..=3 {
        files.replace_key("not a key\n");
        service.signal(Signal::SIGHUP);
        wait_until("SIGHUP is acted on", FOLLOWED, async || {
            service.log().matches("SIGHUP").count() == round
        })
        .await;
    }
    assert_eq!(served_fingerprint(service.port("https")).await, old.fingerprint);
    files.write(&new);
    until_served(&service, &new).await;
    until_not_warned(&service).await;
    let (reason, log) = (told.rsplit(": ").next().expect("the end"), service.log());
    let told = log.lines().filter(|line| line.contains("ERROR") && line.contains(reason));
    assert_eq!(told.count(), 1, "{reason} is not told once: {log}");
    // The files that served at first are good again as well.
    files.write(&old);
    until_served(&service, &old).await;
}

#[tokio::test]
async fn files_that_are_not_there_at_the_start_are_followed_when_they_come() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_b();
    let files = PlainFiles::empty();
    let service = Service::echo().settings(&files.settings()).start();
    let told = warning(&service).await.expect("a warning from the first moment");
    assert!(told.contains(&files.certificate().display().to_string()), "{told}");
    files.write(&bundle);
    until_served(&service, &bundle).await;
    until_not_warned(&service).await;
}

#[tokio::test]
async fn last_good_pair_serves_after_a_restart_on_files_that_are_gone() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let files = PlainFiles::holding(&bundle);
    let service = Service::echo().settings(&files.settings()).start();
    fs::remove_file(files.certificate()).expect("remove the certificate");
    let service = service.restart();
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, bundle.fingerprint);
    }
    assert!(warning(&service).await.is_some());
}

/// The leaf alone is taken with a warning; that must not hold up what completes it.
#[tokio::test]
async fn intermediate_that_is_added_later_is_served() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_b();
    let files = PlainFiles::empty();
    fs::copy(&bundle.key, files.key()).expect("write the key");
    fs::copy(authority.file("pair-b.leaf.crt"), files.certificate()).expect("write the leaf");
    let service = Service::echo().settings(&files.settings()).start();
    let port = service.port("https");
    let shown = || s_client(port, &["-showcerts"], "").text.matches("BEGIN CERTIFICATE").count();
    assert_eq!(shown(), 1);
    fs::copy(&bundle.chain, files.certificate()).expect("write the chain");
    wait_until("the intermediate is served", FOLLOWED, async || shown() == 2).await;
}

#[tokio::test]
async fn upload_beside_watched_files_is_refused_and_says_why() {
    let authority = CertificateAuthority::new();
    let (watched, uploaded) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&watched);
    let service = Service::echo().settings(&files.settings()).start();
    let stored = Stored::in_data_dir(&service.data_dir());
    let contents = stored.contents();
    let answer = service.admin().try_install(&uploaded).await.expect("an answer");
    assert_eq!(answer.status, 409, "{}", answer.text());
    let error = answer.json();
    assert_eq!((&error["code"], &error["error"]), (&409.into(), &"Conflict".into()), "{error}");
    let detail = error["detail"].as_str().expect("a detail");
    for word in [files.certificate().display().to_string().as_str(), "upload"] {
        assert!(detail.contains(word), "no {word} in {detail}");
    }
    assert!(stored.contents() == contents, "the state on disk changed");
    assert_eq!(served_fingerprint(service.port("https")).await, watched.fingerprint);
}

#[tokio::test]
async fn upload_beside_watched_files_is_taken_when_the_configuration_allows_it() {
    let authority = CertificateAuthority::new();
    let (watched, uploaded) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&watched);
    let settings = format!("{}\nupload = \"allow\"", files.settings());
    let service = Service::echo().settings(&settings).start();
    service.admin().install(&uploaded).await;
    assert_eq!(served_fingerprint(service.port("https")).await, uploaded.fingerprint);
    // The files are followed all the same.
    let renewed = authority.issue("renewed", KeyKind::Ec);
    files.write(&renewed);
    until_served(&service, &renewed).await;
}

/// Written through another name of the same files, where no watch sees it.
#[tokio::test]
async fn hangup_signal_reads_files_whose_change_nothing_told() {
    let authority = CertificateAuthority::new();
    let (old, new) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&old);
    let elsewhere = PlainFiles::empty();
    fs::hard_link(files.key(), elsewhere.key()).expect("a second name");
    fs::hard_link(files.certificate(), elsewhere.certificate()).expect("a second name");
    let service = Service::echo().settings(&files.settings()).start();
    elsewhere.write(&new);
    pace(seconds(1)).await;
    let served = served_fingerprint(service.port("https")).await;
    assert_eq!(served, old.fingerprint, "the service reads its files all the time");
    service.signal(Signal::SIGHUP);
    until_served(&service, &new).await;
}
