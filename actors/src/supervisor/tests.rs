//! Applications that fail or panic, and listeners that come and go.

use std::{
    future::ready,
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use actix_http::{Request, Response};
use actix_service::{boxed, fn_service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    Configured, Owners, Prepared, Requester, StartError,
    change::ChangeKind,
    engine::{Connection, ContinueGate, HttpApp, ListenerPlan, TakesWebSocket, Tls},
    events::{EventKind, Next},
    pulse,
    store::FileStore,
};

/// Whether who asked for `/block` goes on.
static UNBLOCKED: AtomicBool = AtomicBool::new(false);

/// Says a word, but panics where it is asked for `/panic`.
struct Hello {
    word: &'static str,
    can_be_made: bool,
}

impl Application for Hello {
    fn on(&self, _: &ListenerPlan) -> Arc<dyn ListenerApplication> {
        Arc::new(Self { ..*self })
    }
}

impl ListenerApplication for Hello {
    fn app(&self) -> HttpApp {
        assert!(self.can_be_made, "these routes panic");
        let word = self.word;
        boxed::factory(fn_service(move |request: Request| {
            let connection = request.conn_data::<Arc<Connection>>().expect("that of the request");
            let _counted = connection.begin_request();
            assert!(request.path() != "/panic", "this handler panics");
            if request.path() == "/block" {
                // A blocked thread, seen from outside.
                let begun = std::time::Instant::now();
                while !UNBLOCKED.load(Relaxed) && begun.elapsed() < Duration::from_secs(60) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            ready(Ok::<_, Response<_>>(Response::ok().set_body(word).map_into_boxed_body()))
        }))
    }

    fn continue_gate(&self) -> ContinueGate {
        boxed::factory(fn_service(|request: Request| ready(Ok::<_, Response<_>>(request))))
    }

    fn takes_websocket(&self) -> TakesWebSocket {
        Arc::new(|_| false)
    }

    fn offers_http2(&self) -> bool {
        false
    }

    fn administers(&self) -> bool {
        false
    }
}

fn plan(name: &str, address: SocketAddr) -> ListenerPlan {
    ListenerPlan {
        name: name.into(),
        address,
        tls: Tls::Off,
        services: Vec::new(),
        redirect_to: None,
        redirect_port: None,
    }
}

/// An appliance with one plain listener and one worker.
async fn appliance(
    folder: &std::path::Path,
    can_be_made: bool,
) -> (Owners, SocketAddr, Result<(), StartError>) {
    let store = Arc::new(FileStore::open(folder).unwrap());
    let prepared = Prepared::load(store, folder).unwrap();
    let bound = BoundListener::bind(plan("http", "127.0.0.1:0".parse().unwrap())).unwrap();
    let address = bound.address();
    let hello = Arc::new(Hello { word: "hello", can_be_made });
    let owners = Owners::start(prepared, vec![bound], Configured::default(), hello).unwrap();
    let opened = owners.open().await;
    (owners, address, opened.map(drop))
}

async fn answer(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[actix_rt::test]
async fn a_handler_that_panics_costs_its_connection_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, address, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    for _ in 0..3 {
        assert!(answer(address, "/").await.unwrap().ends_with("hello"));
        // Closed or reset, but never answered.
        assert_eq!(answer(address, "/panic").await.unwrap_or_default(), "");
    }
    let listeners = owners.supervisor.send(GetListeners).await.unwrap();
    assert_eq!(listeners[0].generations.len(), 1);
}

#[actix_rt::test]
async fn a_route_that_blocks_its_worker_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (_owners, address, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    let blocked = actix::spawn(answer(address, "/block?token=secret"));
    let begun = std::time::Instant::now();
    let told = loop {
        assert!(begun.elapsed() < Duration::from_secs(50), "nothing is told");
        // On a busy machine one that does nothing is late, too.
        let silent = pulse::silent(Duration::ZERO).into_iter();
        if let Some(silent) = { silent }.find(|silent| silent.doing.is_some()) {
            break silent;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&*told.thread, told.doing.as_deref()), ("worker 0", Some("GET /block")));
    METRICS.tell_hanging(&[told]);
    let labels = "appliance_thread_hanging_seconds{thread=\"worker 0\",route=\"GET /block\"}";
    let text = METRICS.encode(false).unwrap();
    assert!(text.contains(labels), "{text}");
    UNBLOCKED.store(true, Relaxed);
    assert!(blocked.await.unwrap().unwrap().ends_with("hello"));
    METRICS.tell_hanging(&[]);
    assert!(!METRICS.encode(false).unwrap().contains("GET /block"));
}

#[actix_rt::test]
async fn routes_that_cannot_be_made_are_told_of_and_open_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, address, opened) = appliance(folder.path(), false).await;
    let StartError::Handover(err) = opened.unwrap_err() else { panic!("another error") };
    assert_eq!(err.listener, "http");
    assert_eq!(err.source.to_string(), "a service panicked over its routes");
    let listeners = owners.supervisor.send(GetListeners).await.unwrap();
    assert!(!listeners[0].has_serving_generation());
    // It waits in the kernel: nobody accepts.
    let waits = tokio::time::timeout(Duration::from_millis(200), answer(address, "/")).await;
    assert!(waits.is_err(), "{waits:?}");
}

