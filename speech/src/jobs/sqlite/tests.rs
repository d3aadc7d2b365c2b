use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, json};

use super::*;

fn add(store: &SqliteStore, name: &str) -> JobId {
    add_for(store, "192.0.2.1", name).unwrap()
}

fn add_for(store: &SqliteStore, client: &str, name: &str) -> Result<JobId, StoreError> {
    let mut audio = store.begin_upload(client, 0).unwrap();
    audio.write(name.as_bytes()).unwrap();
    store.create(NewJob {
        config: r#"{"type":"transcription"}"#.into(),
        client: client.into(),
        data_name: name.into(),
        audio: Some(audio),
        notify: true,
    })
}

/// A store whose running time is what the test says, in seconds.
fn open_at(root: &Path, seconds: &Arc<AtomicU64>) -> Result<SqliteStore, StoreError> {
    let seconds = seconds.clone();
    let running_time = Arc::new(move || Duration::from_secs(seconds.load(Ordering::Relaxed)));
    SqliteStore::open(root, StoreOptions { running_time, most_waiting: 100 })
}

fn open(root: &Path) -> SqliteStore {
    open_at(root, &Arc::default()).unwrap()
}

fn finished() -> Finished {
    Finished {
        duration: Duration::from_millis(1500),
        items: Vec::new(),
        log: "went well\n".into(),
        language: "en".into(),
        model: "tiny".into(),
        metadata: json!({"warnings": ["quiet"]}).as_object().unwrap().clone(),
    }
}

fn status(store: &SqliteStore, id: JobId) -> JobStatus {
    store.get(id).unwrap().unwrap().status
}

#[test]
fn jobs_are_numbered_and_claimed_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ids: Vec<String> = (0..3).map(|_| add(&store, "a.wav").to_string()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(1));
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(2));
    let listed: Vec<i64> =
        store.list(&ListFilter::default()).unwrap().into_iter().map(|job| job.id.0).collect();
    assert_eq!(listed, [3, 2, 1]);
    store.finish(JobId(1), &finished()).unwrap();
    assert_eq!(status(&store, JobId(1)), JobStatus::Done);
    let kept = store.transcript(JobId(1)).unwrap().unwrap();
    assert_eq!((kept.language.as_deref(), kept.items.len()), (Some("en"), 0));
    assert_eq!(kept.metadata, finished().metadata);
    assert_eq!(store.unnotified().unwrap(), [JobId(1)]);
    let notify = |id| store.get(id).unwrap().unwrap().notify;
    assert!(notify(JobId(1)) && notify(JobId(2)), "the second one has not ended");
    store.mark_notified(JobId(1)).unwrap();
    assert_eq!(store.unnotified().unwrap(), []);
    assert!(!notify(JobId(1)) && notify(JobId(2)));
    let today = OffsetDateTime::now_utc().date();
    assert_eq!(store.usage(today, today).unwrap()[0].duration, Duration::from_millis(1500));
}

#[test]
fn waiting_jobs_have_places_that_follow_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let places = |store: &SqliteStore| {
        let mut places: Vec<_> =
            store.places().unwrap().iter().map(|(id, at)| (*at, id.0)).collect();
        places.sort_unstable();
        places
    };
    assert_eq!(places(&store), []);
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"] {
        add_for(&store, client, "a.wav").unwrap();
    }
    assert_eq!(places(&store), [(1, 1), (2, 4), (3, 2), (4, 3)]);
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(1));
    assert_eq!(places(&store), [(1, 4), (2, 2), (3, 3)]);
    store.delete(JobId(2)).unwrap();
    assert_eq!(places(&store), [(1, 4), (2, 3)]);
    store.release(JobId(1)).unwrap();
    assert_eq!(places(&store), [(1, 4), (2, 1), (3, 3)]);
    // Whose turn it was is forgotten with the process; that jobs wait is not.
    drop(store);
    assert_eq!(places(&open(folder.path())), [(1, 1), (2, 4), (3, 3)]);
}

#[test]
fn ends_of_the_process_are_counted_and_never_lose_a_job() {
    let folder = tempfile::tempdir().unwrap();
    let id = add(&open(folder.path()), "a.wav");
    for crashes in 0..50 {
        let store = open(folder.path());
        let job = store.claim().unwrap().unwrap();
        assert_eq!((job.id, job.crashes, job.attempts), (id, crashes, crashes + 1));
    }
}

