//! What the console asks for, and the change that comes of it.

use portcullis_actors::{
    auth::Credential,
    certificate::CertificateBundle,
    factory_state,
    store::{AdminAccess, Installed, State, StateStore, StoredBundle},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// One request, as it travels over the socket: a JSON line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    Status,
    SetPassword { password: Zeroizing<String> },
    SetAuthentication { enabled: bool },
    SetInsecurePorts { enabled: bool },
    ShowCertificate,
    InstallCertificate { certificate: String, key: Zeroizing<String> },
    RestoreDefaultCertificate,
    Reset,
    History,
    Rollback { revision: u64 },
}

/// The answer: what to tell people, and the same for scripts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) data: Value,
}

/// The answer over the socket.
pub(crate) type Answer = Result<Reply, String>;

/// A change of the state, ready to be made.
pub(crate) struct Change {
    pub(crate) what: String,
    /// What people are told once it is made.
    pub(crate) done: String,
    kind: Kind,
}

enum Kind {
    Admin(AdminAccess),
    InsecurePorts(bool),
    Bundle(Option<StoredBundle>),
    Whole(Box<State>),
}

impl Change {
    fn new(what: impl Into<String>, done: impl Into<String>, kind: Kind) -> Self {
        Self { what: what.into(), done: done.into(), kind }
    }

    /// The state after the change.
    pub(crate) fn apply(self, state: &State) -> State {
        match self.kind {
            Kind::Admin(admin) => State { admin, ..state.clone() },
            Kind::InsecurePorts(insecure_ports) => State { insecure_ports, ..state.clone() },
            Kind::Bundle(tls) => State { tls, ..state.clone() },
            Kind::Whole(state) => *state,
        }
    }
}

impl Request {
    /// What is attempted, for the audit record.
    pub(crate) fn action(&self) -> &'static str {
        match self {
            Self::Status => "show status",
            Self::ShowCertificate => "show certificate",
            Self::History => "show history",
            Self::SetPassword { .. } => "admin password set",
            Self::SetAuthentication { enabled: true } => "authentication switched on",
            Self::SetAuthentication { enabled: false } => "authentication switched off",
            Self::SetInsecurePorts { enabled: true } => "plain HTTP switched on",
            Self::SetInsecurePorts { enabled: false } => "plain HTTP switched off",
            Self::InstallCertificate { .. } => "certificate installed",
            Self::RestoreDefaultCertificate => "default certificate restored",
            Self::Reset => "reset",
            Self::Rollback { .. } => "rolled back to an older revision",
        }
    }

    /// The change that is asked for; `None` for a question. Hashes and reads: blocks.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) fn change(
        &self,
        state: &State,
        store: &dyn StateStore,
        by: &str,
    ) -> Result<Option<Change>, String> {
        let change = match self {
            Self::Status | Self::ShowCertificate | Self::History => return Ok(None),
            Self::SetPassword { password } => {
                portcullis_actors::auth::validate_password(password)
                    .map_err(|err| err.to_string())?;
                let line = Credential::hash(password).line();
                Change::new(
                    "admin password set",
                    "the admin password is set",
                    Kind::Admin(AdminAccess::Htpasswd(line)),
                )
            }
            Self::SetAuthentication { enabled: false } => Change::new(
                "authentication switched off",
                "authentication is off: anybody who reaches the appliance may administer it",
                Kind::Admin(AdminAccess::Open),
            ),
            Self::SetAuthentication { enabled: true } => {
                if matches!(state.admin, AdminAccess::Htpasswd(_)) {
                    return Err("authentication is on already; the password was not changed".into());
                }
                Change::new(
                    "authentication switched on",
                    "authentication is on with the default password; set another one",
                    Kind::Admin(factory_state().admin),
                )
            }
            Self::SetInsecurePorts { enabled } => {
                let word = if *enabled { "on" } else { "off" };
                Change::new(
                    format!("plain HTTP switched {word}"),
                    format!("plain HTTP is {word}"),
                    Kind::InsecurePorts(*enabled),
                )
            }
            Self::InstallCertificate { certificate, key } => Change::new(
                "certificate installed",
                "the certificate is installed",
                Kind::Bundle(Some(judge(certificate, key, by)?)),
            ),
            Self::RestoreDefaultCertificate => Change::new(
                "default certificate restored",
                "the default certificate serves",
                Kind::Bundle(None),
            ),
            Self::Reset => Change::new(
                "reset",
                "reset: default certificate, default password, plain HTTP on, no job token, no waiting keys",
                Kind::Whole(Box::new(factory_state())),
            ),
            Self::Rollback { revision } => {
                let loaded = store.revision(*revision).map_err(|err| err.to_string())?;
                if let Some(err) = loaded.unusable_bundle {
                    return Err(format!("revision {revision} cannot be used: {err}"));
                }
                if let AdminAccess::Htpasswd(line) = &loaded.state.admin {
                    Credential::parse(line)
                        .map_err(|err| format!("revision {revision} cannot be used: {err}"))?;
                }
                Change::new(
                    "rolled back to an older revision",
                    format!("the state is that of revision {revision}"),
                    Kind::Whole(Box::new(loaded.state)),
                )
            }
        };
        Ok(Some(change))
    }
}

fn judge(certificate: &str, key: &str, by: &str) -> Result<StoredBundle, String> {
    let judged = CertificateBundle::judge_known(certificate.as_bytes(), key.as_bytes())
        .map_err(|err| err.to_string())?;
    Ok(StoredBundle {
        certificate_pem: judged.bundle.certificate_pem(),
        key_pem: judged.bundle.key_pem(),
        installed: Some(Installed { at: OffsetDateTime::now_utc(), by: by.to_owned() }),
    })
}
