//! The certificate that is served.
//!
//! The [`CertificateActor`] owns the active certified key and the default one. Handshakes read
//! [`TlsConfigs`], requests read [`Certificates`]; neither waits for the actor.

mod default;
mod expiry;
mod intake;
mod messages;
mod request;

use std::{path::Path, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, ActorStreamExt, AsyncContext, Context, Handler, MessageResult,
    Recipient, ResponseActFuture, ResponseFuture, Supervised, WrapFuture, WrapStream,
};
use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

use self::request::FreshRequest;
pub use self::{
    default::{DefaultCertificateError, load_or_generate},
    expiry::{ExpiryStage, not_yet},
    intake::{
        CertificateBundle, CertificateError, CertificateFacts, ChainEntry, Judgement, Kind,
        Options, Part, Upload, WaitingKey, Warning,
    },
    messages::{
        CertificateInstalled, DeleteCertificateRequest, GetCertificate, InstallCertificate,
        RemoveExpiredRequests, RequestCertificate, RestoreDefaultCertificate,
    },
    request::{
        CertificateRequest, InvalidRequest, KeyType, MAX_WAITING, NewRequest, NoSuchRequest,
        RequestDetails, RequestError, RequestId, RequestSubject, RequestedName, WAITING_TIME,
        WaitingKeys,
    },
};
use crate::{
    audit::{Audit, AuditEntry, Outcome},
    blocking,
    change::{ChangeError, Ledger},
    clock::{self, Moment},
    events::EventKind,
    handover::{Handover, Scope},
    requester::Requester,
    store::{Installed, State, StoreError, StoredBundle},
    tls::TlsConfigs,
};

/// The certificate bundle that serves, and how it came to.
pub struct ActiveCertificate {
    pub bundle: CertificateBundle,
    /// Whether it is the default certificate of this installation.
    pub is_default: bool,
    /// Unknown for the default one and for files that something else put in place.
    pub installed: Option<Installed>,
    /// Why the installed bundle could not be used and the default one serves instead.
    pub fallback: Option<String>,
}

impl std::fmt::Debug for ActiveCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveCertificate")
            .field("fingerprint_sha256", &self.bundle.facts().fingerprint_sha256)
            .field("is_default", &self.is_default)
            .finish_non_exhaustive()
    }
}

/// What handshakes and requests read; published by changes.
#[derive(Clone)]
pub struct Certificates {
    active: Arc<ArcSwap<ActiveCertificate>>,
    tls: Arc<TlsConfigs>,
    default: Arc<ArcSwap<CertificateBundle>>,
    waiting: WaitingKeys,
    data_dir: Arc<Path>,
}

impl Certificates {
    /// Takes the bundle of `state`, or the default one where there is none or it cannot be used.
    ///
    /// # Errors
    /// Not even the default certificate can be served.
    pub(crate) fn new(
        state: &State,
        unusable: Option<String>,
        default: CertificateBundle,
        waiting: WaitingKeys,
        data_dir: &Path,
    ) -> Result<Self, rustls::Error> {
        let active = resolve_certificate(state, unusable, &default);
        let tls = Arc::new(TlsConfigs::new(&active.bundle.certified_key())?);
        Ok(Self {
            active: Arc::new(ArcSwap::from_pointee(active)),
            tls,
            default: Arc::new(ArcSwap::from_pointee(default)),
            waiting,
            data_dir: data_dir.into(),
        })
    }

    /// What is served now.
    #[must_use]
    pub fn active(&self) -> Arc<ActiveCertificate> {
        self.active.load_full()
    }

