//! One request over a connection of its own, with deadlines.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::web::Bytes;
use http_body_util::BodyExt as _;
use hyper::{
    Request, Response,
    body::{Body as _, Incoming},
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Body, Error, Host, Origin, dial::Connector};

/// The head of an answer, and what is read of its body at once, in bytes.
const MOST_HEAD: usize = 64 << 10;
/// Headers that an answer may have.
const MOST_HEADERS: usize = 100;

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 3;

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// To resolve a name; to connect; for the TLS handshake.
    pub connect: Duration,
    /// For the head of the answer once all was sent, and for each stretch of a body.
    pub stretch: Duration,
    /// The least that a stretch has to bring unless the body ends, in bytes.
    pub least: u64,
    /// For everything together; whoever sends keeps it.
    pub whole: Duration,
}

impl Default for Limits {
    /// 480 KiB a minute, or 64 kbit/s, are enough; 2 GiB in half a day need 400 kbit/s.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            stretch: Duration::from_secs(60),
            least: 480 << 10,
            whole: Duration::from_secs(12 * 3600),
        }
    }
}

/// An answer whose body is still to be read. The connection ends with it.
#[derive(Debug)]
pub struct Answer {
    response: Response<Incoming>,
    pace: Pace,
    _connection: Connection,
}

/// What is left of a stretch of a body.
#[derive(Debug)]
struct Pace {
    limits: Limits,
    left: Duration,
    bytes: u64,
}

/// The task that moves the bytes of a connection.
#[derive(Debug)]
struct Connection(JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Answer {
    /// The status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    #[must_use]
    pub fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Bytes of the body, as far as the head tells.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.response.body().size_hint().exact()
    }

    pub(super) fn location(&self) -> Option<&[u8]> {
        self.response.headers().get("location").map(|value| value.as_bytes())
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// It broke off, or comes too slowly.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let begun = Instant::now();
            let frame = timeout(self.pace.left, self.response.body_mut().frame()).await;
            let frame = frame.map_err(|_| Error::Slow)?;
            let Some(frame) = frame.transpose().map_err(|err| Error::broken(&err))? else {
                return Ok(None);
            };
            // Trailers are no part of the body.
            let Ok(chunk) = frame.into_data() else { continue };
            self.pace.count(chunk.len(), begun.elapsed());
            return Ok(Some(chunk));
        }
    }
}

impl Pace {
    fn new(limits: Limits) -> Self {
        Self { limits, left: limits.stretch, bytes: 0 }
    }

    /// Only the time that was waited counts: what is done with the bytes is not the sender's.
    fn count(&mut self, bytes: usize, waited: Duration) {
        self.bytes += bytes as u64;
        if self.bytes >= self.limits.least {
            *self = Self::new(self.limits);
        } else {
            self.left = self.left.saturating_sub(waited);
        }
    }
}

/// Connects to the first of `addresses`, which were judged, that takes it; tries some, and shares
/// `patience` out among them, for one that is silent must not hide the others.
pub(super) async fn connect(
    connector: &dyn Connector,
    addresses: &[SocketAddr],
    patience: Duration,
) -> Result<TcpStream, Error> {
    let tried = &addresses[..addresses.len().min(MOST_ADDRESSES)];
    let mut last = io::ErrorKind::AddrNotAvailable;
    for address in tried {
        let share = patience / u32::try_from(tried.len()).unwrap_or(1);
        match timeout(share, connector.connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(err)) => last = err.kind(),
            Err(_) => last = io::ErrorKind::TimedOut,
        }
    }
    Err(Error::Connect(last))
}

/// Sends a request over a connection to `origin`.
pub(super) async fn send(
    stream: TcpStream,
    origin: &Origin,
    tls: Option<Arc<ClientConfig>>,
    head: hyper::http::request::Builder,
    body: &Body,
    limits: Limits,
) -> Result<Answer, Error> {
    let sent = Arc::new(AtomicU64::new(0));
    let request = head.body(body.stream(sent.clone())).map_err(|_| Error::Request)?;
    match tls {
        None => talk(TokioIo::new(stream), request, body.len(), &sent, limits).await,
        Some(config) => {
            let name = match &origin.host {
                Host::Name(name) => ServerName::try_from(name.clone()).map_err(|_| Error::Name)?,
                Host::Address(address) => ServerName::IpAddress((*address).into()),
            };
            let shaken = TlsConnector::from(config).connect(name, stream);
            let shaken = timeout(limits.connect, shaken).await.map_err(|_| Error::Slow)?;
            let stream = shaken.map_err(|err| Error::Tls(err.to_string()))?;
            talk(TokioIo::new(stream), request, body.len(), &sent, limits).await
        }
    }
}

async fn talk<S, B>(
    stream: S,
    request: Request<B>,
    length: u64,
    sent: &AtomicU64,
    limits: Limits,
) -> Result<Answer, Error>
where
    S: Read + Write + Unpin + Send + 'static,
    B: hyper::body::Body<Data = Bytes, Error = io::Error> + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEAD).max_headers(MOST_HEADERS);
    let (mut sender, connection) =
        builder.handshake(stream).await.map_err(|err| Error::broken(&err))?;
    let connection = Connection(tokio::spawn(async move {
        // The request tells what went wrong.
        let _ = connection.await;
    }));
    let mut answering = pin!(sender.send_request(request));
    let mut before = 0;
    loop {
        match timeout(limits.stretch, &mut answering).await {
            Ok(response) => {
                let response = response.map_err(|err| Error::broken(&err))?;
                let pace = Pace::new(limits);
                return Ok(Answer { response, pace, _connection: connection });
            }
            Err(_) => {
                let now = sent.load(Ordering::Relaxed);
                let enough = now - before >= limits.least;
                // The end of a long body: the answer has a stretch of its own.
                let just_sent = now > before && now == length && length > limits.least;
                if !enough && !just_sent {
                    return Err(Error::Slow);
                }
                before = now;
            }
        }
    }
}
