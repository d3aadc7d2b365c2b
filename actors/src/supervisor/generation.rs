//! One generation of a listener: an actix server on a clone of the listening socket.
//!
//! `LIFECYCLE.md` tells the whole life.

use std::{
    collections::HashMap,
    future::{poll_fn, ready},
    io,
    net::TcpListener,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::{Duration, Instant},
};

use actix_http::{
    HttpService, KeepAlive, Request, Response,
    body::BoxBody,
    error::{DispatchError, ParseError},
};
use actix_rt::net::TcpStream;
use actix_server::{Server, ServerHandle};
use actix_service::{Service, ServiceFactory, boxed, fn_factory, fn_service};
use futures::FutureExt;
use time::OffsetDateTime;
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken};

use super::{
    admission::Admission,
    carried::CarriedRequests,
    connection::{Connection, HEAD_TIMEOUT, Registered, Socket, Tracked},
    http2,
    messages::{GenerationState, GenerationStatus},
    offers::{Http1, TakesWebSocket},
    room,
};
use crate::{
    blocking::NotDone,
    bounds::Full,
    handover::GenerationNumber,
    metrics::{
        ConnectionLabels, HandshakeLabels, ListenerInstruments, METRICS, MalformedLabels,
        RefusedLabels,
    },
    now_and_then::NowAndThen,
    pulse::Pulse,
    tls::TlsConfigs,
};

/// The content type that a TLS connection begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an idle keep-alive connection is kept.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a connection may linger so that the client can read an early answer to its upload.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After `pause` the accept thread may still hand over connections for an instant, and a worker
/// that is stopped drops what it was handed but has not begun.
pub(super) const PAUSE_GRACE: Duration = Duration::from_millis(200);
/// How often the connections of a generation are looked after.
const TEND_INTERVAL: Duration = Duration::from_millis(250);
/// How long WebSockets have to close after they were told that their generation ends.
const CUT_GRACE: Duration = Duration::from_secs(3);
/// The actix timeout that cuts without telling anybody; the supervisor ends generations earlier.
const ACTIX_SHUTDOWN_TIMEOUT_SECS: u64 = 10 * 365 * 24 * 3600;
/// Connections that wait for a worker or are with it.
const MOST_PER_WORKER: usize = 25_000;
/// How often a listener tells what strangers do to it.
const LINE_INTERVAL: Duration = Duration::from_secs(10);
/// Bytes that the kernel holds for a client before it has sent them. With more, a client that
/// takes a megabyte in minutes looks like one that takes nothing, and each that does costs the
/// kernel megabytes.
const UNSENT_BYTES: u32 = 128 << 10;
/// Descriptors of one worker's runtime while it starts, and of an accept thread.
const DESCRIPTORS_OF_THREAD: usize = 6;
/// Blocking threads of one worker's runtime; they are started when needed.
const BLOCKING_THREADS: usize = 8;

/// What answers the requests of a listener, made once a worker.
pub type HttpApp = boxed::BoxServiceFactory<(), Request, Response<BoxBody>, Response<BoxBody>, ()>;

/// What judges a request that waits for `100 Continue` before it sends its body; made once a
/// worker. It gives the request back, or the answer that is sent instead.
pub type ContinueGate = boxed::BoxServiceFactory<(), Request, Request, Response<BoxBody>, ()>;

/// The routes, as the supervisor needs them: it never learns what they are.
pub trait Application: Send + Sync + 'static {
    fn app(&self, listener: &ListenerPlan) -> HttpApp;
    fn continue_gate(&self, listener: &ListenerPlan) -> ContinueGate;
    /// Which paths take WebSockets: on all others the offer of one is no more than a request.
    fn takes_websocket(&self, listener: &ListenerPlan) -> TakesWebSocket;
}

/// What a listener is and stays for the life of the process.
#[derive(Debug, Clone)]
pub struct ListenerPlan {
    pub name: String,
    /// As configured; the port may be 0.
    pub address: std::net::SocketAddr,
    pub tls: Tls,
    /// Whether `h2` is offered in ALPN.
    pub http2: bool,
    /// The names of the services, in the order of the configuration.
    pub services: Vec<String>,
    /// The TLS listener where requests go while plain ports are off.
    pub redirect_to: Option<String>,
    /// The port that redirects to `redirect_to` name where it is another one outside.
    pub redirect_port: Option<u16>,
    /// Whether the administration is behind it, so that it keeps a share of the connections.
    pub administration: bool,
    /// Threads that serve it.
    pub workers: usize,
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// Plain HTTP only: it redirects while plain ports are off.
    Off,
    /// TLS only.
    On,
    /// Both on one port, told apart by the first byte; the plain side redirects while plain ports
    /// are off.
    Auto,
}

