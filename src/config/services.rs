//! The tables of the services: `[<kind>]`, and `[[service]]` for further services of a kind.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_web::service::{
    Absent, Kind, Start, Tables,
    health::RESERVED_NAMES,
    table::{ConfigError, Source, Table, nearest},
};
use toml::de::DeTable;

use super::{
    Kinds, ListenerConfig,
    listener::{is_carried, read_name},
    said::{Lines, Said, entries},
};

/// Tables of the appliance itself, which no service reads as its own.
const OF_THE_APPLIANCE: [&str; 8] =
    ["listener", "service", "tls", "security", "limits", "log", "power", "outbound"];

/// A service, configured.
pub struct ServiceConfig {
    /// As listeners list it.
    pub name: String,
    pub kind: Arc<dyn Kind>,
    pub start: Start,
    pub(super) said: Said,
}

impl ServiceConfig {
    /// The names under which `health` lists it beside its own.
    #[must_use]
    pub fn components(&self) -> &'static [&'static str] {
        if self.name == self.kind.name() { self.kind.components() } else { &[] }
    }
}

impl ServiceConfig {
    /// What is to be said of it while no listener carries it.
    #[must_use]
    pub fn absent(&self) -> Absent {
        Absent {
            name: self.name.clone(),
            components: self.components(),
            administration_prefix: self.kind.administration_prefix(),
        }
    }
}

/// What a file says to services, before it is known which of them listeners carry.
pub(super) struct Written<'d> {
    source: &'d Source<'d>,
    services: Vec<Document<'d>>,
}

/// What it says to one of them.
struct Document<'d> {
    name: String,
    kind: Arc<dyn Kind>,
    own: Table<'d>,
    shared: BTreeMap<&'static str, Table<'d>>,
    /// Whether there is such a service only if somebody says so: by its table, or by a listener.
    optional: bool,
}

impl<'d> Document<'d> {
    /// Its tables by the names that people know, as the file has them.
    fn contents(&self) -> Vec<(String, Option<&'d DeTable<'d>>)> {
        let own = if self.name == self.kind.name() {
            format!("[{}]", self.name)
        } else {
            format!("[[service]] `{}`", self.name)
        };
        let shared =
            self.shared.iter().map(|(name, table)| (format!("[{name}]"), table.contents()));
        std::iter::once((own, self.own.contents())).chain(shared).collect()
    }
}

impl<'d> Written<'d> {
    /// Takes the tables of all services out of the outermost one.
    pub(super) fn take(
        source: &'d Source<'d>,
        root: &mut Table<'d>,
        kinds: &Kinds,
    ) -> Result<Self, ConfigError> {
        let mut services = Vec::new();
        for kind in kinds {
            let name = kind.name();
            let own = if OF_THE_APPLIANCE.contains(&name) { None } else { root.table(name)? };
            services.push(Document {
                name: name.to_owned(),
                kind: kind.clone(),
                optional: kind.several() && own.is_none(),
                own: own.unwrap_or_else(|| Table::absent(source, name)),
                shared: shared_tables(source, root, &**kind)?,
            });
        }
        for mut own in root.tables("service")? {
            let kind = read_kind(&mut own, kinds)?;
            let name = read_name(&mut own)?;
            if RESERVED_NAMES.contains(&name.value.as_str()) {
                let reason = format!("`{}` is a name of the appliance's own", name.value);
                return Err(own.error_at("name", name.offset, reason));
            }
            if services.iter().any(|other| other.name == name.value) {
                let reason = format!("there is a service `{}` already", name.value);
                return Err(own.error_at("name", name.offset, reason));
            }
            let shared = shared_tables(source, root, &*kind)?;
            services.push(Document { name: name.value, kind, own, shared, optional: false });
        }
        Ok(Self { source, services })
    }

    /// The names that listeners can list.
    pub(super) fn names(&self) -> Vec<&str> {
        self.services.iter().map(|document| document.name.as_str()).collect()
    }

    /// The names of those that listeners carry if the file lists none: all that the file says something
    /// to, or that can do without.
    pub(super) fn by_default(&self) -> Vec<&str> {
        let there = |document: &&Document<'_>| {
            !document.optional || can_do_without(self.source, &*document.kind)
        };
        self.services.iter().filter(there).map(|document| document.name.as_str()).collect()
    }

    /// Has each service read what is said to it.
    pub(super) fn configure(
        self,
        listeners: &[ListenerConfig],
    ) -> Result<Vec<ServiceConfig>, ConfigError> {
        let there =
            |document: &Document<'_>| !document.optional || is_carried(listeners, &document.name);
        let lines = Lines::of(self.source.text);
        let mut known = BTreeMap::new();
        let configure = |document: Document<'d>| {
            let contents = document.contents();
            let Document { name, kind, own, shared, .. } = document;
            let mut tables = Tables::new(own, shared);
            let start = kind.configure(&mut tables)?;
            tables.finish()?;
            let mut said = Said::default();
            for (table, contents) in contents {
                let entries =
                    known.entry(table.clone()).or_insert_with(|| entries(contents, &lines));
                said.add(table, entries.clone());
            }
            Ok(ServiceConfig { name, kind, start, said })
        };
        self.services.into_iter().filter(there).map(configure).collect()
    }
}

/// Whether a service of this kind needs nothing of the configuration.
fn can_do_without(source: &Source<'_>, kind: &dyn Kind) -> bool {
    let absent = |name: &&'static str| (*name, Table::absent(source, name));
    let shared = kind.shared_tables().iter().map(absent).collect();
    kind.configure(&mut Tables::new(Table::absent(source, kind.name()), shared)).is_ok()
}

