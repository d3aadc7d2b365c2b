//! `/v2/management/host/realtime`: what the service carries.

use actix_web::web;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use super::board::SessionBoard;
use crate::service::{Authentication, Mount, endpoint::Endpoint, openapi::Refusals};

/// Where it is.
pub(super) const PREFIX: &str = "/v2/management/host/realtime";

#[derive(OpenApi)]
#[openapi(paths(sessions, ready))]
pub(super) struct Document;

#[derive(Serialize, ToSchema)]
struct Sessions {
    /// The request ids of the open sessions, oldest first.
    request_ids: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Ready {
    /// Whether one more session would be taken.
    ready: bool,
}

pub(super) fn mount(board: SessionBoard) -> Mount {
    Mount::new(PREFIX, Authentication::Admin, move |config| {
        config.app_data(web::Data::new(board.clone()));
        Endpoint::new("/sessions").get(sessions).register(config);
        Endpoint::new("/ready").get(ready).register(config);
    })
}

/// `GET /v2/management/host/realtime/sessions`
#[utoipa::path(get, path = "/v2/management/host/realtime/sessions", tag = "Management", operation_id = "RealtimeSessions", responses((status = 200, body = Sessions), Refusals))]
async fn sessions(board: web::Data<SessionBoard>) -> web::Json<Sessions> {
    web::Json(Sessions { request_ids: board.request_ids() })
}

/// `GET /v2/management/host/realtime/ready`: 200 in either case.
#[utoipa::path(get, path = "/v2/management/host/realtime/ready", tag = "Management", operation_id = "RealtimeReady", responses((status = 200, body = Ready), Refusals))]
async fn ready(board: web::Data<SessionBoard>) -> web::Json<Ready> {
    web::Json(Ready { ready: board.is_ready() })
}
