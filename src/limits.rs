//! What the operating system lets one process have.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are kept for files, sockets to upstreams and the runtime itself.
const RESERVED: u64 = 256;

/// More connections than this one worker never takes.
const MOST_PER_WORKER: u64 = 25_000;

/// Raises the limit of open files as far as it goes, and shares it out: the connections that each
/// of `workers` threads may hold, so that no flood of them leaves nothing to write the state with.
pub(crate) fn connections_per_worker(workers: usize) -> usize {
    let files = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    };
    let share = files.saturating_sub(RESERVED) / (workers.max(1) as u64);
    let share = share.clamp(16, MOST_PER_WORKER);
    if share < 1000 {
        log::warn!(
            "the limit of open files ({files}) leaves {share} connections to each of {workers} workers; raise it (LimitNOFILE=)"
        );
    }
    usize::try_from(share).unwrap_or(usize::MAX)
}
