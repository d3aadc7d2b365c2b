//! `GET events`: what happens, as it happens.

use actix_web::{HttpRequest, HttpResponse, web};
use portcullis_actors::events::{EventId, Next};
use serde::Deserialize;

use crate::{
    http::{
        body::Query,
        error::{ApiError, Code},
        sse::{self, Message},
    },
    service::{Context, openapi::Refusals},
};

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// For clients that cannot send `Last-Event-ID`.
    last_event_id: Option<EventId>,
}

/// `GET /v2/management/events`: events from now on, or after the one that `Last-Event-ID` names.
///
/// When events were lost in between, an event `missed` tells to look at the whole state again.
#[utoipa::path(get, path = "/v2/management/events", tag = "Diagnostics", operation_id = "Events", params(EventsQuery), responses((status = 200, content_type = "text/event-stream", body = String), Refusals))]
pub(super) async fn events(
    request: HttpRequest,
    context: web::Data<Context>,
    Query(query): Query<EventsQuery>,
) -> Result<HttpResponse, ApiError> {
    let after = match last_event_id(&request)? {
        Some(id) => Some(id),
        None => query.last_event_id,
    };
    let subscription = context.owners.events.subscribe(after);
    let messages = sse::unfold(subscription, |mut subscription| async move {
        let message = match subscription.next().await? {
            Next::Event(event) => {
                // Events are plain structs of strings and numbers.
                let json = serde_json::to_string(&*event).unwrap_or_default();
                Message::event(event.kind.name(), Some(event.id), &json)
            }
            Next::Missed => Message::event("missed", None, "{}"),
        };
        Some((message, subscription))
    });
    Ok(sse::answer(&request, messages))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<EventId>, ApiError> {
    let Some(value) = request.headers().get("last-event-id") else { return Ok(None) };
    let number = value.to_str().ok().map(str::trim);
    match number {
        Some("") => Ok(None),
        Some(digits) => digits.parse().map(Some).map_err(|_| not_a_number()),
        None => Err(not_a_number()),
    }
}

fn not_a_number() -> ApiError {
    let text = "Last-Event-ID is not the id of an event, which is a whole number; leave it out to follow from now on";
    ApiError::invalid(Code::INVALID_HEADER, Some("Last-Event-ID"), text.into())
}
