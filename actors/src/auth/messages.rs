//! What the [`AuthActor`](super::AuthActor) is asked.

use std::time::Duration;

use actix::Message;
use zeroize::Zeroizing;

use super::PasswordError;
use crate::{change::ChangeError, requester::Requester};

/// Replaces the admin password; once it replies the old one fails everywhere.
#[derive(Message)]
#[rtype(result = "Result<(), AuthError>")]
pub struct SetAdminPassword {
    pub password: Zeroizing<String>,
    pub by: Requester,
}

/// Switches authentication off until a password is set again.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), AuthError>")]
pub struct DisableAuthentication {
    pub by: Requester,
}

/// Sets (`Some`) or removes (`None`) the token that the speech services ask for.
#[derive(Message)]
#[rtype(result = "Result<(), AuthError>")]
pub struct SetJobToken {
    pub token: Option<Zeroizing<String>>,
    pub by: Requester,
}

/// Why a request is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// No `Authorization` header arrived.
    Missing,
    /// The header is not basic authentication as in RFC 7617.
    Malformed,
    /// The user or the password is wrong.
    Wrong,
    /// Too many failures from this address. What was sent may have been looked at or not.
    Throttled { retry_after: Duration },
    /// Too many passwords wait to be checked; nothing was checked.
    Busy,
}

#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("the token must be 1 to 4096 visible ASCII characters without blanks")]
    Token,
    #[error(transparent)]
    Change(#[from] ChangeError),
}
