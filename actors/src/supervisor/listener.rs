//! One listener: its socket, where its connections go, and the generations that it has.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::socket::BoundSocket;
use crate::{
    engine::{self, Acceptors, Admission, Entrance, Generation, Lines, ListenerPlan, Pool},
    handover::GenerationNumber,
    tls::TlsConfigs,
};

/// How long handshakes of TCP that have begun may take to end before a socket is closed.
const LAST_HANDSHAKES: Duration = Duration::from_millis(500);

pub(super) struct Listener {
    pub(super) plan: Arc<ListenerPlan>,
    /// `None` once it has been removed, and once the appliance shuts down.
    pub(super) gate: Option<Gate>,
    /// Oldest first; the last one serves.
    pub(super) generations: Vec<Arc<Generation>>,
    pub(super) last_number: GenerationNumber,
    pub(super) lines: Arc<Lines>,
}

impl Listener {
    pub(super) fn new(plan: Arc<ListenerPlan>) -> Self {
        Self { plan, gate: None, generations: Vec::new(), last_number: 0, lines: Arc::default() }
    }

    pub(super) fn draining(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.generations.iter().filter(|generation| generation.is_draining())
    }

    pub(super) fn serving(&self) -> Option<&Arc<Generation>> {
        self.generations.last().filter(|generation| !generation.is_draining())
    }

    /// That of its socket, with the port that the kernel chose where 0 was asked for.
    pub(super) fn address(&self) -> SocketAddr {
        self.gate.as_ref().map_or(self.plan.address, |gate| gate.socket.address())
    }
}

/// A socket, and what its connections belong to.
pub(super) struct Gate {
    pub(super) socket: Arc<BoundSocket>,
    open: Option<(Arc<Entrance>, Acceptors)>,
}

impl Gate {
    pub(super) fn new(socket: Arc<BoundSocket>) -> Self {
        Self { socket, open: None }
    }

    /// Gives new connections to a generation, and begins to accept with the first.
    pub(super) fn lead_to(
        &mut self,
        generation: &Arc<Generation>,
        pool: &Pool,
        (admission, tls): (&Arc<Admission>, &Arc<TlsConfigs>),
    ) {
        if let Some((entrance, _)) = &self.open {
            return entrance.lead_to(generation.clone());
        }
        let entrance = Entrance::new(generation.clone(), admission.clone(), tls.clone());
        let acceptors = pool.accept(self.socket.socket(), &entrance);
        self.open = Some((entrance, acceptors));
    }

    /// Takes what waits in the kernel's queue, then accepts no more and closes the socket. Who comes
    /// meanwhile is refused, and nobody is reset.
    pub(super) async fn close(self) {
        if !self.socket.is_inherited() {
            match engine::refuse_newcomers(self.socket.socket()) {
                // Their third packet may still be on its way.
                Ok(()) => tokio::time::sleep(LAST_HANDSHAKES).await,
                Err(err) => log::debug!("those who come while a socket closes are reset: {err}"),
            }
        }
        self.stop().await;
    }

    /// Takes what waits in the kernel's queue, then accepts no more.
    pub(super) async fn stop(self) {
        if let Some((_, acceptors)) = self.open {
            acceptors.stop().await;
        }
    }
}
