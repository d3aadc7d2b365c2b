//! What is said when: starting, acknowledging, forcing, changing, ending.

use base64::Engine as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::curl::curl_as;
use crate::support::realtime::{
    Client, SECOND, acknowledged, realtime_setup, samples, start_raw, text,
};
use crate::support::seconds;
use crate::support::speech::{recording, sentence, words};
use crate::support::wait_until;

fn has(messages: &[Value], kind: &str) -> bool {
    messages.iter().any(|message| message["message"] == kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paced_speech_gives_partials_finals_and_the_end_of_the_utterance() {
    let service = realtime_setup().start();
    let config = json!({
        "enable_partials": true, "max_delay": 2,
        "conversation_config": {"end_of_utterance_silence_trigger": 0.5},
    });
    let mut client = Client::session(&service, &config).await;
    let mut audio = samples(&sentence());
    audio.resize(audio.len() + 2 * SECOND, 0);
    let mut heard = client.speak(&audio).await;
    client.end().await;
    heard.extend(client.rest().await);
    assert!(has(&heard, "AddPartialTranscript"));
    assert!(has(&heard, "EndOfUtterance"), "{heard:?}");
    assert!(text(&heard).contains("respectable than he was"), "{heard:?}");
    let finals: Vec<_> = heard.iter().filter(|m| m["message"] == "AddTranscript").collect();
    let time = |message: &Value, name: &str| message["metadata"][name].as_f64().expect("a time");
    for pair in finals.windows(2) {
        assert!(time(pair[0], "end_time") <= time(pair[1], "end_time"), "{pair:?}");
    }
    for result in finals.iter().flat_map(|message| message["results"].as_array().expect("results"))
    {
        let alternative = &result["alternatives"][0];
        assert!(alternative["content"].is_string() && alternative["confidence"].is_number());
        assert_eq!(alternative["speaker"], Value::Null, "no diarization was asked for");
    }
    let count = audio.len().div_ceil(SECOND / 10) as u64;
    assert_eq!(acknowledged(&heard), (1..=count).collect::<Vec<_>>());
}

/// Section 0 of the specification: a wrong `last_seq_no`, 512 messages on their way, everything at
/// once, and an odd number of bytes in each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn poured_audio_is_all_recognised_and_acknowledged_whatever_last_seq_no_says() {
    let service = realtime_setup().start();
    for last_seq_no in [0, 1, 9_999] {
        let mut client = Client::session(&service, &json!({})).await;
        let audio = samples(&sentence());
        let mut count = 0;
        for piece in audio.chunks(audio.len() / 512 - 8) {
            client.audio(piece).await;
            count += 1;
        }
        assert!(count > 512, "{count}");
        client.say(&json!({"message": "EndOfStream", "last_seq_no": last_seq_no})).await;
        let heard = client.rest().await;
        assert!(text(&heard).contains("respectable than he was"), "{heard:?}");
        assert_eq!(acknowledged(&heard), (1..=count).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hours_of_audio_at_once_are_spooled_and_pings_are_answered_meanwhile() {
    let service = realtime_setup().start();
    let mut client = Client::session(&service, &json!({})).await;
    // Forty minutes of silence, more than memory is used for, and a sentence behind it.
    let silence = vec![0; 60 * SECOND];
    for _ in 0..40 {
        client.audio(&silence).await;
    }
    client.audio(&samples(&sentence())).await;
    client.send(Message::Ping("alive".into())).await.expect("sent");
    client.end().await;
    let heard = client.rest().await;
    assert_eq!(acknowledged(&heard).len(), 41);
    assert!(text(&heard).contains("respectable"), "{heard:?}");
    let from =
        heard.iter().find(|m| m["message"] == "AddTranscript" && m["results"][0].is_object());
    let from = from.expect("a final")["metadata"]["start_time"].as_f64().expect("a time");
    assert!((2399.0..2402.0).contains(&from), "{from}");
    let left = std::fs::read_dir(service.data_dir().join("realtime")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "files without a name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_encoding_and_rate_is_understood() {
    let service = realtime_setup().start();
    for (encoding, rate, sox) in [
        ("pcm_s16le", 8_000, &["-e", "signed", "-b", "16"]),
        ("pcm_f32le", 44_100, &["-e", "float", "-b", "32"]),
        ("mulaw", 8_000, &["-e", "mu-law", "-b", "8"]),
        ("pcm_s16le", 48_000, &["-e", "signed", "-b", "16"]),
    ] {
        let path = service.path().join("converted.raw");
        let wav = sentence();
        let status = std::process::Command::new("sox")
            .arg(&wav)
            .args(sox)
            .args(["-r", &rate.to_string(), "-t", "raw"])
            .arg(&path)
            .status();
        assert!(status.expect("sox").success());
        let mut client = Client::connect(&service, "ws", "/v2").await;
        let mut start = start_raw(&json!({}));
        start["audio_format"] = json!({"type": "raw", "encoding": encoding, "sample_rate": rate});
        client.say(&start).await;
        let quality = client.next_of("Info").await;
        let expected = if rate < 12_000 { "telephony" } else { "broadcast" };
        assert_eq!(quality["quality"], expected);
        for piece in std::fs::read(&path).expect("converted").chunks(3001) {
            client.audio(piece).await;
        }
        client.end().await;
        let heard = text(&client.rest().await);
        assert!(heard.contains("amiable woman"), "{encoding} at {rate}: {heard}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_utterance_can_be_ended_by_force_and_the_configuration_changed() {
    let service = realtime_setup().start();
    let mut client = Client::session(&service, &json!({"max_delay": 20})).await;
    let audio = samples(&recording("goforward.raw"));
    client.audio(&audio).await;
    client.say(&json!({"message": "ForceEndOfUtterance"})).await;
    let mut heard = String::new();
    loop {
        let message = client.next().await;
        if message["message"] == "AddTranscript" {
            heard.push_str(message["metadata"]["transcript"].as_str().expect("text"));
            assert!(message["forced"] == true || !heard.is_empty());
        }
        if message["message"] == "EndOfUtterance" {
            assert_eq!(message["forced"], true);
            break;
        }
    }
    assert!(words(&heard).join(" ").contains("go forward"), "{heard}");
    let change =
        |config: Value| json!({"message": "SetRecognitionConfig", "transcription_config": config});
    // A whole configuration, as the library sends it.
    client.say(&change(json!({"language": "en", "max_delay": 1, "enable_partials": true}))).await;
    client.say(&json!({"message": "GetSpeakers"})).await;
    assert_eq!(client.next_of("SpeakersResult").await["speakers"], json!([]));
    client.speak(&samples(&sentence())).await;
    client.end().await;
    let rest = client.rest().await;
    assert!(has(&rest, "AddTranscript"), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_recognised_apart() {
    let service = realtime_setup().start();
    let labels = json!({"diarization": "channel", "channel_diarization_labels": ["left", "right"]});
    let mut client = Client::connect(&service, "wss", "/v2/en").await;
    client.say(&start_raw(&labels)).await;
    let started = client.next_of("RecognitionStarted").await;
    assert_eq!(started["channel_ids"], json!(["left", "right"]));
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    for (channel, audio) in
        [("left", samples(&sentence())), ("right", samples(&recording("goforward.raw")))]
    {
        for piece in audio.chunks(40_000) {
            let data = base64(piece);
            client
                .say(&json!({"message": "AddChannelAudio", "channel": channel, "data": data}))
                .await;
        }
        client.say(&json!({"message": "EndOfChannel", "channel": channel, "last_seq_no": 1})).await;
    }
    let heard = client.rest().await;
    let of = |channel: &str| -> Vec<Value> {
        heard.iter().filter(|message| message["channel"] == channel).cloned().collect()
    };
    assert!(text(&of("left")).contains("respectable"), "{heard:?}");
    assert!(words(&text(&of("right"))).join(" ").contains("forward"), "{heard:?}");
    let numbers: Vec<_> = of("right").iter().filter_map(|m| m["seq_no"].as_u64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_told_in_the_management_api_and_measured() {
    let service = realtime_setup().start();
    let admin = service.admin();
    let sessions = || async { admin.get("/v2/management/host/realtime/sessions").await.json() };
    let headers = [("x-request-id", "request-17")];
    let mut client =
        Client::with_headers(&service, "wss", "/v2/en", &headers).await.expect("a WebSocket");
    client.say(&start_raw(&json!({}))).await;
    assert_eq!(client.next_of("RecognitionStarted").await["id"], "request-17");
    assert_eq!(sessions().await["request_ids"], json!(["request-17"]));
    client.audio(&samples(&sentence())).await;
    client.end().await;
    client.rest().await;
    drop(client);
    wait_until("the session is gone", seconds(20), async || {
        sessions().await["request_ids"] == json!([])
    })
    .await;
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    for line in
        ["appliance_realtime_factor_count 1", "appliance_realtime_final_delay_seconds_count"]
    {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
    let health = admin.get("/v2/management/health").await.json();
    assert_eq!(health["realtime"]["status"], "healthy", "{health}");
}
