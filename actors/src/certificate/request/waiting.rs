//! Keys that wait for their certificates: `<data_dir>/waiting-keys/<id>/` with `key.pem` (PKCS#8),
//! `request.pem` and `request.json`.
//!
//! A folder is written aside and renamed into place, and renamed out of it before it is removed,
//! so that a crash leaves a request whole or not at all. Ids with a dot before them are such leftovers;
//! the next start removes them. What has another name is not ours and is left alone.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use portcullis_intake::{WaitingKey, private_key_pem};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::{Zeroize, Zeroizing};

use super::{
    CertificateRequest, RequestDetails, RequestError, RequestId,
    make::{Made, make},
};
use crate::{
    clock::Moment,
    files::read_at_most,
    store::{StoreError, io, make_dir, sync_dir, write_file},
};

/// How long a key waits for its certificate, counted in the
/// [running time](crate::clock::running_time): no step of the clock ends it, for it cannot be had
/// again.
pub const WAITING_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

const DAY: time::Duration = time::Duration::DAY;

/// How many keys may wait at once.
pub const MAX_WAITING: usize = 16;

const FOLDER: &str = "waiting-keys";
const KEY: &str = "key.pem";
const REQUEST: &str = "request.pem";
const RECORD: &str = "request.json";
const FRESH_RECORD: &str = "request.new";
/// What is kept for a request is far smaller.
const MAX_FILE: u64 = 1 << 20;

/// `request.json`: what cannot be read from the request itself.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    details: RequestDetails,
    #[serde(with = "time::serde::rfc3339")]
    created: OffsetDateTime,
    /// For people; its age decides.
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    spki_sha256: String,
    /// The running time at which it began to wait, in seconds; earlier versions noted none.
    waits_since_running_seconds: Option<u64>,
}

/// The keys that wait, and a snapshot of their requests. Cheap to clone; only the
/// [`CertificateActor`](crate::certificate::CertificateActor) changes it, holding the ledger.
#[derive(Clone)]
pub struct WaitingKeys {
    folder: Arc<Path>,
    requests: Arc<ArcSwap<Vec<Arc<CertificateRequest>>>>,
}

/// Keys that wait no more and are not removed yet.
pub(crate) struct SetAside {
    /// Where each lay, and where it lies now.
    moved: Vec<(PathBuf, PathBuf)>,
    requests: Arc<Vec<Arc<CertificateRequest>>>,
}

/// A key and its request, made but not stored yet.
pub(crate) struct FreshRequest {
    details: RequestDetails,
    made: Made,
}

impl FreshRequest {
    /// Makes the key. Takes up to some seconds: call it on a blocking thread.
    pub(crate) fn make(details: RequestDetails) -> Result<Self, RequestError> {
        let made = make(&details)?;
        Ok(Self { details, made })
    }
}

