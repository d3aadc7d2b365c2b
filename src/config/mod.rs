//! The configuration: a TOML file or the documented defaults, validated whole.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "for replacing the configuration while the appliance runs")
)]
mod edit;
mod in_force;
mod listener;
mod plan;
mod said;
mod secrets;
mod sections;
mod services;

use std::{
    io::ErrorKind,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portcullis_actors::{engine::Tls, files::read_at_most, power::PowerCommands};
use portcullis_web::service::{
    Kind,
    table::{ConfigError, Found, Source, Table},
};
use toml::{Spanned, de::DeTable};
use zeroize::Zeroizing;

pub(crate) use self::{in_force::InForce, plan::Plan};
pub use self::{
    listener::{ListenerConfig, is_carried},
    sections::{LimitsConfig, LogConfig, OutboundConfig, SecuritySettings},
    services::ServiceConfig,
};
use self::{
    listener::{check_target, read_listener},
    services::Written,
};

/// A configuration is a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// The kinds of service that an appliance knows.
pub type Kinds = [Arc<dyn Kind>];

/// A validated configuration.
pub struct Config {
    /// Where state, the default certificate and all that the services keep lives.
    pub data_dir: PathBuf,
    /// The command line names it, whatever the file says.
    data_dir_is_given: bool,
    /// How long a replaced generation may live.
    pub drain_timeout: Duration,
    /// Generations of one listener that may drain at once.
    pub max_draining: usize,
    /// How long requests may go on after SIGTERM.
    pub shutdown_timeout: Duration,
    pub tls: TlsSettings,
    /// `[security]`
    pub security: SecuritySettings,
    pub listeners: Vec<ListenerConfig>,
    /// `[workers] count`: threads that serve connections.
    pub workers: usize,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[log]`
    pub log: LogConfig,
    /// `[power]`
    pub power: PowerCommands,
    /// `[outbound]`
    pub outbound: OutboundConfig,
    /// Every service that there may be, configured.
    pub services: Vec<ServiceConfig>,
    /// The text that was read, secrets masked; empty where there was none.
    pub text: String,
    /// The text that was read, with its secrets.
    original: Zeroizing<String>,
}

/// `[tls]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// `watch = { certificate = "…", key = "…" }`: files that the certificate is followed from.
    pub watch: Option<WatchedFiles>,
    /// `upload = "allow"`: a certificate may be uploaded although files are followed.
    pub upload_beside_watch: bool,
}

/// A certificate chain and its key that something else keeps up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

const DEFAULT_DATA_DIR: &str = "/var/lib/portcullis";
const DAY: Duration = Duration::from_secs(24 * 3600);

impl Config {
    /// The documented ports with those services that the appliance knows. `unprivileged` moves 80
    /// and 443 to 8080 and 8443.
    ///
    /// # Errors
    /// A service cannot do without a configuration.
    pub fn documented(kinds: &Kinds, unprivileged: bool) -> Result<Self, ConfigError> {
        let mut config = Self::parse("the default configuration", "", kinds)?;
        let known: Vec<_> = config.services.iter().map(|service| service.name.as_str()).collect();
        config.listeners = documented_listeners(&known, unprivileged);
        Ok(config)
    }

    fn without_listeners() -> Self {
        Self {
            data_dir: DEFAULT_DATA_DIR.into(),
            data_dir_is_given: false,
            drain_timeout: DAY,
            max_draining: 32,
            shutdown_timeout: Duration::from_secs(30),
            tls: TlsSettings::default(),
            security: SecuritySettings::default(),
            listeners: Vec::new(),
            workers: sections::default_workers(),
            limits: LimitsConfig::default(),
            log: LogConfig::default(),
            power: PowerCommands::default(),
            outbound: OutboundConfig::default(),
            text: String::new(),
            original: Zeroizing::default(),
            services: Vec::new(),
        }
    }

    /// With the data directory that the command line names, if it names one.
    #[must_use]
    pub fn with_data_dir(mut self, given: Option<PathBuf>) -> Self {
        if let Some(data_dir) = given {
            self.data_dir = data_dir;
            self.data_dir_is_given = true;
        }
        self
    }

    /// Reads and validates a file. `kinds` are those that the appliance knows.
    ///
    /// # Errors
    /// Names file, line and key, and what would be right.
    pub fn read(path: &Path, kinds: &Kinds) -> Result<Self, ConfigError> {
        Self::parse(&path.display().to_string(), &read_text(path)?, kinds)
    }

    /// Validates the text of a file called `file`.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn parse(file: &str, text: &str, kinds: &Kinds) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let document = read_document(&source)?;
        let mut table = Table::root(&source, document.get_ref());
        let defaults = Self::without_listeners();
        let mut config = Self {
            data_dir: table.path("data_dir")?.unwrap_or(defaults.data_dir),
            data_dir_is_given: false,
            drain_timeout: table.duration("drain_timeout")?.unwrap_or(defaults.drain_timeout),
            max_draining: table
                .integer("max_draining", 1..=10_000)?
                .unwrap_or(defaults.max_draining),
            shutdown_timeout: table
                .duration("shutdown_timeout")?
                .unwrap_or(defaults.shutdown_timeout),
            tls: table.table("tls")?.map(read_tls).transpose()?.unwrap_or_default(),
            security: sections::read_security(table.table("security")?)?,
            listeners: Vec::new(),
            workers: sections::read_workers(table.table("workers")?)?,
            limits: sections::read_limits(table.table("limits")?)?,
            log: sections::read_log(table.table("log")?)?,
            power: sections::read_power(table.table("power")?)?,
            outbound: sections::read_outbound(table.table("outbound")?)?,
            text: secrets::mask(text, document.get_ref()),
            original: Zeroizing::new(text.to_owned()),
            services: Vec::new(),
        };
        let written = Written::take(&source, &mut table, kinds)?;
        let listeners = table.tables("listener")?;
        table.finish()?;
        let known = written.names();
        if listeners.is_empty() {
            config.listeners = documented_listeners(&written.by_default(), false);
            config.services = written.configure(&config.listeners)?;
            return Ok(config);
        }
        let mut targets = Vec::new();
        for listener in listeners {
            let (listener, target) = read_listener(listener, &known, &config.listeners)?;
            targets.extend(target.map(|offset| (config.listeners.len(), offset)));
            config.listeners.push(listener);
        }
        for (index, offset) in targets {
            check_target(&config.listeners, index).map_err(|reason| {
                source.error(offset, &format!("listener[{index}].redirect_to"), reason)
            })?;
        }
        config.services = written.configure(&config.listeners)?;
        Ok(config)
    }
}

