//! The one error type of the APIs and its JSON body: `{"code", "error", "error_code", "part",
//! "detail"}`. Clients know `code` as the number of the status.

#![warn(missing_docs)]

mod code;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use portcullis_actors::{
    ChangeError, RequestId,
    auth::{AuthError, PasswordError},
    blocking::NotDone,
    certificate::{CertificateError, RequestError},
    store::StoreError,
    supervise,
};
use serde::Serialize;

pub use self::code::Code;

/// Why a request was not carried out, with the status that says so. A service of one's own makes its
/// errors with [`invalid`](Self::invalid), [`conflict`](Self::conflict), [`missing`](Self::missing) and
/// [`unavailable`](Self::unavailable), which take a [`Code`] of its own.
///
/// ```
/// use portcullis::{ApiError, Code};
///
/// const NO_SUCH_GUEST: Code = Code::new("no-such-guest");
///
/// async fn read() -> Result<String, ApiError> {
///     Err(ApiError::missing(NO_SUCH_GUEST, "there is no guest of this name".into()))
/// }
/// # let _ = read;
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// 400 with the code `bad-request`; prefer [`Self::invalid`].
    #[error("{0}")]
    BadRequest(String),
    /// 400: an upload that is no certificate and key. The appliance's own.
    #[doc(hidden)]
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// 400: a password that cannot be set. The appliance's own.
    #[doc(hidden)]
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// 403: a page of another site sent it.
    #[error("{0}")]
    Forbidden(String),
    /// 404: no mount has this path; with the names of the services.
    #[error("there is nothing at this path; the services of this listener are: {0}")]
    NotFound(String),
    /// 404 with the code `not-found`; prefer [`Self::missing`].
    #[error("{0}")]
    Missing(String),
    /// 405, with the `Allow` header: the methods, with commas between them.
    #[error("this path takes {0}")]
    MethodNotAllowed(String),
    /// 413, with the bytes that are taken at most.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// 409 with the code `conflict`; prefer [`Self::conflict`].
    #[error("{0}")]
    Conflict(String),
    /// 415: the `Content-Type` is another one than the path takes.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// 415: the body is compressed; with its `Content-Encoding`.
    #[error(
        "the body is sent with Content-Encoding: {0}; bodies may not be compressed, send it as it is"
    )]
    Compressed(String),
    /// 421: the name that a browser used is not the appliance's.
    #[error("{0}")]
    Misdirected(String),
    /// 417: an `Expect` header other than `100-continue`.
    #[error("the only expectation that is met is 100-continue")]
    ExpectationFailed,
    /// 429, with `Retry-After`: seconds.
    #[error("too many wrong passwords or tokens from this address; try again in {0} seconds")]
    TooManyFailures(u64),
    /// 503, with `Retry-After: 1`.
    #[error("too many passwords wait to be checked; try again in a second")]
    Busy,
    /// 408, with the seconds in which nothing arrived.
    #[error("the request was not sent in time; nothing arrived for {0} seconds")]
    Timeout(u64),
    /// An answer with a code of its own.
    #[error("{text}")]
    Coded {
        /// The status.
        status: StatusCode,
        /// What is wrong, for programs.
        code: Code,
        /// What of the request it concerns.
        part: Option<String>,
        /// What is wrong and what to do, for people.
        text: String,
    },
    /// Something of the appliance's own failed, with its status; the front logs it.
    #[error("{0}")]
    Failed(String, StatusCode),
    /// 500. Whoever makes it logs it.
    #[error("{0}")]
    Internal(String),
    /// 501: the configuration lacks what it needs.
    #[error("{0}")]
    NotImplemented(String),
    /// 502: another server, which it depends on, has failed.
    #[error("{0}")]
    BadGateway(String),
    /// 503, with `Retry-After: 5`: the appliance ends, or an owner does not answer.
    #[error("{}", supervise::why_no_answer())]
    Unavailable,
}

/// What an error looks like.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorBody {
    /// The status once more.
    code: u16,
    /// The phrase of the status.
    error: &'static str,
    // Its schema has the description.
    #[schema(inline)]
    error_code: Code,
    /// What of the request it concerns: the field, the key of the query or the header; `both` is
    /// `keyfile` and `certfile` together.
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<String>,
    /// What is wrong and what to do, in words for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The number of the request, as in its `Request-Id` header and its log lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    request_id: Option<RequestId>,
}

impl ApiError {
    /// Something of the appliance's own failed.
    pub(crate) fn internal(what: &str, err: &std::io::Error) -> Self {
        log::error!("{what}: {err}");
        Self::Internal(format!("{what}: {err}"))
    }

