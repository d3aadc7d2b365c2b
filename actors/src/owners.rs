//! The owners put together, and the changes that concern all of them at once.

use std::{path::Path, sync::Arc};

use actix::{Addr, MailboxError};

use crate::{
    audit::Audit,
    auth::{AuthActor, AuthShared, AuthStartError, Authenticator, CredentialError},
    blocking,
    certificate::{
        ActiveCertificate, CertificateActor, Certificates, DefaultCertificateError, WaitingKeys,
        forget_used_key, load_or_generate,
    },
    change::{
        Change, ChangeError, ChangeKind, Ledger, Prepared as Ready, Snapshot, Transaction, Undo,
        Writer, note, persist,
    },
    clock::Moment,
    engine::{AdmissionLimits, Application, Pool},
    events::EventLog,
    handover::{Generations, Handover, HandoverError, Scope},
    logging,
    power::{PowerActor, PowerCommands},
    requester::Requester,
    settings::{LiveSettings, Settings, SettingsChange, SettingsChanged},
    store::{
        AdminAccess, Revision, State, StateStore, StoreError, close_to_others, describe_open_modes,
    },
    supervise,
    supervisor::{BoundListener, InsecurePorts, ListenerSupervisor, Shared},
};

/// Why edited state files are not used.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the state is gone: nothing is left in the data directory")]
    Gone,
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Why a kept revision cannot become the state again.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("revision {revision} cannot be used: {reason}")]
    Unusable { revision: Revision, reason: String },
}

/// Why the appliance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    NotDone(#[from] blocking::NotDone),
    #[error(
        "the stored admin credential cannot be used ({0}); put a valid line into state/current/management-auth-secret/users"
    )]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    DefaultCertificate(#[from] DefaultCertificateError),
    #[error("threads cannot be started: {0}")]
    Threads(std::io::Error),
    #[error("no TLS configuration can be made")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error("an actor ended while starting")]
    Mailbox(#[from] MailboxError),
}

impl From<AuthStartError> for StartError {
    fn from(err: AuthStartError) -> Self {
        match err {
            AuthStartError::Credential(err) => err.into(),
            AuthStartError::Threads(err) => Self::Threads(err),
        }
    }
}

/// The state as it was found at start, with all that was slow to make from it.
pub struct Prepared {
    ledger: Ledger,
    state: State,
    certificates: Certificates,
    auth: Arc<AuthShared>,
    audit: Audit,
    events: EventLog,
    open_modes: Option<Arc<str>>,
}

/// What the configuration says about things that the owners own.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// What holds until an administrator sets something else.
    pub settings: Settings,
    pub power: PowerCommands,
    /// What clients may hold at once.
    pub admission: AdmissionLimits,
    /// Threads that serve connections, at least one.
    pub workers: usize,
}

impl Prepared {
    /// Reads the state, or makes that of a new appliance, and the default certificate. Closes to
    /// others what they could read. Starts the threads that changes need. Blocks.
    ///
    /// The state comes first: whatever else is there tells that there was one.
    ///
    /// # Errors
    /// Says what cannot be read or written.
    pub fn load(store: Arc<dyn StateStore>, data_dir: &Path) -> Result<Self, StartError> {
        blocking::start()?;
        let (state, unusable) = match store.load().map_err(|err| err.with_remedy(data_dir))? {
            Some(loaded) => (loaded.state, loaded.unusable_bundle.map(|err| err.chain())),
            None => {
                let state = factory_state();
                store.commit(&state, &note(ChangeKind::FirstStart, &Requester::appliance()))?;
                (state, None)
            }
        };
        let open_modes = describe_open_modes(&close_to_others(data_dir));
        if let Some(told) = &open_modes {
            log::warn!("{told}");
        }
        let audit = Audit::open(data_dir)?;
        let default = load_or_generate(data_dir)?;
        let events = EventLog::default();
        let auth = Arc::new(AuthShared::new(&state, events.clone())?);
        let waiting = WaitingKeys::open(data_dir, Moment::now())?;
        let certificates = Certificates::new(&state, unusable, default, waiting, data_dir)?;
        certificates.forget_used_key()?;
        let ledger = Ledger::new(store, state.clone(), events.clone());
        let open_modes = open_modes.map(Into::into);
        Ok(Self { ledger, state, certificates, auth, audit, events, open_modes })
    }
}

/// `admin`/`admin`, plain HTTP on, the default certificate, no job token. Hashes: blocks 50 ms.
#[must_use]
pub fn factory_state() -> State {
    State::factory(AdminAccess::default_password())
}

