//! The certificate that is served.
//!
//! The [`CertificateActor`] owns the active certified key and the default one. Handshakes read
//! `TlsConfigs`, requests read [`Certificates`]; neither waits for the actor.

mod default;
mod expiry;
mod messages;
mod request;

use std::{path::Path, sync::Arc, time::Duration};

use actix::{
    Actor, ActorFutureExt, ActorStreamExt, AsyncContext, Context, Handler, ResponseActFuture,
    ResponseFuture, Supervised, WrapFuture, WrapStream,
};
use arc_swap::ArcSwap;
use time::OffsetDateTime;
use tokio::sync::Semaphore;

pub use portcullis_intake::{
    CertificateBundle, CertificateError, CertificateFacts, ChainEntry, Judgement, Kind, Options,
    Part, Upload, WaitingKey, Warning,
};

use self::request::FreshRequest;
pub use self::{
    default::{DefaultCertificateError, load_or_generate},
    expiry::{ExpiryStage, not_yet},
    messages::{
        CertificateInstalled, DeleteCertificateRequest, InstallCertificate, RemoveExpiredRequests,
        RequestCertificate, RestoreDefaultCertificate,
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
    change::{Change, ChangeError, ChangeKind, Prepared, Snapshot, Undo, Writer},
    clock::{self, Moment},
    events::EventKind,
    handover::Scope,
    requester::Requester,
    storage::STATE,
    store::{Installed, State, StoreError, StoredBundle},
    tls::{Pair, TlsConfigs},
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
            .field("fingerprint_sha256", &self.fingerprint())
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
        let tls = Arc::new(TlsConfigs::new(Pair::new(&active.bundle.certified_key())?));
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

    /// Whether the default certificate has to be made anew, or the new one does not serve yet
    /// where it should.
    fn wants_fresh_default(&self) -> bool {
        default::is_out_of_date(&self.default.load()) || self.serves_old_default()
    }

    /// Whether an older default certificate serves than the one there is.
    fn serves_old_default(&self) -> bool {
        let active = self.active.load();
        active.is_default && active.bundle.chain() != self.default.load().chain()
    }

    /// Makes the default certificate anew if it has expired or is not valid yet; it is not published
    /// yet. One that cannot be made is told in the log. Blocks. The caller holds the ledger.
    fn refresh_default(&self) {
        if default::is_out_of_date(&self.default.load()) {
            match load_or_generate(&self.data_dir) {
                Ok(bundle) => self.default.store(Arc::new(bundle)),
                Err(err) => log::error!("the default certificate cannot be made anew: {err}"),
            }
        }
    }

    /// What serves once `next` is the state; `None`: what serves now.
    fn activate(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Option<ActiveCertificate>, ChangeError> {
        let before = self.active();
        if serving.is_some_and(|serving| serving.tls == next.tls) {
            let default = self.default.load();
            let stays = !before.is_default || before.bundle.chain() == default.chain();
            let fresh = || ActiveCertificate::default_one(&default, before.fallback.clone());
            return Ok((!stays).then(fresh));
        }
        let Some(stored) = &next.tls else {
            self.refresh_default();
            return Ok(Some(ActiveCertificate::default_one(&self.default.load(), None)));
        };
        let active = ActiveCertificate::installed_one(stored).map_err(|err| {
            ChangeError::unusable("the certificate (tls/tls.crt and tls/tls.key)", err)
        })?;
        Ok(Some(active))
    }

    /// Serves `served` in every handshake and shows it in every answer from now on; gives the way
    /// back.
    fn publish(self, served: Served) -> Undo {
        let tls = self.tls.swap(served.tls);
        let active = self.active.swap(served.active);
        Box::new(move || drop(self.publish(Served { tls, active })))
    }
}

/// What is published at once.
struct Served {
    tls: Arc<Pair>,
    active: Arc<ActiveCertificate>,
}

impl Snapshot for Certificates {
    fn prepare(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError> {
        let Some(active) = self.activate(serving, next)? else { return Ok(None) };
        let tls = Pair::new(&active.bundle.certified_key())
            .map_err(|err| ChangeError::unusable("the certificate", err))?;
        let differs = self.active().bundle.chain() != active.bundle.chain();
        let remark = differs.then(|| active.fingerprint().to_owned());
        let (certificates, active) = (self.clone(), Arc::new(active));
        Ok(Some(Prepared {
            scope: differs.then_some(Scope::Tls),
            remark,
            publish: Box::new(move || certificates.publish(Served { tls: Arc::new(tls), active })),
        }))
    }
}

impl ActiveCertificate {
    /// Its SHA-256 fingerprint, in hex.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.bundle.facts().fingerprint_sha256
    }

    fn default_one(default: &CertificateBundle, fallback: Option<String>) -> Self {
        Self { bundle: default.clone(), is_default: true, installed: None, fallback }
    }

    pub(crate) fn installed_one(stored: &StoredBundle) -> Result<Self, CertificateError> {
        let bundle = from_stored(stored.certificate_pem.as_bytes(), stored.key_pem.as_bytes())?;
        let installed = stored.installed.clone();
        Ok(Self { bundle, is_default: false, installed, fallback: None })
    }
}

impl StoredBundle {
    /// A bundle that `by` installs now.
    #[must_use]
    pub fn installed_now(bundle: &CertificateBundle, by: &Requester) -> Self {
        Self {
            certificate_pem: bundle.certificate_pem(),
            key_pem: bundle.key_pem(),
            installed: Some(Installed { at: OffsetDateTime::now_utc(), by: by.to_string() }),
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
    let fallback = match state.tls.as_ref().map(ActiveCertificate::installed_one) {
        Some(Ok(active)) => return active,
        Some(Err(err)) => Some(err.to_string()),
        None => unusable,
    };
    if let Some(reason) = &fallback {
        log::error!(
            "the installed certificate cannot be used, the default certificate serves: {reason}"
        );
    }
    ActiveCertificate::default_one(default, fallback)
}

fn from_stored(certificate: &[u8], key: &[u8]) -> Result<CertificateBundle, CertificateError> {
    let judged = CertificateBundle::judge_known(certificate, key, OffsetDateTime::now_utc())?;
    Ok(judged.bundle)
}

/// How often keys that have waited too long are looked for.
const LOOK_FOR_EXPIRED: Duration = Duration::from_secs(24 * 3600);

/// Owns the active certified key, the default one, and the keys that wait for a certificate.
pub struct CertificateActor {
    certificates: Certificates,
    writer: Writer,
    /// The last stage towards its end that was told.
    expiry: ExpiryStage,
    audit: Audit,
    /// Lets one key be made at a time: an RSA key keeps a core busy for seconds.
    making: Arc<Semaphore>,
}

/// How often the time that is left is looked at; each stage is told once.
const EXPIRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(3600);

impl CertificateActor {
    pub(crate) fn new(certificates: Certificates, writer: Writer, audit: Audit) -> Self {
        let making = Arc::new(Semaphore::new(1));
        Self { certificates, writer, audit, expiry: ExpiryStage::Far, making }
    }

    fn check_expiry(&mut self) {
        let active = self.certificates.active();
        self.expiry = expiry::check(&active, self.expiry, self.writer.ledger().events());
    }

    /// Looks at what time has brought: the default certificate is made anew if it is out of date,
    /// and served at once where it serves; then the stage of what serves is told.
    fn look_at_time(&mut self, ctx: &mut Context<Self>) {
        if !self.certificates.wants_fresh_default() {
            return self.check_expiry();
        }
        let (certificates, writer) = (self.certificates.clone(), self.writer.clone());
        let audit = self.audit.clone();
        let work = async move {
            let mut transaction = writer.begin().await;
            let fresh = certificates.clone();
            if let Err(err) = blocking::change(move || fresh.refresh_default()).await {
                log::error!("the default certificate cannot be made anew: {err}");
            }
            if !certificates.serves_old_default() {
                return;
            }
            let kind = ChangeKind::DefaultCertificateRenewed;
            let old = certificates.active();
            let served = transaction.serve_again(kind).await;
            let outcome = if served.is_ok() { Outcome::Done } else { Outcome::Failed };
            let mut entry = AuditEntry::new(&Requester::appliance(), kind.text(), outcome);
            match served {
                Ok(()) => {
                    let new = certificates.active();
                    let (old, new) = (old.fingerprint(), new.fingerprint());
                    let message = format!("{}, for it was out of date: {new}", kind.text());
                    log::warn!("{message}");
                    let code = "default-certificate-renewed".to_owned();
                    let event = EventKind::CertificateWarning { code, message };
                    writer.ledger().events().publish(event);
                    entry = entry.fingerprints(old, new);
                }
                Err(err) => {
                    log::error!("{}, but it cannot be served yet: {err}", kind.text());
                    entry = entry.detail(err.to_string());
                }
            }
            audit.record(entry);
        };
        ctx.spawn(work.into_actor(self).map(|(), act, _| act.check_expiry()));
    }

    /// Makes a change of the certificate.
    fn change(
        &self,
        change: Change,
        by: Requester,
    ) -> ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>> {
        let (certificates, writer) = (self.certificates.clone(), self.writer.clone());
        let work = async move {
            let work = async {
                let mut transaction = writer.begin().await;
                let generations = transaction.apply(change, &by).await?;
                forget_used_key(certificates.clone()).await;
                Ok(CertificateInstalled { certificate: certificates.active(), generations })
            };
            by.scope(work).await
        };
        Box::pin(work.into_actor(self).map(|done, act, _| {
            act.check_expiry();
            done
        }))
    }
}

/// Removes the waiting key that an installed certificate was made for: it lies in the state now.
pub(crate) async fn forget_used_key(certificates: Certificates) {
    match on_thread_of_state(move || Ok(certificates.forget_used_key()?)).await {
        Ok(true) => log::info!("the waiting key of the installed certificate is removed"),
        Ok(false) => {}
        Err(err) => log::error!("the waiting key stays, though its certificate serves: {err}"),
    }
}

async fn on_thread_of_state<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    let done = blocking::change(work).await?;
    if let Err(RequestError::Store(StoreError::Io { path, source, .. })) = &done {
        STATE.failed(path, source);
    }
    done
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
        let writer = self.writer.clone();
        actix::spawn(async move {
            writer.realign("the owner of the certificate was started again").await;
        });
    }
}

impl Handler<InstallCertificate> for CertificateActor {
    type Result = ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>>;

    fn handle(&mut self, msg: InstallCertificate, _ctx: &mut Self::Context) -> Self::Result {
        let bundle = StoredBundle::installed_now(&msg.bundle, &msg.by);
        self.change(Change::InstallCertificate(bundle), msg.by)
    }
}

impl Handler<RestoreDefaultCertificate> for CertificateActor {
    type Result = ResponseActFuture<Self, Result<CertificateInstalled, ChangeError>>;

    fn handle(&mut self, msg: RestoreDefaultCertificate, _ctx: &mut Self::Context) -> Self::Result {
        self.change(Change::RestoreDefaultCertificate, msg.by)
    }
}

impl Handler<RequestCertificate> for CertificateActor {
    type Result = ResponseFuture<Result<Arc<CertificateRequest>, RequestError>>;

    fn handle(&mut self, msg: RequestCertificate, _ctx: &mut Self::Context) -> Self::Result {
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.writer.ledger().clone());
        let making = self.making.clone();
        Box::pin(async move {
            let RequestCertificate { details, by } = msg;
            let fresh = {
                let _one = making.acquire().await.map_err(|_| RequestError::Stopping)?;
                waiting.check_room(clock::running_time())?;
                blocking::run(|| FreshRequest::make(details)).await??
            };
            let _turn = ledger.begin().await;
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
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.writer.ledger().clone());
        Box::pin(async move {
            let DeleteCertificateRequest { id, by } = msg;
            let _turn = ledger.begin().await;
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
        let (waiting, ledger) = (self.certificates.waiting.clone(), self.writer.ledger().clone());
        Box::pin(async move {
            let _turn = ledger.begin().await;
            let now = clock::running_time();
            if let Err(err) = on_thread_of_state(move || Ok(waiting.remove_expired(now)?)).await {
                log::error!("a key that has waited too long is still there: {err}");
            }
        })
    }
}
