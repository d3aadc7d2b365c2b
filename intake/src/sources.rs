//! Decides which field the key comes from and which one the certificates.

use zeroize::Zeroizing;

use super::encryption::{EncryptionError, Secret};
use super::error::{CertificateError, Part};
use super::key::PrivateKey;
use super::kind::Kind;
use super::limits::{MAX_BLOCKS, MAX_KEYS, WorkBudget};
use super::material::{FoundCertificate, FoundKey, Material};
use super::pkcs12;
use super::upload::{Options, Upload, WaitingKey};
use super::warning::Warning;

const TWO_KEYS: &str = "keyfile holds a private key, certfile a PKCS#12 file with a key of its own";

/// Keys and certificates of an upload, not yet matched.
pub(super) struct Sources<'a> {
    pub(super) keys: Vec<PrivateKey>,
    /// The field that the keys came from.
    pub(super) key_part: Part,
    pub(super) certificates: Vec<FoundCertificate>,
    /// The field that the certificates came from.
    pub(super) certificate_part: Part,
    /// Whether the order of the certificates is somebody's decision.
    pub(super) ordered: bool,
    /// Keys that may complete certificates which came alone.
    pub(super) waiting: &'a [WaitingKey],
    pub(super) warnings: Vec<Warning>,
}

/// Reads both fields and takes from each what it is for.
pub(super) fn gather<'a>(
    upload: &Upload<'_>,
    options: &Options<'a>,
) -> Result<Sources<'a>, CertificateError> {
    let key_field = read(upload.keyfile, Part::Keyfile)?;
    let certificate_field = read(upload.certfile, Part::Certfile)?;
    let mut opener = Opener {
        readings: Secret::readings(upload.passphrase.unwrap_or_default()),
        given: upload.passphrase.is_some_and(|passphrase| !passphrase.is_empty()),
        budget: WorkBudget::new(),
        used: false,
    };
    let mut sources = match (key_field, certificate_field) {
        (Ok(key), Ok(certificate)) => from_both(key, certificate, &mut opener),
        (Ok(key), Err(missing)) => from_keyfile(key, missing, &mut opener),
        (Err(missing), Ok(certificate)) => {
            from_certfile(certificate, missing, options.waiting_keys, &mut opener)
        }
        (Err(CertificateError::Missing { .. }), Err(CertificateError::Missing { .. })) => {
            Err(CertificateError::Missing { part: Part::Both })
        }
        (Err(CertificateError::Missing { .. }), Err(nothing)) | (Err(nothing), Err(_)) => {
            Err(nothing)
        }
    }?;
    if opener.given && !opener.used {
        let message = "a passphrase was sent, but nothing in the upload is encrypted";
        sources.warnings.push(Warning::new("passphrase-unused", message));
    }
    Ok(sources)
}

/// The content of a field, or inside the inner result why there is none.
fn read(
    field: Option<&[u8]>,
    part: Part,
) -> Result<Result<Material, CertificateError>, CertificateError> {
    let Some(bytes) = field else { return Ok(Err(CertificateError::Missing { part })) };
    match Material::read(bytes, part) {
        // A browser sends an unused file field as an empty file.
        Err(err @ (CertificateError::Empty { .. } | CertificateError::Blank { .. })) => {
            Ok(Err(err))
        }
        other => other.map(Ok),
    }
}

