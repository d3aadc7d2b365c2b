//! The state of the appliance and where it is kept.
//!
//! A [`State`] is always written and read whole, so that a crash leaves either the old one or the
//! new one. [`FileStore`] keeps it in a folder; a cluster would bring a store of its own.

mod ballast;
mod file;
mod kind;
mod lock;
mod modes;
mod revision;
mod survey;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::settings::StoredSettings;

use self::file::create_file;
pub(crate) use self::file::{io, make_dir, sync_dir, write_file};
pub use self::{
    file::{FileStore, KEPT_REVISIONS, Kept},
    modes::{OpenMode, close_to_others, describe as describe_open_modes},
};

/// Everything that an administrator can change at run time.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// Who may administer the appliance.
    pub admin: AdminAccess,
    /// The installed certificate bundle; `None` while the default certificate serves.
    pub tls: Option<StoredBundle>,
    /// Whether plain ports serve (`true`) or redirect (`false`).
    pub insecure_ports: bool,
    /// The token that the speech services ask for; `None` while they are open.
    pub job_token: Option<Zeroizing<String>>,
    /// What an administrator has set that the configuration says otherwise.
    pub settings: StoredSettings,
}

/// How requests to the management and security APIs are authenticated.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminAccess {
    /// Basic authentication against one htpasswd line, `admin:$2y$…`.
    Htpasswd(String),
    /// Authentication was switched off on purpose.
    Open,
}

/// A certificate bundle in the form in which it is stored: canonical PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// Leaf first, then its issuers.
    pub certificate_pem: String,
    /// The private key.
    pub key_pem: Zeroizing<String>,
    /// When and by whom it was installed; unknown for files that something else put there.
    pub installed: Option<Installed>,
}

/// When, by whom and from where something was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Installed {
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: OffsetDateTime,
    /// The user and the address, as in `admin from 192.0.2.7`.
    pub by: String,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("tls", &self.tls.is_some())
            .field("insecure_ports", &self.insecure_ports)
            .field("job_token", &self.job_token.is_some())
            .finish_non_exhaustive()
    }
}

/// The number of a revision; each change makes the next one.
pub type Revision = u64;

/// Why a revision was written, kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeNote {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// What was done, in the past tense: `certificate installed`.
    pub what: String,
    /// The user and the address, as in `admin from 192.0.2.7`.
    pub by: String,
}

/// One line of the history of revisions.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryEntry {
    pub revision: Revision,
    pub current: bool,
    /// Whether it was ever in force: one that a crash left behind was not.
    pub was_current: bool,
    #[serde(flatten)]
    pub note: Option<ChangeNote>,
}

/// A state as it was read, and the reason if its certificate bundle could not be.
///
/// A missing or garbled bundle must not keep the appliance down, for the default certificate can
/// serve; a garbled credential or exposure is an error, because there is no safe guess.
#[derive(Debug)]
pub struct Loaded {
    pub state: State,
    pub unusable_bundle: Option<StoreError>,
}

/// Keeps the state. Every call blocks: run it on a blocking thread.
pub trait StateStore: Send + Sync + 'static {
    /// Reads the current state, or `None` at the first start, when there is nothing at all.
    fn load(&self) -> Result<Option<Loaded>, StoreError>;

    /// Makes `state` the current one; it is durable once this returns, and wholly the old one if
    /// it fails.
    fn commit(&self, state: &State, note: &ChangeNote) -> Result<Revision, StoreError>;

    /// Makes the state what it was before the newest commit, `revision`, and removes that one: it
    /// could not be served. Gives the revision that is current then.
    fn withdraw(&self, revision: Revision) -> Result<Revision, StoreError>;

    /// The revisions that are kept, newest first.
    fn history(&self) -> Result<Vec<HistoryEntry>, StoreError>;

    /// Reads one kept revision that was in force once.
    fn revision(&self, revision: Revision) -> Result<Loaded, StoreError>;
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{} {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    #[error(
        "the data directory {} is in use by another process; stop it or choose another one with --data-dir",
        path.display()
    )]
    Locked { path: PathBuf },
    #[error("there is no revision {0}; `{console} history` lists the kept ones", console = console())]
    NoSuchRevision(Revision),
    #[error("revision {0} was never in force: a crash or a refused change left it behind")]
    NeverCurrent(Revision),
    #[error("the state is damaged: {what}; nothing was changed. {}", remedy(data_dir, *newest))]
    Damaged {
        data_dir: PathBuf,
        what: String,
        /// The newest revision that is kept, if any.
        newest: Option<Revision>,
    },
    #[error(
        "the state cannot be used: {reason}; nothing was changed. Mend that, or `{} --data-dir {} recover` shows which revision can be gone back to",
        console(), data_dir.display()
    )]
    Unusable { data_dir: PathBuf, reason: String },
    #[error(
        "the data directory {} was moved or replaced while it was in use; put it back, or restart",
        path.display()
    )]
    Replaced { path: PathBuf },
    #[error("{reason}; and it could not be taken back")]
    Unsettled { reason: String },
}

impl StoreError {
    /// The error with everything below it, in one line. Where a file may not be read it says whose
    /// it is.
    #[must_use]
    pub fn chain(&self) -> String {
        let Self::Io { path, source, .. } = self else { return self.to_string() };
        let owner = (source.kind() == std::io::ErrorKind::PermissionDenied)
            .then(|| owner_of(path))
            .flatten()
            .unwrap_or_default();
        format!("{self}: {source}{owner}")
    }

    /// The same, as what keeps the appliance from starting on `data_dir`: with the remedy.
    #[must_use]
    pub fn with_remedy(self, data_dir: &Path) -> Self {
        match self {
            Self::Io { .. } | Self::Malformed { .. } => {
                Self::Unusable { data_dir: data_dir.to_owned(), reason: self.chain() }
            }
            other => other,
        }
    }

    /// Whether the disk (or quota) is full, which an administrator can mend.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if matches!(
            source.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        ))
    }
}

/// The console of this very program: an appliance may have another name.
fn console() -> String {
    let called = std::env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_name).unwrap_or_else(|| "portcullis".as_ref());
    format!("{} console", name.display())
}

fn remedy(data_dir: &Path, newest: Option<Revision>) -> String {
    let (console, shown) = (console(), data_dir.display());
    match newest {
        Some(revision) => format!(
            "`{console} --data-dir {shown} recover` puts it right (by hand, with what lies there moved away: ln -sfn revisions/{revision} {shown}/state/current)"
        ),
        None => format!(
            "Put state/ back from a backup; or, to begin anew with the default password, `{console} --data-dir {shown} reset --yes`"
        ),
    }
}

/// Whose the nearest thing on the way to `path` is that can be looked at.
fn owner_of(path: &Path) -> Option<String> {
    let (place, found) =
        path.ancestors().find_map(|place| Some((place, fs::symlink_metadata(place).ok()?)))?;
    Some(format!(
        " ({} belongs to uid {}, mode {:04o}; this process runs as uid {})",
        place.display(),
        found.uid(),
        found.permissions().mode() & 0o7777,
        nix::unistd::geteuid()
    ))
}
