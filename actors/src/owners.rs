//! The three owners put together, and the changes that concern all of them at once.

use std::{path::Path, sync::Arc};

use actix::{Actor, Addr, MailboxError};

use crate::{
    auth::{AuthActor, AuthShared, Authenticator, Credential, CredentialError, DEFAULT_PASSWORD},
    certificate::{
        CertificateActor, Certificates, DefaultCertificateError, RemoveCertificateRequests,
        WaitingKeys, load_or_generate,
    },
    ledger::{Ledger, Requester},
    store::{AdminAccess, ChangeNote, State, StateStore, StoreError},
    supervisor::{
        Application, BoundListener, DrainLimits, Generations, Handover, HandoverError,
        InsecurePorts, ListenerSupervisor, Scope,
    },
};

/// Why a change did not happen. The old configuration goes on serving in every case.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the change could not be stored; nothing was changed")]
    Store(#[from] StoreError),
    #[error("the certificate cannot be served; nothing was changed")]
    Tls(#[source] rustls::Error),
    #[error("new listeners could not start; the old ones go on serving")]
    Handover(#[source] HandoverError),
    #[error("the stored credential cannot be used; nothing was changed")]
    Credential(#[from] CredentialError),
    #[error("the appliance is shutting down")]
    Stopping,
}

impl ChangeError {
    pub(crate) fn from_handover(
        failed: Result<Result<Generations, HandoverError>, MailboxError>,
    ) -> Self {
        match failed {
            Ok(Err(err)) => Self::Handover(err),
            Ok(Ok(_)) | Err(_) => Self::Stopping,
        }
    }
}

/// Why the appliance cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "the stored admin credential cannot be used ({0}); put a valid line into state/current/management-auth-secret/users"
    )]
    Credential(#[from] CredentialError),
    #[error(transparent)]
    DefaultCertificate(#[from] DefaultCertificateError),
    #[error("no TLS configuration can be made")]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Handover(#[from] HandoverError),
    #[error("an actor ended while starting")]
    Mailbox(#[from] MailboxError),
}

/// The state as it was found at start, with all that was slow to make from it.
pub struct Prepared {
    ledger: Ledger,
    state: State,
    certificates: Certificates,
    auth: Arc<AuthShared>,
}

impl Prepared {
    /// Reads the state, or makes that of a new appliance, and the default certificate. Blocks.
    ///
    /// # Errors
    /// Says what cannot be read or written.
    pub fn load(store: Arc<dyn StateStore>, data_dir: &Path) -> Result<Self, StartError> {
        let default = load_or_generate(data_dir)?;
        let (state, unusable) = match store.load()? {
            Some(loaded) => (loaded.state, loaded.unusable_bundle.map(|err| err.to_string())),
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
        let auth = Arc::new(AuthShared::new(&state)?);
        let waiting = WaitingKeys::open(data_dir, time::OffsetDateTime::now_utc())?;
        let certificates = Certificates::new(&state, unusable, default, waiting)?;
        certificates.forget_used_key()?;
        let ledger = Ledger::new(store, state.clone());
        Ok(Self { ledger, state, certificates, auth })
    }
}

/// `admin`/`admin`, plain HTTP on, the default certificate, no job token. Hashes: blocks 50 ms.
fn factory_state() -> State {
    State {
        admin: AdminAccess::Htpasswd(Credential::hash(DEFAULT_PASSWORD).line()),
        tls: None,
        insecure_ports: true,
        job_token: None,
    }
}

/// The running owners and the snapshots that they publish. Cheap to clone.
#[derive(Clone)]
pub struct Owners {
    pub certificate: Addr<CertificateActor>,
    pub auth: Addr<AuthActor>,
    pub supervisor: Addr<ListenerSupervisor>,
    pub certificates: Certificates,
    pub authenticator: Authenticator,
    pub insecure_ports: InsecurePorts,
    pub ledger: Ledger,
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
        limits: DrainLimits,
        application: impl FnOnce(OwnersSlot) -> Arc<dyn Application>,
    ) -> Result<Self, StartError> {
        let Prepared { ledger, state, certificates, auth: auth_shared } = prepared;
        let insecure_ports = InsecurePorts::new(state.insecure_ports);
        let slot = OwnersSlot::default();
        let supervisor = ListenerSupervisor::new(
            listeners,
            application(slot.clone()),
            certificates.tls(),
            insecure_ports.clone(),
            ledger.clone(),
            limits,
        )
        .start();
        let certificate = CertificateActor::new(
            certificates.clone(),
            ledger.clone(),
            supervisor.clone().recipient(),
        )
        .start();
        let auth = AuthActor::new(auth_shared.clone(), ledger.clone()).start();
        let owners = Self {
            certificate,
            authenticator: Authenticator::new(auth_shared.clone(), auth.clone()),
            auth,
            supervisor,
            certificates,
            insecure_ports,
            ledger,
            auth_shared,
        };
        slot.fill(owners.clone());
        let first = Handover { scope: Scope::All, reason: "start".into() };
        owners.supervisor.send(first).await??;
        Ok(owners)
    }

    /// Default certificate, `admin`/`admin`, plain HTTP on, no job token, in one transaction.
    ///
    /// Then the keys that wait for their certificates are removed as well, because nothing of
    /// what an administrator has brought in is to outlive a reset; one that cannot be removed is
    /// told in the log and does not undo it.
    ///
    /// # Errors
    /// Nothing has changed then.
    pub async fn reset(&self, by: &Requester) -> Result<Generations, ChangeError> {
        let factory =
            tokio::task::spawn_blocking(factory_state).await.map_err(|_| ChangeError::Stopping)?;
        let generations = self.adopt(factory, Some(DEFAULT_PASSWORD), "reset", by).await?;
        match self.certificate.send(RemoveCertificateRequests).await {
            Ok(Ok(())) => {}
            Ok(Err(err)) => log::error!("waiting keys outlive the reset: {err}"),
            Err(err) => log::error!("waiting keys outlive the reset: {err}"),
        }
        Ok(generations)
    }

    /// Makes `next` the state and serves it everywhere, in one transaction.
    async fn adopt(
        &self,
        next: State,
        password: Option<&str>,
        what: &str,
        by: &Requester,
    ) -> Result<Generations, ChangeError> {
        let mut change = self.ledger.begin().await;
        let previous = change.state().clone();
        let active = Arc::new(self.certificates.activate(&next));
        change.commit(next.clone(), what, by).await?;
        let undo = self.certificates.publish(active).map_err(ChangeError::Tls)?;
        self.auth_shared.publish(&next, password)?;
        self.insecure_ports.set(next.insecure_ports);
        let handover = Handover { scope: Scope::All, reason: what.into() };
        match self.supervisor.send(handover).await {
            Ok(Ok(generations)) => {
                log::info!("{what} by {by}");
                Ok(generations)
            }
            failed => {
                self.certificates.publish(undo).map_err(ChangeError::Tls)?;
                self.auth_shared.publish(&previous, None)?;
                self.insecure_ports.set(previous.insecure_ports);
                change.commit(previous, "undone: new listeners did not start", by).await?;
                Err(ChangeError::from_handover(failed))
            }
        }
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
