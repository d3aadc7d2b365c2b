//! The job store: damaged, full of configurations, and under a clock that is set.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::service::Service;
use crate::support::shim::Shim;
use crate::support::speech::{
    CONFIG, batch_setup, ended, id_of, job, long_recording, post, sentence, submit, transcript,
};
use crate::support::{seconds, wait_until_blocking};

fn asked(service: &Service, path: &str) -> Reply {
    curl(&[&service.url("https", path)])
}

fn health(service: &Service) -> Value {
    curl_as("admin", &[&service.url("https", "/v2/management/health")]).expect(200).json()
}

/// How often it was looked for jobs to clear away.
fn clean_ups(service: &Service) -> u64 {
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    let found = metrics.lines().find(|line| line.starts_with("appliance_jobs_clean_ups_total"));
    found.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_clock_that_is_set_clears_no_transcript_away() {
    let day = 24 * 3600;
    let (shim, installation) = (Shim::new(), batch_setup().prepare());
    // As after a start without a battery.
    shim.set_clock_off_by(-10 * 365 * day);
    let mut command = installation.command();
    shim.attach(&mut command, &installation.data_dir());
    let service = installation.try_start_by(command).map_err(|refused| refused.stderr).unwrap();
    let id = submit(&service, &sentence());
    assert_eq!(ended(&service, &id)["status"], "done");
    let looked_again = || {
        // The look that goes on now may have begun before.
        let after = clean_ups(&service) + 2;
        wait_until_blocking("it was looked twice", seconds(60), || clean_ups(&service) >= after);
    };
    for off_by in [0, 40 * day, -10 * 365 * day] {
        shim.set_clock_off_by(off_by);
        looked_again();
        assert_eq!(asked(&service, &format!("/v2/jobs/{id}")).status, 200, "{off_by}");
        assert!(transcript(&service, &id, "txt").contains("respectable"), "{off_by}");
        assert!(service.data_dir().join("jobs/audio").join(&id).exists(), "{off_by}");
    }
    // By age it does go, whatever the clock says: none has passed that is worth a minute.
    let url = service.url("https", "/v2/management/cleanupinterval");
    curl_as("admin", &["-d", "{\"minutes\": 1}", &url]).expect(200);
    wait_until_blocking("it is a minute old", seconds(120), || {
        asked(&service, &format!("/v2/jobs/{id}")).status == 410
    });
}

type Damage = fn(&Path);

#[test]
fn a_damaged_job_store_keeps_nobody_else_down_and_loses_nothing() {
    let damages: [(&str, Damage); 5] = [
        ("no SQLite database", |jobs| fs::write(jobs.join("jobs.sqlite"), [7; 9000]).unwrap()),
        ("is empty", |jobs| fs::write(jobs.join("jobs.sqlite"), "").unwrap()),
        ("is missing", |jobs| fs::remove_file(jobs.join("jobs.sqlite")).unwrap()),
        ("not a file", |jobs| {
            fs::remove_file(jobs.join("jobs.sqlite")).unwrap();
            fs::create_dir(jobs.join("jobs.sqlite")).unwrap();
        }),
        ("jobs.sqlite", |jobs| {
            let file = fs::File::options().write(true).open(jobs.join("jobs.sqlite")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
    ];
    let service = batch_setup().start();
    let id = submit(&service, &sentence());
    ended(&service, &id);
    let mut installation = service.stop();
    let jobs = installation.data_dir().join("jobs");
    let sound = fs::read(jobs.join("jobs.sqlite")).expect("the database");
    let audio = fs::read(jobs.join("audio").join(&id)).expect("the audio");
    for (told, damage) in damages {
        damage(&jobs);
        let service = installation.start();
        let refused = post(&service, &sentence(), CONFIG).expect(503);
        assert!(refused.header("retry-after").is_some(), "{told}: {}", refused.headers);
        let detail = refused.json()["detail"].as_str().expect("a detail").to_owned();
        assert!(detail.contains("cannot be opened") && !detail.contains('/'), "{told}: {detail}");
        asked(&service, "/v2/jobs").expect(503);
        let batch = health(&service)["batch"].clone();
        assert_eq!(batch["status"], "unhealthy", "{told}: {batch}");
        let error = batch["errors"][0].as_str().expect("an error");
        assert!(error.contains(told) && error.contains("mv "), "{told}: {error}");
        let url = service.url("https", "/v2/security/adminpassword");
        curl_as("admin", &["-d", "{\"password\": \"admin\"}", &url]).expect(200);
        assert_eq!(fs::read(jobs.join("audio").join(&id)).expect("kept"), audio, "{told}");
        installation = service.stop();
        assert_eq!(fs::read(jobs.join("audio").join(&id)).expect("kept"), audio, "{told}");
        let path = jobs.join("jobs.sqlite");
        if path.is_dir() {
            fs::remove_dir(&path).expect("remove the folder");
        }
        fs::write(&path, &sound).expect("put a backup back");
    }

    // With its backup it is as it was; without, it begins anew by what the text says.
    let service = installation.start();
    assert!(transcript(&service, &id, "txt").contains("respectable"));
    installation = service.stop();
    fs::remove_file(jobs.join("jobs.sqlite")).expect("remove the database");
    let service = installation.start();
    asked(&service, "/v2/jobs").expect(503);
    fs::rename(&jobs, service.data_dir().join("jobs.damaged")).expect("as the text says");
    wait_until_blocking("jobs are served again", seconds(60), || {
        asked(&service, "/v2/jobs").status == 200
    });
    let anew = submit(&service, &sentence());
    assert_eq!(ended(&service, &anew)["status"], "done");
    assert!(health(&service)["batch"]["errors"].is_null());
    let kept = service.data_dir().join("jobs.damaged/audio").join(&id);
    assert_eq!(fs::read(kept).expect("kept"), audio);
}

#[test]
fn a_list_of_many_jobs_is_whole_and_costs_little_memory() {
    const JOBS: u64 = 2000;
    let installation = batch_setup().quiet().start().stop();
    let database = rusqlite::Connection::open(installation.data_dir().join("jobs/jobs.sqlite"))
        .expect("the job database");
    let config = format!("{{\"tracking\": \"{}\"}}", "z".repeat(60 << 10));
    database.execute_batch("BEGIN").expect("a transaction");
    for _ in 0..JOBS {
        let sql =
            "INSERT INTO jobs (created_at, finished_at, status, data_name, config, ended_after)
                   VALUES (1800000000000, 1800000000000, 'done', 'a.wav', '', 0)";
        database.execute(sql, []).expect("a job");
        let sql = "INSERT INTO configs (job, config) VALUES (?1, ?2)";
        database.execute(sql, (database.last_insert_rowid(), &config)).expect("its configuration");
    }
    database.execute_batch("COMMIT").expect("a commit");
    drop(database);
    let service = installation.start();
    // The model takes more than everything else.
    wait_until_blocking("the model is read", seconds(60), || {
        let batch = health(&service)["batch"].clone();
        batch["status"] == "healthy" && batch["warnings"].is_null()
    });
    let before = service.usage().peak_kib;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let listed = asked(&service, "/v2/jobs").expect(200).json();
                let jobs = listed["jobs"].as_array().expect("a list");
                let ids =
                    jobs.iter().map(|job| job["id"].as_str().unwrap().parse::<u64>().unwrap());
                assert!(ids.eq((1..=JOBS).rev()), "all of them, newest first");
                assert!(jobs.iter().all(|job| job["config"].is_null()));
            });
        }
    });
    let more = service.usage().peak_kib - before;
    assert!(more < 40 << 10, "{more} KiB more");
    let page = asked(&service, "/v2/jobs?limit=2").expect(200).json();
    assert_eq!(page["jobs"].as_array().map(Vec::len), Some(2));
}