#[actix_rt::test]
async fn a_generation_ends_with_its_last_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, address, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    let mut events = owners.events.subscribe(None);
    // Its head is not complete, so it may go on.
    let mut held = tokio::net::TcpStream::connect(address).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let connections = async || {
        let listeners = owners.supervisor.send(GetListeners).await.unwrap();
        listeners[0].generations.iter().map(|g| g.connections).collect::<Vec<_>>()
    };
    while connections().await != [1] {
        tokio::task::yield_now().await;
    }
    for enabled in [false, true] {
        let by = Requester::appliance();
        owners.supervisor.send(SetInsecurePorts { enabled, by }).await.unwrap().unwrap();
    }
    let mut told = Vec::new();
    let mut until = async |number: u64| loop {
        let Some(Next::Event(event)) = events.next().await else { panic!("no event") };
        told.push(event.kind.clone());
        if event.kind
            == (EventKind::GenerationEnded { listener: "http".into(), generation: number })
        {
            return;
        }
    };
    until(2).await;
    assert_eq!(connections().await, [1, 0]);
    held.write_all(b"Host: test\r\n\r\n").await.unwrap();
    let mut text = String::new();
    held.read_to_string(&mut text).await.unwrap();
    assert!(text.contains("hello"), "{text}");
    until(1).await;
    let listener = || "http".to_owned();
    let started = |generation, reason: ChangeKind| EventKind::GenerationStarted {
        listener: listener(),
        generation,
        reason: reason.text().into(),
    };
    let drains = |generation, connections| EventKind::GenerationDraining {
        listener: listener(),
        generation,
        connections,
    };
    let ended = |generation| EventKind::GenerationEnded { listener: listener(), generation };
    told.retain(|kind| !matches!(kind, EventKind::ConfigurationChanged { .. }));
    assert_eq!(
        told,
        [
            started(2, ChangeKind::PlainHttpOff),
            drains(1, 1),
            started(3, ChangeKind::PlainHttpOn),
            drains(2, 0),
            ended(2),
            ended(1),
        ]
    );
}

/// A port that is free now.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn says(word: &'static str) -> Arc<dyn ListenerApplication> {
    Arc::new(Hello { word, can_be_made: true })
}

/// Lets these listeners serve, and those alone; gives the listeners that have new generations.
async fn serve(
    owners: &Owners,
    next: &[(&str, SocketAddr, &Arc<dyn ListenerApplication>)],
) -> Result<Vec<String>, ListenersError> {
    let next = next.iter().map(|(name, at, app)| (plan(name, *at), Arc::clone(app))).collect();
    let prepared = owners.supervisor.send(PrepareListeners(next)).await.unwrap()?;
    let serve = ServeListeners { prepared, reason: "a test".into(), request_id: None };
    Ok(owners.supervisor.send(serve).await.unwrap().into_keys().collect())
}

async fn refused(address: SocketAddr) {
    while let Ok(answered) = answer(address, "/").await {
        assert!(answered.contains("200 OK"), "{answered}");
        tokio::task::yield_now().await;
    }
    let err = answer(address, "/").await.unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::ConnectionRefused);
}

async fn names(owners: &Owners) -> Vec<(String, bool)> {
    let listeners = owners.supervisor.send(GetListeners).await.unwrap();
    listeners.into_iter().map(|listener| (listener.name, listener.removed)).collect()
}

