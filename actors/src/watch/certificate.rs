//! A certificate that arrives as files: certbot's, or a mounted Kubernetes secret.

use std::{path::PathBuf, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use serde::Serialize;
use time::OffsetDateTime;

use super::{Nudge, follow};
use crate::{
    Owners,
    audit::{AuditEntry, Outcome},
    certificate::{CertificateBundle, InstallCertificate, Judgement, Options, Upload},
    change::ChangeKind,
    events::EventKind,
    files::read_at_most,
    requester::Requester,
};

/// Larger files are not certificates or keys.
const MAX_FILE: u64 = 1 << 20;

/// The files, and how the last look at them ended. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WatchedCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    state: Arc<ArcSwap<WatchState>>,
}

/// What the files are good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WatchState {
    /// Why the files cannot be used; the last good pair goes on serving then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Since when it is so.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

impl WatchedCertificate {
    #[must_use]
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        let state = WatchState { error: None, since: OffsetDateTime::now_utc() };
        Self { certificate, key, state: Arc::new(ArcSwap::from_pointee(state)) }
    }

    #[must_use]
    pub fn state(&self) -> Arc<WatchState> {
        self.state.load_full()
    }

    /// Notes how a look ended; whether that is news.
    fn note(&self, error: Option<String>) -> bool {
        if self.state.load().error == error {
            return false;
        }
        self.state.store(Arc::new(WatchState { error, since: OffsetDateTime::now_utc() }));
        true
    }

    /// Reads and judges the pair. Blocks.
    fn read(&self) -> Result<Pair, String> {
        let read = |path: &PathBuf| match read_at_most(path, MAX_FILE) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(format!("{} does not exist", path.display())),
            Err(err) => Err(format!("{} cannot be read: {err}", path.display())),
        };
        let (certificate, key) = (read(&self.certificate)?, read(&self.key)?);
        let mut both = digest::Context::new(&digest::SHA256);
        both.update(&certificate);
        both.update(&key);
        let upload = Upload { keyfile: Some(&key), certfile: Some(&certificate), passphrase: None };
        let judged =
            CertificateBundle::from_upload(&upload, &Options::default(), OffsetDateTime::now_utc())
                .map_err(|err| {
                    let (certificate, key) = (self.certificate.display(), self.key.display());
                    format!("{certificate} (certfile) and {key} (keyfile): {err}")
                })?;
        Ok(Pair { content: both.finish().as_ref().to_vec(), judged })
    }
}

struct Pair {
    content: Vec<u8>,
    judged: Judgement,
}

/// Installs the pair whenever it has changed and is sound. Runs for the life of the process;
/// `looked` is told after the first look.
pub async fn follow_certificate(
    watched: WatchedCertificate,
    owners: Owners,
    nudge: Nudge,
    looked: tokio::sync::oneshot::Sender<()>,
) {
    let mut looked = Some(looked);
    let mut served: Option<Vec<u8>> = None;
    let paths = vec![watched.certificate.clone(), watched.key.clone()];
    follow(paths, nudge, async || {
        look(&watched, &owners, &mut served).await;
        if let Some(looked) = looked.take() {
            let _ = looked.send(());
        }
    })
    .await;
}

async fn look(watched: &WatchedCertificate, owners: &Owners, served: &mut Option<Vec<u8>>) {
    let reader = watched.clone();
    let read = tokio::task::spawn_blocking(move || reader.read()).await;
    let outcome = match read {
        Ok(Ok(pair)) => {
            // Before it serves, so that who sees the certificate does not see an old complaint.
            if watched.note(None) {
                log::info!("the watched certificate files can be used again");
            }
            if served.as_ref() == Some(&pair.content) {
                return;
            }
            install(owners, pair, served).await
        }
        Ok(Err(reason)) => Err(reason),
        Err(_) => return,
    };
    let action = ChangeKind::CertificateInstalled.action_of_files();
    let entry = |outcome| AuditEntry::new(&requester(), action, outcome);
    match outcome {
        Ok(None) => {}
        Ok(Some((old, new))) => {
            owners.audit.record(entry(Outcome::Done).fingerprints(&old, &new));
        }
        Err(reason) => {
            if watched.note(Some(reason.clone())) {
                let message = format!(
                    "the watched certificate files cannot be used, the last good pair serves: {reason}"
                );
                log::error!("{message}");
                let code = "watched-certificate".to_owned();
                owners.events.publish(EventKind::CertificateWarning { code, message });
                owners.audit.record(entry(Outcome::Refused).detail(reason));
            }
        }
    }
}

fn requester() -> Requester {
    Requester::local("watched files")
}

/// The fingerprints before and after, if the certificate was another one.
type Replaced = Option<(String, String)>;

async fn install(
    owners: &Owners,
    pair: Pair,
    served: &mut Option<Vec<u8>>,
) -> Result<Replaced, String> {
    let active = owners.certificates.active();
    let old = active.fingerprint().to_owned();
    let new = pair.judged.bundle.facts().fingerprint_sha256.clone();
    // The whole chain: an intermediate that was missing may have been added.
    if active.bundle.chain() == pair.judged.bundle.chain() {
        *served = Some(pair.content);
        return Ok(None);
    }
    for warning in &pair.judged.warnings {
        log::warn!("watched certificate files: {}", warning.message);
    }
    let install = InstallCertificate { bundle: pair.judged.bundle, by: requester() };
    match owners.certificate.send(install).await {
        Ok(Ok(_)) => {
            *served = Some(pair.content);
            Ok(Some((old, new)))
        }
        Ok(Err(err)) => Err(err.to_string()),
        Err(err) => Err(err.to_string()),
    }
}
