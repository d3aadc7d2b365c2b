//! What the realtime service carries; 404 while the configuration has no such service.

use actix_web::web;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::error::{ApiError, Code, ErrorBody},
    service::{Context, openapi::Refusals},
};

#[derive(Serialize, ToSchema)]
pub(super) struct Sessions {
    /// The request ids of the open sessions, oldest first.
    request_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Whether one more session would be taken.
    ready: bool,
}

fn require_realtime(context: &Context) -> Result<(), ApiError> {
    if context.appliance.services.iter().any(|name| name == "realtime") {
        return Ok(());
    }
    let text =
        "this appliance serves no realtime transcription: no listener lists the service `realtime`";
    Err(ApiError::missing(Code::NO_REALTIME, text.into()))
}

/// `GET /v2/management/host/realtime/sessions`
#[utoipa::path(get, path = "/v2/management/host/realtime/sessions", tag = "Management", operation_id = "RealtimeSessions", responses((status = 200, body = Sessions), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn sessions(context: web::Data<Context>) -> Result<web::Json<Sessions>, ApiError> {
    require_realtime(&context)?;
    Ok(web::Json(Sessions { request_ids: context.owners.sessions.request_ids() }))
}

/// `GET /v2/management/host/realtime/ready`: 200 in either case.
#[utoipa::path(get, path = "/v2/management/host/realtime/ready", tag = "Management", operation_id = "RealtimeReady", responses((status = 200, body = Ready), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn ready(context: web::Data<Context>) -> Result<web::Json<Ready>, ApiError> {
    require_realtime(&context)?;
    Ok(web::Json(Ready { ready: context.owners.sessions.is_ready() }))
}
