//! Turns uploaded files into a certificate bundle, or says exactly what is wrong with them.
//!
//! Everything here is pure: bytes and the current time go in, a [`Judgement`] or a
//! [`CertificateError`] comes out. No file, socket or clock is touched.
//!
//! The way of an upload:
//!
//! ```text
//! bytes of a field   text (byte order marks, UTF-16)      -> text.rs
//!                    PEM blocks, or DER items             -> pem.rs, kind.rs
//!                    base64 around either                 -> wrapped.rs
//!                    what one field holds                 -> material.rs, sources.rs
//!                    PKCS#12 and encrypted keys opened    -> pkcs12.rs, encryption.rs, legacy_pem.rs
//! private key        checked, made into PKCS#8            -> key.rs, algorithm.rs
//! certificates       parsed, put in order                 -> x509.rs, chain.rs, signature.rs
//! both               matched, judged, described           -> bundle.rs, review.rs, facts.rs
//! ```
//!
//! Key material lives in zeroing buffers from the moment it is decoded, and no error or
//! warning quotes the content of a field: positions, labels and kinds are all they name.

mod algorithm;
mod bundle;
mod chain;
mod der;
mod encryption;
mod error;
mod facts;
mod foreign;
mod key;
mod kind;
mod legacy_pem;
mod limits;
mod material;
mod name;
mod oid;
mod pem;
mod pkcs12;
mod review;
mod signature;
mod sources;
mod text;
mod upload;
mod warning;
mod wrapped;
mod x509;

pub use self::bundle::{CertificateBundle, Judgement};
pub use self::error::{CertificateError, Part};
pub use self::facts::{CertificateFacts, ChainEntry};
pub use self::kind::Kind;
pub use self::upload::{Options, Upload, WaitingKey};
pub use self::warning::Warning;

/// A key as the PEM that the store keeps.
#[must_use]
pub fn private_key_pem(pkcs8: &[u8]) -> zeroize::Zeroizing<String> {
    pem::encode("PRIVATE KEY", pkcs8)
}
