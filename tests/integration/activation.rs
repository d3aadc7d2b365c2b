//! Sockets that a service manager holds: nobody is refused while the service is replaced.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinSet;

use crate::support::http::{Connection, open};
use crate::support::service::{Installation, Refused, Service};
use crate::support::{millis, pace, seconds, wait_until};

/// What a service manager does: sockets from descriptor 3 on, told of in the environment.
const MANAGER: &str = r#"exec 3<&0 4>&1 </dev/null >/dev/null
export LISTEN_PID="${OTHER_PID:-$$}" LISTEN_FDS=2
exec "$@""#;

/// The parent of the service, which holds its two sockets.
struct Manager {
    https: TcpListener,
    http: TcpListener,
}

impl Manager {
    fn new() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("a listening socket");
        Self { https: listen(), http: listen() }
    }

    fn port(socket: &TcpListener) -> u16 {
        socket.local_addr().expect("an address").port()
    }

    /// A configuration that names the addresses of the sockets, as a unit file would.
    fn installation(&self) -> Installation {
        let listener = |name: &str, socket: &TcpListener, extra: &str| {
            let port = Self::port(socket);
            format!(
                "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:{port}\"\n{extra}\nservices = [\"security\", \"management\"]\n"
            )
        };
        let listeners = listener("http", &self.http, "redirect_to = \"https\"")
            + &listener("https", &self.https, "tls = true");
        Service::portcullis().listeners(&listeners).wrapper(&["sh", "-c", MANAGER, "sh"]).prepare()
    }

    /// The command of an installation with the sockets handed over under these names.
    fn command(&self, installation: &Installation, names: Option<&str>) -> Command {
        let copy = |socket: &TcpListener| {
            let socket = socket.try_clone().expect("a duplicate of the socket");
            Stdio::from(OwnedFd::from(socket))
        };
        let mut command = installation.command();
        command.stdin(copy(&self.https)).stdout(copy(&self.http)).env_remove("LISTEN_FDNAMES");
        if let Some(names) = names {
            command.env("LISTEN_FDNAMES", names);
        }
        command
    }

    fn start(&self, installation: Installation) -> Service {
        let command = self.command(&installation, Some("https:http"));
        let started = installation.try_start_by(command);
        started.unwrap_or_else(|refused| panic!("{}", refused.stderr))
    }

    /// Starts where it must be refused.
    fn refused(&self, adapt: impl FnOnce(&mut Command), names: Option<&str>) -> Box<Refused> {
        let installation = self.installation();
        let mut command = self.command(&installation, names);
        adapt(&mut command);
        installation.try_start_by(command).err().expect("a refusal")
    }
}

/// What the clients of the load saw.
#[derive(Default)]
struct Load {
    finished: AtomicBool,
    answered: AtomicU64,
    refused: AtomicU64,
    cut: AtomicU64,
}

impl Load {
    /// Opens connections until the end, each with one request.
    async fn connections(&self, port: u16, with_tls: bool) {
        while !self.finished.load(Ordering::SeqCst) {
            let counter = match one_request(port, with_tls).await {
                Ok(200) => &self.answered,
                Ok(status) => panic!("status {status}"),
                Err(err) if err.kind() == ErrorKind::ConnectionRefused => &self.refused,
                Err(_) => &self.cut,
            };
            counter.fetch_add(1, Ordering::SeqCst);
            pace(millis(2)).await;
        }
    }

    fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }
}

async fn one_request(port: u16, with_tls: bool) -> std::io::Result<u16> {
    let mut connection = Connection::over(open(port, with_tls).await?, port);
    Ok(connection.get("/healthz", &[("connection", "close")]).await?.status)
}