impl WaitingKeys {
    /// Reads what waits under `data_dir`, and removes leftovers and what has waited too long.
    /// Blocks. A request that cannot be read is told in the log and left for somebody to look at.
    ///
    /// # Errors
    /// The folder cannot be made, read or cleared.
    pub fn open(data_dir: &Path, now: Moment) -> Result<Self, StoreError> {
        let folder = data_dir.join(FOLDER);
        if fs::metadata(&folder).is_ok_and(|found| !found.is_dir()) {
            let reason =
                "is no folder; move it away, or put the folder of that name back from a backup"
                    .into();
            return Err(StoreError::Malformed { path: folder, reason });
        }
        make_dir(&folder)?;
        let mut requests = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io("list", &folder))? {
            let path = entry.map_err(io("list", &folder))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if is_leftover(name) {
                if let Err(err) = fs::remove_dir_all(&path) {
                    log::warn!("cannot remove the leftover {}: {err}", path.display());
                }
            } else if let Ok(id) = name.parse() {
                match read(&path, id, now) {
                    Ok(request) => requests.push(Arc::new(request)),
                    Err(err) => log::error!("a waiting key cannot be used: {}", with_source(&err)),
                }
            }
        }
        requests.sort_by(|a, b| (a.created, a.id.as_str()).cmp(&(b.created, b.id.as_str())));
        let waiting =
            Self { folder: folder.into(), requests: Arc::new(ArcSwap::from_pointee(requests)) };
        waiting.remove_expired(now.running)?;
        Ok(waiting)
    }

    /// The requests whose keys wait at a running time, oldest first.
    #[must_use]
    pub fn requests(&self, running: Duration) -> Vec<Arc<CertificateRequest>> {
        let requests = self.requests.load();
        requests.iter().filter(|request| !has_waited(request, running)).cloned().collect()
    }

    /// Says anew at what time of the wall clock each ends to wait; the clock was set.
    pub(crate) fn reckon(&self, now: Moment) {
        self.publish(|requests| {
            for request in requests {
                let expires = told_end(request.expires, request.waits_since, now);
                *request = Arc::new(CertificateRequest { expires, ..(**request).clone() });
            }
        });
    }

    /// One of them.
    #[must_use]
    pub fn request(&self, id: &RequestId, running: Duration) -> Option<Arc<CertificateRequest>> {
        self.requests(running).into_iter().find(|request| request.id == *id)
    }

    /// Whether a key has waited too long and is still there.
    #[must_use]
    pub fn has_expired(&self, running: Duration) -> bool {
        self.requests.load().iter().any(|request| has_waited(request, running))
    }

    /// The keys themselves, for an upload without a key. Blocks. One that cannot be read is told
    /// in the log and left out; one that was removed meanwhile is not missed.
    #[must_use]
    pub fn keys(&self, running: Duration) -> Vec<WaitingKey> {
        let mut keys = Vec::new();
        for request in self.requests(running) {
            match read_key(&self.path(&request.id)) {
                Ok(pkcs8) => keys.push(WaitingKey { id: request.id.to_string(), pkcs8 }),
                Err(err) if is_missing(&err) => {}
                Err(err) => log::error!("a waiting key cannot be used: {}", with_source(&err)),
            }
        }
        keys
    }

    /// Whether another key may wait.
    ///
    /// # Errors
    /// As many wait as may.
    pub(crate) fn check_room(&self, running: Duration) -> Result<(), RequestError> {
        if self.requests(running).len() < MAX_WAITING { Ok(()) } else { Err(RequestError::TooMany) }
    }

    /// Keeps a fresh key. Blocks; durable once it returns.
    pub(crate) fn add(
        &self,
        fresh: FreshRequest,
        now: Moment,
    ) -> Result<Arc<CertificateRequest>, RequestError> {
        self.remove_expired(now.running)?;
        self.check_room(now.running)?;
        let FreshRequest { details, made } = fresh;
        let request = Arc::new(CertificateRequest {
            id: RequestId::random(),
            csr: made.csr,
            details,
            created: now.wall,
            expires: ends_at(now.running, now),
            spki_sha256: made.spki_sha256,
            waits_since: now.running,
        });
        self.write(&request, &made.pkcs8)?;
        self.publish(|requests| requests.push(request.clone()));
        Ok(request)
    }

    /// Removes one; says whether it was there. Blocks.
    pub(crate) fn remove(&self, id: &RequestId) -> Result<bool, StoreError> {
        self.remove_where(|request| request.id == *id).map(|count| count > 0)
    }

    /// Removes the one whose certificate has come. Blocks.
    pub(crate) fn remove_key_of(&self, spki_sha256: &str) -> Result<bool, StoreError> {
        self.remove_where(|request| request.spki_sha256 == spki_sha256).map(|count| count > 0)
    }

    /// Removes what has waited too long. Blocks.
    pub(crate) fn remove_expired(&self, running: Duration) -> Result<usize, StoreError> {
        let count = self.remove_where(|request| has_waited(request, running))?;
        if count > 0 {
            log::info!("{count} waiting keys removed: no certificate came in time");
        }
        Ok(count)
    }

    /// Lets none wait any more, those that cannot be read included, until they are put back or
    /// discarded; a start removes them as well. Blocks. On an error they all wait as before.
    pub(crate) fn set_aside(&self) -> Result<SetAside, StoreError> {
        let mut aside = SetAside { moved: Vec::new(), requests: self.requests.load_full() };
        let moved = self.rename_all(&mut aside.moved).and_then(|()| sync_dir(&self.folder));
        if let Err(err) = moved {
            self.put_back(aside);
            return Err(err);
        }
        self.requests.store(Arc::default());
        Ok(aside)
    }

    fn rename_all(&self, moved: &mut Vec<(PathBuf, PathBuf)>) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.folder).map_err(io("list", &self.folder))? {
            let entry = entry.map_err(io("list", &self.folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.parse::<RequestId>().is_err() {
                continue;
            }
            let (from, to) = (entry.path(), self.folder.join(format!(".{name}")));
            fs::rename(&from, &to).map_err(io("rename", &from))?;
            moved.push((from, to));
        }
        Ok(())
    }

    /// Lets those wait again that were set aside. Blocks. One that cannot be moved is told in the
    /// log; a start would remove it.
    pub(crate) fn put_back(&self, aside: SetAside) {
        for (path, aside) in &aside.moved {
            if let Err(err) = fs::rename(aside, path) {
                log::error!("the waiting key {} is lost: {err}", path.display());
            }
        }
        if let Err(err) = sync_dir(&self.folder) {
            log::error!("{}", with_source(&err));
        }
        self.requests.store(aside.requests);
    }

    /// Removes what was set aside. What cannot be removed waits no more all the same, is told in the
    /// log, and is removed by the next start. Blocks.
    pub(crate) fn discard(&self, aside: SetAside) {
        let mut removed = aside
            .moved
            .iter()
            .try_for_each(|(_, path)| fs::remove_dir_all(path).map_err(io("remove", path)));
        removed = removed.and_then(|()| sync_dir(&self.folder));
        if let Err(err) = removed {
            log::error!(
                "a key that waits no more is removed by the next start: {}",
                with_source(&err)
            );
        }
    }

    fn remove_where(
        &self,
        mut unwanted: impl FnMut(&CertificateRequest) -> bool,
    ) -> Result<usize, StoreError> {
        let requests = self.requests.load_full();
        let unwanted: Vec<_> = requests.iter().filter(|request| unwanted(request)).collect();
        for request in &unwanted {
            let (path, aside) = (self.path(&request.id), self.aside(&request.id));
            match fs::rename(&path, &aside) {
                Ok(()) => {
                    sync_dir(&self.folder)?;
                    fs::remove_dir_all(&aside).map_err(io("remove", &aside))?;
                }
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => return Err(io("remove", &path)(err)),
            }
            self.publish(|requests| requests.retain(|kept| kept.id != request.id));
        }
        Ok(unwanted.len())
    }

    fn write(&self, request: &CertificateRequest, pkcs8: &[u8]) -> Result<(), StoreError> {
        let record = record_of(request);
        let (aside, path) = (self.aside(&request.id), self.path(&request.id));
        let written = make_dir(&aside)
            .and_then(|()| write_file(&aside.join(KEY), private_key_pem(pkcs8).as_bytes()))
            .and_then(|()| write_file(&aside.join(REQUEST), request.csr.as_bytes()))
            .and_then(|()| write_file(&aside.join(RECORD), &record))
            .and_then(|()| sync_dir(&aside))
            .and_then(|()| fs::rename(&aside, &path).map_err(io("rename", &aside)))
            .and_then(|()| sync_dir(&self.folder));
        if written.is_err() {
            let _ = fs::remove_dir_all(&aside);
            let _ = fs::remove_dir_all(&path);
        }
        written
    }

    fn publish(&self, change: impl FnOnce(&mut Vec<Arc<CertificateRequest>>)) {
        let mut requests = Vec::clone(&self.requests.load());
        change(&mut requests);
        self.requests.store(Arc::new(requests));
    }

    fn path(&self, id: &RequestId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    fn aside(&self, id: &RequestId) -> PathBuf {
        self.folder.join(format!(".{id}"))
    }
}

impl std::fmt::Debug for WaitingKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WaitingKeys")
            .field("waiting", &self.requests.load().len())
            .finish_non_exhaustive()
    }
}

