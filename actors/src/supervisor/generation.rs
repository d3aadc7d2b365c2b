//! One generation of a listener: an actix server on a clone of the listening socket.
//!
//! `LIFECYCLE.md` describes its whole life.

use std::{
    future::{poll_fn, ready},
    io,
    net::TcpListener,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::{Duration, Instant},
};

use actix_http::{
    HttpService, KeepAlive,
    error::{DispatchError, ParseError},
};
use actix_rt::net::TcpStream;
use actix_server::{Server, ServerHandle};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use futures::FutureExt;
use time::OffsetDateTime;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::{
    admission::Admission,
    connection::{
        Connection, HEAD_TIMEOUT, KEEP_ALIVE, OpenConnections, Registered, Socket, Stream, Tracked,
    },
    context::{GenerationContext, Lines},
    http2,
    messages::{GenerationState, GenerationStatus},
    offers::Http1,
    plan::{Application, ListenerApplication, ListenerPlan, Tls},
    room,
};
use crate::{
    blocking::NotDone,
    handover::GenerationNumber,
    metrics::{HandshakeLabels, METRICS},
    pulse::Pulse,
    tls::TlsConfigs,
};

/// The content type that a TLS connection begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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
/// Bytes that the kernel holds for a client before it has sent them. With more, a client that
/// takes a megabyte in minutes looks like one that takes nothing, and each that does costs the
/// kernel megabytes.
const UNSENT_BYTES: u32 = 128 << 10;
/// Descriptors of one worker's runtime while it starts, and of an accept thread.
const DESCRIPTORS_OF_THREAD: usize = 6;
/// Blocking threads of one worker's runtime; they are started when needed.
const BLOCKING_THREADS: usize = 8;

/// A running generation, as the supervisor holds it.
pub(super) struct Generation {
    pub(super) context: Arc<GenerationContext>,
    pub(super) open: Arc<OpenConnections>,
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
        let places = admission.places().clone();
        let application = application.on(&listener);
        let administers = application.administers();
        let context = GenerationContext::new(listener, number, administers, places, lines);
        let context = Arc::new(context);
        let open = Arc::<OpenConnections>::default();
        admission.watch(&open);
        let http2 = application.offers_http2();
        let entrance = Entrance { context, open, admission: admission.clone(), tls, http2 };
        let server = build_server(&entrance, socket, application)?;
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
            context: entrance.context,
            open: entrance.open,
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
        let (context, open) = (self.context.clone(), self.open.clone());
        let handle = self.handle.clone();
        async move {
            handle.pause().await;
            tokio::time::sleep(PAUSE_GRACE).await;
            context.drain.cancel();
            open.each(Connection::tend);
            let mut stopped = std::pin::pin!(handle.stop(true));
            let mut tend = tokio::time::interval(TEND_INTERVAL);
            loop {
                tokio::select! {
                    () = &mut stopped => return,
                    _ = tend.tick() => {}
                }
                open.each(Connection::tend);
                if context.cut_at.get().is_some_and(|at| Instant::now() >= *at) {
                    open.each(Connection::cut);
                }
            }
        }
    }

    /// Looks after the connections of a generation that serves.
    pub(super) fn tend(&self) {
        if !self.context.is_draining() {
            self.open.each(Connection::tend);
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
        self.open.count() > 0
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
            connections: self.open.count(),
            requests_in_progress: self.context.requests.load(Relaxed),
            websockets: self.context.websockets.load(Relaxed),
            requests_total: self.context.requests_total.load(Relaxed),
            carried,
            carried_left_out,
        }
    }
}

/// What every connection of a generation passes as it comes in.
#[derive(Clone)]
struct Entrance {
    context: Arc<GenerationContext>,
    open: Arc<OpenConnections>,
    admission: Arc<Admission>,
    tls: Arc<TlsConfigs>,
    /// Whether `h2` is offered in ALPN.
    http2: bool,
}

impl Entrance {
    /// Takes a connection up; `None`: there is no room for it, which was counted.
    fn register(&self, peer: std::net::SocketAddr) -> Option<Registered> {
        let administration = self.context.administers;
        match self.admission.admit(peer.ip().into(), administration) {
            Ok(place) => Some(self.open.add(peer, self.context.clone(), place)),
            Err(full) => {
                self.context.refused(peer, "connection", full);
                None
            }
        }
    }
}

