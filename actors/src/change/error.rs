//! Why a change did not happen.

use actix::MailboxError;

use crate::{
    auth::CredentialError,
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
    #[error("the certificate cannot be served; nothing was changed")]
    Tls(#[source] rustls::Error),
    #[error("new listeners could not start; the old ones go on serving")]
    Handover(#[source] HandoverError),
    #[error("the stored credential cannot be used; nothing was changed")]
    Credential(#[from] CredentialError),
    #[error("the change could not be made; nothing was changed")]
    NotDone(#[from] NotDone),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{}", supervise::why_no_answer())]
    Stopping,
}

impl ChangeError {
    /// How a handover that was sent went.
    pub(crate) fn of_handover(
        sent: Result<Result<Generations, HandoverError>, MailboxError>,
    ) -> Result<Generations, Self> {
        match sent {
            Ok(Ok(generations)) => Ok(generations),
            failed => Err(Self::from_handover(failed)),
        }
    }

    pub(crate) fn from_handover(
        failed: Result<Result<Generations, HandoverError>, MailboxError>,
    ) -> Self {
        match failed {
            Ok(Err(err)) => Self::Handover(err),
            Ok(Ok(_)) | Err(_) => Self::Stopping,
        }
    }
}
