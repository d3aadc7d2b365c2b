//! How many decodes may compute at once: one for each core, realtime before batch.

use std::{
    collections::VecDeque,
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

#[derive(Debug, Default)]
struct State {
    /// The next ticket; who waits is served in the order of the tickets.
    ticket: u64,
    realtime: Kind,
    batch: Kind,
}

#[derive(Debug, Default)]
struct Kind {
    running: usize,
    waiting: VecDeque<u64>,
}

impl State {
    fn kind(&mut self, urgency: Urgency) -> &mut Kind {
        match urgency {
            Urgency::Realtime => &mut self.realtime,
            Urgency::Batch => &mut self.batch,
        }
    }

    /// A batch decode runs for seconds and cannot be put aside, so a realtime decode does not wait
    /// for one: it shares the cores with it.
    fn may_run(&self, urgency: Urgency, ticket: u64, width: usize) -> bool {
        match urgency {
            Urgency::Realtime => {
                self.realtime.waiting.front() == Some(&ticket) && self.realtime.running < width
            }
            Urgency::Batch => {
                self.batch.waiting.front() == Some(&ticket)
                    && self.realtime.waiting.is_empty()
                    && self.realtime.running + self.batch.running < width
            }
        }
    }
}

impl Slots {
    /// `width` decodes at once, at least one.
    #[must_use]
    pub fn new(width: usize) -> Self {
        let shared =
            Shared { width: width.max(1), state: Mutex::default(), changed: Condvar::new() };
        Self(Arc::new(shared))
    }

    #[must_use]
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// Waits for a slot, which is free again when the guard is dropped. Blocks. Among equals the
    /// first to come is the first served.
    ///
    /// # Errors
    /// Cancelled while waiting.
    pub fn acquire(&self, urgency: Urgency, cancel: &Cancel) -> Result<Slot, RecogniserError> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = state.ticket;
        state.ticket += 1;
        state.kind(urgency).waiting.push_back(ticket);
        let acquired = loop {
            if cancel.is_cancelled() {
                break Err(RecogniserError::Cancelled);
            }
            if state.may_run(urgency, ticket, self.0.width) {
                state.kind(urgency).running += 1;
                break Ok(Slot { shared: self.0.clone(), urgency });
            }
            let waited = self.0.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        state.kind(urgency).waiting.retain(|waiting| *waiting != ticket);
        self.0.changed.notify_all();
        acquired
    }
}

#[cfg(test)]
impl Slots {
    /// Decodes of this kind that compute now.
    pub(crate) fn running(&self, urgency: Urgency) -> usize {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kind(urgency).running
    }
}

/// The right to compute.
#[derive(Debug)]
pub struct Slot {
    shared: Arc<Shared>,
    urgency: Urgency,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kind(self.urgency).running -= 1;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realtime_decode_goes_before_a_batch_decode_that_came_earlier() {
        let slots = Slots::new(1);
        let cancel = Cancel::default();
        let held = slots.acquire(Urgency::Realtime, &cancel).unwrap();
        let (sender, order) = std::sync::mpsc::channel();
        let wait = |urgency| {
            let (slots, cancel, sender) = (slots.clone(), cancel.clone(), sender.clone());
            std::thread::spawn(move || {
                let slot = slots.acquire(urgency, &cancel).unwrap();
                sender.send(urgency).unwrap();
                drop(slot);
            })
        };
        let waiting = |urgency| {
            while slots.0.state.lock().unwrap().kind(urgency).waiting.is_empty() {
                std::thread::yield_now();
            }
        };
        let batch = wait(Urgency::Batch);
        waiting(Urgency::Batch);
        let realtime = wait(Urgency::Realtime);
        waiting(Urgency::Realtime);
        drop(held);
        assert_eq!(order.recv().unwrap(), Urgency::Realtime);
        assert_eq!(order.recv().unwrap(), Urgency::Batch);
        batch.join().unwrap();
        realtime.join().unwrap();
    }

    #[test]
    fn a_realtime_decode_does_not_wait_for_batch_but_batch_for_it() {
        let slots = Slots::new(1);
        let cancel = Cancel::default();
        let batch = slots.acquire(Urgency::Batch, &cancel).unwrap();
        let realtime = slots.acquire(Urgency::Realtime, &cancel).unwrap();
        drop(batch);
        let may_run = || {
            let mut state = slots.0.state.lock().unwrap();
            state.batch.waiting.push_back(u64::MAX);
            let may_run = state.may_run(Urgency::Batch, u64::MAX, 1);
            state.batch.waiting.clear();
            may_run
        };
        assert!(!may_run());
        drop(realtime);
        assert!(may_run());
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