#[test]
fn forms_are_bounded_and_say_by_what() {
    let service = batch_setup().start();
    let scratch = tempfile::tempdir().expect("tempdir");
    let file = |name: &str, text: &str| {
        let path = scratch.path().join(name);
        fs::write(&path, text).expect("write");
        path.display().to_string()
    };
    let config = |length: usize| {
        let start = r#"{"type":"transcription","transcription_config":{"language":"en"},"tracking":{"details":{"a":""#;
        format!("{start}{}\"}}}}}}", "z".repeat(length - start.len() - 4))
    };
    let audio = format!("data_file=@{}", sentence().display());
    let most = format!("config=<{}", file("most", &config(64 << 10)));
    let more = format!("config=<{}", file("more", &config((64 << 10) + 1)));
    let huge = format!("config=<{}", file("huge", &config(4 << 20)));
    let wide = format!("other=<{}", file("wide", &"z".repeat((1 << 20) + 1)));
    let own = format!("other=<{}", file("own", "whatever a client sends besides"));
    let usual = format!("config={CONFIG}");
    let many: Vec<String> = (0..15).map(|number| format!("field{number}=x")).collect();
    let long = format!("data_file=@{};filename={}.wav", sentence().display(), "n".repeat(4000));
    let url = service.url("https", "/v2/jobs");
    let send = |parts: &[&str]| {
        let parts = parts.iter().flat_map(|part| ["-F", *part]);
        curl(&parts.chain([url.as_str()]).collect::<Vec<_>>())
    };
    let crowd: Vec<&str> = many.iter().map(String::as_str).chain([&*usual, &*audio]).collect();
    let fits: Vec<&str> = crowd[1..].to_vec();
    for (what, parts, status, told) in [
        ("the largest configuration", vec![&*most, &*audio], 201, ""),
        ("one byte more", vec![&more, &audio], 413, "65536 bytes"),
        ("far more, after the audio", vec![&audio, &huge], 413, "65536 bytes"),
        ("a field of its own", vec![&own, &usual, &audio], 201, ""),
        ("a large one", vec![&wide, &usual, &audio], 413, "1048576 bytes"),
        ("a large one at the end", vec![&usual, &audio, &wide], 413, "1048576 bytes"),
        ("17 fields", crowd.clone(), 413, "16 fields"),
        ("16 fields", fits, 201, ""),
        ("a long name", vec![&long, &usual], 201, ""),
    ] {
        let reply = send(&parts);
        assert_eq!(reply.status, status, "{what}: {}", reply.body);
        assert!(reply.body.contains(told), "{what}: {}", reply.body);
        if reply.status == 201 {
            let name = job(&service, &id_of(&reply))["data_name"].as_str().map(str::len);
            assert!(name.is_some_and(|length| length <= 255), "{what}: {name:?}");
        }
    }
    let left = fs::read_dir(service.data_dir().join("jobs/incoming")).expect("the folder");
    assert_eq!(left.count(), 0);
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    assert!(metrics.contains("appliance_jobs_refused_total{reason=\"size\"} 5"), "{metrics}");
}

