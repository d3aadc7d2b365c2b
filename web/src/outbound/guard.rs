//! Where a request on somebody's behalf may go.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use super::{
    network::{self, Network},
    target::{Host, Origin},
};

/// Judges addresses: public ones, and the networks that the configuration lists, are open; a
/// listener of this appliance never is.
#[derive(Debug, Default)]
pub struct Guard {
    allowed: Vec<Network>,
    own_ports: BTreeSet<u16>,
}

/// Nothing more is said: it would tell somebody outside about the network inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the address leads to a network that is not allowed")]
pub struct NotAllowed;

impl Guard {
    /// `allowed` are open beside the public Internet; `own_ports` of this machine are closed.
    #[must_use]
    pub fn new(allowed: Vec<Network>, own_ports: impl IntoIterator<Item = u16>) -> Self {
        Self { allowed, own_ports: own_ports.into_iter().collect() }
    }

    /// Judges an address that a name was resolved to; gives the very one to connect to.
    ///
    /// # Errors
    /// It is not open.
    pub fn judge(&self, address: SocketAddr) -> Result<SocketAddr, NotAllowed> {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let listed = |network: &&Network| network.contains(ip);
        let open = if network::may_hold_credentials(ip) {
            self.allowed.iter().filter(listed).any(Network::is_single)
        } else {
            network::is_public(ip) || self.allowed.iter().any(|network| network.contains(ip))
        };
        if !open || port == 0 || self.own_ports.contains(&port) && is_of_this_machine(ip) {
            return Err(NotAllowed);
        }
        Ok(SocketAddr::new(ip, port))
    }

    /// Judges what needs no resolving: an address, or a name of this machine (RFC 6761).
    ///
    /// # Errors
    /// It is not open, whatever a resolver says.
    pub fn judge_literal(&self, origin: &Origin) -> Result<(), NotAllowed> {
        let judge = |ip: IpAddr| self.judge(SocketAddr::new(ip, origin.port)).map(|_| ());
        match &origin.host {
            Host::Address(ip) => judge(*ip),
            Host::Name(name) if name == "localhost" || name.ends_with(".localhost") => {
                judge(Ipv4Addr::LOCALHOST.into()).or_else(|_| judge(Ipv6Addr::LOCALHOST.into()))
            }
            Host::Name(_) => Ok(()),
        }
    }
}

/// Whether a connection to an address ends on this machine: it can be bound. What cannot be told
/// counts as if it were.
fn is_of_this_machine(ip: IpAddr) -> bool {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => true,
        Err(err) => err.kind() != io::ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &[&str], own_ports: &[u16]) -> Guard {
        let allowed = allowed.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(allowed, own_ports.iter().copied())
    }

    fn open(guard: &Guard, address: &str) -> bool {
        guard.judge(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn without_a_list_the_public_internet_alone_is_open() {
        let guard = guard(&[], &[443]);
        assert!(open(&guard, "8.8.8.8:443") && open(&guard, "[2606:4700::1111]:80"));
        for address in [
            "127.0.0.1:80",
            "10.0.0.1:80",
            "[::1]:80",
            "169.254.169.254:80",
            "0.0.0.0:80",
            "8.8.8.8:0",
        ] {
            assert!(!open(&guard, address), "{address}");
        }
    }

    #[test]
    fn a_listed_network_is_open_and_its_neighbours_are_not() {
        let guard = guard(&["10.1.0.0/16", "192.168.1.7", "fd12::/16"], &[]);
        for address in ["10.1.2.3:80", "192.168.1.7:8000", "[fd12::1]:80", "[::ffff:10.1.2.3]:80"] {
            assert!(open(&guard, address), "{address}");
        }
        for address in ["10.2.0.1:80", "192.168.1.8:80", "[fd13::1]:80", "[64:ff9b::10.1.2.3]:80"] {
            assert!(!open(&guard, address), "{address}");
        }
        // What is connected to is what was judged.
        let judged = guard.judge("[::ffff:10.1.2.3]:80".parse().unwrap()).unwrap();
        assert_eq!(judged, "10.1.2.3:80".parse().unwrap());
    }

    #[test]
    fn credentials_of_clouds_are_open_by_their_very_address_alone() {
        let wide = guard(&["169.254.0.0/16", "0.0.0.0/0", "::/0"], &[]);
        for address in [
            "169.254.169.254:80",
            "169.254.1.1:80",
            "168.63.129.16:80",
            "100.100.100.200:80",
            "192.0.0.192:80",
            "[fd00:ec2::254]:80",
            "[fe80::1]:80",
            "[::ffff:169.254.169.254]:80",
        ] {
            assert!(!open(&wide, address), "{address}");
        }
        assert!(open(&wide, "192.168.0.1:80") && open(&wide, "[fd00:ec3::1]:80"));
        let exact = guard(&["169.254.169.254"], &[]);
        assert!(open(&exact, "169.254.169.254:80") && !open(&exact, "169.254.169.253:80"));
    }

    #[test]
    fn an_own_listener_is_never_open_over_whatever_address() {
        let guard = guard(&["0.0.0.0/0", "::/0"], &[8443]);
        for address in [
            "127.0.0.1:8443",
            "127.9.9.9:8443",
            "0.0.0.0:8443",
            "[::ffff:127.0.0.1]:8443",
            "[::1]:8443",
        ] {
            assert!(!open(&guard, address), "{address}");
        }
        assert!(open(&guard, "127.0.0.1:8444"));
        // The same port of another machine is another matter. The address is one of TEST-NET.
        assert!(open(&guard, "192.0.2.1:8443"));
    }

    #[test]
    fn names_of_this_machine_are_judged_without_a_resolver() {
        let judged = |guard: &Guard, url: &str| {
            let target: super::super::Target = url.parse().unwrap();
            guard.judge_literal(target.origin()).is_ok()
        };
        let closed = guard(&[], &[]);
        for url in
            ["http://localhost/", "http://LOCALHOST./", "http://a.localhost:8080/", "http://127.1/"]
        {
            assert!(!judged(&closed, url), "{url}");
            assert!(judged(&guard(&["127.0.0.0/8"], &[]), url), "{url}");
        }
        assert!(judged(&closed, "http://example.com/") && judged(&closed, "http://8.8.8.8/"));
    }
}
