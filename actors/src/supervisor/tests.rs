//! A server that ends by itself, which no client can bring about.

use std::{future::ready, sync::Arc};

use actix::{Handler, Message, ResponseFuture};
use actix_http::{Request, Response};
use actix_service::{boxed, fn_service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    Configured, Owners, Prepared,
    events::{EventKind, Next},
    store::FileStore,
};

struct Hello;

impl Application for Hello {
    fn on(&self, _: &ListenerPlan) -> Arc<dyn ListenerApplication> {
        Arc::new(Self)
    }
}

impl ListenerApplication for Hello {
    fn app(&self) -> HttpApp {
        boxed::factory(fn_service(|_: Request| {
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

/// Lets the serving generation of the first listener fail.
#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for ListenerSupervisor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Fail, _ctx: &mut Self::Context) -> Self::Result {
        let generation = self.listeners[0].serving().next().expect("one serves");
        Box::pin(generation.fail())
    }
}

async fn answer(address: std::net::SocketAddr) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[actix_rt::test]
async fn a_generation_that_fails_is_followed_by_another_on_the_same_socket() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(FileStore::open(folder.path()).unwrap());
    let prepared = Prepared::load(store, folder.path()).unwrap();
    let bound = BoundListener::bind(ListenerPlan {
        name: "http".into(),
        address: "127.0.0.1:0".parse().unwrap(),
        tls: Tls::Off,
        services: Vec::new(),
        redirect_to: None,
        redirect_port: None,
        workers: 1,
    })
    .unwrap();
    let address = bound.address();
    let hello = Arc::new(Hello);
    let owners = Owners::start(prepared, vec![bound], Configured::default(), hello).unwrap();
    owners.open().await.unwrap();
    assert!(answer(address).await.unwrap().ends_with("hello"));

    let mut events = owners.events.subscribe(None);
    owners.supervisor.send(Fail).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        let Some(Next::Event(event)) = events.next().await else { panic!("no event") };
        told.push(event.kind.clone());
    }
    assert_eq!(
        told,
        [
            EventKind::GenerationEnded { listener: "http".into(), generation: 1 },
            EventKind::GenerationStarted {
                listener: "http".into(),
                generation: 2,
                reason: "the one before it failed".into(),
            },
        ]
    );
    let listeners = owners.supervisor.send(GetListeners).await.unwrap();
    assert!(listeners[0].has_serving_generation());
    assert_eq!(listeners[0].generations.len(), 1);
    assert!(answer(address).await.unwrap().ends_with("hello"));
}
