//! Audio in every form, and what is no audio.

use std::path::{Path, PathBuf};

use crate::support::curl::curl;
use crate::support::service::Service;
use crate::support::speech::{batch_setup, ended, run, sentence, submit, transcript, words};

/// The forms that are understood, as sox makes them and as ffmpeg does.
const BY_SOX: [(&str, &str); 9] = [
    ("8bit.wav", "-b 8 -e unsigned"),
    ("24bit.wav", "-b 24 -r 48000"),
    ("float.wav", "-b 32 -e floating-point"),
    ("mulaw.wav", "-e mu-law"),
    ("alaw.wav", "-e a-law"),
    ("adpcm.wav", "-e ms-adpcm"),
    ("stereo.wav", "-r 44100 -c 2"),
    ("plain.aiff", ""),
    ("plain.flac", ""),
];
const BY_FFMPEG: [(&str, &str); 16] = [
    ("a.mp3", "-c:a libmp3lame -b:a 64k"),
    ("a.aac", "-c:a aac -b:a 96k"),
    ("a.m4a", "-c:a aac -b:a 96k"),
    ("a.mp4", "-c:a aac -b:a 96k -movflags +faststart"),
    ("vorbis.ogg", "-c:a libvorbis -q:a 5"),
    ("opus.ogg", "-c:a libopus -b:a 48k"),
    ("opus.webm", "-c:a libopus -b:a 48k"),
    ("vorbis.webm", "-c:a libvorbis -q:a 5"),
    ("a.mka", "-c:a flac"),
    ("samples.mkv", "-c:a pcm_s16le"),
    ("s24be.mov", "-c:a pcm_s24be"),
    ("f32be.mov", "-c:a pcm_f32be"),
    ("mulaw.mov", "-c:a pcm_mulaw"),
    ("opus.mp4", "-c:a libopus -strict -2"),
    ("alac.caf", "-c:a alac"),
    ("a.au", "-c:a pcm_s16be"),
];

/// The sentence in this form.
fn form(folder: &Path, name: &str) -> PathBuf {
    let (original, made) = (sentence(), folder.join(name));
    let [from, to] = [&original, &made].map(|path| path.to_str().expect("a plain path"));
    let split = |arguments: &'static str| arguments.split_whitespace();
    let named = |(form, _): &&(&str, &str)| *form == name;
    if let Some((_, arguments)) = BY_SOX.iter().find(named) {
        let arguments = [from].into_iter().chain(split(arguments)).chain([to]);
        run("sox", &arguments.collect::<Vec<_>>());
    } else {
        let (_, arguments) = BY_FFMPEG.iter().find(named).expect("a form");
        let before = ["-v", "error", "-y", "-i", from];
        let arguments = before.into_iter().chain(split(arguments)).chain([to]);
        run("ffmpeg", &arguments.collect::<Vec<_>>());
    }
    made
}

/// The sentence in every form that is understood.
fn forms(folder: &Path) -> Vec<PathBuf> {
    let names = BY_SOX.iter().chain(&BY_FFMPEG).map(|(name, _)| *name);
    let mut made: Vec<PathBuf> = names.map(|name| form(folder, name)).collect();
    // As a program writes it that does not know yet how much will come.
    let streamed = folder.join("streamed.wav");
    let (original, to) = (sentence(), streamed.display());
    let from = original.display();
    run("sh", &["-c", &format!("ffmpeg -v error -i '{from}' -f wav - >'{to}'")]);
    made.push(streamed);
    // The name says nothing: the content does.
    let nameless = folder.join("nameless");
    std::fs::copy(folder.join("a.mp3"), &nameless).expect("copy");
    made.push(nameless);
    made
}

