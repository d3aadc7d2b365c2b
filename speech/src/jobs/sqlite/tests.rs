use std::io::Write as _;

use super::*;

fn add(store: &SqliteStore, name: &str) -> JobId {
    let mut audio = store.begin_upload().unwrap();
    audio.take_file().unwrap().write_all(name.as_bytes()).unwrap();
    let config = r#"{"type":"transcription"}"#.to_owned();
    store
        .create(NewJob { config, data_name: name.into(), audio: Some(audio), notify: true })
        .unwrap()
}

fn finished() -> Finished {
    Finished {
        duration: Duration::from_millis(1500),
        items: Vec::new(),
        log: "went well\n".into(),
        language: "en".into(),
        model: "tiny".into(),
    }
}

fn status(store: &SqliteStore, id: JobId) -> JobStatus {
    store.get(id).unwrap().unwrap().status
}

#[test]
fn jobs_are_numbered_and_claimed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let ids: Vec<String> = (0..3).map(|_| add(&store, "a.wav").to_string()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(1));
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(2));
    let listed: Vec<i64> =
        store.list(&ListFilter::default()).unwrap().into_iter().map(|job| job.id.0).collect();
    assert_eq!(listed, [3, 2, 1]);
    store.finish(JobId(1), &finished()).unwrap();
    assert_eq!(status(&store, JobId(1)), JobStatus::Done);
    assert_eq!(store.items(JobId(1)).unwrap(), Some(Vec::new()));
    assert_eq!(store.unnotified().unwrap(), [JobId(1)]);
    let today = OffsetDateTime::now_utc().date();
    assert_eq!(store.usage(today, today).unwrap()[0].duration, Duration::from_millis(1500));
}

#[test]
fn ends_of_the_process_are_counted_and_never_lose_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let id = add(&SqliteStore::open(folder.path()).unwrap(), "a.wav");
    for crashes in 0..50 {
        let store = SqliteStore::open(folder.path()).unwrap();
        let job = store.claim().unwrap().unwrap();
        assert_eq!((job.id, job.crashes, job.attempts), (id, crashes, crashes + 1));
    }
}

#[test]
fn a_job_on_which_the_recogniser_fails_three_times_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let id = add(&store, "a.wav");
    for _ in 0..3 {
        assert_eq!(store.claim().unwrap().unwrap().id, id);
        store.fail(id, "out of memory").unwrap();
    }
    let job = store.get(id).unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Rejected);
    let told: Vec<_> = job.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(told[..3], ["out of memory"; 3]);
    assert!(told[3].contains("3 times"), "{told:?}");
}

#[test]
fn jobs_are_counted_by_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let ids: Vec<JobId> = (0..4).map(|_| add(&store, "a.wav")).collect();
    store.claim().unwrap();
    store.finish(ids[0], &finished()).unwrap();
    store.claim().unwrap();
    store.delete(ids[3]).unwrap();
    let expected = JobCounts { queued: 1, running: 1, done: 1, ..JobCounts::default() };
    assert_eq!(store.counts().unwrap(), expected);
}

#[test]
fn a_database_of_a_later_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    store.connection().pragma_update(None, "user_version", VERSION + 1).unwrap();
    drop(store);
    assert!(matches!(SqliteStore::open(folder.path()), Err(StoreError::Later(_))));
}

#[test]
fn an_orderly_end_counts_against_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let id = add(&store, "a.wav");
    for _ in 0..5 {
        store.claim().unwrap().unwrap();
        store.release(id).unwrap();
    }
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(store.get(id).unwrap().unwrap().crashes, 0);
}

#[test]
fn what_a_crash_leaves_behind_is_cleared_and_the_rest_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let id = add(&store, "kept");
    let half = store.begin_upload().unwrap();
    std::fs::write(folder.path().join("audio/77"), "orphan").unwrap();
    // As if the process had ended here: nothing of it is dropped.
    std::mem::forget(half);
    drop(store);
    let store = SqliteStore::open(folder.path()).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    assert!(!folder.path().join("audio/77").exists());
    let mut text = String::new();
    let mut audio = store.open_audio(id).unwrap().unwrap();
    std::io::Read::read_to_string(&mut audio, &mut text).unwrap();
    assert_eq!(text, "kept");
}

#[test]
fn an_upload_that_no_job_took_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    drop(store.begin_upload().unwrap());
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_deleted_job_keeps_nothing_and_its_late_transcript_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let id = add(&store, "a.wav");
    store.claim().unwrap();
    store.delete(id).unwrap();
    store.finish(id, &finished()).unwrap();
    assert_eq!(status(&store, id), JobStatus::Deleted);
    assert_eq!(store.items(id).unwrap(), None);
    assert!(store.open_audio(id).unwrap().is_none());
    assert!(store.list(&ListFilter::default()).unwrap().is_empty());
    let all = ListFilter { include_deleted: true, ..ListFilter::default() };
    assert_eq!(store.list(&all).unwrap().len(), 1);
}

#[test]
fn finished_jobs_expire_and_their_secrets_go_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let (done, waiting) = (add(&store, "a.wav"), add(&store, "b.wav"));
    store.claim().unwrap();
    store.finish(done, &finished()).unwrap();
    let later = OffsetDateTime::now_utc() + Duration::from_secs(1);
    assert_eq!(store.expire(later).unwrap(), 1);
    let job = store.get(done).unwrap().unwrap();
    assert_eq!((job.status, job.config.as_str()), (JobStatus::Expired, "{}"));
    assert!(store.open_audio(done).unwrap().is_none());
    assert_eq!(status(&store, waiting), JobStatus::Queued);
}

#[test]
fn a_fetched_job_waits_for_its_audio() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path()).unwrap();
    let new = NewJob { config: "{}".into(), data_name: String::new(), audio: None, notify: false };
    let id = store.create(new).unwrap();
    assert!(store.claim().unwrap().is_none());
    assert_eq!(store.fetching().unwrap(), [id]);
    store.attach_audio(id, store.begin_upload().unwrap()).unwrap();
    assert_eq!(store.claim().unwrap().unwrap().id, id);
}

#[test]
fn only_the_form_that_was_given_out_is_an_id() {
    assert_eq!("12".parse(), Ok(JobId(12)));
    for text in ["", "0", "01", "+1", "-1", "1 ", "x", "99999999999999999999"] {
        assert!(text.parse::<JobId>().is_err(), "{text}");
    }
}
