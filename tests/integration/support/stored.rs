//! The state as it lies on the disk.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certificates::{Bundle, belong_together};

/// `admin` with the password `admin`, as the appliance manual gives it.
pub(crate) const DOCUMENTED_SECRET: &str =
    "YWRtaW46JDJ5JDA1JFExeFBVUFJyRG96LzQwWEZuN09aVHVtV1dzallUeWlhOHo1ZUkvWHpHRUhSUng0dXRyM2UyCg==";

/// The current revision of a data directory.
pub(crate) struct Stored {
    data_dir: PathBuf,
}

impl Stored {
    pub(crate) fn in_data_dir(data_dir: &Path) -> Self {
        Self { data_dir: data_dir.to_owned() }
    }

    pub(crate) fn link(&self) -> PathBuf {
        self.data_dir.join("state/current")
    }

    pub(crate) fn users_file(&self) -> PathBuf {
        self.link().join("management-auth-secret/users")
    }

    pub(crate) fn certificate_file(&self) -> PathBuf {
        self.link().join("tls/tls.crt")
    }

    pub(crate) fn key_file(&self) -> PathBuf {
        self.link().join("tls/tls.key")
    }

    pub(crate) fn insecure_ports_file(&self) -> PathBuf {
        self.link().join("insecure-ports")
    }

    /// The htpasswd line that the secret holds.
    pub(crate) fn htpasswd_line(&self) -> String {
        let secret = std::fs::read_to_string(self.users_file()).expect("the secret");
        let line = STANDARD.decode(secret.trim()).expect("base64");
        String::from_utf8(line).expect("an htpasswd line is text")
    }

    /// Whether plain HTTP is stored as enabled.
    pub(crate) fn insecure_ports(&self) -> bool {
        let text = std::fs::read_to_string(self.insecure_ports_file()).expect("insecure-ports");
        match text.trim() {
            "enabled" => true,
            "disabled" => false,
            other => panic!("insecure-ports holds {other:?}"),
        }
    }

    /// The stored bundle, which must be a pair; none while the default serves.
    pub(crate) fn bundle(&self) -> Option<Bundle> {
        let (certificate, key) = (self.certificate_file(), self.key_file());
        assert_eq!(certificate.exists(), key.exists(), "certificate and key come and go together");
        if !certificate.exists() {
            return None;
        }
        assert!(belong_together(&self.data_dir, &key, &certificate), "the stored pair is mixed");
        Some(Bundle::new(key, certificate))
    }

    /// Everything in the current revision, to see that nothing changed.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let root = std::fs::canonicalize(self.link()).expect("the current revision");
        let mut files = files_below(&root)
            .into_iter()
            .map(|path| {
                let bytes = std::fs::read(&path).expect("a state file");
                (path.display().to_string(), bytes)
            })
            .collect::<Vec<_>>();
        files.sort();
        files
    }

    /// Puts a pair in place by hand, as other tools would.
    pub(crate) fn put_pair(&self, key: &[u8], certificate: &[u8]) {
        std::fs::create_dir_all(self.link().join("tls")).expect("tls folder");
        std::fs::write(self.key_file(), key).expect("write tls.key");
        std::fs::write(self.certificate_file(), certificate).expect("write tls.crt");
    }

    /// Lets `current` point somewhere else.
    pub(crate) fn point_to(&self, target: &str) {
        std::fs::remove_file(self.link()).expect("remove the link");
        symlink(target, self.link()).expect("a new link");
    }
}

/// Every regular file below a folder.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}
