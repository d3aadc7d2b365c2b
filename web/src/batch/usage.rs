//! What was transcribed.

use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime, macros::format_description};

use super::{Desk, error::BatchError};

#[derive(Deserialize)]
pub(super) struct UsageQuery {
    since: Option<String>,
    until: Option<String>,
}

/// `GET /v2/usage?since=YYYY-MM-DD&until=YYYY-MM-DD`: whole UTC days, both included; today has
/// not ended and does not count.
pub(super) async fn usage(
    desk: Data<Desk>,
    query: Query<UsageQuery>,
) -> Result<HttpResponse, BatchError> {
    desk.check_recogniser()?;
    let yesterday = OffsetDateTime::now_utc().date() - Duration::days(1);
    let since = date("since", query.since.as_deref())?;
    let until = date("until", query.until.as_deref())?.unwrap_or(yesterday).min(yesterday);
    let since = since.unwrap_or_else(|| OffsetDateTime::UNIX_EPOCH.date());
    let rows = desk.store(move |store| store.usage(since, until)).await?;
    let hours = |duration: std::time::Duration| {
        (duration.as_secs_f64() / 3600.0 * 10_000.0).round() / 10_000.0
    };
    let total: std::time::Duration = rows.iter().map(|row| row.duration).sum();
    let count: u64 = rows.iter().map(|row| row.count).sum();
    let details = rows.iter().map(|row| {
        json!({"mode": "batch", "type": "transcription", "language": row.language,
               "operating_point": row.model, "count": row.count, "duration_hrs": hours(row.duration)})
    });
    let mut summary = Vec::new();
    if count > 0 {
        summary.push(json!({"mode": "batch", "type": "transcription", "count": count,
                            "duration_hrs": hours(total)}));
    }
    Ok(HttpResponse::Ok().json(json!({
        "since": format!("{since}T00:00:00Z"),
        "until": format!("{until}T23:59:59Z"),
        "summary": summary,
        "details": details.collect::<Vec<Value>>(),
    })))
}

fn date(name: &str, text: Option<&str>) -> Result<Option<Date>, BatchError> {
    let form = format_description!("[year]-[month]-[day]");
    let parsed = text.map(|text| Date::parse(text, form)).transpose();
    parsed.map_err(|_| BatchError::Query(format!("{name} in query must be of type date")))
}
