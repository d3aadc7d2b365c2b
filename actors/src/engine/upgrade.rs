//! WebSockets: their connection leaves the dispatcher, whose buffers go with it.

use std::{
    cell::RefCell,
    convert::Infallible,
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_codec::{Encoder, Framed};
use actix_http::{
    BoxedPayloadStream, ConnectionType, Payload, Request, Response, StatusCode,
    body::{BoxBody, MessageBody},
    error::PayloadError,
    h1::{Codec, Message},
};
use actix_service::{Service as _, fn_service};
use bytes::{Buf, Bytes, BytesMut};
use tokio::{io::AsyncWrite, time::timeout};

use super::{
    app::App,
    connection::DISCONNECT_TIMEOUT,
    stream::{Http1, own, poll_read_to_size},
};
use crate::pulse;

/// Bytes that wait for the client before its service is asked for more.
const ENOUGH: usize = 32 << 10;

/// What goes on with a connection whose client asks for another protocol.
pub(super) fn service(
    app: Rc<App>,
) -> impl actix_service::Service<(Request, Framed<Http1, Codec>), Response = (), Error = Infallible>
{
    fn_service(move |(request, framed)| {
        // A task of its own, so that the dispatcher goes now.
        actix_rt::spawn(serve(app.clone(), request, framed));
        std::future::ready(Ok(()))
    })
}

type Shared = Rc<RefCell<Http1>>;

async fn serve(app: Rc<App>, request: Request, framed: Framed<Http1, Codec>) {
    let parts = framed.into_parts();
    let name = format!("WebSocket {}", request.path());
    let (mut codec, unsent) = (parts.codec, parts.write_buf);
    let io: Shared = Rc::new(RefCell::new(parts.io));
    let payload = Incoming { first: own(&parts.read_buf), io: io.clone() };
    drop(parts.read_buf);
    let (request, _) =
        request.replace_payload(Payload::from(Box::pin(payload) as BoxedPayloadStream));
    let (Ok(response) | Err(response)) = app.call(request).await;
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let answered = || answer(response, switches, &mut codec, unsent, &io);
    if let Err(err) = pulse::named(name, answered).await {
        let peer = io.borrow().connection().peer();
        return log::debug!("HTTP/1 connection of {peer} ended: {err}");
    }
    let end = async {
        poll_fn(|cx| Pin::new(&mut *io.borrow_mut()).poll_shutdown(cx)).await?;
        // What is unread when the socket closes would take the answer with it.
        while !switches
            && !poll_fn(|cx| poll_read_to_size(&mut *io.borrow_mut(), cx)).await?.is_empty()
        {
        }
        io::Result::Ok(())
    };
    let _ = timeout(DISCONNECT_TIMEOUT, end).await;
}

/// Sends an answer, which for a WebSocket lasts as long as that.
async fn answer(
    mut response: Response<BoxBody>,
    switches: bool,
    codec: &mut Codec,
    unsent: BytesMut,
    io: &Shared,
) -> io::Result<()> {
    if switches {
        io.borrow_mut().becomes_session();
    } else {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
    let (head, body) = response.into_parts();
    let mut sending = Sending { codec, unsent, io };
    let size = body.size();
    sending.codec.encode(Message::Item((head, size)), &mut sending.unsent)?;
    let mut body = std::pin::pin!(body);
    let mut ends = false;
    poll_fn(|cx| {
        loop {
            let mut waits = false;
            while !ends && !waits && sending.unsent.len() < ENOUGH {
                match body.as_mut().poll_next(cx) {
                    Poll::Ready(Some(Ok(bytes))) => sending.add(Some(bytes))?,
                    Poll::Ready(Some(Err(err))) => {
                        return Poll::Ready(Err(io::Error::other(err.to_string())));
                    }
                    Poll::Ready(None) => {
                        sending.add(None)?;
                        ends = true;
                    }
                    Poll::Pending => waits = true,
                }
            }
            ready!(sending.poll_send(cx))?;
            if ends {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    })
    .await
}

/// What is on its way to the client.
struct Sending<'c> {
    codec: &'c mut Codec,
    unsent: BytesMut,
    io: &'c Shared,
}

impl Sending<'_> {
    fn add(&mut self, bytes: Option<Bytes>) -> io::Result<()> {
        self.codec.encode(Message::Chunk(bytes), &mut self.unsent)
    }

    /// Ready once the client was sent everything.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io.borrow_mut();
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut *io).poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.unsent.advance(sent),
            }
        }
        // Most WebSockets are silent most of the time.
        self.unsent = BytesMut::new();
        Pin::new(&mut *io).poll_flush(cx)
    }
}

/// What the client sends from now on.
struct Incoming {
    first: Bytes,
    io: Shared,
}

impl futures::Stream for Incoming {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(&mut self.first))));
        }
        let read = ready!(poll_read_to_size(&mut *self.io.borrow_mut(), cx));
        Poll::Ready(match read {
            Ok(bytes) if bytes.is_empty() => None,
            read => Some(read.map_err(PayloadError::Io)),
        })
    }
}
