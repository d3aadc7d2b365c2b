//! Why a change did not happen.

use actix::MailboxError;

use crate::{
    blocking::NotDone,
    handover::{Generations, HandoverError},
    settings::SettingsError,
    store::StoreError,
    supervise,
};

/// Why a change did not happen. The old configuration goes on serving in every case.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("the change could not be stored; nothing was changed")]
    Store(#[from] StoreError),
    /// A part of the state, which is named, cannot be served.
    #[error("{part} cannot be used; nothing was changed")]
    Unusable { part: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("new listeners could not start; the old ones go on serving")]
    Handover(#[source] HandoverError),
    #[error("the change could not be made; nothing was changed")]
    NotDone(#[from] NotDone),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("authentication is on already; the password was not changed")]
    AuthenticationIsOn,
    #[error("{}", supervise::why_no_answer())]
    Stopping,
}

impl ChangeError {
    /// A part of the state that cannot be served.
    pub(crate) fn unusable(
        part: &'static str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        Self::Unusable { part, source: Box::new(source) }
    }

    /// How a handover that was sent went.
    pub(super) fn of_handover(
        sent: Result<Result<Generations, HandoverError>, MailboxError>,
    ) -> Result<Generations, Self> {
        match sent {
            Ok(Ok(generations)) => Ok(generations),
            Ok(Err(err)) => Err(Self::Handover(err)),
            Err(_) => Err(Self::Stopping),
        }
    }

    /// Whether it was not even tried, because it cannot be.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Settings(_) | Self::AuthenticationIsOn | Self::Unusable { .. } => true,
            Self::Store(_) | Self::Handover(_) | Self::NotDone(_) | Self::Stopping => false,
        }
    }
}
