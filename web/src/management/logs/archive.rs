//! The archive that somebody takes along who is asked for help: written on a blocking thread, sent
//! as it is written.

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use actix_web::web::{self, Bytes};
use futures::{Stream, stream};
use portcullis_actors::{logging, store::StateStore};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// Bytes of one piece on its way to the client.
const PIECE: usize = 32 << 10;
/// Pieces that wait for a slow client before the writing thread does.
const PIECES: usize = 8;

/// What goes into the archive.
pub(super) struct Contents {
    pub(super) log: PathBuf,
    pub(super) since: OffsetDateTime,
    /// Names and texts; secrets have been masked.
    pub(super) documents: Vec<(&'static str, String)>,
    pub(super) data_dir: PathBuf,
    pub(super) store: Arc<dyn StateStore>,
}

impl Contents {
    /// Writes the archive front to back; needs no seeking.
    pub(super) fn write(self, out: &mut dyn Write) -> io::Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(0o600);
        let mut zip = ZipWriter::new_stream(out);
        zip.start_file("portcullis.log", options)?;
        logging::copy_window(&self.log, self.since, &mut zip)?;
        for (name, text) in &self.documents {
            zip.start_file(*name, options)?;
            zip.write_all(text.as_bytes())?;
        }
        zip.start_file("extra/history.json", options)?;
        match self.store.history() {
            Ok(history) => serde_json::to_writer_pretty(&mut zip, &history)?,
            Err(err) => write!(zip, "{{\"error\":\"{err}\"}}")?,
        }
        for (name, path) in audit_files(&self.data_dir) {
            zip.start_file(format!("extra/audit/{name}"), options)?;
            io::copy(&mut File::open(path)?, &mut zip)?;
        }
        zip.finish()?.into_inner();
        Ok(())
    }
}

/// The files of the audit record, wherever below `audit…` they lie.
fn audit_files(data_dir: &Path) -> Vec<(String, PathBuf)> {
    let list = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries
            .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
            .collect::<Vec<_>>()
    };
    let mut files = Vec::new();
    for (name, path) in list(data_dir) {
        if !name.starts_with("audit") {
            continue;
        }
        if path.is_dir() {
            files.extend(list(&path).into_iter().filter(|(_, path)| path.is_file()));
        } else {
            files.push((name, path));
        }
    }
    files.sort();
    files
}

/// A body that `write` writes on a blocking thread. An error there breaks the body off, so that
/// nobody takes it for whole.
pub(super) fn stream(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(PIECES);
    // It runs whether or not anybody waits for it.
    drop(web::block(move || {
        let mut pieces = Pieces { sender, buffer: Vec::with_capacity(PIECE) };
        let written = write(&mut pieces).and_then(|()| pieces.flush());
        if let Err(err) = written
            && err.kind() != io::ErrorKind::BrokenPipe
        {
            log::error!("an answer breaks off: {err}");
            let _ = pieces.sender.blocking_send(Err(err));
        }
    }));
    stream::unfold(receiver, |mut receiver| async move {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    })
}

/// Gathers what is written into pieces and waits while the client is behind.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE)));
        self.sender.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
