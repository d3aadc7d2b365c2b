//! What may be set while the appliance runs.

use actix_web::{HttpRequest, web};
use portcullis_actors::{
    ChangeError,
    settings::{Settings, SettingsChange},
};
use serde::{Deserialize, Serialize};

use crate::{
    front::{By, note_change},
    http::{
        body::Json,
        error::{ApiError, Code},
    },
    service::{Context, openapi::Refusals},
};

/// `GET /v2/management/settings`: what holds now.
#[utoipa::path(get, path = "/v2/management/settings", tag = "Management", operation_id = "GetSettings", responses((status = 200, body = Settings), Refusals))]
pub(super) async fn get_settings(context: web::Data<Context>) -> web::Json<Settings> {
    web::Json(Settings::clone(&context.owners.settings.current()))
}

/// `PUT /v2/management/settings`: sets what is given; `null` returns to the configuration.
#[utoipa::path(put, path = "/v2/management/settings", tag = "Management", operation_id = "PutSettings", request_body = SettingsChange, responses((status = 200, body = Settings), Refusals))]
pub(super) async fn put_settings(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
    Json(change): Json<SettingsChange>,
) -> Result<web::Json<Settings>, ApiError> {
    let changed = context.owners.change_settings(&change, &by).await?;
    note_change(&request, changed.differences);
    Ok(web::Json(Settings::clone(&changed.settings)))
}

/// The age at which what services have finished is removed.
#[derive(Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CleanupInterval {
    /// 1 to 527040, which is 366 days; 1440, a day, unless set otherwise.
    #[schema(minimum = 1, maximum = 527040)]
    minutes: u32,
}

/// `GET /v2/management/cleanupinterval`
#[utoipa::path(get, path = "/v2/management/cleanupinterval", tag = "Management", operation_id = "Management_GetCleanupInterval", responses((status = 200, body = CleanupInterval), Refusals))]
pub(super) async fn get_cleanup_interval(
    context: web::Data<Context>,
) -> web::Json<CleanupInterval> {
    let minutes = context.owners.settings.current().cleanup_interval_minutes;
    web::Json(CleanupInterval { minutes })
}

/// `POST /v2/management/cleanupinterval`
#[utoipa::path(post, path = "/v2/management/cleanupinterval", tag = "Management", operation_id = "Management_SetCleanupInterval", request_body = CleanupInterval, responses((status = 200, body = CleanupInterval), Refusals))]
pub(super) async fn set_cleanup_interval(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
    Json(interval): Json<CleanupInterval>,
) -> Result<web::Json<CleanupInterval>, ApiError> {
    let change = SettingsChange {
        cleanup_interval_minutes: Some(Some(interval.minutes)),
        ..SettingsChange::default()
    };
    let changed = context.owners.change_settings(&change, &by).await.map_err(|err| match err {
        ChangeError::Settings(refused) => {
            ApiError::invalid(Code::INVALID_FIELD, Some("minutes"), refused.to_string())
        }
        err => err.into(),
    })?;
    note_change(&request, changed.differences);
    Ok(web::Json(interval))
}
