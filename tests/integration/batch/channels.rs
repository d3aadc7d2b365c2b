//! Recordings whose channels are told apart.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::service::Service;
use crate::support::speech::{batch_setup, ended, id_of, post, run, sentence, transcript, words};

/// A file of `channels`, each of them silence, the sentence, or the sentence two seconds later.
fn recording(folder: &Path, name: &str, channels: &[&str]) -> PathBuf {
    let original = sentence();
    let original = original.to_str().expect("a plain path");
    let made = |name: &str| folder.join(name).to_str().expect("a plain path").to_owned();
    let (silent, later) = (made("silent.wav"), made("later.wav"));
    run("sox", &[original, &silent, "vol", "0"]);
    run("sox", &[original, &later, "pad", "2"]);
    let inputs = channels.iter().map(|channel| match *channel {
        "silence" => &*silent,
        "later" => &*later,
        _ => original,
    });
    let path = made(name);
    let mut arguments = vec!["-M"];
    arguments.extend(inputs);
    arguments.push(&path);
    if channels.len() == 1 {
        arguments.remove(0);
    }
    run("sox", &arguments);
    path.into()
}

fn config(labels: &[&str]) -> Value {
    json!({"type": "transcription", "transcription_config": {
        "language": "en", "diarization": "channel", "channel_diarization_labels": labels,
    }})
}

fn document(service: &Service, file: &Path, labels: &[&str]) -> (String, Value) {
    let id = id_of(&post(service, file, &config(labels).to_string()).expect(201));
    let job = ended(service, &id);
    assert_eq!(job["status"], "done", "{job}");
    let text = transcript(service, &id, "json-v2");
    (id, serde_json::from_str(&text).expect("JSON"))
}

fn said_by(document: &Value, channel: &str) -> Vec<String> {
    let results = document["results"].as_array().expect("results");
    let own = results.iter().filter(|result| result["channel"] == channel);
    let own = own.filter(|result| result["type"] == "word");
    let content = |result: &Value| result["alternatives"][0]["content"].as_str().map(words);
    own.filter_map(content).flatten().collect()
}

#[test]
fn each_channel_is_recognised_by_itself_and_labelled() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    let file = recording(folder.path(), "call.flac", &["sentence", "later"]);
    let (id, call) = document(&service, &file, &["agent", "caller"]);
    let (agent, caller) = (said_by(&call, "agent"), said_by(&call, "caller"));
    assert!(agent.len() > 12, "{call}");
    assert!(agent.len().abs_diff(caller.len()) <= 1, "{agent:?} {caller:?}");
    let starts: Vec<f64> = call["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter(|result| result["type"] == "word")
        .filter_map(|result| result["start_time"].as_f64())
        .collect();
    assert!(starts.is_sorted(), "{starts:?}");
    assert_eq!(call["metadata"]["diarization_errors"], Value::Null);
    let text = transcript(&service, &id, "txt");
    assert!(text.starts_with("CHANNEL: agent\n") && text.contains("CHANNEL: caller\n"), "{text}");
    assert!(transcript(&service, &id, "srt").contains("caller: "));

    // A channel of silence, more channels than labels, and one channel alone.
    let file = recording(folder.path(), "silent.wav", &["silence", "sentence", "silence"]);
    let (_, silent) = document(&service, &file, &["left"]);
    assert_eq!(said_by(&silent, "left"), [""; 0]);
    assert_eq!(said_by(&silent, "Channel 2").len(), agent.len(), "{silent}");
    let file = recording(folder.path(), "mono.wav", &["sentence"]);
    let (_, mono) = document(&service, &file, &["only", "nobody"]);
    assert_eq!(said_by(&mono, "only"), agent);

    // More channels than can be told apart.
    let file = recording(folder.path(), "nine.wav", &["sentence"; 9]);
    let id = id_of(&post(&service, &file, &config(&[]).to_string()).expect(201));
    let job = ended(&service, &id);
    assert_eq!(job["status"], "rejected", "{job}");
    assert!(job.to_string().contains("9 channels; 8 are the most"), "{job}");
}
