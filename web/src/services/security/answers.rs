//! What this API answers.

use portcullis_actors::{
    audit::AuditEntry,
    auth::ThrottledAddress,
    certificate::{ActiveCertificate, CertificateFacts, CertificateRequest, Warning},
    handover::Generations,
    store::Installed,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{error::ApiError, query::Query};

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
    pub(super) certificate: ServedCertificate,
    /// What clients may object to now.
    pub(super) warnings: Vec<Warning>,
}

/// What serves once it was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct CertificateChanged {
    pub(super) message: &'static str,
    pub(super) certificate: ServedCertificate,
    /// The new generation of each listener that was handed over.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub(super) generations: Generations,
}

/// What became of an upload.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum UploadAnswer {
    Installed(CertificateInstalled),
    Judged(CertificateJudged),
}

/// The answer to an upload that is served now.
#[derive(Serialize, ToSchema)]
pub(super) struct CertificateInstalled {
    #[serde(flatten)]
    pub(super) changed: CertificateChanged,
    #[serde(flatten)]
    pub(super) remarks: Remarks,
}

/// The answer to a dry run.
#[derive(Serialize, ToSchema)]
pub(super) struct CertificateJudged {
    pub(super) message: &'static str,
    /// Always `true`.
    pub(super) dry_run: bool,
    /// What would serve.
    pub(super) certificate: ServedCertificate,
    #[serde(flatten)]
    pub(super) remarks: Remarks,
}

/// What to know about an upload that was accepted.
#[derive(Serialize, ToSchema)]
pub(super) struct Remarks {
    /// What was changed, and what clients may object to.
    pub(super) warnings: Vec<Warning>,
    /// The id of the request whose key completed an upload without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    pub(super) waiting_key: Option<String>,
}

/// What was done, where there is nothing to show.
#[derive(Serialize, ToSchema)]
pub(super) struct Done {
    pub(super) message: &'static str,
    /// What follows from it, if that may not be expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) warning: Option<&'static str>,
}

impl Done {
    pub(super) fn new(message: &'static str) -> Self {
        Self { message, warning: None }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct PasswordState {
    pub(super) auth_enabled: bool,
    /// Null until it has been checked.
    #[schema(required)]
    pub(super) default_password: Option<bool>,
}

/// The form of an answer.
#[derive(Clone, Copy, ToSchema)]
#[schema(rename_all = "lowercase")]
pub(super) enum PemOrJson {
    Pem,
    Json,
}

impl PemOrJson {
    /// As `format` says; JSON where it is left out.
    pub(super) fn asked(query: &mut Query) -> Result<Self, ApiError> {
        Ok(match query.choice("format", &["json", "pem"])? {
            Some("pem") => Self::Pem,
            _ => Self::Json,
        })
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct WaitingRequests {
    /// Oldest first.
    pub(super) requests: Vec<CertificateRequest>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct AuditRecord {
    /// Newest first.
    pub(super) entries: Vec<AuditEntry>,
}
