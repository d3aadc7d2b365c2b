//! What another configuration would change of the one in force, step by step. It decides nothing and
//! touches nothing.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug},
    net::SocketAddr,
    path::PathBuf,
};

use portcullis_actors::{
    engine::{GenerationState, Tls},
    logging::Rotation,
    power::PowerCommands,
    supervisor::ListenerStatus,
};
use portcullis_web::names::PublicNames;
use serde::{Serialize, Serializer};

use super::{
    Config, LimitsConfig, ListenerConfig, LogConfig, OutboundConfig, SecuritySettings, TlsSettings,
    is_carried,
    said::{Said, TableChange},
};

/// What one configuration has to change to become another, in the order in which it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) change: Change,
    /// What is open now and drains because of it; none if it lets nothing drain, or nobody has looked.
    pub(crate) drains: Option<Load>,
}

/// One thing that changes. The names of the variants are stable codes for scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub(crate) enum Change {
    /// It cannot change while the appliance runs, so the whole plan cannot be carried out.
    Refused { key: String, reason: String },
    /// Keys of one table of the appliance itself say something else.
    #[serde(rename = "settings-change")]
    Settings { keys: Vec<&'static str> },
    /// Some listener carries it now.
    ServiceStarts { service: String },
    /// Its tables say something else; `listeners` carried it before.
    ServiceStartsAnew { service: String, because: Vec<TableChange>, listeners: Vec<String> },
    /// A listener is new.
    ListenerStarts { listener: String, address: SocketAddr, tls: TlsMode, services: Vec<String> },
    /// A listener has another address.
    ListenerMoves { listener: String, from: SocketAddr, to: SocketAddr },
    /// A listener takes TLS, plain HTTP or both, other than before.
    ListenerChangesTls { listener: String, from: TlsMode, to: TlsMode },
    /// A listener carries one service more.
    ListenerCarries { listener: String, service: String },
    /// A listener carries one service less.
    ListenerDrops { listener: String, service: String },
    /// A listener redirects elsewhere while plain HTTP is off.
    ListenerRedirects { listener: String, from: Redirect, to: Redirect },
    /// A listener is gone.
    ListenerStops { listener: String, address: SocketAddr },
    /// No listener carries it any more; `listeners` did.
    ServiceStops { service: String, listeners: Vec<String> },
}

/// Whether a listener takes TLS, as the configuration spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TlsMode {
    Off,
    On,
    Auto,
}

/// Where a listener sends plain requests while plain HTTP is off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Redirect {
    /// None: to port 443.
    pub(crate) listener: Option<String>,
    /// None: that of the listener.
    pub(crate) port: Option<u16>,
}

/// What is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) requests_in_progress: usize,
    pub(crate) websockets: usize,
}

/// What a plan compares of a configuration. There are secrets in it, so it has no `Debug`.
#[derive(Clone)]
pub(super) struct Outline {
    /// None: the command line names it, whatever a file says.
    data_dir: Option<PathBuf>,
    /// Threads that serve connections.
    workers: usize,
    settings: Vec<Setting>,
    listeners: Vec<ListenerConfig>,
    /// Those that some listener carries.
    services: BTreeMap<String, Said>,
}

/// A key of the appliance itself, and its value in one spelling.
#[derive(Clone, PartialEq, Eq)]
struct Setting {
    key: &'static str,
    value: String,
}

impl Plan {
    /// What `next` would change of `current`.
    pub(super) fn between(current: &Outline, next: &Outline) -> Self {
        let changes = refusals(current, next)
            .chain(settings(current, next))
            .chain(starts(current, next))
            .chain(listeners(current, next))
            .chain(stops(current, next));
        Self { steps: changes.map(|change| Step { change, drains: None }).collect() }
    }

