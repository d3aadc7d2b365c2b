//! What the connections of one generation share, as they and their requests see it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize},
    },
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{carried::CarriedRequests, places::Places, plan::ListenerPlan};
use crate::{
    bounds::Full,
    handover::GenerationNumber,
    metrics::{
        ConnectionLabels, ListenerInstruments, ListenerLabels, METRICS, MalformedLabels,
        RefusedLabels,
    },
    now_and_then::NowAndThen,
};

/// How often a listener tells what strangers do to it.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Log lines of a listener that strangers can bring about.
#[derive(Debug)]
pub(crate) struct Lines {
    malformed: NowAndThen,
    refused: NowAndThen,
    stalled: NowAndThen,
    broken: NowAndThen,
    accepting: NowAndThen,
}

impl Default for Lines {
    fn default() -> Self {
        let line = || NowAndThen::each(LINE_INTERVAL);
        Self {
            malformed: line(),
            refused: line(),
            stalled: line(),
            broken: line(),
            accepting: line(),
        }
    }
}

/// What the connections of one generation share.
#[derive(Debug)]
pub struct GenerationContext {
    pub listener: Arc<ListenerPlan>,
    pub number: GenerationNumber,
    /// Whether the administration is behind it.
    pub(super) administers: bool,
    pub(super) places: Arc<Places>,
    lines: Arc<Lines>,
    pub(super) requests: AtomicUsize,
    pub(super) websockets: AtomicUsize,
    pub(super) requests_total: AtomicU64,
    pub(super) carried: CarriedRequests,
    pub(super) instruments: ListenerInstruments,
    /// Cancelled when a newer generation serves and idle connections are to close.
    pub(super) drain: CancellationToken,
    /// Cancelled when WebSockets must close.
    pub(super) websockets_end: CancellationToken,
    /// When everything that is left is cut.
    pub(super) cut_at: OnceLock<Instant>,
}

impl GenerationContext {
    pub(super) fn new(
        listener: Arc<ListenerPlan>,
        number: GenerationNumber,
        administers: bool,
        places: Arc<Places>,
        lines: Arc<Lines>,
    ) -> Self {
        Self {
            places,
            lines,
            instruments: ListenerInstruments::of(&listener.name),
            listener,
            number,
            administers,
            requests: AtomicUsize::new(0),
            websockets: AtomicUsize::new(0),
            requests_total: AtomicU64::new(0),
            carried: CarriedRequests::default(),
            drain: CancellationToken::new(),
            websockets_end: CancellationToken::new(),
            cut_at: OnceLock::new(),
        }
    }

    /// Whether a newer generation serves and idle connections are to close.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Resolves when it begins to drain.
    pub async fn drained(&self) {
        self.drain.cancelled().await;
    }

    /// Resolves when a WebSocket on this generation must close with 1012, service restart.
    pub async fn ended(&self) {
        self.websockets_end.cancelled().await;
    }

    /// The time until what is left is cut; `None` where that is not settled.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        self.cut_at.get().map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Counts a connection or stream for which there is no room, and tells it now and then.
    pub(super) fn refused(&self, peer: SocketAddr, what: &'static str, full: Full) {
        let limit = match full {
            Full::Client => "address",
            Full::All => "all",
        };
        let listener = self.listener.name.as_str();
        let labels = RefusedLabels { listener: listener.into(), what, limit };
        METRICS.refused.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.refused.due() {
            log::warn!("listener {listener}: a {what} of {peer} is refused: {full}{left_out}");
        }
    }

    /// Counts a client that takes nothing of what is sent to it, and tells it now and then.
    pub(super) fn stalled(&self, peer: SocketAddr, what: &'static str) {
        let listener = self.listener.name.as_str();
        let labels = ConnectionLabels { listener: listener.into(), what };
        METRICS.stalled.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.stalled.due() {
            log::info!(
                "listener {listener}: a {what} of {peer} is cut: it took nothing for {} s{left_out}",
                self.places.write_timeout().as_secs(),
            );
        }
    }

    /// Counts what is not the protocol that it should be, and tells it now and then.
    pub(super) fn malformed(
        &self,
        peer: SocketAddr,
        protocol: &'static str,
        err: &dyn std::fmt::Display,
    ) {
        let listener = self.listener.name.as_str();
        let labels = MalformedLabels { listener: listener.into(), protocol };
        METRICS.malformed.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.malformed.due() {
            let what = match protocol {
                "PROXY" => "the PROXY protocol, which is not spoken here".to_owned(),
                protocol => format!("malformed {protocol}: {err}"),
            };
            log::info!("listener {listener}: {peer} sent {what}{left_out}");
        }
    }

    /// Counts that the operating system had no room for a connection, and tells it now and then.
    pub(super) fn accepting_failed(&self, err: &std::io::Error) {
        let listener = self.listener.name.as_str();
        let labels = ListenerLabels { listener: listener.into() };
        METRICS.accepting_failed.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.accepting.due() {
            log::error!("listener {listener}: a connection cannot be accepted: {err}{left_out}");
        }
    }

    /// Tells now and then that an answer could not be given whole.
    pub(super) fn broke_off(&self, peer: SocketAddr, err: &dyn std::fmt::Display) {
        if let Some(left_out) = self.lines.broken.due() {
            let listener = &self.listener.name;
            log::warn!("listener {listener}: an answer to {peer} broke off: {err}{left_out}");
        }
    }
}
