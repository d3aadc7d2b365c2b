//! Each type of error, with its close code, and that it comes before the close.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::realtime::{Client, SECOND, realtime_setup, samples, start_raw};
use crate::support::seconds;
use crate::support::service::Service;
use crate::support::speech::sentence;
use crate::support::wait_until;

async fn failing(service: &Service, path: &str, message: &str) -> (String, u16) {
    let mut client = Client::connect(service, "ws", path).await;
    client.send(Message::Text(message.into())).await.expect("sent");
    client.fails().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_be_is_refused_by_its_kind() {
    let service = realtime_setup().start();
    let with = |key: &str, value: Value| {
        let mut message = start_raw(&json!({}));
        message[key] = value;
        message.to_string()
    };
    let config = |config: Value| start_raw(&config).to_string();
    for (path, message, kind, code) in [
        ("/v2", "{".to_owned(), "invalid_message", 1003),
        ("/v2", r#"{"message":"Hello"}"#.to_owned(), "invalid_message", 1003),
        ("/v2", r#"{"message":"EndOfStream"}"#.to_owned(), "protocol_error", 1003),
        ("/v2", config(json!({"max_delay": 0})), "invalid_config", 1003),
        ("/v2", config(json!({"colour": "red"})), "invalid_config", 1003),
        ("/v2", with("audio_format", json!({"type": "tape"})), "invalid_audio_type", 1003),
        ("/v2", config(json!({"language": "xx"})), "invalid_model", 4004),
        ("/v2/de", config(json!({})), "invalid_model", 4004),
    ] {
        let failed = failing(&service, path, &message).await;
        assert_eq!(failed, (kind.to_owned(), code), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_out_of_order_are_protocol_errors() {
    let service = realtime_setup().start();
    let expected = ("protocol_error".to_owned(), 1003);
    let mut early = Client::connect(&service, "wss", "/v2/en").await;
    early.audio(&[0; 100]).await;
    assert_eq!(early.fails().await, expected);
    let mut twice = Client::session(&service, &json!({})).await;
    twice.say(&start_raw(&json!({}))).await;
    assert_eq!(twice.fails().await, expected);
    let mut late = Client::session(&service, &json!({})).await;
    late.audio(&vec![0; 10 * SECOND]).await;
    late.end().await;
    late.audio(&[0; 100]).await;
    assert_eq!(late.next_of("Warning").await["type"], "add_audio_after_eos");
    late.rest().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_audio_is_told_so() {
    let service = realtime_setup().start();
    let mut client = Client::connect(&service, "wss", "/v2").await;
    let mut start = start_raw(&json!({}));
    start["audio_format"] = json!({"type": "file"});
    client.say(&start).await;
    client.next_of("RecognitionStarted").await;
    client.audio(&b"This is no audio at all. ".repeat(4000)).await;
    client.end().await;
    assert_eq!(client.fails().await, ("invalid_audio_type".to_owned(), 1003));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_sessions_than_there_are_places_are_refused_until_one_is_free() {
    let service = realtime_setup()
        .settings("[realtime]\nmax_sessions = 2\nmax_sessions_per_address = 2")
        .start();
    let first = Client::session(&service, &json!({})).await;
    let mut second = Client::session(&service, &json!({})).await;
    let admin = service.admin();
    let ready =
        || async { admin.get("/v2/management/host/realtime/ready").await.json()["ready"] == true };
    assert!(!ready().await);
    let refused = failing(&service, "/v2", &start_raw(&json!({})).to_string()).await;
    assert_eq!(refused, ("quota_exceeded".to_owned(), 4005));
    drop(first);
    wait_until("a place is free", seconds(20), async || ready().await).await;
    Client::session(&service, &json!({})).await;
    second.audio(&samples(&sentence())).await;
    second.end().await;
    second.rest().await;
    let metrics = admin.get("/metrics").await.text();
    assert!(
        metrics.contains("appliance_realtime_errors_total{error=\"quota_exceeded\"} 1"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_audio_than_is_kept_is_a_buffer_error() {
    let service = realtime_setup().settings("[realtime]\nspool_mebibytes = 1").start();
    let mut client = Client::session(&service, &json!({})).await;
    client.audio(&vec![0; (1 << 20) + 1]).await;
    assert_eq!(client.fails().await, ("buffer_error".to_owned(), 1008));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_model_sessions_fail_and_health_says_so() {
    let installation = realtime_setup().prepare();
    let mut command = installation.command();
    command.env("PORTCULLIS_MODEL", "/nowhere/model.bin");
    let Ok(service) = installation.try_start_by(command) else { panic!("it did not start") };
    let health = || async { service.admin().get("/v2/management/health").await.json() };
    wait_until("the model is missed", seconds(20), async || {
        health().await["realtime"]["status"] == "unhealthy"
    })
    .await;
    let failed = failing(&service, "/v2", &start_raw(&json!({})).to_string()).await;
    assert_eq!(failed, ("job_error".to_owned(), 4013));
}
