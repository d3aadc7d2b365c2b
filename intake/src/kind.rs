//! What a piece of an upload is: told from its structure, because labels and names lie.

use std::fmt;

use super::der::{self, Items, Node};
use super::oid;

/// Everything that people put into a certificate form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An X.509 certificate.
    Certificate,
    /// A certificate with OpenSSL's trust settings behind it.
    TrustedCertificate,
    /// A PKCS#10 certificate request.
    Csr,
    /// A certificate revocation list.
    Crl,
    /// A private key as PKCS#8.
    PrivateKey,
    /// A private key as PKCS#1.
    RsaPrivateKey,
    /// A private key as SEC1.
    EcPrivateKey,
    /// A DSA private key.
    DsaPrivateKey,
    /// A private key as PKCS#8 under a password.
    EncryptedKey,
    /// A private key in PEM whose text is encrypted (`Proc-Type: 4,ENCRYPTED`).
    LegacyEncryptedKey,
    /// A public key.
    PublicKey,
    /// A public key as PKCS#1.
    RsaPublicKey,
    /// A PKCS#12 (PFX) file.
    Pkcs12,
    /// A PKCS#7 (P7B) bag.
    Pkcs7,
    /// Diffie-Hellman parameters.
    DhParameters,
    /// The name or the parameters of a curve.
    EcParameters,
    /// A private key of OpenSSH.
    OpenSshKey,
    /// A public key of OpenSSH.
    SshPublicKey,
    /// A private key of PuTTY.
    PuttyKey,
    /// Anything of PGP.
    Pgp,
    /// A key as JSON.
    Jwk,
    /// A Java keystore.
    JavaKeystore,
    /// A ZIP, gzip or other archive.
    Archive,
    /// A PDF document.
    Pdf,
    /// A page of HTML.
    HtmlText,
    /// XML text.
    XmlText,
    /// JSON text.
    JsonText,
    /// One line that looks like the name of a file.
    FileName,
    /// A PEM block whose label says nothing here.
    UnknownPem,
    /// A DER structure of no known kind.
    UnknownDer,
}

impl Kind {
    /// Whether it is a private key that the intake tries to read.
    pub(super) fn is_private_key(self) -> bool {
        matches!(
            self,
            Self::PrivateKey
                | Self::RsaPrivateKey
                | Self::EcPrivateKey
                | Self::DsaPrivateKey
                | Self::EncryptedKey
                | Self::LegacyEncryptedKey
        )
    }

    /// Whether a block with the label of this kind holds DER and is worth decoding.
    pub(super) fn is_pem_of_der(self) -> bool {
        !matches!(self, Self::OpenSshKey | Self::Pgp | Self::UnknownPem)
    }

    /// The kind that a PEM label promises.
    pub(super) fn of_label(label: &str) -> Self {
        match label {
            "CERTIFICATE" | "X509 CERTIFICATE" => Self::Certificate,
            "TRUSTED CERTIFICATE" => Self::TrustedCertificate,
            "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Self::Csr,
            "X509 CRL" => Self::Crl,
            "PRIVATE KEY" | "ANY PRIVATE KEY" => Self::PrivateKey,
            "RSA PRIVATE KEY" => Self::RsaPrivateKey,
            "EC PRIVATE KEY" => Self::EcPrivateKey,
            "DSA PRIVATE KEY" => Self::DsaPrivateKey,
            "ENCRYPTED PRIVATE KEY" => Self::EncryptedKey,
            "PUBLIC KEY" => Self::PublicKey,
            "RSA PUBLIC KEY" => Self::RsaPublicKey,
            "PKCS12" => Self::Pkcs12,
            "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Self::Pkcs7,
            "DH PARAMETERS" | "X9.42 DH PARAMETERS" => Self::DhParameters,
            "EC PARAMETERS" => Self::EcParameters,
            "OPENSSH PRIVATE KEY" => Self::OpenSshKey,
            _ if label.starts_with("PGP ") => Self::Pgp,
            _ => Self::UnknownPem,
        }
    }

    /// The kind that a DER structure shows.
    pub(super) fn of_der(input: &[u8]) -> Self {
        let Ok((outer, _)) = der::read(input) else { return Self::UnknownDer };
        match outer.tag {
            der::SEQUENCE => Self::of_sequence(&outer),
            der::OBJECT_ID => Self::EcParameters,
            _ => Self::UnknownDer,
        }
    }

