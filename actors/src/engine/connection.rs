//! One accepted connection: what it carries, and how it is talked into ending.
//!
//! actix-http cannot be told to let go of one connection, so the stream under it is ours:
//! [`Tracked`] counts, and answers a read with end-of-file once the connection is to close and
//! nothing is left to read. A request that arrives in that very moment is still read, answered
//! and not lost.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU8, AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_rt::net::TcpStream;
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_util::{either::Either, sync::CancellationToken};

use super::{carried::EntryId, context::GenerationContext, load::Carried, places::Admitted};
use crate::bounds::Client;

/// How long a client may take to send one request head, or to begin its first one while its
/// generation drains.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an idle keep-alive connection is kept.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// How long a connection may linger so that the client can read an early answer to its upload, and
/// how long it may take to close.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a connection that has not sent anything yet may go on doing so while it drains.
const FRESH_GRACE: Duration = Duration::from_secs(5);

/// How much longer than `write_timeout` a session waits for a peer that acknowledges nothing.
const VANISHED_AFTER: Duration = Duration::from_secs(10);

/// How long nothing has come or gone on a draining connection before it is closed as idle.
const SETTLED: Duration = Duration::from_millis(200);

/// How long after its last byte an answer counts as still on its way.
const QUIET: Duration = Duration::from_millis(500);

/// How proxies that were told to announce the client begin (the PROXY protocol, versions 1 and 2).
const PROXY_PREAMBLES: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

const HTTP1: u8 = 0;
const HTTP2: u8 = 1;

/// HTTP is spoken.
const AWAKE: u8 = 0;
/// Nothing is in progress: what speaks HTTP may go as soon as it asks for more.
const TIRED: u8 = 1;
/// What speaks HTTP was told that nothing more comes.
const RESTING: u8 = 2;
/// How long nothing has come or gone on a connection before it rests. Buffers that are given back
/// so soon leave no holes in the heap.
const REST_AFTER: Duration = Duration::from_millis(50);

/// One accepted connection, as its requests and the supervisor see it.
#[derive(Debug)]
pub struct Connection {
    id: u64,
    peer: SocketAddr,
    generation: Arc<GenerationContext>,
    accepted: Instant,
    protocol: AtomicU8,
    secure: AtomicBool,
    /// Requests begun and not yet answered to the last byte, WebSockets included.
    in_progress: AtomicU32,
    served: AtomicBool,
    /// Milliseconds after `accepted` at which the unfinished request head began, plus one.
    head_since: AtomicU64,
    /// Milliseconds after `accepted` of the last byte in either direction.
    last_byte: AtomicU64,
    /// Milliseconds after `accepted` since which the client takes nothing, plus one; 0 while it
    /// does, or while nothing is to be sent.
    stuck_since: AtomicU64,
    /// What came first was the preamble of a proxy.
    began_as_proxy: AtomicBool,
    has_begun: AtomicBool,
    /// Its place among the connections; `None` once it has lost it.
    place: Mutex<Option<Admitted>>,
    lost_place: AtomicBool,
    closing: AtomicBool,
    cut: AtomicBool,
    /// One of [`AWAKE`], [`TIRED`], [`RESTING`].
    rest: AtomicU8,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl Connection {
    fn new(id: u64, peer: SocketAddr, generation: Arc<GenerationContext>, place: Admitted) -> Self {
        Self {
            id,
            peer,
            generation,
            accepted: Instant::now(),
            protocol: AtomicU8::new(HTTP1),
            secure: AtomicBool::new(false),
            in_progress: AtomicU32::new(0),
            served: AtomicBool::new(false),
            head_since: AtomicU64::new(0),
            last_byte: AtomicU64::new(0),
            stuck_since: AtomicU64::new(0),
            began_as_proxy: AtomicBool::new(false),
            has_begun: AtomicBool::new(false),
            place: Mutex::new(Some(place)),
            lost_place: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            rest: AtomicU8::new(AWAKE),
            reader: AtomicWaker::new(),
            writer: AtomicWaker::new(),
        }
    }

    /// The client's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whom the bounds count this connection to.
    #[must_use]
    pub fn client(&self) -> Client {
        self.peer.ip().into()
    }

    /// The generation that accepted this connection.
    #[must_use]
    pub fn generation(&self) -> &Arc<GenerationContext> {
        &self.generation
    }

    /// Whether answers should ask the client not to use this connection again.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.generation.is_draining() || self.lost_place.load(Acquire)
    }

