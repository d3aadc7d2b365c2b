//! The one error type of the APIs and its JSON body: `{"code", "error", "detail"}`.

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

/// Why a request was not carried out, with the status that says so.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error("{0}")]
    BadRequest(String),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("{0}")]
    Forbidden(String),
    #[error("there is nothing at this path; the services of this listener are: {0}")]
    NotFound(String),
    #[error("{0}")]
    Missing(String),
    #[error("this path takes {0}")]
    MethodNotAllowed(String),
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Conflict(String),
    #[error("{0}")]
    UnsupportedMediaType(String),
    #[error(
        "the body is sent with Content-Encoding: {0}; bodies may not be compressed, send it as it is"
    )]
    Compressed(String),
    /// The name that a browser used is not the appliance's.
    #[error("{0}")]
    Misdirected(String),
    #[error("the only expectation that is met is 100-continue")]
    ExpectationFailed,
    #[error("too many wrong passwords or tokens from this address; try again in {0} seconds")]
    TooManyFailures(u64),
    #[error("too many passwords wait to be checked; try again in a second")]
    Busy,
    #[error("the request was not sent in time; nothing arrived for {0} seconds")]
    Timeout(u64),
    #[error("{0}")]
    Change(String, StatusCode),
    /// Something of the appliance's own failed; the front logs it.
    #[error("{0}")]
    Failed(String, StatusCode),
    #[error("{0}")]
    Internal(String),
    #[error("{0}")]
    NotImplemented(String),
    #[error("{0}")]
    BadGateway(String),
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
        Self::Change(format!("{what}: {err}"), StatusCode::INTERNAL_SERVER_ERROR)
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
            ChangeError::Settings(refused) => Self::BadRequest(refused.to_string()),
            ChangeError::AuthenticationIsOn => Self::Conflict(err.to_string()),
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
            AuthError::Token => Self::BadRequest(err.to_string()),
            AuthError::Change(err) => err.into(),
        }
    }
}

impl From<RequestError> for ApiError {
    fn from(err: RequestError) -> Self {
        match &err {
            RequestError::Invalid(_) => Self::BadRequest(err.to_string()),
            RequestError::TooMany => Self::Conflict(err.to_string()),
            RequestError::NoSuchRequest(_) => Self::Missing(err.to_string()),
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
            Self::Change(_, status) | Self::Failed(_, status) => *status,
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
            | Self::Change(_, StatusCode::SERVICE_UNAVAILABLE)
            | Self::Failed(_, StatusCode::SERVICE_UNAVAILABLE) => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("5")));
            }
            _ => {}
        }
        response.json(ErrorBody {
            code: status.as_u16(),
            error: status.canonical_reason().unwrap_or("Error"),
            detail: Some(self.to_string()),
            request_id: RequestId::current(),
        })
    }
}
