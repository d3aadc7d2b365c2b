//! What is there before anything is opened: nothing, a sound state, or a damaged one.
//!
//! A first start is one at which there is nothing at all. Whatever only a run leaves behind, in
//! `state/` or beside it, tells that this directory was used; a state that is missing then is
//! damaged, for an appliance that had a password must not come up with the default one.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::{
    Revision, StoreError, io,
    kind::{Kind, kind},
    revision::WAS_CURRENT,
};

/// Written once a first state is there: this directory was used.
pub(super) const USED: &str = "initialised";

/// What a run leaves behind beside the state, and only once there is one: not the lock, the log and
/// the running time, which an interrupted first start leaves too.
const TRACES: [&str; 9] = [
    USED,
    "default-certificate",
    "default-certificate.unusable",
    "waiting-keys",
    "audit",
    "jobs/jobs.sqlite",
    "jobs/audio",
    "jobs/incoming",
    "console.sock",
];

/// More would not fit the number of a revision into JSON; such a name is not ours.
const MAX_REVISION: Revision = 1 << 53;

/// What a data directory holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing: a first start.
    Nothing,
    /// A link to a revision that is there; what that one holds has not been looked at.
    Link(Revision),
    /// Something that no run leaves behind.
    Damaged {
        /// What is wrong, for people.
        what: String,
        /// The revision that the damaged link names, whether it is there or not.
        hint: Option<Revision>,
    },
}

pub(super) fn survey(data_dir: &Path) -> Result<Found, StoreError> {
    let damaged = |what: String, hint| Ok(Found::Damaged { what, hint });
    let state = data_dir.join("state");
    let revisions = state.join("revisions");
    for folder in [&state, &revisions] {
        match kind(folder)? {
            None | Some(Kind::Folder) => {}
            Some(other) => {
                return damaged(format!("{} is {other}, not a folder", folder.display()), None);
            }
        }
    }
    let numbers = numbers_in(&revisions)?;
    let kept = || match listed(&numbers) {
        Some(list) => format!("{} holds {list}", revisions.display()),
        None => format!("{} holds no revision", revisions.display()),
    };
    let current = state.join("current");
    match link(&current, &revisions)? {
        Link::To(number) if numbers.contains(&number) => Ok(Found::Link(number)),
        Link::To(number) => damaged(
            format!(
                "{} points to revisions/{number}, which is not there, and {}",
                current.display(),
                kept()
            ),
            Some(number),
        ),
        Link::Elsewhere(target) => damaged(
            format!(
                "{} points to {}, not to revisions/<number>, and {}",
                current.display(),
                target.display(),
                kept()
            ),
            None,
        ),
        Link::Occupied(kind, hint) => damaged(
            format!(
                "{} is {kind}, not a symbolic link to revisions/<number>, and {}",
                current.display(),
                kept()
            ),
            hint,
        ),
        Link::Missing if !numbers.is_empty() => {
            damaged(format!("{} is missing, and {}", current.display(), kept()), None)
        }
        Link::Missing => match trace(data_dir)? {
            None => Ok(Found::Nothing),
            Some(trace) => damaged(
                format!(
                    "{} is missing, and {} tells that this directory was used before",
                    current.display(),
                    trace.display()
                ),
                None,
            ),
        },
    }
}

/// The revisions in a folder, newest first, whatever they hold.
pub(super) fn numbers_in(revisions: &Path) -> Result<Vec<Revision>, StoreError> {
    let entries = match fs::read_dir(revisions) {
        Ok(entries) => entries,
        Err(err) if matches!(err.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(io("list", revisions)(source)),
    };
    let mut numbers: Vec<Revision> = entries
        .filter_map(|entry| number_of(entry.ok()?.file_name().to_str()?))
        .filter(|number| revisions.join(number.to_string()).is_dir())
        .collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

/// The number that a name stands for, in its one spelling.
pub(super) fn number_of(name: &str) -> Option<Revision> {
    let number = name.parse().ok().filter(|number| *number < MAX_REVISION)?;
    (Revision::to_string(&number) == name).then_some(number)
}

/// `revisions 1, 2, 4`, at most a dozen.
/// Whether a first start ended between its revision and the link to it: nothing but that revision
/// tells of it.
pub(super) fn first_start_was_cut_short(data_dir: &Path) -> Result<bool, StoreError> {
    let state = data_dir.join("state");
    let revisions = state.join("revisions");
    Ok(matches!(link(&state.join("current"), &revisions)?, Link::Missing)
        && numbers_in(&revisions)? == [1]
        && !revisions.join("1").join(WAS_CURRENT).exists()
        && trace(data_dir)?.is_none())
}

fn listed(numbers: &[Revision]) -> Option<String> {
    const SHOWN: usize = 12;
    let list: Vec<String> = numbers.iter().take(SHOWN).rev().map(ToString::to_string).collect();
    match (list.len(), numbers.len() > SHOWN) {
        (0, _) => None,
        (1, _) => Some(format!("revision {}", list[0])),
        (_, false) => Some(format!("revisions {}", list.join(", "))),
        (_, true) => Some(format!("many revisions, the newest {}", list.join(", "))),
    }
}

enum Link {
    Missing,
    To(Revision),
    Elsewhere(PathBuf),
    Occupied(Kind, Option<Revision>),
}

fn link(current: &Path, revisions: &Path) -> Result<Link, StoreError> {
    let target = match fs::read_link(current) {
        Ok(target) => target,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Link::Missing),
        Err(err) if err.kind() == ErrorKind::InvalidInput => {
            let kind = kind(current)?.unwrap_or(Kind::Other);
            let hint = matches!(kind, Kind::File).then(|| named_in(current)).flatten();
            return Ok(Link::Occupied(kind, hint));
        }
        Err(source) => return Err(io("read", current)(source)),
    };
    let named = target.file_name().and_then(|name| name.to_str()).and_then(number_of);
    let Some(number) = named else { return Ok(Link::Elsewhere(target)) };
    // By where it leads: a link that a copy took along leads into the original.
    let place = |path: &Path| fs::canonicalize(path).ok();
    let leads_to = place(current);
    let ours = leads_to.is_some() && leads_to == place(&revisions.join(number.to_string()));
    let expected = Path::new("revisions").join(number.to_string());
    if ours || (leads_to.is_none() && target == expected) {
        Ok(Link::To(number))
    } else {
        Ok(Link::Elsewhere(target))
    }
}

/// The number in a text file that a copy made of the link: `revisions/4`.
fn named_in(file: &Path) -> Option<Revision> {
    let bytes = crate::files::read_at_most(file, 4096).ok()??;
    let text = std::str::from_utf8(&bytes).ok()?.trim();
    number_of(Path::new(text).file_name()?.to_str()?)
}

/// Something beside the state that only a run leaves behind.
fn trace(data_dir: &Path) -> Result<Option<PathBuf>, StoreError> {
    for path in TRACES.map(|name| data_dir.join(name)) {
        let there = match kind(&path)? {
            None => false,
            // A folder may have been made for the mount of a volume.
            Some(Kind::Folder) => holds_something(&path)?,
            Some(_) => true,
        };
        if there {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Whether a folder holds a file that is not empty, or another folder.
fn holds_something(folder: &Path) -> Result<bool, StoreError> {
    let entries = fs::read_dir(folder).map_err(io("list", folder))?;
    Ok(entries.filter_map(Result::ok).any(|entry| {
        let name = entry.file_name();
        name != "lost+found"
            && entry.metadata().is_ok_and(|found| !found.is_file() || found.len() > 0)
    }))
}
