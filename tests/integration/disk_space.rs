//! Room on the disk: the state always has some, and what strangers send leaves the reserve.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::disk::{RESERVE, fill, free, on_a_small_disk, seen_by};
use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::speech::{CONFIG, batch_setup, id_of, sentence};
use crate::support::{seconds, wait_until};

const MIB: usize = 1 << 20;

#[test]
fn the_state_can_be_changed_on_a_disk_that_is_full() {
    let setup = Service::portcullis().quiet();
    let Some(setup) = on_a_small_disk(setup, "data", 64, None) else { return };
    let service = setup.start();
    let data = seen_by(&service, "data");
    fill(&data.join("filler"));
    assert_eq!(free(&data), 0);
    let url = |path: &str| service.url("https", path);
    let password = url("/v2/security/adminpassword");
    let mut current = "admin".to_owned();
    // More changes than revisions are kept: what a change takes, an old revision gives back.
    for round in 0..25 {
        let next = format!("password-{round}");
        let body = format!("{{\"password\": \"{next}\"}}");
        curl_as(&current, &["-d", &body, &password]).expect(200);
        curl_as(&next, &[&password]).expect(200);
        current = next;
        // Whatever room there is, somebody else takes it.
        fill(&data.join(format!("filler-{round}")));
    }
    curl_as(&current, &["-X", "DELETE", &url("/v2/security/reset")]).expect(200);
    curl_as("admin", &[&password]).expect(200);
    let kept = std::fs::metadata(data.join("state/reserve")).expect("still some in advance").len();
    assert!(kept >= 256 << 10, "{kept} bytes");

    // With room again, all of it is kept again from the next change on.
    for entry in std::fs::read_dir(&data).expect("the data directory").flatten() {
        if entry.file_name().to_string_lossy().starts_with("filler") {
            std::fs::remove_file(entry.path()).expect("remove a filler");
        }
    }
    curl_as("admin", &["-d", "{\"password\": \"roomy\"}", &password]).expect(200);
    let kept = std::fs::metadata(data.join("state/reserve")).expect("all of it").len();
    assert_eq!(kept, 8 << 20);
}

#[test]
fn the_state_can_be_changed_where_no_inode_is_left() {
    let setup = Service::portcullis().quiet();
    let Some(setup) = on_a_small_disk(setup, "data", 64, Some(600)) else { return };
    let service = setup.start();
    let data = seen_by(&service, "data");
    let url = |path: &str| service.url("https", path);
    let password = url("/v2/security/adminpassword");
    let mut current = "admin".to_owned();
    for round in 0..5 {
        // Whatever an old revision gave back, somebody else takes it.
        let all = (0..).find(|n| File::create(data.join(format!("filler-{round}-{n}"))).is_err());
        assert!(all.is_some());
        let next = format!("password-{round}");
        let body = format!("{{\"password\": \"{next}\"}}");
        curl_as(&current, &["-d", &body, &password]).expect(200);
        curl_as(&next, &[&password]).expect(200);
        current = next;
    }
    curl_as(&current, &["-X", "DELETE", &url("/v2/security/reset")]).expect(200);
    curl_as("admin", &[&password]).expect(200);
}

/// A file of zeros that takes no room on the disk of the test.
fn sparse(folder: &Path, bytes: usize) -> PathBuf {
    let path = folder.join(format!("zeros-{bytes}"));
    File::create(&path).and_then(|file| file.set_len(bytes as u64)).expect("a sparse file");
    path
}

fn post(service: &Service, file: &Path, extra: &[&str]) -> Reply {
    let (file, config) = (format!("data_file=@{}", file.display()), format!("config={CONFIG}"));
    let url = service.url("https", "/v2/jobs");
    curl(&[&["--http1.1", "-F", &file, "-F", &config, &url][..], extra].concat())
}

