//! The entry: an upload goes in, a certificate bundle or the reason against it comes out.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::sign::CertifiedKey;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::algorithm::PublicKey;
use super::chain;
use super::error::{CertificateError, Part};
use super::facts::CertificateFacts;
use super::key::PrivateKey;
use super::kind::Kind;
use super::pem;
use super::review;
use super::sources::{self, Sources};
use super::upload::{Options, Upload};
use super::warning::Warning;
use super::x509::Certificate;

/// A bundle that can be served, with everything the administrator should hear about it.
#[derive(Debug)]
pub struct Judgement {
    /// What will be served.
    pub bundle: CertificateBundle,
    /// What was changed, and what clients may object to.
    pub warnings: Vec<Warning>,
    /// The id of the waiting key that completed the bundle.
    pub waiting_key: Option<String>,
}

/// A leaf with its intermediates and its key, ready to be served.
#[derive(Clone)]
pub struct CertificateBundle {
    facts: Arc<CertificateFacts>,
    certified_key: Arc<CertifiedKey>,
    pkcs8: Arc<Zeroizing<Vec<u8>>>,
}

impl CertificateBundle {
    /// Judges a certificate chain and its unencrypted key.
    ///
    /// # Errors
    ///
    /// Says which of the two is not usable, and why; expired certificates are refused.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        now: OffsetDateTime,
    ) -> Result<Judgement, CertificateError> {
        let upload = Upload { keyfile: Some(key), certfile: Some(certificate), passphrase: None };
        Self::from_upload(&upload, &Options::default(), now)
    }

    /// Judges what an administrator uploaded, in any of the forms that are understood.
    ///
    /// # Errors
    ///
    /// Names the field, what was found in it and what to do; never quotes its content.
    pub fn from_upload(
        upload: &Upload<'_>,
        options: &Options<'_>,
        now: OffsetDateTime,
    ) -> Result<Judgement, CertificateError> {
        let mut sources = sources::gather(upload, options)?;
        let mut warnings = std::mem::take(&mut sources.warnings);
        let certificates = parse_all(&sources)?;
        let certificates = chain::without_duplicates(certificates, &mut warnings);
        let ordered = sources.ordered;
        let matched = match_key(sources, &certificates, now)?;
        let chain = chain::arrange(certificates, matched.leaf, ordered, now);
        warnings.extend(chain.warnings);
        review::review(&chain.certificates, options, now, &mut warnings)?;
        let bundle = Self::new(&chain.certificates, matched.key);
        Ok(Judgement { bundle, warnings, waiting_key: matched.waiting_key })
    }

    /// Judges a pair that was accepted before. One that has expired since, or that an earlier
    /// version took though it is large, is taken: it is what clients know, and the standing
    /// warnings tell.
    ///
    /// # Errors
    ///
    /// The pair is damaged or its halves do not belong together.
    pub fn judge_known(
        certificate: &[u8],
        key: &[u8],
        now: OffsetDateTime,
    ) -> Result<Judgement, CertificateError> {
        let upload = Upload { keyfile: Some(key), certfile: Some(certificate), passphrase: None };
        let options = Options { allow_expired: true, allow_large: true, ..Options::default() };
        Self::from_upload(&upload, &options, now)
    }

    /// What clients may object to at `now`, as an upload of this bundle would be told. Parses: call
    /// it on a blocking thread.
    #[must_use]
    pub fn warnings_at(&self, now: OffsetDateTime) -> Vec<Warning> {
        Self::judge_known(self.certificate_pem().as_bytes(), self.key_pem().as_bytes(), now)
            .map(|judged| judged.warnings)
            .unwrap_or_default()
    }

    fn new(chain: &[Certificate], key: PrivateKey) -> Self {
        let served = chain.iter().map(|link| CertificateDer::from(link.der.clone())).collect();
        Self {
            facts: Arc::new(CertificateFacts::new(chain)),
            certified_key: Arc::new(CertifiedKey::new(served, key.signing)),
            pkcs8: Arc::new(key.pkcs8),
        }
    }

    /// What may be told about the bundle.
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    /// What a TLS listener presents.
    pub fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified_key)
    }

    /// The served certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
    }

    /// The served certificates as PEM, leaf first; holds nothing secret.
    pub fn certificate_pem(&self) -> String {
        self.chain().iter().map(|der| pem::encode("CERTIFICATE", der).to_string()).collect()
    }

    /// The key as unencrypted PKCS#8 in PEM, whatever form it came in.
    pub fn key_pem(&self) -> Zeroizing<String> {
        pem::encode("PRIVATE KEY", &self.pkcs8)
    }
}

