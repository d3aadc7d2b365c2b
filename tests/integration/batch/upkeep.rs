//! What is told of jobs, and when they are cleared away.

use std::path::Path;

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::follower::Follower;
use crate::support::service::Service;
use crate::support::speech::{
    CONFIG, batch_setup, ended, long_recording, post, sentence, submit, transcript,
};
use crate::support::{seconds, wait_until_blocking};

fn clear_after(service: &Service, minutes: u32) {
    let url = service.url("https", "/v2/management/cleanupinterval");
    curl_as("admin", &["-d", &format!("{{\"minutes\": {minutes}}}"), &url]).expect(200);
}

fn asked(service: &Service, path: &str) -> Reply {
    curl(&[&service.url("https", path)])
}

/// Sets back the end of a job, as if so many minutes had gone by since. The service must not run.
fn let_time_pass(jobs: &Path, id: &str, minutes: u32) {
    let database = rusqlite::Connection::open(jobs.join("jobs.sqlite")).expect("the job database");
    let sql = "UPDATE jobs SET ended_after = ended_after - ?2 * 60000 WHERE id = ?1";
    assert_eq!(database.execute(sql, (id, minutes)).expect("an update"), 1);
}

#[test]
fn finished_jobs_are_cleared_by_the_clean_up_interval_which_outlives_a_restart() {
    let service = batch_setup().start();
    let (older, newer) = (submit(&service, &sentence()), submit(&service, &sentence()));
    for id in [&older, &newer] {
        assert_eq!(ended(&service, id)["status"], "done");
    }
    clear_after(&service, 60);
    let installation = service.stop();
    let jobs = installation.data_dir().join("jobs");
    let_time_pass(&jobs, &older, 90);
    let_time_pass(&jobs, &newer, 30);

    let service = installation.start();
    let status = |id: &str| asked(&service, &format!("/v2/jobs/{id}")).status;
    wait_until_blocking("the older job is cleared", seconds(30), || status(&older) == 410);
    assert!(transcript(&service, &newer, "txt").contains("respectable"));
    let audio = |id: &str| jobs.join("audio").join(id).exists();
    assert!(!audio(&older) && audio(&newer));
    let gone = asked(&service, &format!("/v2/jobs/{older}/transcript")).expect(410);
    assert_eq!(gone.json()["error"], "Job Expired");

    // No restart is needed for a new interval.
    clear_after(&service, 20);
    wait_until_blocking("the newer job is cleared", seconds(30), || status(&newer) == 410);
    assert!(!audio(&newer));
    assert_eq!(asked(&service, "/v2/jobs").json()["jobs"], serde_json::json!([]));
}

#[test]
fn health_tells_what_to_do_where_there_is_no_recogniser() {
    let health = |service: &Service| {
        let url = service.url("https", "/v2/management/health");
        curl_as("admin", &[&url]).expect(200).json()
    };
    let service = batch_setup().settings("speech.model = \"/nowhere/model.bin\"").start();
    wait_until_blocking("batch is unhealthy", seconds(10), || {
        health(&service)["batch"]["status"] == "unhealthy"
    });
    let told = health(&service);
    let error = told["batch"]["errors"][0].as_str().expect("an error");
    assert!(error.contains("/nowhere/model.bin") && error.contains("[speech]"), "{error}");
    assert_eq!(
        (&told["status"], &told["realtime"]["status"]),
        (&"unhealthy".into(), &"disabled".into())
    );

    let service = batch_setup().start();
    wait_until_blocking("the model is read", seconds(30), || {
        let batch = health(&service)["batch"].clone();
        batch["status"] == "healthy" && batch["warnings"].is_null()
    });
    let url = service.url("https", "/v2/management/diskinfo");
    let disks = curl_as("admin", &[&url]).expect(200).json();
    let jobs = &disks["disks"][1];
    assert_eq!(jobs["name"], "jobs", "{disks}");
    assert!(jobs["available_kb"].as_u64().is_some_and(|free| free > 0), "{disks}");
}