    /// The DNS names of the certificate that serves and of the default one; they may have wildcards.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let (active, default) = (self.active(), self.default.load_full());
        let bundles = [&active.bundle, &*default].into_iter();
        let names = bundles.flat_map(|bundle| bundle.facts().sans.iter());
        names.filter_map(|name| name.strip_prefix("DNS:").map(str::to_owned)).collect()
    }

    /// The keys that wait for their certificates.
    #[must_use]
    pub fn waiting_keys(&self) -> &WaitingKeys {
        &self.waiting
    }

    /// Removes the waiting key that serves already; says whether there was one. Blocks. A crash
    /// right after an installation leaves it to the next start.
    pub(crate) fn forget_used_key(&self) -> Result<bool, StoreError> {
        self.waiting.remove_key_of(&self.active().bundle.facts().spki_sha256)
    }

    pub(crate) fn tls(&self) -> Arc<TlsConfigs> {
        self.tls.clone()
    }

    /// Serves `active` in every handshake from now on; what it replaces is given back.
    pub(crate) fn publish(
        &self,
        active: Arc<ActiveCertificate>,
    ) -> Result<Arc<ActiveCertificate>, rustls::Error> {
        self.tls.replace(&active.bundle.certified_key())?;
        Ok(self.active.swap(active))
    }

    /// What serving `state` means.
    pub(crate) fn activate(&self, state: &State) -> ActiveCertificate {
        resolve_certificate(state, None, &self.default.load())
    }

    /// Whether the default certificate has to be made anew, or the new one does not serve yet
    /// where it should.
    fn wants_fresh_default(&self) -> bool {
        let (default, active) = (self.default.load(), self.active.load());
        default::is_out_of_date(&default)
            || active.is_default && active.bundle.chain() != default.chain()
    }

    /// Makes the default certificate anew if it has expired or is not valid yet. The caller holds
    /// the ledger and publishes. One that cannot be made is told in the log.
    pub(crate) async fn refresh_default(&self) {
        if !default::is_out_of_date(&self.default.load()) {
            return;
        }
        let data_dir = self.data_dir.clone();
        match blocking::change(move || load_or_generate(&data_dir)).await {
            Ok(Ok(bundle)) => self.default.store(Arc::new(bundle)),
            Ok(Err(err)) => log::error!("the default certificate cannot be made anew: {err}"),
            Err(err) => log::error!("the default certificate cannot be made anew: {err}"),
        }
    }
}

/// What serves while `state` holds: its bundle, or `default` where there is none or it cannot be used.
#[must_use]
pub fn resolve_certificate(
    state: &State,
    unusable: Option<String>,
    default: &CertificateBundle,
) -> ActiveCertificate {
    let read = state.tls.as_ref().map(|stored| {
        from_stored(stored.certificate_pem.as_bytes(), stored.key_pem.as_bytes())
            .map(|bundle| (bundle, stored.installed.clone()))
    });
    match read {
        Some(Ok((bundle, installed))) => {
            ActiveCertificate { bundle, is_default: false, installed, fallback: None }
        }
        Some(Err(err)) => fall_back(default, Some(err.to_string())),
        None => fall_back(default, unusable),
    }
}

fn from_stored(certificate: &[u8], key: &[u8]) -> Result<CertificateBundle, CertificateError> {
    Ok(CertificateBundle::judge_known(certificate, key)?.bundle)
}

impl CertificateBundle {
    /// Judges a pair that was accepted before. One that has expired since, or that an earlier
    /// version took though it is large, is taken: it is what
    /// clients know, and the standing warnings tell.
    ///
    /// # Errors
    /// The pair is damaged or its halves do not belong together.
    pub fn judge_known(certificate: &[u8], key: &[u8]) -> Result<Judgement, CertificateError> {
        let upload = Upload { keyfile: Some(key), certfile: Some(certificate), passphrase: None };
        let options = Options { allow_expired: true, allow_large: true, ..Options::default() };
        Self::from_upload(&upload, &options, OffsetDateTime::now_utc())
    }

    /// What clients may object to now, as an upload of this bundle would be told. Parses: call it
    /// on a blocking thread.
    #[must_use]
    pub fn warnings_now(&self) -> Vec<Warning> {
        Self::judge_known(self.certificate_pem().as_bytes(), self.key_pem().as_bytes())
            .map(|judged| judged.warnings)
            .unwrap_or_default()
    }
}

