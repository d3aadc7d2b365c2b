//! The TLS configuration that a certificate bundle is served with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

/// The suites that are offered, best first; the server's order wins.
const SUITES: [rustls::SupportedCipherSuite; 9] = [
    aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    aws_lc_rs::cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
];

/// The configuration that handshakes use from now on, one for listeners with HTTP/2 and one
/// without. Each handshake takes the current one, so a replacement holds on every port and in
/// every generation from one instant.
#[derive(Debug)]
pub(crate) struct TlsConfigs(ArcSwap<Pair>);

/// The two configurations of one certificate.
#[derive(Debug)]
pub(crate) struct Pair {
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
}

impl TlsConfigs {
    pub(crate) fn new(pair: Pair) -> Self {
        Self(ArcSwap::from_pointee(pair))
    }

    /// Serves `pair` from now on, and gives back what it replaces.
    pub(crate) fn swap(&self, pair: Arc<Pair>) -> Arc<Pair> {
        self.0.swap(pair)
    }

    pub(crate) fn current(&self, http2: bool) -> Arc<ServerConfig> {
        let pair = self.0.load();
        if http2 { pair.http2.clone() } else { pair.http1.clone() }
    }
}

impl Pair {
    /// Makes them with a ticketer and a session store of their own, so that a session that was begun
    /// with another certificate cannot be resumed.
    pub(crate) fn new(key: &Arc<CertifiedKey>) -> Result<Self, rustls::Error> {
        let provider =
            CryptoProvider { cipher_suites: SUITES.to_vec(), ..aws_lc_rs::default_provider() };
        let mut http1 = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
        http1.ignore_client_order = true;
        http1.ticketer = aws_lc_rs::Ticketer::new()?;
        http1.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut http2 = http1.clone();
        http2.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { http2: Arc::new(http2), http1: Arc::new(http1) })
    }
}
