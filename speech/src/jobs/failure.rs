//! Why a job did not end with a transcript.

use super::store_error::StoreError;
use crate::{audio::AudioError, recogniser::RecogniserError};

/// Why a job did not end with a transcript.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No second attempt would help.
    #[error("{0}")]
    Rejected(String),
    #[error("cancelled")]
    Cancelled,
    /// Another attempt may go better.
    #[error("{0}")]
    Failed(String),
}

impl From<AudioError> for Failure {
    fn from(err: AudioError) -> Self {
        match err {
            AudioError::Cancelled => Self::Cancelled,
            AudioError::Io(reason) => Self::Failed(reason),
            AudioError::Empty
            | AudioError::Unrecognised
            | AudioError::Container(_)
            | AudioError::IndexAtEnd(_)
            | AudioError::NoTrack
            | AudioError::Codec(_)
            | AudioError::Damaged(_)
            | AudioError::NoAudio
            | AudioError::TooManyChannels(_)
            | AudioError::TooLong(_) => {
                Self::Rejected(format!("Job rejected due to invalid audio: {err}"))
            }
        }
    }
}

impl From<RecogniserError> for Failure {
    fn from(err: RecogniserError) -> Self {
        match err {
            RecogniserError::Cancelled => Self::Cancelled,
            RecogniserError::Language { .. } => Self::Rejected(err.to_string()),
            RecogniserError::Engine(_) => Self::Failed(err.to_string()),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(err: StoreError) -> Self {
        Self::Failed(err.to_string())
    }
}
