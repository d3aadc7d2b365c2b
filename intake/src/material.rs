//! What one field of the upload holds, before any of it is understood.

use zeroize::Zeroizing;

use super::der::{self, DerError, Items};
use super::error::{CertificateError, Part};
use super::foreign;
use super::kind::Kind;
use super::legacy_pem::LegacyEncryption;
use super::limits::{MAX_BLOCKS, MAX_PART_SIZE};
use super::oid;
use super::pem::{self, Block, PemError};
use super::text;
use super::wrapped;

/// How often base64 may lie in base64.
const MAX_LAYERS: usize = 3;

const WRAPPED_HINT: &str =
    " (it holds base64 text, and what that decodes to is neither; look at it with base64 -d)";

/// A certificate with the words that tell where it stood.
pub(super) struct FoundCertificate {
    pub(super) der: Vec<u8>,
    pub(super) place: String,
}

/// A private key, maybe still under its password.
pub(super) struct FoundKey {
    pub(super) kind: Kind,
    pub(super) der: Zeroizing<Vec<u8>>,
    /// How the text of an old-style PEM block is encrypted.
    pub(super) legacy: Option<LegacyEncryption>,
    /// The curve that an EC PARAMETERS block in front of the key names.
    pub(super) curve: Option<Vec<u8>>,
    pub(super) place: String,
}

/// Everything found in one field.
#[derive(Default)]
pub(super) struct Material {
    pub(super) certificates: Vec<FoundCertificate>,
    pub(super) keys: Vec<FoundKey>,
    /// PKCS#12 files, unopened.
    pub(super) stores: Vec<Zeroizing<Vec<u8>>>,
    /// What else there was.
    pub(super) others: Vec<Kind>,
    /// Whether the order of the certificates is somebody's decision, not a container's.
    pub(super) ordered: bool,
    pub(super) trust_settings_dropped: bool,
    curve: Option<Vec<u8>>,
}

impl Material {
    /// Reads a field.
    pub(super) fn read(bytes: &[u8], part: Part) -> Result<Self, CertificateError> {
        Self::read_layer(bytes, part, 0)
    }

    /// Reads a field, or what was found in `layer` layers of base64.
    fn read_layer(bytes: &[u8], part: Part, layer: usize) -> Result<Self, CertificateError> {
        if bytes.is_empty() {
            return Err(CertificateError::Empty { part });
        }
        if bytes.len() > MAX_PART_SIZE {
            let (size, limit) = (bytes.len(), MAX_PART_SIZE);
            return Err(CertificateError::TooLarge { part, size, limit });
        }
        let mut material = Self { ordered: true, ..Self::default() };
        if text::is_binary_structure(bytes) {
            material.add_structures(bytes, part)?;
            return Ok(material);
        }
        let text = text::decode(bytes);
        if text::is_blank(&text) {
            return Err(CertificateError::Blank { part });
        }
        let blocks = match pem::blocks(&text) {
            Ok(blocks) => blocks,
            Err(PemError::Stray { .. })
                if !text.contains("BEGIN") && !wrapped::values(&text).is_empty() =>
            {
                Vec::new()
            }
            Err(err) => return Err(pem_error(err, part)),
        };
        if blocks.is_empty() {
            material.add_unmarked(bytes, &text, part, layer)?;
        }
        for block in blocks {
            material.add_block(block, part)?;
        }
        Ok(material)
    }

    /// The kind that says best what this field holds, when it is not what was wanted.
    pub(super) fn foremost(&self) -> Kind {
        if !self.stores.is_empty() {
            return Kind::Pkcs12;
        }
        let key = self.keys.first().map(|key| key.kind);
        let certificate = self.certificates.first().map(|_| Kind::Certificate);
        let parameters = |kind: &&Kind| !matches!(kind, Kind::EcParameters | Kind::DhParameters);
        let other = self.others.iter().find(parameters).or_else(|| self.others.first()).copied();
        key.or(certificate).or(other).unwrap_or(Kind::UnknownPem)
    }

    fn add_block(&mut self, block: Block, part: Part) -> Result<(), CertificateError> {
        let promised = Kind::of_label(&block.label);
        let place = format!("the {} block at line {}", block.label, block.line);
        if let Some(legacy) = LegacyEncryption::from_headers(&block.headers) {
            self.keys.push(FoundKey {
                kind: Kind::LegacyEncryptedKey,
                der: block.der,
                legacy: Some(legacy),
                curve: self.curve.take(),
                place,
            });
            return Ok(());
        }
        match promised {
            _ if !promised.is_pem_of_der() => {
                self.others.push(promised);
                Ok(())
            }
            Kind::TrustedCertificate => {
                let (certificate, settings) =
                    der::read(&block.der).map_err(|err| damaged_item(part, &place, err))?;
                self.trust_settings_dropped |= !settings.is_empty();
                self.add_structure(certificate.raw, promised, place, part)
            }
            _ => self.add_structure(&block.der, promised, place, part),
        }
    }

