//! The service manager's ear: datagrams as in sd_notify(3), to a path or an abstract address.
//!
//! Written here because `sd-notify` takes `@name` for a path.

use std::{
    env,
    ffi::OsString,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use nix::time::{ClockId, clock_gettime};

/// A service manager that does not read its socket is not waited for any longer.
const PATIENCE: Duration = Duration::from_millis(200);

/// What the service manager is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Every port accepts, or what was read again holds.
    Ready,
    /// Everything is being read again.
    Reloading,
    /// The end has begun.
    Stopping,
    /// Nothing hangs.
    Alive,
}

impl Word {
    fn message(self) -> String {
        match self {
            Self::Ready => "READY=1\nSTATUS=serving".into(),
            // Type=notify-reload believes it only with the time, so that an old one is not taken
            // for an answer to a new request.
            Self::Reloading => {
                let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
                let now = now.unwrap_or_default().as_micros();
                format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reading everything again")
            }
            Self::Stopping => "STOPPING=1\nSTATUS=shutting down".into(),
            Self::Alive => "WATCHDOG=1".into(),
        }
    }
}

/// Tells the service manager, where there is one that wants to hear it.
pub(crate) fn tell(word: Word) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else {
        return;
    };
    if let Err(err) = send(&socket, &word.message()) {
        log::warn!("the service manager at {} cannot be told: {err}", socket.display());
    }
}

fn send(socket: &OsString, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => {
            let text = "NOTIFY_SOCKET is neither a path nor an abstract address (@name)";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let datagram = UnixDatagram::unbound()?;
    datagram.set_write_timeout(Some(PATIENCE))?;
    datagram.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// Within what time the service manager wants to hear [`Word::Alive`], if at all.
pub(crate) fn watchdog() -> Option<Duration> {
    let for_us = match env::var("WATCHDOG_PID") {
        Ok(pid) => pid.trim().parse() == Ok(std::process::id()),
        Err(_) => true,
    };
    let interval: u64 = env::var("WATCHDOG_USEC").ok()?.trim().parse().ok()?;
    (for_us && interval > 0).then(|| Duration::from_micros(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_an_abstract_address_hear_and_nonsense_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("portcullis-test-{}", std::process::id());
        let heard = |socket: UnixDatagram, address: OsString| {
            send(&address, "READY=1").unwrap();
            let mut buffer = [0; 64];
            let count = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1");
        };
        heard(UnixDatagram::bind(&path).unwrap(), path.clone().into());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        heard(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into());
        assert!(send(&"vsock:2:9".into(), "READY=1").is_err());
        assert!(send(&"/nobody/listens".into(), "READY=1").is_err());
    }

    #[test]
    fn a_socket_that_nobody_reads_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let refused = (0..10_000).find_map(|_| send(&path.clone().into(), "WATCHDOG=1").err());
        assert_eq!(refused.map(|err| err.kind()), Some(io::ErrorKind::WouldBlock));
    }
}
