//! Keeps foreign web pages from using what the browser remembers.
//!
//! Browsers send basic credentials without asking, so what changes something, and every WebSocket,
//! must come from a page of the appliance itself or from a client that is no browser. An origin is
//! scheme, host and port: a page of another port of the same host is a foreign one, unless that port
//! is a listener of ours.

use std::sync::Arc;

use actix_http::{Method, RequestHead, header};

use crate::names::host::Host;

/// A port that a listener of ours is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPort {
    pub port: u16,
    /// Whether it speaks plain HTTP, and whether it speaks TLS.
    pub plain: bool,
    pub tls: bool,
}

impl OwnPort {
    /// Whether it is this port, and speaks TLS or plain HTTP as asked.
    fn serves(&self, tls: bool, port: u16) -> bool {
        self.port == port && if tls { self.tls } else { self.plain }
    }
}

/// An origin as browsers send it (RFC 6454): scheme, host, port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    tls: bool,
    host: Host,
    port: u16,
}

impl Origin {
    /// Reads `https://portal.example.test` or `http://box:8080`, with nothing behind it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (origin, rest) = Self::of_address(text)?;
        rest.is_empty().then_some(origin)
    }

    /// The origin of an address, and what follows it.
    fn of_address(address: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = address.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" | "wss" => true,
            "http" | "ws" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let host = Host::parse(&rest[..end])?;
        let port = host.port().unwrap_or(if tls { 443 } else { 80 });
        Some((Self { tls, host, port }, &rest[end..]))
    }

    pub(crate) fn host(&self) -> &str {
        self.host.as_str()
    }

    fn is_same(&self, other: &Self) -> bool {
        (self.tls, self.port) == (other.tls, other.port) && self.host.is_same(&other.host)
    }
}

/// The pages that may use this appliance.
#[derive(Clone)]
pub(crate) struct OwnPages {
    pub(crate) ports: Arc<[OwnPort]>,
    /// How browsers reach the appliance through something that rewrites Host.
    pub(crate) public: Arc<[Origin]>,
}

impl OwnPages {
    /// Why a request is taken for one of a foreign page. `secure`: it came over TLS. `origins`, in
    /// lower case, are those of other pages that may open WebSockets there.
    pub(crate) fn foreign(
        &self,
        head: &RequestHead,
        host: Option<&Host>,
        secure: bool,
        origins: &[String],
    ) -> Option<String> {
        let safe =
            matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
        if safe && !head.upgrade() {
            return None;
        }
        // Of what is safe only WebSockets are left here.
        if safe && may_open_websocket(head, origins) {
            return None;
        }
        let site = text(head, header::HeaderName::from_static("sec-fetch-site"));
        if site.as_ref().is_some_and(|site| site.contains("cross-site")) {
            return Some(
                "a browser says that a page of another site sent it (Sec-Fetch-Site)".into(),
            );
        }
        let (name, value) = match (text(head, header::ORIGIN), text(head, header::REFERER)) {
            (Some(origin), _) => ("Origin", origin),
            (None, Some(referer)) => ("Referer", referer),
            // Of the same site, but not of the same origin, and no word of which.
            (None, None) if site.as_deref() == Some("same-site") => {
                return Some("a browser says that a page of another origin sent it".into());
            }
            (None, None) => return None,
        };
        let origin = Origin::of_address(&value).map(|(origin, _)| origin);
        if origin.as_ref().is_some_and(|origin| self.contain(origin, host, secure)) {
            return None;
        }
        let shown: String = value.chars().filter(char::is_ascii_graphic).take(100).collect();
        let host = host.map_or("missing", Host::as_str);
        Some(format!(
            "its {name} ({shown}) is a page of another host or port than this appliance (Host: {host}). A reverse proxy must pass Host on as the browser sent it; if that cannot be, list the origin of its pages in public_origins under [security] in the configuration"
        ))
    }

    /// Whether the page is listed by the administrator, so that the name by which it reached us does
    /// not matter: no page can feign its origin.
    pub(crate) fn is_listed(&self, head: &RequestHead, origins: &[String]) -> bool {
        let origin = text(head, header::ORIGIN).and_then(|origin| Origin::parse(&origin));
        origin.is_some_and(|origin| self.is_public(&origin))
            || head.upgrade() && may_open_websocket(head, origins)
    }

    fn is_public(&self, origin: &Origin) -> bool {
        self.public.iter().any(|public| public.is_same(origin))
    }

    fn contain(&self, origin: &Origin, host: Option<&Host>, secure: bool) -> bool {
        if self.is_public(origin) {
            return true;
        }
        let Some(host) = host.filter(|host| host.is_same(&origin.host)) else { return false };
        // The very port that the client speaks to. Where Host names none it is the usual one of the
        // scheme. A proxy may have taken the TLS off, but a plain page is never that of a TLS port.
        let usual = if origin.tls { 443 } else { 80 };
        let same_port = (origin.tls || !secure) && host.port().unwrap_or(usual) == origin.port;
        same_port || self.ports.iter().any(|own| own.serves(origin.tls, origin.port))
    }
}

/// Whether the page that opens this WebSocket is one of `origins`.
fn may_open_websocket(head: &RequestHead, origins: &[String]) -> bool {
    let origin = text(head, header::ORIGIN);
    origin.is_some_and(|origin| origins.contains(&origin.to_ascii_lowercase()))
}

