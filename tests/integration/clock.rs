//! What a wall clock that jumps does, and what it does not do.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use serde_json::{Value, json};

use crate::support::{
    certificates::CertificateAuthority,
    curl::curl_as,
    seconds,
    service::{Installation, Service},
    shim::Shim,
    wait_until, wait_until_blocking,
};

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
const CERTIFICATE: &str = "/v2/security/sslcertificate";

fn start(installation: Installation, shim: &Shim) -> Service {
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    installation.try_start_by(command).map_err(|refused| refused.stderr).expect("a start")
}

/// The seconds by which a clock is off that says this time.
fn off_by(unix_seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a right clock").as_secs();
    unix_seconds - i64::try_from(now).expect("seconds")
}

async fn get(service: &Service, path: &str) -> Value {
    service.admin().get(path).await.json()
}

/// Waits until the appliance has noticed the step to this time.
async fn set_clock(service: &Service, shim: &Shim, off_by: i64, step: u64) {
    shim.set_clock_off_by(off_by);
    wait_until("the step is noticed", seconds(10), async || {
        let log = service.log();
        log.matches("the clock was set").count() as u64 >= step
    })
    .await;
}

/// The codes of the standing warnings about certificates.
async fn certificate_warnings(service: &Service) -> Vec<String> {
    let about = get(service, "/v2/management/host/about").await;
    let warnings = about["warnings"].as_array().expect("a list").iter();
    let codes = warnings.map(|warning| warning["code"].as_str().expect("a code").to_owned());
    codes.filter(|code| code.starts_with("certificate")).collect()
}

