//! HTTP/1 connections, by actix-http's dispatcher.
//!
//! A dispatcher has buffers of 16 KiB, and most connections are idle most of the time. So one on
//! which nothing is in progress *rests*: its dispatcher is told that the client has closed, goes, and
//! gives the stream back. What is left waits for a byte, in a buffer of the thread, and has another
//! dispatcher made for it.

use std::{
    cell::{Cell, RefCell},
    future::{poll_fn, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{
    HttpService, KeepAlive,
    error::{DispatchError, ParseError},
};
use actix_service::{Service as _, ServiceFactory, fn_factory};
use bytes::{Buf, Bytes};
use futures::future::LocalBoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    connection::{Connection, HEAD_TIMEOUT, KEEP_ALIVE, Stream, Tracked},
    offers::{Offers, TakesWebSocket},
    plan::ContinueGate,
    upgrade,
    worker::{Answers, App, Worker},
};

/// How long a connection may linger so that the client can read an early answer to its upload, and
/// how long it may take to close.
pub(super) const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// What is read at once where no dispatcher reads.
const SCRATCH: usize = 16 << 10;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// Serves a stream as long as a dispatcher does.
pub(super) type Http1Service =
    Box<dyn Fn(Http1, SocketAddr) -> LocalBoxFuture<'static, Result<(), DispatchError>>>;

/// What serves HTTP/1 with `app`.
pub(super) async fn service(app: Rc<App>, gate: ContinueGate) -> Result<Http1Service, ()> {
    let (upgraded, shared) = (app.clone(), app);
    let service = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .expect(gate)
        .upgrade(fn_factory(move || ready(Ok::<_, ()>(upgrade::service(upgraded.clone())))))
        .on_connect_ext(|stream: &Http1, extensions| {
            extensions.insert(stream.connection().clone());
        })
        .h1(fn_factory(move || ready(Ok::<_, ()>(shared.clone()))))
        .new_service(())
        .await?;
    Ok(Box::new(move |stream, peer| Box::pin(service.call((stream, Some(peer))))))
}

/// Serves one connection until it ends.
pub(super) async fn serve(stream: Tracked<Stream>, answers: &Rc<Answers>, worker: &Rc<Worker>) {
    let connection = stream.connection().clone();
    let mut left = Some(stream);
    while let Some(mut stream) = left.take() {
        let Some(first) = first_bytes(&mut stream).await else {
            // Who is told to close may not read that it is: nobody waits for him longer.
            let _ = timeout(DISCONNECT_TIMEOUT, stream.shutdown()).await;
            return;
        };
        let back = Rc::<Cell<_>>::default();
        let _awake = worker.keep_awake(&connection);
        let stream = Http1::new(stream, first, answers.takes_websocket.clone(), back.clone());
        if let Err(err) = (answers.http1)(stream, connection.peer()).await {
            tell(&connection, &err);
        }
        left = back.take();
    }
}

fn tell(connection: &Connection, err: &DispatchError) {
    let peer = connection.peer();
    match err {
        DispatchError::Parse(err) if !matches!(err, ParseError::Io(_)) => {
            connection.malformed("HTTP/1", err);
        }
        DispatchError::Body(err) => connection.generation().broke_off(peer, err),
        err => log::debug!("HTTP/1 connection of {peer} ended: {err}"),
    }
}

/// Waits until the client sends something. `None`: it closed, or it is time to.
async fn first_bytes(stream: &mut Tracked<Stream>) -> Option<Bytes> {
    let patience = if stream.connection().has_served() { KEEP_ALIVE } else { HEAD_TIMEOUT };
    let read = timeout(patience, poll_fn(|cx| poll_read_to_size(stream, cx))).await;
    let bytes = read.ok()?.ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

/// Reads into a buffer of the thread, so that who waits needs none.
pub(super) fn poll_read_to_size(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
) -> Poll<io::Result<Bytes>> {
    SCRATCH_BUFFER.with_borrow_mut(|scratch| {
        let mut buf = ReadBuf::new(scratch);
        ready!(Pin::new(io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(own(buf.filled())))
    })
}

/// A copy that keeps nothing else alive: an empty piece of a buffer holds all of it.
pub(super) fn own(bytes: &[u8]) -> Bytes {
    if bytes.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(bytes) }
}

/// The stream of a dispatcher: read without the offers in it, and given back where it rests.
pub(super) struct Http1 {
    /// `None` once it was given back.
    io: Option<Tracked<Stream>>,
    /// What was read before.
    first: Bytes,
    offers: Offers,
    back: Rc<Cell<Option<Tracked<Stream>>>>,
}

impl Http1 {
    fn new(
        io: Tracked<Stream>,
        first: Bytes,
        takes_websocket: TakesWebSocket,
        back: Rc<Cell<Option<Tracked<Stream>>>>,
    ) -> Self {
        Self { io: Some(io), first, offers: Offers::new(takes_websocket), back }
    }

    fn io(&mut self) -> &mut Tracked<Stream> {
        self.io.as_mut().expect("only what is dropped has given it back")
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        self.io.as_ref().expect("only what is dropped has given it back").connection()
    }

    pub(super) fn becomes_session(&mut self) {
        self.io().becomes_session();
    }

    fn poll_more(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(self.io()).poll_read(cx, buf);
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(&self.first[..count]);
        self.first.advance(count);
        if self.first.is_empty() {
            self.first = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        if self.connection().rests() {
            self.back.set(self.io.take());
        }
    }
}

impl AsyncRead for Http1 {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            let ready = &mut this.offers.ready;
            if !ready.is_empty() {
                let count = ready.len().min(buf.remaining());
                buf.put_slice(&ready[..count]);
                ready.drain(..count);
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            match this.poll_more(cx, buf) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    let rests = this.offers.between_requests() && this.connection().goes_to_rest();
                    return if rests { Poll::Ready(Ok(())) } else { Poll::Pending };
                }
            }
            if buf.filled().len() == before {
                this.offers.end();
                if this.offers.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            this.connection().wake_up();
            let passed = this.offers.take(&buf.filled()[before..]);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Http1 {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut().io()).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().io()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.connection().rests() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(this.io()).poll_shutdown(cx)
    }
}