    /// 400: `part` of the request does not fit. `text` says what is wrong and what to do.
    #[must_use]
    pub fn invalid(code: Code, part: Option<&str>, text: String) -> Self {
        let part = part.map(str::to_owned);
        Self::Coded { status: StatusCode::BAD_REQUEST, code, part, text }
    }

    /// 409: it does not go together with what is.
    #[must_use]
    pub fn conflict(code: Code, text: String) -> Self {
        Self::Coded { status: StatusCode::CONFLICT, code, part: None, text }
    }

    /// 404: there is no such thing.
    #[must_use]
    pub fn missing(code: Code, text: String) -> Self {
        Self::Coded { status: StatusCode::NOT_FOUND, code, part: None, text }
    }

    /// 503, with `Retry-After: 5`: not now; later it may be.
    #[must_use]
    pub fn unavailable(code: Code, text: String) -> Self {
        Self::Coded { status: StatusCode::SERVICE_UNAVAILABLE, code, part: None, text }
    }

    /// What is wrong, for programs.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::BadRequest(_) => Code::BAD_REQUEST,
            Self::Certificate(err) => err.into(),
            Self::Password(PasswordError::Empty) => Code::EMPTY,
            Self::Password(PasswordError::TooLong(_)) => Code::TOO_LONG,
            Self::Password(PasswordError::ControlCharacter) => Code::CONTROL_CHARACTER,
            Self::Forbidden(_) => Code::FOREIGN_PAGE,
            Self::NotFound(_) => Code::NO_SUCH_PATH,
            Self::Missing(_) => Code::NOT_FOUND,
            Self::MethodNotAllowed(_) => Code::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => Code::TOO_LARGE,
            Self::Conflict(_) => Code::CONFLICT,
            Self::UnsupportedMediaType(_) => Code::WRONG_MEDIA_TYPE,
            Self::Compressed(_) => Code::COMPRESSED,
            Self::Misdirected(_) => Code::WRONG_NAME,
            Self::ExpectationFailed => Code::EXPECTATION_FAILED,
            Self::TooManyFailures(_) => Code::TOO_MANY_FAILURES,
            Self::Busy => Code::BUSY,
            Self::Timeout(_) => Code::TIMEOUT,
            Self::Coded { code, .. } => *code,
            Self::Failed(_, StatusCode::INSUFFICIENT_STORAGE) => Code::STORAGE_FULL,
            Self::Failed(_, StatusCode::SERVICE_UNAVAILABLE) => Code::NOT_DONE,
            Self::Failed(..) | Self::Internal(_) => Code::FAILED,
            Self::NotImplemented(_) => Code::NOT_CONFIGURED,
            Self::BadGateway(_) => Code::BAD_GATEWAY,
            Self::Unavailable => Code::UNAVAILABLE,
        }
    }

    /// What of the request it concerns: a field, a key of the query or a header.
    #[must_use]
    pub fn part(&self) -> Option<&str> {
        match self {
            Self::Certificate(err) => Some(err.part().word()),
            Self::Password(_) => Some("password"),
            Self::UnsupportedMediaType(_) => Some("Content-Type"),
            Self::Compressed(_) => Some("Content-Encoding"),
            Self::Misdirected(_) => Some("Host"),
            Self::ExpectationFailed => Some("Expect"),
            Self::Coded { part, .. } => part.as_deref(),
            _ => None,
        }
    }

    fn from_chain(err: &(dyn std::error::Error + 'static), status: StatusCode) -> Self {
        let mut text = err.to_string();
        let mut source = err.source();
        while let Some(err) = source {
            text = format!("{text}: {err}");
            source = err.source();
        }
        Self::Failed(text, status)
    }
}

/// Logs what `err` says if it is of the appliance's own.
pub(crate) fn tell(err: &actix_web::Error) {
    if let Some(ApiError::Failed(text, _)) = err.as_error() {
        log::error!("{text}");
    }
}