/// The change back to a revision that is kept. Reads and judges: blocks.
///
/// # Errors
/// There is no such revision, or it cannot be used.
pub fn roll_back(store: &dyn StateStore, revision: Revision) -> Result<Change, RollbackError> {
    let loaded = store.revision(revision)?;
    let unusable = |reason| RollbackError::Unusable { revision, reason };
    if let Some(err) = loaded.unusable_bundle {
        return Err(unusable(err.to_string()));
    }
    loaded.state.admin.check().map_err(|err| unusable(err.to_string()))?;
    if let Some(stored) = &loaded.state.tls {
        ActiveCertificate::installed_one(stored).map_err(|err| unusable(err.to_string()))?;
    }
    Ok(Change::RollBack(Box::new(loaded.state)))
}

/// Makes a change while no appliance runs on `data_dir`, whose lock the caller holds; the next start
/// serves it. Gives the state after it and its revision. Blocks.
///
/// # Errors
/// Nothing has changed then.
pub fn change_stopped(
    store: &dyn StateStore,
    data_dir: &Path,
    state: &State,
    change: Change,
    by: &Requester,
) -> Result<(State, Revision), ChangeError> {
    if change.kind() != ChangeKind::Reset {
        return persist(store, state, change, by);
    }
    let waiting = WaitingKeys::open(data_dir, Moment::now())?;
    let aside = waiting.set_aside()?;
    let persisted = persist(store, state, change, by);
    match &persisted {
        Ok(_) => waiting.discard(aside),
        Err(_) => waiting.put_back(aside),
    }
    persisted
}

/// The settings, and those that are told of them.
#[derive(Clone)]
struct Tuning {
    live: LiveSettings,
    configured: Arc<Settings>,
    auth: Arc<AuthShared>,
}

impl Tuning {
    fn apply(&self, settings: Settings) {
        self.auth.limit_failures(settings.throttle_limits());
        if settings.log_level != self.live.current().log_level || settings.log_level.is_some() {
            logging::set_level(settings.log_level);
        }
        self.live.publish(settings);
    }
}

impl Snapshot for Tuning {
    fn prepare(
        &self,
        _serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Ready>, ChangeError> {
        let (before, settings) = (self.live.current(), self.configured.with(&next.settings));
        if *before == settings {
            return Ok(None);
        }
        let (tuning, remark) = (self.clone(), Some(before.differences(&settings)));
        let publish = Box::new(move || -> Undo {
            tuning.apply(settings);
            Box::new(move || tuning.apply(Settings::clone(&before)))
        });
        Ok(Some(Ready { scope: None, remark, publish }))
    }
}

/// The running owners and the snapshots that they publish. Cheap to clone.
#[derive(Clone)]
pub struct Owners {
    pub certificate: Addr<CertificateActor>,
    pub auth: Addr<AuthActor>,
    pub supervisor: Addr<ListenerSupervisor>,
    pub power: Addr<PowerActor>,
    pub certificates: Certificates,
    pub authenticator: Authenticator,
    pub insecure_ports: InsecurePorts,
    pub ledger: Ledger,
    pub audit: Audit,
    pub events: EventLog,
    pub settings: LiveSettings,
    /// What was open to other users of the machine when the appliance started.
    pub open_modes: Option<Arc<str>>,
    configured: Arc<Settings>,
    writer: Writer,
}

impl Owners {
    /// Starts the owners. Nothing is served before [`Self::open`].
    ///
    /// # Errors
    /// The owners cannot start.
    pub fn start(
        prepared: Prepared,
        listeners: Vec<BoundListener>,
        configured: Configured,
        application: Arc<dyn Application>,
    ) -> Result<Self, StartError> {
        let Prepared { ledger, state, certificates, auth: auth_shared, audit, events, open_modes } =
            prepared;
        let configured_settings = Arc::new(configured.settings);
        let settings = LiveSettings::new(configured_settings.with(&state.settings));
        let insecure_ports = InsecurePorts::new(state.insecure_ports);
        let tuning = Tuning {
            live: settings.clone(),
            configured: configured_settings.clone(),
            auth: auth_shared.clone(),
        };
        tuning.apply(Settings::clone(&settings.current()));
        let snapshots: Vec<Box<dyn Snapshot>> = vec![
            Box::new(certificates.clone()),
            Box::new(auth_shared.clone()),
            Box::new(insecure_ports.clone()),
            Box::new(tuning),
        ];
        let pool = Pool::start(configured.workers.max(1)).map_err(StartError::Threads)?;
        let mailbox = supervise::Mailbox::<ListenerSupervisor>::new();
        let writer = Writer::new(ledger.clone(), snapshots, mailbox.address().recipient());
        let supervisor = ListenerSupervisor::new(
            listeners,
            pool,
            configured.admission,
            application,
            Shared {
                tls: certificates.tls(),
                insecure_ports: insecure_ports.clone(),
                writer: writer.clone(),
                settings: settings.clone(),
                events: events.clone(),
            },
        );
        let supervisor = mailbox.start("the listeners", supervisor);
        let certificate =
            CertificateActor::new(certificates.clone(), writer.clone(), audit.clone());
        let certificate = supervise::start("the certificate", certificate);
        let auth = AuthActor::new(auth_shared.clone(), writer.clone());
        let auth = supervise::start("the credential", auth);
        let power = PowerActor::new(configured.power, events.clone(), audit.clone());
        Ok(Self {
            certificate,
            authenticator: Authenticator::new(auth_shared),
            auth,
            supervisor,
            power: supervise::start("the power", power),
            certificates,
            insecure_ports,
            ledger,
            audit,
            events,
            settings,
            open_modes,
            configured: configured_settings,
            writer,
        })
    }

