//! The certificate that is served.
//!
//! The [`CertificateActor`] owns the active certified key and the default one. Handshakes read
//! [`TlsConfigs`], requests read [`Certificates`]; neither waits for the actor.

mod default;
mod intake;
mod messages;
mod tls;

use std::sync::Arc;

use actix::{Actor, Context, Handler, MessageResult, Recipient, ResponseFuture};
use arc_swap::ArcSwap;
use time::OffsetDateTime;

pub use self::{
    default::{DefaultCertificateError, load_or_generate},
    intake::{
        CertificateBundle, CertificateError, CertificateFacts, ChainEntry, Judgement, Kind,
        Options, Part, Upload, WaitingKey, Warning,
    },
    messages::{
        CertificateInstalled, GetCertificate, InstallCertificate, RestoreDefaultCertificate,
    },
    tls::TlsConfigs,
};
use crate::{
    ledger::{Ledger, Requester},
    owners::ChangeError,
    store::{Installed, State, StoredBundle},
    supervisor::{Handover, Scope},
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
    default: Arc<CertificateBundle>,
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
    ) -> Result<Self, rustls::Error> {
        let default = Arc::new(default);
        let active = activate(state, unusable, &default);
        let tls = Arc::new(TlsConfigs::new(&active.bundle.certified_key())?);
        Ok(Self { active: Arc::new(ArcSwap::from_pointee(active)), tls, default })
    }

    /// What is served now.
    #[must_use]
    pub fn active(&self) -> Arc<ActiveCertificate> {
        self.active.load_full()
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
        activate(state, None, &self.default)
    }
}

fn activate(
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
            if bundle.facts().not_after() < OffsetDateTime::now_utc() {
                log::error!(
                    "the installed certificate expired on {}; it serves until another is uploaded",
                    bundle.facts().not_after
                );
            }
            ActiveCertificate { bundle, is_default: false, installed, fallback: None }
        }
        Some(Err(err)) => fall_back(default, Some(err.to_string())),
        None => fall_back(default, unusable),
    }
}

/// Reads a pair that was judged when it was stored. One that has expired since still serves: it is
/// what clients know, and the standing warnings tell.
fn from_stored(certificate: &[u8], key: &[u8]) -> Result<CertificateBundle, CertificateError> {
    let upload = Upload { keyfile: Some(key), certfile: Some(certificate), passphrase: None };
    let options = Options { allow_expired: true, ..Options::default() };
    let judged = CertificateBundle::from_upload(&upload, &options, OffsetDateTime::now_utc())?;
    Ok(judged.bundle)
}

fn fall_back(default: &CertificateBundle, fallback: Option<String>) -> ActiveCertificate {
    if let Some(reason) = &fallback {
        log::error!(
            "the installed certificate cannot be used, the default certificate serves: {reason}"
        );
    }
    ActiveCertificate { bundle: default.clone(), is_default: true, installed: None, fallback }
}

/// Owns the active certified key and the default one.
pub struct CertificateActor {
    certificates: Certificates,
    ledger: Ledger,
    supervisor: Recipient<Handover>,
}

impl CertificateActor {
    pub(crate) fn new(
        certificates: Certificates,
        ledger: Ledger,
        supervisor: Recipient<Handover>,
    ) -> Self {
        Self { certificates, ledger, supervisor }
    }

    /// One transaction: persist, publish, hand over; undone where a step fails.
    fn change(
        &self,
        bundle: Option<CertificateBundle>,
        what: &'static str,
        by: Requester,
    ) -> ResponseFuture<Result<CertificateInstalled, ChangeError>> {
        let (certificates, ledger) = (self.certificates.clone(), self.ledger.clone());
        let supervisor = self.supervisor.clone();
        let requester = by.clone();
        let work = async move {
            let installed = Installed { at: OffsetDateTime::now_utc(), by: by.to_string() };
            let mut change = ledger.begin().await;
            let previous = change.state().clone();
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
                    change
                        .commit(previous, "undone: the certificate cannot be served", &by)
                        .await?;
                    return Err(ChangeError::Tls(err));
                }
            };
            let handover = Handover { scope: Scope::Tls, reason: what.into() };
            match supervisor.send(handover).await {
                Ok(Ok(generations)) => {
                    let fingerprint = &active.bundle.facts().fingerprint_sha256;
                    log::info!("{what} by {by}: {fingerprint}");
                    Ok(CertificateInstalled { certificate: active, generations })
                }
                failed => {
                    certificates.publish(undo).map_err(ChangeError::Tls)?;
                    change.commit(previous, "undone: new listeners did not start", &by).await?;
                    Err(ChangeError::from_handover(failed))
                }
            }
        };
        Box::pin(async move { requester.scope(work).await })
    }
}

impl Actor for CertificateActor {
    type Context = Context<Self>;
}

impl Handler<InstallCertificate> for CertificateActor {
    type Result = ResponseFuture<Result<CertificateInstalled, ChangeError>>;

    fn handle(&mut self, msg: InstallCertificate, _ctx: &mut Self::Context) -> Self::Result {
        self.change(Some(msg.bundle), "certificate installed", msg.by)
    }
}

impl Handler<RestoreDefaultCertificate> for CertificateActor {
    type Result = ResponseFuture<Result<CertificateInstalled, ChangeError>>;

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
