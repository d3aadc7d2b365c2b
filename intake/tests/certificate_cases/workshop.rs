//! Makes the files of the cases with the openssl command line, in a folder of its own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A small certificate authority and shell helpers; every case runs after it.
const GROUND: &str = r#"
for k in root int leaf; do openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out $k.key; done
cat > x.cnf <<X
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[leaf]
basicConstraints=critical,CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=DNS:appliance.example.test,DNS:localhost,IP:127.0.0.1
X
openssl req -new -key root.key -subj '/CN=Example Test Root' -out r.csr
openssl x509 -req -in r.csr -days 3000 -signkey root.key -extfile x.cnf -extensions ca -out root.crt
iss int.crt int.key '/CN=Example Test Issuing' ca root.crt root.key
iss leaf.crt leaf.key /CN=appliance.example.test leaf int.crt int.key
cat leaf.crt int.crt > chain.crt
openssl ecparam -name prime256v1 -genkey -out ec.key
openssl req -x509 -key ec.key -subj /CN=appliance.example.test -addext subjectAltName=DNS:appliance.example.test -days 900 -out ec.crt
"#;

/// Functions that the scripts use.
const HELPERS: &str = r#"
iss() { openssl req -new -key $2 -subj "$3" -out r.csr; openssl x509 -req -in r.csr -days ${DAYS:-3000} -set_serial 0x1$RANDOM -CA $5 -CAkey $6 -extfile x.cnf -extensions $4 ${HASH:--sha256} -out $1; }
self() { openssl req -x509 -key $1 -subj /CN=appliance.example.test -days 900 -addext subjectAltName=DNS:appliance.example.test -out $2; }
dated() { mkdir -p ca; : > ca/index; echo 01 > ca/serial; printf '%s\n' '[ca]' default_ca=d '[d]' database=ca/index serial=ca/serial new_certs_dir=ca default_md=sha256 policy=p unique_subject=no x509_extensions=e '[p]' commonName=supplied '[e]' subjectAltName=DNS:appliance.example.test > ca.cnf
openssl req -new -key ${4:-leaf.key} -subj ${5:-/CN=appliance.example.test} -out t.csr; openssl ca -batch -notext -config ca.cnf -in t.csr -cert ${6:-int.crt} -keyfile ${7:-int.key} -startdate $2 -enddate $3 -out $1; }
many() { (echo '[many]'; echo basicConstraints=critical,CA:FALSE; printf subjectAltName=DNS:localhost; for i in $(seq $1); do printf ',DNS:h%05d.example.test' $i; done; echo) | cat x.cnf - > many.cnf
openssl req -new -key leaf.key -subj /CN=localhost -out r.csr; openssl x509 -req -in r.csr -days 300 -set_serial 0x17 -CA int.crt -CAkey int.key -extfile many.cnf -extensions many -out $2; cat int.crt >> $2; }
day() { date -u -d "$1" +%Y%m%d%H%M%SZ; }
"#;

pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn open() -> Self {
        let workshop = Self { folder: TempDir::new().expect("a temporary folder") };
        workshop.run(GROUND);
        workshop
    }

    /// Runs a script in the folder; every command in it has to succeed.
    pub(crate) fn run(&self, script: &str) {
        let output = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c", &format!("{HELPERS}\n{script}")])
            .current_dir(self.folder.path())
            .env("RANDFILE", self.path().join(".rnd"))
            .output()
            .expect("bash");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "script failed: {script}\n{errors}");
    }

    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap_or_else(|err| panic!("{name}: {err}"))
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.path().join(name), content).expect("a file in the folder");
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}
