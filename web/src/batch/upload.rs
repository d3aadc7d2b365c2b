//! Audio on its way to the disk.

use std::{fs::File, io::Write as _};

use actix_web::web::{Bytes, BytesMut};
use portcullis_speech::jobs::{IncomingFile, JobStore};

use super::{Desk, blocking, error::BatchError};

/// Bytes that are gathered before they are written.
const GATHER: usize = 1 << 20;
/// Room that uploads leave on the disk for everything else, in bytes.
pub const RESERVE: u64 = 128 << 20;
/// The disk is asked for its room after so many bytes.
const ASK_AFTER: u64 = 64 << 20;

/// A file that is written piece by piece; dropped before [`AudioUpload::finish`] it is gone.
pub(super) struct AudioUpload {
    desk: Desk,
    incoming: IncomingFile,
    file: Option<File>,
    gathered: BytesMut,
    written: u64,
    unasked: u64,
}

impl AudioUpload {
    /// Begins a file; `announced` is how many bytes will come, as far as that is known.
    pub(super) async fn begin(desk: &Desk, announced: u64) -> Result<Self, BatchError> {
        let begun = desk.store(move |store| {
            check_room(store, announced)?;
            store.begin_upload()
        });
        let mut incoming = begun.await?;
        let file = incoming.take_file();
        let gathered = BytesMut::new();
        Ok(Self { desk: desk.clone(), incoming, file, gathered, written: 0, unasked: 0 })
    }

    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<(), BatchError> {
        self.gathered.extend_from_slice(chunk);
        if self.gathered.len() >= GATHER { self.flush(false).await } else { Ok(()) }
    }

    /// Returns once all of it is on the disk; gives the file and its length.
    pub(super) async fn finish(mut self) -> Result<(IncomingFile, u64), BatchError> {
        self.flush(true).await?;
        Ok((self.incoming, self.written))
    }

    async fn flush(&mut self, sync: bool) -> Result<(), BatchError> {
        let bytes = self.gathered.split().freeze();
        self.written += bytes.len() as u64;
        self.unasked += bytes.len() as u64;
        if self.unasked >= ASK_AFTER {
            self.unasked = 0;
            self.desk.store(|store| check_room(store, 0)).await?;
        }
        let mut file = self.file.take().ok_or(BatchError::Stopping)?;
        let written = blocking(move || {
            file.write_all(&bytes)?;
            if sync {
                file.sync_all()?;
            }
            Ok::<_, std::io::Error>(file)
        });
        self.file = Some(written.await??);
        Ok(())
    }
}

fn check_room(
    store: &dyn JobStore,
    announced: u64,
) -> Result<(), portcullis_speech::jobs::StoreError> {
    if store.free_space()? < announced.saturating_add(RESERVE) {
        return Err(std::io::Error::from(std::io::ErrorKind::StorageFull).into());
    }
    Ok(())
}
