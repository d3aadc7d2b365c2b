//! One generation of a listener: what its connections have in common, from one handover to the next.

use std::{
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    CarriedRequest,
    admission::Admission,
    connection::{Connection, OpenConnections},
    context::{GenerationContext, Lines},
    plan::{ListenerApplication, ListenerPlan},
};
use crate::handover::GenerationNumber;

/// How long WebSockets have to close after they were told that their generation ends.
const CUT_GRACE: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GenerationState {
    Serving,
    Draining,
}

/// One generation and what it carries.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct GenerationStatus {
    pub number: GenerationNumber,
    pub state: GenerationState,
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: OffsetDateTime,
    /// Why it began, in the past tense.
    pub reason: String,
    /// Open connections, idle ones and handshakes included.
    pub connections: usize,
    /// Requests being answered, WebSockets not counted.
    pub requests_in_progress: usize,
    pub websockets: usize,
    /// Requests begun since the start of this generation, WebSockets included.
    pub requests_total: u64,
    /// The oldest 50 uploads, then the oldest 50 WebSockets.
    pub carried: Vec<CarriedRequest>,
    /// How many more uploads and WebSockets there are.
    pub carried_left_out: usize,
}

/// A generation, shared by the supervisor, which ends it, and the entrance, which leads to it.
pub(crate) struct Generation {
    pub(crate) context: Arc<GenerationContext>,
    pub(super) open: Arc<OpenConnections>,
    pub(super) application: Arc<dyn ListenerApplication>,
    /// Whether `h2` is offered in ALPN.
    pub(super) offers_http2: bool,
    since: OffsetDateTime,
    draining_since: OnceLock<Instant>,
    reason: String,
}

impl Generation {
    pub(crate) fn new(
        listener: Arc<ListenerPlan>,
        number: GenerationNumber,
        reason: String,
        application: Arc<dyn ListenerApplication>,
        (admission, lines): (&Admission, Arc<Lines>),
    ) -> Arc<Self> {
        let places = admission.places().clone();
        let administers = application.administers();
        let context = GenerationContext::new(listener, number, administers, places, lines);
        let open = Arc::<OpenConnections>::default();
        admission.watch(&open);
        Arc::new(Self {
            context: Arc::new(context),
            open,
            offers_http2: application.offers_http2(),
            application,
            since: OffsetDateTime::now_utc(),
            draining_since: OnceLock::new(),
            reason,
        })
    }

    pub(crate) fn number(&self) -> GenerationNumber {
        self.context.number
    }

    pub(crate) fn application(&self) -> &Arc<dyn ListenerApplication> {
        &self.application
    }

    /// Another one serves: idle connections close, the others end what they carry. Connections that were
    /// on their way in may still be added.
    pub(crate) fn drain(&self) {
        self.draining_since.get_or_init(Instant::now);
        self.context.drain.cancel();
        self.open.end_when_empty();
        self.tend();
    }

    /// Resolves when it drains and its last connection is gone; none is added from then on.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let open = self.open.clone();
        async move { open.ended().await }
    }

    /// Looks after its connections.
    pub(crate) fn tend(&self) {
        self.open.each(Connection::tend);
        if self.context.cut_at.get().is_some_and(|at| Instant::now() >= *at) {
            self.open.each(Connection::cut);
        }
    }

    /// Tells WebSockets to close with 1012, service restart.
    pub(crate) fn end_websockets(&self) {
        self.context.websockets_end.cancel();
    }

    /// Tells WebSockets to close; what is left a little later is cut.
    pub(crate) fn end(&self) {
        let _ = self.context.cut_at.set(Instant::now() + CUT_GRACE);
        self.end_websockets();
    }

    /// Whether [`Self::end`] was called.
    pub(crate) fn has_ended(&self) -> bool {
        self.context.cut_at.get().is_some()
    }

    /// How long it has been draining; `None` while it serves.
    pub(crate) fn draining_for(&self) -> Option<Duration> {
        self.draining_since.get().map(Instant::elapsed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining_since.get().is_some()
    }

    /// How many connections it has.
    pub(crate) fn connections(&self) -> usize {
        self.open.count()
    }

    /// How many connections would be cut in their work if the process ended now.
    pub(crate) fn busy(&self) -> usize {
        self.open.busy()
    }

    pub(crate) fn status(&self) -> GenerationStatus {
        let (carried, carried_left_out) = self.context.carried.list();
        GenerationStatus {
            number: self.context.number,
            state: if self.is_draining() {
                GenerationState::Draining
            } else {
                GenerationState::Serving
            },
            since: self.since,
            reason: self.reason.clone(),
            connections: self.open.count(),
            requests_in_progress: self.context.requests.load(Relaxed),
            websockets: self.context.websockets.load(Relaxed),
            requests_total: self.context.requests_total.load(Relaxed),
            carried,
            carried_left_out,
        }
    }
}
