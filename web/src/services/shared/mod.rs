//! What several services use and nothing else does.

pub(super) mod collected;
pub(super) mod docs;
pub(super) mod host_figures;
pub(super) mod patterns;
pub(super) mod speech;
