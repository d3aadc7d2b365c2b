//! The appliance's own log, to read, to follow and to take away.

mod archive;
mod window;

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures::StreamExt;
use portcullis_actors::logging;
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::health;
use crate::{
    body::Query,
    error::{ApiError, ErrorBody},
    openapi::Refusals,
    service::Context,
    sse::{self, Message},
};

/// What is told where the request names no time.
const DEFAULT_WINDOW: std::time::Duration = std::time::Duration::from_secs(3600);

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    /// How far back, as in `1h`, `8h5m3s` or `300` (seconds); an hour where it is left out.
    limit: Option<String>,
    /// Whether to go on with what is logged from now on.
    #[serde(default)]
    follow: bool,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ZipQuery {
    limit: Option<String>,
}

fn since(limit: Option<&str>) -> Result<OffsetDateTime, ApiError> {
    let window = match limit {
        Some(text) => window::parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            ApiError::BadRequest(format!(
                "limit is `{shown}`; it must be a duration such as 8h5m3s, 3h30m, 300s or a number of seconds"
            ))
        })?,
        None => DEFAULT_WINDOW,
    };
    Ok(OffsetDateTime::now_utc()
        .checked_sub(window.try_into().unwrap_or(time::Duration::MAX))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

fn no_files() -> ApiError {
    ApiError::Missing("this process writes no log files".into())
}

/// `GET /v2/management/logs`: the log as it is, or, with `follow=true`, as a stream of events.
///
/// Following begins now; a `limit` puts what was logged before in front of it.
#[utoipa::path(get, path = "/v2/management/logs", tag = "Diagnostics", operation_id = "Logs", params(LogsQuery), responses((status = 200, content((String = "text/plain"), (String = "text/event-stream"))), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn logs(
    request: HttpRequest,
    Query(query): Query<LogsQuery>,
) -> Result<HttpResponse, ApiError> {
    let file = logging::current_file().ok_or_else(no_files)?;
    if !query.follow {
        let since = since(query.limit.as_deref())?;
        let body = archive::stream(move |out| {
            logging::flush();
            logging::copy_window(&file, since, out)
        });
        return Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").streaming(body));
    }
    let live = logging::follow().ok_or_else(no_files)?;
    let mut before = Vec::new();
    if query.limit.is_some() {
        let since = since(query.limit.as_deref())?;
        let read = web::block(move || {
            logging::flush();
            let mut out = Vec::new();
            logging::copy_window(&file, since, &mut out).map(|()| out)
        });
        let read = read.await.map_err(|_| ApiError::Unavailable)?;
        before =
            read.map_err(|err| ApiError::Internal(format!("the log cannot be read: {err}")))?;
    }
    let before = String::from_utf8_lossy(&before).into_owned();
    let before: Vec<Message> = before.lines().map(Message::data).collect();
    let messages = futures::stream::iter(before).chain(sse::unfold(live, next_line));
    Ok(sse::answer(&request, messages))
}

async fn next_line(mut live: Receiver<Arc<str>>) -> Option<(Message, Receiver<Arc<str>>)> {
    let message = match live.recv().await {
        Ok(line) => Message::data(&line),
        Err(RecvError::Lagged(lines)) => {
            Message::event("missed", None, &format!(r#"{{"lines":{lines}}}"#))
        }
        Err(RecvError::Closed) => return None,
    };
    Some((message, live))
}

/// `GET /v2/management/logs/zip`: what somebody needs who is asked for help.
#[utoipa::path(get, path = "/v2/management/logs/zip", tag = "Management", operation_id = "ZipLogs", params(ZipQuery), responses((status = 200, content_type = "application/zip", body = Vec<u8>), Refusals, (status = 404, body = ErrorBody)))]
pub(super) async fn zip(
    context: web::Data<Context>,
    Query(query): Query<ZipQuery>,
) -> Result<HttpResponse, ApiError> {
    let since = since(query.limit.as_deref())?;
    let log = logging::current_file().ok_or_else(no_files)?;
    let listeners = super::listeners(context.clone()).await?;
    let documents = vec![
        ("extra/about.json", pretty(&super::about::facts(&context))),
        ("extra/health.json", pretty(&health::as_json(&context).await)),
        ("extra/listeners.json", pretty(&*listeners)),
        ("extra/settings.json", pretty(&*context.owners.settings.current())),
        ("extra/configuration.toml", context.appliance.configuration.clone()),
    ];
    let contents = archive::Contents {
        log,
        since,
        documents,
        data_dir: context.appliance.data_dir.clone(),
        store: context.owners.ledger.store(),
    };
    let body = archive::stream(move |out| {
        logging::flush();
        contents.write(out)
    });
    let name = format!("attachment; filename=\"{}-logs.zip\"", context.appliance.name);
    Ok(HttpResponse::Ok()
        .content_type("application/zip")
        .insert_header((header::CONTENT_DISPOSITION, name))
        .streaming(body))
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|err| err.to_string()) + "\n"
}
