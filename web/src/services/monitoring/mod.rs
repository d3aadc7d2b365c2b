//! Monitoring: `/metrics` of this process, and the paths of a real Prometheus behind the same
//! password. Specification: appliance, section 8.

mod figures;
mod prometheus;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{self, ServiceConfig},
};
use portcullis_actors::{blocking, metrics::METRICS};
use utoipa::OpenApi;

pub(crate) use self::prometheus::probe;
pub use self::{
    figures::register_figures,
    prometheus::{Prometheus, PrometheusError},
};
use crate::{
    http::error::ApiError,
    service::{
        Authentication, Context, Mount, Service,
        endpoint::Endpoint,
        openapi::{self, Refusals},
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

/// The monitoring service.
#[derive(Debug, Default)]
pub struct Monitoring;

impl Service for Monitoring {
    fn name(&self) -> &'static str {
        "monitoring"
    }

    fn takes_websocket(&self, _path: &str) -> bool {
        false
    }

    fn mounts(&self, context: &Context) -> Vec<Mount> {
        let mut mounts = vec![Mount::new("/metrics", Authentication::Monitoring, |config| {
            Endpoint::new("").get(metrics).register(config);
        })];
        mounts.extend(HANDED_ON.map(|prefix| {
            let context = context.clone();
            Mount::new(prefix, Authentication::Monitoring, move |config| hand_on(context, config))
        }));
        mounts
    }

    fn openapi(&self) -> Option<serde_json::Value> {
        openapi::part(&Document::openapi())
    }
}

#[derive(OpenApi)]
#[openapi(paths(metrics, prometheus::graph, prometheus::ask, prometheus::ask_by_form))]
struct Document;

fn hand_on(context: Context, config: &mut ServiceConfig) {
    config.app_data(web::Data::new(context));
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
