//! What no client can bring about: applications that fail or panic.

use std::{
    future::ready,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use actix_http::{Request, Response};
use actix_service::{boxed, fn_service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    Configured, Owners, Prepared, Requester, StartError,
    change::ChangeKind,
    engine::{Connection, ContinueGate, HttpApp, TakesWebSocket, Tls},
    events::{EventKind, Next},
    pulse,
    store::FileStore,
};

/// Whether who asked for `/block` goes on.
static UNBLOCKED: AtomicBool = AtomicBool::new(false);

/// Says hello, but panics where it is asked for `/panic`.
struct Hello {
    can_be_made: bool,
}

impl Application for Hello {
    fn on(&self, _: &ListenerPlan) -> Arc<dyn ListenerApplication> {
        Arc::new(Self { can_be_made: self.can_be_made })
    }
}

impl ListenerApplication for Hello {
    fn app(&self) -> HttpApp {
        assert!(self.can_be_made, "these routes panic");
        boxed::factory(fn_service(|request: Request| {
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
            ready(Ok::<_, Response<_>>(Response::ok().set_body("hello").map_into_boxed_body()))
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

/// An appliance with one plain listener and one worker.
async fn appliance(
    folder: &std::path::Path,
    can_be_made: bool,
) -> (Owners, SocketAddr, Result<(), StartError>) {
    let store = Arc::new(FileStore::open(folder).unwrap());
    let prepared = Prepared::load(store, folder).unwrap();
    let bound = BoundListener::bind(ListenerPlan {
        name: "http".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        tls: Tls::Off,
        services: Vec::new(),
        redirect_to: None,
        redirect_port: None,
    })
    .unwrap();
    let address = bound.address();
    let hello = Arc::new(Hello { can_be_made });
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
    let told = loop {
        if let Some(silent) = pulse::silent(Duration::ZERO).first() {
            break silent.clone();
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
