//! Posting jobs.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{
    HttpRequest, HttpResponse,
    error::PayloadError,
    http::header,
    web::{Bytes, Data, Payload},
};
use futures::{Stream, StreamExt, TryStreamExt};
use portcullis_speech::jobs::{ConfigError, JobConfig, NewJob};

use super::{
    BatchContext,
    document::{JobErrorBody, JobForm, JobRefusals},
    error::BatchError,
    upload::{Audio, AudioUpload, begin_posting, client_of},
    view::JobMade,
};
use crate::{
    http::json,
    outbound::{self, Request},
    services::shared::patterns,
};

/// The largest `config` part, in bytes: a thousand words of vocabulary fit.
const MAX_CONFIG: usize = 64 << 10;
/// How long posting a job may take: nothing is cut for being slow, and nothing goes on for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Parts of a form. Two are needed; some clients send fields of their own.
const MOST_PARTS: usize = 16;
/// Bytes of parts that are not needed, and of what follows the form, all together.
const MOST_IGNORED: usize = 1 << 20;
/// The longest file name that is kept, in characters.
const MAX_NAME: usize = 255;

/// `POST /v2/jobs`: 201 once the audio and the job are on the disk.
#[utoipa::path(post, path = "/v2/jobs", tag = "Jobs", operation_id = "PostJob", security((), ("jobToken" = [])), request_body(content = JobForm, content_type = "multipart/form-data"), responses((status = 201, body = JobMade), JobRefusals, (status = 413, description = "The configuration or something beside the audio is too large", body = JobErrorBody), (status = 429, description = "Too many jobs of this address wait or are being posted", body = JobErrorBody), (status = 507, description = "The disk is full; nothing was kept", body = JobErrorBody)))]
pub(super) async fn submit(
    batch: Data<BatchContext>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, BatchError> {
    let made = make(&batch, &request, payload).await;
    if let Some(reason) = made.as_ref().err().and_then(BatchError::excess) {
        batch.figures.refused(reason);
    }
    made
}

async fn make(
    batch: &BatchContext,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, BatchError> {
    batch.check_recogniser()?;
    check_media_type(request)?;
    let client = client_of(request);
    let _posting = begin_posting(client)?;
    let client = client.to_string();
    let name = client.clone();
    batch.store(move |store| store.check_room(&name)).await?;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(0);
    let mut body = Shared(Rc::new(RefCell::new(payload.into_inner())));
    let multipart = Multipart::new(request.headers(), body.clone());
    let reading = async {
        let mut ignored = Ignored::default();
        let parts = read_parts(batch, &client, multipart, announced, &mut ignored).await?;
        // The form ends before the body does; a body that is cut there was not sent whole.
        while let Some(chunk) = body.try_next().await? {
            ignored.add(chunk.len())?;
        }
        Ok(parts)
    };
    let parts = tokio::time::timeout(LONGEST, reading).await;
    let parts = parts.unwrap_or(Err(BatchError::TooSlow(LONGEST.as_secs() / 3600)))?;
    let config = parts.config.ok_or_else(|| {
        BatchError::Malformed("the field config is missing; it holds the job's JSON".into())
    })?;
    if config.fetch.is_some() == parts.audio.is_some() {
        return Err(match parts.audio {
            None => BatchError::MissingData,
            Some(_) => BatchError::Rejected(
                "the job has both data_file and fetch_data; send one of them".into(),
            ),
        });
    }
    let job = NewJob {
        config: config.submitted.to_string(),
        client,
        data_name: parts.name,
        audio: parts.audio.and_then(Audio::into_file),
        notify: !config.notifications.is_empty(),
    };
    let id = batch.store(move |store| store.create(job)).await?;
    batch.jobs()?.announce(id);
    Ok(HttpResponse::Created().json(JobMade { id: id.to_string() }))
}

/// A body of which the form reads its part and the handler the rest.
#[derive(Clone)]
struct Shared(Rc<RefCell<actix_web::dev::Payload>>);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(cx)
    }
}

fn check_media_type(request: &HttpRequest) -> Result<(), BatchError> {
    let value = request.headers().get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = value.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("multipart/form-data") {
        return Ok(());
    }
    let text = "a job is posted as multipart/form-data with the fields config and data_file (curl: -F data_file=@a.wav -F 'config={…}')";
    Err(BatchError::Malformed(text.into()))
}

/// Bytes that came and are not needed.
#[derive(Default)]
struct Ignored(usize);

impl Ignored {
    fn add(&mut self, bytes: usize) -> Result<(), BatchError> {
        self.0 += bytes;
        if self.0 <= MOST_IGNORED {
            return Ok(());
        }
        let text = format!("more than {MOST_IGNORED} bytes came beside config and data_file");
        Err(BatchError::TooLarge(text))
    }
}

