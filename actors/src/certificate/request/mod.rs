//! Certificate requests: a key is made here and waits for the certificate that an authority
//! makes of its request, so that the key never travels.
//!
//! ```text
//! what is asked for, checked    details.rs
//! a key and its PKCS#10         make.rs
//! kept on disk, 30 days         waiting.rs
//! ```

mod details;
mod make;
mod waiting;

use std::{fmt, str::FromStr, time::Duration};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use utoipa::ToSchema;

pub(super) use self::waiting::FreshRequest;
pub use self::{
    details::{InvalidRequest, KeyType, NewRequest, RequestDetails, RequestSubject, RequestedName},
    waiting::{MAX_WAITING, WAITING_TIME, WaitingKeys},
};
use crate::{blocking::NotDone, store::StoreError};

/// The number of random bytes in an id.
const ID_BYTES: usize = 16;

/// The name of a waiting request: random, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    fn random() -> Self {
        let mut bytes = [0; ID_BYTES];
        aws_lc_rs::rand::fill(&mut bytes).expect("the operating system gives random bytes");
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The id as it stands in paths and answers.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = NoSuchRequest;

    /// Whatever does not look like an id names no request, nor a path out of the folder.
    fn from_str(text: &str) -> Result<Self, NoSuchRequest> {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 2 * ID_BYTES && text.bytes().all(hexadecimal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoSuchRequest)
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// No request waits under this id (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no certificate request waits under this id")]
pub struct NoSuchRequest;

/// A request whose key waits; holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CertificateRequest {
    /// Its name.
    #[schema(value_type = String, pattern = "^[0-9a-f]{32}$")]
    pub id: RequestId,
    /// The PKCS#10 request as PEM.
    pub csr: String,
    /// What was asked for.
    #[serde(flatten)]
    pub details: RequestDetails,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created: OffsetDateTime,
    /// When its key is removed unless the certificate has come; later where the appliance is off
    /// for a while. Another time after the clock was set.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub expires: OffsetDateTime,
    /// The pin of the public key, by which its certificate is recognised.
    #[serde(skip)]
    pub spki_sha256: String,
    /// The running time at which it began to wait, which decides when it ends.
    #[serde(skip)]
    pub waits_since: Duration,
}

/// Why no request was made or deleted.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Something that was asked for cannot stand in a request.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// There is no room for another key.
    #[error(
        "{MAX_WAITING} certificate requests wait already, which is the most; delete one that is not needed any more"
    )]
    TooMany,
    /// There is none of that id.
    #[error(transparent)]
    NoSuchRequest(#[from] NoSuchRequest),
    /// The library refused.
    #[error("the key or its request could not be made")]
    Make(#[from] rcgen::Error),
    /// The disk refused.
    #[error("the waiting key could not be stored or removed")]
    Store(#[from] StoreError),
    /// The work could not be done.
    #[error("nothing was changed")]
    NotDone(#[from] NotDone),
    /// The appliance ends.
    #[error("the appliance is shutting down")]
    Stopping,
}
