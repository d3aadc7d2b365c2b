//! How a service is, and what it keeps on the disk.

use std::path::PathBuf;

use serde::Serialize;
use utoipa::ToSchema;

/// Names in `health` and `diskinfo` that are the appliance's own, so that no service may have them.
pub const RESERVED_NAMES: [&str; 12] = [
    "status",
    "certificate",
    "authentication",
    "listeners",
    "owners",
    "workers",
    "storage",
    "audit",
    "log",
    "database",
    "gpu_inference",
    "data",
];

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong with it.
    Healthy,
    /// Something is.
    Unhealthy,
    /// It is not served.
    Disabled,
}

/// How a component of the appliance is, as `health` reports it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Component)]
pub struct Health {
    pub(crate) status: Status,
    /// What is wrong; only when unhealthy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<String>,
    /// What wants attention though it works.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

impl Health {
    /// Healthy unless there are errors.
    #[must_use]
    pub fn judged(errors: Vec<String>, warnings: Vec<String>) -> Self {
        let status = if errors.is_empty() { Status::Healthy } else { Status::Unhealthy };
        Self { status, errors, warnings }
    }

    /// All is well.
    #[must_use]
    pub fn good() -> Self {
        Self::judged(Vec::new(), Vec::new())
    }

    pub(crate) fn disabled() -> Self {
        Self { status: Status::Disabled, errors: Vec::new(), warnings: Vec::new() }
    }

    /// Whether nothing is wrong with it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.status == Status::Healthy
    }

    /// With an error more: unhealthy.
    #[must_use]
    pub fn with_error(mut self, error: impl Into<String>) -> Self {
        self.errors.push(error.into());
        self.status = Status::Unhealthy;
        self
    }

    /// With a warning more.
    #[must_use]
    pub fn with_warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

/// A folder that a service keeps; `diskinfo` and `health` look at its disk.
#[derive(Debug, Clone)]
pub struct Folder {
    /// Its name in `diskinfo`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes of the disk that the service leaves free: with no more than these, it refuses work.
    pub reserve: u64,
    /// What happens then and what to do, such as `notes are refused below 1048576: make room`.
    pub remedy: String,
}
