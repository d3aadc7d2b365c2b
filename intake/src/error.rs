//! What can be wrong with an upload, in words for the person who uploaded it.
//!
//! Messages name the field, what was found in it and the way on. They never quote the
//! content of a field, only positions, labels, kinds and public names.

use std::fmt;

use super::kind::Kind;

/// The part of an upload that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The field with the private key.
    Keyfile,
    /// The field with the certificate and its issuers.
    Certfile,
    /// The field that opens encrypted keys and PKCS#12 files.
    Passphrase,
    /// The key field and the certificate field together.
    Both,
}

impl Part {
    /// What belongs in this field.
    fn wanted(self) -> &'static str {
        match self {
            Self::Keyfile => "the private key",
            Self::Certfile => "the certificate, followed by its intermediate certificates",
            Self::Passphrase => "the passphrase of the key",
            Self::Both => "the private key and the certificate",
        }
    }
}

impl Part {
    /// A stable word for programs: the name of the field, or `both`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Keyfile => "keyfile",
            Self::Certfile => "certfile",
            Self::Passphrase => "passphrase",
            Self::Both => "both",
        }
    }

    /// The one thing that this field cannot do without.
    fn noun(self) -> &'static str {
        match self {
            Self::Keyfile => "private key",
            Self::Certfile => "certificate",
            Self::Passphrase => "passphrase",
            Self::Both => "private key and certificate",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Both => "keyfile and certfile",
            one => one.word(),
        })
    }
}

const EXPECTED: &str = "expected are two form fields, keyfile (the private key) and certfile \
                        (the certificate, followed by its intermediate certificates)";

