//! How many decodes may compute at once: one for each core, realtime before batch.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use crate::recogniser::{Cancel, RecogniserError};

/// How often a waiting decode looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);

/// Who is served first when slots are short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody listens live.
    Realtime,
    /// A job in the queue.
    Batch,
}

/// The slots; clones share them.
#[derive(Debug, Clone)]
pub struct Slots(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    width: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: usize,
    realtime_waiting: usize,
}

impl Slots {
    /// `width` decodes at once, at least one.
    #[must_use]
    pub fn new(width: usize) -> Self {
        let width = width.max(1);
        let state = Mutex::new(State { free: width, realtime_waiting: 0 });
        Self(Arc::new(Shared { width, state, changed: Condvar::new() }))
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Waits for a slot, which is free again when the guard is dropped. Blocks.
    ///
    /// # Errors
    /// Cancelled while waiting.
    pub fn acquire(&self, urgency: Urgency, cancel: &Cancel) -> Result<Slot, RecogniserError> {
        let realtime = urgency == Urgency::Realtime;
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.realtime_waiting += usize::from(realtime);
        let acquired = loop {
            if cancel.is_cancelled() {
                break Err(RecogniserError::Cancelled);
            }
            if state.free > 0 && (realtime || state.realtime_waiting == 0) {
                state.free -= 1;
                break Ok(Slot(self.0.clone()));
            }
            let waited = self.0.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.realtime_waiting -= usize::from(realtime);
        if acquired.is_err() || state.free > 0 {
            self.0.changed.notify_all();
        }
        acquired
    }
}

/// The right to compute.
#[derive(Debug)]
pub struct Slot(Arc<Shared>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).free += 1;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realtime_decode_goes_before_a_batch_decode_that_came_earlier() {
        let slots = Slots::new(1);
        let cancel = Cancel::default();
        let held = slots.acquire(Urgency::Batch, &cancel).unwrap();
        let (sender, order) = std::sync::mpsc::channel();
        let wait = |urgency| {
            let (slots, cancel, sender) = (slots.clone(), cancel.clone(), sender.clone());
            std::thread::spawn(move || {
                let slot = slots.acquire(urgency, &cancel).unwrap();
                sender.send(urgency).unwrap();
                drop(slot);
            })
        };
        let batch = wait(Urgency::Batch);
        std::thread::sleep(Duration::from_millis(50));
        let realtime = wait(Urgency::Realtime);
        while slots.0.state.lock().unwrap().realtime_waiting == 0 {
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(order.recv().unwrap(), Urgency::Realtime);
        assert_eq!(order.recv().unwrap(), Urgency::Batch);
        batch.join().unwrap();
        realtime.join().unwrap();
    }

    #[test]
    fn a_cancelled_wait_ends() {
        let slots = Slots::new(1);
        let cancel = Cancel::default();
        let _held = slots.acquire(Urgency::Batch, &cancel).unwrap();
        cancel.cancel();
        assert!(slots.acquire(Urgency::Batch, &cancel).is_err());
    }
}
