//! What the [`CertificateActor`](super::CertificateActor) is asked.

use std::sync::Arc;

use actix::Message;

use super::{ActiveCertificate, CertificateBundle};
use crate::{ledger::Requester, owners::ChangeError, supervisor::Generations};

/// Serves `bundle` on every TLS listener; replies once it is durable and every connection opened
/// from now on sees it.
#[derive(Message)]
#[rtype(result = "Result<CertificateInstalled, ChangeError>")]
pub struct InstallCertificate {
    pub bundle: CertificateBundle,
    pub by: Requester,
}

/// Serves the default certificate of this installation again.
#[derive(Debug, Message)]
#[rtype(result = "Result<CertificateInstalled, ChangeError>")]
pub struct RestoreDefaultCertificate {
    pub by: Requester,
}

/// Replies with what is served now.
#[derive(Debug, Message)]
#[rtype(result = "Arc<ActiveCertificate>")]
pub struct GetCertificate;

/// What serves after a change, and in which generations.
#[derive(Debug)]
pub struct CertificateInstalled {
    pub certificate: Arc<ActiveCertificate>,
    pub generations: Generations,
}
