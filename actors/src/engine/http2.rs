//! HTTP/2 connections, on the `h2` crate directly.
//!
//! actix-http's own dispatcher cannot say GOAWAY, so a drained connection could only be dropped,
//! and it cannot send `100 Continue`. Both are needed here: clients must learn in time that a
//! connection will not take their next request (RFC 9113, section 6.8), and a client that asks
//! first must be told to go on (RFC 9110, section 10.1.1).

use std::{
    cell::RefCell,
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{
    HttpMessage, Method, Payload, Request, Response, Version,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    header,
};
use actix_service::Service;
use bytes::Bytes;
use futures::{FutureExt, Stream, future::Either};
use h2::{
    Ping, Reason, RecvStream, SendStream,
    server::{Connection as H2Connection, SendResponse},
};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{Connection, HEAD_TIMEOUT, KEEP_ALIVE, Stream as Io, Tracked};

const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 2 << 20;
const MAX_STREAMS: u32 = 100;
/// Bytes of one answer that wait for the connection; what is behind them is not read yet.
const SEND_BUFFER: usize = 32 << 10;
const MAX_HEADER_LIST: u32 = 64 << 10;
/// How often an idle peer must answer a ping.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a connection without streams stays open after GOAWAY if the client does not close it.
const GOODBYE: Duration = Duration::from_secs(3);
/// What is read of a body that nobody wants, and for how long. A stream whose body is dropped is
/// reset, and clients (curl 7 among them) then forget the answer that came before.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(3);
/// The largest piece of a body that is sent at once.
const CHUNK: usize = 16 << 10;

/// Serves one connection until it ends, or until its generation drains and its streams are done.
pub(super) async fn serve<S>(io: Tracked<Io>, service: Rc<S>)
where
    S: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>> + 'static,
{
    let connection = io.connection().clone();
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER)
        .handshake(io);
    let served = match timeout(HEAD_TIMEOUT, handshake).await {
        Ok(Ok(mut h2)) => accept_streams(&mut h2, &connection, &service).await,
        Ok(Err(err)) => Err(err),
        Err(_) => return log::debug!("HTTP/2: no preface from {} in time", connection.peer()),
    };
    match served {
        Err(err) if err.is_library() && !err.is_io() => {
            connection.malformed("HTTP/2", &err);
        }
        Err(err) => log::debug!("HTTP/2 connection of {} ended: {err}", connection.peer()),
        Ok(()) => {}
    }
}

async fn accept_streams<S>(
    h2: &mut H2Connection<Tracked<Io>, Bytes>,
    connection: &Arc<Connection>,
    service: &Rc<S>,
) -> Result<(), h2::Error>
where
    S: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>> + 'static,
{
    let mut pings = h2.ping_pong();
    let mut unanswered = false;
    let mut ping_due = pin!(sleep(PING_INTERVAL));
    let mut idle_since = Instant::now();
    // When GOAWAY was sent, the time to close.
    let mut close_at: Option<Instant> = None;
    let mut drained = pin!(connection.generation().drained().fuse());
    loop {
        let accepted = {
            let pong = async {
                match pings.as_mut() {
                    Some(pings) if unanswered => poll_fn(|cx| pings.poll_pong(cx)).await.map(drop),
                    _ => std::future::pending().await,
                }
            };
            let look = sleep(Duration::from_millis(if close_at.is_some() { 100 } else { 5_000 }));
            tokio::select! {
                accepted = h2.accept() => accepted,
                () = &mut drained => {
                    h2.graceful_shutdown();
                    close_at.get_or_insert_with(|| Instant::now() + GOODBYE);
                    continue;
                }
                pong = pong => {
                    pong?;
                    unanswered = false;
                    continue;
                }
                () = &mut ping_due => {
                    if unanswered {
                        return Ok(());
                    }
                    if let Some(pings) = &mut pings {
                        unanswered = pings.send_ping(Ping::opaque()).is_ok();
                    }
                    ping_due.as_mut().reset(Instant::now() + PING_INTERVAL);
                    continue;
                }
                () = look => {
                    if connection.has_requests() {
                        idle_since = Instant::now();
                    } else if close_at.is_some_and(|at| Instant::now() >= at) {
                        return Ok(());
                    } else if close_at.is_none() && idle_since.elapsed() > KEEP_ALIVE {
                        h2.graceful_shutdown();
                        close_at = Some(Instant::now() + GOODBYE);
                    }
                    continue;
                }
            }
        };
        let Some(stream) = accepted else { return Ok(()) };
        let (request, mut respond) = stream?;
        idle_since = Instant::now();
        let generation = connection.generation();
        let place = match generation.places.admit_stream(connection.client()) {
            Ok(place) => place,
            Err(full) => {
                generation.refused(connection.peer(), "stream", full);
                // Nothing was done yet, so the client may send it again (RFC 9113, section 8.7).
                respond.send_reset(Reason::REFUSED_STREAM);
                continue;
            }
        };
        let answered = answer(request, respond, connection.clone(), service.clone());
        actix_rt::spawn(async move {
            answered.await;
            drop(place);
        });
    }
}