/// The text of a configuration file.
///
/// # Errors
/// It cannot be read, is too long, or is no text.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>, ConfigError> {
    let unreadable = |reason: String| ConfigError {
        file: path.display().to_string(),
        line: 0,
        key: "file".into(),
        reason: format!("cannot be read: {reason}"),
    };
    let bytes = read_at_most(path, MAX_FILE)
        .and_then(|bytes| bytes.ok_or_else(|| ErrorKind::NotFound.into()))
        .map_err(|err| unreadable(err.to_string()))?;
    let text = std::str::from_utf8(&bytes);
    let text = text.map_err(|_| unreadable("it is not text in UTF-8".into()))?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn read_document<'d>(source: &Source<'d>) -> Result<Spanned<DeTable<'d>>, ConfigError> {
    DeTable::parse(source.text).map_err(|err| {
        let offset = err.span().map_or(0, |span| span.start);
        source.error(offset, "TOML", err.message().trim())
    })
}

/// The documented ports, with those services that the appliance knows.
fn documented_listeners(known: &[&str], unprivileged: bool) -> Vec<ListenerConfig> {
    let (http, https) = if unprivileged { (8080, 8443) } else { (80, 443) };
    let everything = ["interface", "security", "management", "monitoring", "batch", "realtime"];
    let own: Vec<&str> = known.iter().copied().filter(|name| !everything.contains(name)).collect();
    let listener =
        |name: &str, port: u16, tls: Tls, services: &[&str], to: Option<&str>| ListenerConfig {
            name: name.to_owned(),
            address: SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            tls,
            services: services
                .iter()
                .filter(|name| known.contains(name))
                .map(|name| (*name).to_owned())
                .collect(),
            redirect_to: to.map(str::to_owned),
            redirect_port: None,
        };
    let all: Vec<&str> = everything.iter().copied().chain(own).collect();
    let plain: Vec<&str> = all.iter().copied().filter(|name| *name != "monitoring").collect();
    vec![
        listener("http", http, Tls::Off, &plain, Some("https")),
        listener("https", https, Tls::On, &all, None),
        listener("realtime", 9000, Tls::Off, &["realtime"], Some("realtime-tls")),
        listener("realtime-tls", 9004, Tls::On, &["realtime"], None),
        listener("monitoring", 9001, Tls::Auto, &["monitoring"], Some("https")),
    ]
}

