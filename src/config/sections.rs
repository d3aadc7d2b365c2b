//! The smaller tables: `[security]`, `[workers]`, `[limits]`, `[log]`, `[power]`, `[outbound]`.

use std::time::Duration;

use std::path::PathBuf;

use portcullis_actors::{
    logging::{Format, Rotation},
    power::PowerCommands,
};
use portcullis_web::{
    names::{HostName, PublicNames, origin::Origin},
    outbound::{Network, NetworkError},
    service::table::{ConfigError, Found, Table},
};

/// `[log]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: Format,
    /// Under the data directory.
    pub rotation: Rotation,
}

/// `[outbound]`: where audio may be fetched from and callbacks may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundConfig {
    /// Networks that are open beside the public Internet.
    pub allow: Vec<Network>,
    /// How long one fetch or callback may take, all redirects included.
    pub longest: Duration,
}

impl Default for OutboundConfig {
    fn default() -> Self {
        Self { allow: Vec::new(), longest: Duration::from_secs(12 * 3600) }
    }
}

/// `[limits]`: what clients may hold at once. What is absent follows from the limit of open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Connections over all listeners.
    pub connections: Option<u64>,
    /// Connections of one address.
    pub connections_per_address: Option<u64>,
    /// HTTP/2 streams in progress of one address.
    pub streams_per_address: Option<u64>,
    /// How long a client may take nothing of what is sent to it.
    pub write_timeout: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: None,
            connections_per_address: None,
            streams_per_address: None,
            write_timeout: Duration::from_secs(300),
        }
    }
}

const MOST_WORKERS: usize = 256;
const MOST_CONNECTIONS: usize = 1_000_000;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// `[security]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecuritySettings {
    /// The bearer tokens of scrapers, one a line.
    pub monitoring_token_file: Option<PathBuf>,
    /// How browsers reach the appliance from outside.
    pub names: PublicNames,
}

type Section<'d> = Option<Table<'d>>;

pub(super) fn read_log(section: Section<'_>) -> Result<LogConfig, ConfigError> {
    let mut log = LogConfig::default();
    let Some(mut table) = section else { return Ok(log) };
    if let Some(Found { value, offset }) = table.string("format")? {
        log.format = match value.as_str() {
            "text" => Format::Text,
            "json" => Format::Json,
            other => {
                let reason = format!("is \"{other}\"; it must be \"text\" or \"json\"");
                return Err(table.error_at("format", offset, reason));
            }
        };
    }
    if let Some(mebibytes) = table.integer("max_file_mebibytes", 1..=1024)? {
        log.rotation.max_bytes = (mebibytes as u64) << 20;
    }
    if let Some(files) = table.integer("files", 1..=100)? {
        log.rotation.files = files;
    }
    table.finish()?;
    Ok(log)
}

/// One thread for each core that the process may use.
pub(super) fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// `[workers] count`.
pub(super) fn read_workers(section: Section<'_>) -> Result<usize, ConfigError> {
    let Some(mut table) = section else { return Ok(default_workers()) };
    let count = table.integer("count", 1..=MOST_WORKERS)?;
    table.finish()?;
    Ok(count.unwrap_or_else(default_workers))
}

pub(super) fn read_limits(section: Section<'_>) -> Result<LimitsConfig, ConfigError> {
    let mut limits = LimitsConfig::default();
    let Some(mut table) = section else { return Ok(limits) };
    let mut number = |key, least| {
        let found = table.integer(key, least..=MOST_CONNECTIONS)?;
        Ok::<_, ConfigError>(found.map(|number| number as u64))
    };
    limits.connections = number("connections", 8)?;
    limits.connections_per_address = number("connections_per_address", 1)?;
    limits.streams_per_address = number("streams_per_address", 1)?;
    if let Some(all) = limits.connections
        && let Some(each) = limits.connections_per_address
        && each > all
    {
        let key = "connections_per_address";
        let reason = format!("is {each}, which is more than connections ({all})");
        return Err(table.error_at(key, table.offset_of(key), reason));
    }
    if let Some(timeout) = up_to_a_day(&mut table, "write_timeout")? {
        limits.write_timeout = timeout;
    }
    table.finish()?;
    Ok(limits)
}

pub(super) fn read_security(section: Section<'_>) -> Result<SecuritySettings, ConfigError> {
    let mut security = SecuritySettings::default();
    let Some(mut table) = section else { return Ok(security) };
    security.monitoring_token_file = table.path("monitoring_token_file")?;
    let names = table.strings("host_names")?;
    for Found { value, offset } in names.into_iter().flat_map(|found| found.value) {
        let name = HostName::parse(&value).ok_or_else(|| {
            let reason = format!(
                "`{value}` is not a name such as \"box.example.com\" or \"*.example.com\"; there is no scheme and no port in one"
            );
            table.error_at("host_names", offset, reason)
        })?;
        security.names.host_names.push(name);
    }
    let origins = table.strings("public_origins")?;
    for Found { value, offset } in origins.into_iter().flat_map(|found| found.value) {
        let origin = Origin::parse(&value).ok_or_else(|| {
            let reason = format!(
                "`{value}` is not an origin such as \"https://portal.example.com\"; there is no path in one"
            );
            table.error_at("public_origins", offset, reason)
        })?;
        security.names.public_origins.push(origin);
    }
    table.finish()?;
    Ok(security)
}