#[test]
fn what_strangers_send_leaves_the_reserve_all_together() {
    let allow = "outbound.allow = [\"127.0.0.0/8\"]";
    let setup = batch_setup().quiet().settings(allow);
    let Some(setup) = on_a_small_disk(setup, "data", 320, None) else { return };
    let service = setup.start();
    let data = seen_by(&service, "data");
    let scratch = tempfile::tempdir().expect("tempdir");
    // Nothing listens there: such a job is a configuration and nothing else.
    let details = "z".repeat(60 << 10);
    let config = scratch.path().join("config");
    let text = format!(
        r#"{{"type":"transcription","transcription_config":{{"language":"en"}},"fetch_data":{{"url":"http://127.0.0.1:9/"}},"tracking":{{"details":{{"a":"{details}"}}}}}}"#
    );
    std::fs::write(&config, text).expect("write");
    let config = format!("config=<{}", config.display());
    let audio = sparse(scratch.path(), 30 * MIB);
    let (statuses, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let note = |reply: Reply| {
        if reply.status == 507 {
            assert!(reply.body.contains("the disk is full"), "{}", reply.body);
        }
        statuses.lock().unwrap().push(reply.status);
    };
    let least = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut least = u64::MAX;
            while !over.load(Ordering::Relaxed) {
                least = least.min(free(&data));
                std::thread::yield_now();
            }
            least
        });
        let uploads: Vec<_> = (0..6)
            .map(|number| {
                let chunked: &[&str] = &["-H", "Transfer-Encoding: chunked"];
                let extra = if number % 2 == 0 { chunked } else { &[] };
                let (service, audio, note) = (&service, &audio, &note);
                scope.spawn(move || (0..3).for_each(|_| note(post(service, audio, extra))))
            })
            .collect();
        let configs: Vec<_> = (0..2)
            .map(|_| {
                let url = service.url("https", "/v2/jobs");
                let (config, note) = (&config, &note);
                scope.spawn(move || (0..100).for_each(|_| note(curl(&["-F", config, &url]))))
            })
            .collect();
        for thread in uploads.into_iter().chain(configs) {
            thread.join().expect("a client");
        }
        over.store(true, Ordering::Relaxed);
        watch.join().expect("the watch")
    });
    // The log, the audit record and small changes of rows are what the reserve is for.
    assert!(least > RESERVE - (8 << 20), "{least} bytes were left");
    let statuses = statuses.into_inner().unwrap();
    let count = |status| statuses.iter().filter(|seen| **seen == status).count();
    assert!(statuses.iter().all(|status| [201, 507].contains(status)), "{statuses:?}");
    assert!(count(201) > 0 && count(507) > 0, "{statuses:?}");
    let password = service.url("https", "/v2/security/adminpassword");
    curl_as("admin", &["-d", "{\"password\": \"still\"}", &password]).expect(200);
    curl_as("still", &["-X", "DELETE", &service.url("https", "/v2/security/reset")]).expect(200);
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    let refused = format!("appliance_jobs_refused_total{{reason=\"disk\"}} {}", count(507));
    assert!(metrics.contains(&refused), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_uploads_of_one_address_leave_room_for_another() {
    let setup = batch_setup().quiet();
    let Some(setup) = on_a_small_disk(setup, "data/jobs", 228, None) else { return };
    let service = setup.start();
    let jobs = seen_by(&service, "data/jobs");
    let room = free(&jobs) - RESERVE;
    let head = format!(
        "--b\r\nContent-Disposition: form-data; name=\"config\"\r\n\r\n{CONFIG}\r\n--b\r\nContent-Disposition: form-data; name=\"data_file\"; filename=\"big.wav\"\r\n\r\n"
    );
    let length = (200 * MIB).to_string();
    let headers =
        [("content-type", "multipart/form-data; boundary=b"), ("transfer-encoding", "chunked")];
    let chunk =
        |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    // An announcement that does not fit is refused before it is sent; one that fits holds nothing.
    let mut announced = Connection::tls(service.port("https")).await.expect("a connection");
    let framing = [headers[0], ("content-length", &*length)];
    announced.send_head("POST", "/v2/jobs", &framing).await.expect("a head");
    announced.send(head.as_bytes()).await.expect("the form");
    let refused = announced.answer().await.expect("an answer");
    assert_eq!(refused.status, 507, "{}", refused.text());

    let mut held = Vec::new();
    let piece = vec![0; MIB];
    for _ in 0..3 {
        let mut upload = Connection::tls(service.port("https")).await.expect("a connection");
        upload.send_head("POST", "/v2/jobs", &headers).await.expect("a head");
        upload.send(&chunk(head.as_bytes())).await.expect("the form");
        for _ in 0..14 {
            upload.send(&chunk(&piece)).await.expect("a piece");
        }
        held.push(upload);
    }
    wait_until("42 MiB have come", seconds(30), async || free(&jobs) < RESERVE + room - (41 << 20))
        .await;
    // So much is free, and yet it is too much for this address; another one may have it.
    let audio = sparse(service.path(), 12 * MIB);
    let (own, other) = tokio::task::block_in_place(|| {
        let from = |address| post(&service, &audio, &["--interface", address]);
        (from("127.0.0.1"), from("127.0.0.2"))
    });
    assert_eq!(own.status, 507, "{}", own.body);
    assert!(own.body.contains("half of what is free"), "{}", own.body);
    id_of(&other.expect(201));
    // Small files find room all the same.
    let small = tokio::task::block_in_place(|| post(&service, &sentence(), &[]));
    id_of(&small.expect(201));
    drop(held);
    wait_until("its room is free again", seconds(30), async || {
        free(&jobs) > RESERVE + room - (20 << 20)
    })
    .await;
    let again = tokio::task::block_in_place(|| post(&service, &audio, &[]));
    id_of(&again.expect(201));
}

#[test]
fn files_are_bounded_like_bytes() {
    let setup = batch_setup().quiet();
    let Some(setup) = on_a_small_disk(setup, "data/jobs", 200, Some(1060)) else { return };
    let service = setup.start();
    let mut made = 0;
    let refused = loop {
        let reply = post(&service, &sentence(), &[]);
        if reply.status != 201 {
            break reply;
        }
        made += 1;
        assert!(made < 60, "a thousand files are kept for the appliance");
    };
    assert_eq!(refused.status, 507, "{}", refused.body);
    assert!(refused.body.contains("inodes"), "{}", refused.body);
    assert!(made > 0);
}
