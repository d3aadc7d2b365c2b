//! The client for fetching audio and for callbacks. Its calls block.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    config::Config,
    tls::{RootCerts, TlsConfig},
};

/// How long one callback may take, its answer included.
const CALLBACK: Duration = Duration::from_secs(60);
/// How long fetching audio may take.
const FETCH: Duration = Duration::from_secs(6 * 3600);

/// A client that trusts what the machine trusts.
pub(super) fn agent() -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let config = Config::builder()
        .tls_config(tls)
        .user_agent("Speechmatics-API/2.0")
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(15)))
        .timeout_recv_response(Some(CALLBACK))
        .timeout_send_body(Some(CALLBACK))
        .timeout_recv_body(Some(FETCH))
        .build();
    Agent::new_with_config(config)
}

/// The lines `Name: value` taken apart; they were checked when the job was posted.
pub(super) fn header_lines(lines: Option<&Vec<String>>) -> impl Iterator<Item = (&str, &str)> {
    let lines = lines.map(Vec::as_slice).unwrap_or_default().iter();
    lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim(), value.trim()))
    })
}

/// What went wrong, without the address: it may hold a secret.
pub(super) fn reason(err: &ureq::Error) -> String {
    match err {
        ureq::Error::StatusCode(code) => format!("http status code {code}"),
        ureq::Error::Timeout(_) => "timeout".into(),
        ureq::Error::HostNotFound => "host not found".into(),
        ureq::Error::ConnectionFailed => "connection failed".into(),
        ureq::Error::Io(err) => format!("connection failed: {}", err.kind()),
        ureq::Error::Rustls(err) => format!("TLS: {err}"),
        ureq::Error::TooManyRedirects => "too many redirects".into(),
        _ => "request failed".into(),
    }
}
