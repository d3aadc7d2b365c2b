//! The archive that somebody takes along who is asked for help, made while it is sent.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use portcullis_actors::{files, logging::Window, store::StateStore};
use time::OffsetDateTime;
use zip::{
    CompressionMethod, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

/// Bytes that go into the archive at once.
const STEP: usize = 32 << 10;

/// What goes into the archive.
pub(super) struct Contents {
    pub(super) log: PathBuf,
    pub(super) since: OffsetDateTime,
    /// Names and texts; secrets have been masked.
    pub(super) documents: Vec<(&'static str, String)>,
    pub(super) data_dir: PathBuf,
    pub(super) store: Arc<dyn StateStore>,
}

/// The archive, front to back, made as it is read. Reading blocks.
pub(super) struct Archive {
    /// `None` once the end is written.
    zip: Option<ZipWriter<StreamWriter<Out>>>,
    out: Out,
    /// Bytes of `out` that were given out.
    given: usize,
    current: Option<Box<dyn Read + Send>>,
    waiting: VecDeque<(String, Source)>,
}

/// Where a file of the archive comes from.
enum Source {
    Log { path: PathBuf, since: OffsetDateTime },
    Text(String),
    History(Arc<dyn StateStore>),
    File(PathBuf),
}

impl Source {
    fn open(self) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Self::Log { path, since } => Box::new(Window::new(&path, since)),
            Self::Text(text) => Box::new(io::Cursor::new(text)),
            Self::History(store) => Box::new(io::Cursor::new(match store.history() {
                Ok(history) => serde_json::to_vec_pretty(&history)?,
                Err(err) => format!("{{\"error\":\"{err}\"}}").into_bytes(),
            })),
            Self::File(path) => match files::open_regular(&path) {
                Ok(file) => Box::new(file),
                // Turned over meanwhile.
                Err(err) if err.kind() == io::ErrorKind::NotFound => Box::new(io::empty()),
                Err(err) => return Err(err),
            },
        })
    }
}

impl Contents {
    pub(super) fn archive(self) -> Archive {
        let log = Source::Log { path: self.log, since: self.since };
        let mut waiting = VecDeque::from([("portcullis.log".to_owned(), log)]);
        let documents = self.documents.into_iter();
        waiting.extend(documents.map(|(name, text)| (name.to_owned(), Source::Text(text))));
        waiting.push_back(("extra/history.json".into(), Source::History(self.store)));
        let audit = audit_files(&self.data_dir).into_iter();
        waiting
            .extend(audit.map(|(name, path)| (format!("extra/audit/{name}"), Source::File(path))));
        let out = Out::default();
        Archive {
            zip: Some(ZipWriter::new_stream(out.clone())),
            out,
            given: 0,
            current: None,
            waiting,
        }
    }
}

impl Archive {
    /// Puts a little more into the archive; `false` at its end.
    fn step(&mut self) -> io::Result<bool> {
        let Some(zip) = &mut self.zip else { return Ok(false) };
        if let Some(current) = &mut self.current {
            if io::copy(&mut current.take(STEP as u64), zip)? == 0 {
                self.current = None;
            }
        } else if let Some((name, source)) = self.waiting.pop_front() {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Deflated)
                .unix_permissions(0o600);
            zip.start_file(name, options)?;
            self.current = Some(source.open()?);
        } else if let Some(zip) = self.zip.take() {
            zip.finish()?;
        }
        Ok(true)
    }
}

impl Read for Archive {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.out.bytes().len() == self.given {
            self.out.bytes().clear();
            self.given = 0;
            if !self.step()? {
                return Ok(0);
            }
        }
        let bytes = self.out.bytes();
        let part = (bytes.len() - self.given).min(out.len());
        out[..part].copy_from_slice(&bytes[self.given..self.given + part]);
        self.given += part;
        Ok(part)
    }
}

/// What the archive is written to, and taken from again.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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
