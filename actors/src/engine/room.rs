//! Whether the operating system gives what a start needs.
//!
//! The runtimes of workers panic where a thread or a descriptor cannot be had, so both are asked
//! for and given back before. In between somebody else may take them, but then not as a rule.

use std::{
    fs::File,
    io,
    sync::{Mutex, PoisonError},
    thread,
};

/// Fails if `descriptors` files more cannot be open, or `threads` threads more cannot run. Blocks
/// for the time that starting the threads takes.
///
/// # Errors
/// Says what cannot be had and which limits to raise.
pub fn check(descriptors: usize, threads: usize) -> io::Result<()> {
    check_descriptors(descriptors).map_err(|err| {
        let text = format!(
            "there are not {descriptors} descriptors left for this: {err}; raise the limit of open files (ulimit -n, LimitNOFILE=)"
        );
        io::Error::new(err.kind(), text)
    })?;
    check_threads(threads).map_err(|err| {
        let text = format!(
            "{threads} more threads cannot be started: {err}; raise the limit of threads (ulimit -u, TasksMax=, pids.max)"
        );
        io::Error::new(err.kind(), text)
    })
}

fn check_descriptors(number: usize) -> io::Result<()> {
    let first = File::open("/dev/null")?;
    let others: io::Result<Vec<_>> = (1..number).map(|_| first.try_clone()).collect();
    others.map(drop)
}

fn check_threads(number: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    let wait = || drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
    let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    thread::scope(|scope| {
        // All at once: each waits at the gate until the last one runs.
        let started = (0..number)
            .try_for_each(|_| thread::Builder::new().spawn_scoped(scope, wait).map(drop));
        drop(closed);
        started
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_can_be_had() {
        check(16, 4).unwrap();
        check(0, 0).unwrap();
    }
}