#[test]
fn a_job_on_which_the_recogniser_fails_three_times_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
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
    let store = open(folder.path());
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
    let store = open(folder.path());
    store.connection().pragma_update(None, "user_version", open::VERSION + 1).unwrap();
    drop(store);
    let refused = open_at(folder.path(), &Arc::default()).err().unwrap().to_string();
    assert!(refused.contains("later version"), "{refused}");
}

#[test]
fn an_orderly_end_counts_against_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = add(&store, "a.wav");
    for _ in 0..5 {
        store.claim().unwrap().unwrap();
        store.release(id).unwrap();
    }
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.get(id).unwrap().unwrap().crashes, 0);
}

#[test]
fn what_a_crash_leaves_behind_is_cleared_and_the_rest_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = add(&store, "kept");
    let half = store.begin_upload("192.0.2.1", 0).unwrap();
    std::fs::write(folder.path().join("audio/77.new"), "its job was never made").unwrap();
    // The job was made, and the file did not get its last name any more.
    std::fs::rename(folder.path().join("audio/1"), folder.path().join("audio/1.new")).unwrap();
    // As if the process had ended here: nothing of it is dropped.
    std::mem::forget(half);
    drop(store);
    let store = open(folder.path());
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    let left = std::fs::read_dir(folder.path().join("audio")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["1"]);
    let mut text = String::new();
    let mut audio = store.open_audio(id).unwrap().unwrap();
    std::io::Read::read_to_string(&mut audio, &mut text).unwrap();
    assert_eq!(text, "kept");
}

#[test]
fn audio_that_is_no_file_is_told_and_never_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = add(&store, "a.wav");
    let audio = folder.path().join("audio").join(id.to_string());
    std::fs::remove_file(&audio).unwrap();
    let refused = || match store.open_audio(id) {
        Err(StoreError::Files(err)) => assert!(err.to_string().contains("not a file"), "{err}"),
        other => panic!("{other:?}"),
    };
    nix::unistd::mkfifo(&audio, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused();
    std::fs::remove_file(&audio).unwrap();
    std::fs::create_dir(&audio).unwrap();
    refused();
}

#[test]
fn an_upload_that_no_job_took_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    drop(store.begin_upload("192.0.2.1", 0).unwrap());
    assert_eq!(std::fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
}

#[test]
fn a_deleted_job_keeps_nothing_and_its_late_transcript_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = add(&store, "a.wav");
    store.claim().unwrap();
    store.delete(id).unwrap();
    store.finish(id, &finished()).unwrap();
    assert_eq!(status(&store, id), JobStatus::Deleted);
    assert_eq!(store.transcript(id).unwrap(), None);
    assert!(store.open_audio(id).unwrap().is_none());
    assert!(store.list(&ListFilter::default()).unwrap().is_empty());
    let all = ListFilter { include_deleted: true, ..ListFilter::default() };
    assert_eq!(store.list(&all).unwrap().len(), 1);
}

#[test]
fn finished_jobs_expire_and_their_secrets_go_with_them() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::default());
    let store = open_at(folder.path(), &clock).unwrap();
    let (done, waiting) = (add(&store, "a.wav"), add(&store, "b.wav"));
    store.claim().unwrap();
    store.finish(done, &finished()).unwrap();
    clock.store(60, Ordering::Relaxed);
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 0);
    assert_eq!(store.expire(Duration::from_secs(59)).unwrap(), 1);
    let job = store.get(done).unwrap().unwrap();
    assert_eq!((job.status, job.config.as_str()), (JobStatus::Expired, "{}"));
    assert!(store.open_audio(done).unwrap().is_none());
    assert_eq!(status(&store, waiting), JobStatus::Queued);
    clock.store(60 + 7 * 24 * 3600, Ordering::Relaxed);
    store.expire(Duration::from_secs(59)).unwrap();
    assert!(store.get(done).unwrap().is_none(), "it is remembered for a week");
}

