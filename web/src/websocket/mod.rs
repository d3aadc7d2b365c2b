//! WebSocket sessions. The only file that names `actix-web-actors`: the crate is retired upstream
//! but fixed for this product, and everything else speaks to [`Session`] and [`Socket`].
//!
//! The crate runs the actor and writes; what peers send is read by `inbox`, because the crate
//! judges a frame only once it holds all of it.
#![allow(deprecated)]
#![warn(missing_docs)]

mod frames;
mod inbox;

use std::{
    cell::Cell,
    net::IpAddr,
    rc::{Rc, Weak},
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Payload},
};
use actix_web_actors::ws;
use futures::{Stream, stream};
use portcullis_actors::{
    bounds::Client,
    engine::Connection,
    metrics::{METRICS, WebSocketLabels},
};

use self::{
    frames::{Incoming, Violation},
    inbox::{Broken, Inbox, Link},
};

/// The largest message in bytes, in one frame or in fragments.
pub const MAX_MESSAGE: usize = 4 << 20;
/// The close code for messages that are too large (RFC 6455, section 7.4.1).
pub const TOO_LARGE: u16 = 1009;
/// The close code of a server that restarts.
pub const SERVICE_RESTART: u16 = 1012;

/// How long a peer may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// When a peer counts as gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// How often the peer is pinged.
    pub interval: Duration,
    /// A peer of whom nothing at all was heard for so long is cut off, and one that does not end a
    /// message in this time is closed; a large message has more, a second for each 16 KiB.
    pub patience: Duration,
}

impl Default for Heartbeat {
    /// A ping every 20 s; gone after 90 s of silence.
    fn default() -> Self {
        Self { interval: Duration::from_secs(20), patience: Duration::from_secs(90) }
    }
}

/// What a service does with one WebSocket. Dropped when the connection is gone, however it went.
///
/// Nothing here may block or take long: the worker serves others, too.
///
/// ```
/// use actix_web::{Error, HttpRequest, HttpResponse, web::{Bytes, Payload}};
/// use portcullis::websocket::{self, Session, Socket};
///
/// /// Counts what it is told.
/// #[derive(Default)]
/// struct Counter {
///     messages: u64,
/// }
///
/// impl Session for Counter {
///     type Event = ();
///
///     fn text(&mut self, _text: &str, socket: &mut Socket<'_>) {
///         self.messages += 1;
///         socket.text(&self.messages.to_string());
///     }
///
///     fn binary(&mut self, _bytes: Bytes, socket: &mut Socket<'_>) {
///         socket.close(1003, "text only");
///     }
/// }
///
/// /// For a path of `Mount::with_websockets`.
/// async fn open(request: HttpRequest, body: Payload) -> Result<HttpResponse, Error> {
///     websocket::start(Counter::default(), &request, body)
/// }
/// # let _ = open;
/// ```
pub trait Session: Unpin + 'static {
    /// What comes from elsewhere, see [`start_with_events`].
    type Event: 'static;

    /// A text message arrived, whole.
    fn text(&mut self, text: &str, socket: &mut Socket<'_>);

    /// A binary message arrived, whole.
    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_>);

    /// Something happened elsewhere.
    fn event(&mut self, _event: Self::Event, _socket: &mut Socket<'_>) {}

    /// Called every second.
    fn tick(&mut self, _socket: &mut Socket<'_>) {}

    /// The largest message that is taken now, in bytes, never more than [`MAX_MESSAGE`]. Asked after
    /// each call of the others.
    fn limit(&self) -> usize {
        MAX_MESSAGE
    }

    /// A message is larger than the limit, by the head of its frame; nothing more is read.
    fn too_large(&mut self, socket: &mut Socket<'_>) {
        socket.close(TOO_LARGE, "message too large");
    }

    /// The connection must end: the appliance stops, or its generation is too old. `left` is the
    /// time until it is cut, where that is known.
    fn restart(&mut self, _left: Option<Duration>, socket: &mut Socket<'_>) {
        socket.close(SERVICE_RESTART, "service restart");
    }
}

/// The way back to the peer.
pub struct Socket<'a> {
    send: &'a mut dyn Sink,
}