    /// Counts a request until the guard is dropped, which must be after its last byte was handed
    /// to the connection.
    #[must_use]
    pub fn begin_request(self: &Arc<Self>) -> RequestInProgress {
        self.in_progress.fetch_add(1, AcqRel);
        self.head_since.store(0, Release);
        // The request came in while the connection was being closed: it is served after all.
        self.closing.store(false, Release);
        self.generation.requests.fetch_add(1, Relaxed);
        self.generation.requests_total.fetch_add(1, Relaxed);
        self.generation.instruments.request_begun();
        RequestInProgress { connection: self.clone(), websocket: false, entry: None }
    }

    /// Whether the client speaks TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure.load(Acquire)
    }

    pub(super) fn set_secure(&self) {
        self.secure.store(true, Release);
    }

    pub(super) fn set_http2(&self) {
        self.protocol.store(HTTP2, Release);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.accepted.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn since(&self, mark: u64) -> Duration {
        Duration::from_millis(self.millis().saturating_sub(mark))
    }

    fn bytes_moved(&self) {
        self.last_byte.store(self.millis(), Relaxed);
    }

    fn bytes_read(&self) {
        self.bytes_moved();
        if !self.has_requests() {
            let _ = self.head_since.compare_exchange(0, self.millis() + 1, AcqRel, Relaxed);
        }
    }

    /// Bytes have arrived that are no request yet. HTTP/2 has its own limits.
    fn head_is_unfinished(&self) -> bool {
        self.protocol.load(Acquire) == HTTP1
            && self.head_since.load(Acquire) != 0
            && !self.has_requests()
    }

    /// The unfinished request head has taken too long.
    fn head_is_late(&self) -> bool {
        let since = self.head_since.load(Acquire);
        self.head_is_unfinished() && self.since(since.saturating_sub(1)) > HEAD_TIMEOUT
    }

    /// Whether it has answered a request.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Acquire)
    }

    /// Whether requests are in progress.
    pub(super) fn has_requests(&self) -> bool {
        self.in_progress.load(Acquire) > 0
    }

    /// Whether ending the process now would cut something off: a request, a request head, or an
    /// answer whose last bytes may still be on their way.
    pub(super) fn is_busy(&self) -> bool {
        self.has_requests()
            || self.head_is_unfinished()
            || self.served.load(Acquire) && self.since(self.last_byte.load(Relaxed)) < QUIET
    }

    /// How long nothing has been in progress and nothing has come or gone; `None` while a request
    /// is in progress, and once it has lost its place. What comes and is no request, such as a head
    /// byte by byte or HTTP/2 pings, counts for the moment at which it began.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let idle = !self.has_requests() && !self.lost_place.load(Acquire);
        idle.then(|| match self.head_since.load(Acquire) {
            0 => self.since(self.last_byte.load(Relaxed)),
            begun => self.since(begun - 1),
        })
    }

    /// Makes room for another connection: closes once nothing is left to read or to send.
    pub(super) fn give_up_place(&self) {
        self.lost_place.store(true, Release);
        self.leave_place();
        self.generation.instruments.connection_displaced();
        self.close();
    }

    /// Its place is free from here on.
    fn leave_place(&self) {
        drop(self.place.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Resolves when it has lost its place; for the time before anything reads from its stream.
    pub(super) fn poll_lost_place(&self, cx: &Context<'_>) -> Poll<()> {
        self.reader.register(cx.waker());
        if self.lost_place.load(Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Lets it rest once it is read from, if nothing is in progress.
    pub(super) fn rest_if_idle(&self) {
        let idle = self.served.load(Acquire)
            && !self.has_requests()
            && !self.head_is_unfinished()
            && !self.closing.load(Acquire)
            && self.since(self.last_byte.load(Relaxed)) >= REST_AFTER;
        if idle && self.rest.compare_exchange(AWAKE, TIRED, AcqRel, Relaxed).is_ok() {
            self.reader.wake();
        }
    }

    /// Nothing is left to read: whether it rests from now on.
    pub(super) fn goes_to_rest(&self) -> bool {
        self.rest.compare_exchange(TIRED, RESTING, AcqRel, Relaxed).is_ok()
    }

    pub(super) fn rests(&self) -> bool {
        self.rest.load(Acquire) == RESTING
    }

    pub(super) fn wake_up(&self) {
        self.rest.store(AWAKE, Release);
    }

    /// Counts that the client does not speak `protocol`, and tells it now and then. The preamble of
    /// a proxy is told as such: nothing here reads it.
    pub(super) fn malformed(&self, protocol: &'static str, err: &dyn std::fmt::Display) {
        let protocol = if self.began_as_proxy.load(Relaxed) { "PROXY" } else { protocol };
        self.generation.malformed(self.peer, protocol, err);
    }

    /// The client has not taken a byte for too long although there are some for it.
    fn is_stuck(&self) -> bool {
        let since = self.stuck_since.load(Relaxed);
        since != 0 && self.since(since - 1) > self.generation.places.write_timeout()
    }

    /// Decides what is due on this connection now; called again and again.
    pub(super) fn tend(&self) {
        if self.is_stuck() && !self.cut.load(Acquire) {
            self.generation.stalled(self.peer, "connection");
            self.cut();
        } else if self.head_is_late() {
            self.close();
        } else if self.generation.is_draining() && self.protocol.load(Acquire) == HTTP1 {
            self.tend_draining_http1();
        }
    }

    fn tend_draining_http1(&self) {
        if self.has_requests() || self.head_is_unfinished() {
            return;
        }
        // A client that sends one request after the other learns from the next answer that it is to go.
        let settled = self.since(self.last_byte.load(Relaxed)) >= SETTLED;
        if settled && (self.served.load(Acquire) || self.accepted.elapsed() > FRESH_GRACE) {
            self.close();
        }
    }

    /// Ends the connection once nothing is left to read.
    fn close(&self) {
        self.closing.store(true, Release);
        self.reader.wake();
    }

    /// Wakes its reader from here on; an error once it is cut.
    fn reads(&self, cx: &Context<'_>) -> io::Result<()> {
        self.reader.register(cx.waker());
        self.check_cut()
    }

    /// Wakes its writer from here on; an error once it is cut.
    fn writes(&self, cx: &Context<'_>) -> io::Result<()> {
        self.writer.register(cx.waker());
        self.check_cut()
    }

    fn check_cut(&self) -> io::Result<()> {
        match self.cut.load(Acquire) {
            true => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut")),
            false => Ok(()),
        }
    }

    /// It is to end, and no request is on its way in that may still be served.
    fn ends_here(&self) -> bool {
        self.closing.load(Acquire)
            && (!self.head_is_unfinished() || self.head_is_late() || self.lost_place.load(Acquire))
    }

    /// Nothing more is wanted from the client: ends the connection once all is sent.
    pub fn finish(&self) {
        self.close();
    }

    /// Ends the connection whatever it carries.
    pub fn cut(&self) {
        self.cut.store(true, Release);
        self.close();
        self.writer.wake();
    }
}

/// The open connections of one generation.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    all: Mutex<All>,
    next_id: AtomicU64,
    /// Cancelled with the last connection, once the generation drains.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct All {
    open: HashMap<u64, Arc<Connection>>,
    /// Nothing is added any more once there is none.
    ends: bool,
}

impl OpenConnections {
    fn locked<T>(&self, work: impl FnOnce(&mut All) -> T) -> T {
        work(&mut self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes up a connection that has a place.
    ///
    /// # Errors
    /// The generation has ended; what was given comes back.
    pub(super) fn add(
        self: &Arc<Self>,
        peer: SocketAddr,
        generation: Arc<GenerationContext>,
        place: Admitted,
        carried: Carried,
    ) -> Result<Registered, (Admitted, Carried)> {
        let id = self.next_id.fetch_add(1, Relaxed);
        let connection = self.locked(|all| {
            if self.ended.is_cancelled() {
                return Err(place);
            }
            let connection = Arc::new(Connection::new(id, peer, generation, place));
            all.open.insert(id, connection.clone());
            Ok(connection)
        });
        match connection {
            Ok(connection) => {
                connection.generation.instruments.connection_opened();
                Ok(Registered { connection, open: self.clone(), _carried: carried })
            }
            Err(place) => Err((place, carried)),
        }
    }

    fn forget(&self, id: u64) {
        let forgotten = self.locked(|all| {
            let forgotten = all.open.remove(&id);
            self.end_if_empty(all);
            forgotten
        });
        if let Some(connection) = forgotten {
            connection.leave_place();
            connection.generation.instruments.connection_closed();
        }
    }

    /// From here on the generation ends with its last connection.
    pub(super) fn end_when_empty(&self) {
        self.locked(|all| {
            all.ends = true;
            self.end_if_empty(all);
        });
    }

    fn end_if_empty(&self, all: &All) {
        if all.ends && all.open.is_empty() {
            self.ended.cancel();
        }
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Calls `look` with each. It must not end one, nor wait.
    pub(super) fn look_at_each(&self, mut look: impl FnMut(&Arc<Connection>)) {
        self.locked(|all| all.open.values().for_each(&mut look));
    }

    /// Calls `work` with each that is open now.
    pub(super) fn each(&self, work: impl Fn(&Connection)) {
        let all: Vec<_> = self.locked(|all| all.open.values().cloned().collect());
        all.iter().for_each(|connection| work(connection));
    }

    /// How many would be cut in their work if the process ended now.
    pub(super) fn busy(&self) -> usize {
        self.locked(|all| all.open.values().filter(|connection| connection.is_busy()).count())
    }

    pub(super) fn count(&self) -> usize {
        self.locked(|all| all.open.len())
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct RequestInProgress {
    connection: Arc<Connection>,
    websocket: bool,
    /// How its generation lists it, if it does.
    entry: Option<EntryId>,
}

impl RequestInProgress {
    /// Lists the request as an upload. `received` is what the caller counts the bytes of its body
    /// in, `total` their number if the client announced it.
    pub fn is_upload(&mut self, path: &str, total: Option<u64>, received: Arc<AtomicU64>) {
        if self.entry.is_none() {
            let carried = &self.connection.generation.carried;
            self.entry = Some(carried.add_upload(path, total, received));
        }
    }

    /// From here on the request counts as a WebSocket, and is listed as one.
    pub fn became_websocket(&mut self, path: &str) {
        if !self.websocket {
            self.websocket = true;
            let generation = &self.connection.generation;
            if let Some(entry) = self.entry.replace(generation.carried.add_websocket(path)) {
                generation.carried.remove(entry);
            }
            generation.requests.fetch_sub(1, Relaxed);
            generation.websockets.fetch_add(1, Relaxed);
            generation.instruments.websocket_opened();
        }
    }
}

impl Drop for RequestInProgress {
    fn drop(&mut self) {
        let generation = &self.connection.generation;
        if self.websocket {
            generation.websockets.fetch_sub(1, Relaxed);
            generation.instruments.websocket_closed();
        } else {
            generation.requests.fetch_sub(1, Relaxed);
            generation.instruments.request_ended();
        }
        if let Some(entry) = self.entry {
            generation.carried.remove(entry);
        }
        self.connection.served.store(true, Release);
        self.connection.bytes_moved();
        self.connection.in_progress.fetch_sub(1, AcqRel);
    }
}

/// A connection with TLS or without.
pub(super) type Stream = Either<Socket, Box<TlsStream<Socket>>>;

/// The stream of a [`Connection`]; removes it from its generation when dropped.
#[derive(Debug)]
pub struct Tracked<T> {
    io: T,
    registered: Registered,
}

impl<T> Tracked<T> {
    pub(super) fn new(io: T, registered: Registered) -> Self {
        Self { io, registered }
    }

    /// The connection that this is the stream of.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.registered.connection
    }
}

impl Tracked<Stream> {
    /// It is used for hours from here on: a peer that does not acknowledge what it is sent for a
    /// little longer than `write_timeout` is gone (TCP_USER_TIMEOUT, RFC 5482). One that takes nothing
    /// of what waits for it is cut before, and counted.
    pub(super) fn becomes_session(&self) {
        let socket = match &self.io {
            Either::Left(socket) => socket,
            Either::Right(stream) => stream.get_ref().0,
        };
        let timeout = self.registered.connection.generation.places.write_timeout() + VANISHED_AFTER;
        // Fails only if the peer has gone already.
        let _ = socket2::SockRef::from(&socket.tcp).set_tcp_user_timeout(Some(timeout));
    }
}

/// A connection that is counted among those of its generation until this is dropped.
#[derive(Debug)]
pub(super) struct Registered {
    pub(super) connection: Arc<Connection>,
    open: Arc<OpenConnections>,
    _carried: Carried,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.open.forget(self.connection.id);
    }
}

/// The socket under a connection, below TLS: knows what the kernel takes, which a TLS stream with
/// its own buffer hides.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    connection: Arc<Connection>,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, connection: Arc<Connection>) -> Self {
        Self { tcp, connection }
    }

    /// Notes whether the kernel took something.
    fn note(&self, written: &Poll<io::Result<usize>>) {
        let connection = &self.connection;
        if written.is_pending() {
            let now = connection.millis() + 1;
            let _ = connection.stuck_since.compare_exchange(0, now, Relaxed, Relaxed);
        } else if connection.stuck_since.load(Relaxed) != 0 {
            connection.stuck_since.store(0, Relaxed);
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() && !this.connection.has_begun.swap(true, Relaxed) {
            let proxy = PROXY_PREAMBLES.iter().any(|preamble| bytes.starts_with(preamble));
            this.connection.began_as_proxy.store(proxy, Relaxed);
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, buf);
        this.note(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        this.note(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Tracked<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.registered.connection.reads(cx)?;
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let read = buf.filled().len() - before;
                if read > 0 {
                    this.registered.connection.bytes_read();
                    this.registered.connection.generation.instruments.received(read);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(err)) => Poll::Ready(Err(err)),
            Poll::Pending if this.registered.connection.ends_here() => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Tracked<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.registered.connection.writes(cx)?;
        let written = ready!(Pin::new(&mut this.io).poll_write(cx, buf))?;
        this.registered.connection.bytes_moved();
        this.registered.connection.generation.instruments.sent(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.registered.connection.writes(cx)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.registered.connection.writes(cx)?;
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
