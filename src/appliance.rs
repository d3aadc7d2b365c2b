//! Puts an appliance together: services, configuration, owners, listeners.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    config::{Config, InForce, ListenerConfig, ServiceConfig, is_carried},
    console::{ConsoleServer, ConsoleSocket},
    inherited::Inherited,
    notify::{self, Word},
    process::{self, Process, Wanted},
    ready, tokens,
};
use anyhow::Context as _;
use portcullis_actors::{
    Configured, Owners, Prepared,
    audit::AT_END,
    clock,
    engine::{AdmissionLimits, Application, ListenerApplication, ListenerPlan},
    logging,
    pulse::Pulse,
    settings::Settings,
    store::FileStore,
    supervisor::{BoundListener, Shutdown},
    watch::{self, Nudge, WatchedCertificate},
};
use portcullis_web::{
    front,
    names::origin::OwnPort,
    outbound::{Guard, Outbound},
    service::{
        ApplianceFacts, Context, Door, House, Kind, Mount, Resident, Service, Start, StartError,
        Tables, health::RESERVED_NAMES, table::ConfigError,
    },
    services::{
        SpeechRoom, batch::Batch, interface::Interface, management::Management,
        monitoring::Monitoring, realtime::Realtime, security::Security,
    },
};

/// How long a service may take to start.
const LONGEST_START: Duration = Duration::from_secs(60);

/// An appliance before it runs: its name and its kinds of service.
///
/// [`Appliance::new`] brings the built-in services; a program adds its own and hands the whole to
/// [`crate::command_line`].
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use portcullis::{Appliance, Mount, Service, command_line};
///
/// struct Greeter;
///
/// impl Service for Greeter {
///     fn mounts(&self) -> Vec<Mount> {
///         Vec::new()
///     }
/// }
///
/// fn main() -> ExitCode {
///     command_line(Appliance::new("greeter", "1.0.0").service("greeter", Greeter))
/// }
/// ```
pub struct Appliance {
    name: &'static str,
    version: &'static str,
    kinds: Vec<Arc<dyn Kind>>,
}

impl Appliance {
    /// An appliance with the built-in services. `name` and `version` show in `about`, in the API
    /// document and on the command line.
    #[must_use]
    pub fn new(name: &'static str, version: &'static str) -> Self {
        let speech = SpeechRoom::default();
        Self { name, version, kinds: Vec::new() }
            .service("interface", Interface)
            .kind(Security)
            .kind(Management)
            .kind(Monitoring)
            .kind(Batch::new(speech.clone()))
            .kind(Realtime::new(speech))
    }

    /// Adds a service that has nothing to configure and nothing to start. Listeners can list it by
    /// `name` from now on; without a configuration, `http` and `https` carry it.
    ///
    /// # Panics
    /// As of [`Self::kind`].
    #[must_use]
    pub fn service(self, name: &'static str, service: impl Service) -> Self {
        self.kind(Plain { name, service: Arc::new(service) })
    }

    /// Adds a kind of service, which the configuration makes services of.
    ///
    /// # Panics
    /// There is a kind of that name already, or `health` has another use for the name.
    #[must_use]
    pub fn kind(mut self, kind: impl Kind) -> Self {
        let name = kind.name();
        let known = self.kinds.iter().any(|known| known.name() == name);
        assert!(!known, "there are two services called {name}");
        let reserved = RESERVED_NAMES.contains(&name);
        assert!(!reserved, "{name} is a name of the appliance's own");
        self.kinds.push(Arc::new(kind));
        self
    }

    /// What the configuration can make services of.
    #[doc(hidden)] // For the fuzz targets.
    #[must_use]
    pub fn kinds(&self) -> &[Arc<dyn Kind>] {
        &self.kinds
    }

    /// As it was made.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// As it was made.
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
        mut config: Config,
        admission: AdmissionLimits,
        ready_file: Option<&Path>,
    ) -> anyhow::Result<Running> {
        let in_force = Arc::new(InForce::new(&config, &self.kinds));
        let mut inherited = Inherited::from_env()?;
        let bound = config
            .listeners
            .iter()
            .map(|listener| match inherited.take(&listener.name) {
                Some(socket) => BoundListener::adopt(plan(listener), socket),
                None => BoundListener::bind(plan(listener)),
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
            workers: config.workers,
        };
        let facts = Arc::new(ApplianceFacts {
            name: self.name.to_owned(),
            version: self.version,
            started: Instant::now(),
            watched_certificate: config
                .tls
                .watch
                .clone()
                .map(|files| WatchedCertificate::new(files.certificate, files.key)),
            upload_beside_watch: config.tls.upload_beside_watch,
            data_dir: config.data_dir.clone(),
            configuration: config.text.clone(),
            shutdown_timeout: config.shutdown_timeout,
            outbound: Arc::new(outbound(&config, &addresses)),
            addresses,
            ports,
            names: config.security.names.clone(),
        });
        let application = Arc::new(Routes::default());
        let owners = Owners::start(prepared, bound, configured, application.clone())?;
        let context =
            Context { owners: owners.clone(), appliance: facts.clone(), house: House::default() };
        move_in(&config.listeners, std::mem::take(&mut config.services), &context).await?;
        application.serve(context.clone());
        owners.open().await?;
        read_tokens(&config, &owners).await?;
        let nudge = Nudge::default();
        follow_files(&config, &facts, &owners, &nudge).await;
        let console = match ConsoleSocket::bind(&config.data_dir) {
            Ok(socket) => Some(socket.serve(owners.clone(), in_force)),
            Err(err) => {
                log::warn!("the console works only while the server is stopped: {err:#}");
                None
            }
        };
        ready.announce(ready_file)?;
        Ok(Running { config, owners, nudge, house: context.house, console })
    }
}

