//! The `Authorization` header of basic authentication (RFC 7617).

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// RFC 4648 asks for padding; clients that leave it out have only one meaning.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user and a password as bytes: what is not UTF-8 is simply not the right password.
pub(crate) struct BasicCredentials {
    bytes: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl BasicCredentials {
    /// Reads a header value: the scheme in any case, blanks, base64 of `user:password`.
    pub(crate) fn parse(header: &[u8]) -> Option<Self> {
        let header = std::str::from_utf8(header).ok()?.trim();
        let (scheme, encoded) = header.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = Zeroizing::new(LENIENT.decode(encoded.trim()).ok()?);
        let colon = bytes.iter().position(|byte| *byte == b':')?;
        Some(Self { bytes, colon })
    }

    /// `user:password` as it was sent.
    pub(crate) fn pair(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn user(&self) -> &[u8] {
        &self.bytes[..self.colon]
    }

    /// All that follows the first colon, further colons included.
    pub(crate) fn password(&self) -> &[u8] {
        &self.bytes[self.colon + 1..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_read_in_any_case_and_colons_stay_in_the_password() {
        for header in
            ["Basic YWRtaW46cGE6c3M6", "basic YWRtaW46cGE6c3M6", "BASIC   YWRtaW46cGE6c3M6"]
        {
            let credentials = BasicCredentials::parse(header.as_bytes()).unwrap();
            assert_eq!(credentials.user(), b"admin");
            assert_eq!(credentials.password(), b"pa:ss:");
        }
    }

    #[test]
    fn everything_else_is_no_credential() {
        for header in ["", "Basic", "Basic ", "Basic !!!!", "Basic YWRtaW4=", "Bearer YWRtaW46YQ=="]
        {
            assert!(BasicCredentials::parse(header.as_bytes()).is_none(), "{header}");
        }
    }
}