fn fall_back(default: &CertificateBundle, fallback: Option<String>) -> ActiveCertificate {
    if let Some(reason) = &fallback {
        log::error!(
            "the installed certificate cannot be used, the default certificate serves: {reason}"
        );
    }
    ActiveCertificate { bundle: default.clone(), is_default: true, installed: None, fallback }
}

/// How often keys that have waited too long are looked for.
const LOOK_FOR_EXPIRED: Duration = Duration::from_secs(24 * 3600);

/// Owns the active certified key, the default one, and the keys that wait for a certificate.
pub struct CertificateActor {
    certificates: Certificates,
    ledger: Ledger,
    supervisor: Recipient<Handover>,
    /// The last stage towards its end that was told.
    expiry: ExpiryStage,
    audit: Audit,
    /// Lets one key be made at a time: an RSA key keeps a core busy for seconds.
    making: Arc<Semaphore>,
}

/// How often the time that is left is looked at; each stage is told once.
const EXPIRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(3600);

impl CertificateActor {
    pub(crate) fn new(
        certificates: Certificates,
        ledger: Ledger,
        supervisor: Recipient<Handover>,
        audit: Audit,
    ) -> Self {
        Self {
            certificates,
            ledger,
            supervisor,
            audit,
            expiry: ExpiryStage::Far,
            making: Arc::new(Semaphore::new(1)),
        }
    }

    fn check_expiry(&mut self) {
        let active = self.certificates.active();
        self.expiry = expiry::check(&active, self.expiry, self.ledger.events());
    }

    /// Looks at what time has brought: the default certificate is made anew if it is out of date,
    /// and served at once where it serves; then the stage of what serves is told.
    fn look_at_time(&mut self, ctx: &mut Context<Self>) {
        if !self.certificates.wants_fresh_default() {
            return self.check_expiry();
        }
        let (certificates, ledger) = (self.certificates.clone(), self.ledger.clone());
        let (supervisor, audit) = (self.supervisor.clone(), self.audit.clone());
        let work = async move {
            let _change = ledger.begin().await;
            certificates.refresh_default().await;
            let before = certificates.active();
            let new = Arc::new(ActiveCertificate {
                bundle: CertificateBundle::clone(&certificates.default.load()),
                is_default: true,
                installed: None,
                fallback: before.fallback.clone(),
            });
            if !before.is_default || new.bundle.chain() == before.bundle.chain() {
                return;
            }
            let what = "default certificate made anew";
            let served = serve_fresh_default(&certificates, &supervisor, &new, &before, what).await;
            let fingerprint =
                |active: &ActiveCertificate| active.bundle.facts().fingerprint_sha256.clone();
            let (old, new) = (fingerprint(&before), fingerprint(&new));
            let outcome = if served.is_ok() { Outcome::Done } else { Outcome::Failed };
            let mut entry = AuditEntry::new(&Requester::appliance(), what, outcome);
            match served {
                Ok(()) => {
                    let message = format!("{what}, for it was out of date: {new}");
                    log::warn!("{message}");
                    let code = "default-certificate-renewed".to_owned();
                    ledger.events().publish(EventKind::CertificateWarning { code, message });
                    entry = entry.fingerprints(&old, &new);
                }
                Err(err) => {
                    log::error!("{what}, but it cannot be served yet: {err}");
                    entry = entry.detail(err.to_string());
                }
            }
            audit.record(entry);
        };
        ctx.spawn(work.into_actor(self).map(|(), act, _| act.check_expiry()));
    }

