//! What a client is told of its session: missing words, keys that are not used, and values that do
//! not fit.

use std::path::Path;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::realtime::{Client, realtime_setup, samples, start_raw, text};
use crate::support::service::Service;
use crate::support::sounds::sound;
use crate::support::speech::sentence;

/// Everything that a session says of a file, sent as samples or as it is.
async fn heard(service: &Service, file: &Path, raw: bool) -> Vec<Value> {
    let mut client = Client::connect(service, "wss", "/v2/en").await;
    let mut start = start_raw(&json!({}));
    if !raw {
        start["audio_format"] = json!({"type": "file"});
    }
    client.say(&start).await;
    let audio = if raw { samples(file) } else { std::fs::read(file).expect("a file") };
    client.next_of("RecognitionStarted").await;
    for piece in audio.chunks(64 << 10) {
        client.audio(piece).await;
    }
    client.end().await;
    client.rest().await
}

fn warnings(messages: &[Value]) -> Vec<&Value> {
    messages.iter().filter(|message| message["message"] == "Warning").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_without_words_is_told_before_the_end_and_speech_is_not() {
    let service = realtime_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    for (name, kind) in [
        ("muted", "silent_audio"),
        ("tone", "no_words_recognised"),
        ("white", "no_words_recognised"),
    ] {
        for (name, raw) in [(format!("{name}.wav"), true), (format!("{name}.flac"), false)] {
            let heard = heard(&service, &sound(folder.path(), &name), raw).await;
            assert_eq!(text(&heard), "", "{name}");
            let warnings = warnings(&heard);
            let [warning] = warnings[..] else { panic!("{name}: {heard:?}") };
            assert_eq!((&warning["type"], &warning["words"]), (&json!(kind), &json!(0)), "{name}");
            let audio = warning["audio_seconds"].as_f64().expect("seconds");
            assert!((3.9..6.2).contains(&audio), "{warning}");
            assert!(warning["reason"].as_str().is_some_and(|reason| reason.len() > 20));
            assert_eq!(warning.get("channel"), None);
        }
    }
    for (name, raw) in [("speech.wav", true), ("speech.flac", false), ("pauses.flac", false)] {
        let heard = heard(&service, &sound(folder.path(), name), raw).await;
        assert!(text(&heard).contains("amiable"), "{heard:?}");
        assert!(warnings(&heard).is_empty(), "{heard:?}");
    }
    // Whatever the recogniser makes of these: there are words or there is a warning.
    for name in ["faint.wav", "brown.wav"] {
        let heard = heard(&service, &sound(folder.path(), name), true).await;
        assert_eq!(text(&heard).is_empty(), warnings(&heard).len() == 1, "{heard:?}");
    }
    // Nothing came, so nothing is missed.
    let mut client = Client::session(&service, &json!({})).await;
    client.end().await;
    assert!(warnings(&client.rest().await).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_channel_is_named() {
    let service = realtime_setup().start();
    let labels = json!({"diarization": "channel", "channel_diarization_labels": ["left", "right"]});
    let mut client = Client::session(&service, &labels).await;
    let speech = samples(&sentence());
    for (channel, audio) in [("left", &speech), ("right", &vec![0; speech.len()])] {
        let data = base64::engine::general_purpose::STANDARD.encode(audio);
        client.say(&json!({"message": "AddChannelAudio", "channel": channel, "data": data})).await;
    }
    client.end().await;
    let heard = client.rest().await;
    let warnings = warnings(&heard);
    let [warning] = warnings[..] else { panic!("{heard:?}") };
    assert_eq!((&warning["type"], &warning["channel"]), (&json!("silent_audio"), &json!("right")));
    assert!(text(&heard).contains("amiable"), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_not_used_are_named_and_the_session_goes_on() {
    let service = realtime_setup().start();
    let mut start = start_raw(&json!({"max_delay": 2}));
    start["audio_fromat"] = json!({});
    start["jwt"] = json!("x");
    start["audio_format"]["chunk_size"] = json!(4096);
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    client.say(&start).await;
    let warning = client.next_of("Warning").await;
    assert_eq!(warning["type"], "ignored_keys", "{warning}");
    assert_eq!(warning["keys"], json!(["audio_format.chunk_size", "audio_fromat", "jwt"]));
    let mut change = json!({"message": "SetRecognitionConfig", "transcription_config": {
        "language": "en", "max_delay": 1, "additional_vocab": ["x"], "diarization": "speaker",
        "audio_filtering_config": {"volume_threshold": 3},
    }});
    change["audio_events"] = json!({});
    client.say(&change).await;
    let told = [
        client.next_of("Warning").await,
        client.next_of("Warning").await,
        client.next_of("Warning").await,
    ];
    assert_eq!(
        (&told[0]["type"], &told[0]["feature"]),
        (&json!("unsupported_feature"), &json!("audio_filtering_config"))
    );
    assert_eq!(told[1]["keys"], json!(["audio_events"]));
    let fixed =
        json!(["transcription_config.additional_vocab", "transcription_config.diarization"]);
    assert_eq!(told[2]["keys"], fixed, "{told:?}");
    for (warning, why) in told[1..].iter().zip(["not known here", "fixed while a session runs"]) {
        assert!(warning["reason"].as_str().expect("a reason").contains(why), "{warning}");
    }
    client.audio(&samples(&sentence())).await;
    client.end().await;
    let heard = client.rest().await;
    assert!(text(&heard).contains("amiable") && warnings(&heard).is_empty(), "{heard:?}");
}

/// The type and the reason with which a session ends that says this.
async fn refused(service: &Service, running: bool, message: String) -> (String, String) {
    let mut client = if running {
        Client::session(service, &json!({})).await
    } else {
        Client::connect(service, "wss", "/v2/en").await
    };
    client.send(Message::Text(message.into())).await.expect("sent");
    loop {
        let message = client.next().await;
        if message["message"] == "Error" {
            let text = |key: &str| message[key].as_str().expect("a text").to_owned();
            assert_eq!(client.closed().await.0, 1003);
            return (text("type"), text("reason"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_is_refused_with_its_key() {
    let service = realtime_setup().start();
    let config = |key: &str, value: &Value| json!({"language": "en", key: value});
    for (key, value, expected) in [
        ("enable_partials", json!("true"), "is \"true\"; it must be true or false, without quotes"),
        ("enable_partials", json!("True"), "is \"True\"; it must be true or false"),
        ("enable_partials", json!(1), "is 1; it must be true or false"),
        ("enable_entities", json!("yes"), "is \"yes\"; it must be true or false"),
        ("max_delay", json!("4"), "is \"4\"; it must be a number, without quotes"),
        ("max_dely", json!(4), "is not known here; did you mean max_delay?"),
    ] {
        let expected = format!("transcription_config.{key} {expected}");
        for running in [false, true] {
            let mut message = start_raw(&config(key, &value));
            if running {
                message["message"] = json!("SetRecognitionConfig");
            }
            let (kind, reason) = refused(&service, running, message.to_string()).await;
            assert_eq!(kind, "invalid_config", "{reason}");
            assert!(reason.starts_with(&expected), "{reason}");
        }
    }
    for labels in [json!(["a b"]), json!(["büro"]), json!(["a", ""]), json!(["a-1"]), json!([])] {
        let config = json!({"diarization": "channel", "channel_diarization_labels": labels});
        let (kind, reason) = refused(&service, false, start_raw(&config).to_string()).await;
        assert_eq!(kind, "invalid_config");
        assert!(reason.contains("channel_diarization_labels"), "{reason}");
    }
    let mut format = start_raw(&json!({}));
    format["audio_format"]["sample_rate"] = json!("16000");
    let (kind, reason) = refused(&service, false, format.to_string()).await;
    assert_eq!(kind, "invalid_audio_type");
    assert!(reason.starts_with("audio_format.sample_rate is \"16000\"; it must be"), "{reason}");
    for (text, expected) in [
        ("{\"message\": True}", "line 1 column 13, where it reads `True}`; JSON writes"),
        ("{'message': 1}", "JSON has double quotes"),
        (r#"{"message": "StartRecognition"}"#, "StartRecognition: transcription_config is missing"),
    ] {
        let (_, reason) = refused(&service, false, text.to_owned()).await;
        assert!(reason.contains(expected), "{reason}");
    }
    let text = r#"{"message": "EndOfChannel", "channel": 1}"#.to_owned();
    let (kind, reason) = refused(&service, true, text).await;
    assert_eq!(kind, "invalid_message");
    assert!(reason.contains("channel is 1; it must be a text in quotes"), "{reason}");
}
