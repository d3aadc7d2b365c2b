//! The multipart form of a certificate upload.

use actix_multipart::Multipart;
use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
};
use futures::{
    StreamExt, TryStreamExt,
    future::{LocalBoxFuture, Ready, ready},
};
use portcullis_actors::{
    certificate::{CertificateBundle, CertificateError, Judgement, Options, Upload, WaitingKeys},
    clock,
};
use time::OffsetDateTime;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::http::{
    error::{ApiError, Code},
    query::Query,
};

/// The largest part; certificates and keys have a few kilobytes.
const MAX_PART: usize = 1 << 20;

const EXPECTED: &str = "send multipart/form-data with the fields keyfile and certfile";

/// PEM, DER, PKCS#7 or PKCS#12; the certificate chain own certificate first. One field may hold all.
#[derive(Default, ToSchema)]
#[schema(as = CertificateForm)]
pub(super) struct CertificateUpload {
    /// Needless where the key waits here.
    #[schema(value_type = Option<String>, format = Binary, nullable = false)]
    keyfile: Option<Zeroizing<Vec<u8>>>,
    #[schema(value_type = Option<String>, format = Binary, nullable = false)]
    certfile: Option<Zeroizing<Vec<u8>>>,
    /// For an encrypted key.
    #[schema(value_type = Option<String>, nullable = false)]
    passphrase: Option<Zeroizing<String>>,
}

impl CertificateUpload {
    /// Judges the parts. Parses and may derive a key from a passphrase: call it on a blocking
    /// thread.
    pub(super) fn judge(
        &self,
        allow_expired: bool,
        waiting: &WaitingKeys,
    ) -> Result<Judgement, CertificateError> {
        let now = OffsetDateTime::now_utc();
        let upload = Upload {
            keyfile: self.keyfile.as_deref().map(Vec::as_slice),
            certfile: self.certfile.as_deref().map(Vec::as_slice),
            passphrase: self.passphrase.as_deref().map(String::as_str),
        };
        // Keys are read for an upload that can do with one: a browser sends an unused field empty.
        let alone = self.keyfile.as_ref().is_none_or(|keyfile| keyfile.trim_ascii().is_empty());
        let waiting_keys = if alone { waiting.keys(clock::running_time()) } else { Vec::new() };
        let options = Options { allow_expired, waiting_keys: &waiting_keys, ..Options::default() };
        CertificateBundle::from_upload(&upload, &options, now)
    }
}

/// The query of an upload. Taken before the body, so that a misspelt key is refused at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct UploadOptions {
    /// Judges and installs nothing.
    pub(super) dry_run: bool,
    /// Takes an expired certificate.
    pub(super) force: bool,
}

impl UploadOptions {
    fn read(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut query = Query::of(request)?;
        let options = Self { dry_run: query.switch("dry_run")?, force: query.switch("force")? };
        query.finish()?;
        Ok(options)
    }
}

impl FromRequest for UploadOptions {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _payload: &mut Payload) -> Self::Future {
        ready(Self::read(request))
    }
}

impl FromRequest for CertificateUpload {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let checked = check_media_type(request);
        let multipart = Multipart::new(request.headers(), payload.take());
        Box::pin(async move {
            checked?;
            read(multipart).await
        })
    }
}

fn check_media_type(request: &HttpRequest) -> Result<(), ApiError> {
    let value = request.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("").trim();
    if !media_type.eq_ignore_ascii_case("multipart/form-data") {
        let found = if media_type.is_empty() { "none" } else { media_type };
        return Err(ApiError::UnsupportedMediaType(format!(
            "the media type of the upload is {found}; {EXPECTED} (curl: -F keyfile=@… -F certfile=@…)"
        )));
    }
    if !value.to_ascii_lowercase().contains("boundary=") {
        let text = format!(
            "the Content-Type has no boundary, so the parts cannot be told apart; {EXPECTED} and let the client set the header"
        );
        return Err(ApiError::invalid(Code::INVALID_HEADER, Some("Content-Type"), text));
    }
    Ok(())
}

async fn read(mut multipart: Multipart) -> Result<CertificateUpload, ApiError> {
    let broken = |err: actix_multipart::MultipartError| {
        let text = format!("the multipart body cannot be read: {err}; {EXPECTED}");
        ApiError::invalid(Code::MALFORMED_BODY, None, text)
    };
    let mut upload = CertificateUpload::default();
    while let Some(mut field) = multipart.try_next().await.map_err(broken)? {
        let name = field.name().unwrap_or("").to_owned();
        let known = matches!(name.as_str(), "keyfile" | "certfile" | "passphrase");
        if !known {
            return Err(unknown_field(&name));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(chunk) = field.next().await {
            let chunk = chunk.map_err(broken)?;
            if bytes.len() + chunk.len() > MAX_PART {
                let text = format!("the field {name} is larger than {MAX_PART} bytes");
                return Err(ApiError::Coded {
                    status: StatusCode::PAYLOAD_TOO_LARGE,
                    code: Code::TOO_LARGE,
                    part: Some(name),
                    text,
                });
            }
            // Growing by copy, so that no freed buffer keeps key material.
            if bytes.len() + chunk.len() > bytes.capacity() {
                let mut larger =
                    Zeroizing::new(Vec::with_capacity((bytes.len() + chunk.len()) * 2));
                larger.extend_from_slice(&bytes);
                bytes = larger;
            }
            bytes.extend_from_slice(&chunk);
        }
        let wrong = |code, text| ApiError::invalid(code, Some(&name), text);
        match name.as_str() {
            "keyfile" if upload.keyfile.is_none() => upload.keyfile = Some(bytes),
            "certfile" if upload.certfile.is_none() => upload.certfile = Some(bytes),
            "passphrase" if upload.passphrase.is_none() => {
                let text = std::str::from_utf8(&bytes).map_err(|_| {
                    let text = "the field passphrase is not UTF-8 text";
                    wrong(Code::INVALID_FIELD, text.into())
                })?;
                upload.passphrase = Some(Zeroizing::new(text.to_owned()));
            }
            _ => {
                let text = format!("the field {name} was sent twice");
                return Err(wrong(Code::REPEATED_FIELD, text));
            }
        }
    }
    Ok(upload)
}

fn unknown_field(name: &str) -> ApiError {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(40).collect();
    let hint = match name.to_ascii_lowercase().as_str() {
        "cafile" | "ca" | "chain" | "chainfile" | "cabundle" | "intermediate" => {
            "; append the chain to the file in certfile, own certificate first"
        }
        _ => "",
    };
    let text = format!(
        "the field `{shown}` is not known; the fields are keyfile and certfile, and passphrase for an encrypted key{hint}"
    );
    ApiError::invalid(Code::UNKNOWN_FIELD, Some(&shown), text)
}
