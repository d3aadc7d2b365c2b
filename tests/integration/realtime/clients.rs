//! The official realtime clients, unchanged. `scripts/tools.sh` installs them below
//! `target/clients`.

use std::path::Path;
use std::process::Output;

use crate::support::curl::curl_as;
use crate::support::realtime::{realtime_setup, samples};
use crate::support::service::Service;
use crate::support::speech::{client_command, clients, said, sentence, words};

const PYTHON: &str = r#"
import asyncio, ssl, sys
from speechmatics.rt import AsyncClient, AudioEncoding, AudioFormat, ConnectionConfig
from speechmatics.rt import ServerMessageType, TranscriptionConfig
url, audio, key = sys.argv[1:]
connection = {}
if url.startswith("wss"):
    connection["conn_config"] = ConnectionConfig(ssl_context=ssl.create_default_context())
async def main():
    async with AsyncClient(url=url, api_key=key or None, **connection) as client:
        partials = []
        client.on(ServerMessageType.ADD_PARTIAL_TRANSCRIPT, partials.append)
        client.on(ServerMessageType.ADD_TRANSCRIPT,
                  lambda m: print(m["metadata"]["transcript"], end=""))
        options = {}
        if audio.endswith(".raw"):
            options["audio_format"] = AudioFormat(
                encoding=AudioEncoding.PCM_S16LE, sample_rate=16000, chunk_size=4096)
        config = TranscriptionConfig(language="en", enable_partials=True)
        with open(audio, "rb") as file:
            await client.transcribe(file, transcription_config=config, timeout=100, **options)
        assert partials, "no partials"
asyncio.run(main())
"#;

/// Paced: a machine that is busy with other tests could not recognise a whole file within the ten
/// seconds that this client waits after its last message.
const NODE: &str = r#"
const fs = require('fs');
const { RealtimeClient } = require('@speechmatics/real-time-client');
const [url, audio, key] = process.argv.slice(1);
(async () => {
  const client = new RealtimeClient({ url });
  const end = new Promise((resolve) => client.addEventListener('receiveMessage', ({ data }) => {
    if (data.message === 'AddTranscript') process.stdout.write(data.metadata.transcript);
    if (data.message === 'EndOfTranscript') resolve();
    if (data.message === 'Error') console.error(data);
  }));
  const raw = audio.endsWith('.raw');
  const audio_format = raw ? { type: 'raw', encoding: 'pcm_s16le', sample_rate: 16000 } : { type: 'file' };
  const transcription_config = { language: 'en', enable_partials: true };
  const started = await client.start(key, { transcription_config, audio_format });
  if (!started.id) throw new Error('no id');
  const bytes = fs.readFileSync(audio);
  for (let at = 0; at < bytes.length; at += 4096) {
    client.sendAudio(bytes.subarray(at, at + 4096));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await client.stopRecognition({ noTimeout: true });
  await end;
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

fn url(service: &Service, listener: &str, path: &str) -> String {
    service.url(listener, path).replacen("http", "ws", 1)
}

/// The command line client.
fn cli(service: &Service, listener: &str, path: &str, arguments: &[&str]) -> Output {
    let url = url(service, listener, path);
    let mode = if url.starts_with("wss") { "insecure" } else { "none" };
    client_command(&clients().join("venv/bin/speechmatics"), service)
        .args(["rt", "transcribe", "--lang", "en", "--url", &url, "--ssl-mode", mode])
        .args(arguments)
        .output()
        .expect("the speechmatics command")
}

fn python(service: &Service, listener: &str, audio: &Path, key: &str) -> Output {
    client_command(&clients().join("venv/bin/python"), service)
        .args(["-W", "ignore", "-c", PYTHON, &url(service, listener, "/v2")])
        .args([audio.as_os_str(), key.as_ref()])
        .output()
        .expect("python")
}

fn node(service: &Service, listener: &str, audio: &Path, key: &str) -> Output {
    client_command(Path::new("node"), service)
        .args(["-e", NODE, &url(service, listener, "/v2")])
        .args([audio.as_os_str(), key.as_ref()])
        .output()
        .expect("node")
}

/// The sentence as samples without a header.
fn raw(service: &Service) -> std::path::PathBuf {
    let path = service.path().join("sentence.raw");
    std::fs::write(&path, samples(&sentence())).expect("written");
    path
}

#[test]
fn the_command_of_the_manual_prints_the_sentence() {
    let service = realtime_setup().start();
    let wav = sentence();
    let wav = wav.to_str().expect("a plain path");
    let text = |output| words(&said(output)).join(" ");
    let output = client_command(&clients().join("venv/bin/speechmatics"), &service)
        .args(["transcribe", "--lang", "en", wav, "--ssl-mode", "insecure"])
        .args(["--url", &url(&service, "wss", "/v2/en")])
        .output()
        .expect("the speechmatics command");
    assert!(text(output).contains("respectable than he was"));
    for (listener, path) in
        [("ws", "/v2/en"), ("wss", "/v2"), ("http", "/v2/"), ("https", "/v2/en")]
    {
        let heard = text(cli(&service, listener, path, &[wav]));
        assert!(heard.contains("respectable than he was"), "{listener}{path}: {heard}");
    }
}

#[test]
fn the_command_line_client_takes_samples_and_partials() {
    let service = realtime_setup().start();
    let raw = raw(&service);
    let options = [
        "--raw",
        "pcm_s16le",
        "--sample-rate",
        "16000",
        "--enable-partials",
        "--print-json",
        "--max-delay",
        "2",
        "--end-of-utterance-silence-trigger",
        "0.5",
        raw.to_str().expect("a plain path"),
    ];
    let json = said(cli(&service, "ws", "/v2", &options));
    for kind in ["AddPartialTranscript", "AddTranscript"] {
        assert!(json.contains(&format!("\"message\": \"{kind}\"")), "{json}");
    }
}

#[test]
fn the_python_library_pours_files_and_samples_in() {
    let service = realtime_setup().start();
    let raw = raw(&service);
    for (listener, audio) in [("ws", raw.as_path()), ("wss", &sentence())] {
        let heard = said(python(&service, listener, audio, ""));
        assert!(heard.contains("respectable than he was"), "{listener}: {heard}");
    }
}

#[test]
fn the_javascript_client_streams_files_and_samples() {
    let service = realtime_setup().start();
    let raw = raw(&service);
    for (listener, audio) in [("ws", raw.as_path()), ("wss", &sentence())] {
        let heard = said(node(&service, listener, audio, "anything"));
        assert!(heard.contains("respectable than he was"), "{listener}: {heard}");
    }
}

#[test]
fn the_job_token_comes_in_the_header_or_in_the_address() {
    let service = realtime_setup().start();
    let raw = raw(&service);
    let endpoint = service.url("https", "/v2/security/jobtoken");
    curl_as("admin", &["-d", r#"{"user_token":"secret-1"}"#, &endpoint]).expect(200);
    let refused = |output: Output| {
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains("401"), "{told}");
        assert!(!service.log().contains("wrong-token"));
    };
    refused(python(&service, "wss", &raw, "wrong-token"));
    refused(node(&service, "wss", &raw, "wrong-token"));
    assert!(said(python(&service, "wss", &raw, "secret-1")).contains("respectable"));
    assert!(said(node(&service, "ws", &raw, "secret-1")).contains("respectable"));
    let refused =
        cli(&service, "ws", "/v2", &["--auth-token", "no", raw.to_str().expect("a path")]);
    assert!(!refused.status.success());
}
