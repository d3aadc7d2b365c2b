//! The memory of decodes: some 22 MB and up to three times that in use. It holds nothing of a session
//! between two decodes, so there are as many as decode at once, however many sessions are open.

use std::sync::{Arc, Mutex, PoisonError};

use whisper_rs::{WhisperContext, WhisperState};

use super::engine;
use crate::recogniser::RecogniserError;

/// The states that are free; clones share them.
#[derive(Clone)]
pub(super) struct States(Arc<Shared>);

struct Shared {
    context: WhisperContext,
    free: Mutex<Vec<WhisperState>>,
}

impl States {
    pub(super) fn new(context: WhisperContext) -> Self {
        Self(Arc::new(Shared { context, free: Mutex::default() }))
    }

    /// A free state, or a new one. To be called with a slot, which bounds how many there are.
    ///
    /// # Errors
    /// Memory is short.
    pub(super) fn take(&self) -> Result<WhisperState, RecogniserError> {
        let free = self.0.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| self.0.context.create_state().map_err(|err| engine(&err)), Ok)
    }

    /// For the next decode. One that failed is better dropped.
    pub(super) fn give_back(&self, state: WhisperState) {
        self.0.free.lock().unwrap_or_else(PoisonError::into_inner).push(state);
    }
}