impl fmt::Debug for CertificateBundle {
    /// Shows the public facts and hides the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateBundle").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Parses every certificate; one that is damaged is told with its number and place.
fn parse_all(sources: &Sources<'_>) -> Result<Vec<Certificate>, CertificateError> {
    let count = sources.certificates.len();
    let parsed = sources.certificates.iter().enumerate().map(|(index, found)| {
        Certificate::parse(&found.der).map_err(|reason| CertificateError::DamagedItem {
            part: sources.certificate_part,
            item: format!("certificate {} of {count} ({})", index + 1, found.place),
            reason,
        })
    });
    parsed.collect()
}

/// A key with the place of its certificate.
struct Matched {
    key: PrivateKey,
    leaf: usize,
    waiting_key: Option<String>,
}

/// Finds the certificate of the key; it is the leaf, wherever it stands.
fn match_key(
    sources: Sources<'_>,
    certificates: &[Certificate],
    now: OffsetDateTime,
) -> Result<Matched, CertificateError> {
    if !sources.waiting.is_empty() {
        return match_waiting_key(&sources, certificates, now);
    }
    let (key_part, mut keys) = (sources.key_part, sources.keys);
    let matching: Vec<(usize, usize)> = keys
        .iter()
        .enumerate()
        .filter_map(|(index, key)| Some((index, leaf_of(&key.public, certificates, now)?)))
        .collect();
    match matching[..] {
        [] => Err(mismatch(&keys, certificates)),
        [(index, leaf)] => {
            let key = keys.swap_remove(index);
            check_leaf_key(&certificates[leaf], &key, sources.certificate_part)?;
            Ok(Matched { key, leaf, waiting_key: None })
        }
        _ => Err(CertificateError::SeveralKeys { part: key_part, count: matching.len() }),
    }
}

fn match_waiting_key(
    sources: &Sources<'_>,
    certificates: &[Certificate],
    now: OffsetDateTime,
) -> Result<Matched, CertificateError> {
    for waiting in sources.waiting {
        // A waiting key that cannot be read any more belongs to no certificate.
        let key = PrivateKey::read(Kind::PrivateKey, &waiting.pkcs8, None, Part::Keyfile);
        let Ok(key) = key else { continue };
        if let Some(leaf) = leaf_of(&key.public, certificates, now) {
            check_leaf_key(&certificates[leaf], &key, sources.certificate_part)?;
            return Ok(Matched { key, leaf, waiting_key: Some(waiting.id.clone()) });
        }
    }
    Err(CertificateError::NoWaitingKey {
        waiting: sources.waiting.len(),
        certificate: describe(certificates),
    })
}

fn leaf_of(key: &PublicKey, certificates: &[Certificate], now: OffsetDateTime) -> Option<usize> {
    let same = |index: &usize| certificates[*index].key.same_numbers(key);
    let candidates: Vec<usize> = (0..certificates.len()).filter(same).collect();
    chain::best_leaf(certificates, &candidates, now)
}

/// The numbers agree; the certificate may still call the key something that TLS cannot use.
fn check_leaf_key(
    leaf: &Certificate,
    key: &PrivateKey,
    part: Part,
) -> Result<(), CertificateError> {
    leaf.key.kind.check_usable(part)?;
    if leaf.key.kind == key.public.kind {
        return Ok(());
    }
    Err(mismatch(std::slice::from_ref(key), std::slice::from_ref(leaf)))
}

fn mismatch(keys: &[PrivateKey], certificates: &[Certificate]) -> CertificateError {
    let key = match keys {
        [key] => format!("the key is {}", key.public.kind),
        _ => format!("none of the {} keys fits", keys.len()),
    };
    CertificateError::KeyMismatch { key, certificate: describe(certificates) }
}

/// The certificates in a few words: whose they are and for which kind of key.
fn describe(certificates: &[Certificate]) -> String {
    let servers = certificates.iter().find(|certificate| !certificate.is_ca);
    let Some(one) = servers.or_else(|| certificates.first()) else {
        return "there is no certificate".to_owned();
    };
    let (title, kind) = (one.title(), &one.key.kind);
    match certificates.len() {
        1 => format!("the certificate {title} belongs to a different key ({kind})"),
        count => format!(
            "none of the {count} certificates is for it, {title} belongs to a different key ({kind})"
        ),
    }
}
