//! Bodies on their way in.

#![warn(missing_docs)]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_http::Payload;
use actix_web::{
    FromRequest, HttpRequest,
    error::PayloadError,
    web::{Bytes, BytesMut},
};
use futures::{Stream, StreamExt, future::LocalBoxFuture};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, Sleep};

use crate::http::{
    error::{ApiError, Code},
    json,
};

/// A body that sends nothing for so long is given up; its length does not matter.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// The largest JSON document that the APIs take, in bytes.
pub const MAX_JSON: usize = 64 * 1024;

/// A JSON body, whatever its `Content-Type`: the documented curl commands send none. It is UTF-8 of at
/// most 64 KiB ([`MAX_JSON`]).
///
/// What cannot be read is answered before the handler is called: 400 with the place in the body but
/// nothing of its text, 413 for one that is too large, 408 for one that is not sent in time.
///
/// ```
/// use portcullis::{ApiError, Code, Json};
///
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Guest {
///     name: String,
/// }
///
/// async fn greet(Json(guest): Json<Guest>) -> Result<String, ApiError> {
///     if guest.name.is_empty() {
///         let text = "a guest has a name".into();
///         return Err(ApiError::invalid(Code::new("no-name"), Some("name"), text));
///     }
///     Ok(format!("hello {}\n", guest.name))
/// }
/// # let _ = greet;
/// ```
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(_request: &HttpRequest, payload: &mut actix_web::dev::Payload) -> Self::Future {
        let mut payload = payload.take();
        Box::pin(async move {
            let mut bytes = BytesMut::new();
            while let Some(chunk) = payload.next().await {
                let chunk = chunk.map_err(ApiError::from)?;
                if bytes.len() + chunk.len() > MAX_JSON {
                    return Err(ApiError::TooLarge(MAX_JSON));
                }
                bytes.extend_from_slice(&chunk);
            }
            let text = json::as_utf8(&bytes)
                .map_err(|why| malformed(format!("the body cannot be read: {why}")))?;
            if text.trim_ascii().is_empty() {
                return Err(malformed("the body is empty; it must be JSON".into()));
            }
            serde_json::from_str(text).map(Self).map_err(|err| explain(&err))
        })
    }
}

/// The query of a request. One that does not fit is answered with 400 and `invalid-query`, as JSON.
///
/// ```
/// use portcullis::Query;
///
/// #[derive(serde::Deserialize)]
/// struct Page {
///     #[serde(default)]
///     from: u64,
/// }
///
/// async fn list(Query(page): Query<Page>) -> String {
///     format!("guests from {}\n", page.from)
/// }
/// # let _ = list;
/// ```
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = std::future::Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        let query = actix_web::web::Query::<T>::from_query(request.query_string());
        let query = query.map_err(|err| {
            let text = format!("the query after the `?` does not fit: {err}");
            ApiError::invalid(Code::INVALID_QUERY, None, text)
        });
        std::future::ready(query.map(|query| Self(query.into_inner())))
    }
}

/// Says what is wrong where, but never what the body held: it may be a password.
fn explain(err: &serde_json::Error) -> ApiError {
    let position = format!("line {} column {}", err.line(), err.column());
    match err.classify() {
        serde_json::error::Category::Data => {
            let text =
                format!("the JSON body does not fit: {} at {position}", redact(&err.to_string()));
            ApiError::invalid(Code::INVALID_BODY, None, text)
        }
        serde_json::error::Category::Io
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof => {
            malformed(format!("the body is not JSON; the first error is at {position}"))
        }
    }
}

fn malformed(text: String) -> ApiError {
    ApiError::invalid(Code::MALFORMED_BODY, None, text)
}

/// serde repeats a value of the wrong type; what was expected is enough.
fn redact(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    match message.split_once(", expected ") {
        Some((found, expected)) if found.starts_with("invalid") => {
            let kind = found.split([' ', '`', '"']).take(3).collect::<Vec<_>>().join(" ");
            format!("{kind}, expected {expected}")
        }
        _ => message.to_owned(),
    }
}

impl From<PayloadError> for ApiError {
    fn from(err: PayloadError) -> Self {
        match err {
            PayloadError::Io(err) if err.kind() == std::io::ErrorKind::TimedOut => {
                Self::Timeout(IDLE_TIMEOUT.as_secs())
            }
            err => malformed(format!("the body broke off: {err}")),
        }
    }
}

/// Gives up a body that falls silent for [`IDLE_TIMEOUT`]; the figure counts its bytes. `None`: there
/// is no body.
pub(crate) fn with_idle_timeout(payload: Payload) -> (Payload, Option<Arc<AtomicU64>>) {
    if matches!(payload, Payload::None) {
        return (Payload::None, None);
    }
    let received = Arc::new(AtomicU64::new(0));
    let counted = received.clone();
    let body = IdleTimeout { payload, received, last: Instant::now(), timer: None };
    (Payload::Stream { payload: Box::pin(body) }, Some(counted))
}

struct IdleTimeout {
    payload: Payload,
    received: Arc<AtomicU64>,
    last: Instant,
    /// Made at the first wait and re-armed only when it fires, so that a busy body costs nothing.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream for IdleTimeout {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if let Poll::Ready(item) = Pin::new(&mut this.payload).poll_next(cx) {
            this.last = Instant::now();
            if let Some(Ok(bytes)) = &item {
                this.received.fetch_add(bytes.len() as u64, Relaxed);
            }
            return Poll::Ready(item);
        }
        loop {
            let deadline = this.last + IDLE_TIMEOUT;
            let timer =
                this.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if Instant::now() >= deadline {
                return Poll::Ready(Some(Err(PayloadError::Io(
                    std::io::ErrorKind::TimedOut.into(),
                ))));
            }
            timer.as_mut().reset(deadline);
        }
    }
}