#[test]
fn ages_are_running_time_whatever_the_wall_clock_says_and_count_anew_if_it_is_lost() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::<AtomicU64>::default());
    clock.store(1_000_000, Ordering::Relaxed);
    let store = open_at(folder.path(), &clock).unwrap();
    let id = add(&store, "a.wav");
    store.claim().unwrap();
    store.finish(id, &finished()).unwrap();
    // Ended in 1970, or in 2100, by the wall clock.
    for at in [0_i64, 4_102_444_800_000] {
        store.connection().execute("UPDATE jobs SET finished_at = ?1", [at]).unwrap();
        assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 0, "{at}");
    }
    drop(store);
    // The running time begins at zero again.
    clock.store(0, Ordering::Relaxed);
    let store = open_at(folder.path(), &clock).unwrap();
    clock.store(50, Ordering::Relaxed);
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 0);
    clock.store(61, Ordering::Relaxed);
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 1, "not in a million seconds");
}

/// A store as version 1 made it: one job that is done and one that waits.
const FIRST: &str = r#"
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, created_at INTEGER NOT NULL, finished_at INTEGER,
        status TEXT NOT NULL, data_name TEXT NOT NULL, config TEXT NOT NULL,
        duration_ms INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0, crashes INTEGER NOT NULL DEFAULT 0,
        errors TEXT NOT NULL DEFAULT '[]', notify INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX jobs_by_status ON jobs (status, id);
    CREATE TABLE transcripts (job INTEGER PRIMARY KEY, items TEXT, log TEXT NOT NULL);
    CREATE TABLE usage (
        day TEXT NOT NULL, language TEXT NOT NULL, model TEXT NOT NULL, count INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL, PRIMARY KEY (day, language, model)
    );
    INSERT INTO jobs (created_at, finished_at, status, data_name, config)
        VALUES (1000, 2000, 'done', 'a.wav', '{"type":"transcription"}');
    INSERT INTO jobs (created_at, status, data_name, config)
        VALUES (1000, 'queued', 'b.wav', '{"type":"transcription"}');
    INSERT INTO transcripts VALUES (1, '[]', 'went well');
    PRAGMA user_version = 1;
"#;

#[test]
fn a_store_of_the_first_version_goes_on_and_its_jobs_live_longer_rather_than_shorter() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::<AtomicU64>::default());
    fs::create_dir(folder.path().join("audio")).unwrap();
    for id in ["1", "2"] {
        fs::write(folder.path().join("audio").join(id), "audio").unwrap();
    }
    let first = Connection::open(folder.path().join("jobs.sqlite")).unwrap();
    first.execute_batch(FIRST).unwrap();
    drop(first);
    clock.store(500, Ordering::Relaxed);
    let store = open_at(folder.path(), &clock).unwrap();
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 0, "its age counts from now");
    let kept = Transcript { items: Vec::new(), language: None, metadata: Map::new() };
    assert_eq!(store.transcript(JobId(1)).unwrap(), Some(kept));
    let claimed = store.claim().unwrap().unwrap();
    assert_eq!((claimed.id, claimed.config.as_str()), (JobId(2), r#"{"type":"transcription"}"#));
    clock.store(561, Ordering::Relaxed);
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 1);
    // Those made before are private from now on as well.
    for path in ["jobs.sqlite", "jobs.sqlite-wal", "audio/2"] {
        let mode = fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
    for path in ["", "audio", "incoming"] {
        let mode = fs::metadata(folder.path().join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{path}");
    }
    drop(store);
    drop(open_at(folder.path(), &clock).unwrap());
}

#[test]
fn a_queue_has_an_end_and_one_client_may_have_half_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for _ in 0..50 {
        add_for(&store, "192.0.2.1", "a").unwrap();
    }
    assert!(matches!(store.check_room("192.0.2.1"), Err(StoreError::ShareFull(50))));
    assert!(matches!(add_for(&store, "192.0.2.1", "a"), Err(StoreError::ShareFull(50))));
    for client in 0..50 {
        add_for(&store, &format!("192.0.2.{}", client % 7 + 2), "a").unwrap();
    }
    assert!(matches!(add_for(&store, "192.0.2.20", "a"), Err(StoreError::QueueFull(100))));
    assert_eq!(fs::read_dir(folder.path().join("incoming")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("audio")).unwrap().count(), 100);
    // The other one does not wait for fifty jobs.
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(1));
    assert_eq!(store.claim().unwrap().unwrap().id, JobId(51));
    // What runs does not wait.
    add_for(&store, "192.0.2.20", "a").unwrap();
}

