//! Killed at a random instant during a random change, the appliance comes back whole.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use crate::support::admin::Admin;
use crate::support::certificates::{Bundle, CertificateAuthority};
use crate::support::http::Connection;
use crate::support::pace;
use crate::support::service::Service;
use crate::support::stored::Stored;
use crate::support::tls::served_fingerprint;

/// Everything that a change may change.
#[derive(Clone, Debug, PartialEq)]
struct State {
    fingerprint: String,
    plain_http: bool,
    password: String,
}

#[derive(Clone, Debug)]
enum Change {
    Install(Bundle),
    RestoreDefault,
    PlainHttp(bool),
    Password(String),
    Reset,
}

impl Change {
    fn random(random: &mut StdRng, pairs: &[Bundle]) -> Self {
        match random.random_range(0..10) {
            0..4 => Self::Install(pairs[random.random_range(0..pairs.len())].clone()),
            4 => Self::RestoreDefault,
            5..7 => Self::PlainHttp(random.random()),
            7..9 => Self::Password(format!("password-{}", random.random_range(0..1000))),
            _ => Self::Reset,
        }
    }

    /// The state after it, which tells of the default certificate when it is asked for.
    fn applied_to(&self, state: &State, default: &str) -> State {
        let mut state = state.clone();
        match self {
            Self::Install(bundle) => state.fingerprint.clone_from(&bundle.fingerprint),
            Self::RestoreDefault => default.clone_into(&mut state.fingerprint),
            Self::PlainHttp(enabled) => state.plain_http = *enabled,
            Self::Password(password) => state.password.clone_from(password),
            Self::Reset => {
                state = State {
                    fingerprint: default.to_owned(),
                    plain_http: true,
                    password: "admin".to_owned(),
                };
            }
        }
        state
    }

    /// Asks for it; true when the answer came and was 200.
    async fn ask(&self, admin: &Admin) -> bool {
        let json = |body: serde_json::Value| body.to_string().into_bytes();
        let (method, path, body) = match self {
            Self::Install(bundle) => {
                return admin.try_install(bundle).await.is_ok_and(|answer| answer.status == 200);
            }
            Self::RestoreDefault => ("DELETE", "/v2/security/sslcertificate", Vec::new()),
            Self::PlainHttp(enabled) => {
                let body = json(json!({ "enable_insecure_ports": enabled }));
                ("POST", "/v2/security/insecureports", body)
            }
            Self::Password(password) => {
                ("POST", "/v2/security/adminpassword", json(json!({ "password": password })))
            }
            Self::Reset => ("DELETE", "/v2/security/reset", Vec::new()),
        };
        let answer = admin.try_request(method, path, "application/json", &body).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }

    /// Changes of the password take as long as hashing does.
    fn kill_after(&self, random: &mut StdRng) -> Duration {
        let longest = if matches!(self, Self::Password(_)) { 300_000 } else { 60_000 };
        Duration::from_micros(random.random_range(0..longest))
    }
}

/// What the service serves, on every port alike and as it is stored.
async fn observe(service: &Service, candidates: [&State; 2], default: &str) -> State {
    let stored = Stored::in_data_dir(&service.data_dir());
    let kept = stored.bundle().map_or_else(|| default.to_owned(), |bundle| bundle.fingerprint);
    for port in service.tls_ports() {
        assert_eq!(served_fingerprint(port).await, kept, "port {port} and the disk disagree");
    }
    let mut plain = Connection::plain(service.port("http")).await.expect("a connection");
    let plain_http = match plain.get("/healthz", &[]).await.expect("an answer").status {
        200 => true,
        301 => false,
        other => panic!("{other} from the plain port"),
    };
    assert_eq!(stored.insecure_ports(), plain_http, "the plain port and the disk disagree");
    for candidate in candidates {
        if service.admin().with_password(&candidate.password).about_status().await == 200 {
            let password = candidate.password.clone();
            return State { fingerprint: kept, plain_http, password };
        }
    }
    panic!("neither the old password nor the new one is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_is_wholly_old_or_wholly_new_after_a_kill_during_a_change() {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse().ok());
    let rounds = number("CRASH_ROUNDS").unwrap_or(200);
    let seed = number("CRASH_SEED").unwrap_or_else(|| rand::rng().random());
    eprintln!("{rounds} rounds; CRASH_SEED={seed} repeats them");
    let mut random = StdRng::seed_from_u64(seed);
    let authority = CertificateAuthority::new();
    let pairs = [authority.pair_a(), authority.pair_b()];

    let mut service = Service::echo().start();
    let default = served_fingerprint(service.port("https")).await;
    let mut state =
        State { fingerprint: default.clone(), plain_http: true, password: "admin".to_owned() };
    let (mut old, mut new, mut answers) = (0, 0, 0);
    for round in 0..rounds {
        let change = Change::random(&mut random, &pairs);
        let after = change.applied_to(&state, &default);
        let admin = service.admin().with_password(&state.password);
        let asked = change.clone();
        let asking = tokio::spawn(async move { asked.ask(&admin).await });
        pace(change.kill_after(&mut random)).await;
        let killed = service.kill();
        let answered = asking.await.expect("the request");

        service = killed.start();
        let observed = observe(&service, [&after, &state], &default).await;
        let context = format!("round {round}, {change:?}, answered: {answered}");
        assert!(observed == state || observed == after, "{context}: {state:?} {observed:?}");
        assert!(!answered || observed == after, "{context}, yet lost: {observed:?}");
        if state != after {
            if observed == after { new += 1 } else { old += 1 }
        }
        answers += u64::from(answered);
        state = observed;
    }
    eprintln!("{old} times the old state, {new} times the new, {answers} answers");
    assert!(rounds < 40 || (old > 0 && new > 0), "the kills came all too early or all too late");
}
