//! HTTP/2 clients: one that works, and one that only watches frames.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http1::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{seconds, tls, within};

/// One HTTP/2 connection.
pub(crate) struct Client {
    sender: SendRequest<Bytes>,
    port: u16,
    ended: Arc<AtomicBool>,
}

impl Client {
    pub(crate) async fn connect(port: u16) -> Result<Self, h2::Error> {
        let stream = tls::connect(port, &["h2"]).await.expect("a TLS connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]), "HTTP/2 is agreed on");
        let (sender, connection) = h2::client::handshake(stream).await?;
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        tokio::spawn(async move {
            let _ = connection.await;
            flag.store(true, Ordering::SeqCst);
        });
        Ok(Self { sender, port, ended })
    }

    /// Whether the server has ended the connection.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Begins a request; with `end` it has no body.
    pub(crate) async fn begin(
        &self,
        method: &str,
        path: &str,
        end: bool,
    ) -> Result<Exchange, h2::Error> {
        let uri = format!("https://127.0.0.1:{}{path}", self.port);
        let request = Request::builder().method(method).uri(uri).body(()).expect("a request");
        let mut sender = self.sender.clone().ready().await?;
        let (response, body) = sender.send_request(request, end)?;
        Ok(Exchange { response, body })
    }

    /// A whole request without a body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, Vec<u8>), h2::Error> {
        self.begin("GET", path, true).await?.answer().await
    }
}

/// One request and its answer.
pub(crate) struct Exchange {
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Exchange {
    /// Sends a piece of the body as fast as the server takes it.
    pub(crate) async fn send(&mut self, piece: Vec<u8>, end: bool) -> Result<(), h2::Error> {
        let mut piece = Bytes::from(piece);
        while !piece.is_empty() {
            self.body.reserve_capacity(piece.len());
            let granted = within(seconds(30), "room for a piece", async {
                poll_fn(|context| self.body.poll_capacity(context)).await
            });
            let granted = granted.await.unwrap_or(Err(h2::Reason::STREAM_CLOSED.into()))?;
            let part = piece.split_to(granted.min(piece.len()));
            self.body.send_data(part, end && piece.is_empty())?;
        }
        Ok(())
    }

    /// Waits for the head of the answer.
    pub(crate) async fn head(self) -> Result<(u16, RecvStream), h2::Error> {
        let head = within(seconds(30), "the head of an answer", self.response).await?;
        Ok((head.status().as_u16(), head.into_body()))
    }

    /// Waits for the whole answer.
    pub(crate) async fn answer(self) -> Result<(u16, Vec<u8>), h2::Error> {
        let (status, mut stream) = self.head().await?;
        let mut body = Vec::new();
        while let Some(piece) = within(seconds(30), "a piece of an answer", stream.data()).await {
            let piece = piece?;
            stream.flow_control().release_capacity(piece.len())?;
            body.extend_from_slice(&piece);
        }
        Ok((status, body))
    }
}

/// A frame as it came: its type, its flags and what it carries.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;

/// An HTTP/2 connection taken frame by frame.
pub(crate) struct Watcher {
    stream: TlsStream<TcpStream>,
    port: u16,
}

impl Watcher {
    /// Opens a connection and exchanges settings.
    pub(crate) async fn connect(port: u16) -> io::Result<Self> {
        let mut stream = tls::connect(port, &["h2"]).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await?;
        stream.flush().await?;
        let mut watcher = Self { stream, port };
        let first = watcher.frame().await?;
        assert_eq!(first.kind, SETTINGS, "the server begins with its settings");
        Ok(watcher)
    }

    /// Asks for a page on the first stream and takes the whole answer.
    pub(crate) async fn get(&mut self, path: &str) -> io::Result<()> {
        let authority = format!("127.0.0.1:{}", self.port);
        // GET and https from the static table, :path and :authority as literals.
        let mut block = vec![0x82, 0x87];
        for (name, value) in [(0x04, path), (0x01, authority.as_str())] {
            block.extend([name, u8::try_from(value.len()).expect("a short value")]);
            block.extend_from_slice(value.as_bytes());
        }
        let length = u8::try_from(block.len()).expect("a short block");
        let end_stream_and_headers = 0x5;
        self.stream.write_all(&[0, 0, length, HEADERS, end_stream_and_headers, 0, 0, 0, 1]).await?;
        self.stream.write_all(&block).await?;
        self.stream.flush().await?;
        loop {
            let frame = self.frame().await?;
            if frame.kind <= HEADERS && frame.flags & END_STREAM != 0 {
                return Ok(());
            }
        }
    }

    /// The next frame; settings and pings are acknowledged on the way.
    pub(crate) async fn frame(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a frame fits into memory")];
        self.stream.read_exact(&mut payload).await?;
        let frame = Frame { kind: head[3], flags: head[4], payload };
        if frame.flags & ACK == 0 && [SETTINGS, PING].contains(&frame.kind) {
            let size = if frame.kind == PING { 8 } else { 0 };
            self.stream.write_all(&[0, 0, size, frame.kind, ACK, 0, 0, 0, 0]).await?;
            self.stream.write_all(&frame.payload[..usize::from(size)]).await?;
            self.stream.flush().await?;
        }
        Ok(frame)
    }

    /// Every frame until the server closes; none when it does not close in time.
    pub(crate) async fn frames_until_closed(&mut self, deadline: Duration) -> Option<Vec<Frame>> {
        let all = async {
            let mut frames = Vec::new();
            while let Ok(frame) = self.frame().await {
                frames.push(frame);
            }
            frames
        };
        tokio::time::timeout(deadline, all).await.ok()
    }
}
