//! An appliance that lets another one recognise.

use serde_json::json;

use crate::support::curl::curl;
use crate::support::realtime::{Client, SECOND, realtime_setup, samples, text};
use crate::support::service::Service;
use crate::support::speech::{ended, sentence, submit, transcript, words};

/// One that recognises, and one that hands everything to it over TLS.
fn pair() -> (Service, Service) {
    let behind = realtime_setup().start();
    let front = realtime_setup()
        .settings(&format!(
            "speech.upstream = \"wss://localhost:{}\"\nspeech.upstream_ca = \"{}\"",
            behind.port("wss"),
            behind.data_dir().join("default-certificate/tls.crt").display(),
        ))
        .start();
    (behind, front)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_live_sessions_go_through_another_appliance() {
    let (_behind, front) = pair();
    let (front, read) = tokio::task::spawn_blocking(move || {
        let id = submit(&front, &sentence());
        let job = ended(&front, &id);
        assert_eq!(job["status"], "done", "{job}");
        let log = curl(&[&front.url("https", &format!("/v2/jobs/{id}/log"))]).expect(200).body;
        assert!(log.contains("with upstream wss://localhost:"), "{log}");
        let read = transcript(&front, &id, "txt");
        (front, read)
    })
    .await
    .unwrap();
    assert!(read.trim_end().ends_with("respectable than he was."), "{read}");

    let config = json!({
        "enable_partials": true, "max_delay": 2,
        "conversation_config": {"end_of_utterance_silence_trigger": 0.5},
    });
    let mut client = Client::session(&front, &config).await;
    let mut audio = samples(&sentence());
    audio.resize(audio.len() + 2 * SECOND, 0);
    let mut heard = client.speak(&audio).await;
    // The second sentence is another connection to the other appliance.
    client.say(&json!({"message": "ForceEndOfUtterance"})).await;
    for piece in audio.chunks(SECOND) {
        client.audio(piece).await;
    }
    client.end().await;
    heard.extend(client.rest().await);
    let kinds = |kind: &str| heard.iter().filter(|m| m["message"] == kind).count();
    assert!(kinds("AddPartialTranscript") > 0, "{heard:?}");
    assert!(kinds("EndOfUtterance") > 0, "{heard:?}");
    let said = words(&text(&heard));
    let count = said.iter().filter(|word| *word == "respectable").count();
    assert_eq!(count, 2, "{said:?}");
    let ends: Vec<f64> = heard
        .iter()
        .filter(|message| message["message"] == "AddTranscript")
        .map(|message| message["metadata"]["end_time"].as_f64().unwrap())
        .collect();
    assert!(ends.is_sorted(), "{ends:?}");
    assert!(ends.last().is_some_and(|end| *end > 12.0), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_other_appliance_ends_sessions_fail_and_jobs_say_why() {
    let (behind, front) = pair();
    let mut client = Client::session(&front, &json!({"enable_partials": true})).await;
    client.audio(&samples(&sentence())).await;
    client.next_of("AudioAdded").await;
    behind.kill();
    client.audio(&samples(&sentence())).await;
    assert_eq!(client.fails().await, ("job_error".to_owned(), 4013));

    tokio::task::spawn_blocking(move || {
        let id = submit(&front, &sentence());
        let job = ended(&front, &id);
        assert_eq!(job["status"], "rejected", "{job}");
        assert!(job.to_string().contains("the upstream wss://localhost:"), "{job}");
        assert!(job.to_string().contains("no connection to"), "{job}");
    })
    .await
    .unwrap();
}