fn from_both<'a>(
    mut key: Material,
    mut certificate: Material,
    opener: &mut Opener,
) -> Result<Sources<'a>, CertificateError> {
    match (key.stores.is_empty(), certificate.stores.is_empty()) {
        (true, true) => {}
        (false, false) if key.stores == certificate.stores => {
            let missing =
                CertificateError::WrongContent { part: Part::Keyfile, found: Kind::Pkcs12 };
            return from_certfile(certificate, missing, &[], opener);
        }
        (false, false) => return Err(disagree("both hold PKCS#12 files, and these differ")),
        // A file that turns out to hold no key is as good as a chain.
        (true, false) if !key.keys.is_empty() && opener.given => {
            let opened = opener.open_stores(&mut certificate, Part::Certfile);
            if opened.is_err() || !certificate.keys.is_empty() {
                return Err(disagree(TWO_KEYS));
            }
        }
        (true, false) if !key.keys.is_empty() => return Err(disagree(TWO_KEYS)),
        (true, false) => return Err(wrong_content(Part::Keyfile, &key)),
        (false, true) if certificate.certificates.is_empty() && !certificate.keys.is_empty() => {
            return Err(disagree("keyfile holds a PKCS#12 file, certfile a private key"));
        }
        (false, true) => opener.open_stores(&mut key, Part::Keyfile)?,
    }
    let swapped = key.keys.is_empty()
        && !key.certificates.is_empty()
        && certificate.certificates.is_empty()
        && !certificate.keys.is_empty();
    if swapped {
        return Err(CertificateError::Swapped {
            key_field: key.foremost().to_string(),
            certificate_field: certificate.foremost().to_string(),
        });
    }
    if key.keys.is_empty() {
        return Err(wrong_content(Part::Keyfile, &key));
    }
    if certificate.certificates.is_empty() {
        return Err(wrong_content(Part::Certfile, &certificate));
    }
    let keys = opener.open_keys(std::mem::take(&mut key.keys), Part::Keyfile)?;
    certificate.keys.clear();
    Ok(Sources::new(keys, Part::Keyfile, certificate, Part::Certfile))
}

/// The certificate field came alone: with its own key, or for a key that waits here.
fn from_certfile<'a>(
    mut field: Material,
    missing: CertificateError,
    waiting: &'a [WaitingKey],
    opener: &mut Opener,
) -> Result<Sources<'a>, CertificateError> {
    let from_store = !field.stores.is_empty();
    opener.open_stores(&mut field, Part::Certfile)?;
    if field.certificates.is_empty() {
        return Err(wrong_content(Part::Certfile, &field));
    }
    if !field.keys.is_empty() {
        let keys = opener.open_keys(std::mem::take(&mut field.keys), Part::Certfile)?;
        return Ok(Sources::new(keys, Part::Certfile, field, Part::Certfile));
    }
    if waiting.is_empty() && from_store {
        return Err(CertificateError::StoreWithoutKey { part: Part::Certfile });
    }
    if waiting.is_empty() {
        return Err(missing);
    }
    Ok(Sources { waiting, ..Sources::new(Vec::new(), Part::Keyfile, field, Part::Certfile) })
}

/// The key field came alone, which is enough when the certificates are in it.
fn from_keyfile<'a>(
    mut field: Material,
    missing: CertificateError,
    opener: &mut Opener,
) -> Result<Sources<'a>, CertificateError> {
    opener.open_stores(&mut field, Part::Keyfile)?;
    if field.keys.is_empty() {
        return Err(wrong_content(Part::Keyfile, &field));
    }
    if field.certificates.is_empty() {
        return Err(missing);
    }
    let keys = opener.open_keys(std::mem::take(&mut field.keys), Part::Keyfile)?;
    Ok(Sources::new(keys, Part::Keyfile, field, Part::Keyfile))
}

impl Sources<'_> {
    fn new(keys: Vec<PrivateKey>, key_part: Part, field: Material, certificate_part: Part) -> Self {
        let mut warnings = Vec::new();
        if field.trust_settings_dropped {
            let message = "the trust settings behind a TRUSTED CERTIFICATE are left out";
            warnings.push(Warning::new("trust-settings-dropped", message));
        }
        let Material { certificates, ordered, .. } = field;
        Self { keys, key_part, certificates, certificate_part, ordered, waiting: &[], warnings }
    }
}

fn disagree(reason: &'static str) -> CertificateError {
    CertificateError::KeySourcesDisagree { reason }
}

fn wrong_content(part: Part, field: &Material) -> CertificateError {
    CertificateError::WrongContent { part, found: field.foremost() }
}

/// Opens what a passphrase protects.
struct Opener {
    readings: Vec<Secret>,
    /// Whether a passphrase was sent.
    given: bool,
    budget: WorkBudget,
    /// Whether it opened something.
    used: bool,
}

