//! Which mount a request belongs to, decided once for everything that depends on it.
//!
//! The audit record, the continue gate, the checks of Host and the authentication all ask this
//! table. It reads a path as the router does (percent-encoded letters decoded, `%2F` left alone,
//! nothing else folded), with the router's own types, so that no spelling of a path reaches a
//! handler of one mount while another one was judged. [`Matched::is_of`] makes sure of it: a
//! mount's own layer lets nothing pass that was taken for another's.

use std::{cmp::Reverse, sync::Arc};

use actix_web::{
    HttpMessage, HttpRequest,
    dev::{ResourceDef, ServiceRequest, Url},
};

use crate::service::{Authentication, Mount};

/// The mounts of one listener, the longest prefix first: the order in which the router asks.
#[derive(Clone)]
pub(crate) struct Mounts(Arc<[Entry]>);

struct Entry {
    pattern: ResourceDef,
    matched: Matched,
    mount: Mount,
}

/// The mount that a request belongs to. The front leaves it in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Matched {
    index: usize,
    pub(crate) authentication: Authentication,
    /// Whether a browser may ask for it under any name; see [`Mount::for_any_host`].
    pub(crate) any_host: bool,
}

impl Mounts {
    /// Makes the table of `mounts`.
    pub(crate) fn new(mut mounts: Vec<Mount>) -> Self {
        // The longest prefix first, so that a mount of everything does not hide the others.
        mounts.sort_by_key(|mount| Reverse(mount.prefix.len()));
        let entry = |(index, mount): (usize, Mount)| Entry {
            pattern: ResourceDef::root_prefix(&mount.prefix),
            matched: Matched {
                index,
                authentication: mount.authentication,
                any_host: mount.any_host,
            },
            mount,
        };
        Self(mounts.into_iter().enumerate().map(entry).collect())
    }

    /// The mounts in the order of the router.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Matched, &Mount)> {
        self.0.iter().map(|entry| (entry.matched, &entry.mount))
    }

    /// Whether a path takes WebSockets.
    pub(crate) fn takes_websocket(&self, url: &Url) -> bool {
        let mount = self.find(url).map(|matched| &self.0[matched.index].mount);
        let paths = mount.and_then(|mount| mount.websockets.as_ref());
        paths.is_some_and(|paths| paths.is_match(url.path()))
    }

    /// The origins whose pages may open WebSockets there, beside the appliance's own.
    pub(crate) fn origins(&self, matched: Option<Matched>) -> &[String] {
        matched.map_or(&[], |matched| &self.0[matched.index].mount.origins)
    }

    /// The mount that the router will take for `url`.
    pub(crate) fn find(&self, url: &Url) -> Option<Matched> {
        let entry = self.0.iter().find(|entry| entry.pattern.is_match(url.path()))?;
        Some(entry.matched)
    }

    /// Finds the mount of a request and leaves it there.
    pub(crate) fn resolve(&self, request: &ServiceRequest) -> Option<Matched> {
        let matched = self.find(request.match_info().get_ref());
        if let Some(matched) = matched {
            request.extensions_mut().insert(matched);
        }
        matched
    }
}

impl Matched {
    /// Whether `request` was taken for one of this mount.
    pub(crate) fn is_of(&self, request: &HttpRequest) -> bool {
        request.extensions().get() == Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Mounts {
        let mount = |prefix, authentication| Mount::new(prefix, authentication, |_| {});
        Mounts::new(vec![
            mount("", Authentication::Admin),
            mount("/v2", Authentication::JobToken).with_websockets(["", "/{language:[a-z]{2,4}}"]),
            mount("/v2/jobs", Authentication::JobToken),
            mount("/v2/security", Authentication::Admin),
            mount("/healthz", Authentication::Open),
        ])
    }

    #[test]
    fn a_websocket_belongs_to_the_mount_that_the_router_takes() {
        let mounts = mounts();
        for (target, takes) in [
            ("/v2", true),
            ("/v2/en", true),
            ("/v2/%65n", true),
            ("/v2/jobs", false),
            ("/v2/en/x", false),
            ("/en", false),
            ("/healthz", false),
        ] {
            let url = Url::new(target.parse().unwrap());
            assert_eq!(mounts.takes_websocket(&url), takes, "{target}");
        }
    }

    fn prefix_of(target: &str) -> Option<&'static str> {
        let prefixes = ["/v2/security", "/v2/jobs", "/healthz", "/v2", ""];
        let url = Url::new(target.parse().unwrap());
        mounts().find(&url).map(|matched| prefixes[matched.index])
    }

    #[test]
    fn a_path_is_read_as_the_router_reads_it() {
        for (target, prefix) in [
            ("/v2/security/audit", "/v2/security"),
            ("/v2/%73ecurity/audit", "/v2/security"),
            ("/%76%32/security", "/v2/security"),
            ("/v2/security", "/v2/security"),
            ("/v2/security/", "/v2/security"),
            ("/v2/security?x=/v2/jobs", "/v2/security"),
            ("http://x/v2/%73ecurity/audit", "/v2/security"),
            ("/v2/jobs/../security/audit", "/v2/jobs"),
            ("/v2/security/%2e%2e/jobs", "/v2/security"),
            ("/v2//security", "/v2"),
            ("/v2/./security", "/v2"),
            ("/v2/security%2faudit", "/v2"),
            ("/v2/security;x=1/audit", "/v2"),
            ("/v2/securityx", "/v2"),
            ("/V2/security", ""),
            ("//v2/security", ""),
            ("/v2%2fsecurity", ""),
            ("/v2%252fsecurity", ""),
            ("/", ""),
        ] {
            assert_eq!(prefix_of(target), Some(prefix), "{target}");
        }
        assert_eq!(prefix_of("*"), None);
    }
}
