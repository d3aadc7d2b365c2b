//! What systemd is told, and its watchdog.

use std::{
    io::Write,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::{
    certificates::CertificateAuthority, openssl::fingerprint_seen_by_openssl, seconds,
    service::Service, shim::Shim, wait_until_blocking, watched::PlainFiles,
};

/// A service manager of the tests.
struct Manager {
    socket: UnixDatagram,
    address: String,
    _folder: TempDir,
}

impl Manager {
    fn new(abstract_address: bool) -> Self {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("notify");
        let (address, place) = if abstract_address {
            let name = path.to_string_lossy().replace('/', ".");
            (SocketAddr::from_abstract_name(&name).expect("a name"), format!("@{name}"))
        } else {
            (SocketAddr::from_pathname(&path).expect("a path"), path.display().to_string())
        };
        let socket = UnixDatagram::bind_addr(&address).expect("a datagram socket");
        Self { socket, address: place, _folder: folder }
    }

    /// Starts a service that talks to it, on the machine of a shim.
    fn start(&self, shim: &Shim, environment: &[(&str, &str)]) -> Service {
        let installation = Service::portcullis().prepare();
        let mut command = installation.command();
        shim.attach(&mut command, &installation.data_dir());
        command.env("NOTIFY_SOCKET", &self.address).envs(environment.iter().copied());
        installation.try_start_by(command).map_err(|refused| refused.stderr).expect("a start")
    }

    /// The next message, if one comes in time.
    fn heard(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("a timeout");
        let mut buffer = [0; 4096];
        let count = self.socket.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..count]).into_owned())
    }

    /// Waits for a message with this line and gives it.
    #[track_caller]
    fn hears(&self, line: &str) -> String {
        let deadline = Instant::now() + seconds(20);
        loop {
            let message = self.heard(deadline.saturating_duration_since(Instant::now()));
            let message = message.unwrap_or_else(|| panic!("never heard {line}"));
            if message.lines().any(|said| said == line) {
                return message;
            }
        }
    }

    /// How many words of life come in this time.
    fn alive_within(&self, time: Duration) -> usize {
        let deadline = Instant::now() + time;
        let mut count = 0;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            if left.is_zero() {
                break;
            }
            count += usize::from(self.heard(left).is_some_and(|said| said == "WATCHDOG=1"));
        }
        count
    }
}

#[test]
fn start_reload_and_end_are_told_at_a_path_and_at_an_abstract_address() {
    for abstract_address in [false, true] {
        let manager = Manager::new(abstract_address);
        let mut service = manager.start(&Shim::new(), &[]);
        manager.hears("READY=1");
        let before = monotonic_now();
        service.signal(Signal::SIGHUP);
        let reloading = manager.hears("RELOADING=1");
        let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        let stamp: u64 = stamp.and_then(|stamp| stamp.parse().ok()).expect("a time");
        assert!((before..=monotonic_now()).contains(&stamp), "{stamp}");
        manager.hears("READY=1");
        service.signal(Signal::SIGTERM);
        manager.hears("STOPPING=1");
        assert!(service.wait_for_end(seconds(10)).success());
        // Without a watchdog there are no words of life.
        assert_eq!(manager.alive_within(seconds(0)), 0);
    }
}

fn monotonic_now() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    u64::try_from(Duration::from(now).as_micros()).expect("microseconds")
}

#[test]
fn reload_is_over_when_what_was_found_serves() {
    let manager = Manager::new(false);
    let authority = CertificateAuthority::new();
    let (first, second) = (authority.pair_a(), authority.pair_b());
    let files = PlainFiles::holding(&first);
    let installation = Service::portcullis().settings(&files.settings()).prepare();
    let mut command = installation.command();
    command.env("NOTIFY_SOCKET", &manager.address);
    let started = installation.try_start_by(command).map_err(|refused| refused.stderr);
    let service = started.expect("a start");
    manager.hears("READY=1");
    for bundle in [&second, &first, &second] {
        files.write(bundle);
        service.signal(Signal::SIGHUP);
        manager.hears("RELOADING=1");
        manager.hears("READY=1");
        let served = fingerprint_seen_by_openssl(authority.path(), service.port("https"));
        assert_eq!(served, bundle.fingerprint, "READY came before the certificate served");
    }
}

#[test]
fn watchdog_hears_at_half_its_interval_where_it_is_meant() {
    let shim = Shim::new();
    let manager = Manager::new(false);
    let _service = manager.start(&shim, &[("WATCHDOG_USEC", "1000000")]);
    manager.hears("READY=1");
    let alive = manager.alive_within(seconds(4));
    assert!((4..=9).contains(&alive), "{alive} words of life in 4 s");

    for environment in [
        [("WATCHDOG_USEC", "1000000"), ("WATCHDOG_PID", "1")],
        [("WATCHDOG_USEC", "0"), ("WATCHDOG_PID", "")],
        [("WATCHDOG_USEC", "soon"), ("SOMETHING", "else")],
    ] {
        let manager = Manager::new(false);
        let _service = manager.start(&shim, &environment);
        manager.hears("READY=1");
        assert_eq!(manager.alive_within(seconds(2)), 0, "{environment:?}");
    }
}

#[test]
fn watchdog_hears_nothing_while_a_worker_or_the_owners_hang() {
    for owners in [false, true] {
        let (shim, manager) = (Shim::new(), Manager::new(false));
        let service = manager.start(&shim, &[("WATCHDOG_USEC", "2000000")]);
        manager.hears("WATCHDOG=1");
        let mut open: Box<dyn Write> = if owners {
            let socket = service.data_dir().join("console.sock");
            Box::new(std::os::unix::net::UnixStream::connect(socket).expect("the console"))
        } else {
            let address = ("127.0.0.1", service.port("http"));
            Box::new(std::net::TcpStream::connect(address).expect("a connection"))
        };
        shim.hang_readers(true);
        open.write_all(b"GET /healthz HTTP/1.1\r\n").expect("a request");
        let name = if owners { "the owners' thread" } else { "worker " };
        wait_until_blocking("what hangs is told", seconds(20), || {
            service.log().contains(&format!("hanging: {name}"))
        });
        while manager.heard(Duration::from_millis(1)).is_some() {}
        assert_eq!(manager.alive_within(seconds(3)), 0, "a hanging {name} passes for health");
        shim.hang_readers(false);
        manager.hears("WATCHDOG=1");
        wait_until_blocking("it is told that it runs again", seconds(20), || {
            service.log().contains("no thread hangs any more")
        });
    }
}
