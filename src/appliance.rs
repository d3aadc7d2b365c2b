//! Puts an appliance together: services, configuration, owners, listeners.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use portcullis_actors::{
    Owners, OwnersSlot, Prepared,
    store::FileStore,
    supervisor::{
        Application, BoundListener, ContinueGate, DrainLimits, HttpApp, ListenerPlan, Shutdown,
    },
};
use portcullis_speech::Speech;
use portcullis_web::{
    Context, Service,
    batch::{self, Batch},
    front,
    management::Management,
    security::Security,
    service::ApplianceFacts,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::{config::Config, ready};

/// An appliance before it runs: its name and its services.
///
/// [`Appliance::new`] brings the built-in services; a program adds its own and hands the whole to
/// [`crate::command_line`].
pub struct Appliance {
    name: &'static str,
    version: &'static str,
    services: Vec<Arc<dyn Service>>,
}

impl Appliance {
    /// An appliance with the built-in services. `name` shows in `about`.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str) -> Self {
        let services: Vec<Arc<dyn Service>> =
            vec![Arc::new(Security), Arc::new(Management), Arc::new(Batch)];
        Self { name, version, services }
    }

    /// Adds a service, which listeners can list by its name from now on.
    ///
    /// # Panics
    /// There is a service of that name already.
    #[must_use]
    pub fn service(mut self, service: impl Service) -> Self {
        let name = service.name();
        assert!(!self.service_names().contains(&name), "there are two services called {name}");
        self.services.push(Arc::new(service));
        self
    }

    /// The names that listeners can list.
    #[must_use]
    pub fn service_names(&self) -> Vec<&'static str> {
        self.services.iter().map(|service| service.name()).collect()
    }

    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }

    /// Runs until SIGTERM or SIGINT. Resolves when what was in progress has been answered, or
    /// when `shutdown_timeout` is over or a second signal has come.
    ///
    /// # Errors
    /// The appliance cannot start; nothing is left open then.
    pub async fn run(self, config: Config, ready_file: Option<&Path>) -> anyhow::Result<()> {
        // Taken first, so that a signal during the start is not lost.
        let mut signals = Signals::new().context("cannot listen for signals")?;
        let bound = config
            .listeners
            .iter()
            .map(|listener| BoundListener::bind(self.plan(listener)))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses: BTreeMap<_, _> = bound
            .iter()
            .map(|listener| (listener.plan().name.clone(), listener.address()))
            .collect();
        let ready = ready::Ready::new(&bound);
        let data_dir = config.data_dir.clone();
        let prepared = tokio::task::spawn_blocking(move || -> anyhow::Result<Prepared> {
            let store = Arc::new(FileStore::open(&data_dir)?);
            Ok(Prepared::load(store, &data_dir)?)
        })
        .await??;
        let limits =
            DrainLimits { drain_timeout: config.drain_timeout, max_draining: config.max_draining };
        let facts = Arc::new(ApplianceFacts {
            name: self.name.to_owned(),
            version: self.version,
            started: Instant::now(),
            addresses,
            services: served(&config),
        });
        let services = self.services;
        let speech = start_speech(&config, &facts.services).await?;
        batch::callbacks::start(&speech);
        let stopping = speech.clone();
        let owners = Owners::start(prepared, bound, limits, |owners| {
            Arc::new(Routes { services, facts, speech, owners })
        })
        .await?;
        ready.announce(ready_file)?;
        let first = signals.next().await;
        ready::stopping();
        log::info!(
            "{first}: shutting down, {} at most",
            humantime::format_duration(config.shutdown_timeout)
        );
        shut_down(&owners, config.shutdown_timeout, &mut signals).await;
        tokio::task::spawn_blocking(move || stopping.stop()).await?;
        Ok(())
    }

    fn plan(&self, listener: &crate::config::ListenerConfig) -> ListenerPlan {
        let carried = || {
            self.services
                .iter()
                .filter(|service| listener.services.iter().any(|name| name == service.name()))
        };
        let http1_only = carried().count() > 0 && carried().all(|service| service.http1_only());
        ListenerPlan {
            name: listener.name.clone(),
            address: listener.address,
            tls: listener.tls,
            http2: !http1_only,
            services: listener.services.clone(),
            redirect_to: listener.redirect_to.clone(),
            workers: listener.workers,
        }
    }
}

/// The services that some listener carries, each once.
fn served(config: &Config) -> Vec<String> {
    let names = config.listeners.iter().flat_map(|listener| listener.services.iter().cloned());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Opens the job store and reads the model, where a listener carries a service that needs them.
async fn start_speech(config: &Config, served: &[String]) -> anyhow::Result<Arc<Speech>> {
    let carried = |name: &str| served.iter().any(|service| service == name);
    let (jobs, speech) = (carried("batch"), carried("batch") || carried("realtime"));
    if !speech {
        return Ok(Speech::off());
    }
    let (settings, data_dir) = (config.speech.clone(), config.data_dir.clone());
    let started =
        tokio::task::spawn_blocking(move || Speech::start(settings, &data_dir, jobs)).await?;
    started.context("the jobs cannot be opened")
}

async fn shut_down(owners: &Owners, timeout: Duration, signals: &mut Signals) {
    tokio::select! {
        left = owners.supervisor.send(Shutdown { timeout }) => match left {
            Ok(0) => log::info!("all connections have ended"),
            Ok(left) => log::warn!("shutdown_timeout is over: {left} connections are cut"),
            Err(err) => log::error!("the supervisor did not shut down: {err}"),
        },
        second = signals.next() => log::warn!("{second} again: ending at once"),
    }
}

/// What the supervisor is handed: routes it does not know.
struct Routes {
    services: Vec<Arc<dyn Service>>,
    facts: Arc<ApplianceFacts>,
    speech: Arc<Speech>,
    owners: OwnersSlot,
}

impl Routes {
    fn carried_by(&self, listener: &ListenerPlan) -> Vec<Arc<dyn Service>> {
        let carried = |service: &&Arc<dyn Service>| {
            listener.services.iter().any(|name| name == service.name())
        };
        self.services.iter().filter(carried).cloned().collect()
    }

    fn context(&self) -> Context {
        Context {
            owners: self.owners.get(),
            appliance: self.facts.clone(),
            speech: self.speech.clone(),
        }
    }
}

impl Application for Routes {
    fn app(&self, listener: &ListenerPlan) -> HttpApp {
        front::app(listener, &self.carried_by(listener), &self.context())
    }

    fn continue_gate(&self, listener: &ListenerPlan) -> ContinueGate {
        front::continue_gate(listener, &self.carried_by(listener), &self.context())
    }
}

/// The signals that end the appliance.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
