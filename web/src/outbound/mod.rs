//! Requests that the appliance sends on somebody's behalf, to addresses that others name.
//!
//! Whoever is reachable from here may not be meant for whoever named the address. Therefore every
//! such request goes through one [`Outbound`]: its [`Guard`] judges the addresses that a name leads
//! to, at each redirect anew, and the connection goes to the very address that was judged.
//! Headers that callers give are bounded by name and go to one origin alone. No proxy of the
//! environment is used: it would resolve names anew, behind the guard.
//!
//! All of it is async and ends when it is dropped.

mod body;
mod dial;
mod exchange;
mod guard;
mod headers;
mod network;
mod target;
#[cfg(test)]
mod tests;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method,
    header::{HeaderMap, HeaderValue},
};
use rustls::{ClientConfig, crypto::aws_lc_rs};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::{net::TcpStream, sync::OnceCell, time::timeout};

pub use self::{
    body::Body,
    dial::{Connector, Resolver, SystemResolver, TcpConnector},
    exchange::{Answer, Limits},
    guard::{Guard, NotAllowed},
    headers::HeaderError,
    network::{Network, NetworkError},
    target::{Host, Origin, Target, TargetError},
};

/// Redirects that are followed.
const MOST_REDIRECTS: usize = 5;
const USER_AGENT: HeaderValue = HeaderValue::from_static("Speechmatics-API/2.0");

/// Why a request was not answered. No text holds the address: it may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// One text for both: whoever asks must not learn which names there are inside.
    #[error("the host is not known, or leads to a network that is not allowed")]
    NoAddress,
    #[error("the address {0}")]
    Address(TargetError),
    #[error("auth_headers {0}")]
    Headers(HeaderError),
    #[error("the redirect {0}")]
    Redirect(TargetError),
    #[error("http status code {0}: a redirect that would lose the body is not followed")]
    LosesBody(u16),
    #[error("more than {MOST_REDIRECTS} redirects")]
    TooManyRedirects,
    #[error("connection failed: {0}")]
    Connect(io::ErrorKind),
    #[error("TLS: {0}")]
    Tls(String),
    #[error("the host is no name for a certificate")]
    Name,
    #[error("the request cannot be written")]
    Request,
    #[error("timeout: nothing came, or too slowly")]
    Slow,
    #[error("the exchange broke off: {0}")]
    Broken(String),
}

impl Error {
    fn broken(err: &hyper::Error) -> Self {
        Self::Broken(err.to_string())
    }

    /// Whether another attempt cannot go otherwise.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::NotAllowed(_)
            | Self::Address(_)
            | Self::Headers(_)
            | Self::Redirect(_)
            | Self::Name
            | Self::Request => true,
            Self::NoAddress
            | Self::LosesBody(_)
            | Self::TooManyRedirects
            | Self::Connect(_)
            | Self::Tls(_)
            | Self::Slow
            | Self::Broken(_) => false,
        }
    }
}

/// A request, checked but for what its host leads to.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    target: Target,
    /// For the origin of `target` alone.
    credentials: HeaderMap,
    content_type: Option<HeaderValue>,
    body: Body,
}

impl Request {
    /// A GET of `url` with lines `Name: value`.
    ///
    /// # Errors
    /// The address or a line is not one that callers may name.
    pub fn get(url: &str, header_lines: Option<&[String]>) -> Result<Self, Error> {
        Ok(Self {
            method: Method::GET,
            target: url.parse().map_err(Error::Address)?,
            credentials: headers::parse(header_lines.unwrap_or_default())
                .map_err(Error::Headers)?,
            content_type: None,
            body: Body::default(),
        })
    }

    /// Makes a POST or PUT of it. Without a `content_type` none is sent.
    ///
    /// # Errors
    /// `content_type` is none.
    pub fn with_body(self, put: bool, content_type: &str, body: Body) -> Result<Self, Error> {
        let method = if put { Method::PUT } else { Method::POST };
        let given = Some(content_type).filter(|text| !text.is_empty());
        let content_type = given.map(HeaderValue::from_str).transpose();
        let content_type = content_type.map_err(|_| Error::Request)?;
        Ok(Self { method, content_type, body, ..self })
    }

    /// Whom it goes to.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.target.origin()
    }
}

/// Sends requests on somebody's behalf.
pub struct Outbound {
    guard: Guard,
    resolver: Box<dyn Resolver>,
    connector: Box<dyn Connector>,
    limits: Limits,
    tls: OnceCell<Arc<ClientConfig>>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("guard", &self.guard).finish_non_exhaustive()
    }
}

impl Outbound {
    /// With the resolver and the connections of the system; nothing takes longer than `longest`.
    #[must_use]
    pub fn new(guard: Guard, longest: Duration) -> Self {
        let limits = Limits { whole: longest, ..Limits::default() };
        Self::with(guard, limits, SystemResolver::default(), TcpConnector)
    }

