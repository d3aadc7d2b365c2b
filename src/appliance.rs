//! Puts an appliance together: services, configuration, owners, listeners.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    config::Config,
    console::{ConsoleServer, ConsoleSocket},
    inherited::Inherited,
    notify::{self, Word},
    process::{self, Process, Wanted},
    ready, tokens,
};
use anyhow::Context as _;
use portcullis_actors::{
    Configured, Owners, OwnersSlot, Prepared,
    audit::AT_END,
    clock, logging,
    pulse::Pulse,
    settings::Settings,
    store::FileStore,
    supervisor::{
        AdmissionLimits, Application, BoundListener, ContinueGate, HttpApp, ListenerPlan, Shutdown,
        TakesWebSocket,
    },
    watch::{self, Nudge, WatchedCertificate},
};
use portcullis_speech::{JobsPlace, Speech};
use portcullis_web::{
    Context, Service,
    front::{self},
    outbound::{Guard, Outbound},
    service::{ApplianceFacts, OwnPort},
    services::{
        batch::{self, Batch},
        interface::Interface,
        management::Management,
        monitoring::{self, Monitoring, Prometheus},
        realtime::Realtime,
        security::Security,
    },
};

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
        let services: Vec<Arc<dyn Service>> = vec![
            Arc::new(Interface),
            Arc::new(Security),
            Arc::new(Management),
            Arc::new(Monitoring),
            Arc::new(Batch),
            Arc::new(Realtime::default()),
        ];
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

    /// Runs until a signal ends it (SIGTERM, SIGINT, SIGQUIT, SIGPWR). Resolves when what was in
    /// progress has been answered, or when `shutdown_timeout` is over. A second signal ends the
    /// process at once, and so does a `shutdown_timeout` that is over while something hangs.
    ///
    /// The caller must not drop the runtime afterwards: that waits for every blocking thread.
    ///
    /// # Errors
    /// The appliance cannot start; nothing is left open then.
    pub(crate) async fn run(
        self,
        config: Config,
        admission: AdmissionLimits,
        ready_file: Option<&Path>,
    ) -> anyhow::Result<()> {
        // First, so that a signal during the start is not lost.
        let mut process = Process::look_after(config.shutdown_timeout)
            .context("nothing can look after the process")?;
        let _pulse = Pulse::of(process::OWNERS);
        let timeout = config.shutdown_timeout;
        let running = tokio::select! {
            running = self.start(config, admission, ready_file) => running?,
            signal = process.end() => {
                log::info!("{signal} during the start: ending");
                return Ok(());
            }
        };
        let signal = loop {
            match process.next().await {
                Wanted::End(signal) => break signal,
                Wanted::Reload => tokio::select! {
                    () = running.reload() => {}
                    signal = process.end() => break signal,
                },
            }
        };
        let at_most = humantime::format_duration(timeout);
        log::info!("{signal}: shutting down, {at_most} at most");
        running.end(timeout, &process).await;
        Ok(())
    }

    /// Starts everything; resolves once every port accepts.
    async fn start(
        self,
        config: Config,
        admission: AdmissionLimits,
        ready_file: Option<&Path>,
    ) -> anyhow::Result<Running> {
        let mut inherited = Inherited::from_env()?;
        let bound = config
            .listeners
            .iter()
            .map(|listener| match inherited.take(&listener.name) {
                Some(socket) => BoundListener::adopt(self.plan(listener), socket),
                None => BoundListener::bind(self.plan(listener)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        inherited.close_rest();
        let addresses: BTreeMap<_, _> = bound
            .iter()
            .map(|listener| (listener.plan().name.clone(), listener.address()))
            .collect();
        let ports = bound.iter().flat_map(own_ports).collect();
        let ready = ready::Ready::new(&bound);
        // The memory holds keys: it must not end up in a core dump.
        if let Err(err) = nix::sys::prctl::set_dumpable(false) {
            log::warn!("core dumps cannot be prevented: {err}");
        }
        let (data_dir, rotation) = (config.data_dir.clone(), config.log.rotation);
        let prepared = tokio::task::spawn_blocking(move || -> anyhow::Result<Prepared> {
            let store =
                Arc::new(FileStore::open(&data_dir).map_err(|err| err.with_remedy(&data_dir))?);
            // After the store, whose lock keeps a second process from these files.
            let log_dir = data_dir.join("log");
            logging::write_files(&log_dir, rotation)
                .with_context(|| format!("cannot write the log into {}", log_dir.display()))?;
            clock::start(&data_dir).context("the clock cannot be watched")?;
            Ok(Prepared::load(store, &data_dir)?)
        })
        .await??;
        let configured = Configured {
            settings: Settings {
                drain_timeout: config.drain_timeout,
                max_draining: config.max_draining,
                ..Settings::default()
            },
            power: config.power.clone(),
            admission,
        };
        let facts = Arc::new(ApplianceFacts {
            name: self.name.to_owned(),
            version: self.version,
            started: Instant::now(),
            services: served(&config),
            watched_certificate: config
                .tls
                .watch
                .clone()
                .map(|files| WatchedCertificate::new(files.certificate, files.key)),
            upload_beside_watch: config.tls.upload_beside_watch,
            data_dir: config.data_dir.clone(),
            configuration: config.text.clone(),
            prometheus: config.prometheus.clone(),
            outbound: Arc::new(outbound(&config, &addresses)),
            realtime: config.realtime.clone(),
            openapi: self.openapi(&config),
            addresses,
            ports,
            names: config.security.names.clone(),
        });
        let figures = facts.clone();
        let services = self.services;
        let speech = start_speech(&config, &facts.services).await?;
        let owners = Owners::start(prepared, bound, configured, |owners| {
            Arc::new(Routes { services, facts: facts.clone(), speech: speech.clone(), owners })
        })
        .await?;
        read_tokens(&config, &owners).await?;
        let nudge = Nudge::default();
        follow_files(&config, &facts, &owners, &nudge).await;
        let console = match ConsoleSocket::bind(&config.data_dir) {
            Ok(socket) => Some(socket.serve(owners.clone())),
            Err(err) => {
                log::warn!("the console works only while the server is stopped: {err:#}");
                None
            }
        };
        let context =
            Context { owners: owners.clone(), appliance: figures, speech: speech.clone() };
        monitoring::register_figures(&context);
        batch::start(&context);
        ready.announce(ready_file)?;
        Ok(Running { config, owners, nudge, speech, console })
    }

    /// The API of the services that some listener carries.
    fn openapi(&self, config: &Config) -> serde_json::Value {
        let served = served(config);
        let services = self.services.iter().map(AsRef::as_ref);
        let services = services.filter(|service| served.iter().any(|name| name == service.name()));
        portcullis_web::service::openapi::document(self.name, self.version, services)
    }

    fn plan(&self, listener: &crate::config::ListenerConfig) -> ListenerPlan {
        let carried = || {
            self.services
                .iter()
                .filter(|service| listener.services.iter().any(|name| name == service.name()))
        };
        // Also where nothing is carried yet: no client could use more there.
        let http1_only = carried().all(|service| service.http1_only());
        ListenerPlan {
            name: listener.name.clone(),
            address: listener.address,
            tls: listener.tls,
            http2: !http1_only,
            services: listener.services.clone(),
            redirect_to: listener.redirect_to.clone(),
            redirect_port: listener.redirect_port,
            administration: carried().any(|service| service.administers()),
            workers: listener.workers,
        }
    }
}

/// The services that some listener carries, each once.
fn served(config: &Config) -> Vec<String> {
    let names = config.listeners.iter().flat_map(|listener| listener.services.iter().cloned());
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The port of a listener, and the one outside that it sends plain requests to.
fn own_ports(listener: &BoundListener) -> impl Iterator<Item = OwnPort> {
    let plan = listener.plan();
    let (plain, tls) = (plan.tls.takes_plain(), plan.tls.takes_tls());
    let bound = OwnPort { port: listener.address().port(), plain, tls };
    let outside = plan.redirect_port.map(|port| OwnPort { port, plain: false, tls: true });
    std::iter::once(bound).chain(outside)
}

/// What sends requests to addresses that clients name: never to our own listeners, nor to the
/// Prometheus behind them if it is on this machine.
fn outbound(config: &Config, addresses: &BTreeMap<String, SocketAddr>) -> Outbound {
    let prometheus = config.prometheus.as_ref().and_then(Prometheus::port_on_this_machine);
    let own_ports = addresses.values().map(SocketAddr::port).chain(prometheus);
    Outbound::new(Guard::new(config.outbound.allow.clone(), own_ports), config.outbound.longest)
}

async fn read_tokens(config: &Config, owners: &Owners) -> anyhow::Result<()> {
    if let Some(path) = config.security.monitoring_token_file.clone() {
        let tokens = tokio::task::spawn_blocking(move || tokens::read(&path)).await??;
        owners.authenticator.set_monitoring_tokens(&tokens);
    }
    Ok(())
}

/// Begins to follow the state files and the watched certificate; resolves after the first look at
/// the latter, so that the first client sees it.
async fn follow_files(config: &Config, facts: &ApplianceFacts, owners: &Owners, nudge: &Nudge) {
    let (data_dir, followers, nudges) = (config.data_dir.clone(), owners.clone(), nudge.clone());
    actix::spawn(async move { watch::follow_state(&data_dir, followers, nudges).await });
    if let Some(watched) = facts.watched_certificate.clone() {
        let (looked, first_look) = tokio::sync::oneshot::channel();
        actix::spawn(watch::follow_certificate(watched, owners.clone(), nudge.clone(), looked));
        // It fails only if following has failed, which was logged.
        let _ = first_look.await;
    }
}

/// Opens the job store and reads the model, where a listener carries a service that needs them.
async fn start_speech(config: &Config, served: &[String]) -> anyhow::Result<Arc<Speech>> {
    let carried = |name: &str| served.iter().any(|service| service == name);
    let (jobs, speech) = (carried("batch"), carried("batch") || carried("realtime"));
    if !speech {
        return Ok(Speech::off());
    }
    let settings = config.speech.clone();
    let jobs = jobs.then(|| JobsPlace {
        folder: config.data_dir.join("jobs"),
        running_time: Arc::new(clock::running_time),
    });
    Ok(tokio::task::spawn_blocking(move || Speech::start(settings, jobs)).await?)
}

/// What runs once it has started.
struct Running {
    config: Config,
    owners: Owners,
    nudge: Nudge,
    speech: Arc<Speech>,
    console: Option<ConsoleServer>,
}

impl Running {
    /// Reads everything again; resolves once what was found holds.
    async fn reload(&self) {
        log::info!("SIGHUP: reading everything again");
        notify::tell(Word::Reloading);
        if let Err(err) = read_tokens(&self.config, &self.owners).await {
            log::error!("{err:#}; the tokens read before stay valid");
        }
        self.nudge.nudge().await;
        notify::tell(Word::Ready);
    }

    /// Lets connections come to their end and puts everything away.
    async fn end(self, timeout: Duration, process: &Process) {
        process.waits_for(process::CONNECTIONS);
        match self.owners.supervisor.send(Shutdown { timeout }).await {
            Ok(0) => log::info!("all connections have ended"),
            Ok(left) => log::warn!("shutdown_timeout is over: {left} connections are cut"),
            Err(err) => log::error!("the supervisor did not shut down: {err}"),
        }
        process.waits_for("the disk");
        if let Some(console) = self.console {
            console.end().await;
        }
        let (audit, speech) = (self.owners.audit.clone(), self.speech.clone());
        let (done, put_away) = tokio::sync::oneshot::channel();
        // A thread of its own: those for blocking calls may all hang. What takes longest comes
        // last. All of it is durable already but the last audit entries and seconds of running
        // time.
        let speech_next = process.waits_for_later("the jobs");
        let work = move || {
            clock::save();
            if !audit.flush(AT_END) {
                let lost = audit.standing().waiting;
                log::error!("{lost} entries of the audit record could not be written and are lost");
            }
            speech_next();
            speech.stop();
            let _ = done.send(());
        };
        match std::thread::Builder::new().name("put-away".into()).spawn(work) {
            Ok(_) => drop(put_away.await),
            Err(err) => log::warn!("no thread to put things away ({err}); the next start does it"),
        }
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

    fn takes_websocket(&self, listener: &ListenerPlan) -> TakesWebSocket {
        front::takes_websocket(&self.carried_by(listener), &self.context())
    }
}
