//! What is asked for and cannot be is said: by a warning, or by a refusal.

use serde_json::{Value, json};

use crate::support::curl::curl;
use crate::support::realtime::{Client, realtime_setup, samples, start_raw, text};
use crate::support::service::Service;
use crate::support::speech::{post, recording, sentence};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_feature_that_is_missing_is_warned_of_once_and_the_session_goes_on() {
    let service = realtime_setup().start();
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    let mut start = start_raw(&json!({
        "diarization": "speaker", "speaker_diarization_config": {"max_speakers": 2},
        "enable_entities": true, "domain": "finance",
    }));
    start["translation_config"] = json!({"target_languages": ["de"]});
    start["audio_events_config"] = json!({});
    client.say(&start).await;
    client.next_of("RecognitionStarted").await;
    client.audio(&samples(&recording("goforward.raw"))).await;
    client.end().await;
    let heard = client.rest().await;
    let warnings = heard.iter().filter(|message| message["message"] == "Warning");
    let told: Vec<_> = warnings
        .map(|warning| {
            let reason = warning["reason"].as_str().expect("a reason");
            assert!(reason.contains("not available on this appliance"), "{warning}");
            (warning["type"].as_str().expect("a type"), warning["feature"].as_str())
        })
        .collect();
    let missing = |feature| ("unsupported_feature", Some(feature));
    let expected = [
        ("unsupported_translation_pair", None),
        missing("diarization"),
        missing("speaker_diarization_config"),
        missing("enable_entities"),
        missing("domain"),
        missing("audio_events_config"),
    ];
    assert_eq!(told, expected, "{heard:?}");
    assert!(text(&heard).to_lowercase().contains("go forward"), "{heard:?}");
}

fn config(from: &str) -> Value {
    json!({"transcript_filtering_config": {"replacements": [
        {"from": "plain", "to": "x"}, {"from": from, "to": "lady"},
    ]}})
}

/// Posts a job with a replacement.
fn posted(service: &Service, from: &str) -> crate::support::curl::Reply {
    let mut transcription = config(from);
    transcription["language"] = json!("en");
    let config = json!({"type": "transcription", "transcription_config": transcription});
    post(service, &sentence(), &config.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replacement_that_cannot_be_is_refused_before_there_is_a_job_or_a_session() {
    let service = realtime_setup().start();
    for (from, expected) in [
        ("/(?=a)/", "looks ahead"),
        ("/(?<!a)b/", "looks ahead or behind"),
        (r"/(a)\1/", "back reference"),
        (r"/(?<a>x)\k<a>/", "back reference"),
        ("/CLUBS/y", "the flag y"),
        ("/CLUBS/ii", "the flag i is there twice"),
        ("/(woman/", "unclosed group"),
        ("/^woman$", "the slash at its end is missing"),
    ] {
        let told = posted(&service, from).expect(400).body;
        for expected in [expected, "replacements[1].from"] {
            assert!(told.contains(expected), "{from}: {told}");
        }
        let mut client = Client::connect(&service, "wss", "/v2/en").await;
        client.say(&start_raw(&config(from))).await;
        assert_eq!(client.fails().await, ("invalid_config".to_owned(), 1003), "{from}");
    }
    let listed = curl(&[&service.url("https", "/v2/jobs")]).expect(200).json();
    assert_eq!(listed["jobs"], json!([]), "no job was made");
    for from in ["/WOMAN/i", "/woman/gu", "/etc/passwd", "and/or", r"/\u{1F600}/u", r"/\x77oman/"] {
        posted(&service, from).expect(201);
        let mut client = Client::session(&service, &config(from)).await;
        client.end().await;
        client.rest().await;
    }
    let mut client = Client::session(&service, &config("/WOMAN/i")).await;
    client.audio(&samples(&sentence())).await;
    client.end().await;
    assert!(text(&client.rest().await).contains("amiable lady"));
}
