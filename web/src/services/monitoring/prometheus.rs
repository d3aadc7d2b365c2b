//! The real Prometheus behind this service: requests are handed to it without the password.

use std::{fmt, io, str::FromStr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, BytesMut},
};
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::Behind;
use crate::{
    http::error::{ApiError, ErrorBody},
    service::openapi::Refusals,
};

/// The largest query; PromQL is short.
const MAX_QUERY: usize = 1 << 20;

/// How long Prometheus may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Patience {
    /// To take a connection.
    connect: Duration,
    /// To begin an answer: its own limit of a query is two minutes.
    answer: Duration,
    /// To go on within one.
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let [connect, answer, pause] = [5, 150, 30].map(Duration::from_secs);
        Self { connect, answer, pause }
    }
}

/// The head of an answer, and what is read of its body at once, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// Headers of one connection (RFC 9110, section 7.6.1), and those that are between a browser and
/// the appliance alone. What `Connection` names is left out as well.
const NOT_HANDED_ON: [&str; 18] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of an answer that act on the whole origin, or open it to others: the origin is that of the
/// appliance. Prometheus allows every page to read it unless it is told otherwise.
const OF_THE_ORIGIN: [&str; 5] = [
    "alt-svc",
    "clear-site-data",
    "service-worker-allowed",
    "strict-transport-security",
    "www-authenticate",
];

fn acts_on_the_origin(name: &str) -> bool {
    OF_THE_ORIGIN.contains(&name) || name.starts_with("access-control-")
}

/// Whether a header goes to the other side, where `connection` are the values of that header.
fn is_handed_on<'a>(name: &str, mut connection: impl Iterator<Item = &'a [u8]>) -> bool {
    let named = |value: &[u8]| {
        value
            .split(|byte| *byte == b',')
            .any(|one| one.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
    };
    !NOT_HANDED_ON.contains(&name) && !connection.any(named)
}

/// Where Prometheus listens: plain HTTP, a host and a port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prometheus {
    host: String,
    port: u16,
    patience: Patience,
}

/// What is wrong with the address of a Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the address of a Prometheus, such as \"http://127.0.0.1:9090\": plain HTTP, no password, no path"
)]
pub(super) struct PrometheusError;

impl FromStr for Prometheus {
    type Err = PrometheusError;

    fn from_str(text: &str) -> Result<Self, PrometheusError> {
        let authority = text.strip_prefix("http://").ok_or(PrometheusError)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let host = crate::names::host::Host::parse(authority).ok_or(PrometheusError)?;
        let port = match authority[host.as_str().len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| PrometheusError)?,
            None => 80,
        };
        Ok(Self { host: host.as_str().to_owned(), port, patience: Patience::default() })
    }
}

impl fmt::Display for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Prometheus {
    /// The port, where it is on this machine as far as that shows.
    #[must_use]
    pub(super) fn port_on_this_machine(&self) -> Option<u16> {
        let host = self.bare_host();
        let loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
        (loopback || host.eq_ignore_ascii_case("localhost")).then_some(self.port)
    }

    fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Sends a request over a connection of its own: it is on this machine or near. The connection
    /// ends with the answer.
    async fn send(
        &self,
        request: http1_types::Request<Full<Bytes>>,
    ) -> Result<(http1_types::Response<Incoming>, Connection), String> {
        let connecting = TcpStream::connect((self.bare_host(), self.port));
        let Patience { connect, answer, .. } = self.patience;
        let stream = timeout(connect, connecting)
            .await
            .map_err(|_| format!("no connection within {} s", connect.as_secs()))?
            .map_err(|err| err.to_string())?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let (mut sender, connection) =
            builder.handshake(TokioIo::new(stream)).await.map_err(|err| err.to_string())?;
        let connection = Connection(actix_web::rt::spawn(async move {
            if let Err(err) = connection.await {
                log::debug!("the connection to Prometheus ended: {err}");
            }
        }));
        let answered = timeout(answer, sender.send_request(request))
            .await
            .map_err(|_| format!("no answer within {} s", answer.as_secs()))?
            .map_err(|err| err.to_string())?;
        Ok((answered, connection))
    }