#[test]
fn metrics_and_events_tell_how_the_jobs_are() {
    let service = batch_setup().start();
    let follower = Follower::start(&service.url("https", "/v2/management/events"), &[]);
    let scratch = tempfile::tempdir().expect("tempdir");
    let long = submit(&service, &long_recording(scratch.path(), 5));
    let nothing = scratch.path().join("nothing");
    std::fs::write(&nothing, "no audio").expect("write");
    let rejected = submit(&service, &nothing);
    for (id, status) in [(&long, "done"), (&rejected, "rejected")] {
        assert_eq!(ended(&service, id)["status"], status);
    }
    follower.wait("the end of all work", |follower| {
        let counts = follower.named("job-count");
        let idle = |message: &crate::support::follower::Message| {
            let told = message.json();
            told["waiting"] == 0 && told["running"] == 0
        };
        counts.iter().any(|message| !idle(message)) && counts.last().is_some_and(idle)
    });
    let progress: Vec<u64> = follower
        .named("job-progress")
        .iter()
        .map(crate::support::follower::Message::json)
        .filter(|told| told["job"] == long.as_str())
        .map(|told| told["percent"].as_u64().expect("a whole number"))
        .collect();
    assert!(!progress.is_empty() && progress.is_sorted(), "{progress:?}");
    assert!(progress.iter().all(|percent| *percent <= 100), "{progress:?}");

    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    let value = |series: &str| -> f64 {
        let line = metrics.lines().find(|line| line.starts_with(series));
        let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {series} in\n{metrics}"))
    };
    for (status, count) in [("waiting", 0.0), ("running", 0.0), ("done", 1.0), ("rejected", 1.0)] {
        assert_eq!(value(&format!("appliance_jobs{{status=\"{status}\"}}")), count, "{status}");
    }
    let audio = value("appliance_jobs_audio_seconds_total");
    assert!((30.0..31.0).contains(&audio), "{audio} s of audio");
    assert!(value("appliance_jobs_decode_seconds_total") > 0.0);
}

#[test]
fn a_running_job_tells_how_far_it_is() {
    let service = batch_setup().start();
    let scratch = tempfile::tempdir().expect("tempdir");
    let id = submit(&service, &long_recording(scratch.path(), 12));
    let mut told = Vec::new();
    wait_until_blocking("the job ends", seconds(120), || {
        let job = crate::support::speech::job(&service, &id);
        told.extend(job["progress"].as_f64());
        assert_eq!(job["progress"].is_f64(), job["status"] == "running", "{job}");
        job["status"] == "done"
    });
    assert!(told.is_sorted() && told.iter().all(|share| (0.0..=1.0).contains(share)), "{told:?}");
    assert!(told.iter().any(|share| *share > 0.0), "{told:?}");
}

#[test]
fn the_page_of_the_jobs_comes_from_the_appliance_and_asks_for_no_password() {
    let service = batch_setup().start();
    let token = service.url("https", "/v2/security/jobtoken");
    curl_as("admin", &["-d", r#"{"user_token":"secret-1"}"#, &token]).expect(200);
    for path in ["/v2/ui", "/v2/ui/"] {
        let page = asked(&service, path).expect(200);
        let parts: Vec<_> =
            page.body.split('"').filter(|text| text.starts_with("/v2/ui/")).collect();
        assert_eq!(parts.len(), 4, "{}", page.body);
        for part in parts {
            let asset = asked(&service, part).expect(200);
            assert!(!asset.body.is_empty(), "{part}");
            let own = part.ends_with("page.js");
            assert!(!own || asset.body.contains("/v2/ui/openapi.json"), "{}", asset.body);
        }
    }
    let document = asked(&service, "/v2/ui/openapi.json").expect(200).json();
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().collect();
    assert_eq!(paths.len(), 7, "{paths:?}");
    let posting = &document["paths"]["/v2/jobs"]["post"];
    assert_eq!((&posting["operationId"], &posting["tags"][0]), (&"PostJob".into(), &"Jobs".into()));
    // What the page asks with is the token.
    assert_eq!(posting["security"], serde_json::json!([{}, {"jobToken": []}]));
    assert_eq!(document["components"]["securitySchemes"]["jobToken"]["scheme"], "bearer");
    post(&service, &sentence(), CONFIG).expect(401);
}
