//! What one revision holds: a folder of small files that an operator can read and edit.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc::channel},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    AdminAccess, ChangeNote, Loaded, State, StoreError, StoredBundle, create_file, io,
    kind::{Kind, kind},
    make_dir,
};
use crate::{blocking::Pool, files::read_at_most, settings::StoredSettings};

pub(super) const USERS: &str = "management-auth-secret/users";
pub(super) const OPEN: &str = "management-auth-secret/disabled";
pub(super) const CERTIFICATE: &str = "tls/tls.crt";
pub(super) const KEY: &str = "tls/tls.key";
const INSTALLED: &str = "tls/installed.json";
pub(super) const INSECURE_PORTS: &str = "insecure-ports";
pub(super) const JOB_TOKEN: &str = "job-token";
const SETTINGS: &str = "settings.json";
pub(super) const CHANGE: &str = "change.json";
/// Made once the link has pointed here: what never had it is left over from a crash.
pub(super) const WAS_CURRENT: &str = "was-current";

/// A state file is small; anything larger is not ours.
const MAX_FILE: u64 = 4 << 20;

/// `change.json`: why there is this revision, and what it holds.
#[derive(Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    note: Option<ChangeNote>,
    /// The files whose loss would open something or take something away. Absent in revisions of
    /// versions that did not write it.
    #[serde(default)]
    files: Vec<String>,
}

/// Writes all of a revision, then makes all of it durable at once: file systems with a journal
/// answer fsyncs that come together with one write of it.
pub(super) fn write(
    dir: &Path,
    state: &State,
    note: &ChangeNote,
    owner: Option<Owner>,
    helpers: Option<&Pool>,
) -> Result<(), StoreError> {
    let mut written = Unsynced::default();
    let mut files = Vec::new();
    written.folder(dir)?;
    written.folder(&dir.join("management-auth-secret"))?;
    let mut put = |name: &str, bytes: &[u8]| {
        files.push(name.to_owned());
        written.file(dir.join(name), bytes)
    };
    match &state.admin {
        AdminAccess::Htpasswd(line) => {
            put(USERS, STANDARD.encode(format!("{line}\n")).as_bytes())?;
        }
        AdminAccess::Open => put(OPEN, b"authentication is off\n")?,
    }
    if let Some(bundle) = &state.tls {
        make_dir(&dir.join("tls"))?;
        put(KEY, bundle.key_pem.as_bytes())?;
        put(CERTIFICATE, bundle.certificate_pem.as_bytes())?;
        if let Some(installed) = &bundle.installed {
            put(INSTALLED, &json(installed))?;
        }
    }
    put(INSECURE_PORTS, if state.insecure_ports { b"enabled\n" } else { b"disabled\n" })?;
    if let Some(token) = &state.job_token {
        put(JOB_TOKEN, token.as_bytes())?;
    }
    if state.settings != StoredSettings::default() {
        put(SETTINGS, &json(&state.settings))?;
    }
    written.file(dir.join(CHANGE), &json(&Record { note: Some(note.clone()), files }))?;
    if state.tls.is_some() {
        written.existing_folder(&dir.join("tls"))?;
    }
    written.belong_to(owner)?;
    written.sync(helpers)
}

/// Reads a revision.
pub(super) fn read_from(dir: &Path) -> Result<Loaded, StoreError> {
    let record = read_record(dir);
    let unknown = record.is_none();
    let files = record.map(|record| record.files).unwrap_or_default();
    let (tls, unusable_bundle) = match read_bundle(dir, &files) {
        Ok(tls) => (tls, None),
        Err(err) => (None, Some(err)),
    };
    let missing = |name: &str, reason: &str| StoreError::Malformed {
        path: dir.join(name),
        reason: reason.into(),
    };
    let job_token = read_text(&dir.join(JOB_TOKEN))?;
    if job_token.is_none() && files.iter().any(|name| name == JOB_TOKEN) {
        return Err(missing(JOB_TOKEN, "is missing though a token was set"));
    }
    if job_token.is_none() && unknown {
        return Err(missing(
            CHANGE,
            "is missing or damaged, so that nobody can tell whether a job token was set; put `{}` there if none was",
        ));
    }
    let settings = read_settings(&dir.join(SETTINGS))?;
    if settings.is_none() && files.iter().any(|name| name == SETTINGS) {
        log::warn!("{} is missing; the configured settings hold", dir.join(SETTINGS).display());
    }
    let state = State {
        admin: read_admin(dir)?,
        tls,
        insecure_ports: read_exposure(&dir.join(INSECURE_PORTS))?,
        job_token: job_token
            .map(|token| {
                let token = Zeroizing::new(token.trim().to_owned());
                if token.is_empty() {
                    return Err(missing(JOB_TOKEN, "is empty; put the token there"));
                }
                Ok(token)
            })
            .transpose()?,
        settings: settings.unwrap_or_default(),
    };
    Ok(Loaded { state, unusable_bundle })
}

/// Why there is a revision, if that can be read.
pub(super) fn read_note(dir: &Path) -> Option<ChangeNote> {
    read_record(dir)?.note
}

/// The record of a revision that somebody has made by hand: what it holds before it is used for the
/// first time.
pub(super) fn record_of(dir: &Path) -> Vec<u8> {
    let known = [USERS, OPEN, CERTIFICATE, KEY, INSECURE_PORTS, JOB_TOKEN, SETTINGS];
    let there = known.into_iter().filter(|name| dir.join(name).exists());
    json(&Record { note: None, files: there.map(str::to_owned).collect() })
}

/// `None` where it is missing or damaged.
fn read_record(dir: &Path) -> Option<Record> {
    serde_json::from_slice(&read(&dir.join(CHANGE)).ok()??).ok()
}

