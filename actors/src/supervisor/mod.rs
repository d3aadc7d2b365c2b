//! The listeners: their sockets, their exposure and every generation that serves on them.

mod admission;
mod carried;
mod connection;
mod context;
mod generation;
mod http2;
mod messages;
mod offers;
mod places;
mod plan;
pub mod room;
mod sockets;
#[cfg(test)]
mod tests;

use std::{
    future::ready,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
    time::{Duration, Instant},
};

use actix::{
    Actor, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, MessageResult,
    ResponseFuture, Supervised, WrapFuture, fut::wrap_future,
};

use self::{
    admission::Admission, connection::OpenConnections, context::Lines, generation::Generation,
};
pub use self::{
    carried::CarriedRequest,
    connection::{Connection, HEAD_TIMEOUT, RequestInProgress, Tracked},
    context::GenerationContext,
    messages::{
        Exposure, GenerationState, GenerationStatus, GetListeners, ListenerStatus,
        SetInsecurePorts, Shutdown,
    },
    offers::TakesWebSocket,
    places::AdmissionLimits,
    plan::{Application, ContinueGate, HttpApp, ListenerApplication, ListenerPlan, Tls},
    sockets::BindError,
};
use crate::{
    change::{Change, ChangeError, Prepared, Snapshot, Undo, Writer},
    events::{EventKind, EventLog},
    handover::{GenerationNumber, Generations, Handover, HandoverError, Scope},
    metrics::{GenerationLabels, ListenerLabels, METRICS},
    request_id::RequestId,
    settings::LiveSettings,
    store::State,
    tls::TlsConfigs,
};

/// How often the supervisor looks after generations and their limits.
const SUPERVISION_INTERVAL: Duration = Duration::from_secs(1);
/// How long a listener whose new generation did not start waits for the next attempt.
const REVIVAL_PAUSE: Duration = Duration::from_secs(1);

/// Whether plain ports serve or redirect, read by every request without waiting.
#[derive(Debug, Clone)]
pub struct InsecurePorts(Arc<AtomicBool>);

impl InsecurePorts {
    pub(crate) fn new(enabled: bool) -> Self {
        Self(Arc::new(AtomicBool::new(enabled)))
    }

    #[must_use]
    pub fn are_enabled(&self) -> bool {
        self.0.load(Acquire)
    }

    fn set(&self, enabled: bool) {
        self.0.store(enabled, Release);
    }
}

impl Snapshot for InsecurePorts {
    fn prepare(
        &self,
        _serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError> {
        let (before, enabled) = (self.are_enabled(), next.insecure_ports);
        if before == enabled {
            return Ok(None);
        }
        let exposure = self.clone();
        let publish = Box::new(move || -> Undo {
            exposure.set(enabled);
            Box::new(move || exposure.set(before))
        });
        Ok(Some(Prepared { scope: Some(Scope::Plain), remark: None, publish }))
    }
}

/// A listener's socket, bound before anything else is started.
pub struct BoundListener {
    plan: Arc<ListenerPlan>,
    socket: TcpListener,
    address: SocketAddr,
}

impl BoundListener {
    /// Binds the listener's address.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(plan: ListenerPlan) -> Result<Self, BindError> {
        let socket = sockets::bind(&plan.name, plan.address)?;
        Self::adopt(plan, socket)
    }

    /// Takes a socket that listens already; the address of the plan does not matter then.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn adopt(plan: ListenerPlan, socket: TcpListener) -> Result<Self, BindError> {
        let prepared = socket.set_nonblocking(true).and_then(|()| socket.local_addr());
        match prepared {
            Ok(address) => Ok(Self { plan: Arc::new(plan), socket, address }),
            Err(err) => Err(BindError {
                listener: plan.name,
                address: plan.address,
                reason: err.to_string(),
            }),
        }
    }

    /// The address with the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn plan(&self) -> &ListenerPlan {
        &self.plan
    }
}

