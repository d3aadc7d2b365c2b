//! Audio on its way in: large, slow, cut, and more than the disk holds.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::disk::{RESERVE, free, on_a_small_disk, seen_by};
use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::speech::{CONFIG, batch_setup, ended, id_of, job, sentence, submit};
use crate::support::uploads::hex;
use crate::support::{millis, pace, seconds, wait_until, wait_until_blocking};

const MIB: usize = 1 << 20;
const BOUNDARY: &str = "----portcullis-job";

/// The form up to the first byte of the audio, and what follows the last one.
fn form() -> (String, String) {
    let part =
        |head: &str| format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n");
    let before = part("name=\"config\"")
        + CONFIG
        + "\r\n"
        + &part("name=\"data_file\"; filename=\"big.wav\"");
    (before, format!("\r\n--{BOUNDARY}--\r\n"))
}

fn content_type() -> String {
    format!("multipart/form-data; boundary={BOUNDARY}")
}

/// Begins to post a job over TLS; `length` bytes of audio are announced, or none.
async fn begin(service: &Service, length: Option<usize>) -> Connection {
    let (before, after) = form();
    let mut upload = Connection::tls(service.port("https")).await.expect("a connection");
    let framing = match length {
        Some(length) => ("content-length", (before.len() + length + after.len()).to_string()),
        None => ("transfer-encoding", "chunked".to_owned()),
    };
    let headers = [("content-type", content_type()), (framing.0, framing.1)];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    upload.send_head("POST", "/v2/jobs/", &headers).await.expect("a head");
    upload
}

fn incoming(service: &Service) -> usize {
    std::fs::read_dir(service.data_dir().join("jobs/incoming")).map_or(0, Iterator::count)
}

fn kept(service: &Service, id: &str) -> PathBuf {
    service.data_dir().join("jobs/audio").join(id)
}

fn listed(service: &Service) -> usize {
    let jobs = curl(&[&service.url("https", "/v2/jobs")]).expect(200).json();
    jobs["jobs"].as_array().expect("a list").len()
}

/// A file of zeros that takes no room on the disk.
fn sparse(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join(format!("zeros-{bytes}"));
    File::create(&path).and_then(|file| file.set_len(bytes as u64)).expect("a sparse file");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_is_posted_across_twenty_replacements_arrives_whole() {
    let service = batch_setup().quiet().start();
    let authority = CertificateAuthority::new();
    let pairs = [authority.pair_a(), authority.pair_b()];
    let admin = service.admin();
    let (rounds, piece) = (20, 10 * MIB);
    let (before, after) = form();

    let mut upload = begin(&service, Some((rounds + 1) * piece)).await;
    upload.send(before.as_bytes()).await.expect("the form");
    let (mut random, mut digest) = (StdRng::seed_from_u64(20), Sha256::new());
    let mut bytes = vec![0; piece];
    for round in 0..=rounds {
        if round > 0 {
            admin.install(&pairs[round % 2]).await;
        }
        random.fill_bytes(&mut bytes);
        digest.update(&bytes);
        upload.send(&bytes).await.unwrap_or_else(|err| panic!("cut in round {round}: {err}"));
    }
    upload.send(after.as_bytes()).await.expect("the end of the form");
    let answer = upload.answer().await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();

    let sent = hex(&digest.finalize());
    let mut stored = Sha256::new();
    let mut file = File::open(kept(&service, &id)).expect("the stored audio");
    let length = std::io::copy(&mut file, &mut stored).expect("read it");
    assert_eq!(length as usize, (rounds + 1) * piece);
    assert_eq!(hex(&stored.finalize()), sent);
    drop(upload);
    admin.until_drained().await;
}

/// What is slow is not cut, what is silent holds no place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upload_succeeds_and_hundreds_of_silent_ones_delay_nobody() {
    let service = batch_setup().quiet().start();
    let audio = std::fs::read(sentence()).expect("the sentence");
    let (before, after) = form();
    let mut silent = Vec::new();
    for _ in 0..300 {
        let mut upload = begin(&service, Some(MIB)).await;
        upload.send(before.as_bytes()).await.expect("half a body");
        silent.push(upload);
    }
    wait_until("all uploads have begun", seconds(30), async || incoming(&service) == 300).await;

    let mut slow = begin(&service, Some(audio.len())).await;
    slow.send(before.as_bytes()).await.expect("the form");
    for piece in audio.chunks(audio.len() / 40 + 1) {
        slow.send(piece).await.expect("a piece");
        pace(millis(100)).await;
    }
    slow.send(after.as_bytes()).await.expect("the end");
    let answer = slow.answer().await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let done = tokio::task::block_in_place(|| ended(&service, &id));
    assert_eq!(done["status"], "done", "{done}");

    drop(silent);
    wait_until("nothing of the silent ones is left", seconds(30), async || incoming(&service) == 0)
        .await;
    assert_eq!(listed(&service), 1);
}