#[test]
fn a_queue_has_an_end_and_addresses_take_turns() {
    let settings = "speech.most_waiting_jobs = 6\nspeech.decoding_threads = 1";
    let service = batch_setup().settings(settings).start();
    let scratch = tempfile::tempdir().expect("tempdir");
    let long = long_recording(scratch.path(), 20);
    let url = service.url("https", "/v2/jobs");
    let post_from = |address: &str, file: &Path| {
        let (file, config) = (format!("data_file=@{}", file.display()), format!("config={CONFIG}"));
        curl(&["--interface", address, "-F", &file, "-F", &config, &url])
    };
    let first = id_of(&post_from("127.0.0.1", &long).expect(201));
    let begun = || {
        let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
        metrics.contains("appliance_jobs{status=\"running\"} 1")
    };
    wait_until_blocking("the first one is worked on", seconds(60), begun);
    let many: Vec<String> =
        (0..3).map(|_| id_of(&post_from("127.0.0.1", &sentence()).expect(201))).collect();
    let refused = post_from("127.0.0.1", &sentence()).expect(429);
    assert!(refused.header("retry-after").is_some(), "{}", refused.headers);
    assert!(refused.body.contains("3 jobs of this address wait"), "{}", refused.body);
    let few = id_of(&post_from("127.0.0.2", &sentence()).expect(201));
    for address in ["127.0.0.3", "127.0.0.4"] {
        post_from(address, &sentence()).expect(201);
    }
    let refused = post_from("127.0.0.5", &sentence()).expect(503);
    assert!(refused.header("retry-after").is_some(), "{}", refused.headers);
    assert!(refused.body.contains("6 jobs wait"), "{}", refused.body);
    assert_eq!(job(&service, &first)["status"], "running", "the test was too slow to see a queue");

    let end = |id: &str| -> String {
        ended(&service, id);
        let shown = asked(&service, &format!("/v2/jobs/{id}/transcript")).expect(200).json();
        shown["metadata"]["created_at"].as_str().expect("a moment").to_owned()
    };
    let ends: Vec<String> = many.iter().map(|id| end(id)).collect();
    let few = end(&few);
    assert!(few < ends[1] && few < ends[2], "{few} is after {ends:?}");
}
