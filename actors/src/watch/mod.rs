//! Files that are edited or replaced beside the appliance, and what is done about it.
//!
//! inotify tells when to look, and a look at long intervals catches what it cannot see (network
//! file systems). What a look finds is decided by content alone.

mod certificate;
mod state;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use notify::{
    EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::{Notify, watch};

pub use self::{
    certificate::{WatchState, WatchedCertificate, follow_certificate},
    state::follow_state,
};

/// Changes often come in several steps; a look waits until nothing has happened for so long.
const QUIET: Duration = Duration::from_millis(100);
/// But it does not wait longer than this.
const IMPATIENCE: Duration = Duration::from_millis(500);
/// How often a look is taken though nothing was told.
const POLL: Duration = Duration::from_secs(10);
/// Links that are followed from one path.
const MAX_LINKS: usize = 16;

/// Followers that have not looked after this time are not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks everything that follows files to look again, as SIGHUP does. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Nudge(Arc<Nudges>);

#[derive(Debug, Default)]
struct Nudges {
    /// How many there were.
    asked: watch::Sender<u64>,
    /// Up to which each follower has looked.
    looked: Mutex<Vec<watch::Receiver<u64>>>,
}

impl Nudge {
    /// Resolves when everything that follows files has looked again, or after ten seconds.
    pub async fn nudge(&self) {
        let mut number = 0;
        self.0.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        let followers = self.0.looked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = async {
            for mut follower in followers {
                // One that has ended looks at nothing any more.
                let _ = follower.wait_for(|looked| *looked >= number).await;
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            log::warn!("files that are followed were not looked at within {PATIENCE:?}");
        }
    }

    /// For a follower: what it is asked, and where it says up to which it has looked.
    fn join(&self) -> (watch::Receiver<u64>, watch::Sender<u64>) {
        let (says, looked) = watch::channel(0);
        self.0.looked.lock().unwrap_or_else(PoisonError::into_inner).push(looked);
        (self.0.asked.subscribe(), says)
    }
}

/// Calls `look` at once, whenever one of `paths` may have changed, and now and then.
async fn follow<F>(paths: Vec<PathBuf>, nudge: Nudge, mut look: F)
where
    F: AsyncFnMut(),
{
    let changed = Arc::new(Notify::new());
    let wake = changed.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.map_or(true, |event| may_have_changed(event.kind)) {
            wake.notify_one();
        }
    })
    .inspect_err(|err| log::warn!("files are looked at every {POLL:?} only: {err}"))
    .ok();
    let mut watched = BTreeSet::new();
    let (mut asked, looked) = nudge.join();
    loop {
        // Before the look, so that nothing that happens after it is missed. Links may point
        // elsewhere now, so the folders are found anew each time.
        rewatch(watcher.as_mut(), &mut watched, &paths);
        let number = *asked.borrow_and_update();
        look().await;
        looked.send_replace(number);
        tokio::select! {
            () = changed.notified() => settle(&changed).await,
            Ok(()) = asked.changed() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Whether an event can mean another content. Opening and reading cannot, and a look does both: it
/// would wake itself for ever.
fn may_have_changed(kind: EventKind) -> bool {
    !kind.is_access() || kind == EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Waits until nothing more happens.
async fn settle(changed: &Notify) {
    let more = async { while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = tokio::time::timeout(IMPATIENCE, more).await;
}

fn rewatch(
    watcher: Option<&mut RecommendedWatcher>,
    watched: &mut BTreeSet<PathBuf>,
    paths: &[PathBuf],
) {
    let Some(watcher) = watcher else { return };
    let wanted: BTreeSet<PathBuf> = paths.iter().flat_map(|path| folders_of(path)).collect();
    for gone in watched.difference(&wanted) {
        // It fails if the folder was removed, which ended the watch as well.
        let _ = watcher.unwatch(gone);
    }
    watched.retain(|folder| wanted.contains(folder));
    for folder in wanted {
        // A folder that is not there yet is tried again at the next look.
        if watcher.watch(&folder, RecursiveMode::NonRecursive).is_ok() {
            watched.insert(folder);
        }
    }
}

/// Every folder in which a change can make `path` mean another file: its own, and those of the
/// links on the way to it.
fn folders_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut current = path.to_owned();
    for _ in 0..MAX_LINKS {
        folders.extend(current.parent().map(Path::to_owned));
        let link = current.ancestors().filter(|part| part.is_symlink()).last();
        let Some((link, target)) = link.and_then(|link| Some((link, link.read_link().ok()?)))
        else {
            break;
        };
        let folder = link.parent().unwrap_or_else(|| Path::new("/"));
        folders.insert(folder.to_owned());
        let Ok(rest) = current.strip_prefix(link) else { break };
        let followed = folder.join(target);
        current = if rest.as_os_str().is_empty() { followed } else { followed.join(rest) };
    }
    folders
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_folders_of_every_link_on_the_way_are_found() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        // The way a Kubernetes secret is mounted.
        std::fs::create_dir(at("secret")).unwrap();
        std::fs::create_dir(at("secret/..2026")).unwrap();
        std::fs::write(at("secret/..2026/tls.crt"), "x").unwrap();
        symlink("..2026", at("secret/..data")).unwrap();
        symlink("..data/tls.crt", at("secret/tls.crt")).unwrap();
        let folders = folders_of(&at("secret/tls.crt"));
        for folder in ["secret", "secret/..2026"] {
            assert!(folders.contains(&at(folder)), "{folder}: {folders:?}");
        }
    }
}
