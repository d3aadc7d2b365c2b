//! On whose behalf something happens.

#![warn(missing_docs)]

use crate::request_id::RequestId;

/// On whose behalf something happens, for the history and the audit record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// `admin`, `monitoring`, `anybody`, or what it is on the machine itself.
    pub user: String,
    /// Where the request came from; `None` for what happens on the machine itself.
    pub address: Option<std::net::IpAddr>,
    /// The request by which it was asked for.
    pub request_id: Option<RequestId>,
}

impl Requester {
    /// Somebody at an address, in the request in whose task this is called.
    #[must_use]
    pub fn new(user: &str, address: std::net::IpAddr) -> Self {
        let request_id = RequestId::current();
        Self { user: user.to_owned(), address: Some(address), request_id }
    }

    /// The appliance itself.
    #[must_use]
    pub fn appliance() -> Self {
        Self::local("appliance")
    }

    /// Somebody or something on the machine itself.
    #[must_use]
    pub fn local(user: impl Into<String>) -> Self {
        Self { user: user.into(), address: None, request_id: None }
    }

    /// Runs `work`, in an owner, as part of the request that asked for it, so that its log lines
    /// carry the request's number.
    pub(crate) async fn scope<F: Future>(&self, work: F) -> F::Output {
        match self.request_id {
            Some(id) => id.scope(work).await,
            None => work.await,
        }
    }
}

impl std::fmt::Display for Requester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.address {
            Some(address) => write!(f, "{} from {address}", self.user),
            None => f.write_str(&self.user),
        }
    }
}