/// Whether a crash left it: an id with a dot before it.
fn is_leftover(name: &str) -> bool {
    name.strip_prefix('.').is_some_and(|id| id.parse::<RequestId>().is_ok())
}

/// Whether a key has waited its time. A running time that was lost counts as none.
fn has_waited(request: &CertificateRequest, running: Duration) -> bool {
    running.saturating_sub(request.waits_since) >= WAITING_TIME
}

/// When a key ends to wait, if the clock is right and the appliance always runs.
fn ends_at(since: Duration, now: Moment) -> OffsetDateTime {
    let left = WAITING_TIME.saturating_sub(now.running.saturating_sub(since));
    now.wall.checked_add(left.try_into().unwrap_or_default()).unwrap_or(now.wall)
}

/// What was told before, unless the clock was set since or the appliance was off for long.
fn told_end(told: OffsetDateTime, since: Duration, now: Moment) -> OffsetDateTime {
    let end = ends_at(since, now);
    if (end - told).abs() < DAY { told } else { end }
}

fn record_of(request: &CertificateRequest) -> Vec<u8> {
    let record = Record {
        details: request.details.clone(),
        created: request.created,
        expires: request.expires,
        spki_sha256: request.spki_sha256.clone(),
        waits_since_running_seconds: Some(request.waits_since.as_secs()),
    };
    serde_json::to_vec(&record).expect("plain structs of strings serialise")
}