fn store_status(err: &StoreError) -> StatusCode {
    if err.is_storage_full() {
        StatusCode::INSUFFICIENT_STORAGE
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

impl From<ChangeError> for ApiError {
    fn from(err: ChangeError) -> Self {
        match &err {
            ChangeError::Store(store) => Self::from_chain(&err, store_status(store)),
            ChangeError::Unusable { .. } | ChangeError::Handover(_) => {
                Self::from_chain(&err, StatusCode::INTERNAL_SERVER_ERROR)
            }
            ChangeError::NotDone(_) => Self::from_chain(&err, StatusCode::SERVICE_UNAVAILABLE),
            ChangeError::Settings(refused) => {
                Self::invalid(Code::INVALID_FIELD, Some(refused.key), refused.to_string())
            }
            ChangeError::AuthenticationIsOn => {
                Self::conflict(Code::AUTHENTICATION_ON, err.to_string())
            }
            ChangeError::Stopping => Self::Unavailable,
        }
    }
}

impl From<NotDone> for ApiError {
    fn from(err: NotDone) -> Self {
        Self::from_chain(&err, StatusCode::SERVICE_UNAVAILABLE)
    }
}

impl From<AuthError> for ApiError {
    fn from(err: AuthError) -> Self {
        match err {
            AuthError::Password(err) => Self::Password(err),
            AuthError::Token => {
                Self::invalid(Code::INVALID_FIELD, Some("user_token"), err.to_string())
            }
            AuthError::Change(err) => err.into(),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(err: RequestError) -> Self {
        match &err {
            RequestError::Invalid(invalid) => {
                Self::invalid(Code::INVALID_FIELD, invalid.field(), err.to_string())
            }
            RequestError::TooMany => Self::conflict(Code::TOO_MANY_REQUESTS, err.to_string()),
            RequestError::NoSuchRequest(_) => Self::missing(Code::NO_SUCH_REQUEST, err.to_string()),
            RequestError::Make(_) => Self::from_chain(&err, StatusCode::INTERNAL_SERVER_ERROR),
            RequestError::Store(store) => Self::from_chain(&err, store_status(store)),
            RequestError::NotDone(_) => Self::from_chain(&err, StatusCode::SERVICE_UNAVAILABLE),
            RequestError::Stopping => Self::Unavailable,
        }
    }
}

impl From<actix::MailboxError> for ApiError {
    fn from(_: actix::MailboxError) -> Self {
        Self::Unavailable
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::Certificate(_) | Self::Password(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::UnsupportedMediaType(_) | Self::Compressed(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Misdirected(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Coded { status, .. } | Self::Failed(_, status) => *status,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        match self {
            Self::MethodNotAllowed(allow) => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::TooManyFailures(seconds) => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from(*seconds)));
            }
            Self::Compressed(_) => {
                response.insert_header((header::ACCEPT_ENCODING, "identity"));
            }
            Self::Busy => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
            }
            Self::Unavailable
            | Self::Coded { status: StatusCode::SERVICE_UNAVAILABLE, .. }
            | Self::Failed(_, StatusCode::SERVICE_UNAVAILABLE) => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("5")));
            }
            _ => {}
        }
        response.json(ErrorBody {
            code: status.as_u16(),
            error: status.canonical_reason().unwrap_or("Error"),
            error_code: self.code(),
            part: self.part().map(str::to_owned),
            detail: Some(self.to_string()),
            request_id: RequestId::current(),
        })
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;
    use portcullis_actors::settings::SettingsError;
    use serde_json::{Value, json};

    use super::*;

    async fn body(err: impl Into<ApiError>) -> Value {
        let body = to_bytes(err.into().error_response().into_body()).await.expect("a body");
        serde_json::from_slice(&body).expect("JSON")
    }

    #[actix_web::test]
    async fn bodies_have_a_code_and_the_part_that_is_wrong() {
        let key = CertificateError::KeyMismatch { key: "a".into(), certificate: "b".into() };
        let setting = SettingsError { key: "max_draining", reason: "is 0".into() };
        for (body, code, part) in [
            (body(key).await, "key-mismatch", json!("both")),
            (body(PasswordError::TooLong(99)).await, "too-long", json!("password")),
            (body(AuthError::Token).await, "invalid-field", json!("user_token")),
            (body(ChangeError::Settings(setting)).await, "invalid-field", json!("max_draining")),
            (body(ApiError::Unavailable).await, "unavailable", Value::Null),
        ] {
            assert_eq!((&body["error_code"], &body["part"]), (&json!(code), &part), "{body}");
        }
    }

    #[actix_web::test]
    async fn what_clients_know_stays_as_it_is() {
        let told = body(ApiError::Missing("nothing".into())).await;
        let expected = json!({
            "code": 404, "error": "Not Found", "error_code": "not-found", "detail": "nothing",
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn unavailable_for_now_says_when_to_come_again() {
        let refused = ApiError::unavailable(Code::NOT_READY, "not yet".into()).error_response();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers().get(header::RETRY_AFTER).expect("a time"), "5");
    }
}
