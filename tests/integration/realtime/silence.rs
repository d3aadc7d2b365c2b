//! Clients that stop sending, stall, or send slower than they hear.

use std::time::{Duration, Instant};

use base64::Engine as _;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::realtime::{Client, SECOND, realtime_setup, samples, start_raw, text};
use crate::support::seconds;
use crate::support::service::Service;
use crate::support::speech::{sentence, words};

const SAID: &str = "had he married a more amiable woman he might have been made still more \
                    respectable than he was";
/// What is promised is `max_delay` and a second; other tests compute meanwhile.
const BUSY: Duration = seconds(15);

/// How the audio goes to the appliance.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Raw,
    File,
    Channel,
}

async fn open(service: &Service, way: Way, config: &Value) -> Client {
    let mut start = start_raw(config);
    match way {
        Way::Raw => {}
        Way::File => start["audio_format"] = json!({"type": "file"}),
        Way::Channel => {
            start["transcription_config"]["diarization"] = json!("channel");
            start["transcription_config"]["channel_diarization_labels"] = json!(["a", "b"]);
        }
    }
    let mut client = Client::connect(service, "wss", "/v2/en").await;
    client.say(&start).await;
    client.next_of("RecognitionStarted").await;
    client
}

/// Sends a piece of audio as it was spoken, and gives what came meanwhile.
async fn speak(client: &mut Client, way: Way, audio: &[u8]) -> Vec<Value> {
    if way != Way::Channel {
        return client.speak(audio).await;
    }
    let mut heard = Vec::new();
    let begun = Instant::now();
    for (index, piece) in audio.chunks(SECOND / 5).enumerate() {
        let data = base64::engine::general_purpose::STANDARD.encode(piece);
        client.say(&json!({"message": "AddChannelAudio", "channel": "a", "data": data})).await;
        let due = begun + Duration::from_millis(200) * (index as u32 + 1);
        while let Ok(message) = tokio::time::timeout_at(due.into(), client.next()).await {
            heard.push(message);
        }
    }
    heard
}

/// The content, start and end of all final words.
fn finals(messages: &[Value]) -> Vec<(String, f64, f64)> {
    let finals = messages.iter().filter(|message| message["message"] == "AddTranscript");
    let results = finals.flat_map(|message| message["results"].as_array().expect("results"));
    let words = results.filter(|result| result["type"] == "word").map(|word| {
        let time = |key: &str| word[key].as_f64().expect("a time");
        let content = word["alternatives"][0]["content"].as_str().expect("a word");
        (content.to_lowercase(), time("start_time"), time("end_time"))
    });
    words.collect()
}

/// Receives, without sending anything, until the end has come.
async fn wait_for(
    client: &mut Client,
    heard: &mut Vec<Value>,
    longest: Duration,
    what: &str,
    end: impl Fn(&[Value]) -> bool,
) {
    let until = Instant::now() + longest;
    while !end(heard) {
        let message = tokio::time::timeout_at(until.into(), client.next()).await;
        let Ok(message) = message else { panic!("{what} did not come: {heard:?}") };
        heard.push(message);
    }
}

