//! The files of the interface, in memory: as they are, and compressed once.

use std::{collections::BTreeMap, io::Write, sync::LazyLock};

use actix_web::web::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

/// Path below `static/`, and content.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/interface_files.rs"));

const PAGE: &str = "index.html";
/// Stands in the page for the folder of this version's files.
const PLACEHOLDER: &str = "/ASSETS/";

/// One file, ready to be sent.
#[derive(Debug)]
pub(super) struct File {
    pub(super) content_type: &'static str,
    pub(super) etag: String,
    pub(super) plain: Bytes,
    pub(super) compressed: Bytes,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Site {
    digest: String,
    page: File,
    files: BTreeMap<&'static str, File>,
}

impl Site {
    /// The files, compressed at the first call.
    pub(super) fn get() -> &'static Self {
        static SITE: LazyLock<Site> = LazyLock::new(Site::read);
        &SITE
    }

    fn read() -> Self {
        let mut whole = Sha256::new();
        for (path, content) in FILES {
            whole.update(path.as_bytes());
            whole.update(Sha256::digest(content));
        }
        let digest = hexadecimal(&whole.finalize()[..8]);
        let page = FILES.iter().find(|(path, _)| *path == PAGE).expect("static/ has a page");
        let page = String::from_utf8_lossy(page.1);
        let page = page.replace(PLACEHOLDER, &format!("/interface/{digest}/"));
        let files = FILES.iter().filter(|(path, _)| *path != PAGE);
        Self {
            page: File::new(PAGE, Bytes::from(page)),
            files: files
                .map(|(path, content)| (*path, File::new(path, Bytes::from_static(content))))
                .collect(),
            digest,
        }
    }

    /// The digest of all files, as it stands in their paths.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    pub(super) fn page(&self) -> &File {
        &self.page
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    #[cfg(test)]
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().copied()
    }

    #[cfg(test)]
    pub(super) fn compressed_size(&self) -> usize {
        let files = self.files.values().map(|file| file.compressed.len()).sum::<usize>();
        files + self.page.compressed.len()
    }
}

impl File {
    fn new(path: &str, plain: Bytes) -> Self {
        // Writing to memory does not fail.
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let _ = encoder.write_all(&plain);
        let compressed = Bytes::from(encoder.finish().unwrap_or_default());
        // Weak: the same for both codings.
        let etag = format!("W/\"{}\"", hexadecimal(&Sha256::digest(&plain)[..8]));
        Self { content_type: content_type(path), etag, plain, compressed }
    }
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
