//! What the operating system lets one process have, and how it is shared out.

use anyhow::{Context as _, ensure};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use portcullis_actors::engine::{AdmissionLimits, room};

use crate::config::{Config, LimitsConfig};

/// Descriptors that are open whatever is configured: state, logs, audit, jobs, the console, the
/// runtime of the owners, and what a change opens for a moment.
const OWN_DESCRIPTORS: usize = 32;
/// Descriptors of one worker's runtime.
const WORKER_DESCRIPTORS: usize = 5;
/// Descriptors for connections without which a start is of no use.
const LEAST_CONNECTIONS: usize = 16;
/// Threads beside the workers: the log, the audit record, the clock, files
/// that are followed, blocking work.
const OWN_THREADS: usize = 16;
/// More connections than this are not taken unless the configuration says so: each costs memory
/// as well.
const MOST_CONNECTIONS: u64 = 50_000;
const MOST_STREAMS: u64 = 4_000;

/// The limit of open files, which it raises as far as it goes.
fn open_files() -> u64 {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, hard)) if soft < hard => match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
            Ok(()) => hard,
            Err(_) => soft,
        },
        Ok((soft, _)) => soft,
        Err(_) => 1024,
    }
}

/// Descriptors that serving this configuration takes before there is a connection.
fn base_descriptors(config: &Config) -> usize {
    OWN_DESCRIPTORS + config.workers * WORKER_DESCRIPTORS + config.listeners.len()
}

/// Looks whether this configuration can be served at all, and shares out what there is. To be
/// called before anything else is started.
///
/// # Errors
/// One line that says what is missing and which limit to raise.
pub(crate) fn share_out(config: &Config) -> anyhow::Result<AdmissionLimits> {
    let files = open_files();
    let base = base_descriptors(config);
    let needed = base + LEAST_CONNECTIONS;
    ensure!(
        files >= needed as u64,
        "this configuration needs {needed} open files, and the limit is {files}; raise it (ulimit -n, LimitNOFILE=)"
    );
    room::check(needed, config.workers + OWN_THREADS)
        .with_context(|| format!("this configuration cannot be served with {files} open files"))?;
    let limits = admission(files.saturating_sub(base as u64), &config.limits);
    if let Some(wanted) = config.limits.connections
        && wanted > limits.connections
    {
        log::warn!(
            "limits.connections is {wanted}, but the limit of open files ({files}) leaves {}; raise it (ulimit -n, LimitNOFILE=)",
            limits.connections
        );
    }
    Ok(limits)
}

/// Shares out `spare` descriptors: an eighth for the files of streams, an eighth for files and
/// connections of our own, the rest for connections.
fn admission(spare: u64, configured: &LimitsConfig) -> AdmissionLimits {
    let eighth = (spare / 8).max(4);
    let possible = spare.saturating_sub(2 * eighth).max(8);
    let connections = configured.connections.unwrap_or(MOST_CONNECTIONS).min(possible);
    let streams = eighth.min(MOST_STREAMS);
    AdmissionLimits {
        connections,
        connections_per_address: configured
            .connections_per_address
            .unwrap_or(connections / 2)
            .min(connections),
        streams,
        streams_per_address: configured
            .streams_per_address
            .unwrap_or(streams / 4)
            .clamp(1, streams),
        write_timeout: configured.write_timeout,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_streams_and_our_own_files_share_the_descriptors() {
        for spare in [32, 100, 874, 3_800, 19_800, 1_000_000] {
            let limits = admission(spare, &LimitsConfig::default());
            assert!(limits.connections + limits.streams < spare, "{spare}: {limits:?}");
            assert!(limits.connections_per_address <= limits.connections / 2, "{limits:?}");
            assert!(limits.streams_per_address >= 1, "{limits:?}");
            assert!(limits.administration_share() < limits.connections, "{limits:?}");
        }
    }

    #[test]
    fn the_configuration_goes_before_but_not_beyond_what_there_is() {
        let configured = LimitsConfig {
            connections: Some(500),
            connections_per_address: Some(900),
            streams_per_address: Some(7),
            ..LimitsConfig::default()
        };
        let limits = admission(10_000, &configured);
        assert_eq!((limits.connections, limits.connections_per_address), (500, 500));
        assert_eq!(limits.streams_per_address, 7);
        assert_eq!(admission(100, &configured).connections, 76);
    }
}
