//! Keeps foreign web pages from using what the browser remembers.
//!
//! Browsers send basic credentials without asking, so what changes something, and every WebSocket,
//! must come from a page of the appliance itself or from a client that is no browser.

use actix_http::{Method, RequestHead, header};

use crate::host::Host;

/// Why a request is taken for one of a foreign page.
/// `allowed` are the origins whose pages may open WebSockets, in lower case.
pub(crate) fn foreign(
    head: &RequestHead,
    host: Option<&Host>,
    allowed: &[String],
) -> Option<String> {
    let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE);
    if safe && !head.upgrade() {
        return None;
    }
    let text = |name: header::HeaderName| {
        head.headers().get(name).map(|value| value.to_str().unwrap_or("?").to_owned())
    };
    let origin = text(header::ORIGIN);
    // Of what is safe only WebSockets are left here.
    if safe && origin.as_ref().is_some_and(|origin| allowed.contains(&origin.to_ascii_lowercase()))
    {
        return None;
    }
    if text(header::HeaderName::from_static("sec-fetch-site")).as_deref() == Some("cross-site") {
        return Some("a browser says that a page of another site sent it (Sec-Fetch-Site)".into());
    }
    let (name, value) = match (origin, text(header::REFERER)) {
        (Some(origin), _) => ("Origin", origin),
        (None, Some(referer)) => ("Referer", referer),
        (None, None) => return None,
    };
    let own = host.is_some_and(|host| host_of(&value).is_some_and(|other| other.is_same(host)));
    (!own).then(|| format!("its {name} is a page of another host than this appliance"))
}

/// The host of an origin or an address, whatever its port.
fn host_of(url: &str) -> Option<Host> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "http" | "https" | "ws" | "wss") {
        return None;
    }
    Host::parse(rest.split(['/', '?', '#']).next()?)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn judge(request: TestRequest) -> bool {
        let request = request.insert_header(("host", "box.test:8443")).to_http_request();
        foreign(request.head(), Host::of(request.head()).ok().as_ref(), &[]).is_some()
    }

    #[test]
    fn own_pages_and_programs_may_change_things() {
        assert!(!judge(TestRequest::post()));
        for origin in ["https://box.test", "http://box.test:8080", "https://BOX.test:8443"] {
            assert!(!judge(TestRequest::post().insert_header(("origin", origin))), "{origin}");
        }
        assert!(!judge(TestRequest::post().insert_header(("referer", "https://box.test/page?x"))));
    }

    #[test]
    fn foreign_pages_may_not() {
        for origin in [
            "https://evil.example",
            "null",
            "https://box.test.evil.example",
            "https://evil@box.test",
        ] {
            assert!(judge(TestRequest::post().insert_header(("origin", origin))), "{origin}");
            assert!(judge(TestRequest::post().insert_header(("referer", origin))), "{origin}");
        }
        let site = ("sec-fetch-site", "cross-site");
        assert!(judge(TestRequest::delete().insert_header(site)));
        assert!(!judge(TestRequest::get().insert_header(site)));
    }

    #[test]
    fn a_websocket_is_judged_though_it_is_a_get() {
        let upgrade = TestRequest::get()
            .insert_header(("connection", "upgrade"))
            .insert_header(("upgrade", "websocket"));
        let mut request =
            upgrade.insert_header(("origin", "https://evil.example")).to_srv_request();
        request.head_mut().set_connection_type(actix_http::ConnectionType::Upgrade);
        let host = Host::parse("box.test");
        assert!(foreign(request.head(), host.as_ref(), &[]).is_some());
        let allowed = ["https://evil.example".to_owned()];
        assert!(foreign(request.head(), host.as_ref(), &allowed).is_none());
        request.head_mut().set_connection_type(actix_http::ConnectionType::KeepAlive);
        request.head_mut().method = Method::POST;
        assert!(foreign(request.head(), host.as_ref(), &allowed).is_some());
    }
}