    fn request(&self) -> http1_types::request::Builder {
        http1_types::Request::builder().header("host", format!("{}:{}", self.host, self.port))
    }

    /// Asks whether it is ready.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let request = self.request().uri("/-/ready").body(Full::default());
        let (answer, _connection) = self.send(request.map_err(|err| err.to_string())?).await?;
        match answer.status() {
            http1_types::StatusCode::OK => Ok(()),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// The task that moves the bytes of a connection; both end together.
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The types of HTTP that hyper speaks; actix-web has older ones.
use hyper::http as http1_types;

/// Hands a request to Prometheus and its answer back, piece by piece.
pub(super) async fn forward(
    request: HttpRequest,
    prometheus: web::Data<Behind>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let Some(prometheus) = &**prometheus else {
        return Err(ApiError::NotImplemented(
            "no Prometheus is configured; add prometheus = \"http://127.0.0.1:9090\" under [monitoring] and restart. The metrics themselves are at /metrics"
                .into(),
        ));
    };
    let body = read(payload).await?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut outgoing = prometheus.request().method(request.method().as_str()).uri(path);
    let connection = || request.headers().get_all(header::CONNECTION).map(|value| value.as_bytes());
    for (name, value) in request.headers() {
        if is_handed_on(name.as_str(), connection()) {
            outgoing = outgoing.header(name.as_str(), value.as_bytes());
        }
    }
    let outgoing = outgoing
        .body(Full::new(body))
        .map_err(|err| ApiError::BadRequest(format!("the request cannot be handed on: {err}")))?;
    let (answer, connection) = prometheus.send(outgoing).await.map_err(|reason| {
        log::warn!("Prometheus at {prometheus} cannot be reached: {reason}");
        ApiError::BadGateway(format!("Prometheus at {prometheus} cannot be reached: {reason}"))
    })?;
    let status = answer.status();
    // An upgrade that nobody asked for; or it wants a password of its own, and a 401 from here would
    // say that ours is wrong.
    if status.is_informational() || status == http1_types::StatusCode::UNAUTHORIZED {
        return Err(ApiError::BadGateway(format!(
            "Prometheus at {prometheus} answered {status}, which cannot be handed on"
        )));
    }
    Ok(answered(answer, connection, prometheus.patience.pause))
}

/// Prometheus' own page. What it loads, and its other pages, are handed on as well.
#[utoipa::path(get, path = "/graph", tag = "Monitoring", operation_id = "Graph", responses((status = 200, content_type = "text/html", body = String), Refusals, (status = 501, body = ErrorBody), (status = 502, body = ErrorBody)))]
#[allow(dead_code)] // For the document: `forward` answers.
pub(super) fn graph() {}

/// Prometheus' HTTP API, as it is: `query`, `query_range`, `series`, `labels`, `label/…/values`,
/// `metadata`, `targets`, `rules`, `status/buildinfo` and the rest.
#[utoipa::path(get, path = "/api/v1/{path}", tag = "Monitoring", operation_id = "AskPrometheus", params(("path" = String, Path, description = "such as query, with its query string")), responses((status = 200, body = Object, content_type = "application/json"), Refusals, (status = 501, body = ErrorBody), (status = 502, body = ErrorBody)))]
#[allow(dead_code)]
pub(super) fn ask() {}

/// The same with the query as a form in the body, which is how Grafana asks.
#[utoipa::path(post, path = "/api/v1/{path}", tag = "Monitoring", operation_id = "AskPrometheusByForm", params(("path" = String, Path, description = "such as query")), request_body(content = Object, content_type = "application/x-www-form-urlencoded"), responses((status = 200, body = Object, content_type = "application/json"), Refusals, (status = 501, body = ErrorBody), (status = 502, body = ErrorBody)))]
#[allow(dead_code)]
pub(super) fn ask_by_form() {}

async fn read(mut payload: web::Payload) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece?;
        if body.len() + piece.len() > MAX_QUERY {
            return Err(ApiError::TooLarge(MAX_QUERY));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn answered(
    answer: http1_types::Response<Incoming>,
    connection: Connection,
    pause: Duration,
) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    let named = || head.headers.get_all("connection").iter().map(|value| value.as_bytes());
    for (name, value) in &head.headers {
        if !is_handed_on(name.as_str(), named()) || acts_on_the_origin(name.as_str()) {
            continue;
        }
        let name = header::HeaderName::try_from(name.as_str());
        let value = header::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            response.append_header((name, value));
        }
    }
    response.streaming(pieces(body, connection, pause))
}

/// A body piece by piece; it breaks off where nothing comes for `pause`.
fn pieces(
    body: Incoming,
    connection: Connection,
    pause: Duration,
) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some((body, connection)), move |state| async move {
        let (mut body, connection) = state?;
        let frame = match timeout(pause, body.frame()).await {
            Ok(None) => return None,
            Ok(Some(Ok(frame))) => Ok(frame.into_data().unwrap_or_default()),
            Ok(Some(Err(err))) => Err(io::Error::other(err)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        let more = frame.is_ok().then_some((body, connection));
        Some((frame, more))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_everything_else_is_refused() {
        for (text, shown) in [
            ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
            ("http://[::1]:9090/", "http://[::1]:9090"),
            ("http://prometheus", "http://prometheus:80"),
        ] {
            assert_eq!(text.parse::<Prometheus>().unwrap().to_string(), shown);
        }
        for text in [
            "127.0.0.1:9090",
            "https://127.0.0.1",
            "http://user:pw@127.0.0.1:9090",
            "http://127.0.0.1:9090/prometheus",
            "http://",
        ] {
            assert!(text.parse::<Prometheus>().is_err(), "{text}");
        }
    }

    #[test]
    fn headers_of_one_connection_and_what_it_names_are_not_handed_on() {
        let connection: [&[u8]; 2] = [b"close, X-Hop ,\tx-other", b"Accept"];
        let handed_on = |name: &str| is_handed_on(name, connection.into_iter());
        for name in ["x-hop", "x-other", "accept", "close", "cookie", "set-cookie", "trailer"] {
            assert!(!handed_on(name), "{name}");
        }
        for name in ["x-hop2", "content-type", "x-", "accept-encoding"] {
            assert!(handed_on(name), "{name}");
        }
    }

    #[test]
    fn a_port_of_this_machine_is_known() {
        for (address, port) in [
            ("http://127.0.0.1:9090", Some(9090)),
            ("http://[::1]:9090", Some(9090)),
            ("http://LOCALHOST", Some(80)),
            ("http://192.0.2.1:9090", None),
            ("http://prometheus:9090", None),
        ] {
            assert_eq!(address.parse::<Prometheus>().unwrap().port_on_this_machine(), port);
        }
    }

    /// Takes connections, sends `beginning` over each, and then nothing more.
    async fn silent(beginning: &'static str) -> Prometheus {
        use tokio::{io::AsyncWriteExt as _, net::TcpListener};
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        actix_web::rt::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(beginning.as_bytes()).await.unwrap();
                taken.push(stream);
            }
        });
        let limit = Duration::from_millis(500);
        let patience = Patience { connect: Duration::from_secs(10), answer: limit, pause: limit };
        Prometheus { host: "127.0.0.1".into(), port, patience }
    }

    #[actix_web::test]
    async fn a_prometheus_that_says_nothing_and_one_that_breaks_off_are_given_up() {
        assert_eq!(silent("").await.probe().await.unwrap_err(), "no answer within 0 s");
        let begins = silent("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive ").await;
        let request = begins.request().uri("/").body(Full::default()).unwrap();
        let (answer, connection) = begins.send(request).await.unwrap();
        let pieces = pieces(answer.into_body(), connection, begins.patience.pause);
        let pieces: Vec<_> = pieces.collect().await;
        assert_eq!(pieces[0].as_deref().unwrap(), b"five ");
        assert_eq!(pieces[1].as_ref().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(pieces.len(), 2);
    }
}