#[actix_rt::test]
async fn listeners_come_move_swap_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, first, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    let (one, two) = (says("one"), says("two"));
    let (second, third) = (free_address(), free_address());

    // It stays as it is configured: port 0 is the one that it has.
    let configured = "127.0.0.1:0".parse().unwrap();
    let served = serve(&owners, &[("http", configured, &one), ("more", second, &two)]).await;
    assert_eq!(served.unwrap(), ["http", "more"]);
    assert!(answer(first, "/").await.unwrap().ends_with("one"));
    assert!(answer(second, "/").await.unwrap().ends_with("two"));
    let same = serve(&owners, &[("http", configured, &one), ("more", second, &two)]).await.unwrap();
    assert!(same.is_empty(), "nothing changes where nothing has changed: {same:?}");

    // Two names swap their sockets.
    let served = serve(&owners, &[("more", third, &two), ("http", second, &one)]).await.unwrap();
    assert_eq!(served, ["http", "more"]);
    assert!(answer(second, "/").await.unwrap().ends_with("one"));
    assert!(answer(third, "/").await.unwrap().ends_with("two"));
    refused(first).await;

    // One goes, with a request in progress.
    let mut held = tokio::net::TcpStream::connect(second).await.unwrap();
    held.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let carries = async || {
        let listeners = owners.supervisor.send(GetListeners).await.unwrap();
        let http = listeners.iter().find(|listener| listener.name == "http");
        http.map_or(0, |http| http.generations.iter().map(|g| g.connections).sum())
    };
    while carries().await == 0 {
        tokio::task::yield_now().await;
    }
    assert!(serve(&owners, &[("more", third, &two)]).await.unwrap().is_empty());
    assert_eq!(names(&owners).await, [("http".into(), true), ("more".into(), false)]);
    refused(second).await;
    held.write_all(b"Host: test\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    held.read_to_string(&mut text).await.unwrap();
    assert!(text.ends_with("one"), "{text}");
    while names(&owners).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(names(&owners).await, [("more".into(), false)]);
}

#[actix_rt::test]
async fn nothing_changes_where_one_listener_cannot_serve() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, first, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    let (one, free) = (says("one"), free_address());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().map(|address| (taken, address)).unwrap();
    let broken: Arc<dyn ListenerApplication> = Arc::new(Hello { word: "", can_be_made: false });
    for (next, expected) in [
        ([("http", free, &one), ("more", taken.1, &one)], "in use by another process"),
        ([("http", free, &one), ("more", free_address(), &broken)], "could not start"),
    ] {
        let err = serve(&owners, &next).await.unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
        assert!(answer(first, "/").await.unwrap().ends_with("hello"));
        assert!(answer(free, "/").await.is_err(), "it is bound still");
    }
    let overlaps = SocketAddr::from(([0, 0, 0, 0], first.port()));
    let mine = serve(&owners, &[("http", first, &one)]).await.unwrap_err().to_string();
    assert!(mine.contains("in use"), "{mine}");
    let served = serve(&owners, &[("http", free, &one)]).await.unwrap();
    assert_eq!(served, ["http"]);
    refused(first).await;
    let overlaps = SocketAddr::from((overlaps.ip(), free.port()));
    let err = serve(&owners, &[("all", overlaps, &one)]).await.unwrap_err().to_string();
    assert!(err.contains("overlaps") && err.contains("`http`"), "{err}");
}

/// How often clients were served and refused.
#[derive(Debug, Default)]
struct Seen {
    served: AtomicU32,
    refused: AtomicU32,
    stop: AtomicBool,
}

/// Whoever comes while a listener goes and comes back is served or refused, never reset.
#[actix_rt::test]
async fn nobody_is_reset_while_a_listener_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (owners, _, opened) = appliance(folder.path(), true).await;
    opened.unwrap();
    let (one, stays, goes) = (says("one"), free_address(), free_address());
    let seen = Arc::new(Seen::default());
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let seen = seen.clone();
            std::thread::spawn(move || {
                while !seen.stop.load(Relaxed) {
                    match blocking_answer(goes) {
                        Ok(text) if text.ends_with("one") => seen.served.fetch_add(1, Relaxed),
                        Err(err) if err.kind() == std::io::ErrorKind::ConnectionRefused => {
                            seen.refused.fetch_add(1, Relaxed)
                        }
                        other => panic!("neither served nor refused: {other:?}"),
                    };
                }
            })
        })
        .collect();
    let more = async |count: &AtomicU32| {
        let before = count.load(Relaxed);
        while count.load(Relaxed) < before + 10 {
            assert!(clients.iter().all(|client| !client.is_finished()), "{seen:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    for _ in 0..5 {
        serve(&owners, &[("stays", stays, &one), ("goes", goes, &one)]).await.unwrap();
        more(&seen.served).await;
        serve(&owners, &[("stays", stays, &one)]).await.unwrap();
        more(&seen.refused).await;
    }
    seen.stop.store(true, Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

fn blocking_answer(address: SocketAddr) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    // Two systems say it differently where the peer has gone: only connecting may be refused.
    let other = |err: std::io::Error| std::io::Error::other(err.to_string());
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .map_err(other)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(other)?;
    Ok(text)
}
