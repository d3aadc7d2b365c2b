//! The listeners: their sockets, their exposure and every generation that serves on them.

mod exposure;
mod listener;
mod live;
mod messages;
mod socket;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, MessageResult,
    ResponseFuture, Supervised, WrapFuture, fut::wrap_future,
};

use self::listener::{Gate, Listener};
pub use self::{
    exposure::InsecurePorts,
    live::{ListenersError, PrepareListeners, PreparedListeners, ServeListeners},
    messages::{Exposure, GetListeners, ListenerStatus, SetInsecurePorts, Shutdown},
    socket::BoundListener,
};
use crate::{
    change::{Change, ChangeError, Writer},
    engine::{Admission, AdmissionLimits, Application, Generation, ListenerApplication, Pool},
    events::{EventKind, EventLog},
    handover::{GenerationNumber, Generations, Handover, HandoverError, Scope},
    metrics::{GenerationLabels, ListenerLabels, METRICS, WorkerLabels},
    request_id::RequestId,
    settings::LiveSettings,
    tls::TlsConfigs,
};

/// How often the supervisor looks after generations and their limits.
const SUPERVISION_INTERVAL: Duration = Duration::from_secs(1);
/// How often the connections of draining generations are looked after.
const TEND_INTERVAL: Duration = Duration::from_millis(250);

/// Owns the bound sockets, the exposure of plain ports and every generation.
pub struct ListenerSupervisor {
    listeners: Vec<Listener>,
    pool: Arc<Pool>,
    admission: Arc<Admission>,
    application: Arc<dyn Application>,
    tls: Arc<TlsConfigs>,
    insecure_ports: InsecurePorts,
    writer: Writer,
    settings: LiveSettings,
    events: EventLog,
}

/// What the supervisor shares with the other owners.
pub(crate) struct Shared {
    pub(crate) tls: Arc<TlsConfigs>,
    pub(crate) insecure_ports: InsecurePorts,
    pub(crate) writer: Writer,
    pub(crate) settings: LiveSettings,
    pub(crate) events: EventLog,
}

/// A listener that is to be handed over, and what answers on it from then on.
struct Launch {
    listener: String,
    application: Arc<dyn ListenerApplication>,
}

impl ListenerSupervisor {
    pub(crate) fn new(
        bound: Vec<BoundListener>,
        pool: Pool,
        limits: AdmissionLimits,
        application: Arc<dyn Application>,
        shared: Shared,
    ) -> Self {
        let Shared { tls, insecure_ports, writer, settings, events } = shared;
        let listeners = bound
            .into_iter()
            .map(|bound| {
                let mut listener = Listener::new(bound.plan);
                listener.gate = Some(Gate::new(Arc::new(bound.socket)));
                listener
            })
            .collect();
        Self {
            listeners,
            pool: Arc::new(pool),
            admission: Admission::new(limits),
            application,
            tls,
            insecure_ports,
            writer,
            settings,
            events,
        }
    }

    /// The listeners in scope, and what answers on them: the same as before where something did.
    fn launches(&self, scope: Scope) -> Vec<Launch> {
        let in_scope = |listener: &Listener| match scope {
            Scope::Tls => listener.plan.tls.takes_tls(),
            Scope::Plain => listener.plan.tls.takes_plain(),
            Scope::All => true,
        };
        self.listeners
            .iter()
            .filter(|listener| listener.gate.is_some() && in_scope(listener))
            .map(|listener| {
                let before = listener.generations.last();
                let application = before.map_or_else(
                    || self.application.on(&listener.plan),
                    |before| before.application().clone(),
                );
                Launch { listener: listener.plan.name.clone(), application }
            })
            .collect()
    }

    /// Lets every worker make what it has not made yet: all of it, or the handover fails.
    fn build(
        &self,
        launches: &[Launch],
    ) -> impl Future<Output = Result<(), HandoverError>> + use<> {
        let new: Vec<_> = launches
            .iter()
            .filter(|launch| self.serving(&launch.listener).is_none())
            .map(|launch| (launch.listener.clone(), launch.application.clone()))
            .collect();
        let pool = self.pool.clone();
        async move {
            for (listener, application) in new {
                let built = pool.build(&application).await;
                built.map_err(|source| HandoverError { listener, source })?;
            }
            Ok(())
        }
    }