fn read_tls(mut table: Table<'_>) -> Result<TlsSettings, ConfigError> {
    let watch = table
        .table("watch")?
        .map(|mut watch| {
            let (certificate, key) = (watch.path("certificate")?, watch.path("key")?);
            let both = certificate.zip(key);
            let (certificate, key) =
                both.ok_or_else(|| watch.error("needs certificate = \"…\" and key = \"…\""))?;
            watch.finish()?;
            Ok(WatchedFiles { certificate, key })
        })
        .transpose()?;
    let upload_beside_watch = match table.string("upload")? {
        None => false,
        Some(Found { value, .. }) if value == "allow" => true,
        Some(Found { value, .. }) if value == "refuse" => false,
        Some(Found { value, offset }) => {
            let reason = format!("is \"{value}\"; it must be \"allow\" or \"refuse\"");
            return Err(table.error_at("upload", offset, reason));
        }
    };
    table.finish()?;
    Ok(TlsSettings { watch, upload_beside_watch })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["security", "management", "echo"];

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse("test.toml", text, &services::tests::kinds(KNOWN))
    }

    fn error(text: &str) -> String {
        parse(text).err().expect(text).to_string()
    }

    fn listener(rest: &str) -> String {
        format!("[[listener]]\nname = \"a\"\naddress = \"[::]:80\"\nservices = [\"echo\"]\n{rest}")
    }

    #[test]
    fn the_documented_example_is_read() {
        let text = r#"
            data_dir = "/srv/portcullis"
            drain_timeout = "1h 30m"
            max_draining = 3
            shutdown_timeout = "5s"
            [[listener]]
            name = "http"
            address = "[::]:80"
            services = ["security", "management"]
            redirect_to = "https"
            [[listener]]
            name = "https"
            address = "[::]:443"
            tls = true
            services = ["security", "management", "echo"]
        "#;
        let config = parse(text).unwrap();
        assert_eq!(config.data_dir, Path::new("/srv/portcullis"));
        assert_eq!(config.drain_timeout, Duration::from_secs(5400));
        assert_eq!(config.listeners.len(), 2);
        assert_eq!(config.listeners[1].tls, Tls::On);
    }

    #[test]
    fn without_listeners_the_documented_ports_are_served() {
        let config = parse("max_draining = 4").unwrap();
        let ports: Vec<u16> = config.listeners.iter().map(|l| l.address.port()).collect();
        assert_eq!(ports, [80, 443, 9000, 9004, 9001]);
        let unprivileged = Config::documented(&services::tests::kinds(KNOWN), true).unwrap();
        assert_eq!(unprivileged.listeners[0].address.port(), 8080);
        assert_eq!(unprivileged.listeners[1].services, KNOWN);
    }

    #[test]
    fn an_interface_can_be_named_in_an_address() {
        let index = nix::net::if_::if_nametoindex("lo").unwrap();
        for address in ["[fe80::1%lo]:80", &format!("[fe80::1%{index}]:80"), "[fe80::1%25lo]:80"] {
            let text = listener("").replace("[::]:80", address);
            let config = parse(&text).unwrap();
            let SocketAddr::V6(parsed) = config.listeners[0].address else { panic!("{address}") };
            assert_eq!((parsed.scope_id(), parsed.port()), (index, 80), "{address}");
        }
    }

    #[test]
    fn errors_name_file_line_key_and_remedy() {
        let cases = [
            (
                "\nmax_drainig = 3",
                "test.toml:2: max_drainig: is not a known key; did you mean `max_draining`?",
            ),
            ("zzz = 3", "known are data_dir, drain_timeout"),
            (
                "max_draining = \"x\"",
                "test.toml:1: max_draining: must be a whole number from 1 to 10000, not string",
            ),
            ("max_draining = 0", "is 0; it must be"),
            ("drain_timeout = \"soon\"", "`soon` is not a duration"),
            ("a = = 3", "test.toml:1: TOML:"),
            (
                &listener("tsl = true"),
                "test.toml:5: listener[0].tsl: is not a known key; did you mean `tls`?",
            ),
            (&listener("tls = \"maybe\""), "test.toml:5: listener[0].tls: is \"maybe\""),
            (&listener("redirect_to = \"b\""), "there is no listener `b`"),
            (&listener(&listener("")), "`a` names two listeners"),
            (
                &listener("").replace("echo", "eco"),
                "`eco` is not a known service; did you mean `echo`? the known ones are security, management, echo",
            ),
            (
                &listener("").replace("[::]:80", "localhost"),
                "`localhost` is not an address with a port",
            ),
            ("[[listener]]\nname = \"a\"", "test.toml:1: listener[0]: has no address"),
            (&listener("redirect_port = 0"), "listener[0].redirect_port: is 0; it must be"),
            (&listener("redirect_port = 70000"), "it must be a whole number from 1 to 65535"),
            (
                &listener("tls = true\nredirect_port = 443"),
                "test.toml:6: listener[0].redirect_port: a TLS listener never redirects",
            ),
            (
                &listener("").replace("[::]", "[fe80::1%no-such-nic]"),
                "there is no network interface `no-such-nic`; there are ",
            ),
            (&listener("").replace("[::]", "192.0.2.1%lo"), "is not an address with a port"),
            (&listener("").replace("[::]", "[fe80::1%]"), "is not an address with a port"),
            ("[limits]\nconnections = 0", "limits.connections: is 0; it must be"),
            ("[limits]\nwrite_timeout = \"0s\"", "limits.write_timeout: is 0s; it must be"),
            (
                "[limits]\nconnections = 10\nconnections_per_address = 20",
                "limits.connections_per_address: is 20, which is more than connections (10)",
            ),
        ];
        for (text, expected) in cases {
            let message = error(text);
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }
}
