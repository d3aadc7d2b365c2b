//! Posting, reading, deleting; what is refused, and how.

use std::io::Write;
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::curl::{curl, curl_as};
use crate::support::speech::{
    CONFIG, batch_setup, ended, id_of, post, sentence, submit, transcript, words,
};
use crate::support::{seconds, wait_until_blocking};

#[test]
fn a_posted_sentence_is_read_in_every_form_with_and_without_trailing_slash() {
    let service = batch_setup().start();
    let list = service.url("https", "/v2/jobs/");
    assert_eq!(curl(&["-L", "-X", "GET", &list]).expect(200).json(), json!({"jobs": []}));
    let id = submit(&service, &sentence());
    assert_eq!(id, "1");
    let job = ended(&service, &id);
    assert_eq!(job["status"], "done", "{job}");
    assert_eq!(job["duration"], 6);
    assert_eq!(job["config"], serde_json::from_str::<Value>(CONFIG).unwrap());
    let text = transcript(&service, &id, "txt");
    assert!(words(&text).contains(&"respectable".to_owned()), "{text}");
    let srt = transcript(&service, &id, "srt");
    assert!(srt.starts_with("1\n00:00:0") && srt.contains(" --> "), "{srt}");
    let document: Value = serde_json::from_str(&transcript(&service, &id, "json-v2")).unwrap();
    let results = document["results"].as_array().unwrap();
    for result in results {
        let alternative = &result["alternatives"][0];
        assert!(alternative["content"].is_string() && alternative["language"] == "en", "{result}");
        assert!((0.0..=1.0).contains(&alternative["confidence"].as_f64().unwrap()), "{result}");
    }
    let last = results.last().unwrap();
    assert_eq!((&last["type"], &last["is_eos"]), (&json!("punctuation"), &json!(true)));
    for path in ["", "/transcript", "/log", "/data"] {
        for slash in ["", "/"] {
            curl(&[&service.url("http", &format!("/v2/jobs/{id}{path}{slash}"))]).expect(200);
        }
    }
    curl(&["-X", "DELETE", &service.url("http", &format!("/v2/jobs/{id}/"))]).expect(200);
    curl(&[&service.url("http", &format!("/v2/jobs/{id}"))]).expect(404);
}

#[test]
fn what_is_wrong_is_answered_with_the_phrase_that_clients_know() {
    let service = batch_setup().start();
    let url = service.url("https", "/v2/jobs");
    let told = |reply: crate::support::curl::Reply, status: u64, phrase: &str| {
        let reply = reply.expect(status);
        assert_eq!(reply.json()["error"], phrase, "{}", reply.body);
    };
    let config = |text: &str| format!("config={text}");
    told(curl(&["-d", "x", &url]), 400, "Malformed request");
    told(curl(&["-F", &config(CONFIG), &url]), 400, "Missing data_file");
    told(post(&service, &sentence(), "{"), 400, "Job rejected");
    let silent = r#"{"type":"transcription","transcription_config":{}}"#;
    told(post(&service, &sentence(), silent), 400, "No language selected");
    told(post(&service, &sentence(), &CONFIG.replace("\"en\"", "\"xx\"")), 400, "Job rejected");
    let alignment = r#"{"type":"alignment"}"#;
    told(post(&service, &sentence(), alignment), 400, "Requested product not available");
    for path in ["/v2/jobs/1", "/v2/jobs/01", "/v2/jobs/x/transcript", "/v2/jobs/9/log"] {
        told(curl(&[&service.url("https", path)]), 404, "Job not found");
    }
    let limit = service.url("https", "/v2/jobs?limit=many");
    told(curl(&[&limit]), 422, "limit in query must be of type int64");
    let id = submit(&service, &sentence());
    ended(&service, &id);
    let path = format!("/v2/jobs/{id}/transcript?format=doc");
    told(curl(&[&service.url("https", &path)]), 400, "Format Not Supported");
    assert_eq!(curl(&[&url]).json()["jobs"].as_array().unwrap().len(), 1, "a refused job is kept");
}

#[test]
fn a_job_token_is_asked_for_while_one_is_set() {
    let service = batch_setup().start();
    let url = service.url("https", "/v2/jobs");
    let token = service.url("https", "/v2/security/jobtoken");
    curl(&["-H", "Authorization: Bearer None", &url]).expect(200);
    curl_as("admin", &["-d", r#"{"user_token":"secret-1"}"#, &token]).expect(200);
    for header in ["X-None: 1", "Authorization: Bearer wrong"] {
        let reply = curl(&["-H", header, &url]).expect(401);
        assert_eq!(reply.json(), json!({"code": 401, "error": "Permission Denied"}));
    }
    curl(&["-H", "Authorization: Bearer secret-1", &url]).expect(200);
}

#[test]
fn without_a_model_the_appliance_starts_and_says_what_to_do() {
    let service = batch_setup().settings("speech.model = \"/nowhere/model.bin\"").start();
    curl(&[&service.url("https", "/healthz")]).expect(200);
    wait_until_blocking("the model is given up", seconds(10), || {
        curl(&[&service.url("https", "/v2/jobs")]).status == 503
    });
    let reply = post(&service, &sentence(), CONFIG).expect(503);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("/nowhere/model.bin") && detail.contains("[speech]"), "{detail}");
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    let service = batch_setup().start();
    let mut stream = TcpStream::connect(("127.0.0.1", service.port("http"))).unwrap();
    let head = "POST /v2/jobs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 99999999\r\n\
                content-type: multipart/form-data; boundary=b\r\n\r\n\
                --b\r\ncontent-disposition: form-data; name=\"data_file\"; filename=\"a\"\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&vec![0; 3 << 20]).unwrap();
    let incoming = service.data_dir().join("jobs/incoming");
    let count = || std::fs::read_dir(&incoming).map_or(0, Iterator::count);
    wait_until_blocking("the upload begins", seconds(10), || count() == 1);
    drop(stream);
    wait_until_blocking("the upload is gone", seconds(10), || count() == 0);
    assert_eq!(curl(&[&service.url("https", "/v2/jobs")]).json()["jobs"], json!([]));
}

#[test]
fn what_cannot_be_done_is_told_and_what_can_be_is_done() {
    let service = batch_setup().start();
    let config = json!({
        "type": "transcription",
        "transcription_config": {
            "language": "en", "diarization": "speaker", "additional_vocab": ["Dashwood"],
            "punctuation_overrides": {"permitted_marks": ["."]},
            "transcript_filtering_config": {"replacements": [{"from": "woman", "to": "lady"}]},
        },
        "translation_config": {"target_languages": ["de"]},
        "tracking": {"title": "chapter one"},
    });
    let id = id_of(&post(&service, &sentence(), &config.to_string()).expect(201));
    assert_eq!(ended(&service, &id)["status"], "done");
    let text = transcript(&service, &id, "txt");
    assert!(text.contains("lady") && !text.contains(','), "{text}");
    let document: Value = serde_json::from_str(&transcript(&service, &id, "json-v2")).unwrap();
    assert_eq!(document["job"]["tracking"]["title"], "chapter one");
    for feature in ["translation_errors", "diarization_errors"] {
        assert!(document["metadata"][feature][0]["message"].is_string(), "{document}");
    }
}