    /// Lets a new generation serve on each of the listeners, and drains what served before.
    fn promote(
        &mut self,
        launches: Vec<Launch>,
        reason: &str,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) -> Generations {
        let next: Vec<_> = launches
            .into_iter()
            .filter_map(|launch| Some((self.index(&launch.listener)?, launch.application)))
            .map(|(index, application)| (index, self.next_generation(index, application, reason)))
            .collect();
        // All of them, before anything else is done.
        for (index, generation) in &next {
            if let Some(gate) = &mut self.listeners[*index].gate {
                gate.lead_to(generation, &self.pool, (&self.admission, &self.tls));
            }
        }
        let mut numbers = Generations::new();
        for (index, generation) in next {
            let listener = &mut self.listeners[index];
            let (name, number) = (listener.plan.name.clone(), generation.number());
            listener.last_number = number;
            let before = listener.serving().cloned();
            listener.generations.push(generation);
            self.events.publish_for(
                request_id,
                EventKind::GenerationStarted {
                    listener: name.clone(),
                    generation: number,
                    reason: reason.to_owned(),
                },
            );
            if let Some(before) = before {
                self.drain(&name, &before, request_id, ctx);
            }
            numbers.insert(name, number);
        }
        self.enforce_limits();
        self.count_generations();
        numbers
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.listeners.iter().position(|listener| listener.plan.name == name)
    }

    /// What serves on the listener of that name.
    fn serving(&self, name: &str) -> Option<Arc<Generation>> {
        self.listeners[self.index(name)?].serving().cloned()
    }

    fn next_generation(
        &self,
        index: usize,
        application: Arc<dyn ListenerApplication>,
        reason: &str,
    ) -> Arc<Generation> {
        let listener = &self.listeners[index];
        Generation::new(
            listener.plan.clone(),
            listener.last_number + 1,
            reason.to_owned(),
            application,
            (&self.admission, listener.lines.clone()),
        )
    }

    /// Drains a generation of a listener, and forgets it when it has ended.
    fn drain(
        &self,
        listener: &str,
        generation: &Generation,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) {
        let draining = EventKind::GenerationDraining {
            listener: listener.to_owned(),
            generation: generation.number(),
            connections: generation.connections(),
        };
        self.events.publish_for(request_id, draining);
        generation.drain();
        self.await_end(listener, generation, request_id, ctx);
    }

    fn await_end(
        &self,
        listener: &str,
        generation: &Generation,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) {
        let (listener, number) = (listener.to_owned(), generation.number());
        let ended = wrap_future::<_, Self>(generation.ended());
        ctx.spawn(ended.map(move |(), act, _| act.forget(&listener, number, request_id)));
    }

    fn forget(&mut self, name: &str, number: GenerationNumber, request_id: Option<RequestId>) {
        let Some(index) = self.index(name) else { return };
        self.listeners[index].generations.retain(|generation| generation.number() != number);
        log::debug!("listener {name}: generation {number} drained");
        let labels = ListenerLabels { listener: name.into() };
        METRICS.generations_ended.get_or_create(&labels).inc();
        let ended = EventKind::GenerationEnded { listener: name.to_owned(), generation: number };
        self.events.publish_for(request_id, ended);
        self.count_generations();
        self.forget_if_gone(name);
    }

    /// Forgets a listener that was removed and has nothing left that drains.
    fn forget_if_gone(&mut self, name: &str) {
        self.listeners.retain(|listener| {
            listener.plan.name != name
                || listener.gate.is_some()
                || !listener.generations.is_empty()
        });
    }

    fn count_generations(&self) {
        for listener in &self.listeners {
            let draining = listener.draining().count();
            let serving = listener.generations.len() - draining;
            for (state, count) in [("serving", serving), ("draining", draining)] {
                let labels =
                    GenerationLabels { listener: listener.plan.name.as_str().into(), state };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                METRICS.generations.get_or_create(&labels).set(count);
            }
        }
    }

    fn count_connections(&self) {
        for (worker, connections) in self.pool.connections().enumerate() {
            let connections = i64::try_from(connections).unwrap_or(i64::MAX);
            METRICS.worker_connections.get_or_create(&WorkerLabels { worker }).set(connections);
        }
    }

    /// Ends generations that have drained for too long or that are too many.
    fn enforce_limits(&self) {
        let limits = self.settings.current().drain_limits();
        for listener in &self.listeners {
            let draining: Vec<_> =
                listener.draining().filter(|g| !g.has_ended() && g.connections() > 0).collect();
            let surplus = draining.len().saturating_sub(limits.max_draining);
            for (index, generation) in draining.into_iter().enumerate() {
                let over_time =
                    generation.draining_for().is_some_and(|time| time > limits.drain_timeout);
                let why = if over_time {
                    "drain_timeout is over"
                } else if index < surplus {
                    "more than max_draining generations drain"
                } else {
                    continue;
                };
                let status = generation.status();
                log::warn!(
                    "listener {}: generation {} is ended because {why}; this cuts {} requests and {} WebSockets",
                    listener.plan.name,
                    status.number,
                    status.requests_in_progress,
                    status.websockets,
                );
                generation.end();
            }
        }
    }