#[test]
fn every_form_gives_the_same_words() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    let files = forms(folder.path());
    let jobs: Vec<String> = files.iter().map(|file| submit(&service, file)).collect();
    let original = submit(&service, &sentence());
    ended(&service, &original);
    let expected = words(&transcript(&service, &original, "txt"));
    let mut wrong = Vec::new();
    for (file, id) in files.iter().zip(&jobs) {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let job = ended(&service, id);
        if job["status"] != "done" {
            wrong.push(format!("{name}: {job}"));
            continue;
        }
        let heard = words(&transcript(&service, id, "txt"));
        let same = heard.iter().zip(&expected).filter(|(heard, said)| heard == said).count();
        // Eight bits and lossy codecs may cost a word.
        if heard.len().abs_diff(expected.len()) > 1 || same + 1 < expected.len() {
            wrong.push(format!("{name}: {heard:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Files that are damaged, each in its own way.
fn damaged(folder: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &str| std::fs::read(form(folder, name)).expect("read");
    let (wav, mp3, m4a) = (std::fs::read(sentence()).expect("read"), read("a.mp3"), read("a.m4a"));
    let (flac, ogg, webm) = (read("plain.flac"), read("vorbis.ogg"), read("opus.webm"));
    let noise: Vec<u8> =
        (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let patched = |bytes: &[u8], at: usize, with: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let beginning = |bytes: &[u8], count: usize| bytes[..count].to_vec();
    let with_noise = |head: &[u8]| [head, &noise].concat();
    // Headers that are right as far as they go, and go on for ever.
    let endless = |head: &[u8], piece: &[u8]| [head, &piece.repeat(500_000)].concat();
    vec![
        ("empty", Vec::new()),
        ("one byte", vec![b'R']),
        ("text", b"this is no audio ".repeat(5000)),
        ("zeros", vec![0; 1 << 20]),
        ("html", b"<!DOCTYPE html><html><body>404</body></html>".to_vec()),
        ("wav header alone", beginning(&wav, 44)),
        ("wav cut in its header", beginning(&wav, 30)),
        ("wav of endless chunks", endless(&wav[..12], b"LIST\x04\0\0\0INFO")),
        ("mp4 of endless boxes", endless(&m4a[..32], b"\0\0\0\x0cfreexxxx")),
        ("flac of endless blocks", endless(&flac[..42], b"\x01\0\0\x04xxxx")),
        ("wav without channels", patched(&wav, 22, &[0, 0])),
        ("wav with too many channels", patched(&wav, 22, &[0xff, 0xff])),
        ("wav without a rate", patched(&wav, 24, &[0; 4])),
        ("wav of an unknown codec", patched(&wav, 20, &[0x34, 0x12])),
        ("wav of no bits", patched(&wav, 34, &[0, 0])),
        ("mp4 header and noise", with_noise(&m4a[..32])),
        ("mp4 with a giant box", patched(&m4a, 28, &[0xff; 8])),
        ("flac header and noise", with_noise(&flac[..42])),
        ("flac cut in its header", beginning(&flac, 20)),
        ("ogg cut in its header", beginning(&ogg, 100)),
        ("ogg with a wrong version", patched(&ogg, 4, &[9])),
        ("webm cut in its header", beginning(&webm, 60)),
        ("id3 without an end", [&b"ID3\x04\0\0\x7f\x7f\x7f\x7f"[..], &noise].concat()),
        ("mp3 tag alone", beginning(&mp3, 10)),
        ("zip", with_noise(b"PK\x03\x04\x14\0\0\0\x08\0")),
    ]
}

#[test]
fn damaged_files_are_rejected_with_a_reason_and_harm_nobody() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    let file = folder.path().join("damaged");
    let mut jobs = Vec::new();
    for (name, bytes) in damaged(folder.path()) {
        std::fs::write(&file, bytes).expect("write");
        jobs.push((name, submit(&service, &file)));
    }
    let mut wrong = Vec::new();
    for (name, id) in &jobs {
        let job = ended(&service, id);
        let reason = job["errors"][0]["message"].as_str().unwrap_or_default();
        eprintln!("{name}: {} {reason}", job["status"]);
        if job["status"] != "rejected" || !reason.contains("invalid audio: ") {
            wrong.push(format!("{name}: {job}"));
        }
        let path = format!("/v2/jobs/{id}/transcript");
        assert_eq!(curl(&[&service.url("https", &path)]).json()["error"], "Job rejected");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    alive(&service);
}

/// A few kilobytes that unfold to an hour.
#[test]
fn audio_beyond_the_longest_is_rejected_while_it_is_decoded() {
    let service = batch_setup().settings("speech.longest_audio = \"60s\"").start();
    let folder = tempfile::tempdir().expect("tempdir");
    let bomb = folder.path().join("bomb.flac");
    let bomb = bomb.to_str().expect("a plain path");
    run("sox", &["-D", "-n", "-r", "16000", "-b", "16", bomb, "trim", "0", "3600"]);
    assert!(std::fs::metadata(bomb).expect("the file").len() < 2_000_000);
    let job = ended(&service, &submit(&service, Path::new(bomb)));
    assert_eq!(job["status"], "rejected", "{job}");
    let reason = job["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(reason.contains("longer than 60 s"), "{job}");
    alive(&service);
}

fn alive(service: &Service) {
    let id = submit(service, &sentence());
    assert_eq!(ended(service, &id)["status"], "done");
}
