use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use std::sync::Arc;
use zeroize::Zeroizing;
#[derive(Clone)]
pub struct CertificateBundle {
    key: Arc<CertifiedKey>,
    cert_pem: String,
    key_pem: Zeroizing<String>,
    facts: Arc<CertificateFacts>,
}
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CertificateError(String);
#[derive(Clone, serde::Serialize)]
pub struct CertificateFacts {
    pub fingerprint_sha256: String,
    pub subject: String,
}
impl CertificateBundle {
    pub fn from_stored(c: &[u8], k: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = rustls_pemfile::certs(&mut &*c)
            .collect::<Result<_, _>>()
            .map_err(|e| CertificateError(e.to_string()))?;
        let key: PrivateKeyDer<'static> = rustls_pemfile::private_key(&mut &*k)
            .map_err(|e| CertificateError(e.to_string()))?
            .ok_or_else(|| CertificateError("no key".into()))?;
        let fp = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &chain[0]);
        let fp = fp.as_ref().iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":");
        let ck = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|e| CertificateError(e.to_string()))?;
        Ok(Self {
            key: Arc::new(ck),
            cert_pem: String::from_utf8_lossy(c).into(),
            key_pem: Zeroizing::new(String::from_utf8_lossy(k).into()),
            facts: Arc::new(CertificateFacts { fingerprint_sha256: fp, subject: "x".into() }),
        })
    }
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }
    pub fn certificate_pem(&self) -> String {
        self.cert_pem.clone()
    }
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key_pem.clone()
    }
}

pub struct Upload<'a> {
    pub keyfile: Option<&'a [u8]>,
    pub certfile: Option<&'a [u8]>,
    pub passphrase: Option<&'a str>,
}
#[derive(Default)]
pub struct Options<'a> {
    pub allow_expired: bool,
    pub waiting_keys: &'a [u8],
}
#[derive(serde::Serialize)]
pub struct Warning {
    pub code: &'static str,
    pub message: String,
}
pub struct Judgement {
    pub bundle: CertificateBundle,
    pub warnings: Vec<Warning>,
}
impl CertificateBundle {
    pub fn from_upload(
        u: &Upload,
        _o: &Options,
        _now: time::OffsetDateTime,
    ) -> Result<Judgement, CertificateError> {
        Ok(Judgement {
            bundle: Self::from_stored(u.certfile.unwrap_or(b""), u.keyfile.unwrap_or(b""))?,
            warnings: vec![],
        })
    }
}