    fn all_generations(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.listeners.iter().flat_map(|listener| &listener.generations)
    }
}

impl Actor for ListenerSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TEND_INTERVAL, |act, _| {
            act.all_generations().filter(|g| g.is_draining()).for_each(|g| g.tend());
        });
        ctx.run_interval(SUPERVISION_INTERVAL, |act, _| {
            act.enforce_limits();
            act.count_connections();
            act.all_generations().filter(|g| !g.is_draining()).for_each(|g| g.tend());
        });
    }
}

impl Supervised for ListenerSupervisor {
    /// The generations serve on. What looked after them is begun again.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        for listener in &self.listeners {
            for generation in listener.draining() {
                self.await_end(&listener.plan.name, generation, None, ctx);
            }
        }
        let writer = self.writer.clone();
        actix::spawn(async move {
            writer.realign("the owner of the listeners was started again").await;
        });
    }
}

impl Handler<Handover> for ListenerSupervisor {
    // Atomic: the mailbox waits, so two handovers never interleave.
    type Result = AtomicResponse<Self, Result<Generations, HandoverError>>;

    fn handle(&mut self, msg: Handover, _ctx: &mut Self::Context) -> Self::Result {
        let Handover { scope, reason, request_id } = msg;
        let launches = self.launches(scope);
        let built = self.build(&launches);
        let promoted = built.into_actor(self).map(move |built, act, ctx| {
            built?;
            Ok(act.promote(launches, &reason, request_id, ctx))
        });
        AtomicResponse::new(Box::pin(promoted))
    }
}

impl Handler<SetInsecurePorts> for ListenerSupervisor {
    // Not atomic: it sends this same actor a handover while it holds the ledger.
    type Result = ResponseFuture<Result<Generations, ChangeError>>;

    fn handle(&mut self, msg: SetInsecurePorts, _ctx: &mut Self::Context) -> Self::Result {
        let writer = self.writer.clone();
        Box::pin(async move {
            let SetInsecurePorts { enabled, by } = msg;
            let work = async {
                let mut transaction = writer.begin().await;
                if transaction.state().insecure_ports == enabled {
                    return Ok(Generations::new());
                }
                transaction.apply(Change::SetInsecurePorts(enabled), &by).await
            };
            by.scope(work).await
        })
    }
}

impl Handler<GetListeners> for ListenerSupervisor {
    type Result = MessageResult<GetListeners>;

    fn handle(&mut self, _msg: GetListeners, _ctx: &mut Self::Context) -> Self::Result {
        let redirecting = !self.insecure_ports.are_enabled();
        let status = |listener: &Listener| ListenerStatus {
            name: listener.plan.name.clone(),
            address: listener.address(),
            removed: listener.gate.is_none(),
            tls: listener.plan.tls.takes_tls(),
            exposure: if redirecting && listener.plan.tls.takes_plain() {
                Exposure::Redirecting
            } else {
                Exposure::Serving
            },
            services: listener.plan.services.clone(),
            redirect_to: listener.plan.redirect_to.clone(),
            generations: listener
                .generations
                .iter()
                .map(|generation| generation.status())
                .collect(),
        };
        MessageResult(self.listeners.iter().map(status).collect())
    }
}

impl Handler<Shutdown> for ListenerSupervisor {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, msg: Shutdown, _ctx: &mut Self::Context) -> Self::Result {
        let deadline = Instant::now() + msg.timeout;
        let (mut generations, mut stopping) = (Vec::new(), Vec::new());
        for listener in &mut self.listeners {
            stopping.extend(listener.gate.take().map(Gate::stop));
            generations.extend(listener.generations.iter().cloned());
        }
        generations.iter().for_each(|generation| generation.end_websockets());
        Box::pin(async move {
            // What has been waiting in the kernel is served still.
            let stopped = futures::future::join_all(stopping);
            let _ = tokio::time::timeout_at(deadline.into(), stopped).await;
            generations.iter().filter(|g| !g.is_draining()).for_each(|g| g.drain());
            let mut look = tokio::time::interval(Duration::from_millis(50));
            loop {
                look.tick().await;
                let left: usize = generations.iter().map(|generation| generation.busy()).sum();
                if left == 0 || Instant::now() >= deadline {
                    return left;
                }
            }
        })
    }
}
