//! Listeners are replaced while people speak: nobody notices.

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::certificates::CertificateAuthority;
use crate::support::realtime::{Client, SECOND, acknowledged, realtime_setup, samples, text};
use crate::support::seconds;
use crate::support::speech::{recording, words};

/// What four people say, a minute each.
fn speeches() -> Vec<Vec<u8>> {
    let reading = |number: &str| {
        let name = format!("librivox/sense_and_sensibility_01_austen_64kb-{number}.wav");
        let mut audio = samples(&recording(&name));
        audio.resize(audio.len() + 2 * SECOND, 0);
        audio
    };
    let readings = ["0870", "0880", "0890", "0920", "0930"];
    let order = |first: usize| (0..9).map(move |index| readings[(first + index) % 5]);
    (0..4).map(|first| order(first).flat_map(reading).collect()).collect()
}

/// A word may wait long, so that where a final ends does not depend on how busy the machine is.
async fn transcribed(mut client: Client, speech: Vec<u8>, paced: bool) -> Vec<Value> {
    let mut heard = Vec::new();
    if paced {
        heard = client.speak(&speech).await;
    } else {
        for piece in speech.chunks(SECOND / 10) {
            client.audio(piece).await;
        }
    }
    client.end().await;
    heard.extend(client.rest().await);
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speech_goes_on_over_replaced_certificates_and_switched_ports() {
    let service = realtime_setup().settings("[realtime]\nmax_sessions = 8").start();
    let config = json!({"max_delay": 20});
    let mut quiet = Vec::new();
    for speech in speeches() {
        let client = Client::session(&service, &config).await;
        quiet.push(words(&text(&transcribed(client, speech, false).await)));
    }
    let mut speakers = JoinSet::new();
    for (index, speech) in speeches().into_iter().enumerate() {
        let client = Client::session(&service, &config).await;
        speakers.spawn(async move {
            let messages = speech.len().div_ceil(SECOND / 10) as u64;
            let heard = transcribed(client, speech, true).await;
            (index, messages, heard)
        });
    }
    let admin = service.admin();
    let authority = CertificateAuthority::new();
    let change = async {
        for (round, bundle) in authority.series(40).iter().enumerate() {
            admin.install(bundle).await;
            if round % 3 == 1 {
                admin.set_insecure_ports(round % 2 == 0).await;
            }
            crate::support::pace(seconds(2)).await;
        }
    };
    let speak = async {
        let mut done = Vec::new();
        while let Some(speaker) = speakers.join_next().await {
            done.push(speaker.expect("a speaker"));
        }
        done
    };
    let done = tokio::select! {
        done = speak => done,
        () = change => panic!("forty replacements, and they still speak"),
    };
    for (index, messages, heard) in done {
        assert_eq!(words(&text(&heard)), quiet[index], "speaker {index}");
        assert_eq!(acknowledged(&heard), (1..=messages).collect::<Vec<_>>(), "speaker {index}");
    }
}