/// Fingerprint and pin of the key of what serves, once it is the default certificate and right.
async fn right_default(service: &Service) -> (String, String) {
    wait_until("the default certificate is right", seconds(20), async || {
        certificate_warnings(service).await.is_empty()
    })
    .await;
    let answer = get(service, CERTIFICATE).await;
    let certificate = &answer["certificate"];
    assert_eq!(certificate["default"], true, "{answer}");
    let text = |name: &str| certificate[name].as_str().expect("a text").to_owned();
    // A client that trusts it and knows the right time.
    let trusted = service.data_dir().join("default-certificate/tls.crt");
    let url = format!("https://localhost:{}/healthz", service.port("https"));
    let curl = std::process::Command::new("curl")
        .args(["-sS", "--cacert"])
        .args([trusted.as_os_str(), url.as_ref()])
        .output()
        .expect("curl");
    assert_eq!(curl.stdout, b"ok\n", "{}", String::from_utf8_lossy(&curl.stderr));
    (text("fingerprint_sha256"), text("spki_sha256"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_certificate_of_a_wrong_clock_is_right_once_the_clock_is() {
    for (name, clock) in [
        ("1970", 60),
        ("2000", 946_684_800),
        ("2016, as fake-hwclock", 1_451_606_400),
        ("a day behind", i64::MIN),
        ("2045", 2_366_841_600),
        ("2106", 4_294_967_295),
    ] {
        let shim = Shim::new();
        shim.set_clock_off_by(if clock == i64::MIN { -DAY } else { off_by(clock) });
        let service = start(Service::portcullis().prepare(), &shim);
        let first = get(&service, CERTIFICATE).await["certificate"]["spki_sha256"].clone();
        set_clock(&service, &shim, 0, 1).await;
        let right = right_default(&service).await;
        assert_eq!(first, right.1.as_str(), "{name}: pinned keys go on");

        // One that is right is never replaced.
        let service = start(service.stop(), &shim);
        assert_eq!(right_default(&service).await, right, "{name}, after a restart");
        for path in [CERTIFICATE, "/v2/security/reset"] {
            assert_eq!(service.admin().delete(path).await.status, 200, "{name}");
            assert_eq!(right_default(&service).await, right, "{name}, after DELETE {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn default_certificate_that_is_out_of_date_is_replaced_by_start_delete_and_reset() {
    let shim = Shim::new();
    // Set right while it is off: no step is seen.
    shim.set_clock_off_by(20 * YEAR);
    let service = start(Service::portcullis().prepare(), &shim);
    let (wrong, key) = right_default_by_its_own_clock(&service).await;
    let installation = service.stop();
    shim.set_clock_off_by(0);
    let service = start(installation, &shim);
    let right = right_default(&service).await;
    assert!(right.0 != wrong && right.1 == key);
    assert!(service.log().contains("the clock was set back by"), "{}", service.log());

    // Ten years later, while another certificate serves; then its owner wants the default back.
    for path in [CERTIFICATE, "/v2/security/reset"] {
        let shim = Shim::new();
        let service = start(Service::portcullis().prepare(), &shim);
        let before = right_default(&service).await;
        let authority = CertificateAuthority::new();
        service.admin().install(&authority.pair_a()).await;
        set_clock(&service, &shim, 11 * YEAR, 1).await;
        assert_eq!(get(&service, CERTIFICATE).await["certificate"]["default"], false);
        assert_eq!(service.admin().delete(path).await.status, 200);
        let (after, key) = right_default_by_its_own_clock(&service).await;
        assert!(after != before.0 && key == before.1, "{path}");
    }
}

/// As [`right_default`], for a clock that only the appliance believes.
async fn right_default_by_its_own_clock(service: &Service) -> (String, String) {
    assert_eq!(certificate_warnings(service).await, Vec::<String>::new());
    let certificate = get(service, CERTIFICATE).await["certificate"].clone();
    assert_eq!(certificate["default"], true, "{certificate}");
    let text = |name: &str| certificate[name].as_str().expect("a text").to_owned();
    (text("fingerprint_sha256"), text("spki_sha256"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_default_certificate_is_a_change_like_others() {
    let shim = Shim::new();
    let service = start(Service::portcullis().prepare(), &shim);
    let before = right_default(&service).await;
    let generation = service.admin().listener("https").await.serving().number;
    set_clock(&service, &shim, 11 * YEAR, 1).await;
    wait_until("another one serves", seconds(20), async || {
        get(&service, CERTIFICATE).await["certificate"]["fingerprint_sha256"] != before.0.as_str()
    })
    .await;
    let https = service.admin().listener("https").await;
    assert_eq!(https.serving().number, generation + 1);
    assert_eq!(https.serving().reason, "default certificate made anew");
    let audit = get(&service, "/v2/security/audit?limit=1").await;
    assert_eq!(audit["entries"][0]["action"], "default certificate made anew", "{audit}");
    assert_eq!(audit["entries"][0]["old_fingerprint"], before.0.as_str(), "{audit}");
    // The disk refuses: what served goes on, and it is tried again at the next look.
    shim.break_disk(Errno::EROFS);
    set_clock(&service, &shim, 0, 2).await;
    wait_until("it is told", seconds(20), async || {
        certificate_warnings(&service).await == ["certificate-not-yet-valid"]
    })
    .await;
    shim.mend_disk();
    set_clock(&service, &shim, 60, 3).await;
    let after = right_default(&service).await;
    assert_eq!(after.1, before.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificate_that_is_not_valid_yet_is_warned_of() {
    let shim = Shim::new();
    let service = start(Service::portcullis().prepare(), &shim);
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_a()).await;
    assert_eq!(certificate_warnings(&service).await, Vec::<String>::new());
    set_clock(&service, &shim, -YEAR, 1).await;
    assert_eq!(certificate_warnings(&service).await, ["certificate-not-yet-valid"]);
    let health = get(&service, "/v2/management/health").await;
    assert_eq!(health["certificate"]["status"], "unhealthy", "{health}");
    wait_until("the log says so", seconds(10), async || {
        service.log().contains("is not valid before")
    })
    .await;
    let about = get(&service, "/v2/management/host/about").await;
    assert!(about.to_string().contains("\"clock-set\""), "{about}");
    set_clock(&service, &shim, 0, 2).await;
    assert_eq!(certificate_warnings(&service).await, Vec::<String>::new());
    assert_eq!(get(&service, CERTIFICATE).await["certificate"]["default"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_key_outlives_every_step_of_the_clock() {
    let shim = Shim::new();
    let mut service = start(Service::portcullis().prepare(), &shim);
    let names = json!({ "names": ["localhost"] });
    let request = service.admin().post("/v2/security/csr", &names).await.json();
    let waiting = async |service: &Service| {
        let answer = get(service, "/v2/security/csr").await;
        answer["requests"].as_array().expect("a list").len()
    };
    for (step, off_by) in (1..).zip([40 * DAY, 0, -10 * YEAR, 10 * YEAR, -40 * DAY]) {
        set_clock(&service, &shim, off_by, step).await;
        assert_eq!(waiting(&service).await, 1, "{off_by}");
    }
    for off_by in [40 * DAY, 10 * YEAR, -10 * YEAR, 0] {
        let installation = service.stop();
        shim.set_clock_off_by(off_by);
        service = start(installation, &shim);
        assert_eq!(waiting(&service).await, 1, "started at {off_by}");
    }
    // The authority's answer still finds its key.
    let authority = CertificateAuthority::new();
    let bundle = authority.certify(request["csr"].as_str().expect("a request"), "answer");
    let url = service.url("https", CERTIFICATE);
    let installed = curl_as("admin", &["-F", &bundle.certfile(), &url]).expect(200).json();
    assert_eq!(installed["waiting_key"], request["id"], "{installed}");
}

#[test]
fn a_step_of_the_clock_is_told() {
    let (shim, installation) = (Shim::new(), Service::portcullis().prepare());
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let service = installation.try_start_by(command).map_err(|refused| refused.stderr).unwrap();
    for (off_by, told) in [(86_400, "set forward by"), (-86_400, "set back by")] {
        shim.set_clock_off_by(off_by);
        wait_until_blocking("the step is told", seconds(10), || service.log().contains(told));
    }
}

#[test]
fn the_disk_of_the_shim_fails_and_works_again() {
    let (shim, installation) = (Shim::new(), Service::portcullis().prepare());
    shim.break_disk(Errno::EROFS);
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let Err(refused) = installation.try_start_by(command) else {
        panic!("it started on a disk that it cannot write")
    };
    assert!(refused.stderr.contains("Read-only file system"), "{}", refused.stderr);
    shim.mend_disk();
    let mut command = refused.installation.command();
    shim.attach(&mut command, &refused.installation.data_dir());
    assert!(refused.installation.try_start_by(command).is_ok());
}