impl Tls {
    #[must_use]
    pub fn takes_tls(self) -> bool {
        matches!(self, Self::On | Self::Auto)
    }

    #[must_use]
    pub fn takes_plain(self) -> bool {
        matches!(self, Self::Off | Self::Auto)
    }
}

/// Log lines of a listener that strangers can bring about.
#[derive(Debug)]
pub(super) struct Lines {
    malformed: NowAndThen,
    refused: NowAndThen,
    stalled: NowAndThen,
    broken: NowAndThen,
}

impl Default for Lines {
    fn default() -> Self {
        let line = || NowAndThen::each(LINE_INTERVAL);
        Self { malformed: line(), refused: line(), stalled: line(), broken: line() }
    }
}

/// What the connections of one generation share.
#[derive(Debug)]
pub struct GenerationContext {
    pub listener: Arc<ListenerPlan>,
    pub number: GenerationNumber,
    pub(super) admission: Arc<Admission>,
    lines: Arc<Lines>,
    pub(super) requests: AtomicUsize,
    pub(super) websockets: AtomicUsize,
    pub(super) requests_total: AtomicU64,
    pub(super) carried: CarriedRequests,
    pub(super) instruments: ListenerInstruments,
    /// A newer generation serves: answers ask clients to come back on another connection.
    retired: AtomicBool,
    /// Cancelled when nothing more is accepted here and idle connections are to close.
    drain: CancellationToken,
    /// Cancelled when WebSockets must close.
    websockets_end: CancellationToken,
    /// When everything that is left is cut.
    cut_at: OnceLock<Instant>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
}

