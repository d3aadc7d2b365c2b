//! The memory of decodes: some 22 MB and up to three times that in use. It holds nothing of a session
//! between two decodes, so there are as many as decode at once, however many sessions are open; and
//! none once nobody has decoded for a while.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use whisper_rs::{WhisperContext, WhisperState};

use super::engine;
use crate::recogniser::RecogniserError;

/// A state that nobody has used for so long is given back; a new one takes some milliseconds.
const IDLE: Duration = Duration::from_secs(30);

/// The states that are free; clones share them.
#[derive(Clone)]
pub(super) struct States(Arc<Shared>);

struct Shared {
    context: WhisperContext,
    idle: Duration,
    free: Mutex<Free>,
}

#[derive(Default)]
struct Free {
    /// With the end of its last use; the last one is used next, so that the others can go.
    states: Vec<(Instant, WhisperState)>,
    /// Looks after those that nobody uses.
    watcher: Option<JoinHandle<()>>,
}

impl States {
    pub(super) fn new(context: WhisperContext) -> Self {
        Self::with_idle(context, IDLE)
    }

    fn with_idle(context: WhisperContext, idle: Duration) -> Self {
        Self(Arc::new(Shared { context, idle, free: Mutex::default() }))
    }

    /// The model.
    pub(super) fn context(&self) -> &WhisperContext {
        &self.0.context
    }

    /// A free state, or a new one. To be called with a slot, which bounds how many there are.
    ///
    /// # Errors
    /// Memory is short.
    pub(super) fn take(&self) -> Result<WhisperState, RecogniserError> {
        let free = self.0.free().states.pop();
        free.map_or_else(|| self.fresh(), |(_, state)| Ok(state))
    }

    /// One that has not decoded yet. To be called with a slot, and to be dropped.
    ///
    /// # Errors
    /// Memory is short.
    pub(super) fn fresh(&self) -> Result<WhisperState, RecogniserError> {
        self.0.context.create_state().map_err(|err| engine(&err))
    }

    /// For the next decode. One that failed is better dropped.
    pub(super) fn give_back(&self, state: WhisperState) {
        let mut free = self.0.free();
        free.states.push((Instant::now(), state));
        if free.watcher.is_none() {
            let shared = Arc::downgrade(&self.0);
            let thread = thread::Builder::new().name("decode-memory".into());
            // Without a thread they stay until there is one.
            free.watcher = thread.spawn(move || watch(&shared)).ok();
        }
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives back what nobody has used for long; false once nothing is left to look after.
    fn rest(&self) -> bool {
        let mut free = self.free();
        let old = free.states.extract_if(.., |(used, _)| used.elapsed() >= self.idle);
        let old: Vec<_> = old.collect();
        let left = !free.states.is_empty();
        if !left {
            free.watcher = None;
        }
        // To free this memory takes a moment, in which nobody should wait for a state.
        drop(free);
        drop(old);
        left
    }
}

/// Looks after the free states until there are none.
fn watch(shared: &Weak<Shared>) {
    while let Some(idle) = shared.upgrade().map(|shared| shared.idle) {
        thread::sleep(idle / 4);
        if !shared.upgrade().is_some_and(|shared| shared.rest()) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use whisper_rs::WhisperContextParameters;

    use super::*;
    use crate::engine::default_model;

    fn states(idle: Duration) -> States {
        whisper_rs::install_logging_hooks();
        let model = default_model().expect("the model is there; make model brings it");
        let context =
            WhisperContext::new_with_params(model, WhisperContextParameters::default()).unwrap();
        States::with_idle(context, idle)
    }

    fn free(states: &States) -> usize {
        states.0.free().states.len()
    }

    #[test]
    fn states_are_used_again_and_given_back_once_nobody_uses_them() {
        let states = states(Duration::from_millis(200));
        // Twice, for the thread that looks after them ends in between.
        for _ in 0..2 {
            let (one, other) = (states.take().unwrap(), states.take().unwrap());
            states.give_back(one);
            states.give_back(other);
            let again = states.take().unwrap();
            states.give_back(again);
            assert!(free(&states) <= 2);
            let watcher = states.0.free().watcher.take();
            if let Some(watcher) = watcher {
                watcher.join().unwrap();
            }
            assert_eq!(free(&states), 0);
        }
    }

    #[test]
    fn a_state_that_is_used_in_between_stays() {
        let states = states(Duration::from_secs(3600));
        let state = states.take().unwrap();
        states.give_back(state);
        assert!(states.0.rest(), "nothing is left to look after");
        assert_eq!(free(&states), 1);
        let used = states.0.free().states.pop().unwrap().1;
        states.give_back(used);
        assert_eq!(free(&states), 1);
    }
}
