//! How many connections each worker has.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How much a worker carries, as the others see it.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    pub(super) fn connections(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Counts a connection with its worker until it is dropped.
#[derive(Debug)]
pub(super) struct Carried(Arc<Load>);

impl Carried {
    pub(super) fn by(load: &Arc<Load>) -> Self {
        load.0.fetch_add(1, Relaxed);
        Self(load.clone())
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}
