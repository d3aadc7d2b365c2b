//! Memory that a load has taken is given back.

use std::path::PathBuf;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::http::open;
use crate::support::realtime::{Client, realtime_setup, samples, text};
use crate::support::service::Service;
use crate::support::speech::{ended, long_recording, run, sentence, submit, transcript};
use crate::support::{seconds, wait_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_a_load_is_given_back_soon_after_it() {
    let service = Service::echo().quiet().start();
    let before = service.usage().resident_kib;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(open(service.port("https"), true).await.expect("a connection"));
    }
    let loads = (0..150).map(|number| {
        let secure = number % 2 == 0;
        let port = service.port(if secure { "https" } else { "http" });
        tokio::spawn(async move {
            let mut stream = open(port, secure).await.expect("a connection");
            let request = b"GET /echo/slow?bytes=6000000&seconds=0.2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            stream.write_all(request).await.expect("a request");
            let mut buffer = vec![0; 64 << 10];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
        })
    });
    for load in loads.collect::<Vec<_>>() {
        load.await.expect("a download");
    }
    drop(idle);
    // What is touched once, code and tables, stays.
    let bound = before * 13 / 10 + (24 << 10);
    wait_until("memory is back", seconds(60), async || service.usage().resident_kib <= bound).await;
}

/// The recording in forms that are decoded in different ways.
fn forms(service: &Service) -> Vec<PathBuf> {
    let forms = [
        ("8k.wav", "-ar 8000 -c:a pcm_mulaw"),
        ("96k.wav", "-ar 96000 -ac 2 -c:a pcm_s24le"),
        ("stereo.flac", "-ar 48000 -ac 2"),
        ("voice.mp3", "-ar 44100 -b:a 64k"),
        ("voice.opus", "-c:a libopus"),
        ("voice.m4a", "-ar 48000 -c:a aac"),
    ];
    let (from, folder) = (sentence(), service.path());
    let make = |(name, how): (&str, &str)| {
        let to = folder.join(name);
        let (from, target) = (from.to_str().expect("plain"), to.to_str().expect("plain"));
        let mut words = vec!["-nostdin", "-v", "error", "-i", from];
        words.extend(how.split(' ').chain([target]));
        run("ffmpeg", &words);
        to
    };
    let mut files: Vec<PathBuf> = forms.into_iter().map(make).collect();
    files.extend([sentence(), long_recording(folder, 5)]);
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_of_jobs_and_sessions_is_given_back_soon_after_them() {
    let service = realtime_setup().quiet().start();
    // From the start on the model is there.
    let first = tokio::task::block_in_place(|| {
        let first = submit(&service, &sentence());
        ended(&service, &first)
    });
    assert_eq!(first["status"], "done", "{first}");
    let at_rest = async |what: &str, bound: usize| {
        wait_until(what, seconds(120), async || service.usage().resident_kib <= bound).await;
        service.usage().resident_kib
    };
    let busy = service.usage().resident_kib;
    // What one decode needs is given back, which is more than 30 MiB.
    let before = at_rest("memory of one decode is back", busy - (30 << 10)).await;
    tokio::task::block_in_place(|| {
        let files = forms(&service);
        let jobs: Vec<_> =
            files.iter().cycle().take(16).map(|file| submit(&service, file)).collect();
        for id in jobs {
            let job = ended(&service, &id);
            assert_eq!(job["status"], "done", "{job}");
            assert!(transcript(&service, &id, "txt").contains("respectable"));
        }
    });
    let audio = samples(&sentence());
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let mut session = Client::session(&service, &json!({"enable_partials": true})).await;
        session.audio(&audio).await;
        sessions.push(session);
    }
    for mut session in sessions {
        session.end().await;
        let said = text(&session.rest().await);
        assert!(said.contains("respectable"), "{said}");
    }
    at_rest("memory of jobs and sessions is back", before * 13 / 10).await;
}
