//! The three owners put together, and the changes that concern all of them at once.

use std::{path::Path, sync::Arc};

use actix::{Addr, MailboxError};

use crate::{
    audit::Audit,
    auth::{
        AuthActor, AuthShared, AuthStartError, Authenticator, Credential, CredentialError,
        DEFAULT_PASSWORD,
    },
    blocking,
    certificate::{
        CertificateActor, Certificates, DefaultCertificateError, WaitingKeys, load_or_generate,
    },
    change::{Change, ChangeError, Ledger},
    clock::Moment,
    events::EventLog,
    handover::{Generations, Handover, HandoverError, Scope},
    logging,
    power::{PowerActor, PowerCommands},
    requester::Requester,
    sessions::SessionBoard,
    settings::{LiveSettings, Settings, SettingsChange, SettingsChanged, StoredSettings},
    store::{
        AdminAccess, ChangeNote, State, StateStore, StoreError, close_to_others,
        describe_open_modes,
    },
    supervise,
    supervisor::{
        AdmissionLimits, Application, BoundListener, InsecurePorts, ListenerSupervisor, Shared,
    },
};

/// Why edited state files are not used.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the state is gone: nothing is left in the data directory")]
    Gone,
    #[error(transparent)]
    Credential(CredentialError),
    #[error("tls/tls.crt and tls/tls.key cannot be served: {0}")]
    Certificate(String),
    #[error(transparent)]
    Change(#[from] ChangeError),
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
    #[error("the threads that check passwords cannot be started: {0}")]
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
                let note = ChangeNote {
                    at: time::OffsetDateTime::now_utc(),
                    what: "first start".into(),
                    by: Requester::appliance().to_string(),
                };
                store.commit(&state, &note)?;
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
    State {
        admin: AdminAccess::Htpasswd(Credential::hash(DEFAULT_PASSWORD).line()),
        tls: None,
        insecure_ports: true,
        job_token: None,
        settings: StoredSettings::default(),
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
    pub sessions: SessionBoard,
    pub settings: LiveSettings,
    /// What was open to other users of the machine when the appliance started.
    pub open_modes: Option<Arc<str>>,
    configured: Arc<Settings>,
    auth_shared: Arc<AuthShared>,
}

impl Owners {
    /// Starts the owners and the first generation of every listener; resolves once each accepts.
    /// `application` is given the owners, so that its routes can speak to them.
    ///
    /// # Errors
    /// A listener cannot start.
    pub async fn start(
        prepared: Prepared,
        listeners: Vec<BoundListener>,
        configured: Configured,
        application: impl FnOnce(OwnersSlot) -> Arc<dyn Application>,
    ) -> Result<Self, StartError> {
        let Prepared { ledger, state, certificates, auth: auth_shared, audit, events, open_modes } =
            prepared;
        let settings = LiveSettings::new(configured.settings.with(&state.settings));
        let insecure_ports = InsecurePorts::new(state.insecure_ports);
        let slot = OwnersSlot::default();
        let supervisor = ListenerSupervisor::new(
            listeners,
            configured.admission,
            application(slot.clone()),
            Shared {
                tls: certificates.tls(),
                insecure_ports: insecure_ports.clone(),
                ledger: ledger.clone(),
                settings: settings.clone(),
                events: events.clone(),
            },
        );
        let supervisor = supervise::start("the listeners", supervisor);
        let certificate = CertificateActor::new(
            certificates.clone(),
            ledger.clone(),
            supervisor.clone().recipient(),
            audit.clone(),
        );
        let certificate = supervise::start("the certificate", certificate);
        let auth = AuthActor::new(auth_shared.clone(), ledger.clone());
        let auth = supervise::start("the credential", auth);
        let power = PowerActor::new(configured.power, events.clone(), audit.clone());
        let owners = Self {
            certificate,
            authenticator: Authenticator::new(auth_shared.clone()),
            auth,
            supervisor,
            power: supervise::start("the power", power),
            certificates,
            insecure_ports,
            ledger,
            audit,
            sessions: SessionBoard::new(events.clone()),
            events,
            settings,
            open_modes,
            configured: Arc::new(configured.settings),
            auth_shared,
        };
        owners.apply_settings(&state.settings);
        slot.fill(owners.clone());
        let first = Handover { scope: Scope::All, reason: "start".into(), request_id: None };
        owners.supervisor.send(first).await??;
        Ok(owners)
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
        let mut transaction = self.ledger.begin().await;
        let before = self.settings.current();
        let state = transaction.state().clone();
        let settings = state.settings.with(change, &self.configured)?;
        if settings != state.settings {
            let next = State { settings: settings.clone(), ..state };
            transaction.commit(next, "settings changed", by).await?;
            self.apply_settings(&settings);
            let differences = before.differences(&self.settings.current());
            log::info!("settings changed by {by}: {differences}");
            return Ok(SettingsChanged { settings: self.settings.current(), differences });
        }
        Ok(SettingsChanged { settings: before, differences: String::new() })
    }

    fn apply_settings(&self, stored: &StoredSettings) {
        let settings = self.configured.with(stored);
        self.auth_shared.limit_failures(settings.throttle_limits());
        if settings.log_level != self.settings.current().log_level || settings.log_level.is_some() {
            logging::set_level(settings.log_level);
        }
        self.settings.publish(settings);
    }

    /// Default certificate, `admin`/`admin`, plain HTTP on, no job token, no key that waits for its
    /// certificate, in one transaction: nothing of what an administrator has brought in is to
    /// outlive a reset.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn reset(&self, by: &Requester) -> Result<Generations, ChangeError> {
        let factory = blocking::run(factory_state).await?;
        // Settings concern no secret and no access; a reset of the security leaves them alone.
        let factory = |now: &State| State { settings: now.settings.clone(), ..factory };
        let mut change = self.ledger.begin().await;
        // The keys first, so that a crash in between rather loses a key than keeps one.
        let aside = self.waiting_keys(WaitingKeys::set_aside).await??;
        match self.transform_in(&mut change, "reset", by, factory).await {
            Ok(generations) => {
                let discarded = self.waiting_keys(|waiting| waiting.discard(aside)).await?;
                if let Err(err) = discarded {
                    log::error!("a key that waits no more is removed by the next start: {err}");
                }
                Ok(generations)
            }
            Err(err) => {
                self.waiting_keys(|waiting| waiting.put_back(aside)).await?;
                Err(err)
            }
        }
    }

    /// Calls the waiting keys on the thread of the state; the caller holds the ledger.
    async fn waiting_keys<T: Send + 'static>(
        &self,
        work: impl FnOnce(&WaitingKeys) -> T + Send + 'static,
    ) -> Result<T, ChangeError> {
        let waiting = self.certificates.waiting_keys().clone();
        Ok(blocking::change(move || work(&waiting)).await?)
    }

    /// Makes what `transform` makes of the state the new state, and serves it, in one transaction.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn transform(
        &self,
        what: &str,
        by: &Requester,
        transform: impl FnOnce(&State) -> State,
    ) -> Result<Generations, ChangeError> {
        self.transform_in(&mut self.ledger.begin().await, what, by, transform).await
    }

    async fn transform_in(
        &self,
        change: &mut Change,
        what: &str,
        by: &Requester,
        transform: impl FnOnce(&State) -> State,
    ) -> Result<Generations, ChangeError> {
        let previous = change.state().clone();
        let next = transform(&previous);
        if let AdminAccess::Htpasswd(line) = &next.admin {
            Credential::parse(line)?;
        }
        if next.tls.is_none() {
            self.certificates.refresh_default().await;
        }
        change.commit(next.clone(), what, by).await?;
        match self.serve(&previous, &next, what, by).await {
            Ok(generations) => {
                log::info!("{what} by {by}");
                Ok(generations)
            }
            Err(err) => {
                let undone = self.serve_without_handover(&previous);
                change.undo(previous, "undone: it could not be served", by).await;
                undone?;
                Err(err)
            }
        }
    }

    /// Reads the state again, for somebody may have edited its files, and serves it if it has
    /// changed and is sound. Tells whether it had changed.
    ///
    /// # Errors
    /// What is wrong with the files; what served before goes on serving.
    pub async fn reload(&self) -> Result<bool, ReloadError> {
        let mut change = self.ledger.begin().await;
        let store = self.ledger.store();
        let loaded = blocking::change(move || store.load())
            .await
            .map_err(ChangeError::from)??
            .ok_or(ReloadError::Gone)?;
        if let Some(unusable) = loaded.unusable_bundle {
            return Err(unusable.into());
        }
        let (previous, next) = (change.state().clone(), loaded.state);
        if previous == next {
            return Ok(false);
        }
        if let AdminAccess::Htpasswd(line) = &next.admin {
            Credential::parse(line).map_err(ReloadError::Credential)?;
        }
        if next.tls.is_none() {
            self.certificates.refresh_default().await;
        }
        if let Some(reason) = self.certificates.activate(&next).fallback {
            return Err(ReloadError::Certificate(reason));
        }
        let by = Requester::appliance();
        match self.serve(&previous, &next, "state files edited", &by).await {
            Ok(_) => {
                change.adopt(next);
                log::info!("the state files were edited; what they hold serves now");
                Ok(true)
            }
            Err(err) => {
                self.serve_without_handover(&previous)?;
                Err(err.into())
            }
        }
    }

    /// Publishes `next` and hands over the listeners that see a difference.
    async fn serve(
        &self,
        previous: &State,
        next: &State,
        what: &str,
        by: &Requester,
    ) -> Result<Generations, ChangeError> {
        self.serve_without_handover(next)?;
        let scope = match (previous.tls != next.tls, previous.insecure_ports != next.insecure_ports)
        {
            (false, false) => return Ok(Generations::new()),
            (true, false) => Scope::Tls,
            (false, true) => Scope::Plain,
            (true, true) => Scope::All,
        };
        let handover = Handover { scope, reason: what.into(), request_id: by.request_id };
        match self.supervisor.send(handover).await {
            Ok(Ok(generations)) => Ok(generations),
            failed => Err(ChangeError::from_handover(failed)),
        }
    }

    fn serve_without_handover(&self, state: &State) -> Result<(), ChangeError> {
        let active = Arc::new(self.certificates.activate(state));
        self.certificates.publish(active).map_err(ChangeError::Tls)?;
        self.auth_shared.publish(state)?;
        self.insecure_ports.set(state.insecure_ports);
        self.apply_settings(&state.settings);
        Ok(())
    }
}

/// Where the application finds the owners once they run: the supervisor needs the application
/// before the owners are complete.
#[derive(Clone, Default)]
pub struct OwnersSlot(Arc<std::sync::OnceLock<Owners>>);

impl OwnersSlot {
    fn fill(&self, owners: Owners) {
        let _ = self.0.set(owners);
    }

    /// The owners.
    ///
    /// # Panics
    /// Before [`Owners::start`] has filled the slot; no listener serves before that.
    #[must_use]
    pub fn get(&self) -> Owners {
        self.0.get().expect("listeners start after the owners").clone()
    }
}
