//! Certificates made on the spot with the openssl command line.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tempfile::TempDir;

use super::openssl::openssl;
use super::tls::fingerprint;

const EXTENSIONS: &str = "\
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
[leaf]
basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=DNS:appliance.example.test,DNS:localhost,IP:127.0.0.1
[dated]
database=index.txt
new_certs_dir=.
rand_serial=yes
default_md=sha256
policy=any
[any]
commonName=supplied
";

/// What kind of key a leaf has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyKind {
    Rsa,
    Ec,
}

/// A private key and its certificate chain, leaf first.
#[derive(Clone, Debug)]
pub(crate) struct Bundle {
    pub(crate) key: PathBuf,
    pub(crate) chain: PathBuf,
    /// SHA-256 of the leaf as `AB:CD:..`.
    pub(crate) fingerprint: String,
}

impl Bundle {
    pub(crate) fn new(key: PathBuf, chain: PathBuf) -> Self {
        let leaf = CertificateDer::from_pem_file(&chain).expect("a certificate");
        Self { key, chain, fingerprint: fingerprint(&leaf) }
    }

    /// `keyfile=@...`, as curl takes it.
    pub(crate) fn keyfile(&self) -> String {
        format!("keyfile=@{}", self.key.display())
    }

    /// `certfile=@...`, as curl takes it.
    pub(crate) fn certfile(&self) -> String {
        format!("certfile=@{}", self.chain.display())
    }
}

/// A root, an intermediate that issues, and a folder to work in.
pub(crate) struct CertificateAuthority {
    dir: TempDir,
}

impl CertificateAuthority {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("portcullis-ca-").tempdir().expect("tempdir");
        std::fs::write(dir.path().join("x.cnf"), EXTENSIONS).expect("write x.cnf");
        let authority = Self { dir };
        authority.make_key("root.key", KeyKind::Ec);
        authority.run("req -new -key root.key -subj /CN=Example-Test-Root -out root.csr");
        authority.run(
            "x509 -req -in root.csr -days 3000 -signkey root.key -extfile x.cnf -extensions ca -out root.crt",
        );
        authority.make_key("int.key", KeyKind::Ec);
        authority.run("req -new -key int.key -subj /CN=Example-Test-Issuing -out int.csr");
        authority.run(
            "x509 -req -in int.csr -days 3000 -CA root.crt -CAkey root.key -CAcreateserial -extfile x.cnf -extensions ca -out int.crt",
        );
        authority
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The root alone, for clients that verify.
    pub(crate) fn root(&self) -> PathBuf {
        self.file("root.crt")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs openssl in the folder; arguments are separated by blanks.
    pub(crate) fn run(&self, arguments: &str) {
        openssl(self.path(), &arguments.split(' ').collect::<Vec<_>>());
    }

    pub(crate) fn make_key(&self, name: &str, kind: KeyKind) {
        let kind = match kind {
            KeyKind::Rsa => "RSA -pkeyopt rsa_keygen_bits:2048",
            KeyKind::Ec => "EC -pkeyopt ec_paramgen_curve:prime256v1",
        };
        self.run(&format!("genpkey -algorithm {kind} -out {name}"));
    }

    /// Pair A has an RSA key.
    pub(crate) fn pair_a(&self) -> Bundle {
        self.issue("pair-a", KeyKind::Rsa)
    }

    /// Pair B has an EC key, so that a mix with pair A cannot work.
    pub(crate) fn pair_b(&self) -> Bundle {
        self.issue("pair-b", KeyKind::Ec)
    }

    /// A leaf with a key of its own, and the intermediate after it.
    pub(crate) fn issue(&self, name: &str, kind: KeyKind) -> Bundle {
        self.make_key(&format!("{name}.key"), kind);
        self.request(name, name);
        self.sign(name, name);
        self.bundle(name, name)
    }

    /// Many leaves for one key, each with a fingerprint of its own.
    pub(crate) fn series(&self, count: usize) -> Vec<Bundle> {
        self.make_key("series.key", KeyKind::Ec);
        self.request("series", "series");
        let names = (0..count).map(|number| format!("series-{number}"));
        names
            .map(|name| {
                self.sign("series", &name);
                self.bundle("series", &name)
            })
            .collect()
    }

    /// A leaf whose time is over.
    pub(crate) fn expired(&self) -> Bundle {
        self.make_key("expired.key", KeyKind::Rsa);
        self.request("expired", "expired");
        std::fs::write(self.file("index.txt"), "").expect("write index.txt");
        self.run(
            "ca -batch -config x.cnf -name dated -startdate 20200101000000Z -enddate 20210101000000Z -notext -in expired.csr -out expired.leaf.crt -cert int.crt -keyfile int.key -extensions leaf",
        );
        self.bundle("expired", "expired")
    }

    /// A leaf for a request that somebody else has made, and the intermediate after it. The key
    /// file that the bundle names does not exist.
    pub(crate) fn certify(&self, csr: &str, name: &str) -> Bundle {
        std::fs::write(self.file(&format!("{name}.csr")), csr).expect("write the request");
        self.sign(name, name);
        self.bundle(name, name)
    }

    fn request(&self, key: &str, name: &str) {
        self.run(&format!("req -new -key {key}.key -subj /CN={name}.example.test -out {name}.csr"));
    }

    fn sign(&self, request: &str, name: &str) {
        self.run(&format!(
            "x509 -req -in {request}.csr -days 3000 -CA int.crt -CAkey int.key -CAcreateserial -extfile x.cnf -extensions leaf -out {name}.leaf.crt"
        ));
    }

    /// Puts the intermediate behind the leaf.
    fn bundle(&self, key: &str, name: &str) -> Bundle {
        let read = |file: &str| std::fs::read_to_string(self.file(file)).expect("a certificate");
        let chain = read(&format!("{name}.leaf.crt")) + &read("int.crt");
        let file = self.file(&format!("{name}.crt"));
        std::fs::write(&file, chain).expect("write the chain");
        Bundle::new(self.file(&format!("{key}.key")), file)
    }
}

/// Whether the key of a stored pair belongs to its certificate.
pub(crate) fn belong_together(folder: &Path, key: &Path, certificate: &Path) -> bool {
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let of_key = openssl(folder, &["pkey", "-pubout", "-in", &text(key)]);
    let of_certificate = openssl(folder, &["x509", "-pubkey", "-noout", "-in", &text(certificate)]);
    of_key == of_certificate
}
