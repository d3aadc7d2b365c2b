//! Sockets that a service manager holds for the appliance (sd_listen_fds(3)), so that ports stay
//! open over restarts and upgrades of the binary.

use std::{collections::BTreeMap, net::TcpListener};

use anyhow::{Context as _, ensure};
use listenfd::ListenFd;

/// The passed sockets by their names (`FileDescriptorName=` in the socket unit).
#[derive(Debug, Default)]
pub(crate) struct Inherited(BTreeMap<String, TcpListener>);

impl Inherited {
    /// Takes over what `LISTEN_FDS` announces to this process.
    pub(crate) fn from_env() -> anyhow::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut sockets = BTreeMap::new();
        for index in 0..passed.len() {
            let name = names.split(':').nth(index).filter(|name| !name.is_empty());
            let name = name.with_context(|| {
                format!("passed socket {index} has no name in LISTEN_FDNAMES; set FileDescriptorName= to the name of its listener")
            })?;
            let socket = passed
                .take_tcp_listener(index)
                .with_context(|| format!("passed socket `{name}` is no listening TCP socket"))?
                .with_context(|| format!("passed socket `{name}` is not there"))?;
            ensure!(
                sockets.insert(name.to_owned(), socket).is_none(),
                "two passed sockets are called `{name}`; a listener takes one"
            );
        }
        Ok(Self(sockets))
    }

    /// The socket for a listener, if one was passed.
    pub(crate) fn take(&mut self, listener: &str) -> Option<TcpListener> {
        self.0.remove(listener)
    }

    /// Tells about sockets that no listener wanted, and closes them.
    pub(crate) fn close_rest(self) {
        for name in self.0.into_keys() {
            log::warn!("passed socket `{name}` is closed: no listener has that name");
        }
    }
}
