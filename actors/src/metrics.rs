//! Every metric of the appliance: its name, its unit, its labels.
//!
//! Label values are bounded: names of listeners and routes, protocol words, statuses. Never a raw
//! path, an address or anything else that a client chose. Figures that are only worth looking at
//! when somebody asks are made by collectors of the monitoring service at each scrape.

use std::sync::{
    Arc, LazyLock, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// Seconds: from what a cached answer takes to what an upload takes.
const DURATION_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 300.0];
/// Seconds: a change writes to the disk and starts listeners.
const CHANGE_BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

use crate::pulse::Silent;

type MakeHistogram = fn() -> Histogram;

/// The instruments; see the fields' `register` lines for names and help.
pub struct Metrics {
    pub http_requests: Family<RequestLabels, Counter>,
    pub http_request_duration: Family<RouteLabels, Histogram, MakeHistogram>,
    pub http_request_body: Family<RequestBytesLabels, Counter>,
    pub http_response_body: Family<RequestBytesLabels, Counter>,
    pub http_requests_in_progress: Family<ListenerLabels, Gauge>,
    pub websockets_open: Family<ListenerLabels, Gauge>,
    pub websocket_unfinished: Gauge,
    pub websockets_refused: Family<WebSocketLabels, Counter>,
    pub uploads_open: Family<ListenerLabels, Gauge>,
    pub connections_open: Family<ListenerLabels, Gauge>,
    pub connections: Family<ListenerLabels, Counter>,
    pub network_received: Family<ListenerLabels, Counter>,
    pub network_sent: Family<ListenerLabels, Counter>,
    pub tls_handshakes: Family<HandshakeLabels, Counter>,
    pub refused: Family<RefusedLabels, Counter>,
    pub displaced: Family<ListenerLabels, Counter>,
    pub stalled: Family<ConnectionLabels, Counter>,
    pub accepting_failed: Family<ListenerLabels, Counter>,
    pub worker_connections: Family<WorkerLabels, Gauge>,
    pub malformed: Family<MalformedLabels, Counter>,
    pub generations: Family<GenerationLabels, Gauge>,
    pub generations_ended: Family<ListenerLabels, Counter>,
    pub changes: Family<ChangeLabels, Counter>,
    pub change_duration: Family<ChangeLabels, Histogram, MakeHistogram>,
    pub auth_failures: Family<ReasonLabels, Counter>,
    pub token_failures: Family<TokenLabels, Counter>,
    pub clock_jumps: Counter,
    pub storage_failing: Family<StorageLabels, Gauge>,
    pub storage_failures: Family<StorageFailureLabels, Counter>,
    pub log_lines_left_out: Family<LogLabels, Counter>,
    pub audit_entries_left_out: Family<AuditLabels, Counter>,
    pub owner_deaths: Family<OwnerLabels, Counter>,
    threads_hanging: Gauge,
    hanging_for: Family<HangingLabels, Number>,
    pub outbound_requests: Family<OutboundLabels, Counter>,
    registry: RwLock<Registry>,
}

/// One request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub listener: Arc<str>,
    /// The pattern of the route, `none` where none matched.
    pub route: Arc<str>,
    pub method: &'static str,
    pub code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    pub listener: Arc<str>,
    pub route: Arc<str>,
    pub method: &'static str,
}

