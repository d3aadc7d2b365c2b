//! What a new connection passes: a place, the generation that serves, the TLS handshake.

use std::{future::poll_fn, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::either::Either;

use super::{
    admission::Admission,
    connection::{Registered, Socket, Stream, Tracked},
    generation::Generation,
    http1, http2,
    load::Carried,
    plan::Tls,
    worker::Worker,
};
use crate::{
    metrics::{HandshakeLabels, METRICS},
    tls::TlsConfigs,
};

/// The content type that a TLS connection begins with (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The way into one listener. A handover sets what it leads to.
pub(crate) struct Entrance {
    current: ArcSwap<Generation>,
    admission: Arc<Admission>,
    tls: Arc<TlsConfigs>,
}

impl Entrance {
    pub(crate) fn new(
        current: Arc<Generation>,
        admission: Arc<Admission>,
        tls: Arc<TlsConfigs>,
    ) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::new(current), admission, tls })
    }

    /// From here on connections belong to `next`.
    pub(crate) fn lead_to(&self, next: Arc<Generation>) {
        self.current.store(next);
    }

    /// Counts that no connection could be accepted, and tells it now and then.
    pub(super) fn accepting_failed(&self, err: &io::Error) {
        self.current.load().context.accepting_failed(err);
    }

    /// Takes a connection up; `None`: there is no room for it, which was counted.
    fn register(
        &self,
        peer: SocketAddr,
        carried: Carried,
    ) -> Option<(Registered, Arc<Generation>)> {
        let generation = self.current.load_full();
        let place = match self.admission.admit(peer.ip().into(), generation.context.administers) {
            Ok(place) => place,
            Err(full) => {
                generation.context.refused(peer, "connection", full);
                return None;
            }
        };
        let mut taking = (generation, place, carried);
        loop {
            let (generation, place, carried) = taking;
            match generation.open.add(peer, generation.context.clone(), place, carried) {
                Ok(registered) => return Some((registered, generation)),
                // It was replaced just now and has ended already.
                Err((place, carried)) => {
                    let next = self.current.load_full();
                    if Arc::ptr_eq(&next, &generation) {
                        return None;
                    }
                    taking = (next, place, carried);
                }
            }
        }
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    entrance: Arc<Entrance>,
    worker: Rc<Worker>,
) {
    let Some((registered, generation)) = entrance.register(peer, Carried::by(worker.load())) else {
        return;
    };
    // Boxed: a handshake is large and short, and the task stays as large as its largest part.
    let shaken = Box::pin(shake_hands(stream, registered, &generation, &entrance.tls)).await;
    drop(entrance);
    let Some((stream, speaks_http2)) = shaken else { return };
    // Every worker has made it before its generation began.
    let Ok(answers) = worker.answers(&generation.application).await else { return };
    drop(generation);
    if speaks_http2 {
        Box::pin(http2::serve(stream, answers.app.clone())).await;
    } else {
        http1::serve(stream, &answers, &worker).await;
    }
}

/// Makes an accepted connection ready for HTTP and tells whether it speaks HTTP/2. `None`: it
/// ended, which was logged.
async fn shake_hands(
    stream: TcpStream,
    registered: Registered,
    generation: &Generation,
    tls: &TlsConfigs,
) -> Option<(Tracked<Stream>, bool)> {
    let plan = &generation.context.listener;
    let connection = registered.connection.clone();
    let peer = connection.peer();
    let handshake = async {
        let secure = speaks_tls(&stream, plan.tls).await?;
        let stream = Socket::new(stream, connection.clone());
        if !secure {
            return Ok(Either::Left(stream));
        }
        // Taken at this instant: a replaced certificate is never shown again, by no generation.
        let acceptor = TlsAcceptor::from(tls.current(generation.offers_http2));
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