/// A curl in the middle of an upload that would go on for minutes.
fn endless(service: &Service, file: &Path) -> Child {
    Command::new("curl")
        .args(["-sk", "--limit-rate", "2M", "-o", "/dev/null", "-F"])
        .arg(format!("data_file=@{}", file.display()))
        .args(["-F", &format!("config={CONFIG}"), &service.url("https", "/v2/jobs/")])
        .stdin(Stdio::null())
        .spawn()
        .expect("the curl command")
}

#[test]
fn uploads_whose_clients_vanish_leave_nothing_behind_also_across_a_restart() {
    let service = batch_setup().quiet().start();
    let big = sparse(service.path(), 1024 * MIB);
    let id = submit(&service, &sentence());
    ended(&service, &id);
    let before = service.usage().descriptors;
    for _ in 0..5 {
        let mut clients: Vec<Child> = (0..4).map(|_| endless(&service, &big)).collect();
        wait_until_blocking("all uploads have begun", seconds(20), || incoming(&service) == 4);
        for client in &mut clients {
            client.kill().and_then(|()| client.wait().map(drop)).expect("kill curl");
        }
        wait_until_blocking("nothing of them is left", seconds(20), || incoming(&service) == 0);
    }
    wait_until_blocking("descriptors are back", seconds(20), || {
        service.usage().descriptors <= before
    });
    let mut client = endless(&service, &big);
    wait_until_blocking("the upload has begun", seconds(20), || incoming(&service) == 1);
    let installation = service.kill();
    assert_eq!(
        std::fs::read_dir(installation.data_dir().join("jobs/incoming")).unwrap().count(),
        1
    );
    let service = installation.start();
    client.kill().and_then(|()| client.wait().map(drop)).expect("kill curl");
    assert_eq!(incoming(&service), 0);
    assert_eq!(std::fs::read_dir(service.data_dir().join("jobs/audio")).unwrap().count(), 1);
    assert_eq!(listed(&service), 1);
}

/// The parts that need no gigabytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chunked_upload_arrives_whole_and_a_cut_one_never_counts() {
    let service = batch_setup().quiet().start();
    let (before, after) = form();
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let mut cut = begin(&service, None).await;
    // The form is complete, the body is not: its last chunk never comes.
    for piece in [before.as_bytes(), b"some audio", after.as_bytes()] {
        cut.send(&chunk(piece)).await.expect("a chunk");
    }
    wait_until("the upload has begun", seconds(10), async || incoming(&service) == 1).await;
    drop(cut);
    wait_until("nothing of it is left", seconds(10), async || incoming(&service) == 0).await;
    assert_eq!(listed(&service), 0);

    let mut whole = begin(&service, None).await;
    let audio = std::fs::read(sentence()).expect("the sentence");
    whole.send(&chunk(before.as_bytes())).await.expect("a chunk");
    for piece in audio.chunks(10_000) {
        whole.send(&chunk(piece)).await.expect("a chunk");
    }
    whole.send(&chunk(after.as_bytes())).await.expect("a chunk");
    whole.send(b"0\r\n\r\n").await.expect("the last chunk");
    let answer = whole.answer().await.expect("an answer");
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(std::fs::read(kept(&service, "1")).expect("the stored audio"), audio);
}

