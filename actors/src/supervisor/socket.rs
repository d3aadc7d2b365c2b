//! Sockets of listeners, bound before anything else is started.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use crate::engine::{self, BindError, ListenerPlan};

/// A socket that listens.
pub(super) struct BoundSocket {
    socket: Arc<TcpListener>,
    address: SocketAddr,
    /// Somebody else holds it too, and will go on listening.
    inherited: bool,
}

impl BoundSocket {
    pub(super) fn socket(&self) -> &Arc<TcpListener> {
        &self.socket
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }
}

/// A listener's socket, bound before anything else is started.
pub struct BoundListener {
    pub(super) plan: Arc<ListenerPlan>,
    pub(super) socket: BoundSocket,
}

impl BoundListener {
    /// Binds the listener's address.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(plan: ListenerPlan) -> Result<Self, BindError> {
        let socket = engine::bind(&plan.name, plan.address)?;
        Self::of(plan, socket, false)
    }

    /// Takes a socket that listens already; the address of the plan does not matter then.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn adopt(plan: ListenerPlan, socket: TcpListener) -> Result<Self, BindError> {
        Self::of(plan, socket, true)
    }

    fn of(plan: ListenerPlan, socket: TcpListener, inherited: bool) -> Result<Self, BindError> {
        let prepared = engine::prepare(&socket).and_then(|()| socket.local_addr());
        match prepared {
            Ok(address) => {
                let socket = BoundSocket { socket: Arc::new(socket), address, inherited };
                Ok(Self { plan: Arc::new(plan), socket })
            }
            Err(err) => Err(BindError {
                listener: plan.name,
                address: plan.address,
                reason: err.to_string(),
            }),
        }
    }

    /// The address with the port that the kernel chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket.address
    }

    #[must_use]
    pub fn plan(&self) -> &ListenerPlan {
        &self.plan
    }
}