/// How many words differ, by edit distance.
fn mistakes(heard: &str, said: &str) -> usize {
    let (heard, said) = (words(heard), words(said));
    let mut row: Vec<usize> = (0..=said.len()).collect();
    for (index, word) in heard.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in said.iter().enumerate() {
            let replaced = diagonal + usize::from(word != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[said.len()]
}

/// Speaks, is silent in the middle of the sentence, and goes on.
async fn falls_silent(service: &Service, way: Way, config: Value, until: f64) {
    let name = format!("{way:?} {config} {until}");
    let mut client = open(service, way, &config).await;
    let audio = match way {
        Way::File => std::fs::read(sentence()).expect("a recording"),
        Way::Raw | Way::Channel => samples(&sentence()),
    };
    let (first, second) = audio.split_at((until * SECOND as f64) as usize);
    let mut heard = speak(&mut client, way, first).await;
    let max_delay = Duration::from_secs_f64(config["max_delay"].as_f64().expect("a number"));
    // There is no longer pause in the sentence than half a second.
    wait_for(&mut client, &mut heard, max_delay + BUSY, &name, |heard| {
        finals(heard).last().is_some_and(|(_, _, end)| *end > until - 0.7)
    })
    .await;
    let asleep = finals(&heard);
    assert!(asleep.iter().all(|(_, _, end)| *end <= until + 0.1), "{name}: {asleep:?}");
    heard.extend(speak(&mut client, way, second).await);
    if way == Way::Channel {
        for channel in ["a", "b"] {
            client.say(&json!({"message": "EndOfChannel", "channel": channel})).await;
        }
    } else {
        client.end().await;
    }
    heard.extend(client.rest().await);
    let all = finals(&heard);
    assert!(all.windows(2).all(|pair| pair[0].2 <= pair[1].1 + 0.01), "{name}: {all:?}");
    assert!(all.last().is_some_and(|(_, _, end)| (5.0..6.2).contains(end)), "{name}: {all:?}");
    // The word in which the audio stopped may be another one, or two; and who wants words at once
    // gets worse ones.
    let allowed = if max_delay <= seconds(2) { 7 } else { 3 };
    assert!(mistakes(&text(&heard), SAID) <= allowed, "{name}: {}", text(&heard));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_come_by_the_clock_when_the_client_stops_sending_and_it_may_go_on() {
    let service = realtime_setup().settings("realtime.max_sessions = 16").start();
    let session = |way, max_delay: f64, mode: &str, partials: bool, until| {
        let config = json!({
            "max_delay": max_delay, "max_delay_mode": mode, "enable_partials": partials,
        });
        falls_silent(&service, way, config, until)
    };
    join_all([
        session(Way::Raw, 0.7, "fixed", false, 3.0),
        session(Way::File, 1.0, "flexible", true, 2.5),
        session(Way::Channel, 2.0, "flexible", false, 3.0),
    ])
    .await;
    // Longer than the time after which a thread is given back.
    join_all([
        session(Way::Raw, 12.0, "flexible", false, 3.5),
        session(Way::File, 4.0, "fixed", false, 3.0),
        session(Way::Raw, 2.0, "flexible", true, 2.2),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silence_of_the_client_ends_the_utterance_once() {
    let service = realtime_setup().start();
    for trigger in [0.5, 1.2] {
        let config = json!({
            "max_delay": 10, "conversation_config": {"end_of_utterance_silence_trigger": trigger},
        });
        let mut client = open(&service, Way::Raw, &config).await;
        let audio = samples(&sentence());
        let ends = |heard: &[Value]| {
            heard.iter().filter(|message| message["message"] == "EndOfUtterance").count()
        };
        let mut heard = client.speak(&audio).await;
        wait_for(&mut client, &mut heard, BUSY, "the end", |heard| ends(heard) == 1).await;
        assert!(mistakes(&text(&heard), SAID) <= 1, "{}", text(&heard));
        let last = heard.last().expect("the end");
        assert!(last["metadata"]["end_time"].as_f64().expect("a time") <= 6.1, "{last}");
        // Silence that comes late is the same silence; words are another utterance.
        heard.extend(client.speak(&vec![0; 2 * SECOND]).await);
        assert_eq!(ends(&heard), 1, "{heard:?}");
        heard.extend(client.speak(&audio).await);
        wait_for(&mut client, &mut heard, BUSY, "the end", |heard| ends(heard) == 2).await;
        client.end().await;
        heard.extend(client.rest().await);
        assert_eq!(ends(&heard), 2, "{heard:?}");
        assert!(mistakes(&text(&heard), &format!("{SAID} {SAID}")) <= 2, "{}", text(&heard));
    }
}

/// Sends lumps of audio, each after a pause.
async fn in_lumps(service: &Service, max_delay: f64, lump: f64, pause: f64) {
    let mut client = open(service, Way::Raw, &json!({"max_delay": max_delay})).await;
    let audio = samples(&sentence());
    let mut heard = Vec::new();
    for lump in audio.chunks((lump * f64::from(SECOND as u32 / 2)) as usize * 2) {
        for piece in lump.chunks(SECOND / 10) {
            client.audio(piece).await;
        }
        let until = Instant::now() + Duration::from_secs_f64(pause);
        while let Ok(message) = tokio::time::timeout_at(until.into(), client.next()).await {
            heard.push(message);
        }
    }
    client.end().await;
    heard.extend(client.rest().await);
    let told = mistakes(&text(&heard), SAID);
    assert!(told <= 2, "{max_delay} {lump} {pause}: {}", text(&heard));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_send_in_lumps_or_slowly_lose_nothing() {
    let service = realtime_setup().settings("realtime.max_sessions = 16").start();
    join_all([
        in_lumps(&service, 4.0, 3.0, 3.0),
        in_lumps(&service, 2.0, 1.0, 1.0),
        // At half the pace of speech.
        in_lumps(&service, 4.0, 0.1, 0.2),
        in_lumps(&service, 2.0, 0.25, 0.5),
    ])
    .await;
}
