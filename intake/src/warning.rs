//! What an administrator should know about an upload that was accepted all the same.

use serde::Serialize;

/// One remark; `code` is stable, `message` is for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Warning {
    /// A stable word in kebab case.
    pub code: &'static str,
    /// The same as a sentence with names and dates.
    pub message: String,
}

impl Warning {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
