//! What can be changed, and the state that comes of it. Pure: the console of a stopped appliance
//! makes the same state as the running one.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::{ChangeError, ChangeKind};
use crate::{
    settings::{Settings, SettingsChange, StoredSettings},
    store::{AdminAccess, State, StoredBundle},
};

/// A change that is asked for. Hashes and bundles are made and judged before.
#[derive(Clone)]
pub enum Change {
    InstallCertificate(StoredBundle),
    RestoreDefaultCertificate,
    /// Sets a password.
    SetAdminPassword(AdminAccess),
    /// Asks for a password from now on; refused where one is asked for already.
    SwitchAuthenticationOn(AdminAccess),
    SwitchAuthenticationOff,
    /// Lets plain ports serve (`true`) or redirect (`false`).
    SetInsecurePorts(bool),
    /// Sets (`Some`) or removes (`None`) the job token.
    SetJobToken(Option<Zeroizing<String>>),
    /// Sets what an administrator chooses beside what is configured.
    ChangeSettings {
        change: SettingsChange,
        configured: Arc<Settings>,
    },
    /// Takes everything back that concerns secrets and access; see [`State::reset`].
    Reset(AdminAccess),
    /// Makes an older state the state again.
    RollBack(Box<State>),
    /// Takes over what somebody has written into the state files.
    AdoptFiles(Box<State>),
}

impl Change {
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::InstallCertificate(_) => ChangeKind::CertificateInstalled,
            Self::RestoreDefaultCertificate => ChangeKind::DefaultCertificateRestored,
            Self::SetAdminPassword(_) => ChangeKind::AdminPasswordSet,
            Self::SwitchAuthenticationOn(_) => ChangeKind::AuthenticationOn,
            Self::SwitchAuthenticationOff => ChangeKind::AuthenticationOff,
            Self::SetInsecurePorts(true) => ChangeKind::PlainHttpOn,
            Self::SetInsecurePorts(false) => ChangeKind::PlainHttpOff,
            Self::SetJobToken(Some(_)) => ChangeKind::JobTokenSet,
            Self::SetJobToken(None) => ChangeKind::JobTokenRemoved,
            Self::ChangeSettings { .. } => ChangeKind::SettingsChanged,
            Self::Reset(_) => ChangeKind::Reset,
            Self::RollBack(_) => ChangeKind::RolledBack,
            Self::AdoptFiles(_) => ChangeKind::StateFilesEdited,
        }
    }

    /// The state after the change; `None`: it is so already, and nothing is to be done.
    ///
    /// # Errors
    /// The change is refused.
    pub fn next(self, now: &State) -> Result<Option<State>, ChangeError> {
        let now = now.clone();
        let next = match self {
            Self::InstallCertificate(bundle) => State { tls: Some(bundle), ..now },
            Self::RestoreDefaultCertificate => State { tls: None, ..now },
            Self::SwitchAuthenticationOn(_) if matches!(now.admin, AdminAccess::Htpasswd(_)) => {
                return Err(ChangeError::AuthenticationIsOn);
            }
            Self::SetAdminPassword(admin) | Self::SwitchAuthenticationOn(admin) => {
                State { admin, ..now }
            }
            Self::SwitchAuthenticationOff => State { admin: AdminAccess::Open, ..now },
            Self::SetInsecurePorts(insecure_ports) => State { insecure_ports, ..now },
            Self::SetJobToken(job_token) => State { job_token, ..now },
            Self::ChangeSettings { change, configured } => {
                let settings = now.settings.with(&change, &configured)?;
                if settings == now.settings {
                    return Ok(None);
                }
                State { settings, ..now }
            }
            Self::Reset(admin) => now.reset(admin),
            Self::RollBack(state) => *state,
            Self::AdoptFiles(state) if *state == now => return Ok(None),
            Self::AdoptFiles(state) => *state,
        };
        Ok(Some(next))
    }
}

impl State {
    /// That of a new appliance: plain HTTP on, the default certificate, no job token.
    #[must_use]
    pub fn factory(admin: AdminAccess) -> Self {
        Self {
            admin,
            tls: None,
            insecure_ports: true,
            job_token: None,
            settings: StoredSettings::default(),
        }
    }

    /// This one without anything that concerns secrets and access. The settings stay: they open
    /// nothing, and who resets an appliance that he is locked out of does not mean the log level.
    #[must_use]
    pub fn reset(self, admin: AdminAccess) -> Self {
        Self { settings: self.settings, ..Self::factory(admin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> State {
        State::factory(AdminAccess::Open)
    }

    fn settings(json: &str) -> Change {
        let change = serde_json::from_str(json).unwrap();
        Change::ChangeSettings { change, configured: Arc::default() }
    }

    #[test]
    fn a_reset_takes_back_everything_but_the_settings() {
        let chosen = settings(r#"{"max_draining": 3}"#).next(&opened()).unwrap().unwrap();
        assert!(chosen.settings != StoredSettings::default());
        let bundle = StoredBundle {
            certificate_pem: "certificate".into(),
            key_pem: Zeroizing::new("key".into()),
            installed: None,
        };
        let changed = State {
            tls: Some(bundle),
            insecure_ports: false,
            job_token: Some(Zeroizing::new("token".into())),
            ..chosen.clone()
        };
        let admin = AdminAccess::Htpasswd("admin:hash".into());
        let reset = Change::Reset(admin.clone()).next(&changed).unwrap().unwrap();
        assert!(reset == State { settings: chosen.settings, ..State::factory(admin) });
    }

    #[test]
    fn what_is_so_already_is_no_change() {
        let now = opened();
        assert!(settings("{}").next(&now).unwrap().is_none());
        assert!(Change::AdoptFiles(Box::new(now.clone())).next(&now).unwrap().is_none());
    }

    #[test]
    fn authentication_that_is_on_keeps_its_password() {
        let admin = AdminAccess::Htpasswd("admin:default".into());
        let on = Change::SwitchAuthenticationOn(admin);
        let now = on.clone().next(&opened()).unwrap().unwrap();
        assert!(matches!(on.next(&now), Err(ChangeError::AuthenticationIsOn)));
    }
}
