//! `[realtime]`: sessions of the realtime Speech API.

use std::time::Duration;

use portcullis_speech::realtime::protocol::Limits;

use crate::service::table::{ConfigError, Table};

const MAX_SESSIONS: usize = 1_000_000;
const MEBIBYTE: u64 = 1 << 20;

/// `[realtime]`: how many sessions there may be, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RealtimeSettings {
    /// Sessions at once.
    pub(super) max_sessions: usize,
    /// How many of them may be of one address.
    pub(super) max_sessions_per_address: usize,
    pub(super) limits: Limits,
    /// A peer of whom nothing was heard for so long is cut off; it is pinged four times as often.
    pub(super) peer_timeout: Duration,
    /// Origins such as `https://app.example.com` whose pages may open WebSockets here.
    pub(super) allowed_origins: Vec<String>,
}

impl Default for RealtimeSettings {
    /// Four sessions for each core.
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            max_sessions: 4 * cores,
            max_sessions_per_address: Self::share_of(4 * cores),
            limits: Limits::default(),
            peer_timeout: Duration::from_secs(90),
            allowed_origins: Vec::new(),
        }
    }
}

impl RealtimeSettings {
    /// What one address may have of so many sessions if nothing else is said: all but an eighth, and
    /// all but one at least, so that a single client works and does not keep the others out.
    #[must_use]
    pub(super) fn share_of(max_sessions: usize) -> usize {
        (max_sessions - (max_sessions / 8).max(1)).max(1)
    }
}

/// Reads the table; absent keys keep their defaults.
pub(super) fn read(table: &mut Table<'_>) -> Result<RealtimeSettings, ConfigError> {
    let defaults = RealtimeSettings::default();
    let max_sessions =
        table.integer("max_sessions", 1..=MAX_SESSIONS)?.unwrap_or(defaults.max_sessions);
    Ok(RealtimeSettings {
        max_sessions,
        max_sessions_per_address: table
            .integer("max_sessions_per_address", 1..=MAX_SESSIONS)?
            .unwrap_or_else(|| RealtimeSettings::share_of(max_sessions)),
        limits: Limits {
            idle: at_least_a_second(table, "idle_timeout")?.unwrap_or(defaults.limits.idle),
            session: at_least_a_second(table, "session_timeout")?
                .unwrap_or(defaults.limits.session),
            waiting: table
                .integer("spool_mebibytes", 1..=1 << 20)?
                .map_or(defaults.limits.waiting, |count| count as u64 * MEBIBYTE),
            start: at_least_a_second(table, "start_timeout")?.unwrap_or(defaults.limits.start),
        },
        peer_timeout: at_least_a_second(table, "peer_timeout")?.unwrap_or(defaults.peer_timeout),
        allowed_origins: allowed_origins(table)?,
    })
}

fn at_least_a_second(
    table: &mut Table<'_>,
    key: &'static str,
) -> Result<Option<Duration>, ConfigError> {
    let found = table.duration(key)?;
    if let Some(short) = found.filter(|time| *time < Duration::from_secs(1)) {
        let reason = format!("is {}; it must be at least 1s", humantime::format_duration(short));
        return Err(table.error_at(key, table.offset_of(key), reason));
    }
    Ok(found)
}

/// Origins as browsers send them: scheme and host, a port where it is not the usual one.
fn allowed_origins(table: &mut Table<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(found) = table.strings("allowed_origins")? else { return Ok(Vec::new()) };
    for origin in &found.value {
        let host = origin.value.split_once("://").map(|(_, host)| host);
        if host.is_none_or(|host| host.is_empty() || host.contains(['/', '?', '#', '*', ' '])) {
            let reason = format!(
                "`{}` is not an origin such as \"https://app.example.com\"; there is no path in one",
                origin.value
            );
            return Err(table.error_at("allowed_origins", origin.offset, reason));
        }
    }
    Ok(found.value.into_iter().map(|origin| origin.value.to_ascii_lowercase()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::table::tests::read_table;

    fn parse(text: &str) -> Result<RealtimeSettings, ConfigError> {
        read_table(text, "realtime", read)
    }

    #[test]
    fn the_table_is_read() {
        let text = "[realtime]\nmax_sessions = 3\nidle_timeout = \"5m\"\nspool_mebibytes = 2\nallowed_origins = [\"https://App.example.com\"]";
        let realtime = parse(text).unwrap();
        assert_eq!((realtime.max_sessions, realtime.limits.waiting), (3, 2 << 20));
        assert_eq!(realtime.max_sessions_per_address, 2, "all but one");
        assert_eq!(realtime.limits.idle, Duration::from_secs(300));
        assert_eq!(realtime.allowed_origins, ["https://app.example.com"]);
    }

    #[test]
    fn one_address_leaves_a_part_of_the_sessions_to_others() {
        let share = |text: &str| parse(text).unwrap().max_sessions_per_address;
        for (sessions, expected) in [(1, 1), (2, 1), (4, 3), (8, 7), (64, 56)] {
            assert_eq!(share(&format!("[realtime]\nmax_sessions = {sessions}")), expected);
        }
        assert_eq!(share("[realtime]\nmax_sessions = 2\nmax_sessions_per_address = 2"), 2);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("[realtime]\nmax_sesions = 3", "did you mean `max_sessions`?"),
            (
                "[realtime]\nidle_timeout = \"0s\"",
                "test.toml:2: realtime.idle_timeout: is 0s; it must be at least 1s",
            ),
            (
                "[realtime]\nallowed_origins = [\"https://a.example/b\"]",
                "test.toml:2: realtime.allowed_origins: `https://a.example/b` is not an origin",
            ),
        ] {
            let message = parse(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