fn read_admin(dir: &Path) -> Result<AdminAccess, StoreError> {
    let (users, open) = (dir.join(USERS), dir.join(OPEN));
    let malformed = |path: &Path, reason: &str| StoreError::Malformed {
        path: path.to_owned(),
        reason: reason.into(),
    };
    match (kind(&users)?, kind(&open)?) {
        (_, None) => Ok(AdminAccess::Htpasswd(read_users(&users)?)),
        (None, Some(Kind::File)) => Ok(AdminAccess::Open),
        (None, Some(other)) => Err(malformed(
            &open,
            &format!("is {other}; a file of that name switches authentication off"),
        )),
        (Some(_), Some(_)) => Err(malformed(
            &open,
            "lies beside `users`, so that authentication is both on and off; remove one of the two",
        )),
    }
}

/// Reads the documented `users` value: base64 of one htpasswd line.
fn read_users(path: &Path) -> Result<String, StoreError> {
    let malformed =
        |reason: &str| StoreError::Malformed { path: path.to_owned(), reason: reason.into() };
    let text = read_text(path)?.ok_or_else(|| malformed("is missing"))?;
    let compact: String = text.split_whitespace().collect();
    let line = STANDARD
        .decode(&compact)
        .map_err(|_| malformed("is not base64 of an htpasswd line (admin:$2y$…)"))?;
    let line = String::from_utf8(line)
        .map_err(|_| malformed("holds base64 of something that is not text"))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn read_bundle(dir: &Path, files: &[String]) -> Result<Option<StoredBundle>, StoreError> {
    let certificate = read_text(&dir.join(CERTIFICATE))?;
    let key = read_text(&dir.join(KEY))?.map(Zeroizing::new);
    let missing = |name: &str, why: &str| StoreError::Malformed {
        path: dir.join(name),
        reason: format!("is missing {why}"),
    };
    match (certificate, key) {
        (None, None) if files.iter().any(|name| name == KEY) => {
            Err(missing(KEY, "though a certificate was installed"))
        }
        (None, None) => Ok(None),
        (None, Some(_)) => Err(missing(CERTIFICATE, "while the other half of the pair is there")),
        (Some(_), None) => Err(missing(KEY, "while the other half of the pair is there")),
        (Some(certificate_pem), Some(key_pem)) => {
            // Only tells who installed it.
            let installed = read(&dir.join(INSTALLED)).ok().flatten();
            let installed = installed.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            Ok(Some(StoredBundle { certificate_pem, key_pem, installed }))
        }
    }
}

fn read_exposure(path: &Path) -> Result<bool, StoreError> {
    match read_text(path)?.as_deref().map(str::trim) {
        Some("enabled") => Ok(true),
        Some("disabled") => Ok(false),
        found => Err(StoreError::Malformed {
            path: path.to_owned(),
            reason: match found {
                None => "is missing; it must hold `enabled` or `disabled`".into(),
                Some(_) => "must hold `enabled` or `disabled`".into(),
            },
        }),
    }
}

fn read_settings(path: &Path) -> Result<Option<StoredSettings>, StoreError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|err| StoreError::Malformed {
        path: path.to_owned(),
        reason: format!(
            "is not the JSON of settings ({err}); put `{{}}` there to use the configured ones"
        ),
    })
}

fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    read(path)?
        .map(|bytes| {
            String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Malformed {
                path: path.to_owned(),
                reason: "is not text".into(),
            })
        })
        .transpose()
}

fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    read_at_most(path, MAX_FILE).map_err(io("read", path))
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("plain structs of strings serialise");
    bytes.push(b'\n');
    bytes
}

/// Whom new files are given: whoever owns the data directory, where root works in it for a service
/// that runs as somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

/// Files and folders that are written but may not survive a crash yet.
#[derive(Default)]
struct Unsynced(Vec<(PathBuf, File)>);

impl Unsynced {
    fn file(&mut self, path: PathBuf, bytes: &[u8]) -> Result<(), StoreError> {
        let file = create_file(&path, bytes)?;
        self.0.push((path, file));
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> Result<(), StoreError> {
        make_dir(path)?;
        self.existing_folder(path)
    }

    fn existing_folder(&mut self, path: &Path) -> Result<(), StoreError> {
        let folder = File::open(path).map_err(io("open", path))?;
        self.0.push((path.to_owned(), folder));
        Ok(())
    }

    fn belong_to(&self, owner: Option<Owner>) -> Result<(), StoreError> {
        let Some(Owner { user, group }) = owner else { return Ok(()) };
        self.0.iter().try_for_each(|(path, file)| {
            std::os::unix::fs::fchown(file, Some(user), Some(group)).map_err(io("give away", path))
        })
    }

    /// Waits until all of them are durable. The helpers do a part of it; none is waited for that
    /// has something else to do.
    fn sync(self, helpers: Option<&Pool>) -> Result<(), StoreError> {
        let count = self.0.len();
        let queue = Arc::new(Mutex::new(self.0));
        let (give, given) = channel();
        let drain = move || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some((path, file)) = next else { return };
                let _ = give.send(file.sync_all().map_err(io("sync", &path)));
            }
        };
        if let Some(helpers) = helpers {
            for _ in 1..HELPERS.min(count) {
                helpers.submit(drain.clone());
            }
        }
        drain();
        drop(drain);
        given.iter().take(count).collect()
    }
}

/// How many threads make a revision durable together, the one that writes it included.
pub(super) const HELPERS: usize = 4;

/// Removes something of ours, file or folder, if it is there.
pub(super) fn remove(path: &Path) -> std::io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(err) => Err(err),
    };
    match removed {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
