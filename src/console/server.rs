//! The running appliance's side of the console: a Unix socket that only its owner can open.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use portcullis_actors::{
    Owners, Requester,
    audit::{AuditEntry, Outcome},
    certificate::ActiveCertificate,
    supervisor::{GetListeners, ListenerStatus},
};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::{
    answer,
    request::{Answer, Reply, Request},
    socket::{self, Bound},
};
use crate::config::InForce;

/// The longest request line: a certificate chain with its key fits many times.
const MAX_REQUEST: u64 = 4 << 20;
/// How long a peer may take to say what it wants, and to take the answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the socket is looked for in its place.
const LOOK: Duration = Duration::from_secs(2);

/// The console's socket, bound.
pub(crate) struct ConsoleSocket {
    bound: Bound,
    data_dir: PathBuf,
}

/// What the console asks about.
#[derive(Clone)]
struct Asked {
    owners: Owners,
    in_force: Arc<InForce>,
}

/// Answers the console until its end.
pub(crate) struct ConsoleServer(JoinHandle<()>);

impl ConsoleServer {
    /// Answers no more; resolves when the socket is gone.
    pub(crate) async fn end(self) {
        self.0.abort();
        let _ = self.0.await;
    }
}

impl ConsoleSocket {
    /// Binds the socket. The caller holds the lock of the data directory, so what lies there is
    /// left over from a crash.
    pub(crate) fn bind(data_dir: &Path) -> anyhow::Result<Self> {
        let bound = Bound::new(data_dir)
            .with_context(|| format!("cannot listen on {}", socket::path(data_dir).display()))?;
        Ok(Self { bound, data_dir: data_dir.to_owned() })
    }

    /// Answers one request after another. A socket that somebody removed or replaced is made anew.
    pub(crate) fn serve(self, owners: Owners, in_force: Arc<InForce>) -> ConsoleServer {
        let Self { mut bound, data_dir } = self;
        let asked = Asked { owners, in_force };
        ConsoleServer(actix::spawn(async move {
            loop {
                let listener = bound.listener.try_clone().and_then(UnixListener::from_std);
                match listener {
                    Ok(listener) => accept(&listener, &asked, &bound).await,
                    Err(err) => return log::error!("the console socket cannot be served: {err}"),
                }
                bound = bind_again(bound, &data_dir).await;
            }
        }))
    }
}

/// Accepts until the socket is no longer in its place.
async fn accept(listener: &UnixListener, asked: &Asked, bound: &Bound) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    actix::spawn(converse(stream, asked.clone()));
                }
                Err(err) => {
                    log::warn!("the console socket cannot accept: {err}");
                    tokio::time::sleep(LOOK).await;
                }
            },
            // One look at an inode in memory.
            _ = look.tick() => if !bound.is_in_place() {
                return;
            },
        }
    }
}

/// A new socket in place of one that somebody has removed or replaced.
async fn bind_again(lost: Bound, data_dir: &Path) -> Bound {
    let mut told = false;
    loop {
        let folder = data_dir.to_owned();
        match tokio::task::spawn_blocking(move || Bound::new(&folder)).await {
            Ok(Ok(bound)) => {
                log::warn!("the console socket was removed or replaced; it is there again");
                return bound;
            }
            Ok(Err(err)) if !told => {
                told = true;
                log::error!(
                    "the console socket was removed or replaced, and no new one can be made: {err}"
                );
            }
            _ => {}
        }
        tokio::time::sleep(LOOK).await;
        if lost.is_in_place() {
            return lost;
        }
    }
}

async fn converse(mut stream: UnixStream, asked: Asked) {
    let uid = stream.peer_cred().map_or_else(|_| "?".into(), |peer| peer.uid().to_string());
    let by = Requester::local(format!("console (uid {uid})"));
    let mut line = zeroize::Zeroizing::new(String::new());
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader.take(MAX_REQUEST));
    let Ok(read) = tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await else {
        return log::debug!("the console did not say what it wants");
    };
    let answer: Answer = match (read, serde_json::from_str(&line)) {
        (Ok(_), Ok(request)) => answer_to(request, &asked, &by).await,
        _ => Err("the request cannot be read; are both sides of the same version?".into()),
    };
    let mut bytes = serde_json::to_vec(&answer).unwrap_or_default();
    bytes.push(b'\n');
    if !matches!(tokio::time::timeout(PATIENCE, writer.write_all(&bytes)).await, Ok(Ok(()))) {
        log::debug!("the console went away");
    }
}

async fn answer_to(request: Request, asked: &Asked, by: &Requester) -> Answer {
    let owners = &asked.owners;
    let active = owners.certificates.active();
    let Some(kind) = request.kind() else { return tell(request, asked, &active).await };
    let (store, asked_by, done) = (owners.ledger.store(), by.clone(), request.done());
    let change = tokio::task::spawn_blocking(move || request.change(&*store, &asked_by))
        .await
        .map_err(|err| err.to_string())?;
    let made = match change {
        Ok(Some(change)) => owners.apply(change, by).await.map_err(|err| {
            let outcome = if err.is_refusal() { Outcome::Refused } else { Outcome::Failed };
            (outcome, err.to_string())
        }),
        Ok(None) => return Err("nothing is to be changed".into()),
        Err(reason) => Err((Outcome::Refused, reason)),
    };
    let outcome = made.as_ref().map_or_else(|(outcome, _)| *outcome, |_| Outcome::Done);
    let new = owners.certificates.active();
    let mut entry = AuditEntry::new(by, kind.text(), outcome)
        .fingerprints(active.fingerprint(), new.fingerprint());
    if let Err((_, reason)) = &made {
        entry = entry.detail(reason);
    }
    owners.audit.record(entry);
    let generations = made.map_err(|(_, reason)| reason)?;
    Ok(Reply {
        text: format!("{done}\n"),
        data: json!({ "message": done, "generations": generations }),
    })
}

/// Answers a question.
async fn tell(request: Request, asked: &Asked, active: &ActiveCertificate) -> Answer {
    let owners = &asked.owners;
    match request {
        Request::ShowCertificate => Ok(answer::certificate(active)),
        Request::History => {
            let store = owners.ledger.store();
            let entries = tokio::task::spawn_blocking(move || store.history())
                .await
                .map_err(|err| err.to_string())?
                .map_err(|err| err.to_string())?;
            Ok(answer::history(&entries))
        }
        Request::PlanConfiguration { file, text } => {
            let in_force = asked.in_force.clone();
            let plan = tokio::task::spawn_blocking(move || in_force.plan(&file, &text))
                .await
                .map_err(|err| err.to_string())?
                .map_err(|err| err.to_string())?;
            Ok(answer::plan(&plan.with_load(&listeners(owners).await?), true))
        }
        _ => {
            let listeners = listeners(owners).await?;
            Ok(answer::status(&owners.ledger.state().await, active, Some(&listeners)))
        }
    }
}

async fn listeners(owners: &Owners) -> Result<Vec<ListenerStatus>, String> {
    owners.supervisor.send(GetListeners).await.map_err(|err| err.to_string())
}
