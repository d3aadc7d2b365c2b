//! Rebooting and shutting down the machine.

use actix_web::{HttpRequest, web};
use portcullis_actors::{
    Requester,
    power::{CancelPower, PowerAction, PowerError, SchedulePower, Scheduled},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    front::{By, note_change},
    http::error::{ApiError, Code, ErrorBody},
    service::{Context, openapi::Refusals},
};

/// What is going to happen, or is not.
#[derive(Serialize, ToSchema)]
pub(super) struct PowerAnswer {
    message: String,
    #[serde(flatten)]
    scheduled: Scheduled,
}

impl From<PowerError> for ApiError {
    fn from(err: PowerError) -> Self {
        match err {
            PowerError::NotConfigured(_) => Self::NotImplemented(err.to_string()),
            PowerError::AlreadyScheduled(_) => {
                let text = format!("{err}; POST /v2/management/reboot/cancel calls it off");
                Self::conflict(Code::ALREADY_SCHEDULED, text)
            }
        }
    }
}

async fn schedule(
    request: &HttpRequest,
    by: Requester,
    context: &Context,
    action: PowerAction,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    let schedule = SchedulePower { action, by };
    let scheduled = context.owners.power.send(schedule).await??;
    note_change(request, format!("{action} at {}", scheduled.due_text()));
    let message =
        format!("The {action} is scheduled; POST /v2/management/{action}/cancel calls it off");
    Ok(web::Json(PowerAnswer { message, scheduled }))
}

/// `DELETE /v2/management/reboot`: reboots the machine in a minute.
#[utoipa::path(delete, path = "/v2/management/reboot", tag = "Management", operation_id = "Reboot", responses((status = 200, body = PowerAnswer), Refusals, (status = 409, body = ErrorBody), (status = 501, body = ErrorBody)))]
pub(super) async fn reboot(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    schedule(&request, by, &context, PowerAction::Reboot).await
}

/// `DELETE /v2/management/shutdown`: powers the machine off in a minute.
#[utoipa::path(delete, path = "/v2/management/shutdown", tag = "Management", operation_id = "Shutdown", responses((status = 200, body = PowerAnswer), Refusals, (status = 409, body = ErrorBody), (status = 501, body = ErrorBody)))]
pub(super) async fn shutdown(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    schedule(&request, by, &context, PowerAction::Shutdown).await
}

/// `POST /v2/management/reboot/cancel`: the machine stays up, whichever was scheduled.
#[utoipa::path(post, path = "/v2/management/reboot/cancel", tag = "Management", operation_id = "CancelReboot", responses((status = 200, body = PowerAnswer), Refusals, (status = 409, body = ErrorBody)))]
pub(super) async fn cancel_reboot(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    cancel(&request, by, &context).await
}

/// `POST /v2/management/shutdown/cancel`: the same.
#[utoipa::path(post, path = "/v2/management/shutdown/cancel", tag = "Management", operation_id = "CancelShutdown", responses((status = 200, body = PowerAnswer), Refusals, (status = 409, body = ErrorBody)))]
pub(super) async fn cancel_shutdown(
    request: HttpRequest,
    By(by): By,
    context: web::Data<Context>,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    cancel(&request, by, &context).await
}

async fn cancel(
    request: &HttpRequest,
    by: Requester,
    context: &Context,
) -> Result<web::Json<PowerAnswer>, ApiError> {
    let cancel = CancelPower { by };
    let Some(scheduled) = context.owners.power.send(cancel).await? else {
        let text = "neither a reboot nor a shutdown is scheduled";
        return Err(ApiError::conflict(Code::NOTHING_SCHEDULED, text.into()));
    };
    let called_off = format!("{} of {} called off", scheduled.action, scheduled.due_text());
    note_change(request, called_off);
    let message = format!("The {} is called off", scheduled.action);
    Ok(web::Json(PowerAnswer { message, scheduled }))
}
