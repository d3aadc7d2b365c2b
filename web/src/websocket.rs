//! WebSocket sessions. The only file that names `actix-web-actors`: the crate is retired upstream
//! but fixed for this product, and everything else speaks to [`Session`] and [`Socket`].
#![allow(deprecated)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, StreamHandler, WrapFuture};
use actix_http::ws::Item;
use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, BytesMut, Payload},
};
use actix_web_actors::ws;
use portcullis_actors::supervisor::Connection;

/// The largest message, in one frame or in fragments.
pub const MAX_MESSAGE: usize = 4 << 20;

/// How often an idle peer is pinged.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// A peer that is not heard of for so long is gone.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a peer may take to answer a close frame.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What a service does with the messages of one WebSocket.
pub trait Session: Unpin + 'static {
    /// A text message arrived, whole.
    fn text(&mut self, text: &str, socket: &mut Socket<'_>);

    /// A binary message arrived, whole.
    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_>);
}

/// The way back to the peer.
pub struct Socket<'a> {
    send: &'a mut dyn Sink,
}

impl Socket<'_> {
    pub fn text(&mut self, text: &str) {
        self.send.text(text);
    }

    pub fn binary(&mut self, bytes: Bytes) {
        self.send.binary(bytes);
    }
}

trait Sink {
    fn text(&mut self, text: &str);
    fn binary(&mut self, bytes: Bytes);
}

impl<S: Session> Sink for ws::WebsocketContext<Actors<S>> {
    fn text(&mut self, text: &str) {
        ws::WebsocketContext::text(self, text);
    }

    fn binary(&mut self, bytes: Bytes) {
        ws::WebsocketContext::binary(self, bytes);
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
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    let actor =
        Actors { session, connection, heard: Instant::now(), fragments: None, closing: false };
    ws::WsResponseBuilder::new(actor, request, payload).frame_size(MAX_MESSAGE).start()
}

struct Actors<S> {
    session: S,
    connection: Option<Arc<Connection>>,
    heard: Instant,
    fragments: Option<Fragments>,
    closing: bool,
}

struct Fragments {
    text: bool,
    bytes: BytesMut,
}

impl<S: Session> Actors<S> {
    fn close(&mut self, code: ws::CloseCode, why: &str, ctx: &mut ws::WebsocketContext<Self>) {
        if !self.closing {
            self.closing = true;
            ctx.close(Some(ws::CloseReason { code, description: Some(why.to_owned()) }));
            ctx.run_later(CLOSE_PATIENCE, |_, ctx| ctx.stop());
        }
    }

    fn deliver(&mut self, text: bool, bytes: Bytes, ctx: &mut ws::WebsocketContext<Self>) {
        if !text {
            self.session.binary(bytes, &mut Socket { send: ctx });
            return;
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => self.session.text(text, &mut Socket { send: ctx }),
            Err(_) => self.close(ws::CloseCode::Invalid, "text is not UTF-8", ctx),
        }
    }

    fn continued(&mut self, item: Item, ctx: &mut ws::WebsocketContext<Self>) {
        let (begins, bytes, last) = match item {
            Item::FirstText(bytes) => (Some(true), bytes, false),
            Item::FirstBinary(bytes) => (Some(false), bytes, false),
            Item::Continue(bytes) => (None, bytes, false),
            Item::Last(bytes) => (None, bytes, true),
        };
        if let Some(text) = begins {
            self.fragments = Some(Fragments { text, bytes: BytesMut::new() });
        }
        let Some(mut fragments) = self.fragments.take() else {
            return self.close(ws::CloseCode::Protocol, "nothing to continue", ctx);
        };
        if fragments.bytes.len() + bytes.len() > MAX_MESSAGE {
            return self.close(ws::CloseCode::Size, "message too large", ctx);
        }
        fragments.bytes.extend_from_slice(&bytes);
        if last {
            self.deliver(fragments.text, fragments.bytes.freeze(), ctx);
        } else {
            self.fragments = Some(fragments);
        }
    }
}

impl<S: Session> Actor for Actors<S> {
    type Context = ws::WebsocketContext<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PING_INTERVAL, |act, ctx| {
            if act.heard.elapsed() > PATIENCE {
                log::debug!("a WebSocket peer is not heard of any more");
                ctx.stop();
            } else {
                ctx.ping(b"");
            }
        });
        if let Some(connection) = self.connection.clone() {
            let ended = async move { connection.generation().ended().await };
            ctx.spawn(ended.into_actor(self).map(|(), act, ctx| {
                act.close(ws::CloseCode::Restart, "service restart", ctx);
            }));
        }
    }
}

impl<S: Session> StreamHandler<Result<ws::Message, ws::ProtocolError>> for Actors<S> {
    fn handle(&mut self, message: Result<ws::Message, ws::ProtocolError>, ctx: &mut Self::Context) {
        self.heard = Instant::now();
        match message {
            Ok(ws::Message::Text(text)) => {
                self.session.text(&text, &mut Socket { send: ctx });
            }
            Ok(ws::Message::Binary(bytes)) => {
                self.session.binary(bytes, &mut Socket { send: ctx });
            }
            Ok(ws::Message::Continuation(item)) => self.continued(item, ctx),
            Ok(ws::Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(ws::Message::Pong(_) | ws::Message::Nop) => {}
            Ok(ws::Message::Close(reason)) => {
                if !self.closing {
                    ctx.close(reason.filter(|reason| reason.code != ws::CloseCode::Abnormal));
                }
                ctx.stop();
            }
            Err(ws::ProtocolError::Overflow) => {
                self.close(ws::CloseCode::Size, "message too large", ctx);
            }
            Err(err) => self.close(ws::CloseCode::Protocol, &err.to_string(), ctx),
        }
    }
}
