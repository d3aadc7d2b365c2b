//! Following what happens.

use nix::sys::signal::Signal;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::follower::Follower;
use crate::support::seconds;
use crate::support::service::Service;

const EVENTS: &str = "/v2/management/events";

/// The certificate replacement of the manual; gives the number of its request.
fn install(service: &Service, authority: &CertificateAuthority) -> String {
    let bundle = authority.pair_b();
    let url = service.url("https", "/v2/security/sslcertificate");
    let reply = curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]);
    reply.expect(200).header("request-id").expect("its number").to_owned()
}

fn generations(follower: &Follower, event: &str) -> Vec<(String, u64)> {
    let told = |message: crate::support::follower::Message| {
        let json = message.json();
        let listener = json["listener"].as_str().expect("a listener").to_owned();
        (listener, json["generation"].as_u64().expect("a number"))
    };
    follower.named(event).into_iter().map(told).collect()
}

#[test]
fn certificate_replacement_is_told_from_the_change_to_the_end_of_the_old_generation() {
    let service = Service::portcullis().start();
    // The plain listener is not replaced by a certificate, so this stream goes on.
    let follower = Follower::start(&service.url("http", EVENTS), &[]);
    let request = install(&service, &CertificateAuthority::new());
    follower.wait("the old generation is gone", |follower| {
        !follower.named("generation-ended").is_empty()
    });

    let order: Vec<String> = follower.messages().into_iter().map(|one| one.event).collect();
    let expected =
        ["configuration-changed", "generation-started", "generation-draining", "generation-ended"];
    assert_eq!(order, expected, "{}", follower.text());
    let change = follower.named("configuration-changed")[0].json();
    assert_eq!(change["what"], "certificate installed");
    assert!(change["by"].as_str().is_some_and(|by| by.starts_with("admin from 127.0.0.1")));
    assert_eq!(generations(&follower, "generation-started"), [("https".to_owned(), 2)]);
    assert_eq!(generations(&follower, "generation-draining"), [("https".to_owned(), 1)]);
    assert_eq!(generations(&follower, "generation-ended"), [("https".to_owned(), 1)]);
    for message in follower.messages() {
        assert_eq!(message.json()["request_id"], request.as_str(), "{}", follower.text());
    }
    let ids: Vec<u64> = follower.messages().iter().filter_map(|one| one.id).collect();
    assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{ids:?}");
}

#[test]
fn stream_of_a_replaced_generation_ends_and_is_resumed_on_the_new_one() {
    for protocol in ["--http1.1", "--http2"] {
        let service = Service::portcullis().start();
        let mut follower = Follower::start(&service.url("https", EVENTS), &[protocol]);
        install(&service, &CertificateAuthority::new());
        assert!(follower.ended(seconds(5)), "{protocol}: {}", follower.text());
        let last = follower.messages().last().and_then(|one| one.id).expect("an id");

        let header = format!("Last-Event-ID: {last}");
        let resumed =
            Follower::start(&service.url("https", EVENTS), &[protocol, "-H", header.as_str()]);
        resumed.wait("the old generation is gone", |resumed| {
            resumed.named("generation-ended").iter().any(|one| one.json()["generation"] == 1)
        });
        assert!(resumed.messages()[0].id > Some(last), "{}", resumed.text());
        assert!(resumed.named("missed").is_empty(), "{}", resumed.text());
    }
}

#[test]
fn follower_does_not_hold_up_the_end_of_the_appliance() {
    let mut service = Service::portcullis().start();
    let mut followers: Vec<_> = ["http", "https"]
        .iter()
        .map(|listener| Follower::start(&service.url(listener, EVENTS), &[]))
        .collect();
    service.signal(Signal::SIGTERM);
    assert!(service.wait_for_end(seconds(5)).success());
    for follower in &mut followers {
        assert!(follower.ended(seconds(5)), "cut off: {}", follower.text());
    }
}

#[test]
fn wrong_password_is_told_with_its_address_and_never_with_the_password() {
    let service = Service::portcullis().start();
    let follower = Follower::start(&service.url("http", EVENTS), &[]);
    curl_as("hunter2", &[&service.url("https", "/v2/management/health")]).expect(401);
    follower.wait("the failure is told", |follower| !follower.named("login-failed").is_empty());
    let failure = follower.named("login-failed")[0].json();
    assert_eq!(failure["address"], "127.0.0.1");
    assert_eq!(failure["throttled"], false);
    assert!(!follower.text().contains("hunter2"), "{}", follower.text());
}

#[test]
fn certificate_that_wants_attention_is_told() {
    let service = Service::portcullis().start();
    let follower = Follower::start(&service.url("http", EVENTS), &[]);
    let authority = CertificateAuthority::new();
    let bundle = authority.expired();
    let url = service.url("https", "/v2/security/sslcertificate?force=true");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(200);
    follower.wait("the warning", |follower| !follower.named("certificate-warning").is_empty());
    let warning = follower.named("certificate-warning")[0].json();
    assert_eq!(warning["code"], "certificate-expired");
    assert!(warning["message"].as_str().is_some_and(|text| text.contains("expired on")));
}

#[test]
fn events_are_for_the_administrator_and_a_strange_number_is_refused() {
    let service = Service::portcullis().start();
    let url = service.url("https", EVENTS);
    curl(&[&url]).expect(401);
    let refused = curl_as("admin", &["-H", "Last-Event-ID: x", &url]).expect(400);
    assert!(refused.body.contains("Last-Event-ID"), "{}", refused.body);
}

#[test]
fn follower_that_was_away_over_a_restart_is_told_to_look_again() {
    let service = Service::portcullis().start();
    let header = "Last-Event-ID: 1";
    let follower = Follower::start(&service.url("http", EVENTS), &["-H", header]);
    follower.wait("it is told", |follower| !follower.named("missed").is_empty());
}

#[test]
fn stream_ends_when_the_password_changes_by_which_it_was_opened() {
    let service = Service::portcullis().start();
    let streams = [EVENTS, "/v2/management/logs?follow=true"];
    let password = service.url("https", "/v2/security/adminpassword");
    let token = service.url("https", "/v2/security/jobtoken");
    let changes: [(&str, &[&str]); 2] = [
        ("admin", &["-d", r#"{"password": "admin"}"#, &password]),
        ("admin", &["-X", "DELETE", &password]),
    ];
    for (by, change) in changes {
        let mut open: Vec<Follower> = ["--http1.1", "--http2"]
            .into_iter()
            .flat_map(|protocol| {
                streams.map(|path| Follower::start(&service.url("https", path), &[protocol]))
            })
            .collect();
        // Another secret than theirs: they go on, and tell of it.
        curl_as("admin", &["-d", r#"{"user_token": "a-token"}"#, &token]).expect(200);
        for (number, follower) in open.iter().enumerate() {
            let told = if number % 2 == 0 { "configuration-changed" } else { "job token set" };
            follower.wait("the token is told", |follower| follower.text().contains(told));
        }
        curl_as(by, change).expect(200);
        for follower in &mut open {
            assert!(follower.ended(seconds(5)), "{change:?}: {}", follower.text());
        }
    }
}
