//! The admin password: how it may be sent, what it may be, and from when on it counts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::watch;

use crate::support::curl::{curl, curl_as};
use crate::support::http::{Connection, basic};
use crate::support::service::Service;
use crate::support::stored::Stored;
use crate::support::uploads::{Framing, Pieces, SlowUpload};
use crate::support::{millis, seconds, wait_until, wait_until_blocking};

const ABOUT: &str = "/v2/management/host/about";

/// Changes the password with curl and tells the status and the whole answer.
fn change(service: &Service, password: &str, body: &str) -> (u64, String) {
    let url = service.url("https", "/v2/security/adminpassword");
    let json = "Content-Type: application/json";
    let reply = curl_as(password, &[&url, "-H", json, "--data-binary", body]);
    (reply.status, reply.body)
}

fn login(service: &Service, password: &str) -> u64 {
    curl_as(password, &[&service.url("https", ABOUT)]).status
}

fn status_with_header(service: &Service, authorization: &str) -> (u64, Option<String>) {
    let header = format!("Authorization: {authorization}");
    let reply = curl(&["-H", &header, &service.url("https", ABOUT)]);
    (reply.status, reply.header("www-authenticate").map(str::to_owned))
}

#[test]
fn colons_belong_to_the_password_and_the_scheme_is_read_in_any_case() {
    let service = Service::echo().start();
    assert_eq!(change(&service, "admin", r#"{"password": "pa:ss::word:"}"#).0, 200);
    let token = STANDARD.encode("admin:pa:ss::word:");
    for scheme in ["Basic ", "basic ", "BASIC ", "Basic  "] {
        assert_eq!(status_with_header(&service, &format!("{scheme}{token}")).0, 200, "{scheme:?}");
    }
}

#[test]
fn anything_but_the_right_user_and_password_is_401_with_a_challenge() {
    let service = Service::echo().start();
    let token = STANDARD.encode("admin:admin");
    let wrong = [
        "Basic".to_owned(),
        "Basic !!!!".to_owned(),
        format!("Basic {}", STANDARD.encode("admin")),
        format!("Bearer {token}"),
        format!("Basic {}", STANDARD.encode("Admin:admin")),
        format!("Basic {}", STANDARD.encode(":admin")),
    ];
    for authorization in wrong {
        let (status, challenge) = status_with_header(&service, &authorization);
        assert_eq!(status, 401, "{authorization}");
        assert_eq!(challenge.as_deref(), Some(r#"Basic realm="appliance", charset="UTF-8""#));
    }
}

#[test]
fn refusal_is_plain_text_that_begins_as_the_manual_shows() {
    let service = Service::echo().start();
    let reply = curl(&[&service.url("https", ABOUT)]).expect(401);
    assert!(reply.body.starts_with("401 Unauthorized"), "{}", reply.body);
    let kind = reply.header("content-type").expect("a content type");
    assert!(kind.starts_with("text/plain"), "{kind}");
}

#[test]
fn password_in_any_script_works_as_utf_8_and_not_as_latin_1() {
    let service = Service::echo().start();
    let body = "{\"password\": \"Grüße-пароль-密码\"}";
    assert_eq!(change(&service, "admin", body).0, 200);
    assert_eq!(login(&service, "Grüße-пароль-密码"), 200);

    assert_eq!(change(&service, "Grüße-пароль-密码", "{\"password\": \"Grüße\"}").0, 200);
    assert_eq!(login(&service, "Grüße"), 200);
    let latin_1 = [b"admin:Gr".as_slice(), &[0xFC, 0xDF], b"e"].concat();
    let authorization = format!("Basic {}", STANDARD.encode(latin_1));
    assert_eq!(status_with_header(&service, &authorization).0, 401);
}

#[test]
fn password_of_72_bytes_is_whole_and_a_longer_one_refused() {
    let service = Service::echo().start();
    let longest = "a".repeat(72);
    let too_long = "a".repeat(73);
    assert_eq!(change(&service, "admin", &json!({ "password": longest }).to_string()).0, 200);
    assert_eq!(login(&service, &longest), 200);
    assert_eq!(login(&service, &too_long), 401, "the 73rd byte counts");
    assert_eq!(login(&service, "admin"), 401);

    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();
    for (password, length) in [(too_long, "73"), ("密".repeat(25), "75")] {
        let body = json!({ "password": password }).to_string();
        let (status, answer) = change(&service, &longest, &body);
        assert_eq!(status, 400, "{answer}");
        assert!(answer.contains("72 bytes") && answer.contains(length), "{answer}");
    }
    assert!(stored.contents() == before, "the state on disk changed");
    assert_eq!(login(&service, &longest), 200);
}

#[test]
fn unusable_password_is_refused_and_the_old_one_stays() {
    let service = Service::echo().start();
    let stored = Stored::in_data_dir(&service.data_dir());
    let before = stored.contents();
    for body in [
        r#"{"password": ""}"#,
        r#"{"password": "abc\u0000def"}"#,
        r#"{"password": "abc\nadmin:x"}"#,
        r#"{"password": 12345}"#,
        r#"{"Password": "abcdefgh"}"#,
        "{}",
        "password=abcdefgh",
        r#"{"password": "good-one", "password": "other"}"#,
    ] {
        let (status, answer) = change(&service, "admin", body);
        assert_eq!(status, 400, "{body}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("a JSON error");
        assert!(answer["detail"].as_str().is_some_and(|text| !text.is_empty()), "{body}: {answer}");
    }
    assert!(stored.contents() == before, "the state on disk changed");
    assert_eq!(login(&service, "admin"), 200);
}

#[test]
fn stored_secret_is_one_htpasswd_line_and_no_answer_repeats_the_password() {
    let service = Service::echo().start();
    let (status, answer) = change(&service, "admin", r#"{"password": "xylophone"}"#);
    assert_eq!(status, 200);
    assert!(!answer.contains("xylophone"), "{answer}");
    let line = Stored::in_data_dir(&service.data_dir()).htpasswd_line();
    assert!(line.starts_with("admin:$2y$"), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(!service.log().contains("xylophone"));
}

/// Every connection that was opened before asks again, with both passwords.
async fn only_the_new_password_counts(connections: &mut [Connection], old: &str, new: &str) {
    for connection in connections {
        for (password, status) in [(old, 401), (new, 200)] {
            let authorization = basic("admin", password);
            let headers = [("authorization", authorization.as_str())];
            let answer = connection.get(ABOUT, &headers).await.expect("an answer");
            assert_eq!(answer.status, status, "{password}");
        }
    }
}

#[tokio::test]
async fn from_the_answer_on_only_the_new_password_counts_on_every_connection() {
    let service = Service::echo().start();
    let admin = service.admin();
    let mut connections = Vec::new();
    for listener in ["https", "https", "http"] {
        let port = service.port(listener);
        let connection = if listener == "https" {
            Connection::tls(port).await
        } else {
            Connection::plain(port).await
        };
        let mut connection = connection.expect("a connection");
        let headers = [("authorization", admin.authorization())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(connection.get(ABOUT, &headers).await.expect("an answer").status, 200);
        connections.push(connection);
    }

    let changed = admin.set_password("second").await;
    only_the_new_password_counts(&mut connections, "admin", "second").await;
    assert_eq!((admin.about_status().await, changed.about_status().await), (401, 200));
}

/// The reset.
#[tokio::test]
async fn from_the_answer_to_a_reset_on_only_the_default_password_counts() {
    let service = Service::echo().start();
    let admin = service.admin();
    let changed = admin.set_password("second").await;
    assert_eq!(changed.about_status().await, 200);
    let answer = changed.delete("/v2/security/reset").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!((changed.about_status().await, admin.about_status().await), (401, 200));
}

/// What was accepted goes on.
#[tokio::test]
async fn upload_in_progress_goes_on_over_a_password_change() {
    let service = Service::echo().start();
    let admin = service.admin();
    let (gate, opened) = watch::channel(false);
    let upload = SlowUpload {
        name: "upload".to_owned(),
        port: service.port("http"),
        seed: 1,
        pieces: Pieces { count: 3, bytes: 1000, step: millis(10) },
        gate: opened,
    };
    let upload = tokio::spawn(upload.over_http1(false, Framing::ContentLength));
    wait_until("the upload is in progress", seconds(5), async || {
        admin.listener("http").await.serving().requests_in_progress == 1
    })
    .await;
    admin.set_password("second").await;
    gate.send_replace(true);
    upload.await.expect("the upload").expect("a whole upload");
}

#[test]
fn repeated_failures_from_one_address_are_answered_429_and_others_are_not_affected() {
    let service = Service::echo().start();
    let url = service.url("https", ABOUT);
    let from =
        |address: &str, password: &str| curl_as(password, &["--interface", address, url.as_str()]);
    let (mut failures, mut slowed) = (0, 0.0);
    wait_until_blocking("a wrong password is answered 429", seconds(60), || {
        failures += 1;
        let reply = from("127.0.0.2", &format!("wrong-{failures}"));
        if reply.status == 429 {
            let wait = reply.header("retry-after").expect("Retry-After");
            assert!(wait.parse::<u32>().is_ok_and(|wait| wait > 0), "{wait}");
            return true;
        }
        assert_eq!(reply.status, 401);
        slowed = f64::max(slowed, reply.number("time_total"));
        false
    });
    assert!(failures > 3, "a few mistakes are forgiven");
    let throttled = service.url("https", "/v2/security/throttled");
    curl(&[&throttled]).expect(401);
    let told = curl_as("admin", &[&throttled]).expect(200).json();
    let one = &told["addresses"][0];
    assert_eq!((&told["count"], &one["address"]), (&json!(1), &json!("127.0.0.2")), "{told}");
    assert!(one["forgiven_in_seconds"].as_u64() > Some(0), "{told}");
    let wait = one["retry_after_seconds"].as_u64().expect("seconds");
    // It may have leaked below the brim since.
    assert_eq!(one["state"], if wait > 0 { "refused" } else { "slowed" }, "{told}");
    let other = from("127.0.0.3", "admin").expect(200);
    assert!(other.number("time_total") < slowed, "another address waits");
    assert_eq!(from("127.0.0.3", "mistake").status, 401);
    wait_until_blocking("the right password gets through", seconds(90), || {
        from("127.0.0.2", "admin").status == 200
    });
}
