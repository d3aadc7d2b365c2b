//! `[[listener]]`.

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
};

use portcullis_actors::engine::Tls;
use portcullis_web::service::table::{ConfigError, Found, Table, nearest};

/// What `workers` of a listener could be.
const MAX_WORKERS: usize = 64;

/// One `[[listener]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    pub name: String,
    /// `[::]` takes IPv4 as well; port 0 picks a free one.
    pub address: SocketAddr,
    pub tls: Tls,
    pub services: Vec<String>,
    /// The TLS listener that requests are sent to while plain HTTP is off.
    pub redirect_to: Option<String>,
    /// The port that redirects name, where it is another one outside than inside.
    pub redirect_port: Option<u16>,
}

/// Whether a listener carries the service of this name.
pub fn is_carried(listeners: &[ListenerConfig], name: &str) -> bool {
    listeners.iter().any(|listener| listener.services.iter().any(|service| service == name))
}

/// The name of a listener or of a service.
pub(super) fn read_name(table: &mut Table<'_>) -> Result<Found<String>, ConfigError> {
    let name = table.string("name")?;
    let name = name.ok_or_else(|| table.error("has no name; add name = \"…\""))?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.value.is_empty() || name.value.len() > 32 || !name.value.chars().all(fits) {
        let reason = "must be 1 to 32 lower-case letters, digits and hyphens";
        return Err(table.error_at("name", name.offset, reason));
    }
    Ok(name)
}

/// Reads one listener; with it comes the position of its `redirect_to`.
pub(super) fn read_listener(
    mut table: Table<'_>,
    known: &[&str],
    before: &[ListenerConfig],
) -> Result<(ListenerConfig, Option<usize>), ConfigError> {
    let name = read_name(&mut table)?;
    let address = table.string("address")?;
    let tls = table.string_or_boolean("tls")?;
    let services = table.strings("services")?;
    let redirect_to = table.string("redirect_to")?;
    let redirect_port = table.integer("redirect_port", 1..=usize::from(u16::MAX))?;
    if table.integer("workers", 1..=MAX_WORKERS)?.is_some() {
        let name = &name.value;
        log::warn!(
            "listener {name}: `workers` has no effect any more; the workers of `[workers] count` serve every listener"
        );
    }

    if before.iter().any(|listener| listener.name == name.value) {
        let reason = format!("`{}` names two listeners", name.value);
        return Err(table.error_at("name", name.offset, reason));
    }
    let address =
        address.ok_or_else(|| table.error("has no address; add address = \"[::]:443\""))?;
    let parsed = parse_address(&address.value)
        .map_err(|reason| table.error_at("address", address.offset, reason))?;
    if parsed.port() != 0 && before.iter().any(|listener| listener.address == parsed) {
        let reason = format!("{parsed} is the address of two listeners");
        return Err(table.error_at("address", address.offset, reason));
    }
    let tls = match tls {
        None => Tls::Off,
        Some(Found { value, offset }) => match value.as_str() {
            "true" => Tls::On,
            "false" => Tls::Off,
            "auto" => Tls::Auto,
            other => {
                let reason = format!(
                    "is \"{other}\"; it must be true, false or \"auto\" (both on one port)"
                );
                return Err(table.error_at("tls", offset, reason));
            }
        },
    };
    let services = services
        .ok_or_else(|| table.error("has no services; add services = [\"management\", …]"))?;
    let services = check_services(&table, services, known)?;
    if let Some(found) = &redirect_to
        && tls == Tls::On
    {
        let reason = "a TLS listener never redirects; take this key out";
        return Err(table.error_at("redirect_to", found.offset, reason));
    }
    if redirect_port.is_some() && tls == Tls::On {
        let offset = table.offset_of("redirect_port");
        let reason = "a TLS listener never redirects; take this key out";
        return Err(table.error_at("redirect_port", offset, reason));
    }
    table.finish()?;
    let target = redirect_to.as_ref().map(|found| found.offset);
    let listener = ListenerConfig {
        name: name.value,
        address: parsed,
        tls,
        services,
        redirect_to: redirect_to.map(|found| found.value),
        redirect_port: redirect_port.and_then(|port| u16::try_from(port).ok()),
    };
    Ok((listener, target))
}

/// An address with a port. An IPv6 address may name a network interface after a `%`, by its name
/// or its number (RFC 4007, section 11), in a URI's spelling also after a `%25` (RFC 6874).
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let unfit = || {
        format!(
            "`{text}` is not an address with a port, such as \"[::]:443\" or \"127.0.0.1:8080\""
        )
    };
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
    let (inside, port) = bracketed.ok_or_else(unfit)?;
    let (address, interface) = inside.split_once('%').ok_or_else(unfit)?;
    let address: Ipv6Addr = address.parse().map_err(|_| unfit())?;
    let port: u16 = port.parse().map_err(|_| unfit())?;
    if interface.is_empty() {
        return Err(unfit());
    }
    let escaped = interface.strip_prefix("25").filter(|name| !name.is_empty());
    let index = std::iter::once(interface).chain(escaped).find_map(|name| {
        let index = nix::net::if_::if_nametoindex(name).ok();
        index.or_else(|| name.parse().ok())
    });
    let Some(index) = index else {
        let interfaces = nix::net::if_::if_nameindex();
        let names: Vec<String> = interfaces
            .iter()
            .flat_map(|all| all.iter())
            .map(|interface| interface.name().to_string_lossy().into_owned())
            .collect();
        return Err(format!(
            "there is no network interface `{interface}`; there are {}",
            names.join(", ")
        ));
    };
    Ok(SocketAddrV6::new(address, port, 0, index).into())
}

fn check_services(
    table: &Table<'_>,
    services: Found<Vec<Found<String>>>,
    known: &[&str],
) -> Result<Vec<String>, ConfigError> {
    if services.value.is_empty() {
        let reason = format!("is empty; the known services are {}", known.join(", "));
        return Err(table.error_at("services", services.offset, reason));
    }
    let mut seen = BTreeSet::new();
    for service in &services.value {
        let name = service.value.as_str();
        if !known.contains(&name) {
            let hint = nearest(name, known.iter().copied())
                .map(|near| format!("did you mean `{near}`? "))
                .unwrap_or_default();
            let reason = format!(
                "`{name}` is not a known service; {hint}the known ones are {}",
                known.join(", ")
            );
            return Err(table.error_at("services", service.offset, reason));
        }
        if !seen.insert(name) {
            return Err(table.error_at(
                "services",
                service.offset,
                format!("`{name}` is listed twice"),
            ));
        }
    }
    Ok(services.value.into_iter().map(|service| service.value).collect())
}

pub(super) fn check_target(listeners: &[ListenerConfig], index: usize) -> Result<(), String> {
    let target = listeners[index].redirect_to.as_deref().unwrap_or_default();
    match listeners.iter().find(|listener| listener.name == target) {
        Some(listener) if listener.tls.takes_tls() => Ok(()),
        Some(_) => {
            Err(format!("`{target}` is not a TLS listener, so requests cannot be sent there"))
        }
        None => {
            let names: Vec<&str> = listeners
                .iter()
                .filter(|listener| listener.tls.takes_tls())
                .map(|listener| listener.name.as_str())
                .collect();
            Err(format!("there is no listener `{target}`; TLS listeners are: {}", names.join(", ")))
        }
    }
}