#[test]
fn a_large_job_is_not_kept_in_memory() {
    let service = batch_setup().quiet().start();
    let big = sparse(service.path(), 320 * MIB);
    for extra in [&["--http1.1"][..], &["--http2"], &["-H", "Transfer-Encoding: chunked"]] {
        let (file, config) = (format!("data_file=@{}", big.display()), format!("config={CONFIG}"));
        let url = service.url("https", "/v2/jobs/");
        let id =
            id_of(&curl(&[&["-F", &file, "-F", &config, &url][..], extra].concat()).expect(201));
        let length = std::fs::metadata(kept(&service, &id)).expect("the stored audio").len();
        assert_eq!(length, 320 * MIB as u64, "{extra:?}");
        curl(&["-X", "DELETE", &service.url("https", &format!("/v2/jobs/{id}?force=true"))])
            .expect(200);
        assert!(!kept(&service, &id).exists());
    }
    let peak = service.usage().peak_kib;
    assert!(peak < 300 * 1024, "{peak} KiB of memory");
}

#[test]
fn a_full_disk_is_told_with_what_to_do_and_leaves_nothing_behind() {
    let setup = batch_setup().quiet();
    // 100 MiB beside the reserve, of which unfinished uploads of one address may hold half.
    let Some(setup) = on_a_small_disk(setup, "data/jobs", 228, None) else { return };
    let service = setup.start();
    let folder = seen_by(&service, "data/jobs");
    let disk = || {
        let url = service.url("https", "/v2/management/diskinfo");
        let disks = curl_as("admin", &[&url]).expect(200).json();
        disks["disks"][1]["used_kb"].as_u64().expect("a number")
    };
    let [small, large, too_large] =
        [1, 30, 150].map(|mebibytes| sparse(service.path(), mebibytes * MIB));
    let post = |file: &Path, extra: &[&str]| {
        let file = format!("data_file=@{}", file.display());
        let (config, url) = (format!("config={CONFIG}"), service.url("https", "/v2/jobs/"));
        curl(&[&["--http1.1", "-F", &file, "-F", &config, &url][..], extra].concat())
    };
    let chunked = ["-H", "Transfer-Encoding: chunked"];
    let empty = disk();
    // It would not fit: refused before; it turns out not to fit: refused while it comes.
    for extra in [&[][..], &chunked] {
        let refused = post(&too_large, extra).expect(507).json();
        assert_eq!(refused["error"], "Internal Server Error");
        let detail = refused["detail"].as_str().expect("a detail");
        assert!(detail.contains("the disk is full") && detail.contains("delete jobs"), "{detail}");
        assert!(disk() < empty + 64, "something is left: {} KiB, {empty} before", disk());
    }
    // Each of these would fit alone; together they do not.
    let replies = std::thread::scope(|scope| {
        let posts = || post(&large, &chunked);
        let all: Vec<_> = (0..4).map(|_| scope.spawn(posts)).collect();
        all.into_iter().map(|one| one.join().expect("a client")).collect::<Vec<_>>()
    });
    let statuses: Vec<u64> = replies.iter().map(|reply| reply.status).collect();
    assert!(statuses.iter().all(|status| [201, 507].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&507), "{statuses:?}: the disk did not fill up");
    let mut taken: Vec<String> =
        replies.iter().filter(|reply| reply.status == 201).map(id_of).collect();
    // They may have refused each other; one after the other finds what room there is.
    let refused = loop {
        let reply = post(&large, &chunked);
        if reply.status != 201 {
            break reply;
        }
        taken.push(id_of(&reply));
    };
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert_eq!(taken.len(), 2, "of 100 MiB, then 70, then 40, half is to be had");
    assert_eq!(listed(&service), taken.len());
    for id in &taken {
        ended(&service, id);
    }
    // Somebody else takes what room is left.
    let filler = folder.join("filler");
    let rest = (free(&folder) - RESERVE) as usize;
    std::fs::write(&filler, vec![1; rest + MIB]).expect("room for it");
    post(&small, &[]).expect(507);
    let health = curl_as("admin", &[&service.url("https", "/v2/management/health")]);
    let storage = health.expect(200).json()["storage"].clone();
    let error = storage["errors"][0].as_str().unwrap_or_default();
    assert!(error.contains("delete jobs"), "{storage}");
    std::fs::remove_file(&filler).expect("remove it");
    for id in taken {
        assert_eq!(job(&service, &id)["data_name"], format!("zeros-{}", 30 * MIB));
        let url = service.url("https", &format!("/v2/jobs/{id}?force=true"));
        curl(&["-X", "DELETE", &url]).expect(200);
    }
    wait_until_blocking("the room is free again", seconds(10), || disk() < empty + 1024);
    assert_eq!(ended(&service, &submit(&service, &sentence()))["status"], "done");
}
