//! What the console asks for, and the change that comes of it.

use portcullis_actors::{
    Requester,
    auth::validate_password,
    certificate::CertificateBundle,
    change::{Change, ChangeKind},
    roll_back,
    store::{AdminAccess, StateStore, StoredBundle},
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
    SetPassword {
        password: Zeroizing<String>,
    },
    SetAuthentication {
        enabled: bool,
    },
    SetInsecurePorts {
        enabled: bool,
    },
    ShowCertificate,
    InstallCertificate {
        certificate: String,
        key: Zeroizing<String>,
    },
    RestoreDefaultCertificate,
    Reset,
    History,
    Rollback {
        revision: u64,
    },
    /// What the text of `file` would change as configuration.
    PlanConfiguration {
        file: String,
        text: Zeroizing<String>,
    },
}

/// The answer: what to tell people, and the same for scripts.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) text: String,
    pub(crate) data: Value,
}

/// The answer over the socket.
pub(crate) type Answer = Result<Reply, String>;

impl Request {
    /// What kind of change is asked for; `None` for a question.
    pub(crate) fn kind(&self) -> Option<ChangeKind> {
        Some(match self {
            Self::Status
            | Self::ShowCertificate
            | Self::History
            | Self::PlanConfiguration { .. } => return None,
            Self::SetPassword { .. } => ChangeKind::AdminPasswordSet,
            Self::SetAuthentication { enabled: true } => ChangeKind::AuthenticationOn,
            Self::SetAuthentication { enabled: false } => ChangeKind::AuthenticationOff,
            Self::SetInsecurePorts { enabled: true } => ChangeKind::PlainHttpOn,
            Self::SetInsecurePorts { enabled: false } => ChangeKind::PlainHttpOff,
            Self::InstallCertificate { .. } => ChangeKind::CertificateInstalled,
            Self::RestoreDefaultCertificate => ChangeKind::DefaultCertificateRestored,
            Self::Reset => ChangeKind::Reset,
            Self::Rollback { .. } => ChangeKind::RolledBack,
        })
    }

    /// The change that is asked for; `None` for a question. Hashes and reads: blocks.
    ///
    /// # Errors
    /// Why there is none, for people.
    pub(crate) fn change(
        &self,
        store: &dyn StateStore,
        by: &Requester,
    ) -> Result<Option<Change>, String> {
        Ok(Some(match self {
            Self::Status
            | Self::ShowCertificate
            | Self::History
            | Self::PlanConfiguration { .. } => return Ok(None),
            Self::SetPassword { password } => {
                validate_password(password).map_err(|err| err.to_string())?;
                Change::SetAdminPassword(AdminAccess::password(password))
            }
            Self::SetAuthentication { enabled: true } => {
                Change::SwitchAuthenticationOn(AdminAccess::default_password())
            }
            Self::SetAuthentication { enabled: false } => Change::SwitchAuthenticationOff,
            Self::SetInsecurePorts { enabled } => Change::SetInsecurePorts(*enabled),
            Self::InstallCertificate { certificate, key } => {
                let now = OffsetDateTime::now_utc();
                let (certificate, key) = (certificate.as_bytes(), key.as_bytes());
                let judged = CertificateBundle::judge_known(certificate, key, now)
                    .map_err(|err| err.to_string())?;
                Change::InstallCertificate(StoredBundle::installed_now(&judged.bundle, by))
            }
            Self::RestoreDefaultCertificate => Change::RestoreDefaultCertificate,
            Self::Reset => Change::Reset(AdminAccess::default_password()),
            Self::Rollback { revision } => {
                roll_back(store, *revision).map_err(|err| err.to_string())?
            }
        }))
    }

    /// What people are told once it is done.
    pub(crate) fn done(&self) -> String {
        match self {
            Self::Status
            | Self::ShowCertificate
            | Self::History
            | Self::PlanConfiguration { .. } => String::new(),
            Self::SetPassword { .. } => "the admin password is set".into(),
            Self::SetAuthentication { enabled: true } => {
                "authentication is on with the default password; set another one".into()
            }
            Self::SetAuthentication { enabled: false } => {
                "authentication is off: anybody who reaches the appliance may administer it".into()
            }
            Self::SetInsecurePorts { enabled } => {
                format!("plain HTTP is {}", if *enabled { "on" } else { "off" })
            }
            Self::InstallCertificate { .. } => "the certificate is installed".into(),
            Self::RestoreDefaultCertificate => "the default certificate serves".into(),
            Self::Reset => {
                "reset: default certificate, default password, plain HTTP on, no job token, no waiting keys"
                    .into()
            }
            Self::Rollback { revision } => format!("the state is that of revision {revision}"),
        }
    }
}