impl Socket<'_> {
    /// Sends a text message. Never waits: what the peer does not take is kept in memory.
    pub fn text(&mut self, text: &str) {
        self.send.text(text);
    }

    /// Sends a binary message, in the same way.
    pub fn binary(&mut self, bytes: Bytes) {
        self.send.binary(bytes);
    }

    /// Begins the closing handshake; what was sent before arrives before. Nothing is delivered to
    /// the session any more. `reason` is 123 bytes at most (RFC 6455, section 5.5).
    pub fn close(&mut self, code: u16, reason: &str) {
        self.send.close(code, reason);
    }
}

trait Sink {
    fn text(&mut self, text: &str);
    fn binary(&mut self, bytes: Bytes);
    fn close(&mut self, code: u16, reason: &str);
}

/// The context, and what was asked of the actor while it was lent to its session.
struct Lent<'a, S: Session> {
    context: &'a mut ws::WebsocketContext<SocketActor<S>>,
    close: Option<(u16, String)>,
}

impl<S: Session> Sink for Lent<'_, S> {
    fn text(&mut self, text: &str) {
        if self.close.is_none() {
            self.context.text(text);
        }
    }

    fn binary(&mut self, bytes: Bytes) {
        if self.close.is_none() {
            self.context.binary(bytes);
        }
    }

    fn close(&mut self, code: u16, reason: &str) {
        self.close.get_or_insert_with(|| (code, reason.to_owned()));
    }
}

/// Answers an upgrade request and runs `session` until one side closes. When the generation of the
/// connection must end, the peer gets close code 1012, service restart.
///
/// # Errors
/// The request is no WebSocket handshake (RFC 6455, section 4.2.1).
pub fn start<S: Session>(
    session: S,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    start_with_events(session, stream::pending(), Heartbeat::default(), request, payload)
}

/// The same for a session that is told of `events` as well.
///
/// # Errors
/// See [`start`].
pub fn start_with_events<S: Session>(
    session: S,
    events: impl Stream<Item = S::Event> + 'static,
    heartbeat: Heartbeat,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let link = Rc::new(Link {
        limit: Cell::new(session.limit().min(MAX_MESSAGE)),
        heard: Cell::new(Instant::now()),
    });
    let inbox = Inbox::new(payload, link.clone(), client_of(request), heartbeat.patience);
    let actor = SocketActor {
        session,
        events: Some(Box::pin(events)),
        inbox: Some(inbox),
        connection,
        heartbeat,
        link,
        closing: false,
    };
    // The crate is given nothing to read.
    ws::WsResponseBuilder::new(actor, request, stream::pending()).start()
}

/// Whom the bounds of the request's connection count it to.
pub(crate) fn client_of(request: &HttpRequest) -> Client {
    request.peer_addr().map_or_else(|| IpAddr::from([0; 4]), |peer| peer.ip()).into()
}

struct SocketActor<S: Session> {
    session: S,
    /// Until the actor has started.
    events: Option<std::pin::Pin<Box<dyn Stream<Item = S::Event>>>>,
    /// Until the actor has started.
    inbox: Option<Inbox<Payload>>,
    connection: Option<Arc<Connection>>,
    heartbeat: Heartbeat,
    link: Rc<Link>,
    closing: bool,
}

type Ctx<S> = ws::WebsocketContext<SocketActor<S>>;

