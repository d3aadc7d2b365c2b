//! Many jobs at once, and a process that dies in the middle of them. `BATCH_JOBS` and
//! `BATCH_KILLS` say how many; the defaults keep the test short.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::curl::{curl, curl_as};
use crate::support::service::Service;
use crate::support::speech::{
    CONFIG, batch_setup, ended, job, long_recording, post, recording, sentence, submit, transcript,
};
use crate::support::{millis, seconds, wait_until_blocking};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The ids of all jobs by their state.
fn listed(service: &Service, status: &str) -> BTreeSet<u64> {
    let jobs = curl(&[&service.url("https", "/v2/jobs")]).expect(200).json();
    let jobs = jobs["jobs"].as_array().expect("a list");
    let id = |job: &serde_json::Value| job["id"].as_str().and_then(|id| id.parse().ok());
    let ids: Vec<u64> = jobs.iter().filter(|job| job["status"] == status).filter_map(id).collect();
    let distinct: BTreeSet<u64> = ids.iter().copied().collect();
    assert_eq!(ids.len(), distinct.len(), "a job is listed twice");
    distinct
}

/// Clients that post at once.
const POSTERS: usize = 4;

/// How long the management API takes to begin its answers, in seconds, until `end` is set.
fn answer_times(service: &Service, end: &AtomicBool) -> Vec<f64> {
    let about = service.url("https", "/v2/management/host/about");
    let mut times = Vec::new();
    while !end.load(Ordering::SeqCst) {
        let reply = curl_as("admin", &[&about]).expect(200);
        times.push(reply.number("time_starttransfer") - reply.number("time_pretransfer"));
    }
    times
}

#[test]
fn many_jobs_are_done_in_order_while_the_management_api_answers_at_once() {
    let count = setting("BATCH_JOBS", 30);
    let service = batch_setup().quiet().start();
    let audio = recording("librivox/sense_and_sensibility_01_austen_64kb-0890.wav");
    let width = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let begun = Instant::now();
    let done_all = AtomicBool::new(false);
    let (posted, answered) = std::thread::scope(|scope| {
        let posters: Vec<_> = (0..POSTERS)
            .map(|number| {
                let share = (number..count).step_by(POSTERS);
                scope.spawn(|| share.for_each(|_| drop(post(&service, &audio, CONFIG).expect(201))))
            })
            .collect();
        let watcher = scope.spawn(|| answer_times(&service, &done_all));
        for poster in posters {
            poster.join().expect("a poster");
        }
        let posted = begun.elapsed();
        let mut done = BTreeSet::new();
        wait_until_blocking("all jobs are done", seconds(30 + 4 * count as u64), || {
            done = listed(&service, "done");
            let highest = done.last().copied().unwrap_or(0);
            assert!(highest <= done.len() as u64 + width, "out of order: {done:?}");
            done.len() == count
        });
        done_all.store(true, Ordering::SeqCst);
        (posted, watcher.join().expect("the watcher"))
    });
    let took = begun.elapsed();
    let usage = service.usage();
    let slowest = answered.iter().copied().fold(0.0, f64::max);
    let slow = answered.iter().filter(|seconds| **seconds > 0.1).count();
    eprintln!(
        "{count} jobs posted in {posted:.1?}, done in {took:.1?}; management answered {} times, within {slowest:.3} s, {slow} times not within 0.1 s; peak memory {} MiB, {} threads",
        answered.len(),
        usage.peak_kib / 1024,
        usage.threads
    );
    // On an idle machine a tenth of a second is plenty; on a busy one the jobs take longer too.
    let of_a_job = took.as_secs_f64() * width as f64 / count as f64;
    assert!(slowest < f64::max(1.0, of_a_job), "{slowest} s, a job {of_a_job} s");
    assert!(answered.len() > 2 * count, "{} answers", answered.len());
    assert!(usage.peak_kib < 600 * 1024, "{usage:?}");
}

