//! The stable words by which programs know an error.

use std::collections::BTreeSet;

use portcullis_actors::certificate::CertificateError;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, schema::Type},
};

/// Why a request was not carried out, as a word that stays what it is when the texts for people
/// change. The words and their meaning are listed in `docs/api.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($name:ident = $word:literal,)*) => {
        #[allow(missing_docs)] // The word says it.
        impl Code {
            $(pub const $name: Self = Self($word);)*
            const OWN: &'static [&'static str] = &[$($word),*];
        }
    };
}

codes! {
    ALREADY_SCHEDULED = "already-scheduled",
    AUTHENTICATION_ON = "authentication-on",
    BAD_GATEWAY = "bad-gateway",
    BAD_REQUEST = "bad-request",
    BUSY = "busy",
    CERTIFICATE_FOLLOWED = "certificate-followed",
    COMPRESSED = "compressed",
    CONFLICT = "conflict",
    CONTROL_CHARACTER = "control-character",
    EMPTY = "empty",
    EXPECTATION_FAILED = "expectation-failed",
    FAILED = "failed",
    FOREIGN_PAGE = "foreign-page",
    INVALID_BODY = "invalid-body",
    INVALID_FIELD = "invalid-field",
    INVALID_HEADER = "invalid-header",
    INVALID_QUERY = "invalid-query",
    MALFORMED_BODY = "malformed-body",
    METHOD_NOT_ALLOWED = "method-not-allowed",
    NOTHING_SCHEDULED = "nothing-scheduled",
    NOT_CONFIGURED = "not-configured",
    NOT_DONE = "not-done",
    NOT_FOUND = "not-found",
    NOT_READY = "not-ready",
    NOT_SERVED = "not-served",
    NO_LOG_FILES = "no-log-files",
    NO_SUCH_PATH = "no-such-path",
    NO_SUCH_REQUEST = "no-such-request",
    REPEATED_FIELD = "repeated-field",
    STORAGE_FULL = "storage-full",
    TIMEOUT = "timeout",
    TOO_LARGE = "too-large",
    TOO_LONG = "too-long",
    TOO_MANY_FAILURES = "too-many-failures",
    TOO_MANY_FOLLOWERS = "too-many-followers",
    TOO_MANY_REQUESTS = "too-many-requests",
    UNAVAILABLE = "unavailable",
    UNKNOWN_FIELD = "unknown-field",
    WRONG_MEDIA_TYPE = "wrong-media-type",
    WRONG_NAME = "wrong-name",
}

impl Code {
    /// Every word, those of certificates included.
    fn all() -> BTreeSet<&'static str> {
        Self::OWN.iter().chain(CertificateError::CODES).copied().collect()
    }
}

impl Code {
    /// A word of a service's own, in kebab case.
    #[must_use]
    pub const fn new(word: &'static str) -> Self {
        Self(word)
    }
}

impl From<&CertificateError> for Code {
    fn from(err: &CertificateError) -> Self {
        Self(err.code())
    }
}

impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(Self::all()));
        let words = words.description(Some(
            "What is wrong, as a word for programs; it stays when the texts change. Other words may come.",
        ));
        words.into()
    }
}

impl ToSchema for Code {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words in backticks in the first cells of the tables under a heading.
    fn listed(document: &'static str, heading: &str) -> Vec<&'static str> {
        let (_, section) = document.split_once(heading).expect("the heading");
        let section = section.split("\n## ").next().unwrap_or_default();
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
        cells.flat_map(|cell| cell.split(['`', ',', ' ']).filter(|word| !word.is_empty())).collect()
    }

    #[test]
    fn the_manual_lists_each_code_once() {
        let mut listed = listed(include_str!("../../../../docs/api.md"), "\n## Error codes\n");
        listed.sort_unstable();
        let all: Vec<&str> = Code::all().into_iter().collect();
        assert_eq!(listed, all);
    }
}