struct Listener {
    plan: Arc<ListenerPlan>,
    address: SocketAddr,
    /// `None` once the appliance shuts down.
    socket: Option<TcpListener>,
    /// Oldest first; the last one serves.
    generations: Vec<Generation>,
    last_number: GenerationNumber,
    lines: Arc<Lines>,
}

impl Listener {
    fn serves(&self) -> bool {
        self.generations.iter().any(|generation| !generation.is_draining())
    }

    fn serving(&mut self) -> impl Iterator<Item = &mut Generation> {
        self.generations.iter_mut().filter(|generation| !generation.is_draining())
    }
}

/// Owns the bound sockets, the exposure of plain ports and every generation.
pub struct ListenerSupervisor {
    listeners: Vec<Listener>,
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

/// The server of a generation has ended, whether it was told to or not.
#[derive(Message)]
#[rtype(result = "()")]
struct ServerEnded {
    listener: usize,
    number: GenerationNumber,
    error: Option<String>,
}

/// Starts a generation on a listener that has none which serves.
#[derive(Message)]
#[rtype(result = "()")]
struct Revive {
    listener: usize,
}

/// A generation that has started but serves beside the old one still.
struct Started {
    listener: usize,
    generation: Generation,
    server: std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>>>>,
}

impl ListenerSupervisor {
    pub(crate) fn new(
        bound: Vec<BoundListener>,
        limits: AdmissionLimits,
        application: Arc<dyn Application>,
        shared: Shared,
    ) -> Self {
        let Shared { tls, insecure_ports, writer, settings, events } = shared;
        let listeners = bound
            .into_iter()
            .map(|bound| Listener {
                plan: bound.plan,
                address: bound.address,
                socket: Some(bound.socket),
                generations: Vec::new(),
                last_number: 0,
                lines: Arc::default(),
            })
            .collect();
        let admission = Admission::new(limits);
        Self { listeners, admission, application, tls, insecure_ports, writer, settings, events }
    }

    /// What starting a generation on each listener in scope needs, taken out of the actor.
    fn launches(&self, scope: Scope) -> Vec<Launch> {
        let in_scope = |listener: &Listener| match scope {
            Scope::Tls => listener.plan.tls.takes_tls(),
            Scope::Plain => listener.plan.tls.takes_plain(),
            Scope::All => true,
        };
        self.listeners
            .iter()
            .enumerate()
            .filter(|(_, listener)| in_scope(listener))
            .filter_map(|(index, listener)| {
                Some(Launch {
                    listener: index,
                    plan: listener.plan.clone(),
                    number: listener.last_number + 1,
                    socket: listener.socket.as_ref()?.try_clone(),
                    admission: self.admission.clone(),
                    lines: listener.lines.clone(),
                })
            })
            .collect()
    }

    /// Puts started generations in place and drains what served before them.
    fn promote(
        &mut self,
        started: Vec<Started>,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) -> Generations {
        let mut numbers = Generations::new();
        for Started { listener: index, generation, server } in started {
            let listener = &mut self.listeners[index];
            let number = generation.context.number;
            listener.last_number = number;
            let name = listener.plan.name.clone();
            let started = EventKind::GenerationStarted {
                listener: name.clone(),
                generation: number,
                reason: generation.status().reason,
            };
            self.events.publish_for(request_id, started);
            let drains: Vec<_> =
                listener.serving().map(|old| (old.context.number, old.drain())).collect();
            for old in listener
                .generations
                .iter()
                .filter(|old| drains.iter().any(|(number, _)| *number == old.context.number))
            {
                let draining = EventKind::GenerationDraining {
                    listener: name.clone(),
                    generation: old.context.number,
                    connections: old.status().connections,
                };
                self.events.publish_for(request_id, draining);
            }
            listener.generations.push(generation);
            numbers.insert(name, number);
            for (old, drain) in drains {
                ctx.spawn(
                    drain
                        .into_actor(self)
                        .map(move |(), act, _| act.forget(index, old, request_id)),
                );
            }
            // Not in the context of the actor, which waits during a handover.
            let supervisor = ctx.address();
            actix::spawn(async move {
                let error = server.await.err().map(|err| err.to_string());
                supervisor.do_send(ServerEnded { listener: index, number, error });
            });
        }
        self.enforce_limits();
        self.count_generations();
        numbers
    }