impl GenerationContext {
    fn new(
        listener: Arc<ListenerPlan>,
        number: GenerationNumber,
        admission: Arc<Admission>,
        lines: Arc<Lines>,
    ) -> Self {
        Self {
            admission,
            lines,
            instruments: ListenerInstruments::of(&listener.name),
            listener,
            number,
            requests: AtomicUsize::new(0),
            websockets: AtomicUsize::new(0),
            requests_total: AtomicU64::new(0),
            carried: CarriedRequests::default(),
            retired: AtomicBool::new(false),
            drain: CancellationToken::new(),
            websockets_end: CancellationToken::new(),
            cut_at: OnceLock::new(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(0),
        }
    }

    /// Whether a newer generation serves.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    /// Whether idle connections are to close.
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

    fn connections<T>(&self, work: impl FnOnce(&mut HashMap<u64, Arc<Connection>>) -> T) -> T {
        work(&mut self.connections.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a connection up; `None`: there is no room for it, which was counted.
    fn register(self: &Arc<Self>, peer: std::net::SocketAddr) -> Option<Registered> {
        let place = match self.admission.admit(peer.ip().into(), self.listener.administration) {
            Ok(place) => place,
            Err(full) => {
                self.refused(peer, "connection", full);
                return None;
            }
        };
        let id = self.next_id.fetch_add(1, Relaxed);
        let connection = Arc::new(Connection::new(id, peer, self.clone(), place));
        self.connections(|all| all.insert(id, connection.clone()));
        self.instruments.connection_opened();
        Some(Registered::new(connection))
    }

    pub(super) fn forget(&self, id: u64) {
        if let Some(connection) = self.connections(|all| all.remove(&id)) {
            connection.leave_place();
            self.instruments.connection_closed();
        }
    }

    /// Calls `look` with each open connection. It must not end one, nor wait.
    pub(super) fn each_open(&self, mut look: impl FnMut(&Arc<Connection>)) {
        self.connections(|all| all.values().for_each(&mut look));
    }

    /// Counts a connection or stream for which there is no room, and tells it now and then.
    pub(super) fn refused(&self, peer: std::net::SocketAddr, what: &'static str, full: Full) {
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
    pub(super) fn stalled(&self, connection: &Connection, what: &'static str) {
        let listener = self.listener.name.as_str();
        let labels = ConnectionLabels { listener: listener.into(), what };
        METRICS.stalled.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.stalled.due() {
            log::info!(
                "listener {listener}: a {what} of {} is cut: it took nothing for {} s{left_out}",
                connection.peer(),
                self.admission.write_timeout().as_secs(),
            );
        }
    }

    /// Counts what is not the protocol that it should be, and tells it now and then.
    pub(super) fn malformed(
        &self,
        connection: &Connection,
        protocol: &'static str,
        err: &dyn std::fmt::Display,
    ) {
        let protocol = if connection.began_as_proxy() { "PROXY" } else { protocol };
        let listener = self.listener.name.as_str();
        let labels = MalformedLabels { listener: listener.into(), protocol };
        METRICS.malformed.get_or_create(&labels).inc();
        if let Some(left_out) = self.lines.malformed.due() {
            let what = match protocol {
                "PROXY" => "the PROXY protocol, which is not spoken here".to_owned(),
                protocol => format!("malformed {protocol}: {err}"),
            };
            let peer = connection.peer();
            log::info!("listener {listener}: {peer} sent {what}{left_out}");
        }
    }

    /// Tells now and then that an answer could not be given whole.
    pub(super) fn broke_off(&self, peer: std::net::SocketAddr, err: &dyn std::fmt::Display) {
        if let Some(left_out) = self.lines.broken.due() {
            let listener = &self.listener.name;
            log::warn!("listener {listener}: an answer to {peer} broke off: {err}{left_out}");
        }
    }

    fn each(&self, work: impl Fn(&Connection)) {
        let all: Vec<_> = self.connections(|all| all.values().cloned().collect());
        all.iter().for_each(|connection| work(connection));
    }

    /// How many connections would be cut in their work if the process ended now.
    pub(super) fn busy(&self) -> usize {
        self.connections(|all| all.values().filter(|connection| connection.is_busy()).count())
    }

    fn carried(&self) -> usize {
        self.connections(|all| all.len())
    }
}

/// A running generation, as the supervisor holds it.
pub(super) struct Generation {
    pub(super) context: Arc<GenerationContext>,
    since: OffsetDateTime,
    pub(super) draining_since: Option<Instant>,
    reason: String,
    handle: ServerHandle,
}

impl Generation {
    /// Starts serving `socket`; resolves once connections are accepted. The future that comes
    /// with it runs the server and must be polled to its end.
    pub(super) async fn start(
        listener: Arc<ListenerPlan>,
        number: GenerationNumber,
        reason: String,
        socket: TcpListener,
        shared: (&Arc<Admission>, Arc<Lines>),
        application: &Arc<dyn Application>,
        tls: Arc<TlsConfigs>,
    ) -> io::Result<(Self, impl Future<Output = io::Result<()>> + use<>)> {
        // A worker that cannot have what it needs panics, so look first.
        let threads = listener.workers + 1;
        room::check(threads * DESCRIPTORS_OF_THREAD, threads)?;
        let (admission, lines) = shared;
        let context = Arc::new(GenerationContext::new(listener, number, admission.clone(), lines));
        admission.watch(&context);
        let server = build_server(&context, socket, application.clone(), tls)?;
        let handle = server.handle();
        let mut server = Box::pin(server);
        // The first poll starts the workers and the accept thread, and fails if they cannot.
        let first = AssertUnwindSafe(async { futures::poll!(&mut server) }).catch_unwind().await;
        let first = first.map_err(|_| io::Error::other(NotDone::NoThread))?;
        if let Poll::Ready(ended) = first {
            ended?;
            return Err(io::Error::other("the server ended at once"));
        }
        let generation = Self {
            context,
            since: OffsetDateTime::now_utc(),
            draining_since: None,
            reason,
            handle,
        };
        Ok((generation, server))
    }

    /// Lets go of new connections and waits until the old ones have ended by themselves, or were
    /// told to by [`Self::end`].
    pub(super) fn drain(&mut self) -> impl Future<Output = ()> + use<> {
        self.draining_since.get_or_insert_with(Instant::now);
        // At once, so that the very request that brought the change does not keep its connection.
        self.context.retired.store(true, Relaxed);
        let (context, handle) = (self.context.clone(), self.handle.clone());
        async move {
            handle.pause().await;
            tokio::time::sleep(PAUSE_GRACE).await;
            context.drain.cancel();
            context.each(Connection::tend);
            let mut stopped = std::pin::pin!(handle.stop(true));
            let mut tend = tokio::time::interval(TEND_INTERVAL);
            loop {
                tokio::select! {
                    () = &mut stopped => return,
                    _ = tend.tick() => {}
                }
                context.each(Connection::tend);
                if context.cut_at.get().is_some_and(|at| Instant::now() >= *at) {
                    context.each(Connection::cut);
                }
            }
        }
    }

    /// Looks after the connections of a generation that serves.
    pub(super) fn tend(&self) {
        if !self.context.is_draining() {
            self.context.each(Connection::tend);
        }
    }

    /// Tells WebSockets to close with 1012, service restart.
    pub(super) fn end_websockets(&self) {
        self.context.websockets_end.cancel();
    }

    /// Tells WebSockets to close; what is left a little later is cut.
    pub(super) fn end(&self) {
        let _ = self.context.cut_at.set(Instant::now() + CUT_GRACE);
        self.end_websockets();
    }

    /// Whether [`Self::end`] was called.
    pub(super) fn has_ended(&self) -> bool {
        self.context.cut_at.get().is_some()
    }

    /// Ends its server without draining, as a failure would.
    #[cfg(test)]
    pub(super) fn fail(&self) -> impl Future<Output = ()> + use<> {
        self.handle.stop(false)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining_since.is_some()
    }

    /// Whether it still carries a connection.
    pub(super) fn carries(&self) -> bool {
        self.context.carried() > 0
    }

    pub(super) fn status(&self) -> GenerationStatus {
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
            connections: self.context.carried(),
            requests_in_progress: self.context.requests.load(Relaxed),
            websockets: self.context.websockets.load(Relaxed),
            requests_total: self.context.requests_total.load(Relaxed),
            carried,
            carried_left_out,
        }
    }
}

fn build_server(
    context: &Arc<GenerationContext>,
    socket: TcpListener,
    application: Arc<dyn Application>,
    tls: Arc<TlsConfigs>,
) -> io::Result<Server> {
    let plan = context.listener.clone();
    let name = format!("{}-{}", plan.name, context.number);
    let builder = Server::build()
        .workers(plan.workers)
        // What a connection may cost is decided by `Admission`, over all workers.
        .max_concurrent_connections(MOST_PER_WORKER)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .shutdown_timeout(ACTIX_SHUTDOWN_TIMEOUT_SECS)
        .disable_signals();
    let context = context.clone();
    let server = builder.listen(name, socket, move || {
        let (context, tls) = (context.clone(), tls.clone());
        let (application, plan) = (application.clone(), plan.clone());
        fn_factory(move || worker(application.clone(), plan.clone(), context.clone(), tls.clone()))
    })?;
    Ok(server.run())
}

/// What one worker thread does with accepted connections.
async fn worker(
    application: Arc<dyn Application>,
    plan: Arc<ListenerPlan>,
    context: Arc<GenerationContext>,
    tls: Arc<TlsConfigs>,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    let app = Rc::new(application.app(&plan).new_service(()).await?);
    let shared = app.clone();
    let http1 = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .expect(application.continue_gate(&plan))
        .on_connect_ext(|stream: &Http1<Tracked<Stream>>, extensions| {
            extensions.insert(stream.get_ref().connection().clone());
        })
        .h1(fn_factory(move || ready(Ok::<_, ()>(shared.clone()))))
        .new_service(())
        .await?;
    let http1 = Rc::new(http1);
    let takes_websocket = application.takes_websocket(&plan);
    // Lives as long as the service, which its worker drops at its end.
    let pulse = Rc::new(Pulse::of(format!("a worker of listener {}", plan.name)));
    Ok(fn_service(move |stream: TcpStream| {
        let _watched = &pulse;
        let (context, tls) = (context.clone(), tls.clone());
        let (app, http1) = (app.clone(), http1.clone());
        let takes_websocket = takes_websocket.clone();
        async move {
            let (stream, http2) = accept(stream, &context, &tls).await.ok_or(())?;
            if http2 {
                http2::serve(stream, app).await;
                return Ok(());
            }
            let connection = stream.connection().clone();
            let peer = connection.peer();
            let stream = Http1::new(stream, takes_websocket);
            http1.call((stream, Some(peer))).await.map_err(|err| match err {
                DispatchError::Parse(err) if !matches!(err, ParseError::Io(_)) => {
                    context.malformed(&connection, "HTTP/1", &err);
                }
                DispatchError::Body(err) => context.broke_off(peer, &err),
                err => log::debug!("HTTP/1 connection of {peer} ended: {err}"),
            })
        }
    }))
}

/// A connection with TLS or without.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// Makes an accepted connection ready for HTTP and tells whether it speaks HTTP/2. `None`: it
/// ended, which was logged.
async fn accept(
    stream: TcpStream,
    context: &Arc<GenerationContext>,
    tls: &TlsConfigs,
) -> Option<(Tracked<Stream>, bool)> {
    let peer = prepare(&stream)?;
    let registered = context.register(peer)?;
    let connection = registered.connection.clone();
    let handshake = async {
        let secure = speaks_tls(&stream, context.listener.tls).await?;
        let stream = Socket::new(stream, connection.clone());
        if !secure {
            return Ok(Either::Left(stream));
        }
        // Taken at this instant: a replaced certificate is never shown again, by no generation.
        let acceptor = TlsAcceptor::from(tls.current(context.listener.http2));
        acceptor.accept(stream).await.map(|stream| Either::Right(Box::new(stream)))
    };
    let name = &context.listener.name;
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => shaken,
        () = poll_fn(|cx| connection.poll_lost_place(cx)) => return None,
    };
    let stream: Stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => {
            count_handshake(name, None, "failed");
            if is_malformed(&err) {
                context.malformed(&connection, "TLS", &err);
            }
            log::debug!("{name}: TLS handshake with {peer} failed: {err}");
            return None;
        }
        Err(_) => {
            count_handshake(name, None, "late");
            log::debug!("{name}: TLS handshake with {peer} took too long");
            return None;
        }
    };
    let mut http2 = false;
    if let Either::Right(stream) = &stream {
        registered.connection.set_secure();
        let session = stream.get_ref().1;
        http2 = session.alpn_protocol() == Some(b"h2");
        let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        count_handshake(name, Some(session), if resumed { "resumed" } else { "full" });
    }
    if http2 {
        registered.connection.set_http2();
    }
    Some((Tracked::new(stream, registered), http2))
}

fn count_handshake(
    listener: &str,
    session: Option<&rustls::ServerConnection>,
    outcome: &'static str,
) {
    let version = match session.and_then(|session| session.protocol_version()) {
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        _ => "none",
    };
    let suite = session.and_then(|session| session.negotiated_cipher_suite());
    // rustls puts the version into the names of TLS 1.3; IANA does not.
    let iana = |name: &str| name.replacen("TLS13_", "TLS_", 1);
    let suite = suite
        .map_or_else(|| "none".into(), |suite| iana(suite.suite().as_str().unwrap_or("other")));
    let labels = HandshakeLabels { listener: listener.into(), version, suite, outcome };
    METRICS.tls_handshakes.get_or_create(&labels).inc();
}

async fn speaks_tls(stream: &TcpStream, tls: Tls) -> io::Result<bool> {
    match tls {
        Tls::Off => Ok(false),
        Tls::On => Ok(true),
        Tls::Auto => {
            let mut first = [0];
            Ok(stream.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE)
        }
    }
}

/// Whether a handshake failed because what came was no TLS, rather than TLS that does not suit.
fn is_malformed(err: &io::Error) -> bool {
    let err = err.get_ref().and_then(|err| err.downcast_ref::<rustls::Error>());
    matches!(
        err,
        Some(
            rustls::Error::InvalidMessage(_)
                | rustls::Error::InappropriateMessage { .. }
                | rustls::Error::InappropriateHandshakeMessage { .. }
                | rustls::Error::PeerMisbehaved(_)
                | rustls::Error::PeerSentOversizedRecord
                | rustls::Error::DecryptError
        )
    )
}

fn prepare(stream: &TcpStream) -> Option<std::net::SocketAddr> {
    // These fail only if the client has gone already.
    stream.set_nodelay(true).ok()?;
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES).ok()?;
    stream.peer_addr().ok()
}
