//! Which names are the appliance's own.
//!
//! A page of a foreign name that was turned to our address (DNS rebinding) is of the same origin for
//! its browser: it may send any header and read any answer. So a browser is served only under names
//! that an attacker cannot own: addresses, `localhost`, the name of the machine, the names of the
//! certificates, and what the configuration lists. Programs may use any name, for nobody else
//! chooses it for them.

pub(crate) mod host;
pub mod origin;

use std::sync::Arc;

use actix_http::{RequestHead, header};
use portcullis_actors::{certificate::Certificates, files};

use self::{host::Host, origin::Origin};

/// What the configuration says about names and origins outside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicNames {
    /// `host_names`: names, or `*.` and a name for one label more.
    pub host_names: Vec<HostName>,
    /// `public_origins`: how browsers reach the appliance through something that rewrites Host.
    pub public_origins: Vec<Origin>,
}

/// A name to compare with, in lower case and without a final dot; it may begin with `*.`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// Reads a name, or `*.` and a name; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let host = Host::parse(name)?;
        let fits = host.port().is_none() && !name.contains(':') && !name.starts_with('.');
        fits.then(|| Self(normal(text)))
    }

    fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix("*.") {
            Some(parent) => name
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => name == self.0,
        }
    }
}

fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The names of this appliance.
#[derive(Clone)]
pub(crate) struct OwnNames {
    listed: Arc<[HostName]>,
    machine: Arc<[String]>,
    certificates: Certificates,
}

impl OwnNames {
    pub(crate) fn new(public: &PublicNames, certificates: Certificates) -> Self {
        let outside = public.public_origins.iter().map(|origin| HostName(normal(origin.host())));
        Self {
            listed: public.host_names.iter().cloned().chain(outside).collect(),
            machine: machine_names().into(),
            certificates,
        }
    }

    pub(crate) fn contain(&self, host: &Host) -> bool {
        if host.is_address() {
            return true;
        }
        let name = normal(host.as_str());
        name == "localhost"
            || name.ends_with(".localhost")
            || self.machine.contains(&name)
            || self.listed.iter().any(|listed| listed.matches(&name))
            || self.certificates.names().iter().any(|own| HostName(normal(own)).matches(&name))
    }

    /// What to do about a name that is not among them.
    pub(crate) fn remedy(&self, host: &Host) -> String {
        let name = host.as_str();
        let machine = self.machine.first().map_or_else(String::new, |name| format!(", {name}"));
        format!(
            "{name} is not a name of this appliance, so it serves no browser under it; use an address, localhost{machine} or a name of its certificate, or, if the name is its own, add host_names = [\"{name}\"] under [security] in its configuration"
        )
    }
}

/// The name of this machine, also below `local` and below the domains that it searches.
fn machine_names() -> Vec<String> {
    let read = |path: &str| {
        let bytes = files::read_at_most(path.as_ref(), 4096).ok().flatten();
        bytes.map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let name = normal(read("/proc/sys/kernel/hostname").trim());
    names_of(&name, &read("/etc/resolv.conf"))
}

fn names_of(name: &str, resolver: &str) -> Vec<String> {
    if name.is_empty() {
        return Vec::new();
    }
    let short = name.split('.').next().unwrap_or(name);
    let domains = resolver
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            matches!(words.next(), Some("search" | "domain")).then_some(words)
        })
        .flatten();
    let mut names = vec![name.to_owned(), short.to_owned()];
    names.extend(
        std::iter::once("local")
            .chain(domains)
            .map(|domain| format!("{short}.{}", normal(domain.trim_start_matches('.')))),
    );
    names
}

/// Whether a browser sends this, as far as that shows. Programs in JavaScript send
/// `Sec-Fetch-Mode: cors` and `Accept-Language: *` too, and PowerShell calls itself Mozilla.
pub(crate) fn is_from_browser(head: &RequestHead) -> bool {
    let value = |name: &str| head.headers().get(name).map(header::HeaderValue::as_bytes);
    let agent = value("user-agent").unwrap_or_default();
    let mozilla = agent.starts_with(b"Mozilla/")
        && !agent.windows(b"PowerShell".len()).any(|part| part == b"PowerShell");
    ["origin", "referer", "sec-fetch-site", "sec-ch-ua"].iter().any(|name| value(name).is_some())
        || value("accept-language").is_some_and(|languages| languages != b"*")
        || mozilla
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn names_are_compared_whole_and_a_star_is_one_label() {
        let matches = |pattern: &str, name: &str| HostName::parse(pattern).unwrap().matches(name);
        assert!(matches("Box.Example.TEST.", "box.example.test"));
        assert!(matches("*.example.test", "box.example.test"));
        for (pattern, name) in [
            ("*.example.test", "example.test"),
            ("*.example.test", "a.b.example.test"),
            ("*.example.test", ".example.test"),
            ("box.example.test", "evilbox.example.test"),
            ("box.example.test", "box.example.test.evil.example"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        for text in ["", "*", "*.", "a b", "https://box", "box:8443", "box/x", "a.*.b"] {
            assert_eq!(HostName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_machine_is_known_below_the_domains_that_it_searches() {
        let resolver =
            "# search no.example\nnameserver 192.0.2.1\nsearch corp.example Lab.example.\n";
        let names = ["box", "box", "box.local", "box.corp.example", "box.lab.example"];
        assert_eq!(names_of("box", resolver), names);
        assert_eq!(names_of("box.site.example", "")[..2], ["box.site.example", "box"]);
        assert!(names_of("", resolver).is_empty());
    }

    #[test]
    fn browsers_show_by_what_they_cannot_leave_out() {
        let judge = |name: &str, value: &str| {
            let request = TestRequest::get().insert_header((name, value)).to_http_request();
            is_from_browser(request.head())
        };
        for (name, value) in [
            ("origin", "http://evil.example"),
            ("referer", "http://evil.example/"),
            ("sec-fetch-site", "same-origin"),
            ("accept-language", "de,en;q=0.5"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0"),
        ] {
            assert!(judge(name, value), "{name}");
        }
        for (name, value) in [
            ("user-agent", "curl/8.5.0"),
            ("user-agent", "Mozilla/5.0 (Windows NT; de-DE) WindowsPowerShell/5.1.19041"),
            ("user-agent", "python-requests/2.32"),
            ("accept-language", "*"),
            ("sec-fetch-mode", "cors"),
            ("accept-encoding", "gzip, deflate"),
        ] {
            assert!(!judge(name, value), "{name}");
        }
    }
}