    /// Whether a step of it cannot be done while the appliance runs.
    pub(crate) fn is_refused(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.change, Change::Refused { .. }))
    }

    /// Adds to each step what it lets drain of what is open on `listeners` now. What drains already is not
    /// counted.
    #[must_use]
    pub(crate) fn with_load(mut self, listeners: &[ListenerStatus]) -> Self {
        for step in &mut self.steps {
            let affected = step.change.drained();
            let affected = listeners.iter().filter(|found| affected.contains(&&*found.name));
            step.drains = affected.map(load).reduce(Load::and);
        }
        self
    }
}

impl Change {
    /// The listeners whose serving generation gives way to another one, or to none.
    fn drained(&self) -> Vec<&str> {
        match self {
            Self::Refused { .. }
            | Self::Settings { .. }
            | Self::ServiceStarts { .. }
            | Self::ListenerStarts { .. } => Vec::new(),
            Self::ServiceStartsAnew { listeners, .. } | Self::ServiceStops { listeners, .. } => {
                listeners.iter().map(String::as_str).collect()
            }
            Self::ListenerMoves { listener, .. }
            | Self::ListenerChangesTls { listener, .. }
            | Self::ListenerCarries { listener, .. }
            | Self::ListenerDrops { listener, .. }
            | Self::ListenerRedirects { listener, .. }
            | Self::ListenerStops { listener, .. } => vec![listener],
        }
    }
}

impl Load {
    fn and(self, other: Self) -> Self {
        Self {
            connections: self.connections + other.connections,
            requests_in_progress: self.requests_in_progress + other.requests_in_progress,
            websockets: self.websockets + other.websockets,
        }
    }
}

fn load(listener: &ListenerStatus) -> Load {
    let serving = listener.generations.iter().filter(|one| one.state == GenerationState::Serving);
    let loads = serving.map(|generation| Load {
        connections: generation.connections,
        requests_in_progress: generation.requests_in_progress,
        websockets: generation.websockets,
    });
    loads.fold(Load::default(), Load::and)
}

impl Outline {
    /// What is to be compared. A field that is new to the configuration has to be placed here.
    pub(super) fn of(config: &Config) -> Self {
        let Config {
            data_dir,
            data_dir_is_given,
            drain_timeout,
            max_draining,
            shutdown_timeout,
            tls: TlsSettings { watch, upload_beside_watch },
            security: SecuritySettings { monitoring_token_file, names },
            listeners,
            workers,
            limits,
            log: LogConfig { format, rotation: Rotation { max_bytes, files } },
            power: PowerCommands { reboot, shutdown, delay },
            outbound: OutboundConfig { allow, longest },
            services,
            text: _,
            original: _,
        } = config;
        let PublicNames { host_names, public_origins } = names;
        let LimitsConfig {
            connections,
            connections_per_address,
            streams_per_address,
            write_timeout,
        } = limits;
        let settings = vec![
            setting("drain_timeout", drain_timeout),
            setting("max_draining", max_draining),
            setting("shutdown_timeout", shutdown_timeout),
            setting("limits.connections", connections),
            setting("limits.connections_per_address", connections_per_address),
            setting("limits.streams_per_address", streams_per_address),
            setting("limits.write_timeout", write_timeout),
            setting("tls.watch", watch),
            setting("tls.upload", upload_beside_watch),
            setting("security.monitoring_token_file", monitoring_token_file),
            setting("security.host_names", host_names),
            setting("security.public_origins", public_origins),
            setting("log.format", format),
            setting("log.max_file_mebibytes", max_bytes),
            setting("log.files", files),
            setting("power.reboot", reboot),
            setting("power.shutdown", shutdown),
            setting("power.delay", delay),
            setting("outbound.allow", allow),
            setting("outbound.longest", longest),
        ];
        let carried = services.iter().filter(|service| is_carried(listeners, &service.name));
        Self {
            data_dir: (!data_dir_is_given).then(|| data_dir.clone()),
            workers: *workers,
            settings,
            listeners: listeners.clone(),
            services: carried.map(|service| (service.name.clone(), service.said.clone())).collect(),
        }
    }

