//! Certificates that arrive as files, kept up to date as other programs do it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::certificates::Bundle;

/// The `[tls]` table that lets the service follow two files.
pub(crate) fn watch_settings(certificate: &Path, key: &Path) -> String {
    format!(
        "[tls]\nwatch = {{ certificate = \"{}\", key = \"{}\" }}",
        certificate.display(),
        key.display()
    )
}

fn folder(prefix: &str) -> TempDir {
    tempfile::Builder::new().prefix(prefix).tempdir().expect("tempdir")
}

/// Two plain files that somebody writes in place.
pub(crate) struct PlainFiles {
    folder: TempDir,
}

impl PlainFiles {
    /// A folder without the files.
    pub(crate) fn empty() -> Self {
        Self { folder: folder("portcullis-files-") }
    }

    pub(crate) fn holding(bundle: &Bundle) -> Self {
        let files = Self::empty();
        files.write(bundle);
        files
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }

    pub(crate) fn settings(&self) -> String {
        watch_settings(&self.certificate(), &self.key())
    }

    /// Puts something else in the place of the key, in one step.
    pub(crate) fn replace_key(&self, text: &str) {
        let fresh = self.folder.path().join("server.key.new");
        fs::write(&fresh, text).expect("write the key");
        fs::rename(fresh, self.key()).expect("put the key in place");
    }

    /// Writes both files in place.
    pub(crate) fn write(&self, bundle: &Bundle) {
        fs::copy(&bundle.key, self.key()).expect("write the key");
        fs::copy(&bundle.chain, self.certificate()).expect("write the certificate");
    }
}

/// certbot's folders: the links in `live/` point to numbered files in `archive/`.
pub(crate) struct Certbot {
    folder: TempDir,
    number: u32,
}

impl Certbot {
    pub(crate) fn holding(bundle: &Bundle) -> Self {
        let mut certbot = Self { folder: folder("portcullis-certbot-"), number: 0 };
        for name in ["archive/box", "live/box"] {
            fs::create_dir_all(certbot.folder.path().join(name)).expect("a folder");
        }
        certbot.renew(bundle);
        certbot
    }

    fn link(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("live/box/{name}.pem"))
    }

    pub(crate) fn settings(&self) -> String {
        watch_settings(&self.link("fullchain"), &self.link("privkey"))
    }

    /// A renewal: new files, then one link after the other.
    pub(crate) fn renew(&mut self, bundle: &Bundle) {
        self.archive(bundle);
        self.swap("privkey");
        self.swap("fullchain");
    }

    /// The new files, to which nothing points yet.
    pub(crate) fn archive(&mut self, bundle: &Bundle) {
        self.number += 1;
        for (name, file) in [("privkey", &bundle.key), ("fullchain", &bundle.chain)] {
            let archived = format!("archive/box/{name}{}.pem", self.number);
            fs::copy(file, self.folder.path().join(archived)).expect("write the new file");
        }
    }

    /// Lets one link point to the newest file: certbot removes it and makes it again.
    pub(crate) fn swap(&self, name: &str) {
        let link = self.link(name);
        let _ = fs::remove_file(&link);
        let target = format!("../../archive/box/{name}{}.pem", self.number);
        symlink(target, link).expect("a new link");
    }
}

/// A mounted Kubernetes secret: the files are links through `..data`, which is renamed over.
pub(crate) struct MountedSecret {
    folder: TempDir,
    number: u32,
}

impl MountedSecret {
    pub(crate) fn holding(bundle: &Bundle) -> Self {
        let mut secret = Self { folder: folder("portcullis-secret-"), number: 0 };
        secret.update(bundle);
        for name in ["tls.crt", "tls.key"] {
            symlink(format!("..data/{name}"), secret.path(name)).expect("a link");
        }
        secret
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn settings(&self) -> String {
        watch_settings(&self.path("tls.crt"), &self.path("tls.key"))
    }

    /// What kubelet does: a new folder, a new link, one rename, and the old folder goes.
    pub(crate) fn update(&mut self, bundle: &Bundle) {
        self.number += 1;
        let name = |number: u32| format!("..2026_01_01_00_00_00.{number}");
        let fresh = self.path(&name(self.number));
        fs::create_dir(&fresh).expect("a folder");
        fs::copy(&bundle.chain, fresh.join("tls.crt")).expect("write the certificate");
        fs::copy(&bundle.key, fresh.join("tls.key")).expect("write the key");
        symlink(name(self.number), self.path("..data_tmp")).expect("a link");
        fs::rename(self.path("..data_tmp"), self.path("..data")).expect("swap the link");
        let old = self.path(&name(self.number - 1));
        if old.exists() {
            fs::remove_dir_all(old).expect("remove the old folder");
        }
    }
}
