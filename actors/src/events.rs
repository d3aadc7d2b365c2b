//! What has happened, for whoever wants to follow it.
//!
//! Owners publish [`EventKind`]s into the [`EventLog`]; it numbers them, keeps the last ones and
//! hands each to every subscriber. A subscriber that names the last event that it saw is given
//! what came after it. Events are not kept across a restart, but their numbers go on increasing.

#![warn(missing_docs)]

use std::{
    collections::VecDeque,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use tokio::sync::broadcast;

use crate::{handover::GenerationNumber, request_id::RequestId, store::Revision};

/// The number of an event; later events have larger ones, across restarts too.
pub type EventId = u64;

/// Events that are kept for subscribers who come back.
const KEPT: usize = 1024;
/// Events that a subscriber may be behind before it misses some.
const BACKLOG: usize = 512;

/// One thing that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Its number.
    pub id: EventId,
    /// When it happened.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// The request that brought it about, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What can happen. Secrets never become part of an event.
#[allow(missing_docs)] // The fields are those of `events` in docs/api.md.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum EventKind {
    /// A change became durable; its effects follow.
    ConfigurationChanged { revision: Revision, what: String, by: String },
    /// A generation accepts connections.
    GenerationStarted { listener: String, generation: GenerationNumber, reason: String },
    /// A generation accepts no more and waits for what it carries.
    GenerationDraining { listener: String, generation: GenerationNumber, connections: usize },
    /// A drained generation is gone.
    GenerationEnded { listener: String, generation: GenerationNumber },
    /// The certificate wants attention. `code` is stable, in kebab case.
    CertificateWarning { code: String, message: String },
    /// Somebody gave a wrong user or password. `throttled`: the address is refused for a while.
    LoginFailed { address: IpAddr, throttled: bool },
    /// The machine will be rebooted or shut down unless somebody cancels it.
    PowerScheduled {
        action: String,
        #[serde(with = "time::serde::rfc3339")]
        due: OffsetDateTime,
        by: String,
    },
    /// The machine stays up after all.
    PowerCancelled { action: String, by: String },
    /// What a service has to tell.
    #[serde(untagged)]
    OfService(ServiceEvent),
}

/// What a service has to tell: a type in kebab case, and fields of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceEvent {
    #[serde(rename = "type")]
    name: &'static str,
    #[serde(skip)]
    passing: bool,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl ServiceEvent {
    /// An event of the type `name`, in kebab case, which is not one of the appliance's own.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { name, passing: false, fields: Map::new() }
    }

    /// The next of its type soon overtakes it: it is told to those who follow the events now, and not
    /// kept for those who come back.
    #[must_use]
    pub fn passing(mut self) -> Self {
        self.passing = true;
        self
    }

    /// With a field more. `id`, `at`, `type` and `request_id` are taken.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }
}

impl From<ServiceEvent> for EventKind {
    fn from(event: ServiceEvent) -> Self {
        Self::OfService(event)
    }
}

impl EventKind {
    /// Whether it is soon overtaken by the next of its kind, so that it is not worth keeping.
    fn is_passing(&self) -> bool {
        matches!(self, Self::OfService(event) if event.passing)
    }

    /// Its name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ConfigurationChanged { .. } => "configuration-changed",
            Self::GenerationStarted { .. } => "generation-started",
            Self::GenerationDraining { .. } => "generation-draining",
            Self::GenerationEnded { .. } => "generation-ended",
            Self::CertificateWarning { .. } => "certificate-warning",
            Self::LoginFailed { .. } => "login-failed",
            Self::PowerScheduled { .. } => "power-scheduled",
            Self::PowerCancelled { .. } => "power-cancelled",
            Self::OfService(event) => event.name,
        }
    }
}

/// Where events are published; cheap to clone.
#[derive(Debug, Clone)]
pub struct EventLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug)]
struct Ring {
    next: EventId,
    events: VecDeque<Arc<Event>>,
}

impl Default for EventLog {
    /// Numbers begin with the milliseconds of the clock, so that those of a restarted appliance
    /// are larger than any that its clients remember.
    fn default() -> Self {
        let first = OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
        let ring = Ring { next: u64::try_from(first).unwrap_or(1), events: VecDeque::new() };
        Self(Arc::new(Shared { ring: Mutex::new(ring), live: broadcast::channel(BACKLOG).0 }))
    }
}

impl EventLog {
    /// Numbers, keeps and hands out an event. Never waits.
    pub fn publish(&self, kind: impl Into<EventKind>) {
        self.publish_for(RequestId::current(), kind.into());
    }

    /// The same for an event that happens outside the task of the request behind it.
    pub fn publish_for(&self, request_id: Option<RequestId>, kind: EventKind) {
        let mut ring = self.ring();
        let event = Event { id: ring.next, at: OffsetDateTime::now_utc(), request_id, kind };
        let event = Arc::new(event);
        ring.next += 1;
        if !event.kind.is_passing() {
            if ring.events.len() == KEPT {
                ring.events.pop_front();
            }
            ring.events.push_back(event.clone());
        }
        // Under the lock, so that live events keep their order. Without a subscriber it fails,
        // which is no loss.
        let _ = self.0.live.send(event);
    }