    fn carriers(&self, service: &str) -> Vec<String> {
        let carries = |listener: &&ListenerConfig| listener.services.iter().any(|s| s == service);
        self.listeners.iter().filter(carries).map(|listener| listener.name.clone()).collect()
    }

    fn listener(&self, name: &str) -> Option<&ListenerConfig> {
        self.listeners.iter().find(|listener| listener.name == name)
    }
}

fn setting(key: &'static str, value: impl Debug) -> Setting {
    Setting { key, value: format!("{value:?}") }
}

/// What only a start can change.
fn refusals(current: &Outline, next: &Outline) -> impl Iterator<Item = Change> {
    let moved = current.data_dir.as_ref().zip(next.data_dir.as_ref());
    let moved = moved.filter(|(from, to)| from != to).map(|(from, to)| Change::Refused {
        key: "data_dir".into(),
        reason: format!(
            "everything that is kept is in {}; restart the appliance to use {}",
            from.display(),
            to.display()
        ),
    });
    let (from, to) = (current.workers, next.workers);
    let workers = (from != to).then(|| Change::Refused {
        key: "workers.count".into(),
        reason: format!("there are {from} threads; restart the appliance to have {to}"),
    });
    moved.into_iter().chain(workers)
}

/// The keys of the appliance itself, table by table.
fn settings(current: &Outline, next: &Outline) -> impl Iterator<Item = Change> {
    let both = current.settings.iter().zip(&next.settings);
    let changed = both.filter(|(from, to)| from != to).map(|(_, to)| to.key).collect::<Vec<_>>();
    let table = |key: &&'static str| key.split_once('.').map(|(table, _)| table);
    let tables = changed.chunk_by(|one, other| table(one) == table(other));
    let steps: Vec<_> = tables.map(|keys| Change::Settings { keys: keys.to_vec() }).collect();
    steps.into_iter()
}

/// The services that start, or start anew.
fn starts<'a>(current: &'a Outline, next: &'a Outline) -> impl Iterator<Item = Change> + 'a {
    next.services.iter().filter_map(|(service, said)| {
        let service = service.clone();
        let Some(before) = current.services.get(&service) else {
            return Some(Change::ServiceStarts { service });
        };
        let because = before.changes(said);
        let listeners = current.carriers(&service);
        (!because.is_empty()).then_some(Change::ServiceStartsAnew { service, because, listeners })
    })
}

fn stops<'a>(current: &'a Outline, next: &'a Outline) -> impl Iterator<Item = Change> + 'a {
    let gone = current.services.keys().filter(|name| !next.services.contains_key(*name));
    gone.map(|name| Change::ServiceStops {
        service: name.clone(),
        listeners: current.carriers(name),
    })
}

/// The listeners: new ones and those that change as the file lists them, then those that are gone.
fn listeners<'a>(current: &'a Outline, next: &'a Outline) -> impl Iterator<Item = Change> + 'a {
    let there = next.listeners.iter().flat_map(|to| match current.listener(&to.name) {
        Some(from) => listener_changes(from, to),
        None => vec![Change::ListenerStarts {
            listener: to.name.clone(),
            address: to.address,
            tls: to.tls.into(),
            services: to.services.clone(),
        }],
    });
    let gone = current.listeners.iter().filter(|from| next.listener(&from.name).is_none());
    let gone = gone
        .map(|from| Change::ListenerStops { listener: from.name.clone(), address: from.address });
    there.chain(gone)
}

