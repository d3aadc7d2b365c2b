//! How much of something clients may hold at once: one of them, and all together.
//!
//! A [`Quota`] is shared by everybody who hands the thing out: connections, streams, sessions,
//! buffered bytes. What was taken is given back when its [`Held`] is dropped.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Whom a bound counts as one: an IPv4 address, or the /64 of an IPv6 one, which one site commonly
/// holds (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Client(IpAddr);

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => {
                let s = v6.segments();
                Self(IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], 0, 0, 0, 0)))
            }
        }
    }
}

impl std::fmt::Display for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(network) => write!(f, "{network}/64"),
        }
    }
}

/// Whose share is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The client's own: another one may still have some.
    #[error("one address has as much of it as it may")]
    Client,
    /// Everybody's.
    #[error("all of it is in use")]
    All,
}

/// What may be held at once, in units of the caller's choice.
#[derive(Debug)]
pub struct Quota(Mutex<Shares>);

#[derive(Debug)]
struct Shares {
    each: u64,
    all: u64,
    held: u64,
    by_client: HashMap<Client, u64>,
}

impl Quota {
    /// `each` units for one client, `all` together.
    #[must_use]
    pub fn new(each: u64, all: u64) -> Arc<Self> {
        let shares = Shares { each, all, held: 0, by_client: HashMap::new() };
        Arc::new(Self(Mutex::new(shares)))
    }

    /// Other limits from now on. What is held stays held.
    pub fn set_limits(&self, each: u64, all: u64) {
        let mut shares = self.shares();
        (shares.each, shares.all) = (each, all);
    }

    /// Takes `units` for `client`.
    ///
    /// # Errors
    /// Whose share is used up; nothing was taken then.
    pub fn take(self: &Arc<Self>, client: Client, units: u64) -> Result<Held, Full> {
        self.shares().add(client, units)?;
        Ok(Held { quota: self.clone(), client, units })
    }

    /// What all clients hold now.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.shares().held
    }

    /// What one client holds now.
    #[must_use]
    pub fn held_by(&self, client: Client) -> u64 {
        self.shares().by_client.get(&client).copied().unwrap_or(0)
    }

    /// The client that holds most, and how much that is.
    #[must_use]
    pub fn greediest(&self) -> Option<(Client, u64)> {
        let shares = self.shares();
        shares.by_client.iter().max_by_key(|(_, units)| **units).map(|(client, n)| (*client, *n))
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shares {
    fn add(&mut self, client: Client, units: u64) -> Result<(), Full> {
        let own = self.by_client.get(&client).copied().unwrap_or(0).saturating_add(units);
        if own > self.each {
            return Err(Full::Client);
        }
        let held = self.held.saturating_add(units);
        if held > self.all {
            return Err(Full::All);
        }
        self.held = held;
        if own > 0 {
            self.by_client.insert(client, own);
        }
        Ok(())
    }

    fn remove(&mut self, client: Client, units: u64) {
        self.held -= units;
        if let Some(own) = self.by_client.get_mut(&client) {
            *own -= units;
            if *own == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

/// A part of a [`Quota`] that is in use; given back when dropped.
#[derive(Debug)]
pub struct Held {
    quota: Arc<Quota>,
    client: Client,
    units: u64,
}

impl Held {
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Takes `units` more.
    ///
    /// # Errors
    /// Whose share is used up; what was held before stays held.
    pub fn grow(&mut self, units: u64) -> Result<(), Full> {
        self.quota.shares().add(self.client, units)?;
        self.units += units;
        Ok(())
    }

    /// Gives `units` back, or all there are.
    pub fn shrink(&mut self, units: u64) {
        let units = units.min(self.units);
        self.quota.shares().remove(self.client, units);
        self.units -= units;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.quota.shares().remove(self.client, self.units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(address: &str) -> Client {
        address.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn one_client_and_all_of_them_are_bounded_apart() {
        let quota = Quota::new(3, 5);
        let mut first = quota.take(client("192.0.2.1"), 2).unwrap();
        assert_eq!(first.grow(2), Err(Full::Client));
        assert_eq!(first.units(), 2, "what was refused is not counted");
        first.grow(1).unwrap();
        let second = quota.take(client("192.0.2.2"), 2).unwrap();
        assert_eq!(quota.take(client("192.0.2.3"), 1).unwrap_err(), Full::All);
        first.shrink(1);
        let third = quota.take(client("192.0.2.3"), 1).unwrap();
        assert_eq!(quota.greediest().map(|(_, units)| units), Some(2));
        drop((first, second, third));
        assert_eq!((quota.held(), quota.greediest()), (0, None), "everything was given back");
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one_and_a_64_is_one_client() {
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("2001:db8::1").to_string(), "2001:db8::/64");
    }
}