    /// One transaction: persist, publish, hand over; undone where a step fails.
    fn change(
        &self,
        bundle: Option<CertificateBundle>,
        what: &'static str,
        by: Requester,
    ) -> ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>> {
        let (certificates, ledger) = (self.certificates.clone(), self.ledger.clone());
        let supervisor = self.supervisor.clone();
        let requester = by.clone();
        let work = async move {
            let installed = Installed { at: OffsetDateTime::now_utc(), by: by.to_string() };
            let mut change = ledger.begin().await;
            let previous = change.state().clone();
            if bundle.is_none() {
                certificates.refresh_default().await;
            }
            let next = State {
                tls: bundle.as_ref().map(|bundle| StoredBundle {
                    certificate_pem: bundle.certificate_pem(),
                    key_pem: bundle.key_pem(),
                    installed: Some(installed.clone()),
                }),
                ..previous.clone()
            };
            let active = Arc::new(match bundle {
                Some(bundle) => ActiveCertificate {
                    bundle,
                    is_default: false,
                    installed: Some(installed),
                    fallback: None,
                },
                None => certificates.activate(&next),
            });
            change.commit(next, what, &by).await?;
            let undo = match certificates.publish(active.clone()) {
                Ok(before) => before,
                Err(err) => {
                    change.undo(previous, "undone: the certificate cannot be served", &by).await;
                    return Err(ChangeError::Tls(err));
                }
            };
            let request_id = by.request_id;
            let handover = Handover { scope: Scope::Tls, reason: what.into(), request_id };
            match supervisor.send(handover).await {
                Ok(Ok(generations)) => {
                    let fingerprint = &active.bundle.facts().fingerprint_sha256;
                    log::info!("{what} by {by}: {fingerprint}");
                    forget_used_key(certificates).await;
                    Ok(CertificateInstalled { certificate: active, generations })
                }
                failed => {
                    certificates.publish(undo).map_err(ChangeError::Tls)?;
                    change.undo(previous, "undone: new listeners did not start", &by).await;
                    Err(ChangeError::from_handover(failed))
                }
            }
        };
        let work = async move { requester.scope(work).await };
        Box::pin(work.into_actor(self).map(|done, act, _| {
            act.check_expiry();
            done
        }))
    }
}

/// Serves `new` in every handshake and hands the listeners over; `before` serves on where that
/// fails. Nothing is persisted: the state says that the default certificate serves.
async fn serve_fresh_default(
    certificates: &Certificates,
    supervisor: &Recipient<Handover>,
    new: &Arc<ActiveCertificate>,
    before: &Arc<ActiveCertificate>,
    what: &str,
) -> Result<(), ChangeError> {
    certificates.publish(new.clone()).map_err(ChangeError::Tls)?;
    let handover = Handover { scope: Scope::Tls, reason: what.into(), request_id: None };
    match supervisor.send(handover).await {
        Ok(Ok(_)) => Ok(()),
        failed => {
            certificates.publish(before.clone()).map_err(ChangeError::Tls)?;
            Err(ChangeError::from_handover(failed))
        }
    }
}

/// Removes the waiting key that an installed certificate was made for: it lies in the state now.
async fn forget_used_key(certificates: Certificates) {
    match on_thread_of_state(move || Ok(certificates.forget_used_key()?)).await {
        Ok(true) => log::info!("the waiting key of the installed certificate is removed"),
        Ok(false) => {}
        Err(err) => log::error!("the waiting key stays, though its certificate serves: {err}"),
    }
}

async fn on_thread_of_state<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    blocking::change(work).await?
}

impl Actor for CertificateActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.check_expiry();
        ctx.run_interval(EXPIRY_INTERVAL, Self::look_at_time);
        let jumps = futures::stream::unfold(clock::jumps(), async |mut jumps| {
            jumps.changed().await.ok().map(|()| ((), jumps))
        });
        let follow = jumps.into_actor(self).map(|(), act, ctx| {
            act.certificates.waiting.reckon(Moment::now());
            act.look_at_time(ctx);
        });
        ctx.spawn(follow.finish());
        ctx.run_interval(LOOK_FOR_EXPIRED, |_, ctx| ctx.notify(RemoveExpiredRequests));
    }
}

