//! What several services use and nothing else does.

pub(super) mod docs;
pub(super) mod host_figures;
pub(super) mod patterns;