/// Why an upload cannot become a certificate bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A field was not sent.
    #[error("{part} missing: {EXPECTED}")]
    Missing { part: Part },
    /// A field was sent with nothing in it.
    #[error("{part} is empty (0 bytes), it has to hold {}; {EXPECTED}", part.wanted())]
    Empty { part: Part },
    /// A field holds blanks and line ends only.
    #[error("{part} is empty but for blanks, it has to hold {}; {EXPECTED}", part.wanted())]
    Blank { part: Part },
    /// A field is larger than any certificate file is.
    #[error("{part} is too large ({size} bytes); at most {limit} bytes are read")]
    TooLarge { part: Part, size: usize, limit: usize },
    /// A field has more items than any chain has.
    #[error(
        "{part} holds more than {limit} blocks; send the certificate and its own chain only, not a collection of root certificates"
    )]
    TooManyBlocks { part: Part, limit: usize },
    /// More private keys than there is a reason for.
    #[error(
        "{part} holds more than {limit} private keys; send the one that belongs to the certificate"
    )]
    TooManyKeys { part: Part, limit: usize },
    /// The key is where the certificate belongs, and the other way round.
    #[error(
        "keyfile and certfile look swapped: keyfile holds {key_field}, certfile holds {certificate_field}; send the private key as keyfile and the certificate as certfile"
    )]
    Swapped { key_field: String, certificate_field: String },
    /// A field holds something readable that does not belong there.
    #[error("{part} holds {found} but no {}{}{}", part.noun(), form(*found), advice(*found))]
    WrongContent { part: Part, found: Kind },
    /// Nothing in the field is known.
    #[error("no PEM block and no DER structure was found in {part}{}; it has to hold {}, in PEM text form (-----BEGIN ...-----), DER or PKCS#12", hint.map_or("", |hint| hint), part.wanted())]
    NotUnderstood { part: Part, hint: Option<&'static str> },
    /// A BEGIN or END line is not what it has to be.
    #[error(
        "{part} has a damaged BEGIN or END line at line {line}: it needs exactly five dashes on both sides of BEGIN or END and a label in capitals"
    )]
    DamagedMarker { part: Part, line: usize },
    /// Lines of base64 stand outside all blocks.
    #[error(
        "{part} has base64 text outside of any block at line {line}; the BEGIN line before it seems to be lost"
    )]
    StrayText { part: Part, line: usize },
    /// A block has no END line.
    #[error(
        "{part}: the {label} block that begins at line {line} has no END line; the file seems to be cut short"
    )]
    UnfinishedBlock { part: Part, label: String, line: usize },
    /// BEGIN and END name different things.
    #[error(
        "{part}: the block that begins at line {line} with BEGIN {label} ends with END {end}; a part of the file seems to be lost"
    )]
    LabelMismatch { part: Part, label: String, end: String, line: usize },
    /// The base64 text of a block is damaged.
    #[error("{part}: the {label} block that begins at line {line} is damaged: {reason}")]
    DamagedText { part: Part, label: String, line: usize, reason: String },
    /// The bytes of an item are damaged.
    #[error("{part}: {item} is damaged: {reason}")]
    DamagedItem { part: Part, item: String, reason: String },
    /// A key, or a PKCS#12 file, needs a passphrase that was not sent.
    #[error("{part} holds {found} that is encrypted (password-protected): send its password in the form field passphrase, or remove it first ({})", removal(*found))]
    PassphraseNeeded { part: Part, found: Kind },
    /// The passphrase does not open what it has to open.
    #[error("wrong passphrase: it does not open {found} in {part}")]
    WrongPassphrase { part: Part, found: Kind },
    /// A passphrase scheme asks for more work than an upload may cause.
    #[error(
        "{part}: the passphrase protection asks for {asked}, the limit is {limit}; write the key again with fewer rounds, or without a password (openssl pkey)"
    )]
    TooMuchWork { part: Part, asked: String, limit: String },
    /// The encryption of a key is not supported.
    #[error(
        "{part}: the encryption {scheme} is not supported; remove the password with the tool that set it, or encrypt with AES-256-CBC (openssl pkey -aes256)"
    )]
    UnsupportedEncryption { part: Part, scheme: String },
    /// An RSA key outside the supported sizes.
    #[error(
        "{part}: the RSA key has {bits} bits; at least {} and at most {} bits are needed",
        super::limits::MIN_RSA_BITS,
        super::limits::MAX_RSA_BITS
    )]
    RsaSize { part: Part, bits: usize },
    /// An elliptic curve that TLS clients do not speak.
    #[error(
        "{part}: the curve {curve} is not supported; supported curves are P-256 (prime256v1), P-384 (secp384r1), P-521 (secp521r1) and Ed25519"
    )]
    UnsupportedCurve { part: Part, curve: String },
    /// A curve that is spelt out instead of named.
    #[error(
        "{part}: the EC key has explicit curve parameters where the name of a curve is needed; make a new key with a named curve (openssl ecparam -param_enc named_curve)"
    )]
    ExplicitCurve { part: Part },
    /// A key that may only sign with RSASSA-PSS.
    #[error(
        "{part}: the key is of type RSASSA-PSS, which TLS servers cannot use widely; a plain RSA key is needed (openssl genpkey -algorithm RSA)"
    )]
    RsaPss { part: Part },
    /// Any other kind of key.
    #[error(
        "{part}: keys of type {name} are not supported; supported are RSA, EC (P-256, P-384, P-521) and Ed25519"
    )]
    UnsupportedKeyType { part: Part, name: String },
    /// The TLS library does not take the key.
    #[error("{part}: the {kind} key is damaged or unusable: {reason}")]
    UnusableKey { part: Part, kind: String, reason: String },
    /// None of the certificates belongs to the key.
    #[error(
        "key and certificate do not match each other: {key}, {certificate}; send the key that this certificate was requested with"
    )]
    KeyMismatch { key: String, certificate: String },
    /// No waiting key belongs to a certificate that came alone.
    #[error(
        "keyfile missing, and none of the keys waiting on this appliance ({waiting}) fits: {certificate}; send keyfile (the private key) as well, or the certificate of a request made here"
    )]
    NoWaitingKey { waiting: usize, certificate: String },
    /// Both fields bring a key, and one is a PKCS#12 file.
    #[error(
        "keyfile and certfile disagree about the source of the key: {reason}; send the PKCS#12 file alone as certfile, or the key and the certificates as PEM"
    )]
    KeySourcesDisagree { reason: &'static str },
    /// A PKCS#12 file was exported without its key.
    #[error(
        "the PKCS#12 file in {part} holds certificates but no private key; export it again with the key, or send keyfile as well"
    )]
    StoreWithoutKey { part: Part },
    /// Several keys match several certificates.
    #[error(
        "{part} holds {count} private keys that belong to different certificates of the upload; send one key with its certificate"
    )]
    SeveralKeys { part: Part, count: usize },
    /// The leaf is an X.509 version 1 certificate.
    #[error(
        "certfile: the certificate {subject} is an X.509 version {version} certificate; version 3 with a subjectAltName is needed (openssl req -x509 -addext subjectAltName=DNS:name)"
    )]
    OldVersion { subject: String, version: u32 },
    /// The chain does not fit into what clients take.
    #[error(
        "certfile: the certificates have {size} bytes; common clients end the handshake above {limit}: ask for a certificate with fewer names (or one for each host), or leave out what is no part of the chain"
    )]
    ChainTooLarge { size: usize, limit: usize },
    /// The leaf's time is over.
    #[error(
        "the certificate {subject} has expired: it ended at {not_after}, and this appliance's clock says {now}; send the renewed certificate, set the clock, or repeat with ?force=true"
    )]
    Expired { subject: String, not_after: String, now: String },
}