    /// Starts the first generation of every listener; resolves once each accepts.
    ///
    /// # Errors
    /// A listener cannot start.
    pub async fn open(&self) -> Result<(), StartError> {
        let first = Handover { scope: Scope::All, reason: "start".into(), request_id: None };
        self.supervisor.send(first).await??;
        Ok(())
    }

    /// Makes a change of the settings durable; it holds once this resolves.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn change_settings(
        &self,
        change: &SettingsChange,
        by: &Requester,
    ) -> Result<SettingsChanged, ChangeError> {
        let mut transaction = self.writer.begin().await;
        let before = self.settings.current();
        let (change, configured) = (change.clone(), self.configured.clone());
        transaction.apply(Change::ChangeSettings { change, configured }, by).await?;
        let settings = self.settings.current();
        let differences = before.differences(&settings);
        Ok(SettingsChanged { settings, differences })
    }

    /// Default certificate, `admin`/`admin`, plain HTTP on, no job token, no key that waits for its
    /// certificate, in one transaction: nothing secret that an administrator has brought in is to
    /// outlive a reset. The settings stay.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn reset(&self, by: &Requester) -> Result<Generations, ChangeError> {
        let admin = blocking::run(AdminAccess::default_password).await?;
        self.apply(Change::Reset(admin), by).await
    }

    /// Makes a change, whoever owns what it concerns, in one transaction.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn apply(&self, change: Change, by: &Requester) -> Result<Generations, ChangeError> {
        let mut transaction = self.writer.begin().await;
        let kind = change.kind();
        if kind == ChangeKind::Reset {
            return self.reset_in(&mut transaction, change, by).await;
        }
        let generations = transaction.apply(change, by).await?;
        if kind == ChangeKind::CertificateInstalled {
            forget_used_key(self.certificates.clone()).await;
        }
        Ok(generations)
    }

    async fn reset_in(
        &self,
        transaction: &mut Transaction,
        change: Change,
        by: &Requester,
    ) -> Result<Generations, ChangeError> {
        // The keys first, so that a crash in between rather loses a key than keeps one.
        let aside = self.waiting_keys(WaitingKeys::set_aside).await??;
        let made = transaction.apply(change, by).await;
        let is_made = made.is_ok();
        let settled = self.waiting_keys(move |waiting| {
            if is_made { waiting.discard(aside) } else { waiting.put_back(aside) }
        });
        if let Err(err) = settled.await {
            log::error!("the keys that waited are removed by the next start: {err}");
        }
        made
    }

    /// Calls the waiting keys on the thread of the state; the caller holds the ledger.
    async fn waiting_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WaitingKeys) -> T + Send + 'static,
    ) -> Result<T, ChangeError> {
        let waiting = self.certificates.waiting_keys().clone();
        Ok(blocking::change(move || work(&waiting)).await?)
    }

    /// Reads the state again, for somebody may have edited its files, and serves it if it has
    /// changed and is sound. Tells whether it had changed.
    ///
    /// # Errors
    /// What is wrong with the files; what served before goes on serving.
    pub async fn reload(&self, by: &Requester) -> Result<bool, ReloadError> {
        let mut transaction = self.writer.begin().await;
        let store = self.ledger.store();
        let loaded = blocking::change(move || store.load())
            .await
            .map_err(ChangeError::from)??
            .ok_or(ReloadError::Gone)?;
        if let Some(unusable) = loaded.unusable_bundle {
            return Err(unusable.into());
        }
        if loaded.state == *transaction.state() {
            return Ok(false);
        }
        transaction.apply(Change::AdoptFiles(Box::new(loaded.state)), by).await?;
        log::info!("the state files were edited; what they hold serves now");
        Ok(true)
    }
}