impl Opener {
    /// Moves the content of PKCS#12 files in among the other items.
    fn open_stores(&mut self, field: &mut Material, part: Part) -> Result<(), CertificateError> {
        for store in std::mem::take(&mut field.stores) {
            let opened = pkcs12::open(&store, &self.readings, &mut self.budget)
                .map_err(|err| self.refusal(err, part, Kind::Pkcs12, "the PKCS#12 file"))?;
            self.used = true;
            field.ordered = false;
            let limit = MAX_BLOCKS;
            if field.certificates.len() + opened.certificates.len() > limit
                || field.keys.len() + opened.keys.len() > limit
            {
                return Err(CertificateError::TooManyBlocks { part, limit });
            }
            if opened.keys.is_empty() && opened.certificates.is_empty() {
                field.others.push(Kind::Pkcs12);
            }
            field.keys.extend(opened.keys.into_iter().map(|der| FoundKey {
                kind: Kind::PrivateKey,
                der,
                legacy: None,
                curve: None,
                place: "the key in the PKCS#12 file".to_owned(),
            }));
            let place = |index| format!("certificate {} in the PKCS#12 file", index + 1);
            field.certificates.extend(
                opened
                    .certificates
                    .into_iter()
                    .enumerate()
                    .map(|(index, der)| FoundCertificate { der, place: place(index) }),
            );
        }
        Ok(())
    }

    /// All keys that can be used; the first reason when there is none.
    fn open_keys(
        &mut self,
        found: Vec<FoundKey>,
        part: Part,
    ) -> Result<Vec<PrivateKey>, CertificateError> {
        if found.len() > MAX_KEYS {
            return Err(CertificateError::TooManyKeys { part, limit: MAX_KEYS });
        }
        let mut keys: Vec<PrivateKey> = Vec::new();
        let mut refusal = None;
        for key in found {
            match self.open_key(&key, part) {
                Ok(key) if keys.iter().any(|other| other.public == key.public) => {}
                Ok(key) => keys.push(key),
                Err(err) => refusal = refusal.or(Some(err)),
            }
        }
        match refusal {
            Some(err) if keys.is_empty() => Err(err),
            _ => Ok(keys),
        }
    }

    fn open_key(&mut self, key: &FoundKey, part: Part) -> Result<PrivateKey, CertificateError> {
        if !matches!(key.kind, Kind::EncryptedKey | Kind::LegacyEncryptedKey) {
            return PrivateKey::read(key.kind, &key.der, key.curve.as_deref(), part);
        }
        if !self.given {
            return Err(CertificateError::PassphraseNeeded { part, found: key.kind });
        }
        let (kind, plain) =
            self.decrypt(key).map_err(|err| self.refusal(err, part, key.kind, &key.place))?;
        self.used = true;
        PrivateKey::read(kind, &plain, key.curve.as_deref(), part)
    }

    /// Decrypts a key with the first reading of the passphrase that yields one.
    fn decrypt(&mut self, key: &FoundKey) -> Result<(Kind, Zeroizing<Vec<u8>>), EncryptionError> {
        for secret in &self.readings {
            let plain = match &key.legacy {
                Some(legacy) => legacy.decrypt(&key.der, secret),
                None => pkcs12::decrypt_pkcs8(&key.der, secret, &mut self.budget),
            };
            let plain = match plain {
                Ok(plain) => plain,
                Err(EncryptionError::WrongPassphrase) => continue,
                Err(err) => return Err(err),
            };
            // A wrong passphrase passes the padding once in 256 times and yields noise.
            let kind = Kind::of_der(&plain);
            if kind.is_private_key() && kind != Kind::EncryptedKey {
                return Ok((kind, plain));
            }
        }
        Err(EncryptionError::WrongPassphrase)
    }

    fn refusal(
        &self,
        err: EncryptionError,
        part: Part,
        found: Kind,
        item: &str,
    ) -> CertificateError {
        match err {
            EncryptionError::WrongPassphrase if self.given => {
                CertificateError::WrongPassphrase { part, found }
            }
            EncryptionError::WrongPassphrase => CertificateError::PassphraseNeeded { part, found },
            EncryptionError::Unsupported(scheme) => {
                CertificateError::UnsupportedEncryption { part, scheme }
            }
            EncryptionError::TooMuchWork { asked, limit } => {
                CertificateError::TooMuchWork { part, asked, limit }
            }
            EncryptionError::Malformed => CertificateError::DamagedItem {
                part,
                item: item.to_owned(),
                reason: "its parts are not where they belong".to_owned(),
            },
        }
    }
}
