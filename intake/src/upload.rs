//! What is judged, and how.

use std::fmt;

use zeroize::Zeroizing;

/// The fields of the upload form, as they came.
#[derive(Clone, Copy, Default)]
pub struct Upload<'a> {
    /// The private key.
    pub keyfile: Option<&'a [u8]>,
    /// The certificate and its issuers.
    pub certfile: Option<&'a [u8]>,
    /// What opens an encrypted key or a PKCS#12 file.
    pub passphrase: Option<&'a str>,
}

/// How an upload is judged.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// Takes an expired certificate, with a warning.
    pub allow_expired: bool,
    /// Takes a chain that is larger than what common clients take.
    pub allow_large: bool,
    /// Keys made on this appliance whose certificate may arrive alone.
    pub waiting_keys: &'a [WaitingKey],
}

/// A key that was made here for a certificate request.
pub struct WaitingKey {
    /// The name that [`Judgement::waiting_key`](crate::Judgement::waiting_key) gives back.
    pub id: String,
    /// The key as plain PKCS#8 DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for WaitingKey {
    /// Shows the id and hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingKey").field("id", &self.id).finish_non_exhaustive()
    }
}