    fn forget(&mut self, listener: usize, number: GenerationNumber, request_id: Option<RequestId>) {
        let listener = &mut self.listeners[listener];
        listener.generations.retain(|generation| generation.context.number != number);
        log::debug!("listener {}: generation {number} drained", listener.plan.name);
        let name = listener.plan.name.clone();
        let labels = ListenerLabels { listener: name.as_str().into() };
        METRICS.generations_ended.get_or_create(&labels).inc();
        let ended = EventKind::GenerationEnded { listener: name, generation: number };
        self.events.publish_for(request_id, ended);
        self.count_generations();
    }

    /// Starts a generation on a listener that has none which serves.
    fn revive(&mut self, index: usize) -> AtomicResponse<Self, ()> {
        let launches: Vec<_> = self
            .launches(Scope::All)
            .into_iter()
            .filter(|launch| launch.listener == index && !self.listeners[index].serves())
            .collect();
        let reason = "the one before it failed".to_owned();
        let started = start_all(launches, reason, self.application.clone(), self.tls.clone());
        let revived = started.into_actor(self).map(move |started, act, ctx| match started {
            Ok(started) => drop(act.promote(started, None, ctx)),
            Err(err) => {
                let reason = &err.source;
                log::error!("{err}: {reason}; trying again in {} s", REVIVAL_PAUSE.as_secs());
                ctx.notify_later(Revive { listener: index }, REVIVAL_PAUSE);
            }
        });
        AtomicResponse::new(Box::pin(revived))
    }

    fn count_generations(&self) {
        for listener in &self.listeners {
            let draining = listener.generations.iter().filter(|g| g.is_draining()).count();
            let serving = listener.generations.len() - draining;
            for (state, count) in [("serving", serving), ("draining", draining)] {
                let labels =
                    GenerationLabels { listener: listener.plan.name.as_str().into(), state };
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                METRICS.generations.get_or_create(&labels).set(count);
            }
        }
    }