    /// With a resolver and connections of the caller's choice.
    #[must_use]
    pub fn with(
        guard: Guard,
        limits: Limits,
        resolver: impl Resolver + 'static,
        connector: impl Connector + 'static,
    ) -> Self {
        let (resolver, connector) = (Box::new(resolver), Box::new(connector));
        Self { guard, resolver, connector, limits, tls: OnceCell::new() }
    }

    /// How long requests may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Judges a request as far as that goes without asking anybody.
    ///
    /// # Errors
    /// It can never be sent.
    pub fn judge(&self, request: &Request) -> Result<(), NotAllowed> {
        self.guard.judge_literal(request.origin())
    }

    /// Sends a request and follows redirects; resolves once the head of the last answer is there.
    ///
    /// # Errors
    /// There was no answer, or it leads where requests may not go.
    pub async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let mut target = request.target.clone();
        let mut credentials = Some(&request.credentials);
        for _ in 0..=MOST_REDIRECTS {
            let answer = self.exchange(request, &target, credentials).await?;
            let Some(next) = follow(request, &target, &answer)? else { return Ok(answer) };
            // Once away they stay away, wherever the redirects lead.
            credentials = credentials.filter(|_| next.origin() == target.origin());
            target = next;
        }
        Err(Error::TooManyRedirects)
    }

    async fn exchange(
        &self,
        request: &Request,
        target: &Target,
        credentials: Option<&HeaderMap>,
    ) -> Result<Answer, Error> {
        let origin = target.origin();
        let mut head = hyper::Request::builder()
            .method(request.method.clone())
            .uri(target.path())
            .header("host", origin.authority())
            .header("user-agent", USER_AGENT)
            .header("connection", "close");
        if request.method == Method::GET {
            head = head.header("accept", "*/*");
        } else {
            head = head.header("content-length", request.body.len());
        }
        if let Some(value) = &request.content_type {
            head = head.header("content-type", value);
        }
        if let Some(headers) = head.headers_mut() {
            for (name, value) in credentials.into_iter().flatten() {
                // Only `Accept` can be there already.
                if name == "accept" {
                    headers.insert(name, value.clone());
                } else {
                    headers.append(name, value.clone());
                }
            }
        }
        let tls = if origin.secure { Some(self.tls().await?) } else { None };
        let stream = self.dial(origin).await?;
        exchange::send(stream, origin, tls, head, &request.body, self.limits).await
    }

    /// Connects to an origin, if it may be connected to: for protocols other than requests.
    ///
    /// # Errors
    /// It may not, or nobody takes the connection in time.
    pub async fn dial(&self, origin: &Origin) -> Result<TcpStream, Error> {
        let addresses = self.addresses(origin).await?;
        exchange::connect(self.connector.as_ref(), &addresses, self.limits.connect).await
    }

    /// The addresses of a host that are open; at least one.
    async fn addresses(&self, origin: &Origin) -> Result<Vec<SocketAddr>, Error> {
        self.guard.judge_literal(origin)?;
        let found = match &origin.host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let found = timeout(self.limits.connect, self.resolver.resolve(name)).await;
                found.ok().and_then(Result::ok).unwrap_or_default()
            }
        };
        let judged = found.into_iter().map(|ip| self.guard.judge(SocketAddr::new(ip, origin.port)));
        let open: Vec<_> = judged.filter_map(Result::ok).collect();
        if open.is_empty() { Err(Error::NoAddress) } else { Ok(open) }
    }

    /// What the machine trusts, read when it is first needed.
    async fn tls(&self) -> Result<Arc<ClientConfig>, Error> {
        let config = self.tls.get_or_try_init(|| async {
            let read = tokio::task::spawn_blocking(|| {
                let provider = Arc::new(aws_lc_rs::default_provider());
                let mut config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .with_platform_verifier()?
                    .with_no_client_auth();
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                Ok::<_, rustls::Error>(Arc::new(config))
            });
            let config = read.await.map_err(|err| Error::Tls(err.to_string()))?;
            config
                .map_err(|err| Error::Tls(format!("what the machine trusts cannot be read: {err}")))
        });
        config.await.cloned()
    }
}

/// Where an answer leads on, if it does.
fn follow(request: &Request, from: &Target, answer: &Answer) -> Result<Option<Target>, Error> {
    let status = answer.status();
    let loses_body = match status {
        301..=303 => request.method != Method::GET,
        307 | 308 => false,
        _ => return Ok(None),
    };
    let Some(location) = answer.location() else { return Ok(None) };
    if loses_body {
        return Err(Error::LosesBody(status));
    }
    let location = std::str::from_utf8(location).map_err(|_| Error::Redirect(TargetError::Text))?;
    from.redirected(location.trim()).map(Some).map_err(Error::Redirect)
}
