//! The state files, which an operator may edit: the documented rescue for a forgotten password.

use std::path::Path;

use super::{Nudge, follow};
use crate::{
    Owners, ReloadError,
    audit::{AuditEntry, Outcome},
    change::ChangeKind,
    requester::Requester,
};

/// Serves what the state files hold whenever somebody has edited them and they are sound. Runs for
/// the life of the process.
pub async fn follow_state(data_dir: &Path, owners: Owners, nudge: Nudge) {
    let current = data_dir.join("state/current");
    let paths = ["management-auth-secret/users", "tls/tls.crt", "insecure-ports"]
        .map(|name| current.join(name))
        .to_vec();
    let mut told: Option<String> = None;
    follow(paths, nudge, async || look(&owners, &mut told).await).await;
}

/// One look; a reason against the files is logged once.
async fn look(owners: &Owners, told: &mut Option<String>) {
    let by = Requester::local("edited files");
    let action = ChangeKind::StateFilesEdited.action_of_files();
    let entry = |outcome| AuditEntry::new(&by, action, outcome);
    match owners.reload(&by).await {
        Ok(changed) => {
            if told.take().is_some() {
                log::info!("the state files are sound again");
            }
            if changed {
                owners.audit.record(entry(Outcome::Done));
            }
        }
        Err(err) => {
            let reason = describe(&err);
            if told.as_ref() != Some(&reason) {
                log::error!("the edited state files are not used: {reason}");
                owners.audit.record(entry(Outcome::Refused).detail(&reason));
                *told = Some(reason);
            }
        }
    }
}

fn describe(err: &ReloadError) -> String {
    let source = std::error::Error::source(err);
    source.map_or_else(|| err.to_string(), |source| format!("{err}: {source}"))
}