#[test]
fn lists_come_in_pages_and_carry_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(
        folder.path(),
        StoreOptions { running_time: Arc::new(|| Duration::ZERO), most_waiting: 1000 },
    )
    .unwrap();
    for _ in 0..LONGEST_PAGE + 20 {
        add(&store, "a.wav");
    }
    let page = store.list(&ListFilter::default()).unwrap();
    assert_eq!(page.len(), LONGEST_PAGE as usize);
    let before = page.last().map(|job| job.id);
    let rest = store.list(&ListFilter { before, ..ListFilter::default() }).unwrap();
    let ids: Vec<i64> = rest.iter().map(|job| job.id.0).collect();
    assert_eq!(ids, (1..=20).rev().collect::<Vec<_>>());
}

#[test]
fn errors_of_a_job_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let id = add(&store, "a.wav");
    for _ in 0..100 {
        store.add_error(id, &"x".repeat(100_000)).unwrap();
    }
    let errors = store.get(id).unwrap().unwrap().errors;
    assert_eq!((errors.len(), errors[0].message.len()), (20, 1000));
}

#[test]
fn room_that_jobs_have_used_goes_back_to_the_disk() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::<AtomicU64>::default());
    let store = open_at(folder.path(), &clock).unwrap();
    let size = || fs::metadata(folder.path().join("jobs.sqlite")).unwrap().len();
    for _ in 0..40 {
        let new = NewJob {
            config: "x".repeat(64 << 10),
            client: "192.0.2.1".into(),
            data_name: String::new(),
            audio: None,
            notify: false,
        };
        let id = store.create(new).unwrap();
        store.reject(id, "no audio", "").unwrap();
    }
    store.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let full = size();
    assert!(full > 2 << 20, "{full}");
    clock.store(100, Ordering::Relaxed);
    assert_eq!(store.expire(Duration::from_secs(60)).unwrap(), 40);
    assert!(size() < full / 4, "{} of {full} bytes are left", size());
}

#[test]
fn waiting_jobs_hold_room_for_their_transcripts_and_finished_ones_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let ids: Vec<JobId> = (0..4).map(|_| add(&store, "a.wav")).collect();
    assert_eq!(lock(&store.promised).len(), 4);
    store.claim().unwrap();
    store.finish(ids[0], &finished()).unwrap();
    store.reject(ids[1], "no audio", "").unwrap();
    store.delete(ids[2]).unwrap();
    assert_eq!(lock(&store.promised).keys().collect::<Vec<_>>(), [&ids[3]]);
    drop(store);
    assert_eq!(lock(&open(folder.path()).promised).len(), 1, "also after a restart");
}