pub(super) fn read_power(section: Section<'_>) -> Result<PowerCommands, ConfigError> {
    let mut power = PowerCommands::default();
    let Some(mut table) = section else { return Ok(power) };
    power.reboot = read_command(&mut table, "reboot")?;
    power.shutdown = read_command(&mut table, "shutdown")?;
    if let Some(delay) = table.duration("delay")? {
        power.delay = delay;
    }
    table.finish()?;
    Ok(power)
}

fn read_command(
    table: &mut Table<'_>,
    key: &'static str,
) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(Found { value, offset }) = table.strings(key)? else { return Ok(None) };
    if value.first().is_none_or(|program| program.value.is_empty()) {
        let reason = "must be a program and its arguments, such as [\"systemctl\", \"reboot\"]";
        return Err(table.error_at(key, offset, reason));
    }
    Ok(Some(value.into_iter().map(|found| found.value).collect()))
}

pub(super) fn read_outbound(section: Section<'_>) -> Result<OutboundConfig, ConfigError> {
    let mut outbound = OutboundConfig::default();
    let Some(mut table) = section else { return Ok(outbound) };
    for Found { value, offset } in
        table.strings("allow")?.map(|found| found.value).unwrap_or_default()
    {
        let network = value.parse().map_err(|err: NetworkError| {
            table.error_at("allow", offset, format!("\"{value}\" {err}"))
        })?;
        outbound.allow.push(network);
    }
    if let Some(longest) = up_to_a_day(&mut table, "longest")? {
        outbound.longest = longest;
    }
    table.finish()?;
    Ok(outbound)
}

/// A duration from a second to a day.
fn up_to_a_day(table: &mut Table<'_>, key: &'static str) -> Result<Option<Duration>, ConfigError> {
    let found = table.duration(key)?;
    if let Some(other) = found.filter(|time| !(Duration::from_secs(1)..=DAY).contains(time)) {
        let reason = format!("is {}; it must be 1s to 24h", humantime::format_duration(other));
        return Err(table.error_at(key, table.offset_of(key), reason));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_smaller_tables_are_read() {
        let text =
            "[log]\nformat = \"json\"\nfiles = 3\n[power]\nreboot = [\"true\"]\ndelay = \"5s\"";
        let config = Config::parse("test.toml", text, &[]).unwrap();
        assert_eq!((config.log.format, config.log.rotation.files), (Format::Json, 3));
        assert_eq!(config.power.reboot, Some(vec!["true".to_owned()]));
        let text = "[outbound]\nallow = [\"10.0.0.0/8\", \"::1\"]\nlongest = \"1h\"";
        let outbound = Config::parse("test.toml", text, &[]).unwrap().outbound;
        let allow: Vec<_> = outbound.allow.iter().map(ToString::to_string).collect();
        assert_eq!(
            (allow.join(" "), outbound.longest.as_secs()),
            ("10.0.0.0/8 ::1/128".into(), 3600)
        );
    }

    #[test]
    fn mistakes_in_them_are_named() {
        for (text, expected) in [
            ("[log]\nformat = \"xml\"", "test.toml:2: log.format: is \"xml\""),
            ("[log]\nfile = 3", "log.file: is not a known key; did you mean `files`?"),
            (
                "[security]\nhost_names = [\"box\", \"https://box\"]",
                "test.toml:2: security.host_names: `https://box` is not a name such as",
            ),
            (
                "[security]\npublic_origins = [\"https://a.example/b\"]",
                "test.toml:2: security.public_origins: `https://a.example/b` is not an origin",
            ),
            ("[power]\nreboot = []", "power.reboot: must be a program"),
            (
                "[outbound]\nallow = [\"10.0.0.0/8\",\n\"10.0.0.1/8\"]",
                "test.toml:3: outbound.allow: \"10.0.0.1/8\" has bits beyond its length; the network is 10.0.0.0/8",
            ),
            ("[outbound]\nallow = [\"localhost\"]", "outbound.allow: \"localhost\" is no network"),
            ("[outbound]\nallowed = []", "did you mean `allow`?"),
            ("[outbound]\nlongest = \"0s\"", "test.toml:2: outbound.longest: is 0s; it must be 1s"),
            ("[outbound]\nlongest = \"25h\"", "outbound.longest: is 1day 1h; it must be 1s to 24h"),
        ] {
            let message = Config::parse("test.toml", text, &[]).err().expect(text).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
