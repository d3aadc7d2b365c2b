//! Taking connections from the kernel.
//!
//! A listener has one socket, which is registered with the reactor of every worker: whoever has
//! little to do is there first. No thread stands between the kernel and the one that serves.

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
    sync::mpsc,
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    entrance::{self, Entrance},
    worker::Worker,
};

/// How long a worker that has enough leaves a connection to the others. It takes it then all the
/// same: they may be blocked.
const COURTESY: Duration = Duration::from_millis(1);
/// Connections that are taken before others of the thread have their turn.
const BATCH: usize = 16;
/// How long nothing is accepted after the operating system had no room for a connection.
const BACK_OFF: Duration = Duration::from_millis(100);
/// How long an acceptor that panicked waits.
const REVIVAL_PAUSE: Duration = Duration::from_secs(1);

/// What accepts on one listener, on every worker. They stop when this is dropped.
pub(crate) struct Acceptors {
    stop: CancellationToken,
    /// Ends with the last of them.
    running: mpsc::Receiver<()>,
}

/// What each worker is given.
#[derive(Clone)]
pub(super) struct Acceptor {
    socket: Arc<TcpListener>,
    entrance: Arc<Entrance>,
    stop: CancellationToken,
    _running: mpsc::Sender<()>,
}

impl Acceptors {
    pub(super) fn of(socket: Arc<TcpListener>, entrance: Arc<Entrance>) -> (Self, Acceptor) {
        let stop = CancellationToken::new();
        let (sender, running) = mpsc::channel(1);
        let acceptor = Acceptor { socket, entrance, stop: stop.clone(), _running: sender };
        (Self { stop, running }, acceptor)
    }

    /// Stops once the kernel's queue is empty. Resolves when nothing accepts any more.
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.running.recv().await.is_some() {}
    }
}

impl Drop for Acceptors {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Accepts until told to stop; begins again after a panic.
pub(super) async fn run(acceptor: Acceptor, worker: Rc<Worker>) {
    loop {
        let accepting = actix_rt::spawn(accept_all(acceptor.clone(), worker.clone()));
        match accepting.await {
            Ok(Ok(())) => return,
            Ok(Err(err)) => acceptor.entrance.accepting_failed(&err),
            // The panic itself is in the log.
            Err(_) => {}
        }
        sleep(REVIVAL_PAUSE).await;
    }
}

async fn accept_all(acceptor: Acceptor, worker: Rc<Worker>) -> io::Result<()> {
    let Acceptor { socket, entrance, stop, .. } = acceptor;
    #[expect(deprecated, reason = "what replaces it is unsafe; a listener keeps its descriptor")]
    let socket = AsyncFd::with_interest(socket, Interest::READABLE)?;
    loop {
        let mut ready = tokio::select! {
            biased;
            ready = socket.readable() => ready?,
            () = stop.cancelled() => {
                // What came before the stop is taken; nobody else will.
                while let Ok((stream, peer)) = socket.get_ref().accept() {
                    begin(stream, peer, &entrance, &worker);
                }
                return Ok(());
            }
        };
        if worker.has_enough() {
            sleep(COURTESY).await;
        }
        for _ in 0..BATCH {
            match ready.try_io(|socket| socket.get_ref().accept()) {
                Ok(Ok((stream, peer))) => begin(stream, peer, &entrance, &worker),
                Ok(Err(err)) if is_of_one(&err) => {}
                Ok(Err(err)) => {
                    entrance.accepting_failed(&err);
                    sleep(BACK_OFF).await;
                    break;
                }
                Err(_would_block) => break,
            }
            if worker.has_enough() {
                break;
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Whether an error is of the connection that was to be accepted, and says nothing of the next.
fn is_of_one(err: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(err.kind(), ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied)
        // Errors of the network that were waiting on the new socket (accept(2)).
        || matches!(
            err.raw_os_error(),
            Some(
                nix::libc::ENETDOWN
                    | nix::libc::EPROTO
                    | nix::libc::ENOPROTOOPT
                    | nix::libc::EHOSTDOWN
                    | nix::libc::ENONET
                    | nix::libc::EHOSTUNREACH
                    | nix::libc::EOPNOTSUPP
                    | nix::libc::ENETUNREACH
            )
        )
}

fn begin(
    stream: std::net::TcpStream,
    peer: std::net::SocketAddr,
    entrance: &Arc<Entrance>,
    worker: &Rc<Worker>,
) {
    // Fails only where the reactor has no room for it, as accepting does.
    let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
    match stream {
        Ok(stream) => {
            actix_rt::spawn(entrance::serve(stream, peer, entrance.clone(), worker.clone()));
        }
        Err(err) => entrance.accepting_failed(&err),
    }
}
