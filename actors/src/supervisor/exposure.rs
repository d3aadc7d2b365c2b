//! Whether plain ports serve.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
};

use crate::{
    change::{ChangeError, Prepared, Snapshot, Undo},
    handover::Scope,
    store::State,
};

/// Whether plain ports serve or redirect, read by every request without waiting.
#[derive(Debug, Clone)]
pub struct InsecurePorts(Arc<AtomicBool>);

impl InsecurePorts {
    pub(crate) fn new(enabled: bool) -> Self {
        Self(Arc::new(AtomicBool::new(enabled)))
    }

    #[must_use]
    pub fn are_enabled(&self) -> bool {
        self.0.load(Acquire)
    }

    fn set(&self, enabled: bool) {
        self.0.store(enabled, Release);
    }
}

impl Snapshot for InsecurePorts {
    fn prepare(
        &self,
        _serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError> {
        let (before, enabled) = (self.are_enabled(), next.insecure_ports);
        if before == enabled {
            return Ok(None);
        }
        let exposure = self.clone();
        let publish = Box::new(move || -> Undo {
            exposure.set(enabled);
            Box::new(move || exposure.set(before))
        });
        Ok(Some(Prepared { scope: Some(Scope::Plain), remark: None, publish }))
    }
}
