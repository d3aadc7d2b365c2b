//! One thread of the pool: what it accepts, what it answers with, which connections rest.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use actix_http::{Request, Response, body::BoxBody};
use actix_service::{Service, ServiceFactory, boxed};
use tokio::sync::{mpsc, oneshot};

use super::{
    acceptor::{self, Acceptor},
    connection::Connection,
    http1::{self, Http1Service},
    offers::TakesWebSocket,
    plan::ListenerApplication,
};
use crate::pulse::{self, Named, Pulse};

/// A worker with so many connections more than the one that has fewest lets the others accept.
const HEAD_START: usize = 4;
/// How often a worker looks for connections that can rest.
const REST_LOOK: Duration = Duration::from_millis(50);

/// How much a worker carries, as the others see it.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    pub(super) fn connections(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Counts a connection with its worker until it is dropped.
#[derive(Debug)]
pub(super) struct Carried(Arc<Load>);

impl Carried {
    pub(super) fn by(load: &Arc<Load>) -> Self {
        load.0.fetch_add(1, Relaxed);
        Self(load.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// What a worker is told to do.
pub(super) enum Job {
    /// Makes what answers; `done` tells whether it could.
    Build { application: Arc<dyn ListenerApplication>, done: oneshot::Sender<bool> },
    /// Accepts until it is told to stop.
    Accept(Acceptor),
}

type Respond = boxed::BoxService<Request, Response<BoxBody>, Response<BoxBody>>;

/// An application, each of whose requests is named while its worker is busy with it.
pub(super) struct App(Respond);

impl Service<Request> for App {
    type Response = Response<BoxBody>;
    type Error = Response<BoxBody>;
    type Future = Named<<Respond as Service<Request>>::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&self, request: Request) -> Self::Future {
        // Without the query, which may hold a token.
        let name = format!("{} {}", request.method(), request.path());
        pulse::named(name, || self.0.call(request))
    }
}

/// What answers on the listeners whose application it was made of.
pub(super) struct Answers {
    pub(super) app: Rc<App>,
    pub(super) http1: Http1Service,
    pub(super) takes_websocket: TakesWebSocket,
}

impl Answers {
    async fn of(application: &Arc<dyn ListenerApplication>) -> Result<Rc<Self>, ()> {
        let app = Rc::new(App(application.app().new_service(()).await?));
        let http1 = http1::service(app.clone(), application.continue_gate()).await?;
        Ok(Rc::new(Self { app, http1, takes_websocket: application.takes_websocket() }))
    }
}

/// What a worker made, for as long as some generation has the application that it is made of.
struct Made {
    application: Weak<dyn ListenerApplication>,
    answers: Rc<Answers>,
}

/// What the tasks of one worker share.
pub(super) struct Worker {
    load: Arc<Load>,
    loads: Arc<[Arc<Load>]>,
    made: RefCell<HashMap<*const (), Made>>,
    /// Connections of HTTP/1 that may have to rest.
    awake: RefCell<HashMap<*const Connection, Arc<Connection>>>,
}

/// Runs a worker on this thread, which is an arbiter's.
pub(super) fn run(index: usize, loads: &Arc<[Arc<Load>]>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let worker = Rc::new(Worker {
        load: loads[index].clone(),
        loads: loads.clone(),
        made: RefCell::default(),
        awake: RefCell::default(),
    });
    let looking = worker.clone();
    actix_rt::spawn(async move {
        let mut look = tokio::time::interval(REST_LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            looking.let_rest();
        }
    });
    actix_rt::spawn(async move {
        let _pulse = Pulse::of(format!("worker {index}"));
        while let Some(job) = jobs.recv().await {
            let worker = worker.clone();
            // A task of its own each: one that panics ends alone.
            match job {
                Job::Build { application, done } => drop(actix_rt::spawn(async move {
                    let _ = done.send(worker.answers(&application).await.is_ok());
                })),
                Job::Accept(acceptor) => drop(actix_rt::spawn(acceptor::run(acceptor, worker))),
            }
        }
    });
}

impl Worker {
    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Whether another worker has so much less to do that it should accept.
    pub(super) fn has_enough(&self) -> bool {
        let least = self.loads.iter().map(|load| load.connections()).min().unwrap_or_default();
        self.load.connections() > least + HEAD_START
    }

    /// What answers for an application; made now if this worker has not made it before.
    pub(super) async fn answers(
        &self,
        application: &Arc<dyn ListenerApplication>,
    ) -> Result<Rc<Answers>, ()> {
        let key = Arc::as_ptr(application).cast();
        if let Some(made) = self.made.borrow().get(&key) {
            return Ok(made.answers.clone());
        }
        let answers = Answers::of(application).await?;
        let mut made = self.made.borrow_mut();
        // The weak reference keeps the address from being used again before it goes here.
        made.retain(|_, made| made.application.strong_count() > 0);
        let application = Arc::downgrade(application);
        made.insert(key, Made { application, answers: answers.clone() });
        Ok(answers)
    }

    /// Looks from time to time whether the connection can rest, until the guard is dropped.
    pub(super) fn keep_awake(self: &Rc<Self>, connection: &Arc<Connection>) -> Awake {
        connection.wake_up();
        self.awake.borrow_mut().insert(Arc::as_ptr(connection), connection.clone());
        Awake { worker: self.clone(), connection: Arc::as_ptr(connection) }
    }

    fn let_rest(&self) {
        // Waking runs no code of others now, so nothing changes the table meanwhile.
        self.awake.borrow().values().for_each(|connection| connection.rest_if_idle());
    }
}

/// A connection that somebody serves at the moment.
pub(super) struct Awake {
    worker: Rc<Worker>,
    connection: *const Connection,
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.worker.awake.borrow_mut().remove(&self.connection);
    }
}