    /// Ends generations that have drained for too long or that are too many.
    fn enforce_limits(&self) {
        let limits = self.settings.current().drain_limits();
        for listener in &self.listeners {
            let draining: Vec<_> = listener
                .generations
                .iter()
                .filter(|g| g.is_draining() && !g.has_ended() && g.carries())
                .collect();
            let surplus = draining.len().saturating_sub(limits.max_draining);
            for (index, generation) in draining.into_iter().enumerate() {
                let over_time = generation
                    .draining_since
                    .is_some_and(|since| since.elapsed() > limits.drain_timeout);
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
}

struct Launch {
    listener: usize,
    plan: Arc<ListenerPlan>,
    number: GenerationNumber,
    socket: std::io::Result<TcpListener>,
    admission: Arc<Admission>,
    lines: Arc<Lines>,
}

/// Starts all of them or none.
async fn start_all(
    launches: Vec<Launch>,
    reason: String,
    application: Arc<dyn Application>,
    tls: Arc<TlsConfigs>,
) -> Result<Vec<Started>, HandoverError> {
    let mut started = Vec::with_capacity(launches.len());
    for launch in launches {
        let name = launch.plan.name.clone();
        let begun = async {
            let socket = launch.socket?;
            Generation::start(
                launch.plan,
                launch.number,
                reason.clone(),
                socket,
                (&launch.admission, launch.lines),
                &application,
                tls.clone(),
            )
            .await
        };
        // Dropping the servers that did start stops them; the old ones were not touched.
        let (generation, server) =
            begun.await.map_err(|source| HandoverError { listener: name, source })?;
        started.push(Started { listener: launch.listener, generation, server: Box::pin(server) });
    }
    Ok(started)
}

impl Actor for ListenerSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(SUPERVISION_INTERVAL, |act, _| {
            act.enforce_limits();
            for generation in act.listeners.iter().flat_map(|listener| &listener.generations) {
                generation.tend();
            }
        });
    }
}

impl Supervised for ListenerSupervisor {
    /// The generations serve on. What looked after them is begun again.
    fn restarting(&mut self, ctx: &mut Self::Context) {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let draining = listener.generations.iter_mut().filter(|old| old.is_draining());
            let drains: Vec<_> = draining.map(|old| (old.context.number, old.drain())).collect();
            for (number, drain) in drains {
                let drained = wrap_future::<_, Self>(drain);
                ctx.spawn(drained.map(move |(), act, _| act.forget(index, number, None)));
            }
            ctx.notify(Revive { listener: index });
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
        let id = msg.request_id;
        let started = start_all(
            self.launches(msg.scope),
            msg.reason,
            self.application.clone(),
            self.tls.clone(),
        );
        let started = async move {
            match id {
                Some(id) => id.scope(started).await,
                None => started.await,
            }
        };
        let promoted = started
            .into_actor(self)
            .map(move |started, act, ctx| Ok(act.promote(started?, id, ctx)));
        AtomicResponse::new(Box::pin(promoted))
    }
}

impl Handler<ServerEnded> for ListenerSupervisor {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, msg: ServerEnded, _ctx: &mut Self::Context) -> Self::Result {
        let listener = &mut self.listeners[msg.listener];
        let failed = listener.serving().any(|generation| generation.context.number == msg.number);
        if !failed || listener.socket.is_none() {
            return AtomicResponse::new(Box::pin(ready(()).into_actor(self)));
        }
        log::error!(
            "listener {}: generation {} has failed: {}",
            listener.plan.name,
            msg.number,
            msg.error.as_deref().unwrap_or("its server ended"),
        );
        // From here on `readyz` and `health` say that nothing serves.
        self.forget(msg.listener, msg.number, None);
        self.revive(msg.listener)
    }
}

impl Handler<Revive> for ListenerSupervisor {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, msg: Revive, _ctx: &mut Self::Context) -> Self::Result {
        self.revive(msg.listener)
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
            address: listener.address,
            tls: listener.plan.tls.takes_tls(),
            exposure: if redirecting && listener.plan.tls.takes_plain() {
                Exposure::Redirecting
            } else {
                Exposure::Serving
            },
            services: listener.plan.services.clone(),
            redirect_to: listener.plan.redirect_to.clone(),
            generations: listener.generations.iter().map(Generation::status).collect(),
        };
        MessageResult(self.listeners.iter().map(status).collect())
    }
}

impl Handler<Shutdown> for ListenerSupervisor {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, msg: Shutdown, _ctx: &mut Self::Context) -> Self::Result {
        let deadline = Instant::now() + msg.timeout;
        let mut drains = Vec::new();
        let mut open: Vec<Arc<OpenConnections>> = Vec::new();
        for listener in &mut self.listeners {
            listener.socket = None;
            drains.extend(listener.serving().map(Generation::drain));
            for generation in &listener.generations {
                generation.end_websockets();
                open.push(generation.open.clone());
            }
        }
        Box::pin(async move {
            drains.into_iter().for_each(|drain| {
                actix::spawn(drain);
            });
            // What the accept threads took last has to reach a worker before it can be counted.
            tokio::time::sleep(generation::PAUSE_GRACE * 2).await;
            let mut look = tokio::time::interval(Duration::from_millis(50));
            loop {
                look.tick().await;
                let left: usize = open.iter().map(|open| open.busy()).sum();
                if left == 0 || Instant::now() >= deadline {
                    return left;
                }
            }
        })
    }
}
