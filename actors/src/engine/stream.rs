//! The stream under a dispatcher of HTTP/1.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    connection::{Connection, Stream, Tracked},
    offers::{Offers, TakesWebSocket},
};

/// What is read at once where no dispatcher reads.
const SCRATCH: usize = 16 << 10;

thread_local! {
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
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
    pub(super) fn new(
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
