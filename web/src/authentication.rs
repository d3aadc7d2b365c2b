//! Who may use a mount: the check that stands before its routes.

use std::{net::IpAddr, time::Duration};

use actix_http::{Method, RequestHead};
use actix_web::{
    HttpMessage, HttpResponse, ResponseError,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
};
use portcullis_actors::{
    Requester,
    auth::{Authenticator, Refusal},
    now_and_then::NowAndThen,
};

use crate::{error::ApiError, mounts::Matched, service::Authentication};

/// Lets a request pass, or gives the answer that it gets instead.
pub(crate) async fn check(
    authentication: Authentication,
    authenticator: &Authenticator,
    head: &RequestHead,
) -> Result<Requester, HttpResponse> {
    let address =
        head.peer_addr.map_or_else(|| IpAddr::from([0, 0, 0, 0]), |peer| peer.ip().to_canonical());
    let anybody = || Requester::new("anybody", address);
    let header = head.headers().get(header::AUTHORIZATION).map(header::HeaderValue::as_bytes);
    match authentication {
        Authentication::Open => Ok(anybody()),
        Authentication::Admin => {
            let admitted = authenticator.authenticate(address, header).await;
            admitted.map_err(|refusal| refused(&refusal))
        }
        Authentication::Monitoring => {
            let reads = matches!(head.method, Method::GET | Method::HEAD);
            let token = header.and_then(bearer_token).filter(|_| reads);
            if token.is_some_and(|token| authenticator.admits_monitoring(token)) {
                return Ok(Requester::new("monitoring", address));
            }
            let admitted = authenticator.authenticate(address, header).await;
            admitted.map_err(|refusal| refused(&refusal))
        }
        Authentication::JobToken => {
            // Browsers cannot send the header with a WebSocket handshake.
            let query = head.uri.query().filter(|_| head.upgrade()).and_then(query_token);
            if authenticator.job_token_admits(header.and_then(bearer_token))
                || query.is_some_and(|token| authenticator.job_token_admits(Some(&token)))
            {
                Ok(anybody())
            } else {
                Err(HttpResponse::Unauthorized()
                    .insert_header((header::WWW_AUTHENTICATE, "Bearer"))
                    .json(serde_json::json!({"code": 401, "error": "Permission Denied"})))
            }
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

fn refused(refusal: &Refusal) -> HttpResponse {
    let reason = match refusal {
        Refusal::Missing => "no Authorization header arrived",
        Refusal::Malformed => "the Authorization header is not basic authentication",
        Refusal::Wrong => "wrong user or password",
        Refusal::Throttled { retry_after } => {
            return ApiError::TooManyFailures(retry_after.as_secs()).error_response();
        }
        Refusal::Unavailable => return ApiError::Unavailable.error_response(),
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

/// The middleware of a mount. Handlers find the [`Requester`] in the request's extensions.
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
        Ok(requester) => {
            request.extensions_mut().insert(requester);
            next.call(request).await
        }
        Err(response) => Ok(request.into_response(response)),
    }
}
