//! Where requests go while plain HTTP is off.

use actix_http::{Method, RequestHead};
use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};

use crate::names::host::Host;

/// Sends a request to the same path at the TLS listener on `port`: 301 for GET and HEAD, 308 for
/// the rest, because after a 301 a POST loses its body. No credentials are asked for, no body is
/// read.
pub(crate) fn to_tls(head: &RequestHead, host: &Host, port: u16) -> HttpResponse {
    let status = match head.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    let location = location(head, host, port);
    let text = format!(
        "{status}\nPlain HTTP is switched off on this appliance.\nRepeat the request at {location}\nClients may drop the password when they follow this redirect by themselves.\n"
    );
    HttpResponse::build(status)
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body(text)
}

fn location(head: &RequestHead, host: &Host, port: u16) -> String {
    let scheme = if head.upgrade() { "wss" } else { "https" };
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS *` has no path to send anybody to.
    let path = if path.starts_with('/') { path } else { "/" };
    format!("{scheme}://{}{port}{path}", host.as_str())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn path_and_query_stay_byte_for_byte() {
        let uri = "/a%2Fb/c%20d?q=1&r=%2F%3D;x//y?z";
        let request = TestRequest::with_uri(uri).to_http_request();
        let host = Host::parse("[2001:db8::10]:80").unwrap();
        assert_eq!(location(request.head(), &host, 443), format!("https://[2001:db8::10]{uri}"));
        assert_eq!(
            location(request.head(), &host, 8443),
            format!("https://[2001:db8::10]:8443{uri}")
        );
    }
}
