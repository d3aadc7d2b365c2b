//! What the answers and forms of this API hold, for its document.

use std::collections::BTreeMap;

use portcullis_actors::{
    audit::AuditEntry,
    auth::ThrottledAddress,
    certificate::{ActiveCertificate, CertificateFacts, CertificateRequest, Warning},
    store::Installed,
};
use serde::Serialize;
use utoipa::ToSchema;

/// Addresses whose next wrong password is not answered at once.
#[derive(Serialize, ToSchema)]
pub(super) struct ThrottledAddresses {
    /// The worst first, at most 500.
    pub(super) addresses: Vec<ThrottledAddress>,
    /// How many there are in all.
    pub(super) count: usize,
}

/// A certificate and how it came to serve; never its key.
#[derive(Serialize, ToSchema)]
pub(crate) struct ServedCertificate {
    #[serde(flatten)]
    facts: CertificateFacts,
    /// Whether it is the default certificate of this installation.
    default: bool,
    /// Absent for the default certificate, and where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed: Option<Installed>,
}

impl ServedCertificate {
    pub(crate) fn of(active: &ActiveCertificate) -> Self {
        Self {
            facts: active.bundle.facts().clone(),
            default: active.is_default,
            installed: active.installed.clone(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct CertificateServed {
    certificate: ServedCertificate,
    /// What clients may object to now.
    warnings: Vec<Warning>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct CertificateChanged {
    message: String,
    certificate: ServedCertificate,
    /// The new generation of each listener that was handed over.
    generations: BTreeMap<String, u64>,
    /// What to know about an upload that was accepted all the same.
    warnings: Option<Vec<Warning>>,
}

/// PEM, DER, PKCS#7 or PKCS#12; the certificate chain own certificate first.
#[derive(Serialize, ToSchema)]
pub(super) struct CertificateForm {
    #[schema(format = Binary)]
    keyfile: String,
    #[schema(format = Binary)]
    certfile: String,
    /// For an encrypted key.
    passphrase: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    message: String,
    warning: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct PasswordState {
    auth_enabled: bool,
    /// Null until it has been checked.
    default_password: Option<bool>,
}

/// The form of an answer.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PemOrJson {
    Pem,
    Json,
}

#[derive(Serialize, ToSchema)]
pub(super) struct WaitingRequests {
    /// Oldest first.
    requests: Vec<CertificateRequest>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AuditRecord {
    /// Newest first.
    entries: Vec<AuditEntry>,
}
