//! What the console tells: the same words with the server running and stopped.

use std::fmt::Write;

use portcullis_actors::{
    certificate::ActiveCertificate,
    engine::GenerationState,
    store::{AdminAccess, HistoryEntry, State},
    supervisor::ListenerStatus,
};
use serde_json::json;

use super::request::Reply;
use crate::config::Plan;

/// The state in short; `listeners` are those of the running server.
pub(crate) fn status(
    state: &State,
    active: &ActiveCertificate,
    listeners: Option<&[ListenerStatus]>,
) -> Reply {
    let facts = active.bundle.facts();
    let authentication = matches!(state.admin, AdminAccess::Htpasswd(_));
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<16}{value}");
    };
    line("server", if listeners.is_some() { "running" } else { "stopped" });
    line("authentication", if authentication { "on" } else { "OFF: anybody may administer" });
    line("plain HTTP", if state.insecure_ports { "on" } else { "off, redirects" });
    line("job token", if state.job_token.is_some() { "set" } else { "none" });
    line("certificate", if active.is_default { "default" } else { "installed" });
    line("  subject", &facts.subject);
    line("  valid until", &facts.not_after);
    line("  SHA-256", &facts.fingerprint_sha256);
    if let Some(reason) = &active.fallback {
        line("  fallback", reason);
    }
    for listener in listeners.unwrap_or_default() {
        let draining = listener
            .generations
            .iter()
            .filter(|generation| generation.state == GenerationState::Draining)
            .count();
        let scheme = if listener.tls { "https" } else { "http" };
        let value = format!("{scheme} {}, {draining} draining", listener.address);
        line(&listener.name, &value);
    }
    let data = json!({
        "running": listeners.is_some(),
        "auth_enabled": authentication,
        "enable_insecure_ports": state.insecure_ports,
        "job_token": state.job_token.is_some(),
        "certificate": facts,
        "default_certificate": active.is_default,
        "fallback": active.fallback,
        "listeners": listeners,
    });
    Reply { text, data }
}

/// The certificate that serves.
pub(crate) fn certificate(active: &ActiveCertificate) -> Reply {
    let facts = active.bundle.facts();
    let mut text = String::new();
    let origin = match &active.installed {
        _ if active.is_default => "the default certificate of this installation".to_owned(),
        Some(installed) => format!("installed by {}", installed.by),
        None => "installed".to_owned(),
    };
    let key = format!("{}, {} bits", facts.key_type, facts.key_bits);
    let validity = format!("{} to {}", facts.not_before, facts.not_after);
    let names = facts.sans.join(", ");
    for (name, value) in [
        ("origin", &origin),
        ("subject", &facts.subject),
        ("issuer", &facts.issuer),
        ("names", &names),
        ("serial", &facts.serial),
        ("valid", &validity),
        ("key", &key),
        ("signature", &facts.signature_algorithm),
        ("SHA-256", &facts.fingerprint_sha256),
        ("SHA-1", &facts.fingerprint_sha1),
        ("SPKI pin", &facts.spki_sha256),
    ] {
        let _ = writeln!(text, "{name:<12}{value}");
    }
    for (index, link) in facts.chain.iter().enumerate() {
        let _ = writeln!(text, "chain {index:<6}{}", link.subject);
    }
    let data = json!({
        "certificate": facts,
        "default": active.is_default,
        "installed": active.installed,
    });
    Reply { text, data }
}

/// The kept revisions.
pub(crate) fn history(entries: &[HistoryEntry]) -> Reply {
    let mut text = String::new();
    for entry in entries {
        let mark = if entry.current { "*" } else { " " };
        let note = entry.note.as_ref().map_or_else(String::new, |note| {
            let at = note.at.replace_nanosecond(0).unwrap_or(note.at);
            let at = at.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
            format!("{at}  {} by {}", note.what, note.by)
        });
        let never = if entry.was_current { "" } else { " (never in force)" };
        let _ = writeln!(text, "{mark}{:>6}  {note}{never}", entry.revision);
    }
    Reply { text, data: json!({ "revisions": entries }) }
}

/// What another configuration would change of the one in force, or of the one that the server would start
/// with.
pub(crate) fn plan(plan: &Plan, running: bool) -> Reply {
    let text =
        if plan.steps.is_empty() { "nothing changes\n".to_owned() } else { plan.to_string() };
    let data = json!({ "running": running, "refused": plan.is_refused(), "steps": plan.steps });
    Reply { text, data }
}