fn listener_changes(from: &ListenerConfig, to: &ListenerConfig) -> Vec<Change> {
    let listener = || to.name.clone();
    let mut changes = Vec::new();
    if from.address != to.address {
        changes.push(Change::ListenerMoves {
            listener: listener(),
            from: from.address,
            to: to.address,
        });
    }
    if from.tls != to.tls {
        let (from, to) = (from.tls.into(), to.tls.into());
        changes.push(Change::ListenerChangesTls { listener: listener(), from, to });
    }
    let more = to.services.iter().filter(|service| !from.services.contains(service));
    changes.extend(
        more.map(|service| Change::ListenerCarries {
            listener: listener(),
            service: service.clone(),
        }),
    );
    let less = from.services.iter().filter(|service| !to.services.contains(service));
    changes.extend(
        less.map(|service| Change::ListenerDrops {
            listener: listener(),
            service: service.clone(),
        }),
    );
    // One that takes TLS alone never redirects.
    if redirect(from) != redirect(to) && to.tls.takes_plain() {
        let (from, to) = (redirect(from), redirect(to));
        changes.push(Change::ListenerRedirects { listener: listener(), from, to });
    }
    changes
}

fn redirect(listener: &ListenerConfig) -> Redirect {
    Redirect { listener: listener.redirect_to.clone(), port: listener.redirect_port }
}

impl From<Tls> for TlsMode {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Off => Self::Off,
            Tls::On => Self::On,
            Tls::Auto => Self::Auto,
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.change, f)?;
        match &self.drains {
            Some(load) if load.connections > 0 => write!(f, " (now open: {load})"),
            _ => Ok(()),
        }
    }
}