impl CertificateError {
    /// The part of the upload that has to change.
    pub fn part(&self) -> Part {
        match self {
            Self::Missing { part }
            | Self::Empty { part }
            | Self::Blank { part }
            | Self::TooLarge { part, .. }
            | Self::TooManyBlocks { part, .. }
            | Self::TooManyKeys { part, .. }
            | Self::WrongContent { part, .. }
            | Self::NotUnderstood { part, .. }
            | Self::DamagedMarker { part, .. }
            | Self::StrayText { part, .. }
            | Self::UnfinishedBlock { part, .. }
            | Self::LabelMismatch { part, .. }
            | Self::DamagedText { part, .. }
            | Self::DamagedItem { part, .. }
            | Self::TooMuchWork { part, .. }
            | Self::UnsupportedEncryption { part, .. }
            | Self::RsaSize { part, .. }
            | Self::UnsupportedCurve { part, .. }
            | Self::ExplicitCurve { part }
            | Self::RsaPss { part }
            | Self::UnsupportedKeyType { part, .. }
            | Self::UnusableKey { part, .. }
            | Self::StoreWithoutKey { part }
            | Self::SeveralKeys { part, .. } => *part,
            Self::PassphraseNeeded { .. } | Self::WrongPassphrase { .. } => Part::Passphrase,
            Self::Swapped { .. } | Self::KeyMismatch { .. } | Self::KeySourcesDisagree { .. } => {
                Part::Both
            }
            Self::NoWaitingKey { .. } => Part::Keyfile,
            Self::OldVersion { .. } | Self::ChainTooLarge { .. } | Self::Expired { .. } => {
                Part::Certfile
            }
        }
    }
}

macro_rules! codes {
    ($($variant:ident => $code:literal,)*) => {
        impl CertificateError {
            /// Every word of [`Self::code`].
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// A stable word for programs.
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                }
            }
        }
    };
}

codes! {
    Missing => "missing",
    Empty => "empty",
    Blank => "blank",
    TooLarge => "too-large",
    TooManyBlocks => "too-many-blocks",
    TooManyKeys => "too-many-keys",
    Swapped => "swapped",
    WrongContent => "wrong-content",
    NotUnderstood => "not-understood",
    DamagedMarker => "damaged-marker",
    StrayText => "stray-text",
    UnfinishedBlock => "unfinished-block",
    LabelMismatch => "label-mismatch",
    DamagedText => "damaged-text",
    DamagedItem => "damaged-item",
    PassphraseNeeded => "passphrase-needed",
    WrongPassphrase => "wrong-passphrase",
    TooMuchWork => "too-much-work",
    UnsupportedEncryption => "unsupported-encryption",
    RsaSize => "rsa-size",
    UnsupportedCurve => "unsupported-curve",
    ExplicitCurve => "explicit-curve",
    RsaPss => "rsa-pss",
    UnsupportedKeyType => "unsupported-key-type",
    UnusableKey => "unusable-key",
    KeyMismatch => "key-mismatch",
    NoWaitingKey => "no-waiting-key",
    KeySourcesDisagree => "key-sources-disagree",
    StoreWithoutKey => "store-without-key",
    SeveralKeys => "several-keys",
    OldVersion => "old-version",
    ChainTooLarge => "chain-too-large",
    Expired => "expired",
}

/// What is missing to a private key that was made for something else.
fn form(found: Kind) -> &'static str {
    match found {
        Kind::OpenSshKey | Kind::PuttyKey | Kind::Jwk => " in a form for TLS",
        _ => "",
    }
}

/// The way on from a thing that is in the wrong place, as the end of a sentence.
fn advice(found: Kind) -> &'static str {
    match found {
        Kind::Csr => "; a request is what a certificate authority answers with the certificate",
        Kind::PublicKey | Kind::RsaPublicKey => {
            "; the file with the private key was made together with it"
        }
        Kind::OpenSshKey | Kind::PuttyKey => {
            "; convert it (ssh-keygen -p -m PEM) if it really is the key of this certificate"
        }
        Kind::JavaKeystore => "; convert it (keytool -importkeystore -deststoretype PKCS12)",
        Kind::Archive => "; unpack it and send the files inside",
        Kind::FileName => "; with curl write an @ before the file's name (-F certfile=@chain.crt)",
        Kind::JsonText => "; send the files themselves in a multipart form",
        Kind::Certificate
        | Kind::TrustedCertificate
        | Kind::Crl
        | Kind::PrivateKey
        | Kind::RsaPrivateKey
        | Kind::EcPrivateKey
        | Kind::DsaPrivateKey
        | Kind::EncryptedKey
        | Kind::LegacyEncryptedKey
        | Kind::Pkcs12
        | Kind::Pkcs7
        | Kind::DhParameters
        | Kind::EcParameters
        | Kind::SshPublicKey
        | Kind::Pgp
        | Kind::Jwk
        | Kind::HtmlText
        | Kind::XmlText
        | Kind::Pdf
        | Kind::UnknownPem
        | Kind::UnknownDer => "",
    }
}

/// The command that takes a password away.
fn removal(found: Kind) -> &'static str {
    match found {
        Kind::Pkcs12 => "openssl pkcs12 -nodes",
        _ => "openssl pkey -in old.key -out new.key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_field_and_the_way_on() {
        let err = CertificateError::Missing { part: Part::Keyfile };
        assert_eq!(err.part(), Part::Keyfile);
        assert_eq!(
            err.to_string(),
            "keyfile missing: expected are two form fields, keyfile (the private key) and \
             certfile (the certificate, followed by its intermediate certificates)"
        );
        let err = CertificateError::WrongContent { part: Part::Certfile, found: Kind::Csr };
        assert!(
            err.to_string()
                .starts_with("certfile holds a certificate request (CSR) but no certificate;")
        );
    }
}
