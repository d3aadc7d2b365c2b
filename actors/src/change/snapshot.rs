//! What readers look at, as far as it is made of the state.

use super::ChangeError;
use crate::{handover::Scope, store::State};

/// Something that requests and handshakes read without waiting, made of the state. Whatever can
/// fail is done before anything is persisted, so that publishing and taking back cannot.
pub(crate) trait Snapshot: Send + Sync {
    /// What `next` means for readers, ready to be published; `None`: what they see stays.
    /// `serving` is the state that serves, where that is known; without it everything is settled
    /// anew. Blocks.
    fn prepare(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError>;
}

/// Something that is ready to be published.
pub(crate) struct Prepared {
    /// The listeners that are handed over for it.
    pub(crate) scope: Option<Scope>,
    /// What the log says of it beside the kind of the change.
    pub(crate) remark: Option<String>,
    /// Lets every reader see it from now on, and gives what puts back what they saw before.
    pub(crate) publish: Box<dyn FnOnce() -> Undo + Send>,
}

/// Puts back what readers saw before.
pub(crate) type Undo = Box<dyn FnOnce() + Send>;