    /// Base64 without BEGIN and END, or something else altogether.
    fn add_unmarked(
        &mut self,
        bytes: &[u8],
        text: &str,
        part: Part,
        layer: usize,
    ) -> Result<(), CertificateError> {
        if let Some(der) = pem::decode_bare(text).filter(|der| text::is_binary_structure(der)) {
            return self.add_structures(&der, part);
        }
        let values = if layer < MAX_LAYERS { wrapped::values(text) } else { Vec::new() };
        if !values.is_empty() && self.add_wrapped(&values, part, layer)? {
            return Ok(());
        }
        match foreign::recognise(bytes, text) {
            Some(found) => {
                self.others.push(found);
                Ok(())
            }
            None if values.is_empty() => {
                Err(CertificateError::NotUnderstood { part, hint: hint(text) })
            }
            None => Err(CertificateError::NotUnderstood { part, hint: Some(WRAPPED_HINT) }),
        }
    }

    /// Takes what lies in base64 once more, as a secret of Kubernetes keeps it; whether there was
    /// something. Other values of a secret mean nothing here and are passed over.
    fn add_wrapped(
        &mut self,
        values: &[Zeroizing<Vec<u8>>],
        part: Part,
        layer: usize,
    ) -> Result<bool, CertificateError> {
        let mut found = false;
        for value in values {
            let inner = match Self::read_layer(value, part, layer + 1) {
                Ok(inner) => inner,
                Err(
                    err @ (CertificateError::DamagedMarker { .. }
                    | CertificateError::UnfinishedBlock { .. }
                    | CertificateError::LabelMismatch { .. }
                    | CertificateError::DamagedText { .. }
                    | CertificateError::TooManyBlocks { .. }),
                ) => return Err(err),
                Err(_) => continue,
            };
            found = true;
            let limit = MAX_BLOCKS;
            if self.certificates.len() + inner.certificates.len() > limit
                || self.keys.len() + inner.keys.len() > limit
            {
                return Err(CertificateError::TooManyBlocks { part, limit });
            }
            self.certificates.extend(inner.certificates);
            self.keys.extend(inner.keys);
            self.stores.extend(inner.stores);
            self.others.extend(inner.others);
            self.ordered &= inner.ordered;
            self.trust_settings_dropped |= inner.trust_settings_dropped;
        }
        Ok(found)
    }

    /// Reads DER items that follow each other, as `cat` of DER files leaves them.
    fn add_structures(&mut self, bytes: &[u8], part: Part) -> Result<(), CertificateError> {
        let mut rest = bytes;
        let mut count = 0;
        loop {
            count += 1;
            if count > MAX_BLOCKS {
                return Err(CertificateError::TooManyBlocks { part, limit: MAX_BLOCKS });
            }
            let place = format!("DER item {count}");
            // Indefinite lengths are BER; only the whole rest can be one such item.
            if rest.get(1) == Some(&0x80) {
                return self.add_structure(rest, Kind::UnknownDer, place, part);
            }
            let (node, after) = der::read(rest).map_err(|err| damaged_item(part, &place, err))?;
            self.add_structure(node.raw, Kind::UnknownDer, place, part)?;
            // Editors and downloads leave a line end or zeros behind.
            if after.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
                return Ok(());
            }
            rest = after;
        }
    }

    /// Files one DER item under what it is; `promised` is what its label says.
    fn add_structure(
        &mut self,
        bytes: &[u8],
        promised: Kind,
        place: String,
        part: Part,
    ) -> Result<(), CertificateError> {
        if bytes.starts_with(&[der::SEQUENCE, 0x80]) {
            let definite =
                der::definite_form(bytes).map_err(|err| damaged_item(part, &place, err))?;
            return self.add_structure(&definite, promised, place, part);
        }
        check_length(bytes).map_err(|reason| CertificateError::DamagedItem {
            part,
            item: place.clone(),
            reason,
        })?;
        let kind = match Kind::of_der(bytes) {
            Kind::UnknownDer => promised,
            // PKCS#1, DH and explicit curve parameters are all short rows of numbers.
            Kind::DhParameters | Kind::RsaPublicKey
                if matches!(promised, Kind::RsaPublicKey | Kind::DhParameters) =>
            {
                promised
            }
            kind => kind,
        };
        match kind {
            Kind::Certificate | Kind::TrustedCertificate => {
                self.certificates.push(FoundCertificate { der: bytes.to_vec(), place });
            }
            Kind::Pkcs12 => self.stores.push(Zeroizing::new(bytes.to_vec())),
            Kind::Pkcs7 => self.add_pkcs7(bytes, &place, part)?,
            Kind::EcParameters => {
                self.curve = Some(bytes.to_vec());
                self.others.push(kind);
            }
            kind if kind.is_private_key() => {
                let der = Zeroizing::new(bytes.to_vec());
                self.keys.push(FoundKey {
                    kind,
                    der,
                    legacy: None,
                    curve: self.curve.take(),
                    place,
                });
            }
            kind => self.others.push(kind),
        }
        Ok(())
    }

    /// Takes the certificates out of a PKCS#7 bag; their order there means nothing.
    fn add_pkcs7(&mut self, bytes: &[u8], place: &str, part: Part) -> Result<(), CertificateError> {
        let before = self.certificates.len();
        let damaged = |err| damaged_item(part, place, err);
        let certificates = pkcs7_certificates(bytes).map_err(damaged)?;
        for (index, certificate) in certificates.into_iter().enumerate() {
            if self.certificates.len() == MAX_BLOCKS {
                return Err(CertificateError::TooManyBlocks { part, limit: MAX_BLOCKS });
            }
            let place = format!("certificate {} in {place}", index + 1);
            self.certificates.push(FoundCertificate { der: certificate.to_vec(), place });
        }
        if self.certificates.len() == before {
            self.others.push(Kind::Pkcs7);
        }
        self.ordered = false;
        Ok(())
    }
}