    fn of_sequence(outer: &Node<'_>) -> Self {
        let mut items = outer.children();
        let (Some(first), Some(second)) = (items.next(), items.next()) else {
            return Self::UnknownDer;
        };
        let third = items.next();
        match (first.tag, second.tag, third.map(|node| node.tag)) {
            (der::OBJECT_ID, 0xa0, _) if first.content.starts_with(&oid::PKCS7_DATA[..8]) => {
                Self::Pkcs7
            }
            (der::INTEGER, der::SEQUENCE, Some(der::OCTET_STRING)) => Self::PrivateKey,
            (der::INTEGER, der::SEQUENCE, _) => Self::of_integer_and_sequence(&first, &second),
            (der::INTEGER, der::OCTET_STRING, _) => Self::EcPrivateKey,
            (der::INTEGER, der::INTEGER, _) => Self::of_integers(outer.children()),
            (der::SEQUENCE, der::BIT_STRING, None) => Self::PublicKey,
            (der::SEQUENCE, der::OCTET_STRING, None) => Self::EncryptedKey,
            (der::SEQUENCE, der::SEQUENCE, Some(der::BIT_STRING)) => Self::of_signed(&first),
            _ => Self::UnknownDer,
        }
    }

    fn of_integer_and_sequence(version: &Node<'_>, content: &Node<'_>) -> Self {
        let typed = content.children().next().is_some_and(|node| node.tag == der::OBJECT_ID);
        match version.small_integer() {
            Some(3) if typed => Self::Pkcs12,
            // Explicit curve parameters: version, field, curve, ...
            Some(1..=3) => Self::EcParameters,
            _ => Self::UnknownDer,
        }
    }

    fn of_integers(integers: Items<'_>) -> Self {
        let integers: Vec<_> = integers.take(11).collect();
        let versioned = integers[0].small_integer().is_some_and(|version| version <= 1);
        match integers.len() {
            9..=10 if versioned => Self::RsaPrivateKey,
            6 if versioned => Self::DsaPrivateKey,
            // Both are a large number and a small one; the generator of a group is tiny.
            2 if integers[1].small_integer().is_some_and(|number| number > 2 && number != 5) => {
                Self::RsaPublicKey
            }
            2 | 3 | 5 => Self::DhParameters,
            _ => Self::UnknownDer,
        }
    }

    /// Tells apart what is signed: the second and later members differ.
    fn of_signed(content: &Node<'_>) -> Self {
        let tags: Vec<_> = content.children().take(7).map(|node| node.tag).collect();
        const TIMES: [u8; 2] = [0x17, 0x18];
        match tags[..] {
            [0xa0, der::INTEGER, ..] => Self::Certificate,
            [der::INTEGER, der::SEQUENCE, der::SEQUENCE, time, ..] if TIMES.contains(&time) => {
                Self::Crl
            }
            [der::SEQUENCE, der::SEQUENCE, time, ..] if TIMES.contains(&time) => Self::Crl,
            // Version 1 has no version field, so the serial number comes first.
            [der::INTEGER, der::SEQUENCE, der::SEQUENCE, der::SEQUENCE, ..] => Self::Certificate,
            [der::INTEGER, der::SEQUENCE, der::SEQUENCE, ..] => Self::Csr,
            _ => Self::UnknownDer,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate",
            Self::TrustedCertificate => "a certificate with trust settings",
            Self::Csr => "a certificate request (CSR)",
            Self::Crl => "a certificate revocation list (CRL)",
            Self::PrivateKey => "a private key",
            Self::RsaPrivateKey => "an RSA private key",
            Self::EcPrivateKey => "an EC private key",
            Self::DsaPrivateKey => "a DSA private key",
            Self::EncryptedKey | Self::LegacyEncryptedKey => "a private key",
            Self::PublicKey => "a public key",
            Self::RsaPublicKey => "an RSA public key",
            Self::Pkcs12 => "a PKCS#12 (.pfx, .p12) file",
            Self::Pkcs7 => "a PKCS#7 (.p7b) file",
            Self::DhParameters => "Diffie-Hellman parameters",
            Self::EcParameters => "EC parameters",
            Self::OpenSshKey => "an OpenSSH private key",
            Self::SshPublicKey => "an SSH public key",
            Self::PuttyKey => "a PuTTY private key",
            Self::Pgp => "a PGP block",
            Self::Jwk => "a JSON Web Key",
            Self::JavaKeystore => "a Java keystore (JKS)",
            Self::Archive => "an archive (ZIP, gzip)",
            Self::Pdf => "a PDF document",
            Self::HtmlText => "an HTML page",
            Self::XmlText => "XML text",
            Self::JsonText => "JSON text",
            Self::FileName => "what looks like the name of a file",
            Self::UnknownPem => "a PEM block of another kind",
            Self::UnknownDer => "a DER structure of another kind",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_their_structure() {
        let sec1 = der::write(
            der::SEQUENCE,
            &[&der::write(der::INTEGER, &[&[1]]), &der::write(der::OCTET_STRING, &[&[9; 32]])],
        );
        assert_eq!(Kind::of_der(&sec1), Kind::EcPrivateKey);
        let integer = der::write(der::INTEGER, &[&[0]]);
        let pkcs1 = der::write(der::SEQUENCE, &[&integer.repeat(9)]);
        assert_eq!(Kind::of_der(&pkcs1), Kind::RsaPrivateKey);
        assert_eq!(Kind::of_der(&der::write(der::SEQUENCE, &[])), Kind::UnknownDer);
        assert_eq!(Kind::of_der(&[]), Kind::UnknownDer);
    }
}
