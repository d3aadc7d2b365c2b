//! Recordings whose channels are told apart.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::outbound::{Server, allowing, answer};
use crate::support::service::Service;
use crate::support::speech::{
    batch_setup, client_command, clients, ended, id_of, post, run, said, sentence, transcript,
    words,
};

/// A file of `channels`, each of them silence, the sentence, or the sentence two seconds later.
pub(crate) fn recording(folder: &Path, name: &str, channels: &[&str]) -> PathBuf {
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

/// Each client prints the results as it has read them, with the metadata.
const PYTHON: &str = r#"
import asyncio, dataclasses, json, sys
from speechmatics.batch import AsyncClient, JobConfig, JobType, TranscriptionConfig
from speechmatics.batch import NotificationConfig, NotificationContents
from speechmatics.batch._models import TrackingConfig
url, audio, hook = sys.argv[1:]
async def main():
    async with AsyncClient(api_key="any", url=url + "/v2") as client:
        job = await client.submit_job(audio, config=JobConfig(
            type=JobType.TRANSCRIPTION,
            transcription_config=TranscriptionConfig(
                language="en", diarization="channel",
                channel_diarization_labels=["agent", "caller"]),
            notification_config=[NotificationConfig(
                url=hook, contents=[NotificationContents.TRANSCRIPT_JSON_V2])],
            tracking=TrackingConfig(title="call")))
        read = await client.wait_for_completion(job.id)
        assert read.transcript_text
        print(json.dumps(dataclasses.asdict(read)))
asyncio.run(main())
"#;

const NODE: &str = r#"
const fs = require('fs');
const { BatchClient } = require('@speechmatics/batch-client');
const [url, audio, hook] = process.argv.slice(1);
(async () => {
  const client = new BatchClient({ apiKey: 'any', apiUrl: url, appId: 'test' });
  const read = await client.transcribe(new File([await fs.openAsBlob(audio)], 'call.flac'), {
    transcription_config: {
      language: 'en', diarization: 'channel', channel_diarization_labels: ['agent', 'caller'],
    },
    notification_config: [{ url: hook, contents: ['transcript.json-v2'] }],
    tracking: { title: 'call' },
  }, 'json-v2');
  console.log(JSON.stringify(read));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

#[test]
fn the_official_clients_read_channels_and_are_called_back_with_them() {
    let service = allowing(&["127.0.0.0/8"]).start();
    let folder = tempfile::tempdir().expect("tempdir");
    let file = recording(folder.path(), "call.flac", &["sentence", "later"]);
    let server = Server::start(|_| answer("200 OK", "", b""));
    let (url, hook) = (service.url("https", ""), server.url("/told"));
    let python = clients().join("venv/bin/python");
    let mut programs = [
        (client_command(&python, &service), vec!["-W", "ignore", "-c", PYTHON]),
        (client_command(Path::new("node"), &service), vec!["-e", NODE]),
    ];
    for (command, script) in &mut programs {
        let run = command.args(script).arg(&url).arg(&file).arg(&hook);
        let read: Value =
            serde_json::from_str(&said(run.output().expect("a client"))).expect("JSON");
        let told = server.next();
        assert!(told.starts_with("POST /told?id=") && told.contains("status=success"), "{told}");
        let (_, body) = told.split_once("\r\n\r\n").expect("a body");
        let told: Value = serde_json::from_str(body).expect("JSON");
        for document in [&read, &told] {
            let (agent, caller) = (said_by(document, "agent"), said_by(document, "caller"));
            assert!(agent.len() > 12, "{document}");
            assert!(agent.len().abs_diff(caller.len()) <= 1, "{agent:?} {caller:?}");
            assert_eq!(document["format"], "2.9");
            assert_eq!(document["job"]["tracking"]["title"], "call");
            let metadata = &document["metadata"];
            assert_eq!(metadata["type"], "transcription");
            let asked = &metadata["transcription_config"];
            assert_eq!(asked["diarization"], "channel");
            assert_eq!(asked["channel_diarization_labels"], json!(["agent", "caller"]));
            assert_eq!(metadata["language_pack_info"]["word_delimiter"], " ");
            assert!(metadata["orchestrator_version"].is_string(), "{metadata}");
            assert!(metadata["created_at"].is_string(), "{metadata}");
        }
    }

    let output = client_command(&clients().join("venv/bin/speechmatics"), &service)
        .args(["batch", "transcribe", "--url", &url, "--ssl-mode", "insecure", "--lang", "en"])
        .args(["--diarization", "channel", "--channel-diarization-labels", "agent", "caller"])
        .args(["--output-format", "txt"])
        .arg(&file)
        .output();
    let text = said(output.expect("the speechmatics command"));
    assert!(text.contains("CHANNEL: agent\n") && text.contains("CHANNEL: caller\n"), "{text}");
}