#[test]
fn jobs_survive_a_process_that_is_killed_again_and_again() {
    let kills = setting("BATCH_KILLS", 6);
    let mut random = StdRng::seed_from_u64(4);
    let short = recording("cards/001.wav");
    let mut service = batch_setup().quiet().start();
    let mut answered = BTreeSet::new();
    for _ in 0..kills {
        let url = service.url("https", "/v2/jobs");
        let posting = std::thread::spawn({
            let files = [short.clone(), sentence()];
            move || files.iter().filter_map(|file| try_post(&url, file)).collect::<Vec<u64>>()
        });
        std::thread::sleep(millis(random.random_range(50..2500)));
        let installation = service.kill();
        for id in posting.join().expect("the poster") {
            assert!(answered.insert(id), "the id {id} was given out twice");
        }
        service = installation.start();
    }
    let mut done = BTreeSet::new();
    wait_until_blocking("all jobs are done", seconds(60 + 4 * kills as u64), || {
        // Asked in this order: a job that ends in between is then among the done ones.
        let all_ended = listed(&service, "running").is_empty();
        done = listed(&service, "done");
        all_ended
    });
    let rejected = listed(&service, "rejected");
    eprintln!(
        "{kills} kills, {} jobs answered, {} done, {rejected:?} rejected",
        answered.len(),
        done.len()
    );
    for id in &rejected {
        eprintln!("{}", job(&service, &id.to_string())["errors"]);
    }
    assert!(answered.is_subset(&done), "lost: {:?}", answered.difference(&done));
}

/// Posts a job; the id if the answer came.
fn try_post(url: &str, file: &Path) -> Option<u64> {
    let (file, config) = (format!("data_file=@{}", file.display()), format!("config={CONFIG}"));
    let reply = curl(&["-F", &file, "-F", &config, url]);
    (reply.status == 201).then(|| reply.json()["id"].as_str()?.parse().ok()).flatten()
}

/// The processes in which a single attempt is made.
fn children(service: &Service) -> Vec<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", service.pid())).expect("its threads");
    let children = tasks.filter_map(Result::ok).map(|task| task.path().join("children"));
    let text: String = children.filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let pids = text.split_whitespace().map(|digits| digits.parse().expect("a pid"));
    // Until it runs the program, a new process is still a copy of the appliance.
    let runs = |pid: &i32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.ends_with(b"transcribe-apart\0"))
    };
    pids.filter(runs).map(Pid::from_raw).collect()
}

/// Waits until the job is in the middle of being worked on.
fn until_begun(service: &Service, id: &str) {
    wait_until_blocking("the job is being worked on", seconds(60), || {
        let job = job(service, id);
        assert_eq!(job["status"], "running", "it should take longer: {job}");
        job["progress"].as_f64().is_some_and(|share| share > 0.0)
    });
}

#[test]
fn a_job_during_which_the_process_ends_is_tried_apart_and_only_its_own_fault_rejects_it() {
    let service = batch_setup().quiet().start();
    let scratch = tempfile::tempdir().expect("tempdir");
    let long = long_recording(scratch.path(), 20);
    let jobs = [submit(&service, &long), submit(&service, &long)];
    let mut service = service;
    for _ in 0..2 {
        for id in &jobs {
            until_begun(&service, id);
        }
        service = service.kill().start();
    }
    // Now each has a process of its own. That they end with the appliance counts against nobody.
    let both = |service: &Service| children(service).len() == 2;
    wait_until_blocking("both are tried apart", seconds(60), || both(&service));
    let orphans = children(&service);
    service = service.kill().start();
    let gone = |pid: &Pid| !Path::new(&format!("/proc/{pid}")).exists();
    wait_until_blocking("none is left over", seconds(10), || orphans.iter().all(gone));

    wait_until_blocking("both are tried apart again", seconds(60), || both(&service));
    kill(children(&service)[0], Signal::SIGKILL).expect("kill the child");
    let ends = jobs.map(|id| ended(&service, &id));
    let (done, rejected): (Vec<_>, Vec<_>) = ends.iter().partition(|job| job["status"] == "done");
    let ([done], [rejected]) = (&done[..], &rejected[..]) else {
        panic!("one is to be done, one rejected: {ends:?}");
    };
    let reason = rejected["errors"][0]["message"].as_str().expect("a reason");
    assert!(reason.contains("signal: 9") && reason.contains("ended 3 times"), "{reason}");
    let innocent = done["id"].as_str().expect("an id");
    assert!(transcript(&service, innocent, "txt").contains("respectable"));
    let log = curl(&[&service.url("https", &format!("/v2/jobs/{innocent}/log"))]).expect(200);
    assert!(log.body.contains("in a process of its own"), "{}", log.body);
    assert!(children(&service).is_empty(), "a process is left over");
}