/// The certificates of a signed-data structure; empty for every other content.
fn pkcs7_certificates(bytes: &[u8]) -> Result<Vec<&[u8]>, DerError> {
    let mut content = der::read(bytes)?.0.children();
    if content.required_tag(der::OBJECT_ID)?.content != oid::PKCS7_SIGNED {
        return Ok(Vec::new());
    }
    let explicit = content.required_tag(0xa0)?;
    let mut signed = Items::of(explicit.content).required_tag(der::SEQUENCE)?.children();
    signed.required_tag(der::INTEGER)?;
    signed.required_tag(der::SET)?;
    signed.required_tag(der::SEQUENCE)?;
    let certificates = signed.optional_tag(0xa0);
    let certificates = certificates.into_iter().flat_map(|set| set.children());
    Ok(certificates.filter(|node| node.tag == der::SEQUENCE).map(|node| node.raw).collect())
}

/// Checks that the outer structure ends exactly where the data ends.
fn check_length(bytes: &[u8]) -> Result<(), String> {
    match der::read(bytes) {
        Ok((_, [])) => Ok(()),
        Ok((_, rest)) => Err(format!("{} bytes follow after its end", rest.len())),
        Err(err) => Err(der_reason(err)),
    }
}

fn der_reason(err: DerError) -> String {
    match err {
        DerError::CutShort { promised, present } => format!(
            "it is cut short, its header announces {promised} bytes and {present} are there"
        ),
        DerError::Malformed => "its bytes are no valid DER".to_owned(),
    }
}

fn damaged_item(part: Part, item: &str, err: DerError) -> CertificateError {
    CertificateError::DamagedItem { part, item: item.to_owned(), reason: der_reason(err) }
}

fn pem_error(err: PemError, part: Part) -> CertificateError {
    match err {
        PemError::TooMany => CertificateError::TooManyBlocks { part, limit: MAX_BLOCKS },
        PemError::Marker { line } => CertificateError::DamagedMarker { part, line },
        PemError::Stray { line } => CertificateError::StrayText { part, line },
        PemError::Unfinished { label, line } => {
            CertificateError::UnfinishedBlock { part, label, line }
        }
        PemError::Mismatch { label, end, line } => {
            CertificateError::LabelMismatch { part, label, end, line }
        }
        PemError::Damaged { label, line, reason } => {
            CertificateError::DamagedText { part, label, line, reason }
        }
    }
}

/// A guess about text without any block.
fn hint(text: &str) -> Option<&'static str> {
    if text.contains("Certificate:") && text.contains("Serial Number") {
        return Some(
            " (it holds the readable print of a certificate; export it again with the PEM block)",
        );
    }
    if text.contains("BEGIN") {
        return Some(" (the BEGIN line is damaged: five dashes belong on both sides)");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Material, CertificateError> {
        Material::read(bytes, Part::Certfile)
    }

    #[test]
    fn emptiness_is_told_apart() {
        let part = Part::Certfile;
        assert_eq!(read(b"").err(), Some(CertificateError::Empty { part }));
        assert_eq!(read(b" \r\n\t\n\0").err(), Some(CertificateError::Blank { part }));
        assert_eq!(
            read(b"hello").err(),
            Some(CertificateError::NotUnderstood { part, hint: None })
        );
    }

    #[test]
    fn size_and_number_are_bounded() {
        assert_eq!(
            read(&vec![b'x'; MAX_PART_SIZE + 1]).err().map(|err| err.code()),
            Some("too-large")
        );
        let block = pem::encode("X509 CRL", &der::write(der::SEQUENCE, &[]));
        assert_eq!(
            read(block.repeat(65).as_bytes()).err().map(|err| err.code()),
            Some("too-many-blocks")
        );
        assert!(read(block.repeat(64).as_bytes()).is_ok());
    }

    #[test]
    fn a_label_that_lies_is_overruled_by_the_structure() {
        let sec1 = der::write(
            der::SEQUENCE,
            &[&der::write(der::INTEGER, &[&[1]]), &der::write(der::OCTET_STRING, &[&[9; 32]])],
        );
        let material = read(pem::encode("PRIVATE KEY", &sec1).as_bytes()).expect("one block");
        assert_eq!(material.keys[0].kind, Kind::EcPrivateKey);
    }
}