type Respond = Rc<RefCell<SendResponse<Bytes>>>;

/// Answers one stream.
async fn answer<S>(
    request: http1::Request<RecvStream>,
    respond: SendResponse<Bytes>,
    connection: Arc<Connection>,
    service: Rc<S>,
) where
    S: Service<Request, Response = Response<BoxBody>, Error = Response<BoxBody>>,
{
    let respond: Respond = Rc::new(RefCell::new(respond));
    let answers_head = request.method() == http1::Method::HEAD;
    let Some(request) = convert_request(request, &respond, connection.clone()) else {
        return respond.borrow_mut().send_reset(Reason::PROTOCOL_ERROR);
    };
    let response = {
        let called = pin!(service.call(request));
        let reset = pin!(poll_fn(|cx| respond.borrow_mut().poll_reset(cx)));
        match futures::future::select(called, reset).await {
            Either::Left((Ok(response) | Err(response), _)) => response,
            Either::Right(_) => return,
        }
    };
    if let Err(err) = send(response, &respond, answers_head, &connection).await {
        log::debug!("HTTP/2 stream ended: {err}");
    }
}

/// The same head in the types of actix-http, which is on an older major version of `http`.
fn convert_request(
    request: http1::Request<RecvStream>,
    respond: &Respond,
    connection: Arc<Connection>,
) -> Option<Request> {
    let (parts, stream) = request.into_parts();
    let expects = parts
        .headers
        .get(http1::header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let payload: Payload = if stream.is_end_stream() {
        Payload::None
    } else {
        let body = Body { stream: Some(stream), respond: expects.then(|| respond.clone()) };
        Payload::Stream { payload: Box::pin(body) }
    };
    let mut request = Request::with_payload(payload);
    let head = request.head_mut();
    head.method = Method::from_bytes(parts.method.as_str().as_bytes()).ok()?;
    head.uri = parts.uri.to_string().parse().ok()?;
    head.version = Version::HTTP_2;
    head.peer_addr = Some(connection.peer());
    for (name, value) in &parts.headers {
        let name = header::HeaderName::from_bytes(name.as_ref()).ok()?;
        let value = header::HeaderValue::from_bytes(value.as_bytes()).ok()?;
        head.headers.append(name, value);
    }
    request.extensions_mut().insert(connection);
    Some(request)
}

/// A request body. The client is told to go on when somebody begins to read it.
struct Body {
    /// `None` once it has ended.
    stream: Option<RecvStream>,
    respond: Option<Respond>,
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(respond) = self.respond.take() {
            let mut go_on = http1::Response::new(());
            *go_on.status_mut() = http1::StatusCode::CONTINUE;
            // Fails only if the final answer went first, and then nobody waits.
            let _ = respond.borrow_mut().send_informational(go_on);
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(None) };
        match ready!(stream.poll_data(cx)) {
            Some(Ok(bytes)) => {
                let released = stream.flow_control().release_capacity(bytes.len());
                Poll::Ready(Some(released.map(|()| bytes).map_err(broken)))
            }
            Some(Err(err)) => {
                self.stream = None;
                Poll::Ready(Some(Err(broken(err))))
            }
            None => {
                self.stream = None;
                Poll::Ready(None)
            }
        }
    }
}

fn broken(err: h2::Error) -> PayloadError {
    PayloadError::Io(err.into_io().unwrap_or_else(|| {
        std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the stream was reset")
    }))
}

impl Drop for Body {
    fn drop(&mut self) {
        let unread = self.stream.take().filter(|stream| !stream.is_end_stream());
        // Outside of a task there is no runtime that could go on reading.
        if let Some(stream) = unread
            && tokio::task::try_id().is_some()
        {
            actix_rt::spawn(linger(stream));
        }
    }
}

