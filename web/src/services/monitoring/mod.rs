//! Monitoring: `/metrics` of this process, and the paths of a real Prometheus behind the same
//! password.

mod figures;
mod prometheus;

use std::{sync::Arc, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};
use futures::future::LocalBoxFuture;
use portcullis_actors::{blocking, metrics::METRICS};
use tokio::time::timeout;
use utoipa::OpenApi;

use self::prometheus::{Prometheus, PrometheusError};
use crate::{
    http::error::ApiError,
    service::{
        Authentication, Health, Kind, Mount, Service, Start, StartError, Tables,
        endpoint::Endpoint,
        openapi::{self, Refusals},
        table::{ConfigError, Found, Table},
    },
};

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What Prometheus serves: its queries, its pages and what these load. Its page has moved with its
/// versions: Debian's 2.42 has it below `/classic`, upstream's 2.x loads `/static`, 3.x `/assets`.
const HANDED_ON: [&str; 22] = [
    "/api/v1",
    "/-",
    "/graph",
    "/query",
    "/classic",
    "/consoles",
    "/static",
    "/assets",
    "/favicon.ico",
    "/favicon.svg",
    "/manifest.json",
    "/agent",
    "/alertmanager-discovery",
    "/alerts",
    "/config",
    "/flags",
    "/rules",
    "/service-discovery",
    "/starting",
    "/status",
    "/targets",
    "/tsdb-status",
];

/// The Prometheus behind this service, if there is one.
type Behind = Option<Arc<Prometheus>>;

/// How long Prometheus may take to say that it is ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// The kind of the monitoring service.
#[derive(Debug, Default)]
pub struct Monitoring;

impl Kind for Monitoring {
    fn name(&self) -> &'static str {
        "monitoring"
    }

    fn components(&self) -> &'static [&'static str] {
        &["monitoring"]
    }

    fn configure(&self, tables: &mut Tables<'_>) -> Result<Start, ConfigError> {
        let prometheus = read(&mut tables.own)?;
        // Nobody is to reach it but by way of this service.
        let port = prometheus.as_ref().and_then(Prometheus::port_on_this_machine);
        let start = Start::new(|door| async move {
            door.figures(|registry| registry.register_collector(figures::collector(&door)));
            Ok::<_, StartError>(RunningMonitoring { prometheus: prometheus.map(Arc::new) })
        });
        Ok(start.with_private_ports(port))
    }
}

/// Reads `[monitoring]`.
fn read(table: &mut Table<'_>) -> Result<Option<Prometheus>, ConfigError> {
    let Some(Found { value, offset }) = table.string("prometheus")? else { return Ok(None) };
    let parsed = value
        .parse()
        .map_err(|err: PrometheusError| table.error_at("prometheus", offset, err.to_string()))?;
    Ok(Some(parsed))
}

/// The monitoring service.
struct RunningMonitoring {
    /// The Prometheus that graphs and queries are handed to.
    prometheus: Behind,
}

impl Service for RunningMonitoring {
    fn mounts(&self) -> Vec<Mount> {
        let metrics = Mount::new("/metrics", Authentication::Monitoring, |config| {
            Endpoint::new("").get(metrics).register(config);
        });
        let prometheus = web::Data::new(self.prometheus.clone());
        let handed_on = HANDED_ON.map(|prefix| {
            let prometheus = prometheus.clone();
            Mount::new(prefix, Authentication::Monitoring, move |config| {
                hand_on(prometheus.clone(), config);
            })
        });
        std::iter::once(metrics).chain(handed_on).collect()
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        openapi::part(&Document::openapi())
    }

    fn health(&self) -> LocalBoxFuture<'_, Option<Health>> {
        Box::pin(async {
            let Some(prometheus) = &self.prometheus else { return Some(Health::good()) };
            let reason = match timeout(PROBE_TIMEOUT, prometheus.probe()).await {
                Ok(Ok(())) => return Some(Health::good()),
                Ok(Err(reason)) => reason,
                Err(_) => format!("it did not answer within {} s", PROBE_TIMEOUT.as_secs()),
            };
            let error = format!("Prometheus at {prometheus} is not ready: {reason}");
            Some(Health::good().with_error(error))
        })
    }
}

#[derive(OpenApi)]
#[openapi(paths(metrics, prometheus::graph, prometheus::ask, prometheus::ask_by_form))]
struct Document;

fn hand_on(prometheus: web::Data<Behind>, config: &mut ServiceConfig) {
    config.app_data(prometheus);
    // Not the scope's default service, which is the listener's own.
    let everything = web::resource(["", "/{below:.*}"]);
    config.service(everything.route(web::route().to(prometheus::forward)));
}

/// `GET /metrics`: in the Prometheus text format, or as OpenMetrics where `Accept` asks for it.
#[utoipa::path(get, path = "/metrics", tag = "Monitoring", operation_id = "Metrics", responses((status = 200, content((String = "text/plain"), (String = "application/openmetrics-text"))), Refusals))]
async fn metrics(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let openmetrics = accept.contains("application/openmetrics-text");
    // Collectors read from /proc and ask the file systems.
    let text = blocking::run(move || METRICS.encode(openmetrics)).await?;
    let text = text.map_err(|_| ApiError::Internal("the metrics cannot be written down".into()))?;
    Ok(HttpResponse::Ok().content_type(if openmetrics { OPENMETRICS } else { TEXT }).body(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::table::tests::read_table;

    #[test]
    fn the_table_is_read_and_mistakes_are_named() {
        let parse = |text| read_table(text, "monitoring", read);
        let prometheus = parse("[monitoring]\nprometheus = \"http://127.0.0.1:9090\"").unwrap();
        assert_eq!(prometheus.unwrap().to_string(), "http://127.0.0.1:9090");
        assert_eq!(parse("").unwrap(), None);
        let message = parse("[monitoring]\nprometheus = \"9090\"").unwrap_err().to_string();
        assert!(message.contains("monitoring.prometheus: must be the address"), "{message}");
    }
}
