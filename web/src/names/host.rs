//! The host that a request names (RFC 9112, section 3.2; RFC 9110, section 7.2).

use actix_http::{RequestHead, header};

/// A checked host: a name, an IPv4 address or an IPv6 address in brackets, and the port beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

/// Why the host of a request cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("the Host header is missing; it names the appliance as you reached it")]
    Missing,
    #[error("there is more than one Host header")]
    Repeated,
    #[error(
        "the Host header is not a name, an IPv4 address or a bracketed IPv6 address with an optional port"
    )]
    Malformed,
}

impl Host {
    /// The host of a request: that of an absolute target or `:authority`, else the `Host` header.
    ///
    /// # Errors
    /// It is missing, repeated or malformed.
    pub(crate) fn of(head: &RequestHead) -> Result<Self, HostError> {
        let mut headers = head.headers().get_all(header::HOST);
        let header = headers.next();
        if headers.next().is_some() {
            return Err(HostError::Repeated);
        }
        let header = header
            .map(|value| {
                value.to_str().ok().and_then(Self::parse).ok_or_else(|| match value.is_empty() {
                    true => HostError::Missing,
                    false => HostError::Malformed,
                })
            })
            .transpose()?;
        match head.uri.authority() {
            Some(authority) => Self::parse(authority.as_str()).ok_or(HostError::Malformed),
            None => header.ok_or(HostError::Missing),
        }
    }

    /// Reads `host` or `host:port`. The zone of an IPv6 address is dropped: it has a meaning on the
    /// client's machine alone, and clients should leave it out (RFC 6874, section 4).
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (inside, port) = rest.split_once(']')?;
            let (address, zone) = match inside.split_once('%') {
                Some((address, zone)) => (address, Some(zone)),
                None => (inside, None),
            };
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let zone_fits = |zone: &str| !zone.is_empty() && zone.bytes().all(is_of_a_zone);
            zone.is_none_or(zone_fits).then_some(())?;
            (format!("[{address}]"), port)
        } else {
            let end = text.find(':').unwrap_or(text.len());
            (text[..end].to_owned(), &text[end..])
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            Some("") => None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                Some(digits.parse().ok()?)
            }
            _ => return None,
        };
        let name_fits = host.starts_with('[')
            || !host.is_empty()
                && host.len() <= 253
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        name_fits.then_some(Self { name: host, port })
    }

    /// As it was sent, IPv6 in brackets, without the port.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.name
    }

    /// The port, if one was named.
    #[must_use]
    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it is an address and not a name.
    #[must_use]
    pub(crate) fn is_address(&self) -> bool {
        self.name.starts_with('[') || self.name.parse::<std::net::Ipv4Addr>().is_ok()
    }

    /// Whether both name the same host, whatever the port; names are compared without regard to
    /// case, IPv6 addresses by what they mean.
    #[must_use]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.name.eq_ignore_ascii_case(&other.name)
            || self.ipv6().is_some_and(|address| other.ipv6() == Some(address))
    }

    fn ipv6(&self) -> Option<std::net::Ipv6Addr> {
        self.name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
    }
}

/// Unreserved characters, and the percent signs of others (RFC 6874, section 2).
fn is_of_a_zone(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_told_apart_and_brackets_stay() {
        for (text, host) in [
            ("box.example.test", "box.example.test"),
            ("box.example.test:80", "box.example.test"),
            ("192.0.2.7:8080", "192.0.2.7"),
            ("[2001:db8::10]", "[2001:db8::10]"),
            ("[2001:db8::10]:80", "[2001:db8::10]"),
            ("my_box:", "my_box"),
            ("[fe80::1%25eth0]", "[fe80::1]"),
            ("[fe80::1%eth0]:8443", "[fe80::1]"),
            ("[fe80::1%2]:80", "[fe80::1]"),
            ("[fe80::1%25wlp0s20f3.100]", "[fe80::1]"),
        ] {
            assert_eq!(Host::parse(text).unwrap().as_str(), host, "{text}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in [
            "",
            ":80",
            "a b",
            "user@evil.example",
            "evil.example/y?",
            "a:b",
            "a:99999",
            "[::1",
            "[evil]",
            "[fe80::1%]",
            "[fe80::1%25e/0]",
            "[evil%25eth0]",
            "192.0.2.1%eth0",
            "::1",
            "a\r\nX: y",
            "a,b",
            "a:80:80",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }
}
