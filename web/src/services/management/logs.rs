//! The appliance's own log, to read, to follow and to take away.

mod archive;
mod window;

use std::{path::PathBuf, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use futures::{StreamExt, stream};
use portcullis_actors::logging::{self, Window};
use serde::Deserialize;
use time::OffsetDateTime;
use tokio::sync::{
    Semaphore,
    broadcast::{Receiver, error::RecvError},
};

use super::health;
use crate::{
    http::{
        body::Query,
        error::{ApiError, Code, ErrorBody},
        pieces::{self, Binary, PIECE},
        query,
        sse::{self, Message},
    },
    service::{Context, openapi::Refusals},
};

/// What is told where the request names no time.
const DEFAULT_WINDOW: std::time::Duration = std::time::Duration::from_secs(3600);

/// Clients that may follow the log at once.
const MOST_FOLLOWERS: usize = 32;
static FOLLOWERS: Semaphore = Semaphore::const_new(MOST_FOLLOWERS);

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
            let text = format!(
                "limit is `{shown}`; it must be a duration such as 8h5m3s, 3h30m, 300s or a number of seconds"
            );
            query::invalid(Some("limit"), text)
        })?,
        None => DEFAULT_WINDOW,
    };
    Ok(OffsetDateTime::now_utc()
        .checked_sub(window.try_into().unwrap_or(time::Duration::MAX))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH))
}

fn no_files() -> ApiError {
    ApiError::missing(Code::NO_LOG_FILES, "this process writes no log files".into())
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
        let body = pieces::read(move || {
            logging::flush();
            Ok(Window::new(&file, since))
        });
        return Ok(HttpResponse::Ok().content_type("text/plain; charset=utf-8").streaming(body));
    }
    let place = FOLLOWERS.try_acquire().map_err(|_| {
        let text = format!("{MOST_FOLLOWERS} clients follow the log already; end one of them");
        ApiError::unavailable(Code::TOO_MANY_FOLLOWERS, text)
    })?;
    let live = logging::follow().ok_or_else(no_files)?;
    let window = match query.limit.is_some() {
        true => Some(since(query.limit.as_deref())?),
        false => None,
    };
    let before = stream::unfold(window.map(|since| (file, since, None)), next_lines);
    let messages = before.map(stream::iter).flatten().chain(sse::unfold(live, next_line));
    let messages = messages.inspect(move |_| {
        let _held = &place;
    });
    Ok(sse::answer(&request, messages))
}

/// The log before now, read in pieces on a blocking thread as the client takes them.
async fn next_lines(
    state: Option<(PathBuf, OffsetDateTime, Option<Window>)>,
) -> Option<(Vec<Message>, Option<(PathBuf, OffsetDateTime, Option<Window>)>)> {
    let (file, since, window) = state?;
    let read = web::block(move || {
        let mut window = window.unwrap_or_else(|| {
            logging::flush();
            Window::new(&file, since)
        });
        let lines = window.lines(PIECE)?;
        Ok::<_, std::io::Error>((lines, file, window))
    });
    match read.await {
        Ok(Ok((lines, ..))) if lines.is_empty() => None,
        Ok(Ok((lines, file, window))) => {
            let lines = String::from_utf8_lossy(&lines);
            let messages = lines.lines().map(Message::data).collect();
            Some((messages, Some((file, since, Some(window)))))
        }
        Ok(Err(err)) => {
            log::error!("the log cannot be read: {err}");
            Some((vec![Message::event("missed", None, "{}")], None))
        }
        Err(_) => None,
    }
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
#[utoipa::path(get, path = "/v2/management/logs/zip", tag = "Management", operation_id = "ZipLogs", params(ZipQuery), responses((status = 200, content_type = "application/zip", body = inline(Binary)), Refusals, (status = 404, body = ErrorBody)))]
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
    let body = pieces::read(move || {
        logging::flush();
        Ok(contents.archive())
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
