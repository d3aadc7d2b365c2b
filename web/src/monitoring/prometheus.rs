//! The real Prometheus behind this service: requests are handed to it without the password.

use std::{fmt, str::FromStr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{self, Bytes, BytesMut},
};
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    error::{ApiError, ErrorBody},
    openapi::Refusals,
    service::Context,
};

/// The largest query; PromQL is short.
const MAX_QUERY: usize = 1 << 20;

/// How long a connection may take to be made; how long an answer may take is Prometheus' matter.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Headers of one connection (RFC 9110, section 7.6.1), and those that are for us alone.
const NOT_HANDED_ON: [&str; 11] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Where Prometheus listens: plain HTTP, a host and a port, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prometheus {
    host: String,
    port: u16,
}

/// What is wrong with the address of a Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the address of a Prometheus, such as \"http://127.0.0.1:9090\": plain HTTP, no password, no path"
)]
pub struct PrometheusError;

impl FromStr for Prometheus {
    type Err = PrometheusError;

    fn from_str(text: &str) -> Result<Self, PrometheusError> {
        let authority = text.strip_prefix("http://").ok_or(PrometheusError)?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let host = crate::host::Host::parse(authority).ok_or(PrometheusError)?;
        let port = match authority[host.as_str().len()..].strip_prefix(':') {
            Some(port) => port.parse().map_err(|_| PrometheusError)?,
            None => 80,
        };
        Ok(Self { host: host.as_str().to_owned(), port })
    }
}

impl fmt::Display for Prometheus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl Prometheus {
    /// Sends a request over a connection of its own: it is on this machine or near.
    async fn send(
        &self,
        request: http1_types::Request<Full<Bytes>>,
    ) -> Result<http1_types::Response<Incoming>, String> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((host, self.port)))
            .await
            .map_err(|_| format!("no connection within {} s", CONNECT_TIMEOUT.as_secs()))?
            .map_err(|err| err.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|err| err.to_string())?;
        actix_web::rt::spawn(async move {
            if let Err(err) = connection.await {
                log::debug!("the connection to Prometheus ended: {err}");
            }
        });
        sender.send_request(request).await.map_err(|err| err.to_string())
    }

    fn request(&self) -> http1_types::request::Builder {
        http1_types::Request::builder().header("host", format!("{}:{}", self.host, self.port))
    }
}

/// The types of HTTP that hyper speaks; actix-web has older ones.
use hyper::http as http1_types;

/// Asks whether Prometheus is ready.
///
/// # Errors
/// Why it is not.
pub(crate) async fn probe(prometheus: &Prometheus) -> Result<(), String> {
    let request = prometheus.request().uri("/-/ready").body(Full::default());
    let answer = prometheus.send(request.map_err(|err| err.to_string())?).await?;
    match answer.status() {
        http1_types::StatusCode::OK => Ok(()),
        status => Err(format!("it answered {status}")),
    }
}

/// Hands a request to Prometheus and its answer back, piece by piece.
pub(super) async fn forward(
    request: HttpRequest,
    context: web::Data<Context>,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let Some(prometheus) = &context.appliance.prometheus else {
        return Err(ApiError::NotImplemented(
            "no Prometheus is configured; add prometheus = \"http://127.0.0.1:9090\" under [monitoring] and restart. The metrics themselves are at /metrics"
                .into(),
        ));
    };
    let body = read(payload).await?;
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let mut outgoing = prometheus.request().method(request.method().as_str()).uri(path);
    for (name, value) in request.headers() {
        if !NOT_HANDED_ON.contains(&name.as_str()) {
            outgoing = outgoing.header(name.as_str(), value.as_bytes());
        }
    }
    let outgoing = outgoing
        .body(Full::new(body))
        .map_err(|err| ApiError::BadRequest(format!("the request cannot be handed on: {err}")))?;
    let answer = prometheus.send(outgoing).await.map_err(|reason| {
        log::warn!("Prometheus at {prometheus} cannot be reached: {reason}");
        ApiError::BadGateway(format!("Prometheus at {prometheus} cannot be reached: {reason}"))
    })?;
    Ok(answered(answer))
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

fn answered(answer: http1_types::Response<Incoming>) -> HttpResponse {
    let (head, body) = answer.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in &head.headers {
        let name = header::HeaderName::try_from(name.as_str());
        let value = header::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value)
            && !NOT_HANDED_ON.contains(&name.as_str())
        {
            response.append_header((name, value));
        }
    }
    response.streaming(body.into_data_stream())
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
}
