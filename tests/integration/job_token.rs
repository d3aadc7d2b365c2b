//! The token that the speech services ask for, seen on a mount that is guarded like theirs.

use crate::support::curl::{curl, curl_as};
use crate::support::seconds;
use crate::support::service::Service;
use crate::support::wait_until_blocking;

const TOKEN: &str = "job-token-0123456789";

fn guarded(service: &Service, authorization: Option<&str>) -> u64 {
    let url = service.url("https", "/echo/guarded/upload");
    let header = authorization.map(|value| format!("Authorization: {value}"));
    let mut arguments = vec!["-d", "x", &url];
    if let Some(header) = &header {
        arguments.extend(["-H", header]);
    }
    curl(&arguments).status
}

#[test]
fn job_token_is_asked_for_while_one_is_set_and_nothing_is_otherwise() {
    let service = Service::echo().start();
    let endpoint = service.url("https", "/v2/security/jobtoken");
    // Clients without a key send junk, which must not matter.
    assert_eq!(guarded(&service, Some("Bearer None")), 200);
    assert_eq!(guarded(&service, None), 200);

    let body = format!("{{\"user_token\": \"{TOKEN}\"}}");
    let set = curl_as("admin", &["-d", &body, &endpoint]).expect(200);
    assert!(!set.body.contains(TOKEN), "{}", set.body);
    assert_eq!(guarded(&service, Some(&format!("Bearer {TOKEN}"))), 200);
    assert_eq!(guarded(&service, Some(&format!("bearer {TOKEN}"))), 200);
    for wrong in [None, Some("Bearer None"), Some("Bearer"), Some("Basic YWRtaW46YWRtaW4=")] {
        assert_eq!(guarded(&service, wrong), 401, "{wrong:?}");
    }
    let url = service.url("https", "/echo/guarded/upload");
    let refused = curl(&["-d", "x", &url]).expect(401);
    let said: serde_json::Value = serde_json::from_str(&refused.body).expect("JSON");
    assert_eq!(said, serde_json::json!({"code": 401, "error": "Permission Denied"}));

    curl_as("admin", &["-X", "DELETE", &endpoint]).expect(200);
    assert_eq!(guarded(&service, None), 200);
}

#[test]
fn job_token_that_no_header_can_carry_is_refused() {
    let service = Service::echo().start();
    let endpoint = service.url("https", "/v2/security/jobtoken");
    for body in ["{}", r#"{"user_token": ""}"#, r#"{"user_token": "a b"}"#, r#"{"token": "x"}"#] {
        curl_as("admin", &["-d", body, &endpoint]).expect(400);
    }
    assert_eq!(guarded(&service, None), 200);
}

#[test]
fn token_file_that_was_emptied_by_hand_opens_nothing() {
    for emptied in ["", " \n\t\n"] {
        let service = Service::echo().start();
        let endpoint = service.url("https", "/v2/security/jobtoken");
        let body = format!("{{\"user_token\": \"{TOKEN}\"}}");
        curl_as("admin", &["-d", &body, &endpoint]).expect(200);
        let file = service.data_dir().join("state/current/job-token");
        std::fs::write(&file, emptied).expect("edit the token");
        wait_until_blocking("the edited file is told", seconds(20), || {
            service.log().contains("job-token is empty")
        });
        assert_eq!(guarded(&service, None), 401);
        assert_eq!(guarded(&service, Some("Bearer ")), 401);
        assert_eq!(guarded(&service, Some(&format!("Bearer {TOKEN}"))), 200, "what served serves");

        let Err(refused) = service.stop().try_start() else {
            panic!("it started without knowing the token")
        };
        assert!(refused.stderr.contains("job-token is empty"), "{}", refused.stderr);
    }
}
