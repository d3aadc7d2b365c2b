//! What the [`CertificateActor`](super::CertificateActor) is asked.

use std::sync::Arc;

use actix::Message;

use super::{
    ActiveCertificate, CertificateBundle, CertificateRequest, RequestDetails, RequestError,
    RequestId,
};
use crate::{change::ChangeError, handover::Generations, requester::Requester};

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

/// Makes a key and a certificate request for it; replies once the key waits on the disk. Keys are
/// made one after another.
#[derive(Debug, Message)]
#[rtype(result = "Result<Arc<CertificateRequest>, RequestError>")]
pub struct RequestCertificate {
    pub details: RequestDetails,
    pub by: Requester,
}

/// Removes a waiting key; replies once it is gone from the disk.
#[derive(Debug, Message)]
#[rtype(result = "Result<(), RequestError>")]
pub struct DeleteCertificateRequest {
    pub id: RequestId,
    pub by: Requester,
}

/// Removes the keys that have waited too long.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct RemoveExpiredRequests;

/// What serves after a change, and in which generations.
#[derive(Debug)]
pub struct CertificateInstalled {
    pub certificate: Arc<ActiveCertificate>,
    pub generations: Generations,
}
