//! The running appliance's side of the console: a Unix socket that only its owner can open.

use std::{
    os::unix::{fs::PermissionsExt, net::UnixListener as StdUnixListener},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use nix::sys::stat::{Mode, umask};
use portcullis_actors::{
    Owners, Requester,
    audit::{AuditEntry, Outcome},
    supervisor::GetListeners,
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use super::{
    answer,
    request::{Answer, Reply, Request},
};

/// The name of the socket in the data directory.
pub(crate) const SOCKET: &str = "console.sock";

/// The longest request line: a certificate chain with its key fits many times.
const MAX_REQUEST: u64 = 4 << 20;

/// The bound socket; removed when dropped.
pub(crate) struct ConsoleSocket {
    path: PathBuf,
    listener: StdUnixListener,
}

impl ConsoleSocket {
    /// Binds the socket. The caller holds the lock of the data directory, so what lies there is
    /// left over from a crash.
    pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(err) if err.kind() != std::io::ErrorKind::NotFound => {
                return Err(err).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        // So that it is closed to others from its first instant.
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = StdUnixListener::bind(&path);
        umask(before);
        let listener = bound.with_context(|| format!("cannot listen on {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path, listener })
    }

    /// Answers one request after another for the life of the process.
    pub(crate) async fn serve(self, owners: Owners) {
        let listener = match self.listener.try_clone().and_then(UnixListener::from_std) {
            Ok(listener) => listener,
            Err(err) => return log::error!("the console socket cannot be served: {err}"),
        };
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    actix::spawn(converse(stream, owners.clone()));
                }
                Err(err) => {
                    log::warn!("the console socket cannot accept: {err}");
                    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn converse(mut stream: UnixStream, owners: Owners) {
    let uid = stream.peer_cred().map_or_else(|_| "?".into(), |peer| peer.uid().to_string());
    let by = Requester { user: format!("console (uid {uid})"), address: None };
    let mut line = zeroize::Zeroizing::new(String::new());
    let (reader, mut writer) = stream.split();
    let read = BufReader::new(reader.take(MAX_REQUEST)).read_line(&mut line).await;
    let answer: Answer = match (read, serde_json::from_str(&line)) {
        (Ok(_), Ok(request)) => answer_to(request, &owners, &by).await,
        _ => Err("the request cannot be read; are both sides of the same version?".into()),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    if let Err(err) = writer.write_all(&bytes).await {
        log::debug!("the console went away: {err}");
    }
}

async fn answer_to(request: Request, owners: &Owners, by: &Requester) -> Answer {
    let state = owners.ledger.state().await;
    let active = owners.certificates.active();
    match request {
        Request::Status => {
            let listeners =
                owners.supervisor.send(GetListeners).await.map_err(|err| err.to_string())?;
            return Ok(answer::status(&state, &active, Some(&listeners)));
        }
        Request::ShowCertificate => return Ok(answer::certificate(&active)),
        Request::History => {
            let store = owners.ledger.store();
            let entries = tokio::task::spawn_blocking(move || store.history())
                .await
                .map_err(|err| err.to_string())?
                .map_err(|err| err.to_string())?;
            return Ok(answer::history(&entries));
        }
        _ => {}
    }
    let resets = matches!(request, Request::Reset);
    let action = request.action();
    let (store, name) = (owners.ledger.store(), by.to_string());
    let change = tokio::task::spawn_blocking(move || request.change(&state, &*store, &name))
        .await
        .map_err(|err| err.to_string())?
        .inspect_err(|reason| {
            owners.audit.record(AuditEntry::new(by, action, Outcome::Refused).detail(reason));
        })?
        .ok_or("nothing is to be changed")?;
    let (what, done) = (change.what.clone(), change.done.clone());
    let old = active.bundle.facts().fingerprint_sha256.clone();
    let made = if resets {
        owners.reset(by).await
    } else {
        owners.transform(&what, by, |state| change.apply(state)).await
    };
    let outcome = if made.is_ok() { Outcome::Done } else { Outcome::Failed };
    let new = owners.certificates.active();
    let mut entry = AuditEntry::new(by, &what, outcome)
        .fingerprints(&old, &new.bundle.facts().fingerprint_sha256);
    if let Err(err) = &made {
        entry = entry.detail(err.to_string());
    }
    owners.audit.record(entry);
    let generations = made.map_err(|err| err.to_string())?;
    Ok(Reply {
        text: format!("{done}\n"),
        data: json!({ "message": done, "generations": generations }),
    })
}