    /// Follows events from now on, or from the first one after `after`. The last 1024 are kept for those
    /// who come back; a subscriber that is more than 512 behind misses some, and is told so.
    #[must_use]
    pub fn subscribe(&self, after: Option<EventId>) -> Subscription {
        let ring = self.ring();
        let backlog: VecDeque<_> = match after {
            Some(after) => ring.events.iter().filter(|event| event.id > after).cloned().collect(),
            None => VecDeque::new(),
        };
        let oldest = ring.events.front().map_or(ring.next, |event| event.id);
        // A number that is still to come is one of an earlier start, before the clock was set back.
        let missed =
            after.is_some_and(|after| after.saturating_add(1) < oldest || after >= ring.next);
        Subscription { missed, backlog, live: self.0.live.subscribe() }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that one subscriber has not seen yet.
#[derive(Debug)]
pub struct Subscription {
    missed: bool,
    backlog: VecDeque<Arc<Event>>,
    live: broadcast::Receiver<Arc<Event>>,
}

/// What a subscriber gets next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// The next one.
    Event(Arc<Event>),
    /// Events were lost between the last one and the next: look at the whole state again.
    Missed,
}

impl Subscription {
    /// The next event, or `None` once nobody can publish any more.
    pub async fn next(&mut self) -> Option<Next> {
        if std::mem::take(&mut self.missed) {
            return Some(Next::Missed);
        }
        if let Some(event) = self.backlog.pop_front() {
            return Some(Next::Event(event));
        }
        match self.live.recv().await {
            Ok(event) => Some(Next::Event(event)),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Next::Missed),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(open: usize) -> ServiceEvent {
        ServiceEvent::new("guest-count").with("open", open)
    }

    async fn next_id(subscription: &mut Subscription) -> EventId {
        match subscription.next().await {
            Some(Next::Event(event)) => event.id,
            other => panic!("no event: {other:?}"),
        }
    }

    #[tokio::test]
    async fn a_subscriber_that_comes_back_is_given_what_it_has_not_seen() {
        let log = EventLog::default();
        let mut first = log.subscribe(None);
        for open in 0..3 {
            log.publish(count(open));
        }
        let seen = next_id(&mut first).await;
        let mut resumed = log.subscribe(Some(seen));
        log.publish(count(3));
        for step in 1..4 {
            assert_eq!(next_id(&mut resumed).await, seen + step);
        }
    }

    #[tokio::test]
    async fn who_was_away_for_too_long_is_told_so() {
        let log = EventLog::default();
        log.publish(count(0));
        let mut subscription = log.subscribe(Some(0));
        assert_eq!(subscription.next().await, Some(Next::Missed));
        assert!(matches!(subscription.next().await, Some(Next::Event(_))));
    }

    #[tokio::test]
    async fn who_knows_a_number_of_a_clock_that_was_ahead_is_told_so() {
        let log = EventLog::default();
        let ahead = log.ring().next + 1_000_000;
        let mut subscription = log.subscribe(Some(ahead));
        assert_eq!(subscription.next().await, Some(Next::Missed));
        log.publish(count(1));
        let seen = next_id(&mut subscription).await;
        let mut resumed = log.subscribe(Some(seen));
        log.publish(count(2));
        assert_eq!(next_id(&mut resumed).await, seen + 1, "the newest is not from the future");
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_that_it_missed_something() {
        let log = EventLog::default();
        let mut slow = log.subscribe(None);
        for open in 0..BACKLOG + 1 {
            log.publish(count(open));
        }
        assert_eq!(slow.next().await, Some(Next::Missed));
        assert!(matches!(slow.next().await, Some(Next::Event(_))));
    }

    #[tokio::test]
    async fn what_is_soon_overtaken_is_told_and_not_kept() {
        let log = EventLog::default();
        let mut live = log.subscribe(None);
        log.publish(count(0));
        let seen = next_id(&mut live).await;
        log.publish(count(1).passing());
        log.publish(count(2));
        for _ in 0..2 {
            next_id(&mut live).await;
        }
        let mut resumed = log.subscribe(Some(seen));
        let Some(Next::Event(event)) = resumed.next().await else { panic!("no event") };
        let told = serde_json::to_value(&*event).unwrap();
        assert_eq!((&told["type"], &told["open"]), (&"guest-count".into(), &2.into()));
        assert!(told.get("passing").is_none() && told.get("fields").is_none(), "{told}");
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let kind = EventKind::GenerationEnded { listener: "https".into(), generation: 2 };
        let name = kind.name();
        let event = Event { id: 7, at: OffsetDateTime::UNIX_EPOCH, request_id: None, kind };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["type"], name);
        assert_eq!(json["at"], "1970-01-01T00:00:00Z");
        assert_eq!((&json["listener"], &json["generation"]), (&"https".into(), &2.into()));
    }
}