/// Reads a little of an unwanted body, then lets the client wait for its window.
async fn linger(mut stream: RecvStream) {
    let read = async {
        let mut left = LINGER_BYTES;
        while let Some(Ok(bytes)) = stream.data().await {
            left = left.saturating_sub(bytes.len());
            if left == 0 {
                std::future::pending::<()>().await;
            }
            if stream.flow_control().release_capacity(bytes.len()).is_err() {
                return;
            }
        }
    };
    let _ = timeout(LINGER, read).await;
}

async fn send(
    response: Response<BoxBody>,
    respond: &Respond,
    answers_head: bool,
    connection: &Connection,
) -> Result<(), h2::Error> {
    let (response, body) = response.into_parts();
    let ends = answers_head || matches!(body.size(), BodySize::None | BodySize::Sized(0));
    let head = convert_response(&response, body.size());
    let mut stream = respond.borrow_mut().send_response(head, ends)?;
    if ends {
        return Ok(());
    }
    let mut body = pin!(body);
    loop {
        // A body is asked for more only when there is room, so that a client that takes nothing
        // costs neither what would be read for it nor what it would be read from.
        if !has_room(&mut stream, 1, connection).await? {
            return Ok(());
        }
        let next = poll_fn(|cx| {
            if let Poll::Ready(reset) = stream.poll_reset(cx) {
                return Poll::Ready(Err(reset.map_or_else(|err| err, h2::Error::from)));
            }
            body.as_mut().poll_next(cx).map(Ok)
        });
        match next.await? {
            Some(Ok(mut bytes)) => {
                // Sends as the client's window allows.
                while !bytes.is_empty() {
                    if !has_room(&mut stream, bytes.len().min(CHUNK), connection).await? {
                        return Ok(());
                    }
                    let room = stream.capacity().min(bytes.len());
                    stream.send_data(bytes.split_to(room), false)?;
                }
            }
            Some(Err(err)) => {
                connection.generation().broke_off(connection.peer(), &err);
                stream.send_reset(Reason::INTERNAL_ERROR);
                return Ok(());
            }
            None => return stream.send_data(Bytes::new(), true),
        }
    }
}

/// Waits until the client takes at least a byte of `wanted`. `false`: it did not for too long, and
/// the stream was reset.
async fn has_room(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
    connection: &Connection,
) -> Result<bool, h2::Error> {
    stream.reserve_capacity(wanted);
    let room = poll_fn(|cx| {
        // What was assigned before is not told again.
        if stream.capacity() > 0 {
            return Poll::Ready(Ok(()));
        }
        match ready!(stream.poll_capacity(cx)) {
            Some(assigned) => Poll::Ready(assigned.map(drop)),
            None => Poll::Ready(Err(Reason::CANCEL.into())),
        }
    });
    match timeout(connection.generation().places.write_timeout(), room).await {
        Ok(room) => room.map(|()| true),
        Err(_) => {
            connection.generation().stalled(connection.peer(), "stream");
            stream.send_reset(Reason::CANCEL);
            Ok(false)
        }
    }
}

fn convert_response(response: &Response<()>, size: BodySize) -> http1::Response<()> {
    let mut head = http1::Response::new(());
    let status = response.status().as_u16();
    *head.status_mut() =
        http1::StatusCode::from_u16(status).unwrap_or(http1::StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in response.headers() {
        // RFC 9113, section 8.2.2: these belong to HTTP/1.
        let connection_specific = *name == header::CONNECTION
            || *name == header::TRANSFER_ENCODING
            || *name == header::UPGRADE;
        if connection_specific || *name == header::CONTENT_LENGTH && !matches!(size, BodySize::None)
        {
            continue;
        }
        if let (Ok(name), Ok(value)) = (
            http1::HeaderName::from_bytes(name.as_ref()),
            http1::HeaderValue::from_bytes(value.as_bytes()),
        ) {
            head.headers_mut().append(name, value);
        }
    }
    if let BodySize::Sized(length) = size {
        head.headers_mut().insert(http1::header::CONTENT_LENGTH, length.into());
    }
    if !head.headers().contains_key(http1::header::DATE)
        && let Ok(date) = httpdate::fmt_http_date(std::time::SystemTime::now()).parse()
    {
        head.headers_mut().insert(http1::header::DATE, date);
    }
    head
}
