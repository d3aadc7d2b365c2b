//! Why the store did not do what it was asked for.

use crate::disk::NoRoom;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the job database failed")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the job folder failed")]
    Files(#[source] std::io::Error),
    #[error("{0}")]
    NoRoom(NoRoom),
    #[error("a stored job cannot be read: {0}")]
    Damaged(String),
    /// The store as it lies there cannot be used. Nothing of it was changed or removed.
    #[error("the jobs cannot be opened: {0}")]
    Unusable(String),
    #[error("{0} jobs wait already, and no more may")]
    QueueFull(u64),
    #[error("{0} jobs of this address wait already, and no more may")]
    ShareFull(u64),
}

impl StoreError {
    /// Whether the disk is full.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::NoRoom(_) => true,
            Self::Files(err) => matches!(err.kind(), StorageFull | QuotaExceeded),
            _ => false,
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(err: std::io::Error) -> Self {
        Self::Files(err)
    }
}

impl From<NoRoom> for StoreError {
    fn from(err: NoRoom) -> Self {
        match err {
            NoRoom::Unknown(err) => Self::Files(err),
            NoRoom::Bytes | NoRoom::Files | NoRoom::Share { .. } => Self::NoRoom(err),
        }
    }
}