fn build_server(
    entrance: &Entrance,
    socket: TcpListener,
    application: Arc<dyn ListenerApplication>,
) -> io::Result<Server> {
    let plan = entrance.context.listener.clone();
    let name = format!("{}-{}", plan.name, entrance.context.number);
    let builder = Server::build()
        .workers(plan.workers)
        // What a connection may cost is decided by `Admission`, over all workers.
        .max_concurrent_connections(MOST_PER_WORKER)
        .worker_max_blocking_threads(BLOCKING_THREADS)
        .shutdown_timeout(ACTIX_SHUTDOWN_TIMEOUT_SECS)
        .disable_signals();
    let entrance = entrance.clone();
    let server = builder.listen(name, socket, move || {
        let (application, entrance) = (application.clone(), entrance.clone());
        fn_factory(move || worker(application.clone(), entrance.clone()))
    })?;
    Ok(server.run())
}

/// What one worker thread does with accepted connections.
async fn worker(
    application: Arc<dyn ListenerApplication>,
    entrance: Entrance,
) -> Result<impl Service<TcpStream, Response = (), Error = ()>, ()> {
    let plan = entrance.context.listener.clone();
    let app = Rc::new(application.app().new_service(()).await?);
    let shared = app.clone();
    let http1 = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .expect(application.continue_gate())
        .on_connect_ext(|stream: &Http1<Tracked<Stream>>, extensions| {
            extensions.insert(stream.get_ref().connection().clone());
        })
        .h1(fn_factory(move || ready(Ok::<_, ()>(shared.clone()))))
        .new_service(())
        .await?;
    let http1 = Rc::new(http1);
    let takes_websocket = application.takes_websocket();
    // Lives as long as the service, which its worker drops at its end.
    let pulse = Rc::new(Pulse::of(format!("a worker of listener {}", plan.name)));
    Ok(fn_service(move |stream: TcpStream| {
        let _watched = &pulse;
        let entrance = entrance.clone();
        let (app, http1) = (app.clone(), http1.clone());
        let takes_websocket = takes_websocket.clone();
        async move {
            let (stream, http2) = accept(stream, &entrance).await.ok_or(())?;
            if http2 {
                http2::serve(stream, app).await;
                return Ok(());
            }
            let connection = stream.connection().clone();
            let peer = connection.peer();
            let stream = Http1::new(stream, takes_websocket);
            http1.call((stream, Some(peer))).await.map_err(|err| match err {
                DispatchError::Parse(err) if !matches!(err, ParseError::Io(_)) => {
                    connection.malformed("HTTP/1", &err);
                }
                DispatchError::Body(err) => connection.generation().broke_off(peer, &err),
                err => log::debug!("HTTP/1 connection of {peer} ended: {err}"),
            })
        }
    }))
}

/// Makes an accepted connection ready for HTTP and tells whether it speaks HTTP/2. `None`: it
/// ended, which was logged.
async fn accept(stream: TcpStream, entrance: &Entrance) -> Option<(Tracked<Stream>, bool)> {
    let peer = prepare(&stream)?;
    let registered = entrance.register(peer)?;
    let plan = &entrance.context.listener;
    let connection = registered.connection.clone();
    let handshake = async {
        let secure = speaks_tls(&stream, plan.tls).await?;
        let stream = Socket::new(stream, connection.clone());
        if !secure {
            return Ok(Either::Left(stream));
        }
        // Taken at this instant: a replaced certificate is never shown again, by no generation.
        let acceptor = TlsAcceptor::from(entrance.tls.current(entrance.http2));
        acceptor.accept(stream).await.map(|stream| Either::Right(Box::new(stream)))
    };
    let name = &plan.name;
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => shaken,
        () = poll_fn(|cx| connection.poll_lost_place(cx)) => return None,
    };
    let stream: Stream = match shaken {
        Ok(Ok(stream)) => stream,
        Ok(Err(err)) => {
            count_handshake(name, None, "failed");
            if is_malformed(&err) {
                connection.malformed("TLS", &err);
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
