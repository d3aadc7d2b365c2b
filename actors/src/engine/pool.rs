//! The threads that serve every connection of every listener.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};

use super::{
    acceptor::{self, Acceptor, Acceptors},
    entrance::Entrance,
    load::Load,
    plan::ListenerApplication,
    room,
    worker::Worker,
};
use crate::pulse::Pulse;

/// Descriptors of one worker's runtime while it starts.
const DESCRIPTORS_OF_WORKER: usize = 5;
/// Blocking threads of one worker's runtime; they are started when needed.
const BLOCKING_THREADS: usize = 8;

/// How often a worker looks for connections that can rest.
const REST_LOOK: Duration = Duration::from_millis(50);

/// One thread for each core, or as many as are configured. Their number depends on nothing else.
pub(crate) struct Pool {
    workers: Vec<Handle>,
}

struct Handle {
    jobs: mpsc::UnboundedSender<Job>,
    load: Arc<Load>,
}

impl Pool {
    /// Starts the workers. Call it on a thread that runs an actix system.
    ///
    /// # Errors
    /// The operating system does not give what they need.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        // A worker that cannot have what it needs panics, so look first.
        room::check(count * DESCRIPTORS_OF_WORKER, count)?;
        let loads: Arc<[Arc<Load>]> = (0..count).map(|_| Arc::default()).collect();
        let workers = loads.iter().enumerate().map(|(index, load)| {
            let (jobs, received) = mpsc::unbounded_channel();
            let arbiter = actix_rt::Arbiter::with_tokio_rt(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(BLOCKING_THREADS)
                    .build()
                    .expect("there was room for a worker a moment ago")
            });
            let loads = loads.clone();
            arbiter.spawn_fn(move || run(index, &loads, received));
            Handle { jobs, load: load.clone() }
        });
        Ok(Self { workers: workers.collect() })
    }

    /// Lets every worker make what answers, so that no request has to wait for it, nor finds that it
    /// cannot be made.
    ///
    /// # Errors
    /// A worker could not make it.
    pub(crate) async fn build(&self, application: &Arc<dyn ListenerApplication>) -> io::Result<()> {
        let builds: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (done, built) = oneshot::channel();
                // A worker that is gone drops the job, and `built` tells.
                let _ = worker.jobs.send(Job::Build { application: application.clone(), done });
                built
            })
            .collect();
        for built in builds {
            match built.await {
                Ok(true) => {}
                Ok(false) => return Err(io::Error::other("a service could not make its routes")),
                Err(_) => return Err(io::Error::other("a service panicked over its routes")),
            }
        }
        Ok(())
    }

    /// Begins to accept on a socket; the connections get what the entrance leads to.
    pub(crate) fn accept(&self, socket: &Arc<TcpListener>, entrance: &Arc<Entrance>) -> Acceptors {
        let (acceptors, acceptor) = Acceptors::of(socket.clone(), entrance.clone());
        for worker in &self.workers {
            let _ = worker.jobs.send(Job::Accept(acceptor.clone()));
        }
        acceptors
    }

    /// The connections of each worker.
    pub(crate) fn connections(&self) -> impl Iterator<Item = usize> {
        self.workers.iter().map(|worker| worker.load.connections())
    }
}

/// What a worker is told to do.
enum Job {
    /// Makes what answers; `done` tells whether it could.
    Build { application: Arc<dyn ListenerApplication>, done: oneshot::Sender<bool> },
    /// Accepts until it is told to stop.
    Accept(Acceptor),
}

/// Runs a worker on this thread, which is an arbiter's.
fn run(index: usize, loads: &Arc<[Arc<Load>]>, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let worker = Worker::new(index, loads);
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