fn shared_tables<'d>(
    source: &'d Source<'d>,
    root: &mut Table<'d>,
    kind: &dyn Kind,
) -> Result<BTreeMap<&'static str, Table<'d>>, ConfigError> {
    let mut shared = BTreeMap::new();
    for name in kind.shared_tables() {
        let table = root.table(name)?.unwrap_or_else(|| Table::absent(source, name));
        shared.insert(*name, table);
    }
    Ok(shared)
}

/// The kind of a `[[service]]`.
fn read_kind(table: &mut Table<'_>, kinds: &Kinds) -> Result<Arc<dyn Kind>, ConfigError> {
    let found = table.string("kind")?;
    let found = found.ok_or_else(|| table.error("has no kind; add kind = \"…\""))?;
    let name = found.value.as_str();
    let several = kinds.iter().filter(|kind| kind.several()).map(|kind| kind.name());
    match kinds.iter().find(|kind| kind.name() == name) {
        Some(kind) if kind.several() => Ok(kind.clone()),
        Some(_) => {
            let reason = format!(
                "there is one service `{name}`, and no further one can be made; its table is [{name}]"
            );
            Err(table.error_at("kind", found.offset, reason))
        }
        None => {
            let hint = nearest(name, several.clone())
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            let all: Vec<_> = several.collect();
            let known = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            let reason = format!(
                "`{name}` is not a kind of which there can be several services; {hint}these are: {known}"
            );
            Err(table.error_at("kind", found.offset, reason))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use portcullis_web::service::{Mount, Service};

    use super::*;
    use crate::config::Config;

    /// A kind with one key of its own, `greeting`.
    struct Simple {
        name: &'static str,
        several: bool,
    }

    struct Nothing;

    impl Service for Nothing {
        fn mounts(&self) -> Vec<Mount> {
            Vec::new()
        }
    }

    impl Kind for Simple {
        fn name(&self) -> &'static str {
            self.name
        }

        fn several(&self) -> bool {
            self.several
        }

        fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
            if self.name == "notes" && tables.own.string("greeting")?.is_none() {
                return Err(tables.own.error("has no greeting; add greeting = \"…\""));
            }
            Ok(Start::made(Arc::new(Nothing)))
        }
    }

    /// Kinds of these names; of `notes` there may be several services.
    pub(in super::super) fn kinds(names: &[&'static str]) -> Vec<Arc<dyn Kind>> {
        let kind = |name: &&'static str| -> Arc<dyn Kind> {
            Arc::new(Simple { name, several: ["notes", "echoes"].contains(name) })
        };
        names.iter().map(kind).collect()
    }

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse("test.toml", text, &kinds(&["security", "echo", "notes"]))
    }

    const LISTENER: &str = "[[listener]]\nname = \"a\"\naddress = \"[::]:80\"\nservices = ";

    #[test]
    fn a_kind_makes_several_services() {
        let names = |text: &str| {
            let config = parse(text).unwrap();
            config.services.into_iter().map(|service| service.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&format!("{LISTENER} [\"echo\"]")), "security echo");
        assert_eq!(
            names(&format!("{LISTENER} [\"echo\"]\n[notes]\ngreeting = \"x\"")),
            "security echo notes"
        );
        let minutes = "[[service]]\nkind = \"notes\"\nname = \"minutes\"\ngreeting = \"Hello\"\n";
        assert_eq!(names(&format!("{minutes}{LISTENER} [\"minutes\"]")), "security echo minutes");
    }

    #[test]
    fn default_listeners_carry_what_needs_no_configuration() {
        let kinds = kinds(&["security", "notes", "echoes"]);
        let config = Config::parse("test.toml", "", &kinds).unwrap();
        assert_eq!(config.listeners[0].services, ["security", "echoes"]);
        assert_eq!(config.services.len(), 2);
        let config = Config::parse("test.toml", "[notes]\ngreeting = \"x\"", &kinds).unwrap();
        assert_eq!(config.listeners[0].services, ["security", "notes", "echoes"]);
        let unprivileged = Config::documented(&kinds, true).unwrap();
        assert_eq!(unprivileged.listeners[0].services, ["security", "echoes"]);
    }

    #[test]
    fn mistakes_are_named() {
        let service = |rest: &str| format!("[[service]]\n{rest}\n{LISTENER} [\"echo\"]");
        for (text, expected) in [
            (service("name = \"x\""), "test.toml:1: service[0]: has no kind"),
            (
                service("kind = \"noted\"\nname = \"x\""),
                "test.toml:2: service[0].kind: `noted` is not a kind of which there can be several services; did you mean `notes`?",
            ),
            (
                service("kind = \"echo\"\nname = \"x\""),
                "service[0].kind: there is one service `echo`, and no further one can be made; its table is [echo]",
            ),
            (service("kind = \"notes\""), "service[0]: has no name"),
            (
                service("kind = \"notes\"\nname = \"echo\"\ngreeting = \"x\""),
                "test.toml:3: service[0].name: there is a service `echo` already",
            ),
            (
                service("kind = \"notes\"\nname = \"storage\"\ngreeting = \"x\""),
                "service[0].name: `storage` is a name of the appliance's own",
            ),
            (service("kind = \"notes\"\nname = \"x\""), "service[0]: has no greeting"),
            (
                service("kind = \"notes\"\nname = \"x\"\ngreeting = \"x\"\ngreting = 1"),
                "test.toml:5: service[0].greting: is not a known key; did you mean `greeting`?",
            ),
            (
                format!("[echo]\nx = 1\n{LISTENER} [\"echo\"]"),
                "test.toml:2: echo.x: is not a known key; this table has none",
            ),
            (format!("{LISTENER} [\"notes\"]"), "notes: has no greeting"),
        ] {
            let message = parse(&text).err().expect(&text).to_string();
            assert!(message.contains(expected), "{text}\n{message}");
        }
    }
}
