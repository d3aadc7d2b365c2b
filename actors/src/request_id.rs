//! The number of a request, which its log lines, its answer and its events share.

#![warn(missing_docs)]

use std::{
    fmt,
    hash::{BuildHasher, Hasher},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use serde::{Serialize, Serializer};

tokio::task_local! {
    static CURRENT: RequestId;
}

/// Sixteen hexadecimal digits: the first eight belong to the process, the rest count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(u64);

impl RequestId {
    /// The next number of this process; 2^32 requests pass before one comes again.
    #[must_use]
    pub fn next() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| {
            // Keyed with random numbers of the operating system.
            std::hash::RandomState::new().build_hasher().finish() << 32
        });
        static COUNT: AtomicU32 = AtomicU32::new(1);
        Self(*PROCESS | u64::from(COUNT.fetch_add(1, Relaxed)))
    }

    /// That of the request in whose task this is called.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|id| *id).ok()
    }

    /// Runs `work` as part of this request.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }

    /// Runs `work` as part of this request.
    pub fn sync_scope<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_current_number_is_that_of_the_scope() {
        assert_eq!(RequestId::current(), None);
        let (first, second) = (RequestId::next(), RequestId::next());
        assert_ne!(first, second);
        first.scope(async { assert_eq!(RequestId::current(), Some(first)) }).await;
        second.sync_scope(|| assert_eq!(RequestId::current(), Some(second)));
        assert_eq!(first.to_string().len(), 16);
    }
}