impl Supervised for CertificateActor {
    /// What was published may not be what the ledger holds: the change that died is not undone.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        let (certificates, ledger) = (self.certificates.clone(), self.ledger.clone());
        let supervisor = self.supervisor.clone();
        actix::spawn(async move {
            let change = ledger.begin().await;
            let active = Arc::new(certificates.activate(change.state()));
            let served = certificates.active();
            if active.bundle.facts().fingerprint_sha256 == served.bundle.facts().fingerprint_sha256
            {
                return;
            }
            if let Err(err) = certificates.publish(active) {
                return log::error!("the certificate cannot be served: {err}");
            }
            let reason = "the owner of the certificate was started again".into();
            let handover = Handover { scope: Scope::Tls, reason, request_id: None };
            if let Err(err) = ChangeError::of_handover(supervisor.send(handover).await) {
                log::error!("the certificate is published, and the old listeners stay: {err}");
            }
        });
    }
}

impl Handler<InstallCertificate> for CertificateActor {
    type Result = ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>>;

    fn handle(&mut self, msg: InstallCertificate, _ctx: &mut Self::Context) -> Self::Result {
        self.change(Some(msg.bundle), "certificate installed", msg.by)
    }
}

impl Handler<RestoreDefaultCertificate> for CertificateActor {
    type Result = ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>>;

    fn handle(&mut self, msg: RestoreDefaultCertificate, _ctx: &mut Self::Context) -> Self::Result {
        self.change(None, "default certificate restored", msg.by)
    }
}

impl Handler<GetCertificate> for CertificateActor {
    type Result = MessageResult<GetCertificate>;

    fn handle(&mut self, _msg: GetCertificate, _ctx: &mut Self::Context) -> Self::Result {
        MessageResult(self.certificates.active())
    }
}

impl Handler<RequestCertificate> for CertificateActor {
    type Result = ResponseFuture<Result<Arc<CertificateRequest>, RequestError>>;

    fn handle(&mut self, msg: RequestCertificate, _ctx: &mut Self::Context) -> Self::Result {
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.ledger.clone());
        let making = self.making.clone();
        Box::pin(async move {
            let RequestCertificate { details, by } = msg;
            let fresh = {
                let _one = making.acquire().await.map_err(|_| RequestError::Stopping)?;
                waiting.check_room(clock::running_time())?;
                blocking::run(|| FreshRequest::make(details)).await??
            };
            let _change = ledger.begin().await;
            let now = Moment::now();
            let request = on_thread_of_state(move || waiting.add(fresh, now)).await?;
            log::info!("certificate request {} made by {by}", request.id);
            Ok(request)
        })
    }
}

impl Handler<DeleteCertificateRequest> for CertificateActor {
    type Result = ResponseFuture<Result<(), RequestError>>;

    fn handle(&mut self, msg: DeleteCertificateRequest, _ctx: &mut Self::Context) -> Self::Result {
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.ledger.clone());
        Box::pin(async move {
            let DeleteCertificateRequest { id, by } = msg;
            let _change = ledger.begin().await;
            let now = clock::running_time();
            let removed = id.clone();
            on_thread_of_state(move || {
                waiting.remove_expired(now)?;
                if waiting.remove(&id)? { Ok(()) } else { Err(NoSuchRequest.into()) }
            })
            .await?;
            log::info!("certificate request {removed} deleted by {by}");
            Ok(())
        })
    }
}

impl Handler<RemoveExpiredRequests> for CertificateActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _msg: RemoveExpiredRequests, _ctx: &mut Self::Context) -> Self::Result {
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.ledger.clone());
        Box::pin(async move {
            let _change = ledger.begin().await;
            let now = clock::running_time();
            if let Err(err) = on_thread_of_state(move || Ok(waiting.remove_expired(now)?)).await {
                log::error!("a key that has waited too long is still there: {err}");
            }
        })
    }
}
