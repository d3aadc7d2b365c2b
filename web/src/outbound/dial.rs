//! How names become addresses, and addresses connections. Tests bring their own.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use futures::future::BoxFuture;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, oneshot},
};

/// Look-ups at once; what one costs is a thread that waits.
const LOOKUPS: usize = 64;

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync {
    /// All addresses of `name`. An error and an empty list mean the same.
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// Connects to an address that was judged.
pub trait Connector: Send + Sync {
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// The resolver of the system.
///
/// Each look-up has a thread of its own that nobody waits for: the system's call cannot be cut
/// short, and must hold neither a thread that others need nor the end of the process.
pub struct SystemResolver(Arc<Semaphore>);

impl Default for SystemResolver {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS)))
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let (slots, name) = (self.0.clone(), name.to_owned());
        Box::pin(async move {
            let slot = slots.acquire_owned().await.map_err(io::Error::other)?;
            let (found, answer) = oneshot::channel();
            std::thread::Builder::new().name("lookup".into()).spawn(move || {
                let addresses = (name.as_str(), 0).to_socket_addrs();
                let ips = addresses.map(|all| all.map(|address| address.ip()).collect());
                drop(slot);
                // Nobody waits for it any more once the time was over.
                let _ = found.send(ips);
            })?;
            answer.await.map_err(io::Error::other)?
        })
    }
}

/// Plain TCP.
pub struct TcpConnector;

impl Connector for TcpConnector {
    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}
