//! What must never be found anywhere: keys, passwords and tokens in the forms they could take.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;

use super::openssl::openssl;
use super::uploads::hex;

/// Bytes to look for, and what they are.
#[derive(Clone, Debug)]
pub(crate) struct Needle {
    what: String,
    bytes: Vec<u8>,
}

/// The secrets of a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Needles(Vec<Needle>);

impl Needles {
    fn add(&mut self, what: &str, bytes: impl Into<Vec<u8>>) {
        self.0.push(Needle { what: what.to_owned(), bytes: bytes.into() });
    }

    /// A password: plain, and as it travels.
    pub(crate) fn password(mut self, password: &str) -> Self {
        self.add(&format!("the password {password}"), password);
        let travelling = STANDARD.encode(format!("admin:{password}"));
        self.add(&format!("the base64 of admin:{password}"), travelling);
        // Three positions that the first byte can have in its group of three, less the edges.
        for skipped in 0..3 {
            let padded = STANDARD.encode([&b"xxx"[..skipped], password.as_bytes()].concat());
            let inner = padded[4..].trim_end_matches('=');
            let inner = &inner[..inner.len() - 1];
            self.add(&format!("base64 of the password {password}"), inner);
        }
        self
    }

    /// A token, or anything else that is compared as it stands.
    pub(crate) fn token(mut self, token: &str) -> Self {
        self.add(&format!("the token {token}"), token);
        self.add(
            &format!("base64 of the token {token}"),
            STANDARD.encode(token).trim_end_matches('='),
        );
        self
    }

    /// The lines of a key file, those of its canonical form, and its secret bytes. What only
    /// tells the public half, which certificates repeat, is left out.
    pub(crate) fn key(mut self, file: &Path) -> Self {
        let name = file.display().to_string();
        let folder = file.parent().expect("a key lies in a folder");
        let as_it_is = std::fs::read_to_string(file).expect("a key file");
        let canonical = openssl(folder, &["pkcs8", "-topk8", "-nocrypt", "-in", &name]);
        let traditional = openssl(folder, &["pkey", "-traditional", "-in", &name]);
        for text in [as_it_is, canonical.clone(), traditional] {
            let lines = text.lines().filter(|line| line.len() == 64).collect::<Vec<_>>();
            // The modulus of an RSA key fills the first lines of it.
            let public = if lines.len() > 12 { 7 } else { 0 };
            for line in &lines[public..] {
                self.add(&format!("a line of {name}"), *line);
            }
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(canonical.as_bytes()).expect("PKCS#8");
        let der = der.secret_pkcs8_der();
        // The last number of an RSA key, and the only one of an elliptic key.
        let secret =
            if der.len() > 512 { &der[der.len() - 48..der.len() - 16] } else { &der[36..68] };
        self.add(&format!("bytes of {name}"), secret);
        self.add(&format!("hexadecimal bytes of {name}"), hex(secret));
        let listed = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        self.add(&format!("listed bytes of {name}"), listed);
        self
    }

    /// Names everything that is found.
    pub(crate) fn found_in(&self, haystack: &[u8]) -> Vec<String> {
        let found = self.0.iter().filter(|needle| contains(haystack, &needle.bytes));
        found.map(|needle| needle.what.clone()).collect()
    }

    /// Fails when anything is found.
    #[track_caller]
    pub(crate) fn not_in(&self, place: &str, haystack: &[u8]) {
        assert!(!self.0.is_empty(), "nothing to look for");
        let found = self.found_in(haystack);
        assert!(found.is_empty(), "in {place}: {found:?}");
    }
}

/// Whether the bytes occur somewhere; quick enough for long logs.
fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = needle.split_first().expect("a needle has bytes");
    let mut from = 0;
    while let Some(at) = haystack[from..].iter().position(|byte| byte == first) {
        from += at + 1;
        if haystack[from..].starts_with(rest) {
            return true;
        }
    }
    false
}