/// The value of a header; where it comes more than once, all of them with commas between, so that
/// none is overlooked.
fn text(head: &RequestHead, name: header::HeaderName) -> Option<String> {
    let values = head.headers().get_all(name).map(|value| value.to_str().unwrap_or("?"));
    values.map(str::to_owned).reduce(|all, value| all + ", " + &value)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn pages() -> OwnPages {
        OwnPages {
            ports: [
                OwnPort { port: 8080, plain: true, tls: false },
                OwnPort { port: 8443, plain: false, tls: true },
                OwnPort { port: 9001, plain: true, tls: true },
            ]
            .into(),
            public: [Origin::parse("https://portal.example.test").unwrap()].into(),
        }
    }

    fn judge_at(host: &str, secure: bool, request: TestRequest) -> bool {
        let request = request.insert_header(("host", host)).to_http_request();
        let host = Host::of(request.head()).ok();
        pages().foreign(request.head(), host.as_ref(), secure, &[]).is_some()
    }

    fn judge(request: TestRequest) -> bool {
        judge_at("box.test:8443", true, request)
    }

    #[test]
    fn own_pages_and_programs_may_change_things() {
        assert!(!judge(TestRequest::post()));
        for origin in [
            "https://box.test:8443",
            "http://box.test:8080",
            "https://BOX.test:8443",
            "http://box.test:9001",
            "https://box.test:9001",
            "https://portal.example.test",
            "https://Portal.example.test:443",
        ] {
            assert!(!judge(TestRequest::post().insert_header(("origin", origin))), "{origin}");
        }
        let referer = ("referer", "https://box.test:8443/page?x");
        assert!(!judge(TestRequest::post().insert_header(referer)));
    }

    #[test]
    fn foreign_pages_may_not() {
        for origin in [
            "https://evil.example",
            "null",
            "",
            "https://box.test.evil.example",
            "https://evil@box.test:8443",
            "https://box.test",
            "http://box.test",
            "https://box.test:3000",
            "https://box.test:8080",
            "http://box.test:8443.evil.example",
            "http://portal.example.test",
            "https://portal.example.test:8443",
            "chrome-extension://abcdef",
            "https://box.test:8443, https://box.test:8443",
        ] {
            assert!(judge(TestRequest::post().insert_header(("origin", origin))), "{origin}");
            assert!(judge(TestRequest::post().insert_header(("referer", origin))), "{origin}");
        }
        let twice = |name, first, second| {
            TestRequest::post().append_header((name, first)).append_header((name, second))
        };
        let (own, evil) = ("https://box.test:8443", "https://evil.example");
        assert!(judge(twice("origin", own, evil)) && judge(twice("origin", evil, own)));
        assert!(judge(twice("sec-fetch-site", "same-origin", "cross-site")));
        let site = ("sec-fetch-site", "cross-site");
        assert!(judge(TestRequest::delete().insert_header(site)));
        assert!(!judge(TestRequest::get().insert_header(site)));
        assert!(judge(TestRequest::post().insert_header(("sec-fetch-site", "same-site"))));
        assert!(!judge(TestRequest::post().insert_header(("sec-fetch-site", "none"))));
    }

    #[test]
    fn the_port_that_the_client_names_is_ours_whatever_it_is_mapped_to() {
        let origin = |origin| TestRequest::post().insert_header(("origin", origin));
        assert!(!judge_at("box.test:18443", true, origin("https://box.test:18443")));
        assert!(!judge_at("box.test", true, origin("https://box.test")));
        assert!(!judge_at("[2001:DB8::A]:18443", true, origin("https://[2001:db8:0:0::a]:18443")));
        // Behind a proxy that takes the TLS off.
        assert!(!judge_at("box.test", false, origin("https://box.test")));
        assert!(!judge_at("box.test", false, origin("http://box.test")));
        assert!(!judge_at("box.test:18080", false, origin("http://box.test:18080")));
        // Somebody else's plain port of the same host.
        assert!(judge_at("box.test:18443", true, origin("http://box.test:18443")));
        assert!(judge_at("box.test", true, origin("http://box.test")));
    }

    #[test]
    fn a_websocket_is_judged_though_it_is_a_get() {
        let upgrade = TestRequest::get()
            .insert_header(("connection", "upgrade"))
            .insert_header(("upgrade", "websocket"));
        let host = Host::parse("box.test");
        let origins = ["https://app.example".to_owned()];
        let judge = |request: &actix_web::dev::ServiceRequest| {
            pages().foreign(request.head(), host.as_ref(), true, &origins).is_some()
        };
        let mut request = upgrade.insert_header(("origin", "https://app.example")).to_srv_request();
        request.head_mut().set_connection_type(actix_http::ConnectionType::Upgrade);
        assert!(!judge(&request));
        let evil = header::HeaderValue::from_static("https://evil.example");
        request.head_mut().headers_mut().insert(header::ORIGIN, evil);
        assert!(judge(&request));
        let app = header::HeaderValue::from_static("https://app.example");
        request.head_mut().headers_mut().insert(header::ORIGIN, app);
        request.head_mut().set_connection_type(actix_http::ConnectionType::KeepAlive);
        request.head_mut().method = Method::POST;
        assert!(judge(&request), "the list is for WebSockets alone");
    }
}
