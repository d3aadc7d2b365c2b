//! Audio on its way to the disk.

use std::sync::{Arc, LazyLock};

use actix_web::{
    HttpRequest,
    web::{Bytes, BytesMut},
};
use portcullis_actors::bounds::{Client, Full, Held, Quota};
use portcullis_speech::jobs::{IncomingFile, StoreError};

use super::{BatchContext, blocking, error::BatchError};

/// Bytes that are gathered before they are written.
const GATHER: usize = 256 << 10;
/// Jobs that may be posted at once, by one client and by all: each holds [`GATHER`] bytes of memory,
/// a descriptor and a file.
const AT_ONCE: (u64, u64) = (512, 1024);

static POSTING: LazyLock<Arc<Quota>> = LazyLock::new(|| Quota::new(AT_ONCE.0, AT_ONCE.1));

/// Whose request it is: the unit of what one may hold.
pub(super) fn client_of(request: &HttpRequest) -> Client {
    let unknown = std::net::IpAddr::from([0, 0, 0, 0]);
    request.peer_addr().map_or(unknown, |peer| peer.ip()).into()
}

/// The right to post a job now.
pub(super) fn begin_posting(client: Client) -> Result<Held, BatchError> {
    POSTING.take(client, 1).map_err(|full| match full {
        Full::Client => BatchError::ClientBusy(format!(
            "{} jobs are being posted from this address; finish some of them first",
            AT_ONCE.0
        )),
        Full::All => BatchError::Busy(format!("{} jobs are being posted", AT_ONCE.1)),
    })
}

/// A file of audio that no job has yet; dropped it is gone. Removing a large file takes its time,
/// so that is left to a thread that may block.
pub(super) struct Audio(Option<IncomingFile>);

impl Audio {
    /// The file, for the job that takes it.
    pub(super) fn into_file(mut self) -> Option<IncomingFile> {
        self.0.take()
    }
}

impl Drop for Audio {
    fn drop(&mut self) {
        if let Some(file) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

/// A file that is written piece by piece; dropped before [`AudioUpload::finish`] it is gone.
pub(super) struct AudioUpload {
    audio: Audio,
    gathered: BytesMut,
}

impl AudioUpload {
    /// Begins a file; `announced` is how many bytes will come, as far as that is known.
    pub(super) async fn begin(
        batch: &BatchContext,
        client: &str,
        announced: u64,
    ) -> Result<Self, BatchError> {
        let client = client.to_owned();
        let file = batch.store(move |store| store.begin_upload(&client, announced)).await?;
        Ok(Self { audio: Audio(Some(file)), gathered: BytesMut::new() })
    }

    pub(super) async fn write(&mut self, chunk: &Bytes) -> Result<(), BatchError> {
        self.gathered.extend_from_slice(chunk);
        if self.gathered.len() >= GATHER { self.flush(false).await } else { Ok(()) }
    }

    /// Returns once all of it is on the disk; gives the file and its length.
    pub(super) async fn finish(mut self) -> Result<(Audio, u64), BatchError> {
        self.flush(true).await?;
        let length = self.audio.0.as_ref().map_or(0, IncomingFile::length);
        Ok((self.audio, length))
    }

    async fn flush(&mut self, sync: bool) -> Result<(), BatchError> {
        let bytes = self.gathered.split().freeze();
        let mut file = self.audio.0.take().ok_or(BatchError::Stopping)?;
        let written = blocking(move || {
            file.write(&bytes)?;
            if sync {
                file.sync()?;
            }
            Ok::<_, StoreError>(file)
        });
        self.audio.0 = Some(written.await??);
        Ok(())
    }
}
