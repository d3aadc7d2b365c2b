//! Bodies that can be sent again: after a redirect, or at the next attempt.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use actix_web::web::Bytes;
use futures::{Stream, stream};
use http_body_util::StreamBody;
use hyper::body::Frame;

/// Bytes that are read and sent at once.
const CHUNK: usize = 64 << 10;

/// What a request sends, piece after piece.
#[derive(Debug, Clone, Default)]
pub struct Body(Vec<Piece>);

#[derive(Debug, Clone)]
enum Piece {
    Bytes(Bytes),
    /// What is in a file from here to there.
    File(Arc<File>, Range<u64>),
}

impl Body {
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        self.0.push(Piece::Bytes(bytes.into()));
    }

    /// Adds `length` bytes of a file. They are read when they are sent; where there are less, the
    /// request breaks off.
    pub fn push_file(&mut self, file: File, length: u64) {
        self.0.push(Piece::File(Arc::new(file), 0..length));
    }

    pub fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// In bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        let lengths = self.0.iter().map(|piece| match piece {
            Piece::Bytes(bytes) => bytes.len() as u64,
            Piece::File(_, range) => range.end - range.start,
        });
        lengths.sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body as hyper takes it; `sent` counts the bytes that were taken.
    pub(super) fn stream(
        &self,
        sent: Arc<AtomicU64>,
    ) -> StreamBody<impl Stream<Item = io::Result<Frame<Bytes>>> + Send + use<>> {
        let state = (VecDeque::from(self.0.clone()), sent);
        StreamBody::new(stream::try_unfold(state, |(mut pieces, sent)| async move {
            while let Some(piece) = pieces.front_mut() {
                let chunk = piece.split_off().await?;
                if chunk.is_empty() {
                    pieces.pop_front();
                    continue;
                }
                sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                return Ok(Some((Frame::data(chunk), (pieces, sent))));
            }
            Ok(None)
        }))
    }
}

impl Piece {
    /// Takes the beginning off; empty when nothing is left.
    async fn split_off(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.split_to(bytes.len().min(CHUNK))),
            Self::File(file, range) => {
                let length = CHUNK.min(usize::try_from(range.end - range.start).unwrap_or(CHUNK));
                let (file, from) = (file.clone(), range.start);
                range.start += length as u64;
                let read = tokio::task::spawn_blocking(move || {
                    let mut chunk = vec![0; length];
                    file.read_exact_at(&mut chunk, from)?;
                    Ok(chunk.into())
                });
                read.await.map_err(io::Error::other)?
            }
        }
    }
}
