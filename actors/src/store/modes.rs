//! Files of the data directory that others than its owner can read or change.

use std::{
    fs::{self, OpenOptions, Permissions},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::{fcntl::OFlag, unistd::geteuid};

/// What holds keys, passwords and settings: nothing of it is for others.
const SECRET: [&str; 4] = ["state", "default-certificate", "waiting-keys", "audit"];
/// Whoever can write here can put something else in place of what lies below.
const SHARED: [&str; 7] =
    ["", "log", "jobs", "services", "lock", "initialised", "running-time.json"];
/// The state keeps some hundred files; what is beyond is not ours.
const MAX_ENTRIES: usize = 4096;

/// Something that was open to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenMode {
    pub path: PathBuf,
    /// The permission bits as they were found.
    pub mode: u32,
    /// Why it is open still.
    pub left: Option<String>,
}

/// Closes what belongs to us and is open to others; tells what was found, outermost first. Blocks.
/// Links are not followed.
#[must_use]
pub fn close_to_others(data_dir: &Path) -> Vec<OpenMode> {
    let mut found = Vec::new();
    for name in SHARED {
        found.extend(close(&data_dir.join(name), 0o022));
    }
    if let Ok(entries) = fs::read_dir(data_dir.join("log")) {
        let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
        found.extend(entries.take(MAX_ENTRIES).filter_map(|path| close(&path, 0o022)));
    }
    let mut waiting: Vec<PathBuf> = SECRET.iter().rev().map(|name| data_dir.join(name)).collect();
    let mut seen = 0;
    while let Some(path) = waiting.pop() {
        seen += 1;
        if seen > MAX_ENTRIES {
            break;
        }
        found.extend(close(&path, 0o077));
        if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir())
            && let Ok(entries) = fs::read_dir(&path)
        {
            waiting.extend(entries.filter_map(|entry| Some(entry.ok()?.path())).take(MAX_ENTRIES));
        }
    }
    found
}

/// All of it in one sentence.
#[must_use]
pub fn describe(found: &[OpenMode]) -> Option<String> {
    let first = found.first()?;
    let one = |open: &OpenMode| format!("{} (mode {:04o})", open.path.display(), open.mode);
    let rest = match found.len() {
        1 => String::new(),
        count => format!(" and {} more below the data directory", count - 1),
    };
    let outcome = match found.iter().find(|open| open.left.is_some()) {
        None => "closed now".to_owned(),
        Some(open) => {
            format!("{} stays open: {}", one(open), open.left.as_deref().unwrap_or_default())
        }
    };
    Some(format!(
        "open to other users of the machine: {}{rest}; {outcome}; keys and passwords may have been read, so replace them if others use this machine",
        one(first)
    ))
}

fn close(path: &Path, unwanted: u32) -> Option<OpenMode> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let kind = metadata.file_type();
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & unwanted == 0 || !(kind.is_file() || kind.is_dir()) {
        return None;
    }
    let (ours, owner) = (geteuid(), metadata.uid());
    let left = if ours.is_root() || ours.as_raw() == owner {
        set_mode(path, mode & !unwanted).err().map(|err| err.to_string())
    } else {
        Some(format!("it belongs to uid {owner}, and this process runs as uid {ours}"))
    };
    Some(OpenMode { path: path.to_owned(), mode, left })
}

/// By the file, not by its name, which others may have turned into a link meanwhile.
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_is_named_and_closed() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("state/revisions/1/tls/tls.key");
        fs::create_dir_all(key.parent().unwrap()).unwrap();
        fs::write(&key, "key").unwrap();
        fs::create_dir(dir.path().join("log")).unwrap();
        let log = dir.path().join("log/portcullis.log");
        fs::write(&log, "line").unwrap();
        let modes = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        for path in ["state", "state/revisions", "state/revisions/1", "state/revisions/1/tls"] {
            set(&dir.path().join(path), 0o700).unwrap();
        }
        set(&key, 0o600).unwrap();
        set(dir.path(), 0o755).unwrap();
        assert!(close_to_others(dir.path()).is_empty(), "a folder may be seen from outside");

        set(&log, 0o666).unwrap();
        assert_eq!(close_to_others(dir.path()).len(), 1, "a log that others can write");
        assert_eq!(modes(&log), 0o644, "and may read, if the folder lets them");

        set(dir.path(), 0o777).unwrap();
        set(&dir.path().join("state"), 0o750).unwrap();
        set(&key, 0o666).unwrap();
        let found = close_to_others(dir.path());
        let told = describe(&found).unwrap();
        assert_eq!(found.len(), 3, "{told}");
        assert!(told.contains("(mode 0777) and 2 more") && told.contains("closed now"), "{told}");
        assert_eq!((modes(dir.path()), modes(&key)), (0o755, 0o600));
        assert!(close_to_others(dir.path()).is_empty());
    }
}