/// Everything below a folder, with what it holds.
fn everything(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(everything(&path));
            found.push((path, Vec::new()));
        } else {
            let bytes = fs::read(&path).unwrap_or_default();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn a_damaged_store_is_refused_with_what_to_do_and_nothing_of_it_is_touched() {
    type Damage = fn(&Path);
    let damages: [(&str, &str, Damage); 15] = [
        ("missing", "missing", |root| fs::remove_file(root.join("jobs.sqlite")).unwrap()),
        ("empty", "empty", |root| fs::write(root.join("jobs.sqlite"), "").unwrap()),
        ("garbage", "no SQLite database", |root| {
            fs::write(root.join("jobs.sqlite"), vec![0x5a; 20_000]).unwrap();
        }),
        ("text", "no SQLite database", |root| {
            fs::write(root.join("jobs.sqlite"), "restored by hand").unwrap();
        }),
        ("header only", "", |root| cut(root, 100)),
        ("cut in a page", "", |root| cut(root, 10_000)),
        ("one page", "", |root| cut(root, 4096)),
        ("one byte", "no SQLite database", |root| cut(root, 1)),
        ("garbage inside", "", |root| {
            let path = root.join("jobs.sqlite");
            let mut bytes = fs::read(&path).unwrap();
            bytes[5000..].fill(0xa5);
            fs::write(path, bytes).unwrap();
        }),
        ("another database", "holds no jobs", |root| {
            fs::remove_file(root.join("jobs.sqlite")).unwrap();
            let other = Connection::open(root.join("jobs.sqlite")).unwrap();
            other.execute_batch("CREATE TABLE other (id INTEGER)").unwrap();
        }),
        ("a folder", "not a file", |root| {
            fs::remove_file(root.join("jobs.sqlite")).unwrap();
            fs::create_dir(root.join("jobs.sqlite")).unwrap();
        }),
        ("a pipe", "not a file", |root| {
            fs::remove_file(root.join("jobs.sqlite")).unwrap();
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&root.join("jobs.sqlite"), mode).unwrap();
        }),
        ("a link to nothing", "cannot be read", |root| {
            fs::remove_file(root.join("jobs.sqlite")).unwrap();
            std::os::unix::fs::symlink("elsewhere", root.join("jobs.sqlite")).unwrap();
        }),
        ("its journal is a folder", "not a file", |root| {
            fs::create_dir(root.join("jobs.sqlite-wal")).unwrap();
        }),
        ("audio is a file", "audio", |root| {
            fs::remove_dir_all(root.join("audio")).unwrap();
            fs::write(root.join("audio"), "").unwrap();
        }),
    ];
    for (name, told, damage) in damages {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("jobs");
        let store = open(&root);
        for _ in 0..20 {
            add(&store, "kept");
        }
        drop(store);
        damage(&root);
        fs::write(root.join("incoming/half"), "half").unwrap();
        let before = if name == "a pipe" { Vec::new() } else { everything(&root) };
        for _ in 0..2 {
            let err = open_at(&root, &Arc::default()).err();
            let err = err.unwrap_or_else(|| panic!("{name}: it was opened"));
            assert!(matches!(err, StoreError::Unusable(_)), "{name}: {err:?}");
            let text = err.to_string();
            assert!(text.contains(told) && text.contains(".damaged`"), "{name}: {text}");
            if name != "a pipe" {
                let gone: Vec<_> = everything(&root).into_iter().collect();
                assert!(gone == before, "{name}: something was changed");
            }
        }
        // As the text says.
        fs::rename(&root, folder.path().join("jobs.damaged")).unwrap();
        add(&open(&root), "anew");
    }
}

fn cut(root: &Path, length: u64) {
    let file = File::options().write(true).open(root.join("jobs.sqlite")).unwrap();
    assert!(file.metadata().unwrap().len() > length);
    file.set_len(length).unwrap();
}

#[test]
fn audio_that_the_database_does_not_know_is_kept_and_never_given_to_another_job() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    add(&store, "old");
    drop(store);
    let backup = fs::read(folder.path().join("jobs.sqlite")).unwrap();
    let store = open(folder.path());
    for _ in 0..3 {
        add(&store, "newer");
    }
    drop(store);
    for name in ["jobs.sqlite-wal", "jobs.sqlite-shm"] {
        let _ = fs::remove_file(folder.path().join(name));
    }
    fs::write(folder.path().join("jobs.sqlite"), backup).unwrap();
    let store = open(folder.path());
    assert!(store.warnings()[0].contains("3 files"), "{:?}", store.warnings());
    assert_eq!(add(&store, "newest"), JobId(5));
    for (id, text) in [(1, "old"), (2, "newer"), (4, "newer"), (5, "newest")] {
        let kept = fs::read_to_string(folder.path().join("audio").join(id.to_string())).unwrap();
        assert_eq!(kept, text);
    }
    drop(store);
    let store = open(folder.path());
    assert!(store.warnings()[0].contains("3 files"), "told again at the next start");
}

#[test]
fn a_fetched_job_waits_for_its_audio() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let new = NewJob {
        config: "{}".into(),
        client: String::new(),
        data_name: String::new(),
        audio: None,
        notify: false,
    };
    let id = store.create(new).unwrap();
    assert!(store.claim().unwrap().is_none());
    assert_eq!(store.fetching().unwrap(), [id]);
    store.attach_audio(id, store.begin_upload("", 0).unwrap()).unwrap();
    assert_eq!(store.claim().unwrap().unwrap().id, id);
}

#[test]
fn only_the_form_that_was_given_out_is_an_id() {
    assert_eq!("12".parse(), Ok(JobId(12)));
    for text in ["", "0", "01", "+1", "-1", "1 ", "x", "99999999999999999999"] {
        assert!(text.parse::<JobId>().is_err(), "{text}");
    }
}
