//! `recover`: a damaged state is put right, and never by guessing.

use std::{fmt::Write as _, io::Write as _, path::Path};

use anyhow::{Context as _, anyhow, bail, ensure};
use portcullis_actors::{
    Requester,
    audit::{Audit, AuditEntry, Outcome},
    store::{AdminAccess, FileStore, Kept, Loaded, Revision, StateStore, StoreError},
};
use serde_json::{Value, json};

use super::{open, request::Reply};

/// Makes `revision` the state, or the one that was in force last where that can be told.
///
/// # Errors
/// Why nothing was done: what is there does not tell which revision was in force last, or the one
/// that was cannot be used.
pub(super) fn recover(data_dir: &Path, revision: Option<Revision>) -> anyhow::Result<Reply> {
    let store = open(data_dir)?;
    let kept = store.kept()?;
    let mut text = list(&kept);
    let chosen = match choose(&store, &kept, revision) {
        Ok(Some(chosen)) => chosen,
        Ok(None) => {
            text.push_str("the state is sound; nothing is to be put right\n");
            return Ok(Reply { text, data: json!({ "revision": null, "revisions": data(&kept) }) });
        }
        Err(err) => {
            std::io::stdout().lock().write_all(text.as_bytes())?;
            return Err(err);
        }
    };
    let aside = store.repair(chosen)?;
    let by = Requester::local("console");
    let audit = Audit::open(data_dir)?;
    let entry = AuditEntry::new(&by, "state recovered", Outcome::Done);
    audit.record(entry.detail(format!("revision {chosen}")));
    // Reading waits until the entry is written.
    audit.read(1, None).context("the audit record cannot be read")?;
    let _ = writeln!(text, "the state is that of revision {chosen}");
    if let Some(aside) = &aside {
        let _ = writeln!(text, "what lay in place of the link is {} now", aside.display());
    }
    let data = json!({ "revision": chosen, "set_aside": aside, "revisions": data(&kept) });
    Ok(Reply { text, data })
}

/// `None`: there is nothing to put right.
fn choose(
    store: &FileStore,
    kept: &[Kept],
    named: Option<Revision>,
) -> anyhow::Result<Option<Revision>> {
    if let Some(named) = named {
        let found = kept.iter().find(|kept| kept.revision == named);
        let found = found.ok_or(StoreError::NoSuchRevision(named))?;
        ensure!(
            found.was_current || !kept.iter().any(|kept| kept.was_current),
            StoreError::NeverCurrent(named)
        );
        usable(found).map_err(|reason| anyhow!("revision {named} cannot be used: {reason}"))?;
        return Ok(Some(named));
    }
    let last = match store.damage()? {
        None => {
            let history = store.history()?;
            let current = history.iter().find(|entry| entry.current).map(|entry| entry.revision);
            current.context("no revision is in force")?
        }
        Some((what, named)) => {
            let marked = kept.iter().any(|kept| kept.was_current);
            let newest = kept.iter().find(|kept| kept.was_current || !marked);
            named
                .or_else(|| store.copied_by_link())
                .or_else(|| newest.map(|kept| kept.revision))
                .with_context(|| {
                    format!("{what}; put state/ back from a backup, or begin anew with reset --yes")
                })?
        }
    };
    let Some(found) = kept.iter().find(|kept| kept.revision == last) else {
        // An older one may have been more open: that is not for a program to decide.
        bail!(
            "revision {last} was in force last and is not there; put it back from a backup, or name the one to go back to: recover NUMBER"
        );
    };
    match usable(found) {
        Ok(()) => Ok(store.damage()?.is_some().then_some(last)),
        Err(reason) => bail!(
            "revision {last} was in force last and cannot be used: {reason}; mend that, or name the one to go back to: recover NUMBER"
        ),
    }
}

fn usable(kept: &Kept) -> Result<(), String> {
    let loaded = kept.loaded.as_ref().map_err(StoreError::chain)?;
    loaded.state.admin.check().map_err(|err| err.to_string())
}

fn list(all: &[Kept]) -> String {
    let mut text = String::new();
    for kept in all {
        let note = kept
            .note
            .as_ref()
            .map_or_else(String::new, |note| format!("{} by {}; ", note.what, note.by));
        let holds = match (usable(kept), &kept.loaded) {
            (Ok(()), Ok(loaded)) => describe(loaded),
            (Err(reason), _) => format!("cannot be used: {reason}"),
            (Ok(()), Err(err)) => err.chain(),
        };
        let never = if kept.was_current { "" } else { "not known to have been in force; " };
        let _ = writeln!(text, "{:>7}  {note}{never}{holds}", kept.revision);
    }
    text
}

fn describe(loaded: &Loaded) -> String {
    let state = &loaded.state;
    let authentication = match &state.admin {
        AdminAccess::Htpasswd(_) => "authentication on",
        AdminAccess::Open => "authentication OFF",
    };
    let plain = if state.insecure_ports { "plain HTTP on" } else { "plain HTTP off" };
    let token = if state.job_token.is_some() { "job token set" } else { "no job token" };
    let certificate = match (&loaded.unusable_bundle, &state.tls) {
        (Some(err), _) => format!("certificate unusable ({})", err.chain()),
        (None, Some(_)) => "certificate installed".into(),
        (None, None) => "default certificate".into(),
    };
    format!("{authentication}, {plain}, {token}, {certificate}")
}

fn data(all: &[Kept]) -> Value {
    let entry = |kept: &Kept| {
        json!({
            "revision": kept.revision,
            "was_current": kept.was_current,
            "usable": usable(kept).is_ok(),
            "reason": usable(kept).err(),
            "what": kept.note.as_ref().map(|note| &note.what),
        })
    };
    all.iter().map(entry).collect()
}
