//! The addresses that callers name, taken apart by us alone: nothing else reads them again.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// No address of audio is as long; in bytes.
const LONGEST: usize = 8192;

/// An http or https URL. Its `Debug` shows the origin alone: the rest may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    origin: Origin,
    /// From the first slash on, without a fragment; ASCII.
    path: String,
}

/// Whom a request goes to. Headers that hold secrets are for one origin alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub secure: bool,
    pub host: Host,
    pub port: u16,
}

/// A host as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// In lower case, without a dot at its end.
    Name(String),
    /// In whichever spelling.
    Address(IpAddr),
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("must be an http or https URL")]
    Scheme,
    #[error("must hold no user and no password; send them as a line of auth_headers")]
    User,
    #[error("has a host that is neither a name nor an address")]
    Host,
    #[error("has a port that is not 1 to 65535")]
    Port,
    #[error("must be printable text without spaces, of {LONGEST} bytes at most")]
    Text,
    #[error("leads from https to http")]
    Downgrade,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        if url.len() > LONGEST || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(TargetError::Text);
        }
        let (scheme, rest) = url.split_once("://").ok_or(TargetError::Scheme)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(TargetError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(TargetError::User);
        }
        let (host, port) = parse_authority(authority)?;
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            origin: Origin { secure, host, port },
            path: format!("{slash}{}", encoded(path)),
        })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/***", self.origin)
    }
}

/// As it stands in a URL; a port that the scheme implies is left out.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.secure { "https" } else { "http" }, self.authority())
    }
}

impl Origin {
    /// Host and port as the `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        };
        let implied = if self.secure { 443 } else { 80 };
        if self.port == implied { host } else { format!("{host}:{}", self.port) }
    }
}

impl Target {
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Path and query, as the request line has them.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where a `Location` of an answer from here leads.
    ///
    /// # Errors
    /// To no http or https URL, or from https to http.
    pub fn redirected(&self, location: &str) -> Result<Self, TargetError> {
        let scheme_end = location.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let absolute = scheme_end.is_some_and(|end| end > 0 && location[end..].starts_with(':'));
        let next: Self = if absolute {
            location.parse()?
        } else if location.starts_with("//") {
            let scheme = if self.origin.secure { "https" } else { "http" };
            format!("{scheme}:{location}").parse()?
        } else {
            let reference = location.split('#').next().unwrap_or_default();
            let own = self.path.split('?').next().unwrap_or_default();
            let path = match reference {
                "" => self.path.clone(),
                _ if reference.starts_with('?') => format!("{own}{reference}"),
                _ if reference.starts_with('/') => without_dots(reference),
                _ => {
                    let folder = &own[..own.rfind('/').map_or(0, |slash| slash + 1)];
                    without_dots(&format!("{folder}{reference}"))
                }
            };
            format!("{}{path}", self.origin).parse()?
        };
        if self.origin.secure && !next.origin.secure {
            return Err(TargetError::Downgrade);
        }
        Ok(next)
    }
}

/// Resolves `.` and `..` in a path that begins with a slash (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

fn parse_authority(authority: &str) -> Result<(Host, Option<u16>), TargetError> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or(TargetError::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| TargetError::Host)?;
            (Host::Address(address.into()), port)
        }
        None => {
            let (name, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            (parse_name(name)?, port)
        }
    };
    let port = match port.strip_prefix(':') {
        // A colon without a number means the usual one (RFC 3986, section 3.2.3).
        Some("") => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            Some(port.ok_or(TargetError::Port)?)
        }
        Some(_) => return Err(TargetError::Port),
        None if port.is_empty() => None,
        None => return Err(TargetError::Host),
    };
    Ok((host, port))
}

fn parse_name(name: &str) -> Result<Host, TargetError> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let fits = |label: &str| {
        !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    if name.len() > 253 || !name.split('.').all(fits) {
        return Err(TargetError::Host);
    }
    // What ends with a number is an address to every resolver, in whichever spelling.
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || number(last).is_some() {
        return ipv4(&name).map(|address| Host::Address(address.into())).ok_or(TargetError::Host);
    }
    Ok(Host::Name(name))
}

/// Reads what `inet_aton` reads: one to four numbers, decimal, octal or hexadecimal, of which the
/// last fills what is left.
fn ipv4(text: &str) -> Option<Ipv4Addr> {
    let mut parts = text.split('.').map(number).collect::<Option<Vec<_>>>()?;
    let last = parts.pop()?;
    if parts.len() > 3 || parts.iter().any(|part| *part > 255) {
        return None;
    }
    let free = 8 * (4 - parts.len() as u32);
    if u64::from(last) >= 1 << free {
        return None;
    }
    let high = parts.iter().enumerate().map(|(index, part)| part << (24 - 8 * index));
    Some(Ipv4Addr::from_bits(high.sum::<u32>() | last))
}

fn number(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some("") => return Some(0),
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => (&text[1..], 8),
        None => (text, 10),
    };
    let digits_alone = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u32::from_str_radix(digits, radix).ok().filter(|_| digits_alone)
}

/// Path and query with everything escaped that a request line must not hold; escapes stay.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Target {
        url.parse().unwrap_or_else(|err| panic!("{url}: {err}"))
    }

    fn shown(target: &Target) -> String {
        format!("{}{}", target.origin(), target.path())
    }

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for (host, address) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0X7F.1", "127.0.0.1"),
            ("0x7f.0.0.0x1", "127.0.0.1"),
            ("017700000001", "127.0.0.1"),
            ("0177.0.0.01", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("0x", "0.0.0.0"),
            ("3232235777", "192.168.1.1"),
            ("0xa9fea9fe", "169.254.169.254"),
            ("[::1]", "::1"),
            ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
            ("[::FFFF:7f00:1]", "::ffff:127.0.0.1"),
        ] {
            let target = target(&format!("http://{host}:81/x"));
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(target.origin().host, Host::Address(address), "{host}");
            assert_eq!(target.origin().port, 81, "{host}");
        }
    }

    #[test]
    fn names_ports_paths_and_queries_are_taken_apart() {
        for (url, expected) in [
            ("http://example.com", "http://example.com/"),
            ("HTTPS://Example.COM.:443/a?b#c", "https://example.com/a?b"),
            ("http://example.com:8080?x=1", "http://example.com:8080/?x=1"),
            ("http://example.com:/", "http://example.com/"),
            ("https://example.com:80/", "https://example.com:80/"),
            ("http://a_b.example/ä{}|?ö=\"", "http://a_b.example/%C3%A4%7B%7D%7C?%C3%B6=%22"),
            ("http://[2606:4700::1111]:80/%41", "http://[2606:4700::1111]/%41"),
            ("http://1.example/", "http://1.example/"),
            ("http://example.com/a@b:c//d\\e", "http://example.com/a@b:c//d%5Ce"),
        ] {
            assert_eq!(shown(&target(url)), expected, "{url}");
        }
        let secret = target("https://example.com/hooks/T0/s3cret?token=s3cret");
        assert_eq!(format!("{secret:?}"), "https://example.com/***");
    }

    #[test]
    fn what_is_no_plain_address_is_refused_with_the_part() {
        for (url, expected) in [
            ("ftp://example.com/", TargetError::Scheme),
            ("file:///etc/passwd", TargetError::Scheme),
            ("gopher://127.0.0.1:70/", TargetError::Scheme),
            ("example.com", TargetError::Scheme),
            ("http:/example.com", TargetError::Scheme),
            ("http://", TargetError::Host),
            ("http:///x", TargetError::Host),
            ("http://a@127.0.0.1/", TargetError::User),
            ("http://user:pw@example.com/", TargetError::User),
            ("http://example.com\\@127.0.0.1/", TargetError::User),
            ("http://example.com\\.127.0.0.1/", TargetError::Host),
            ("http://１２７.0.0.1/", TargetError::Host),
            ("http://127。0。0。1/", TargetError::Host),
            ("http://%31%32%37.0.0.1/", TargetError::Host),
            ("http://localhost%00.example.com/", TargetError::Host),
            ("http://a..b/", TargetError::Host),
            ("http://127.0.0.1../", TargetError::Host),
            ("http://127.0.0.256/", TargetError::Host),
            ("http://1.2.3.4.5/", TargetError::Host),
            ("http://0x7g.1.08/", TargetError::Host),
            ("http://4294967296/", TargetError::Host),
            ("http://[::1/", TargetError::Host),
            ("http://[::1%25lo]/", TargetError::Host),
            ("http://[v1.x]/", TargetError::Host),
            ("http://[::1]x/", TargetError::Host),
            ("http://example.com:0/", TargetError::Port),
            ("http://example.com:65536/", TargetError::Port),
            ("http://example.com:+80/", TargetError::Port),
            ("http://example.com:80:80/", TargetError::Port),
            ("http://example.com/a b", TargetError::Text),
            ("http://example.com/\r\nHost: x", TargetError::Text),
        ] {
            assert_eq!(url.parse::<Target>(), Err(expected), "{url}");
        }
        let long = format!("http://example.com/{}", "x".repeat(LONGEST));
        assert_eq!(long.parse::<Target>(), Err(TargetError::Text));
    }

    #[test]
    fn redirects_lead_where_they_say_but_not_from_https_to_http() {
        let base = target("https://example.com:8443/a/b/c?d=e");
        for (location, expected) in [
            ("https://other.example/x", "https://other.example/x"),
            ("//other.example/x", "https://other.example/x"),
            ("/x?y", "https://example.com:8443/x?y"),
            ("x", "https://example.com:8443/a/b/x"),
            ("../x", "https://example.com:8443/a/x"),
            ("./../../../x/..", "https://example.com:8443/"),
            ("?y=z", "https://example.com:8443/a/b/c?y=z"),
            ("#f", "https://example.com:8443/a/b/c?d=e"),
            ("x?u=http://a/../b", "https://example.com:8443/a/b/x?u=http://a/../b"),
            ("ü", "https://example.com:8443/a/b/%C3%BC"),
        ] {
            assert_eq!(shown(&base.redirected(location).unwrap()), expected, "{location}");
        }
        assert_eq!(base.redirected("http://example.com/"), Err(TargetError::Downgrade));
        assert_eq!(base.redirected("file:///etc/passwd"), Err(TargetError::Scheme));
        assert_eq!(base.redirected("javascript:x"), Err(TargetError::Scheme));
        assert_eq!(base.redirected("//a@127.0.0.1/"), Err(TargetError::User));
        let plain = target("http://example.com/").redirected("https://example.com/").unwrap();
        assert!(plain.origin().secure);
    }
}
