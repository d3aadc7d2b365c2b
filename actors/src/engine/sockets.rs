//! The listening sockets: bound once at start, kept for the life of the process.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel holds for a client before it has sent them. With more, a client that
/// takes a megabyte in minutes looks like one that takes nothing, and each that does costs the
/// kernel megabytes.
const UNSENT_BYTES: u32 = 128 << 10;
/// A peer that is silent for so long is asked whether it is there still.
const ASK_AFTER: Duration = Duration::from_secs(60);
/// How long it has to answer, each time.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// How often it is asked before it counts as gone.
const ASK_TIMES: u32 = 4;

/// Why a listener's address could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (listener `{listener}`): {reason}")]
pub struct BindError {
    pub listener: String,
    pub address: SocketAddr,
    pub reason: String,
}

/// Binds `address` and listens. `[::]` takes IPv4 as well; where the machine has no IPv6 at all
/// it becomes `0.0.0.0`.
///
/// # Errors
/// One line that names the address, the reason and the remedy.
pub(crate) fn bind(listener: &str, address: SocketAddr) -> Result<TcpListener, BindError> {
    let bound = match listen(address) {
        Err(err) if address.ip().is_unspecified() && has_no_ipv6(&err, address) => {
            let fallback = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            log::warn!("listener {listener}: no IPv6 on this machine, listening on {fallback}");
            listen(fallback)
        }
        bound => bound,
    };
    bound.map_err(|err| BindError {
        listener: listener.to_owned(),
        address,
        reason: explain(&err, address),
    })
}

fn has_no_ipv6(err: &io::Error, address: SocketAddr) -> bool {
    let unsupported = matches!(err.raw_os_error(), Some(code) if code == nix::libc::EAFNOSUPPORT);
    address.is_ipv6() && (unsupported || err.kind() == io::ErrorKind::AddrNotAvailable)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets what connections inherit from the socket that they come in on (Linux copies it), so that
/// it costs none of them a call.
pub(crate) fn prepare(socket: &TcpListener) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    let keepalive =
        TcpKeepalive::new().with_time(ASK_AFTER).with_interval(ASK_EVERY).with_retries(ASK_TIMES);
    socket.set_tcp_keepalive(&keepalive)
}

/// From here on the kernel drops who asks for a new connection, so that he asks again later, and
/// finishes those handshakes that have begun.
///
/// # Errors
/// The kernel has no socket filters.
pub(crate) fn refuse_newcomers(socket: &TcpListener) -> io::Result<()> {
    // What is filtered begins with the header of TCP.
    let filter = [
        // Load the byte of the flags.
        SockFilter::new(0x30, 0, 0, 13),
        // Is it a SYN?
        SockFilter::new(0x45, 0, 1, 0x02),
        // It is: none of it passes.
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    SockRef::from(socket).attach_filter(&filter)
}

fn explain(err: &io::Error, address: SocketAddr) -> String {
    let port = address.port();
    match err.kind() {
        io::ErrorKind::AddrInUse => format!(
            "the port is in use by another process (`ss -ltnp sport = :{port}` names it); stop that one or give this listener another address"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "not permitted; ports below 1024 need root or the capability CAP_NET_BIND_SERVICE, or start with --unprivileged to use other ports than {port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine has no address {}; use one that `ip addr` shows, or [::]",
                address.ip()
            )
        }
        _ => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_inherit_what_their_socket_has() {
        let socket = bind("first", "127.0.0.1:0".parse().unwrap()).unwrap();
        prepare(&socket).unwrap();
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        let accepted = loop {
            match socket.accept() {
                Ok((accepted, _)) => break accepted,
                Err(err) => assert_eq!(err.kind(), io::ErrorKind::WouldBlock),
            }
        };
        let accepted = SockRef::from(&accepted);
        assert!(accepted.tcp_nodelay().unwrap() && accepted.keepalive().unwrap());
        assert_eq!(accepted.tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        assert_eq!(accepted.tcp_keepalive_time().unwrap(), ASK_AFTER);
        assert_eq!(accepted.tcp_keepalive_interval().unwrap(), ASK_EVERY);
        assert_eq!(accepted.tcp_keepalive_retries().unwrap(), ASK_TIMES);
    }

    #[test]
    fn a_taken_port_is_explained() {
        let taken = bind("first", "[::]:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let message = bind("second", address).unwrap_err().to_string();
        let port = address.port();
        assert!(message.contains(&format!("[::]:{port} (listener `second`)")), "{message}");
        assert!(message.contains("in use"), "{message}");
    }
}
