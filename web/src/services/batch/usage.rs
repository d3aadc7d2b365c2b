//! What was transcribed.

use actix_web::web::{self, Data};
use portcullis_speech::jobs::UsageRow;
use serde::{Deserialize, Serialize};
use time::{Date, Duration, OffsetDateTime, macros::format_description};
use utoipa::ToSchema;

use super::{BatchContext, document::JobRefusals, error::BatchError};
use crate::http::body::Query;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UsageQuery {
    /// The first day; without it, the first that anything was transcribed on.
    #[param(format = Date)]
    since: Option<String>,
    /// The last day; yesterday at the latest.
    #[param(format = Date)]
    until: Option<String>,
}

/// What was transcribed.
#[derive(Serialize, ToSchema)]
pub(super) struct Usage {
    #[schema(format = DateTime)]
    since: String,
    #[schema(format = DateTime)]
    until: String,
    /// Everything together; empty where nothing was transcribed.
    summary: Vec<UsageEntry>,
    /// By language and model.
    details: Vec<UsageEntry>,
}

#[derive(Serialize, ToSchema)]
struct UsageEntry {
    mode: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operating_point: Option<String>,
    count: u64,
    duration_hrs: f64,
}

impl UsageEntry {
    fn new(count: u64, duration: std::time::Duration) -> Self {
        Self {
            mode: "batch",
            kind: "transcription",
            language: None,
            operating_point: None,
            count,
            duration_hrs: (duration.as_secs_f64() / 3600.0 * 10_000.0).round() / 10_000.0,
        }
    }

    fn of(row: UsageRow) -> Self {
        let whole = Self::new(row.count, row.duration);
        Self { language: Some(row.language), operating_point: Some(row.model), ..whole }
    }
}

/// `GET /v2/usage?since=YYYY-MM-DD&until=YYYY-MM-DD`: whole UTC days, both included; today has
/// not ended and does not count.
#[utoipa::path(get, path = "/v2/usage", tag = "Jobs", operation_id = "GetUsage", security((), ("jobToken" = [])), params(UsageQuery), responses((status = 200, body = Usage), JobRefusals))]
pub(super) async fn usage(
    batch: Data<BatchContext>,
    Query(query): Query<UsageQuery>,
) -> Result<web::Json<Usage>, BatchError> {
    batch.check_recogniser()?;
    let yesterday = OffsetDateTime::now_utc().date() - Duration::days(1);
    let since = date("since", query.since.as_deref())?;
    let until = date("until", query.until.as_deref())?.unwrap_or(yesterday).min(yesterday);
    let since = since.unwrap_or_else(|| OffsetDateTime::UNIX_EPOCH.date());
    let rows = batch.store(move |store| store.usage(since, until)).await?;
    let count = rows.iter().map(|row| row.count).sum();
    let total = UsageEntry::new(count, rows.iter().map(|row| row.duration).sum());
    Ok(web::Json(Usage {
        since: format!("{since}T00:00:00Z"),
        until: format!("{until}T23:59:59Z"),
        summary: if count > 0 { vec![total] } else { Vec::new() },
        details: rows.into_iter().map(UsageEntry::of).collect(),
    }))
}

fn date(name: &str, text: Option<&str>) -> Result<Option<Date>, BatchError> {
    let Some(text) = text else { return Ok(None) };
    let parsed = Date::parse(text, format_description!("[year]-[month]-[day]"));
    parsed.map(Some).map_err(|_| {
        BatchError::query(name, text, "must be of type date", "a day such as 2026-01-31")
    })
}
