//! The headers that callers may have sent on their behalf: those that say who they are.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

/// Lines that one address may have.
const MOST: usize = 16;
/// All lines together, in bytes.
const MOST_BYTES: usize = 16 << 10;

/// Names that are taken as they are.
const KNOWN: [&str; 8] = [
    "accept",
    "accept-language",
    "api-key",
    "apikey",
    "authorization",
    "cookie",
    "date",
    "x-goog-user-project",
];
/// How names of credentials end.
const ENDS: [&str; 4] = ["-key", "-secret", "-signature", "-token"];
/// What is never taken although it looks like one of them: it would say who asks, or which resource
/// is meant, to proxies and servers that trust it; or it opens what clouds keep for their machines.
const NEVER: [&str; 13] = [
    "metadata",
    "proxy-",
    "sec-",
    "x-aws-ec2-",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-",
    "x-method-",
    "x-original-",
    "x-real-",
    "x-rewrite-",
];
/// Words of names that say the same in whichever product: who asks, from where, how, or for what.
/// Servers behind a proxy take them for the proxy's. What ends like a credential may hold them.
const NEVER_WORDS: [&str; 36] = [
    "accel",
    "authenticated",
    "cert",
    "connecting",
    "dn",
    "email",
    "envoy",
    "group",
    "groups",
    "host",
    "identity",
    "impersonate",
    "ip",
    "login",
    "method",
    "oidc",
    "original",
    "path",
    "principal",
    "proto",
    "protocol",
    "proxyuser",
    "remote",
    "role",
    "roles",
    "scheme",
    "sendfile",
    "ssl",
    "subject",
    "uri",
    "url",
    "user",
    "userid",
    "userinfo",
    "username",
    "webauth",
];

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("must hold lines of the form Name: value, in printable ASCII")]
    Malformed,
    #[error(
        "may not hold {0}; it is for credentials: Authorization, Cookie, X-… and names that end with -key, -token, -secret, -signature or -id"
    )]
    Name(String),
    #[error("may hold {MOST} lines and {MOST_BYTES} bytes at most")]
    TooMany,
}

/// Reads lines `Name: value`.
///
/// # Errors
/// A line is none, its name is not one that callers may send, or there are too many.
pub(super) fn parse(lines: &[String]) -> Result<HeaderMap, HeaderError> {
    if lines.len() > MOST || lines.iter().map(String::len).sum::<usize>() > MOST_BYTES {
        return Err(HeaderError::TooMany);
    }
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(HeaderError::Malformed)?;
        let name: HeaderName = name.parse().map_err(|_| HeaderError::Malformed)?;
        if !is_allowed(name.as_str()) {
            return Err(HeaderError::Name(name.as_str().chars().take(64).collect()));
        }
        let value = value.trim();
        let printable = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let value = HeaderValue::from_str(value).ok().filter(|_| printable);
        let mut value = value.ok_or(HeaderError::Malformed)?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// `name` is in lower case.
fn is_allowed(name: &str) -> bool {
    let never = NEVER.iter().any(|part| match *part {
        "metadata" => name.contains(part),
        part => name.starts_with(part),
    });
    if never {
        return false;
    }
    let speaks_for_others = || name.split(['-', '_']).any(|word| NEVER_WORDS.contains(&word));
    KNOWN.contains(&name)
        || ENDS.iter().any(|end| name.ends_with(end))
        || (name.starts_with("x-") || name.ends_with("-id")) && !speaks_for_others()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(lines: &[&str]) -> Result<HeaderMap, HeaderError> {
        parse(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn credentials_are_taken_and_never_shown() {
        let headers = parsed(&[
            "Authorization: Bearer s3cret",
            "cookie:a=s3cret",
            "X-Api-Key:  s3cret ",
            "Ocp-Apim-Subscription-Key: s3cret",
            "PRIVATE-TOKEN: s3cret",
            "CF-Access-Client-Id: s3cret",
            "X-Amz-Security-Token: s3cret",
            "Accept: audio/wav",
            "X-Amz-Date: 20260101T000000Z",
            "x-ms-version: 2021-08-06",
            "X-Goog-User-Project: a",
            "X-User-Token: s3cret",
            "X-Custom: a",
        ])
        .unwrap();
        assert_eq!(headers["x-api-key"], "s3cret");
        assert_eq!(headers.len(), 13);
        assert!(!format!("{headers:?}").contains("s3cret"), "{headers:?}");
    }

    #[test]
    fn headers_of_the_connection_of_proxies_and_of_clouds_are_refused_by_name() {
        for name in [
            "Host",
            "host",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "TE",
            "Trailer",
            "Expect",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Metadata-Flavor",
            "Metadata",
            "X-aws-ec2-metadata-token",
            "X-aws-ec2-metadata-token-ttl-seconds",
            "X-Google-Metadata-Request",
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Real-IP",
            "X-Client-IP",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-HTTP-Method-Override",
            "X-Host",
            "X-Remote-User",
            "Remote-User-Id",
            "X-User-Id",
            "X-Auth-Request-Email",
            "X-Authenticated-Groups",
            "X-WebAuth-User",
            "X-Ms-Client-Principal",
            "X-Amzn-Oidc-Identity",
            "X-Goog-Authenticated-User-Email",
            "X-ProxyUser-Ip",
            "X-Envoy-Original-Path",
            "X-Accel-Redirect",
            "X-Sendfile",
            "X-Scheme",
            "X-SSL-Client-Cert",
            "X_Remote_User-Id",
            "Range",
            "If-Range",
            "Accept-Encoding",
            "Content-Type",
            "Content-Encoding",
            "User-Agent",
            "Referer",
            "Origin",
            "Keep-Alive",
            "Sec-WebSocket-Key",
            "HTTP2-Settings",
            "Via",
            "Max-Forwards",
        ] {
            let refused = parsed(&[&format!("{name}: x")]).unwrap_err();
            assert_eq!(refused, HeaderError::Name(name.to_lowercase()), "{name}");
        }
    }

    #[test]
    fn lines_that_are_none_and_too_many_are_refused() {
        for line in [
            "",
            "Authorization",
            ": x",
            "Authorization : x",
            " Authorization: x",
            "X-A: b\r\nHost: c",
            "X-A: b\nHost: c",
            "X-A: b\0",
            "X-A: \u{fc}",
            "X-\u{fc}: a",
            "X-A\r\nHost: c",
            "X-A: a\tb",
        ] {
            assert_eq!(parsed(&[line]), Err(HeaderError::Malformed), "{line:?}");
        }
        assert_eq!(parsed(&["X-A: b"; MOST + 1]), Err(HeaderError::TooMany));
        let long = format!("X-A: {}", "b".repeat(MOST_BYTES));
        assert_eq!(parsed(&[&long]), Err(HeaderError::TooMany));
    }
}
