//! `/v2/security/csr`: keys that are made here, and the requests for their certificates.

use std::{sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use portcullis_actors::{
    certificate::{
        CertificateRequest, DeleteCertificateRequest, NewRequest, NoSuchRequest,
        RemoveExpiredRequests, RequestCertificate, RequestError, RequestId, WaitingKeys,
    },
    clock,
};

use super::answers::{Done, PemOrJson, WaitingRequests};
use crate::{
    front::{By, note_change},
    http::{
        body::Json,
        error::{ApiError, ErrorBody},
        query::Query,
    },
    service::{Context, openapi::Refusals},
};

/// PEM is what authorities ask for; `application/pkcs10` would promise DER (RFC 5967).
const PEM_REQUEST: &str = "text/plain; charset=utf-8";

/// The keys that wait; those whose time is over are on their way out once somebody has looked.
fn waiting(context: &Context, running: Duration) -> &WaitingKeys {
    let waiting = context.owners.certificates.waiting_keys();
    if waiting.has_expired(running) {
        context.owners.certificate.do_send(RemoveExpiredRequests);
    }
    waiting
}

/// `POST /v2/security/csr`: answers once the key waits on the disk.
#[utoipa::path(post, path = "/v2/security/csr", tag = "Security", operation_id = "RequestCertificate", request_body = NewRequest, responses((status = 201, body = CertificateRequest, headers(("Location" = String, description = "Where the request can be read"))), Refusals, (status = 409, body = ErrorBody)))]
pub(super) async fn create(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
    Json(new): Json<NewRequest>,
) -> Result<HttpResponse, ApiError> {
    Query::of(&request)?.finish()?;
    let details = new.check().map_err(RequestError::from)?;
    let made = context.owners.certificate.send(RequestCertificate { details, by }).await??;
    note_change(&request, format!("certificate request {}", made.id));
    let location = format!("/v2/security/csr/{}", made.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(&*made))
}

/// `GET /v2/security/csr`: what waits, oldest first; never a key.
#[utoipa::path(get, path = "/v2/security/csr", tag = "Security", operation_id = "ListCertificateRequests", responses((status = 200, body = WaitingRequests), Refusals))]
pub(super) async fn list(
    request: HttpRequest,
    context: web::Data<Context>,
) -> Result<web::Json<WaitingRequests>, ApiError> {
    Query::of(&request)?.finish()?;
    let running = clock::running_time();
    let requests = waiting(&context, running).requests(running);
    let requests = requests.into_iter().map(Arc::unwrap_or_clone).collect();
    Ok(web::Json(WaitingRequests { requests }))
}

/// `GET /v2/security/csr/{id}`, as JSON or with `?format=pem` the request alone.
#[utoipa::path(get, path = "/v2/security/csr/{id}", tag = "Security", operation_id = "GetCertificateRequest", params(("id" = String, Path, description = "32 hexadecimal digits"), ("format" = Option<PemOrJson>, Query)), responses((status = 200, content((CertificateRequest = "application/json"), (String = "text/plain"))), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn get(
    request: HttpRequest,
    context: web::Data<Context>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let mut query = Query::of(&request)?;
    let format = PemOrJson::asked(&mut query)?;
    query.finish()?;
    let id: RequestId = id.parse().map_err(RequestError::from)?;
    let running = clock::running_time();
    let found = waiting(&context, running).request(&id, running);
    let found = found.ok_or_else(|| RequestError::from(NoSuchRequest))?;
    Ok(match format {
        PemOrJson::Pem => HttpResponse::Ok().content_type(PEM_REQUEST).body(found.csr.clone()),
        PemOrJson::Json => HttpResponse::Ok().json(&*found),
    })
}

/// `DELETE /v2/security/csr/{id}`: the key is gone from the disk once it is answered.
#[utoipa::path(delete, path = "/v2/security/csr/{id}", tag = "Security", operation_id = "DeleteCertificateRequest", params(("id" = String, Path, description = "32 hexadecimal digits")), responses((status = 200, body = Done), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn delete(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
    id: web::Path<String>,
) -> Result<web::Json<Done>, ApiError> {
    Query::of(&request)?.finish()?;
    let id: RequestId = id.parse().map_err(RequestError::from)?;
    context.owners.certificate.send(DeleteCertificateRequest { id, by }).await??;
    Ok(web::Json(Done::new("Certificate request deleted")))
}