/// Ends and starts the service five times under load, and tells what the clients saw.
async fn restarted_under_load(end: impl Fn(Service) -> Installation) -> Arc<Load> {
    let manager = Manager::new();
    let mut service = manager.start(manager.installation());
    let (https, http) = (Manager::port(&manager.https), Manager::port(&manager.http));
    assert_eq!((service.port("https"), service.port("http")), (https, http));
    let load = Arc::new(Load::default());
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let load = Arc::clone(&load);
        let (port, with_tls) = if number % 2 == 0 { (https, true) } else { (http, false) };
        clients.spawn(async move { load.connections(port, with_tls).await });
    }
    for _ in 0..5 {
        let before = load.answered();
        wait_until("the clients are at it", seconds(20), async || load.answered() > before + 50)
            .await;
        // Blocking, while the clients go on on the other thread.
        service = tokio::task::block_in_place(|| manager.start(end(service)));
    }
    let before = load.answered();
    wait_until("the last one answers", seconds(20), async || load.answered() > before + 50).await;
    load.finished.store(true, Ordering::SeqCst);
    while let Some(client) = clients.join_next().await {
        client.expect("a client");
    }
    load
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_with_held_sockets_refuses_and_cuts_nobody() {
    let load = restarted_under_load(Service::stop).await;
    let (refused, cut) = (load.refused.load(Ordering::SeqCst), load.cut.load(Ordering::SeqCst));
    eprintln!("5 restarts: {} answered, {refused} refused, {cut} cut", load.answered());
    assert_eq!((refused, cut), (0, 0));
}

/// What was in progress is lost with the process; whoever comes then waits for the next one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_with_held_sockets_refuses_nobody() {
    let load = restarted_under_load(Service::kill).await;
    let (refused, cut) = (load.refused.load(Ordering::SeqCst), load.cut.load(Ordering::SeqCst));
    eprintln!("5 crashes: {} answered, {refused} refused, {cut} cut", load.answered());
    assert_eq!(refused, 0);
    // Eight clients have at most one request in progress each, and what waits in TLS.
    assert!(cut <= 5 * 8, "{cut} were cut");
}

/// The plan for the ports holds after a change that replaces the listeners, too.
#[tokio::test]
async fn held_sockets_are_handed_from_generation_to_generation() {
    let manager = Manager::new();
    let service = manager.start(manager.installation());
    for enabled in [false, true] {
        service.admin().set_insecure_ports(enabled).await;
        let status = one_request(service.port("http"), false).await.expect("an answer");
        assert_eq!(status, if enabled { 200 } else { 301 });
    }
    assert_eq!(one_request(service.port("https"), true).await.expect("an answer"), 200);
}

/// The names decide, not the order.
#[tokio::test]
async fn sockets_go_to_the_listeners_of_their_names() {
    let manager = Manager::new();
    let swapped = Manager { https: manager.http, http: manager.https };
    // Descriptor 3 is called `http` here, and the configuration has the addresses to match.
    let matching = Manager {
        https: swapped.http.try_clone().expect("a duplicate"),
        http: swapped.https.try_clone().expect("a duplicate"),
    };
    let installation = matching.installation();
    let command = swapped.command(&installation, Some("http:https"));
    let service = installation.try_start_by(command).unwrap_or_else(|err| panic!("{}", err.stderr));
    assert_eq!(service.port("http"), Manager::port(&swapped.https));
    assert_eq!(one_request(service.port("https"), true).await.expect("an answer"), 200);
    assert_eq!(one_request(service.port("http"), false).await.expect("an answer"), 200);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let manager = Manager::new();
    let other = |command: &mut Command| _ = command.env("OTHER_PID", "1");
    // So it binds by itself, which fails on addresses that are taken.
    let refused = manager.refused(other, Some("https:http"));
    assert!(!refused.status.success());
    assert!(refused.stderr.contains("in use"), "{}", refused.stderr);
}

#[test]
fn socket_without_a_name_is_refused_with_the_remedy() {
    for names in [None, Some("https")] {
        let refused = Manager::new().refused(|_| (), names);
        assert!(!refused.status.success());
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
        assert!(refused.stderr.contains("LISTEN_FDNAMES"), "{}", refused.stderr);
    }
}