#[derive(Default)]
struct Parts {
    config: Option<JobConfig>,
    audio: Option<Audio>,
    name: String,
}

impl From<MultipartError> for BatchError {
    fn from(err: MultipartError) -> Self {
        match err {
            MultipartError::Payload(err) => err.into(),
            err => Self::Malformed(format!("the multipart body is not right: {err}")),
        }
    }
}

/// Reads the parts in whichever order they come. A configuration that is wrong ends it at once,
/// before the audio is sent if it comes first.
async fn read_parts(
    batch: &BatchContext,
    client: &str,
    mut multipart: Multipart,
    announced: u64,
    ignored: &mut Ignored,
) -> Result<Parts, BatchError> {
    let mut parts = Parts::default();
    let mut count = 0;
    while let Some(mut field) = multipart.try_next().await? {
        count += 1;
        if count > MOST_PARTS {
            let text = format!(
                "the form has more than {MOST_PARTS} fields; config and data_file are enough"
            );
            return Err(BatchError::TooLarge(text));
        }
        let name = field.name().unwrap_or_default().to_owned();
        let repeated = || BatchError::Malformed(format!("the field {name} was sent twice"));
        match name.as_str() {
            "config" if parts.config.is_some() => return Err(repeated()),
            "config" => parts.config = Some(read_config(batch, &mut field).await?),
            "data_file" if parts.audio.is_some() => return Err(repeated()),
            "data_file" => {
                parts.name = file_name(&field);
                parts.audio = read_audio(batch, client, &mut field, announced).await?;
            }
            // `text_file` belongs to alignment jobs; what is not known is not needed.
            _ => {
                while let Some(chunk) = field.try_next().await? {
                    ignored.add(chunk.len())?;
                }
            }
        }
    }
    Ok(parts)
}

async fn read_config(batch: &BatchContext, field: &mut Field) -> Result<JobConfig, BatchError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.next().await {
        let chunk = chunk?;
        if bytes.len() + chunk.len() > MAX_CONFIG {
            let text = format!(
                "the field config is larger than {MAX_CONFIG} bytes, the most that the configuration of a job may have"
            );
            return Err(BatchError::TooLarge(text));
        }
        bytes.extend_from_slice(&chunk);
    }
    let text = json::as_utf8(&bytes)
        .map_err(|why| BatchError::Malformed(format!("the field config cannot be read: {why}")))?;
    let config = JobConfig::parse(text)?;
    check_addresses(batch, &config)?;
    let recogniser = batch.recogniser().await?;
    config.check_languages(recogniser.info()).map_err(BatchError::Rejected)?;
    match patterns::compile(config.replacements().clone()).await {
        Ok(_) => Ok(config),
        Err(patterns::Error::Rule(err)) => Err(ConfigError::from(err).into()),
        Err(patterns::Error::Busy) => {
            Err(BatchError::Busy("too many patterns are being compiled".into()))
        }
    }
}

/// Refuses addresses and headers that could never be used.
fn check_addresses(batch: &BatchContext, config: &JobConfig) -> Result<(), BatchError> {
    let fetch = config.fetch.iter().map(|fetch| ("fetch_data", &fetch.url, &fetch.auth_headers));
    let notifications = config.notifications.iter();
    let notifications =
        notifications.map(|entry| ("notification_config", &entry.url, &entry.auth_headers));
    for (key, url, headers) in fetch.chain(notifications) {
        let refused = |reason: String| BatchError::Rejected(format!("{key}{reason}"));
        let request = Request::get(url, headers.as_deref()).map_err(|err| match err {
            outbound::Error::Headers(err) => refused(format!(".auth_headers {err}")),
            outbound::Error::Address(err) => refused(format!(".url {err}")),
            err => refused(format!(": {err}")),
        })?;
        batch.outbound.judge(&request).map_err(|err| refused(format!(".url: {err}")))?;
    }
    Ok(())
}

async fn read_audio(
    batch: &BatchContext,
    client: &str,
    field: &mut Field,
    announced: u64,
) -> Result<Option<Audio>, BatchError> {
    let mut upload = AudioUpload::begin(batch, client, announced).await?;
    while let Some(chunk) = field.next().await {
        upload.write(&chunk?).await?;
    }
    let (file, length) = upload.finish().await?;
    // An empty field without a name is how a form says that no file was chosen.
    Ok((length > 0 || !file_name(field).is_empty()).then_some(file))
}

/// The last component of the name that the client gave, without control characters.
fn file_name(field: &Field) -> String {
    let given = field.content_disposition().and_then(|disposition| disposition.get_filename());
    let last = given.unwrap_or_default().rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}