/// As the documented queries name them; `entrypoint` is `web` or `websecure`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestBytesLabels {
    pub code: u16,
    pub method: &'static str,
    pub entrypoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabels {
    pub listener: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HangingLabels {
    thread: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WorkerLabels {
    /// Counted from 0.
    pub worker: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeLabels {
    pub listener: Arc<str>,
    /// `1.2`, `1.3` or `none`.
    pub version: &'static str,
    /// As IANA names it, or `none`.
    pub suite: String,
    /// `full`, `resumed`, `failed` or `late`.
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    pub listener: Arc<str>,
    /// `connection` or `stream`.
    pub what: &'static str,
    /// Whose share was used up: that of the `address`, or that of `all`.
    pub limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ConnectionLabels {
    pub listener: Arc<str>,
    /// `connection` or `stream`.
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MalformedLabels {
    pub listener: Arc<str>,
    /// `HTTP/1`, `HTTP/2`, `TLS` or `PROXY`.
    pub protocol: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GenerationLabels {
    pub listener: Arc<str>,
    /// `serving` or `draining`.
    pub state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ChangeLabels {
    /// What was changed, in kebab case.
    pub kind: &'static str,
    /// `done`, `failed` or `undone`.
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OwnerLabels {
    /// `the certificate`, `the credential`, `the listeners` or `the power`.
    pub owner: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabels {
    /// `malformed`, `wrong`, `throttled` or `busy`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TokenLabels {
    /// `job` or `monitoring`.
    pub token: &'static str,
    /// `wrong` or `throttled`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutboundLabels {
    /// `fetch` or `callback`.
    pub purpose: &'static str,
    /// `done`, `refused` (by the guard of addresses), `slow` or `failed`.
    pub outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WebSocketLabels {
    /// `too_large`, `protocol`, `not_utf8`, `full` (no memory left) or `late`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StorageLabels {
    /// `state`, `audit`, `log`, or what a service writes.
    pub what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StorageFailureLabels {
    /// `state`, `audit`, `log`, or what a service writes.
    pub what: &'static str,
    /// `space`, `inodes`, `quota`, `read-only`, `input-output`, `stale`, `permission`,
    /// `not-a-file`, `descriptors` or `other`.
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LogLabels {
    /// `stderr`, `file`, or `rate` for lines of which there were too many.
    pub outlet: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AuditLabels {
    /// `changes` or `refusals`.
    pub record: &'static str,
}

/// Whether requests and connections are counted.
static COUNTING: AtomicBool = AtomicBool::new(true);

/// Leaves requests and connections uncounted from now on: only to measure what counting costs.
/// To be called before listeners start.
pub fn stop_counting() {
    COUNTING.store(false, Relaxed);
}

/// Whether requests and connections are counted.
#[must_use]
pub fn is_counting() -> bool {
    COUNTING.load(Relaxed)
}

/// The metrics of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

impl Metrics {
    fn new() -> Self {
        let durations: MakeHistogram = || Histogram::new(DURATION_BUCKETS);
        let changes: MakeHistogram = || Histogram::new(CHANGE_BUCKETS);
        let metrics = Self {
            http_requests: Family::default(),
            http_request_duration: Family::new_with_constructor(durations),
            http_request_body: Family::default(),
            http_response_body: Family::default(),
            http_requests_in_progress: Family::default(),
            websockets_open: Family::default(),
            websocket_unfinished: Gauge::default(),
            websockets_refused: Family::default(),
            uploads_open: Family::default(),
            connections_open: Family::default(),
            connections: Family::default(),
            network_received: Family::default(),
            network_sent: Family::default(),
            tls_handshakes: Family::default(),
            refused: Family::default(),
            displaced: Family::default(),
            stalled: Family::default(),
            accepting_failed: Family::default(),
            worker_connections: Family::default(),
            malformed: Family::default(),
            generations: Family::default(),
            generations_ended: Family::default(),
            changes: Family::default(),
            change_duration: Family::new_with_constructor(changes),
            auth_failures: Family::default(),
            token_failures: Family::default(),
            clock_jumps: Counter::default(),
            storage_failing: Family::default(),
            storage_failures: Family::default(),
            log_lines_left_out: Family::default(),
            audit_entries_left_out: Family::default(),
            owner_deaths: Family::default(),
            threads_hanging: Gauge::default(),
            hanging_for: Family::default(),
            outbound_requests: Family::default(),
            registry: RwLock::new(Registry::default()),
        };
        metrics.register();
        metrics.begin_at_zero();
        metrics
    }

    /// What alerts compare with has to be there before anything has gone wrong.
    fn begin_at_zero(&self) {
        for what in ["state", "audit", "log"] {
            self.storage_failing.get_or_create(&StorageLabels { what }).set(0);
        }
        for record in ["changes", "refusals"] {
            drop(self.audit_entries_left_out.get_or_create(&AuditLabels { record }));
        }
    }

    fn register(&self) {
        let mut registry = self.registry.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let r = &mut *registry;
        let (seconds, bytes) = (|| Unit::Seconds, || Unit::Bytes);
        r.register(
            "appliance_http_requests",
            "Requests answered, WebSockets once they are open",
            self.http_requests.clone(),
        );
        r.register_with_unit(
            "appliance_http_request_duration",
            "Time from a request's head to the last byte of its answer, WebSockets left out",
            seconds(),
            self.http_request_duration.clone(),
        );
        r.register_with_unit(
            "traefik_entrypoint_requests",
            "Bytes of the bodies of requests",
            bytes(),
            self.http_request_body.clone(),
        );
        r.register_with_unit(
            "traefik_entrypoint_responses",
            "Bytes of the bodies of answers",
            bytes(),
            self.http_response_body.clone(),
        );
        r.register(
            "appliance_http_requests_in_progress",
            "Requests being answered now, WebSockets left out",
            self.http_requests_in_progress.clone(),
        );
        r.register(
            "appliance_websockets_open",
            "WebSockets open now",
            self.websockets_open.clone(),
        );
        r.register_with_unit(
            "appliance_websocket_unfinished",
            "Memory of WebSocket messages that have not come whole yet, small ones left out",
            bytes(),
            self.websocket_unfinished.clone(),
        );
        r.register(
            "appliance_websockets_refused",
            "WebSockets that were closed because of what the peer sent, by reason",
            self.websockets_refused.clone(),
        );
        r.register(
            "appliance_uploads_open",
            "Requests in progress now that carry a body",
            self.uploads_open.clone(),
        );
        r.register(
            "appliance_connections_open",
            "Connections open now, idle ones and handshakes included",
            self.connections_open.clone(),
        );
        r.register("appliance_connections", "Connections accepted", self.connections.clone());
        r.register_with_unit(
            "appliance_network_received",
            "Bytes that clients sent, TLS records left out",
            bytes(),
            self.network_received.clone(),
        );
        r.register_with_unit(
            "appliance_network_sent",
            "Bytes that were sent to clients, TLS records left out",
            bytes(),
            self.network_sent.clone(),
        );
        r.register(
            "appliance_tls_handshakes",
            "TLS handshakes begun, by how they ended",
            self.tls_handshakes.clone(),
        );
        r.register(
            "appliance_refused",
            "Connections and streams that were refused because there was no room for them",
            self.refused.clone(),
        );
        r.register(
            "appliance_connections_displaced",
            "Idle connections that were closed to make room for others",
            self.displaced.clone(),
        );
        r.register(
            "appliance_stalled",
            "Connections and streams that were cut because the client took nothing for too long",
            self.stalled.clone(),
        );
        r.register(
            "appliance_accepting_failed",
            "Times that the operating system had no room for a connection",
            self.accepting_failed.clone(),
        );
        r.register(
            "appliance_worker_connections",
            "Connections that are open now, by the worker that serves them",
            self.worker_connections.clone(),
        );
        r.register(
            "appliance_malformed",
            "Connections that ended because of what is not the protocol that it should be",
            self.malformed.clone(),
        );
        r.register("appliance_generations", "Generations there are", self.generations.clone());
        r.register(
            "appliance_generations_ended",
            "Generations that have drained",
            self.generations_ended.clone(),
        );
        r.register(
            "appliance_configuration_changes",
            "Changes of the configuration",
            self.changes.clone(),
        );
        r.register_with_unit(
            "appliance_configuration_change_duration",
            "Time from a change's turn until its new listeners serve",
            seconds(),
            self.change_duration.clone(),
        );
        r.register(
            "appliance_auth_failures",
            "Requests that no password let in; requests without one left out",
            self.auth_failures.clone(),
        );
        r.register(
            "appliance_token_failures",
            "Requests that no token let in; requests without one left out",
            self.token_failures.clone(),
        );
        r.register(
            "appliance_clock_jumps",
            "Steps of the wall clock by ten seconds or more",
            self.clock_jumps.clone(),
        );
        r.register(
            "appliance_storage_failing",
            "Whether the last write failed, by what was written",
            self.storage_failing.clone(),
        );
        r.register(
            "appliance_storage_failures",
            "Writes that failed, by what was written and why",
            self.storage_failures.clone(),
        );
        r.register(
            "appliance_log_lines_left_out",
            "Log lines that nobody took in time, or of which there were too many",
            self.log_lines_left_out.clone(),
        );
        r.register(
            "appliance_audit_entries_left_out",
            "Entries that the audit record does not hold: refusals past their rate, changes that could not be written",
            self.audit_entries_left_out.clone(),
        );
        r.register(
            "appliance_owner_deaths",
            "Owners of a part of the appliance that died and were started again",
            self.owner_deaths.clone(),
        );
        r.register(
            "appliance_threads_hanging",
            "Workers and the thread of the owners that have not run their tasks for too long",
            self.threads_hanging.clone(),
        );
        r.register_with_unit(
            "appliance_thread_hanging",
            "How long a thread that must never block has not run its tasks, and what it is doing",
            seconds(),
            self.hanging_for.clone(),
        );
        r.register(
            "appliance_outbound_requests",
            "Fetches and callbacks to addresses that clients named, by how they ended",
            self.outbound_requests.clone(),
        );
    }

    /// Tells which threads hang now; none of those that it was told of before.
    pub fn tell_hanging(&self, silent: &[Silent]) {
        self.threads_hanging.set(i64::try_from(silent.len()).unwrap_or(i64::MAX));
        self.hanging_for.clear();
        for Silent { thread, doing, since } in silent {
            let route = doing.clone().unwrap_or_default();
            let labels = HangingLabels { thread: thread.clone(), route };
            self.hanging_for.get_or_create(&labels).set(since.as_secs_f64());
        }
    }

    /// Adds figures of others.
    pub fn extend(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.write().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// All of them in the Prometheus text format 0.0.4, or as OpenMetrics 1.0.
    ///
    /// # Errors
    /// Never in practice: a string takes what is written to it.
    pub fn encode(&self, openmetrics: bool) -> Result<String, std::fmt::Error> {
        use prometheus_client::encoding::{prometheus_text, text};
        let registry = self.registry.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut buffer = String::with_capacity(16 << 10);
        if openmetrics {
            text::encode(&mut buffer, &registry)?;
        } else {
            prometheus_text::encode(&mut buffer, &registry)?;
        }
        Ok(buffer)
    }
}

/// The instruments of one listener, taken out of their families once; none where nothing is
/// counted.
#[derive(Debug)]
pub(crate) struct ListenerInstruments(Option<Instruments>);

#[derive(Debug)]
struct Instruments {
    in_progress: Gauge,
    websockets: Gauge,
    connections_open: Gauge,
    connections: Counter,
    displaced: Counter,
    received: Counter,
    sent: Counter,
}

impl ListenerInstruments {
    pub(crate) fn of(listener: &str) -> Self {
        let labels = ListenerLabels { listener: listener.into() };
        Self(is_counting().then(|| Instruments {
            in_progress: METRICS.http_requests_in_progress.get_or_create_owned(&labels),
            websockets: METRICS.websockets_open.get_or_create_owned(&labels),
            connections_open: METRICS.connections_open.get_or_create_owned(&labels),
            connections: METRICS.connections.get_or_create_owned(&labels),
            displaced: METRICS.displaced.get_or_create_owned(&labels),
            received: METRICS.network_received.get_or_create_owned(&labels),
            sent: METRICS.network_sent.get_or_create_owned(&labels),
        }))
    }

    pub(crate) fn connection_opened(&self) {
        if let Some(counted) = &self.0 {
            counted.connections.inc();
            counted.connections_open.inc();
        }
    }

    pub(crate) fn connection_closed(&self) {
        if let Some(counted) = &self.0 {
            counted.connections_open.dec();
        }
    }

    /// An idle connection is closed to make room.
    pub(crate) fn connection_displaced(&self) {
        if let Some(counted) = &self.0 {
            counted.displaced.inc();
        }
    }

    pub(crate) fn request_begun(&self) {
        if let Some(counted) = &self.0 {
            counted.in_progress.inc();
        }
    }

    pub(crate) fn request_ended(&self) {
        if let Some(counted) = &self.0 {
            counted.in_progress.dec();
        }
    }

    /// The request in progress is a WebSocket from here on.
    pub(crate) fn websocket_opened(&self) {
        if let Some(counted) = &self.0 {
            counted.in_progress.dec();
            counted.websockets.inc();
        }
    }

    pub(crate) fn websocket_closed(&self) {
        if let Some(counted) = &self.0 {
            counted.websockets.dec();
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        if let Some(counted) = &self.0 {
            counted.received.inc_by(bytes as u64);
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        if let Some(counted) = &self.0 {
            counted.sent.inc_by(bytes as u64);
        }
    }
}

/// A gauge that holds any number, for collectors.
pub type Number = Gauge<f64, AtomicU64>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_name_the_same_metrics() {
        let labels = ListenerLabels { listener: "https".into() };
        METRICS.connections.get_or_create(&labels).inc();
        let bytes = RequestBytesLabels { code: 200, method: "GET", entrypoint: "web" };
        METRICS.http_request_body.get_or_create(&bytes).inc();
        let text = METRICS.encode(false).unwrap();
        assert!(text.contains("# TYPE appliance_connections_total counter"), "{text}");
        assert!(text.contains("appliance_connections_total{listener=\"https\"}"), "{text}");
        let open = METRICS.encode(true).unwrap();
        assert!(open.contains("# TYPE appliance_connections counter"), "{open}");
        assert!(open.contains("# UNIT traefik_entrypoint_requests_bytes bytes"), "{open}");
        assert!(open.ends_with("# EOF\n"), "{open}");
    }
}