fn read(folder: &Path, id: RequestId, now: Moment) -> Result<CertificateRequest, StoreError> {
    let path = folder.join(RECORD);
    let bytes = read_whole(&path)?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|err| {
        let reason = format!("is damaged at line {} column {}", err.line(), err.column());
        StoreError::Malformed { path, reason }
    })?;
    let path = folder.join(REQUEST);
    let csr = String::from_utf8_lossy(&read_whole(&path)?).into_owned();
    let Record { details, created, expires, spki_sha256, waits_since_running_seconds: since } =
        record;
    // One of an earlier version waits from now on.
    let waits_since = since.map_or(now.running, Duration::from_secs);
    let expires = told_end(expires, waits_since, now);
    let request =
        CertificateRequest { id, csr, details, created, expires, spki_sha256, waits_since };
    if since.is_none() {
        let (fresh, path) = (folder.join(FRESH_RECORD), folder.join(RECORD));
        let _ = fs::remove_file(&fresh);
        write_file(&fresh, &record_of(&request))?;
        fs::rename(&fresh, &path).map_err(io("rename", &fresh))?;
    }
    Ok(request)
}

/// What else lies in the place of a file is not waited for.
fn read_whole(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let bytes = read_at_most(path, MAX_FILE);
    let bytes = bytes.and_then(|bytes| bytes.ok_or_else(|| ErrorKind::NotFound.into()));
    bytes.map_err(io("read", path))
}

fn read_key(folder: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let path = folder.join(KEY);
    let pem = read_whole(&path)?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&pem)
        .map_err(|_| StoreError::Malformed { path, reason: "does not hold a PKCS#8 key".into() })?;
    let pkcs8 = Zeroizing::new(key.secret_pkcs8_der().to_vec());
    PrivateKeyDer::Pkcs8(key).zeroize();
    Ok(pkcs8)
}

