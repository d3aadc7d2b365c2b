//! The end of a file that comes as a stream, for every form of it: the rest of the words, or what is
//! wrong, as soon as what came is decoded. The official JavaScript client waits ten seconds for it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;

use crate::support::realtime::{Client, realtime_setup, start_raw};
use crate::support::seconds;
use crate::support::service::Service;
use crate::support::speech::{client_command, clients, run, said, sentence};

/// Decoders that waited for more than the end took ten seconds and more for each wait.
const AT_ONCE: std::time::Duration = seconds(8);

/// Seconds of the sentence: "Had he married a".
const LENGTH: &str = "1.8";

/// A client each after the other, with its own patience, as fast as it can.
const NODE: &str = r#"
const fs = require('fs');
const { RealtimeClient } = require('@speechmatics/real-time-client');
const [url, ...files] = process.argv.slice(1);
(async () => {
  for (const file of files) {
    const client = new RealtimeClient({ url });
    let heard = '';
    client.addEventListener('receiveMessage', ({ data }) => {
      if (data.message === 'AddTranscript') heard += data.metadata.transcript;
      if (data.message === 'Error') heard += data.reason;
    });
    await client.start('key', { transcription_config: { language: 'en' }, audio_format: { type: 'file' } });
    const bytes = fs.readFileSync(file);
    for (let at = 0; at < bytes.length; at += 4096) client.sendAudio(bytes.subarray(at, at + 4096));
    try { await client.stopRecognition(); } catch (error) { heard += error; }
    console.log(file + '\t' + heard);
  }
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

const PYTHON: &str = r#"
import asyncio, sys
from speechmatics.rt import AsyncClient, ServerMessageType, TranscriptionConfig
url, *files = sys.argv[1:]
async def main():
    for name in files:
        heard = []
        async with AsyncClient(url=url, api_key="key") as client:
            client.on(ServerMessageType.ADD_TRANSCRIPT,
                      lambda m: heard.append(m["metadata"]["transcript"]))
            try:
                with open(name, "rb") as file:
                    await client.transcribe(
                        file, transcription_config=TranscriptionConfig(language="en"), timeout=10)
            except Exception as error:
                heard.append(repr(error))
        print(name, "".join(heard), sep="\t")
asyncio.run(main())
"#;

/// The forms that can be read while they come, as ffmpeg makes them.
const FORMS: [(&str, &str); 21] = [
    ("plain.wav", ""),
    ("adpcm.wav", "-c:a adpcm_ms"),
    ("mp3.wav", "-c:a libmp3lame"),
    ("long.w64", ""),
    ("a.flac", ""),
    ("flac.ogg", "-c:a flac"),
    ("a.aiff", ""),
    ("a.caf", "-c:a pcm_s16le"),
    ("a.au", ""),
    ("a.mp3", ""),
    ("a.mp2", ""),
    ("a.aac", ""),
    ("vorbis.ogg", "-c:a libvorbis"),
    ("opus.ogg", "-c:a libopus"),
    ("a.webm", "-c:a libopus"),
    ("live.webm", "-c:a libopus -live 1"),
    ("a.mka", "-c:a pcm_mulaw"),
    ("a.m4a", "-movflags +faststart"),
    ("fragments.mp4", "-movflags +frag_keyframe+empty_moov"),
    ("opus.mp4", "-c:a libopus -strict -2 -movflags +faststart"),
    ("a.mov", "-c:a pcm_s24be -movflags +faststart"),
];
/// Those that are made of them: written into a pipe, by a recorder that never finished or told too
/// much, and by a browser that was closed.
const UNUSUAL: [&str; 5] =
    ["piped.wav", "piped.flac", "never-finished.wav", "doubled.wav", "cut.webm"];

/// The beginning of the sentence in this form.
fn form(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let file = path.to_str().expect("a plain path");
    let original = sentence();
    let original = original.to_str().expect("a plain path");
    let read = |name: &str| std::fs::read(form(folder, name)).expect("read");
    match name {
        "piped.wav" | "piped.flac" => {
            let ending = name.rsplit_once('.').expect("an ending").1;
            let script =
                format!("ffmpeg -v error -i '{original}' -t {LENGTH} -f {ending} - >'{file}'");
            run("sh", &["-c", &script]);
        }
        "never-finished.wav" | "doubled.wav" => {
            let size = if name == "doubled.wav" { [0, 0, 8, 0] } else { [0; 4] };
            let mut wav = read("plain.wav");
            let at = wav.windows(4).position(|name| name == b"data").expect("samples") + 4;
            wav[at..at + 4].copy_from_slice(&size);
            std::fs::write(&path, wav).expect("written");
        }
        "cut.webm" => {
            let webm = read("live.webm");
            std::fs::write(&path, &webm[..webm.len() - 300]).expect("written");
        }
        _ => {
            let (_, arguments) = FORMS.iter().find(|(form, _)| *form == name).expect("a form");
            let before = ["-v", "error", "-y", "-i", original, "-t", LENGTH];
            let arguments: Vec<&str> = arguments.split_whitespace().collect();
            run("ffmpeg", &[&before, arguments.as_slice(), &[file]].concat());
        }
    }
    path
}

fn url(service: &Service) -> String {
    service.url("ws", "/v2").replacen("http", "ws", 1)
}

fn all_heard(printed: &str, files: &[PathBuf]) {
    let mut wrong = Vec::new();
    for file in files {
        let file = file.to_str().expect("a plain path");
        let line = printed.lines().find_map(|line| line.strip_prefix(file));
        let heard = line.unwrap_or("nothing printed").to_lowercase();
        // Lossy codecs may cost an ending.
        if !heard.contains("marr") {
            wrong.push(format!("{file}: {heard}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_javascript_client_waits_in_vain_at_the_end_of_no_form() {
    let service = realtime_setup().start();
    let names = FORMS.iter().map(|(name, _)| *name).chain(UNUSUAL);
    let files: Vec<PathBuf> = names.map(|name| form(service.path(), name)).collect();
    let output = client_command(Path::new("node"), &service)
        .args(["-e", NODE, &url(&service)])
        .args(&files)
        .output()
        .expect("node");
    all_heard(&said(output), &files);
}

#[test]
fn the_python_client_waits_in_vain_at_the_end_of_no_form() {
    let service = realtime_setup().start();
    // The other client has tried them all; each takes a second of recognition.
    let files = [
        "plain.wav",
        "piped.wav",
        "never-finished.wav",
        "piped.flac",
        "a.aiff",
        "cut.webm",
        "a.mov",
    ]
    .map(|name| form(service.path(), name));
    let output = client_command(&clients().join("venv/bin/python"), &service)
        .args(["-W", "ignore", "-c", PYTHON, &url(&service)])
        .args(&files)
        .output()
        .expect("python");
    all_heard(&said(output), &files);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_audio_is_told_at_once_and_nothing_at_all_ends_at_once() {
    let service = realtime_setup().start();
    let read = |name: &str| std::fs::read(form(service.path(), name)).expect("read");
    let (wav, webm) = (read("plain.wav"), read("live.webm"));
    let cluster = [0x1f, 0x43, 0xb6, 0x75];
    let later = webm.windows(4).position(|bytes| bytes == cluster).expect("a cluster");
    let transport: Vec<u8> = [&b"G\x40\0\x10"[..], &[0xff; 184]].concat().repeat(50);
    let mp4 = [&b"\0\0\0\x18ftypM4A \0\0\0\0M4A isom\0\x10\0\0mdat"[..], &[7; 5000]].concat();
    let cases = [
        ("twelve bytes of a wav", wav[..12].to_vec()),
        ("a wav cut in its format", wav[..30].to_vec()),
        ("a transport stream", transport),
        ("a later piece of a webm", webm[later..].to_vec()),
        ("a flac cut in its header", read("a.flac")[..20].to_vec()),
        ("an aiff cut in its header", read("a.aiff")[..20].to_vec()),
        ("an mp4 with its index at the end", mp4),
        ("one byte", vec![0]),
    ];
    let mut start = start_raw(&json!({}));
    start["audio_format"] = json!({"type": "file"});
    for (name, bytes) in cases {
        let mut client = Client::connect(&service, "ws", "/v2").await;
        client.say(&start).await;
        client.next_of("RecognitionStarted").await;
        client.audio(&bytes).await;
        let begun = Instant::now();
        client.end().await;
        assert_eq!(client.fails().await, ("invalid_audio_type".to_owned(), 1003), "{name}");
        assert!(begun.elapsed() < AT_ONCE, "{name}: {:?}", begun.elapsed());
    }
    let mut client = Client::connect(&service, "ws", "/v2").await;
    client.say(&start).await;
    client.next_of("RecognitionStarted").await;
    let begun = Instant::now();
    client.end().await;
    client.rest().await;
    assert!(begun.elapsed() < AT_ONCE, "nothing at all: {:?}", begun.elapsed());
}