impl Serialize for Step {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(flatten)]
            change: &'a Change,
            /// The same for people.
            text: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            drains: Option<Load>,
        }
        let text = self.change.to_string();
        Wire { change: &self.change, text, drains: self.drains }.serialize(serializer)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { key, reason } => {
                write!(f, "{key} cannot change while the appliance runs: {reason}")
            }
            Self::Settings { keys } => {
                let verb = if keys.len() == 1 { "changes" } else { "change" };
                write!(f, "{} {verb}", keys.join(", "))
            }
            Self::ServiceStarts { service } => write!(f, "service `{service}` starts"),
            Self::ServiceStartsAnew { service, because, .. } => {
                let because: Vec<_> = because.iter().map(ToString::to_string).collect();
                write!(f, "service `{service}` starts anew because {}", because.join(" and "))
            }
            Self::ListenerStarts { listener, address, tls, services } => {
                let services = services.join(", ");
                write!(f, "listener `{listener}` starts on {address} with {tls}: {services}")
            }
            Self::ListenerMoves { listener, from, to } => {
                write!(f, "listener `{listener}` moves from {from} to {to}")
            }
            Self::ListenerChangesTls { listener, from, to } => {
                write!(f, "listener `{listener}` takes {to} in place of {from}")
            }
            Self::ListenerCarries { listener, service } => {
                write!(f, "listener `{listener}` carries `{service}` as well")
            }
            Self::ListenerDrops { listener, service } => {
                write!(f, "listener `{listener}` no longer carries `{service}`")
            }
            Self::ListenerRedirects { listener, from, to } => {
                write!(f, "listener `{listener}` redirects to {to} in place of {from}")
            }
            Self::ListenerStops { listener, address } => {
                write!(f, "listener `{listener}` on {address} stops; it drains")
            }
            Self::ServiceStops { service, .. } => write!(f, "service `{service}` stops"),
        }
    }
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "plain HTTP",
            Self::On => "TLS",
            Self::Auto => "TLS and plain HTTP",
        })
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.listener, self.port) {
            (Some(listener), None) => write!(f, "`{listener}`"),
            (Some(listener), Some(port)) => write!(f, "`{listener}` as port {port}"),
            (None, port) => write!(f, "port {}", port.unwrap_or(443)),
        }
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |number: usize, what: &str| match number {
            1 => format!("1 {what}"),
            _ => format!("{number} {what}s"),
        };
        let connections = counted(self.connections, "connection");
        let requests = counted(self.requests_in_progress, "request");
        let websockets = counted(self.websockets, "WebSocket");
        write!(f, "{connections}, {requests}, {websockets}")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_actors::{engine::GenerationStatus, supervisor::Exposure};
    use portcullis_web::service::{
        Kind, Mount, Service, Start, Tables,
        table::{ConfigError, Table},
    };
    use time::OffsetDateTime;

    use super::*;
    use crate::config::InForce;

    /// A kind with the keys `word` and `token`; `batch` and `realtime` share `[speech]`.
    struct Words(&'static str);

    struct Nothing;

    impl Service for Nothing {
        fn mounts(&self) -> Vec<Mount> {
            Vec::new()
        }
    }

    fn read(table: &mut Table<'_>) -> Result<(), ConfigError> {
        table.string("word")?;
        table.string("token")?;
        Ok(())
    }

    impl Kind for Words {
        fn name(&self) -> &'static str {
            self.0
        }

        fn several(&self) -> bool {
            self.0 == "notes"
        }

        fn shared_tables(&self) -> &'static [&'static str] {
            if self.0 == "notes" { &[] } else { &["speech"] }
        }

        fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
            read(&mut tables.own)?;
            self.shared_tables().iter().try_for_each(|name| read(tables.shared(name)))?;
            Ok(Start::made(Arc::new(Nothing)))
        }
    }

    fn in_force(text: &str) -> InForce {
        let kinds =
            ["notes", "batch", "realtime"].map(|name| Arc::new(Words(name)) as Arc<dyn Kind>);
        InForce::new(&Config::parse("old.toml", text, &kinds).expect(text), &kinds)
    }

    fn plan(current: &str, next: &str) -> Plan {
        in_force(current).plan("new.toml", next).expect(next)
    }

    fn lines(current: &str, next: &str) -> Vec<String> {
        plan(current, next).to_string().lines().map(str::to_owned).collect()
    }

    fn listener(name: &str, port: u16, rest: &str) -> String {
        format!("[[listener]]\nname = \"{name}\"\naddress = \"[::]:{port}\"\n{rest}\n")
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let one =
            listener("http", 80, "services = [\"batch\", \"notes\"]\nredirect_to = \"https\"")
                + &listener("https", 443, "tls = true\nservices = [\"batch\"]")
                + "[speech]\nword = \"x\"\n[limits]\nconnections = 1000\n";
        let other = "# The same.\nlimits.connections = 0x3e8\nspeech = { word = 'x' }\n".to_owned()
            + "drain_timeout = \"1day\"\n"
            + &listener("https", 443, "tls = true\nservices = [\"batch\"]")
            + &listener("http", 80, "redirect_to = \"https\"\nservices = [\"notes\", \"batch\"]");
        for (current, next) in [(&one, &one), (&one, &other), (&other, &one)] {
            assert!(plan(current, next).steps.is_empty(), "{}", plan(current, next));
        }
        assert!(plan("", "# nothing").steps.is_empty());
    }

    #[test]
    fn listeners_start_move_change_and_stop() {
        let current = listener("http", 80, "services = [\"notes\", \"batch\"]")
            + &listener("https", 443, "tls = true\nservices = [\"batch\"]")
            + &listener("old", 81, "services = [\"batch\"]");
        let next = listener("api", 8443, "tls = true\nservices = [\"notes\", \"batch\"]")
            + &listener("http", 8080, "services = [\"notes\"]\nredirect_to = \"https\"")
            + &listener(
                "https",
                443,
                "tls = \"auto\"\nservices = [\"notes\", \"batch\"]\nredirect_port = 18443",
            );
        assert_eq!(
            lines(&current, &next),
            [
                "listener `api` starts on [::]:8443 with TLS: notes, batch",
                "listener `http` moves from [::]:80 to [::]:8080",
                "listener `http` no longer carries `batch`",
                "listener `http` redirects to `https` in place of port 443",
                "listener `https` takes TLS and plain HTTP in place of TLS",
                "listener `https` carries `notes` as well",
                "listener `https` redirects to port 18443 in place of port 443",
                "listener `old` on [::]:81 stops; it drains",
            ]
        );
        let tls = listener("http", 80, "tls = true\nservices = [\"notes\", \"batch\"]");
        let plain = listener("http", 80, "services = [\"notes\", \"batch\"]\nredirect_port = 1");
        assert_eq!(lines(&plain, &tls), ["listener `http` takes TLS in place of plain HTTP"]);
    }

    #[test]
    fn services_start_start_anew_and_stop() {
        let listener = |services: &str| listener("http", 80, &format!("services = [{services}]"));
        let current = listener("\"batch\", \"realtime\"") + "[speech]\nword = \"a\"\n";
        let next = listener("\"batch\", \"realtime\"") + "[speech]\nword = \"b\"\ntoken = \"t\"\n";
        assert_eq!(
            lines(&current, &next),
            [
                "service `batch` starts anew because [speech] changed: token, word (line 6)",
                "service `realtime` starts anew because [speech] changed: token, word (line 6)",
            ]
        );
        let next = listener("\"batch\", \"minutes\"")
            + "[batch]\nword = \"c\"\n[[service]]\nkind = \"notes\"\nname = \"minutes\"\n";
        assert_eq!(
            lines(&current, &next),
            [
                "service `batch` starts anew because [batch] changed: word (line 6) and [speech] changed: word",
                "service `minutes` starts",
                "listener `http` carries `minutes` as well",
                "listener `http` no longer carries `realtime`",
                "service `realtime` stops",
            ]
        );
        let again = next.clone() + "word = \"d\"\n";
        assert_eq!(
            lines(&next, &again),
            ["service `minutes` starts anew because [[service]] `minutes` changed: word (line 10)"]
        );
        let nobody = listener("\"batch\"");
        assert_eq!(lines(&nobody, &(nobody.clone() + "[notes]\nword = \"a\"")), [""; 0]);
    }

    #[test]
    fn settings_are_named_by_table() {
        let next = "max_draining = 3\nshutdown_timeout = \"5s\"\n[limits]\nconnections = 100\n\
                    write_timeout = \"5m\"\n[log]\nformat = \"text\"\nfiles = 3\n\
                    [tls]\nwatch = { certificate = \"/c\", key = \"/k\" }\n\
                    [power]\nreboot = [\"true\"]\n[outbound]\nallow = [\"10.0.0.0/8\"]\n\
                    [security]\nhost_names = [\"box\"]\n";
        assert_eq!(
            lines("", next),
            [
                "max_draining, shutdown_timeout change",
                "limits.connections changes",
                "tls.watch changes",
                "security.host_names changes",
                "log.files changes",
                "power.reboot changes",
                "outbound.allow changes",
            ]
        );
    }

    #[test]
    fn what_only_a_start_can_change_is_refused() {
        let with = |workers| {
            let listener = listener("http", 80, "services = [\"batch\"]");
            format!("[workers]\ncount = {workers}\n{listener}")
        };
        let (current, next) = (with(2), "data_dir = \"/srv\"\n".to_owned() + &with(3));
        let plan = plan(&current, &next);
        assert_eq!(
            plan.to_string(),
            "data_dir cannot change while the appliance runs: everything that is kept is in /var/lib/portcullis; restart the appliance to use /srv\n\
             workers.count cannot change while the appliance runs: there are 2 threads; restart the appliance to have 3\n"
        );
        assert!(plan.is_refused());
        let config = Config::parse("old.toml", &current, &[Arc::new(Words("batch")) as _]).unwrap();
        let given = config.with_data_dir(Some("/given".into()));
        let in_force = InForce::new(&given, &[Arc::new(Words("batch")) as _]);
        let next = "data_dir = \"/srv\"\n".to_owned() + &current;
        assert!(in_force.plan("new.toml", &next).unwrap().steps.is_empty());
    }

    #[test]
    fn secrets_are_compared_and_never_told() {
        let notes = |token: &str| {
            format!(
                "{}[notes]\ntoken = \"{token}\"\n",
                listener("http", 80, "services = [\"notes\"]")
            )
        };
        let in_force = in_force(&notes("old secret"));
        assert!(in_force.plan("new.toml", &notes("(masked)")).unwrap().steps.is_empty());
        let plan = in_force.plan("new.toml", &notes("new secret")).unwrap();
        let told = format!("{plan} {plan:?} {}", serde_json::to_string(&plan).unwrap());
        assert!(
            told.contains("[notes] changed: token (line 6)") && !told.contains("secret"),
            "{told}"
        );
        let unknown =
            notes("(masked)").replace("[notes]", "[[service]]\nkind = \"notes\"\nname = \"x\"");
        let err = in_force.plan("new.toml", &unknown).err().unwrap().to_string();
        assert!(err.starts_with("new.toml:8: service[0].token: is \"(masked)\""), "{err}");
        let err = in_force.plan("new.toml", "[notes]\nwrod = 1").err().unwrap().to_string();
        assert!(err.starts_with("new.toml:2: notes.wrod: is not a known key"), "{err}");
    }

    fn status(name: &str, loads: &[(GenerationState, usize)]) -> ListenerStatus {
        let generation = |(state, connections): &(GenerationState, usize)| GenerationStatus {
            number: 1,
            state: *state,
            since: OffsetDateTime::UNIX_EPOCH,
            reason: String::new(),
            connections: *connections,
            requests_in_progress: 1,
            websockets: 2,
            requests_total: 0,
            carried: Vec::new(),
            carried_left_out: 0,
        };
        ListenerStatus {
            removed: false,
            name: name.to_owned(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            tls: false,
            exposure: Exposure::Serving,
            services: Vec::new(),
            redirect_to: None,
            generations: loads.iter().map(generation).collect(),
        }
    }

    #[test]
    fn what_drains_is_added_to_the_steps_that_let_it() {
        let (http, https) = (
            listener("http", 80, "services = [\"batch\"]"),
            listener("https", 443, "services = [\"batch\"]"),
        );
        let next = https.replace("443", "8443")
            + &listener("new", 1, "services = [\"batch\"]")
            + "[batch]\nword = \"x\"\n";
        let plan = plan(&(http + &https), &next).with_load(&[
            status("http", &[(GenerationState::Draining, 9), (GenerationState::Serving, 4)]),
            status("https", &[(GenerationState::Serving, 0)]),
        ]);
        assert_eq!(
            plan.to_string(),
            "service `batch` starts anew because [batch] changed: word (line 10) (now open: 4 connections, 2 requests, 4 WebSockets)\n\
             listener `https` moves from [::]:443 to [::]:8443\n\
             listener `new` starts on [::]:1 with plain HTTP: batch\n\
             listener `http` on [::]:80 stops; it drains (now open: 4 connections, 1 request, 2 WebSockets)\n"
        );
        assert_eq!(
            serde_json::to_value(&plan).unwrap(),
            serde_json::json!({ "steps": [
                {
                    "step": "service-starts-anew",
                    "service": "batch",
                    "because": [{ "table": "[batch]", "keys": ["word"], "line": 10 }],
                    "listeners": ["http", "https"],
                    "text": "service `batch` starts anew because [batch] changed: word (line 10)",
                    "drains": { "connections": 4, "requests_in_progress": 2, "websockets": 4 },
                },
                {
                    "step": "listener-moves",
                    "listener": "https",
                    "from": "[::]:443",
                    "to": "[::]:8443",
                    "text": "listener `https` moves from [::]:443 to [::]:8443",
                    "drains": { "connections": 0, "requests_in_progress": 1, "websockets": 2 },
                },
                {
                    "step": "listener-starts",
                    "listener": "new",
                    "address": "[::]:1",
                    "tls": "off",
                    "services": ["batch"],
                    "text": "listener `new` starts on [::]:1 with plain HTTP: batch",
                },
                {
                    "step": "listener-stops",
                    "listener": "http",
                    "address": "[::]:80",
                    "text": "listener `http` on [::]:80 stops; it drains",
                    "drains": { "connections": 4, "requests_in_progress": 1, "websockets": 2 },
                },
            ] })
        );
    }
}
