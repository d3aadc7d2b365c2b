//! Sessions that another server of the same realtime protocol recognises.

mod connection;
mod link;
mod messages;
mod session;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;
use serde::{Deserialize, Serialize};
use tungstenite::http::{HeaderValue, Uri};

use self::session::UpstreamSession;
use crate::{
    recogniser::{Recogniser, RecogniserError, RecogniserInfo, Session, SessionOptions},
    regular,
};

/// Where the other server is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamSettings {
    /// `ws://host[:port][/path]` or `wss://…`; without a path `/v2` is meant.
    pub url: String,
    /// The languages that it is offered. It cannot be asked.
    pub languages: Vec<String>,
    /// Certificates in PEM that its certificate has to be signed by, or be; `None`: those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// A file with the job token of the other server.
    pub token_file: Option<PathBuf>,
}

/// Another server.
pub struct Upstream {
    target: Arc<Target>,
    info: RecogniserInfo,
}

/// What a connection needs.
struct Target {
    uri: Uri,
    host: String,
    port: u16,
    /// `None` for `ws://`.
    tls: Option<Arc<ClientConfig>>,
    authorization: Option<HeaderValue>,
}

/// Why the other server cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    #[error("the upstream {url:?} is no ws:// or wss:// address: {reason}")]
    Url { url: String, reason: &'static str },
    #[error("no languages are given for the upstream")]
    NoLanguages,
    #[error("{what} {path} cannot be used: {reason}")]
    File { what: &'static str, path: String, reason: String },
    #[error("the certificates that the system trusts cannot be read: {0}")]
    Trust(rustls::Error),
}

impl Upstream {
    /// Checks the settings and reads the files. Blocks for a moment; does not connect: every
    /// session has a connection of its own.
    ///
    /// # Errors
    /// The address is none, or a file cannot be read.
    pub fn new(settings: UpstreamSettings) -> Result<Self, UpstreamError> {
        let UpstreamSettings { url, languages, ca, token_file } = settings;
        if languages.is_empty() {
            return Err(UpstreamError::NoLanguages);
        }
        let (uri, host, secure) = parse(&url)?;
        let tls = if secure { Some(Arc::new(tls(ca.as_deref())?)) } else { None };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authorization = token_file.as_deref().map(authorization).transpose()?;
        let target = Arc::new(Target { uri, host, port, tls, authorization });
        // The realtime protocol has no word for a language that is to be found.
        let info = RecogniserInfo { engine: "upstream", model: url, languages, identifies: false };
        Ok(Self { target, info })
    }
}

impl Recogniser for Upstream {
    fn info(&self) -> &RecogniserInfo {
        &self.info
    }

    fn begin(&self, mut options: SessionOptions) -> Result<Box<dyn Session>, RecogniserError> {
        let Some(code) = self.info.code_of(&options.language) else {
            let known = self.info.languages.join(", ");
            return Err(RecogniserError::Language { language: options.language, known });
        };
        options.language = code.to_owned();
        Ok(Box::new(UpstreamSession::begin(self.target.clone(), options)?))
    }
}

fn parse(url: &str) -> Result<(Uri, String, bool), UpstreamError> {
    let wrong = |reason| UpstreamError::Url { url: url.to_owned(), reason };
    let uri: Uri = url.parse().map_err(|_| wrong("it is malformed"))?;
    let secure = match uri.scheme_str() {
        Some("ws") => false,
        Some("wss") => true,
        Some(_) | None => return Err(wrong("the scheme is another one")),
    };
    // Neither may show up in logs; a token belongs in a file.
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
        || uri.query().is_some()
    {
        return Err(wrong("it holds a user or a query"));
    }
    let host =
        uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the host is missing"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let uri = if uri.path() == "/" {
        let whole = format!("{}/v2", url.trim_end_matches('/'));
        whole.parse().map_err(|_| wrong("it is malformed"))?
    } else {
        uri
    };
    Ok((uri, host, secure))
}

fn tls(ca: Option<&Path>) -> Result<ClientConfig, UpstreamError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(UpstreamError::Trust)?;
    let Some(path) = ca else {
        let builder = builder.with_platform_verifier().map_err(UpstreamError::Trust)?;
        return Ok(builder.with_no_client_auth());
    };
    let wrong = |reason: String| UpstreamError::File {
        what: "the certificates of the upstream in",
        path: path.display().to_string(),
        reason,
    };
    let pem = regular::read(path).map_err(|err| wrong(err.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|err| wrong(err.to_string()))?;
        roots.add(certificate).map_err(|err| wrong(err.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it holds no certificate in PEM".into()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorization(path: &Path) -> Result<HeaderValue, UpstreamError> {
    let wrong = |reason: String| UpstreamError::File {
        what: "the token of the upstream in",
        path: path.display().to_string(),
        reason,
    };
    let token = regular::read(path).map_err(|err| wrong(err.to_string()))?;
    let token = String::from_utf8(token).map_err(|_| wrong("it is not text in UTF-8".into()))?;
    let token = token.trim();
    if token.is_empty() {
        return Err(wrong("it is empty".into()));
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| wrong("a token is one line of printable ASCII".into()))?;
    value.set_sensitive(true);
    Ok(value)
}