fn is_missing(err: &StoreError) -> bool {
    matches!(err, StoreError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

fn with_source(err: &StoreError) -> String {
    use std::error::Error;
    err.source().map_or_else(|| err.to_string(), |source| format!("{err}: {source}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::NewRequest, *};

    /// The clock is in 1970, and the appliance has run for a thousand days.
    const START: Moment =
        Moment { wall: OffsetDateTime::UNIX_EPOCH, running: Duration::from_secs(1000 * 24 * 3600) };

    fn after(time: Duration) -> Moment {
        Moment { wall: START.wall + time, running: START.running + time }
    }

    fn fresh() -> FreshRequest {
        let names = Some(vec!["appliance.example.test".to_owned(), "192.0.2.7".to_owned()]);
        let details = NewRequest { names, ..NewRequest::default() }.check().unwrap();
        FreshRequest::make(details).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_waiting_key_is_found_again_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let keys = waiting.keys(START.running);
        assert_eq!(keys.len(), 1);

        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        assert_eq!(*waiting.requests(START.running)[0], *added);
        assert_eq!(*waiting.keys(START.running)[0].pkcs8, *keys[0].pkcs8);
        assert_eq!(waiting.request(&added.id, START.running), Some(added.clone()));
        assert!(waiting.remove(&added.id).unwrap() && !waiting.remove(&added.id).unwrap());
        assert!(fs::read_dir(dir.path().join(FOLDER)).unwrap().next().is_none());
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let folder = dir.path().join(FOLDER).join(added.id.as_str());
        assert_eq!((mode(&dir.path().join(FOLDER)), mode(&folder)), (0o700, 0o700));
        for name in [KEY, REQUEST, RECORD] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        let key = fs::read_to_string(folder.join(KEY)).unwrap();
        assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    }

    #[test]
    fn thirty_days_are_the_end_of_the_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let last = after(WAITING_TIME - Duration::from_secs(1));
        assert_eq!(waiting.keys(last.running).len(), 1);
        assert!(
            !waiting.has_expired(last.running)
                && waiting.remove_expired(last.running).unwrap() == 0
        );

        let end = after(WAITING_TIME);
        assert!(waiting.requests(end.running).is_empty() && waiting.keys(end.running).is_empty());
        assert!(
            waiting.has_expired(end.running) && waiting.request(&added.id, end.running).is_none()
        );
        let restarted = WaitingKeys::open(dir.path(), end).unwrap();
        assert!(!restarted.has_expired(end.running));
        assert!(fs::read_dir(dir.path().join(FOLDER)).unwrap().next().is_none());
    }

    #[test]
    fn no_step_of_the_clock_ends_the_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let day = Duration::from_secs(24 * 3600);
        for wall in [
            OffsetDateTime::UNIX_EPOCH + day * 40,
            OffsetDateTime::UNIX_EPOCH + day * 3650,
            OffsetDateTime::UNIX_EPOCH - day * 3650,
            time::Date::MAX.midnight().assume_utc(),
        ] {
            let now = Moment { wall, running: START.running + day };
            waiting.reckon(now);
            let listed = waiting.requests(now.running);
            assert_eq!(listed.len(), 1, "{wall}");
            let left = listed[0].expires - wall;
            assert!(left == day * 29 || left.is_zero(), "{wall}: {left}");
            let restarted = WaitingKeys::open(dir.path(), now).unwrap();
            assert_eq!(restarted.request(&added.id, now.running).unwrap().created, added.created);
            assert_eq!(restarted.keys(now.running).len(), 1, "{wall}");
        }
        // A running time that was lost is none: the key waits for longer.
        let restarted = WaitingKeys::open(dir.path(), Moment { running: day, ..START }).unwrap();
        assert_eq!(restarted.keys(day * 2).len(), 1);
    }

    #[test]
    fn a_key_of_an_earlier_version_waits_from_its_first_start_on() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let path = waiting.path(&added.id).join(RECORD);
        let mut record: serde_json::Value =
            serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        record.as_object_mut().unwrap().remove("waits_since_running_seconds").unwrap();
        fs::write(&path, record.to_string()).unwrap();

        let first = after(WAITING_TIME * 2);
        let restarted = WaitingKeys::open(dir.path(), first).unwrap();
        assert_eq!(restarted.keys(first.running).len(), 1);
        let last = after(WAITING_TIME * 3 - Duration::from_secs(1));
        let restarted = WaitingKeys::open(dir.path(), last).unwrap();
        assert_eq!(restarted.keys(last.running).len(), 1);
        let end = after(WAITING_TIME * 3);
        assert!(WaitingKeys::open(dir.path(), end).unwrap().keys(end.running).is_empty());
    }

    #[test]
    fn a_seventeenth_key_waits_only_where_one_has_gone() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        for _ in 0..MAX_WAITING {
            waiting.add(fresh(), START).unwrap();
        }
        assert!(matches!(waiting.add(fresh(), START), Err(RequestError::TooMany)));
        let oldest = waiting.requests(START.running)[0].id.clone();
        waiting.remove(&oldest).unwrap();
        waiting.add(fresh(), START).unwrap();
        waiting.add(fresh(), after(WAITING_TIME)).expect("the others are over by then");
        assert_eq!(waiting.requests(START.running).len(), 1);
        waiting.discard(waiting.set_aside().unwrap());
        assert!(waiting.requests(START.running).is_empty());
    }

    #[test]
    fn a_key_goes_with_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let (used, other) =
            (waiting.add(fresh(), START).unwrap(), waiting.add(fresh(), START).unwrap());
        assert!(waiting.remove_key_of(&used.spki_sha256).unwrap());
        assert!(!waiting.remove_key_of(&used.spki_sha256).unwrap());
        assert_eq!(waiting.requests(START.running), [other]);
    }

    #[test]
    fn keys_that_were_set_aside_wait_again_or_are_gone_after_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let added = waiting.add(fresh(), START).unwrap();
        let aside = waiting.set_aside().unwrap();
        assert!(
            waiting.requests(START.running).is_empty() && waiting.keys(START.running).is_empty()
        );
        waiting.put_back(aside);
        assert_eq!(waiting.requests(START.running), [added]);
        assert_eq!(waiting.keys(START.running).len(), 1);

        waiting.set_aside().unwrap();
        let restarted = WaitingKeys::open(dir.path(), START).unwrap();
        assert!(restarted.requests(START.running).is_empty());
        assert!(fs::read_dir(dir.path().join(FOLDER)).unwrap().next().is_none());
    }

    #[test]
    fn leftovers_of_a_crash_are_removed_and_damage_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        let (whole, damaged) =
            (waiting.add(fresh(), START).unwrap(), waiting.add(fresh(), START).unwrap());
        let half = waiting.aside(&RequestId::random());
        fs::create_dir(&half).unwrap();
        fs::write(half.join(KEY), "half a key").unwrap();
        fs::write(waiting.path(&damaged.id).join(RECORD), "{").unwrap();

        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        assert!(!half.exists() && waiting.path(&damaged.id).exists());
        assert_eq!(waiting.requests(START.running), [whole]);
        waiting.discard(waiting.set_aside().unwrap());
        assert!(!waiting.path(&damaged.id).exists());
    }

    #[test]
    fn what_is_not_ours_stays_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(FOLDER);
        let foreign = [".snapshot", ".stfolder", "lost+found", "README", ".DS_Store"];
        for name in &foreign[..3] {
            fs::create_dir_all(folder.join(name)).unwrap();
            fs::write(folder.join(name).join("something"), "of somebody").unwrap();
        }
        for name in &foreign[3..] {
            fs::write(folder.join(name), "of somebody").unwrap();
        }
        let waiting = WaitingKeys::open(dir.path(), START).unwrap();
        waiting.add(fresh(), START).unwrap();
        waiting.discard(waiting.set_aside().unwrap());
        WaitingKeys::open(dir.path(), START).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [".DS_Store", ".snapshot", ".stfolder", "README", "lost+found"]);
        assert!(folder.join(".snapshot/something").exists());
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FOLDER), "no folder").unwrap();
        let refused = WaitingKeys::open(dir.path(), START).unwrap_err().to_string();
        assert!(refused.contains("waiting-keys is no folder; move it away"), "{refused}");
    }

    #[test]
    fn ids_are_random_and_nothing_else_passes_for_one() {
        assert_ne!(RequestId::random(), RequestId::random());
        let id = RequestId::random();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        for wrong in
            ["", ".", "..", "../state", &id.as_str()[1..], &id.as_str().replace(|_| true, "G")]
        {
            assert!(wrong.parse::<RequestId>().is_err(), "{wrong}");
        }
    }
}