impl<S: Session> SocketActor<S> {
    /// Lends the socket to the session.
    fn lend(&mut self, ctx: &mut Ctx<S>, work: impl FnOnce(&mut S, &mut Socket<'_>)) {
        if self.closing {
            return;
        }
        let mut lent = Lent { context: ctx, close: None };
        work(&mut self.session, &mut Socket { send: &mut lent });
        let close = lent.close;
        self.link.limit.set(self.session.limit().min(MAX_MESSAGE));
        if let Some((code, reason)) = close {
            self.close(code.into(), &reason, ctx);
        }
    }

    fn close(&mut self, code: ws::CloseCode, why: &str, ctx: &mut Ctx<S>) {
        if !self.closing {
            self.closing = true;
            ctx.close(Some(ws::CloseReason { code, description: Some(why.to_owned()) }));
            ctx.run_later(CLOSE_PATIENCE, |_, ctx| ctx.stop());
        }
    }

    /// Tells the peer why nothing more is read.
    fn broken(&mut self, broken: Broken, ctx: &mut Ctx<S>) {
        let reason = match broken {
            Broken::Violation(Violation::TooLarge) => "too_large",
            Broken::Violation(Violation::Protocol(_)) => "protocol",
            Broken::Violation(Violation::NotUtf8) => "not_utf8",
            Broken::Full => "full",
            Broken::Late => "late",
        };
        METRICS.websockets_refused.get_or_create(&WebSocketLabels { reason }).inc();
        match broken {
            Broken::Violation(Violation::TooLarge) => self.lend(ctx, |session, socket| {
                session.too_large(socket);
                socket.close(TOO_LARGE, "message too large");
            }),
            Broken::Violation(Violation::Protocol(why)) => {
                self.close(ws::CloseCode::Protocol, why, ctx);
            }
            Broken::Violation(Violation::NotUtf8) => {
                self.close(ws::CloseCode::Invalid, "text is not UTF-8", ctx);
            }
            Broken::Full => self.close(
                ws::CloseCode::Again,
                "unfinished messages take all the memory they may; try again later",
                ctx,
            ),
            Broken::Late => {
                self.close(ws::CloseCode::Policy, "a message was begun and did not end", ctx);
            }
        }
    }
}

/// Cuts the connection of a peer that is gone. Stands outside of the actor, which is not run any
/// more while a peer takes nothing of what it is sent.
async fn watch(link: Weak<Link>, patience: Duration, connection: Arc<Connection>) {
    loop {
        let Some(silent) = link.upgrade().map(|link| link.heard.get().elapsed()) else { return };
        let Some(left) = patience.checked_sub(silent) else {
            log::debug!("a WebSocket peer is not heard of any more");
            return connection.cut();
        };
        tokio::time::sleep(left + Duration::from_millis(10)).await;
    }
}

impl<S: Session> Actor for SocketActor<S> {
    type Context = Ctx<S>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.heartbeat.interval, |_, ctx| ctx.ping(b""));
        ctx.run_interval(Duration::from_secs(1), |act, ctx| {
            act.lend(ctx, |session, socket| session.tick(socket));
        });
        if let Some(events) = self.events.take() {
            ctx.add_stream(stream::StreamExt::map(events, Pushed));
        }
        if let Some(inbox) = self.inbox.take() {
            ctx.add_stream(inbox);
        }
        if let Some(connection) = self.connection.clone() {
            let link = Rc::downgrade(&self.link);
            actix::spawn(watch(link, self.heartbeat.patience, connection.clone()));
            let ended = async move {
                let generation = connection.generation();
                generation.ended().await;
                generation.time_left()
            };
            ctx.spawn(ended.into_actor(self).map(|left, act, ctx| {
                act.lend(ctx, |session, socket| session.restart(left, socket));
            }));
        }
    }
}

struct Pushed<E>(E);

impl<S: Session> StreamHandler<Pushed<S::Event>> for SocketActor<S> {
    fn handle(&mut self, Pushed(event): Pushed<S::Event>, ctx: &mut Self::Context) {
        self.lend(ctx, |session, socket| session.event(event, socket));
    }

    /// The end of the events is not the end of the socket.
    fn finished(&mut self, _ctx: &mut Self::Context) {}
}

impl<S: Session> StreamHandler<Result<Incoming, Broken>> for SocketActor<S> {
    fn handle(&mut self, incoming: Result<Incoming, Broken>, ctx: &mut Self::Context) {
        match incoming {
            Ok(Incoming::Text(text)) => {
                self.lend(ctx, |session, socket| session.text(&text, socket));
            }
            Ok(Incoming::Binary(bytes)) => {
                self.lend(ctx, |session, socket| session.binary(bytes, socket));
            }
            Ok(Incoming::Ping(bytes)) if !self.closing => ctx.pong(&bytes),
            Ok(Incoming::Ping(_) | Incoming::Pong) => {}
            Ok(Incoming::Close(code)) => {
                if !self.closing {
                    ctx.close(code.map(|code| ws::CloseCode::from(code).into()));
                }
                ctx.stop();
                // The server ends the connection first (RFC 6455, section 7.1.1), and peers wait
                // for it.
                if let Some(connection) = &self.connection {
                    connection.finish();
                }
            }
            Err(broken) => self.broken(broken, ctx),
        }
    }
}

/// What the crate would have read.
impl<S: Session> StreamHandler<Result<ws::Message, ws::ProtocolError>> for SocketActor<S> {
    fn handle(&mut self, _: Result<ws::Message, ws::ProtocolError>, _: &mut Self::Context) {}
}
