//! Who may use a mount: the check that stands before its routes.

use std::{
    future::{Ready, ready},
    net::IpAddr,
    time::Duration,
};

use actix_http::{Method, RequestHead};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    body::BoxBody,
    dev::{Payload, ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
};
use portcullis_actors::{
    Requester,
    auth::{Admitted, Authenticator, Refusal, Validity},
    now_and_then::NowAndThen,
};

use crate::{front::mounts::Matched, http::error::ApiError, service::Authentication};

/// Somebody who was let in.
pub(crate) struct Granted {
    requester: Requester,
    /// How long that holds, where it was by the admin password.
    validity: Option<Validity>,
}

/// On whose behalf a request is made; the mount's authentication has put it there. Where nobody is
/// known the request fails: nothing is done in the appliance's own name because a route was put in
/// the wrong place.
///
/// ```
/// use portcullis::By;
///
/// async fn who(By(requester): By) -> String {
///     let from = requester.address.map_or("here".to_owned(), |address| address.to_string());
///     format!("{} from {from}\n", requester.user)
/// }
/// # let _ = who;
/// ```
pub struct By(pub Requester);

impl FromRequest for By {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let requester = request.extensions().get::<Requester>().cloned();
        let unknown = || ApiError::Internal("nobody is known who asks; nothing was done".into());
        ready(requester.map(Self).ok_or_else(unknown))
    }
}

/// Lets a request pass, or gives the answer that it gets instead.
pub(crate) async fn check(
    authentication: Authentication,
    authenticator: &Authenticator,
    head: &RequestHead,
) -> Result<Granted, HttpResponse> {
    let address =
        head.peer_addr.map_or_else(|| IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
    let by_token =
        |user: &str| Granted { requester: Requester::new(user, address), validity: None };
    let header = head.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    match authentication {
        Authentication::Open => return Ok(by_token("anybody")),
        Authentication::Admin => {}
        Authentication::Monitoring => {
            let reads = matches!(head.method, Method::GET | Method::HEAD);
            if let Some(token) = header.and_then(bearer_token).filter(|_| reads)
                && let Some(judged) = authenticator.admit_monitoring(address, token).await
            {
                return judged
                    .map(|()| by_token("monitoring"))
                    .map_err(|refusal| refused(&refusal, "wrong token"));
            }
        }
        Authentication::JobToken => {
            // Browsers cannot send the header with a WebSocket handshake.
            let query = head.uri.query().filter(|_| head.upgrade()).and_then(query_token);
            let tokens = header.and_then(bearer_token).into_iter().chain(query.as_deref());
            let tokens: Vec<&[u8]> = tokens.collect();
            let judged = authenticator.admit_job(address, &tokens).await;
            return judged.map(|()| by_token("anybody")).map_err(|refusal| no_job(&refusal));
        }
    }
    let admitted = authenticator.authenticate(address, header).await;
    let granted = |admitted: Admitted| Granted {
        requester: admitted.requester,
        validity: Some(admitted.validity),
    };
    admitted.map(granted).map_err(|refusal| refused(&refusal, "wrong user or password"))
}

fn no_job(refusal: &Refusal) -> HttpResponse {
    match refusal {
        Refusal::Throttled { retry_after } => {
            ApiError::TooManyFailures(retry_after.as_secs()).error_response()
        }
        Refusal::Missing | Refusal::Malformed | Refusal::Wrong | Refusal::Busy => {
            HttpResponse::Unauthorized()
                .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
                .json(serde_json::json!({"code": 401, "error": "Permission Denied"}))
        }
    }
}

fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// The token in `?jwt=`.
fn query_token(query: &str) -> Option<Vec<u8>> {
    let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(query).ok()?;
    let token = pairs.into_inner().into_iter().find(|(name, _)| name == "jwt")?.1;
    Some(token.into_bytes())
}

fn refused(refusal: &Refusal, wrong: &str) -> HttpResponse {
    let reason = match refusal {
        Refusal::Missing => "no Authorization header arrived",
        Refusal::Malformed => "the Authorization header is not basic authentication",
        Refusal::Wrong => wrong,
        Refusal::Throttled { retry_after } => {
            return ApiError::TooManyFailures(retry_after.as_secs()).error_response();
        }
        Refusal::Busy => return ApiError::Busy.error_response(),
    };
    HttpResponse::Unauthorized()
        .insert_header((header::WWW_AUTHENTICATE, r#"Basic realm="appliance", charset="UTF-8""#))
        .insert_header((header::CONTENT_TYPE, "text/plain"))
        .body(format!("401 Unauthorized\n{reason}\n"))
}

/// Whether a request brings something that [`check`] would look at.
pub(crate) fn has_credentials(authentication: Authentication, head: &RequestHead) -> bool {
    let in_query = || {
        authentication == Authentication::JobToken
            && head.upgrade()
            && head.uri.query().and_then(query_token).is_some()
    };
    head.headers().contains_key(header::AUTHORIZATION) || in_query()
}

/// The middleware of a mount. Handlers find the [`Requester`] in the request's extensions, and the
/// [`Validity`] of what the admin password has opened.
pub(crate) async fn layer(
    mount: Matched,
    authenticator: Authenticator,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    if !mount.is_of(request.request()) {
        // It cannot happen; if it does, it is a stranger who makes it happen.
        static TOLD: NowAndThen = NowAndThen::each(Duration::from_secs(10));
        if let Some(left_out) = TOLD.due() {
            log::error!("a path was routed to another mount than was judged{left_out}");
        }
        let err = ApiError::Internal("the path was read in two ways and is not served".into());
        return Ok(request.into_response(err.error_response()));
    }
    match check(mount.authentication, &authenticator, request.head()).await {
        Ok(Granted { requester, validity }) => {
            request.extensions_mut().insert(requester);
            if let Some(validity) = validity {
                request.extensions_mut().insert(validity);
            }
            next.call(request).await
        }
        Err(response) => Ok(request.into_response(response)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::{http::StatusCode, test::TestRequest};

    use super::*;

    #[actix_web::test]
    async fn where_nobody_is_known_a_request_fails() {
        let request = TestRequest::default().to_http_request();
        let refused = By::extract(&request).await.err().expect("nobody is known");
        assert_eq!(refused.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
        let by = Requester::new("admin", [192, 0, 2, 7].into());
        request.extensions_mut().insert(by.clone());
        assert_eq!(By::extract(&request).await.expect("somebody is known").0, by);
    }
}