/// A kind of which there is one service, made by the program.
struct Plain<S> {
    name: &'static str,
    service: Arc<S>,
}

impl<S: Service> Kind for Plain<S> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn configure(&self, _: &mut Tables<'_>) -> Result<Start, ConfigError> {
        Ok(Start::made(self.service.clone()))
    }
}

fn plan(listener: &ListenerConfig) -> ListenerPlan {
    ListenerPlan {
        name: listener.name.clone(),
        address: listener.address,
        tls: listener.tls,
        services: listener.services.clone(),
        redirect_to: listener.redirect_to.clone(),
        redirect_port: listener.redirect_port,
    }
}

/// Starts the services that some listener carries, and lets them into the house.
async fn move_in(
    listeners: &[ListenerConfig],
    services: Vec<ServiceConfig>,
    context: &Context,
) -> anyhow::Result<()> {
    let carried = |service: &ServiceConfig| is_carried(listeners, &service.name);
    let (carried, absent): (Vec<_>, Vec<_>) = services.into_iter().partition(carried);
    let absent = absent.iter().map(ServiceConfig::absent).collect();
    let mut residents = Vec::new();
    for service in carried {
        let components = service.components();
        let ServiceConfig { name, start, .. } = service;
        let starting = start.begin(Door::new(&name, context.clone()));
        let started = tokio::time::timeout(LONGEST_START, starting).await;
        let late = |_| format!("it is not ready after {} s", LONGEST_START.as_secs()).into();
        let service = started
            .map_err(late)
            .flatten()
            .map_err(|err: StartError| anyhow::anyhow!(err))
            .with_context(|| format!("the service `{name}` cannot start"))?;
        residents.push(Resident { name, components, service });
    }
    residents.sort_by(|a, b| a.name.cmp(&b.name));
    let facts = &context.appliance;
    context.house.open(&facts.name, facts.version, residents, absent);
    listeners.iter().try_for_each(|listener| check_mounts(listener, &context.house))
}

/// Refuses a listener two of whose services answer the same paths, or one of whose services answers below
/// what the appliance is administered by.
fn check_mounts(listener: &ListenerConfig, house: &House) -> anyhow::Result<()> {
    let mut mounts: Vec<(&Resident, Mount)> = Vec::new();
    for resident in listener.services.iter().filter_map(|name| house.find(name)) {
        for mount in resident.service.mounts() {
            let clash = mounts.iter().find(|(other, before)| {
                let same = before.prefix() == mount.prefix();
                let administered = other.service.administers() && is_below(&mount, before)
                    || resident.service.administers() && is_below(before, &mount);
                same || administered && other.name != resident.name
            });
            if let Some((other, before)) = clash {
                anyhow::bail!(
                    "listener `{}` carries the services `{}` and `{}`, which answer below `{}/` and `{}/`; put them on different listeners, or give one another prefix",
                    listener.name,
                    other.name,
                    resident.name,
                    before.prefix(),
                    mount.prefix()
                );
            }
            mounts.push((resident, mount));
        }
    }
    Ok(())
}

/// Whether the paths of `mount` are among those of `other`.
fn is_below(mount: &Mount, other: &Mount) -> bool {
    let rest = mount.prefix().strip_prefix(other.prefix());
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The port of a listener, and the one outside that it sends plain requests to.
fn own_ports(listener: &BoundListener) -> impl Iterator<Item = OwnPort> {
    let plan = listener.plan();
    let (plain, tls) = (plan.tls.takes_plain(), plan.tls.takes_tls());
    let bound = OwnPort { port: listener.address().port(), plain, tls };
    let outside = plan.redirect_port.map(|port| OwnPort { port, plain: false, tls: true });
    std::iter::once(bound).chain(outside)
}

/// What sends requests to addresses that clients name: never to our own listeners, nor to what services
/// keep to themselves on this machine.
fn outbound(config: &Config, addresses: &BTreeMap<String, SocketAddr>) -> Outbound {
    let private = config.services.iter().flat_map(|service| service.start.private_ports());
    let own_ports = addresses.values().map(SocketAddr::port).chain(private.copied());
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

/// What runs once it has started.
struct Running {
    config: Config,
    owners: Owners,
    nudge: Nudge,
    house: House,
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
        let (audit, house) = (self.owners.audit.clone(), self.house);
        let (done, put_away) = tokio::sync::oneshot::channel();
        // A thread of its own: those for blocking calls may all hang. What takes longest comes
        // last. All of it is durable already but the last audit entries and seconds of running
        // time.
        let services_next = process.waits_for_later("the services");
        let work = move || {
            clock::save();
            if !audit.flush(AT_END) {
                let lost = audit.standing().waiting;
                log::error!("{lost} entries of the audit record could not be written and are lost");
            }
            services_next();
            for resident in house.residents() {
                resident.service.stop();
            }
            let _ = done.send(());
        };
        match std::thread::Builder::new().name("put-away".into()).spawn(work) {
            Ok(_) => drop(put_away.await),
            Err(err) => log::warn!("no thread to put things away ({err}); the next start does it"),
        }
    }
}

/// What the supervisor is handed: routes it does not know.
#[derive(Default)]
struct Routes(OnceLock<Context>);

impl Routes {
    /// Whose services are served from now on.
    fn serve(&self, context: Context) {
        let _ = self.0.set(context);
    }
}

impl Application for Routes {
    fn on(&self, listener: &ListenerPlan) -> Arc<dyn ListenerApplication> {
        let context = self.0.get().expect("listeners open after the services have started");
        let found = listener.services.iter().filter_map(|name| context.house.find(name));
        let services: Vec<_> = found.map(|resident| resident.service.clone()).collect();
        front::listener(listener, &services, context)
    }
}
