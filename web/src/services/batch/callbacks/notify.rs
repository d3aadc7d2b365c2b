//! Telling that a job has ended.

use std::fs::File;

use portcullis_speech::jobs::{
    Format, Job, JobConfig, JobId, JobStatus, JobStore, StoreError, config::Notification,
    transcript,
};
use uuid::Uuid;

use super::{CallbackRunner, Errand, Kind, Outcome, Pauses, count, seconds};
use crate::{
    outbound::{self, Body, Request},
    services::batch::{error::BatchError, read, view},
};

const PAUSES: Pauses = [seconds(15), seconds(20), seconds(30)];

/// What is sent.
struct Message {
    content_type: String,
    body: Body,
}

/// One item of it.
struct Piece {
    name: String,
    file_name: String,
    content_type: &'static str,
    content: Content,
}

enum Content {
    Text(Vec<u8>),
    /// Read while it is sent; so many bytes.
    Audio(File, u64),
}

/// Why an attempt did not reach anybody.
#[derive(Debug, thiserror::Error)]
enum NotifyError {
    #[error(transparent)]
    Exchange(#[from] outbound::Error),
    #[error("http status code {0}")]
    Status(u16),
    #[error(transparent)]
    Store(#[from] BatchError),
}

impl CallbackRunner {
    /// Tells everybody who wants to know, all at once; failures are noted in the job.
    pub(super) async fn notify(&self, errand: &Errand) {
        let id = errand.id;
        // It may have been told between the look at it and the beginning of this errand.
        let waiting = self.job_and_config(id).await.filter(|(job, _)| job.notify);
        let Some((_, config)) = waiting else { return };
        let entries = 0..config.notifications.len();
        drop(config);
        futures::future::join_all(entries.map(|entry| self.tell(errand, entry))).await;
        let _ = self.batch.store(move |store| store.mark_notified(id)).await;
    }

    async fn tell(&self, errand: &Errand, entry: usize) {
        for pause in [None].into_iter().chain(PAUSES.map(Some)) {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            match self.attempt_to_tell(errand, entry).await {
                Ok(()) => return,
                Err(err) => {
                    let last = matches!(&err, NotifyError::Exchange(err) if err.is_final());
                    self.note(errand.id, format!("unable to send notification: {err}")).await;
                    if last {
                        return;
                    }
                }
            }
        }
    }

    /// One attempt when it is its turn; nothing if the job is gone.
    async fn attempt_to_tell(&self, errand: &Errand, entry: usize) -> Result<(), NotifyError> {
        let Some((job, _, notification)) = self.notification(errand.id, entry).await else {
            return Ok(());
        };
        let origin = request(&job, &notification)?.origin().to_string();
        // Not held while it waits: there may be many.
        drop((job, notification));
        let turn = self.callbacks.wait(&errand.client, &origin).await;
        let (Some(_turn), Some((job, config, notification))) =
            (turn, self.notification(errand.id, entry).await)
        else {
            return Ok(());
        };
        let request = request(&job, &notification)?;
        let put = notification.method.is_some_and(|method| method.eq_ignore_ascii_case("put"));
        let contents = notification.contents;
        let made =
            self.batch.store(move |store| message(store, &job, &config, contents.as_deref()));
        let Message { content_type, body } = made.await?;
        let request = request.with_body(put, &content_type, body)?;
        let whole = self.batch.outbound.limits().whole;
        let answer = tokio::time::timeout(whole, self.batch.outbound.send(&request)).await;
        let answer = answer.unwrap_or(Err(outbound::Error::Slow));
        count(
            Kind::Notify,
            match &answer {
                Ok(answer) if answer.is_success() => Outcome::Done,
                Ok(_) => Outcome::Failed,
                Err(err) => Outcome::of(err),
            },
        );
        let answer = answer?;
        if answer.is_success() { Ok(()) } else { Err(NotifyError::Status(answer.status())) }
    }

    /// A finished job and one of those whom it wants told.
    async fn notification(
        &self,
        id: JobId,
        entry: usize,
    ) -> Option<(Job, JobConfig, Notification)> {
        let (job, config) = self.job_and_config(id).await?;
        let notification = config.notifications.get(entry)?.clone();
        matches!(job.status, JobStatus::Done | JobStatus::Rejected).then_some((
            job,
            config,
            notification,
        ))
    }
}

/// Where it goes, still without a body.
fn request(job: &Job, notification: &Notification) -> Result<Request, outbound::Error> {
    Request::get(&address(job, &notification.url), notification.auth_headers.as_deref())
}

/// The address with `id` and `status` among its parameters.
fn address(job: &Job, url: &str) -> String {
    let (url, fragment) = url.split_once('#').map_or((url, None), |(url, rest)| (url, Some(rest)));
    let status = match job.status {
        JobStatus::Done => "success",
        _ if job.errors.iter().any(|err| err.message.starts_with("unable to fetch")) => {
            "fetch_error"
        }
        _ => "error",
    };
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    format!("{url}{separator}id={}&status={status}{fragment}", job.id)
}

/// One item is the body; several are a form; without a list the transcript is a file in a form.
fn message(
    store: &dyn JobStore,
    job: &Job,
    config: &JobConfig,
    contents: Option<&[String]>,
) -> Result<Message, StoreError> {
    let Some(contents) = contents else {
        let mut pieces = pieces(store, job, config, &["transcript".to_owned()])?;
        for piece in &mut pieces {
            piece.name = "data_file".into();
        }
        return Ok(form(pieces));
    };
    let mut pieces = pieces(store, job, config, contents)?;
    if contents.len() > 1 && !pieces.is_empty() {
        return Ok(form(pieces));
    }
    let mut body = Body::default();
    let content_type = pieces.pop().map_or_else(String::new, |piece| {
        piece.content.append_to(&mut body);
        piece.content_type.into()
    });
    Ok(Message { content_type, body })
}

impl Content {
    fn append_to(self, body: &mut Body) {
        match self {
            Self::Text(text) => body.push(text),
            Self::Audio(file, length) => body.push_file(file, length),
        }
    }
}

/// What is not to be had, such as the transcript of a rejected job, is left out.
fn pieces(
    store: &dyn JobStore,
    job: &Job,
    config: &JobConfig,
    contents: &[String],
) -> Result<Vec<Piece>, StoreError> {
    let found = store.transcript(job.id)?;
    let mut pieces = Vec::new();
    for name in contents {
        let piece = |file_name: &str, content_type, content| Piece {
            name: name.clone(),
            file_name: file_name.to_owned(),
            content_type,
            content,
        };
        let format = match name.as_str() {
            "jobinfo" => {
                let body = serde_json::to_vec(&view::details(job, view::Standing::default()));
                let body = body.map_err(|err| StoreError::Damaged(err.to_string()))?;
                pieces.push(piece("jobinfo.json", "application/json", Content::Text(body)));
                continue;
            }
            "data" => {
                if read::may_be_handed_out(job)
                    && let Some(audio) = store.open_audio(job.id)?
                {
                    let length = audio.metadata()?.len();
                    let content = Content::Audio(audio, length);
                    pieces.push(piece("data", "application/octet-stream", content));
                }
                continue;
            }
            "transcript.txt" => Format::Text,
            "transcript.srt" => Format::Srt,
            _ => Format::Json,
        };
        if let Some(found) = &found {
            let file_name = match format {
                Format::Json => "transcript.json",
                Format::Text => "transcript.txt",
                Format::Srt => "transcript.srt",
            };
            let text = transcript(job, config, found, format).into_bytes();
            pieces.push(piece(file_name, format.content_type(), Content::Text(text)));
        }
    }
    Ok(pieces)
}

/// multipart/form-data with one file for each piece.
fn form(pieces: Vec<Piece>) -> Message {
    // 122 random bits do not come up in any body.
    let boundary = format!("portcullis-{}", Uuid::new_v4().simple());
    let mut body = Body::default();
    for piece in pieces {
        body.push(format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            piece.name, piece.file_name, piece.content_type
        ));
        piece.content.append_to(&mut body);
        body.push("\r\n");
    }
    body.push(format!("--{boundary}--\r\n"));
    Message { content_type: format!("multipart/form-data; boundary={boundary}"), body }
}
