//! Telling that a job has ended.

use std::{io::Read, time::Duration};

use portcullis_speech::jobs::{
    Format, Job, JobConfig, JobStatus, JobStore, config::Notification, transcript,
};
use ureq::Agent;

use super::{Office, seconds};
use crate::batch::{outbound, view};

/// The pauses before the attempts after the first.
const PAUSES: [Duration; 3] = [seconds(15), seconds(20), seconds(30)];
/// The most audio that a callback carries, in bytes; it is held in memory.
const MOST_DATA: u64 = 256 << 20;

/// What is sent.
struct Message {
    content_type: String,
    body: Vec<u8>,
}

/// One item of it.
struct Piece {
    name: String,
    file_name: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Office {
    /// Tells everybody who wants to know, all at once; failures are noted in the job.
    pub(super) async fn notify(&self, job: &Job) {
        let id = job.id;
        let waiting = self.desk.store(move |store| Ok(store.unnotified()?.contains(&id))).await;
        let (Ok(true), Ok(config)) = (waiting, JobConfig::parse(&job.config)) else { return };
        let entries = config.notifications.iter();
        futures::future::join_all(entries.map(|entry| self.tell(job, &config, entry))).await;
        let _ = self.desk.store(move |store| store.mark_notified(id)).await;
    }

    async fn tell(&self, job: &Job, config: &JobConfig, entry: &Notification) {
        for pause in [None].into_iter().chain(PAUSES.map(Some)) {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let Ok(jobs) = self.desk.jobs() else { return };
            let store = jobs.store().clone();
            let (job, config, entry) = (job.clone(), config.clone(), entry.clone());
            let id = job.id;
            let told = self.attempt(move |agent| {
                let message = message(store.as_ref(), &job, &config, entry.contents.as_deref())?;
                send(agent, &job, &entry, message)
            });
            match told.await {
                Ok(()) => return,
                Err(reason) => {
                    self.note(id, format!("unable to send notification: {reason}")).await
                }
            }
        }
    }
}

/// Blocks.
fn send(agent: &Agent, job: &Job, entry: &Notification, message: Message) -> Result<(), String> {
    let url = address(job, &entry.url);
    let put = entry.method.as_deref().is_some_and(|method| method.eq_ignore_ascii_case("put"));
    let mut request = if put { agent.put(&url) } else { agent.post(&url) };
    for (name, value) in outbound::header_lines(entry.auth_headers.as_ref()) {
        request = request.header(name, value);
    }
    if !message.content_type.is_empty() {
        request = request.header("Content-Type", &message.content_type);
    }
    let response = request.send(&message.body[..]).map_err(|err| outbound::reason(&err))?;
    let status = response.status();
    if status.is_success() { Ok(()) } else { Err(format!("http status code {}", status.as_u16())) }
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
) -> Result<Message, String> {
    let Some(contents) = contents else {
        let mut pieces = pieces(store, job, config, &["transcript".to_owned()])?;
        for piece in &mut pieces {
            piece.name = "data_file".into();
        }
        return Ok(form(&pieces));
    };
    let mut pieces = pieces(store, job, config, contents)?;
    Ok(match (contents.len(), pieces.pop()) {
        (_, None) => Message { content_type: String::new(), body: Vec::new() },
        (1, Some(piece)) => Message { content_type: piece.content_type.into(), body: piece.body },
        (_, Some(last)) => {
            pieces.push(last);
            form(&pieces)
        }
    })
}

/// What is not to be had, such as the transcript of a rejected job, is left out.
fn pieces(
    store: &dyn JobStore,
    job: &Job,
    config: &JobConfig,
    contents: &[String],
) -> Result<Vec<Piece>, String> {
    let items = store.items(job.id).map_err(|err| err.to_string())?;
    let mut pieces = Vec::new();
    for name in contents {
        let piece = |file_name: &str, content_type, body| Piece {
            name: name.clone(),
            file_name: file_name.to_owned(),
            content_type,
            body,
        };
        let format = match name.as_str() {
            "jobinfo" => {
                let body = serde_json::to_vec(&view::details(job, None));
                let body = body.map_err(|err| err.to_string())?;
                pieces.push(piece("jobinfo.json", "application/json", body));
                continue;
            }
            "data" => {
                if let Some(audio) = store.open_audio(job.id).map_err(|err| err.to_string())? {
                    let mut body = Vec::new();
                    let read = audio.take(MOST_DATA).read_to_end(&mut body);
                    read.map_err(|err| err.to_string())?;
                    pieces.push(piece("data", "application/octet-stream", body));
                }
                continue;
            }
            "transcript.txt" => Format::Text,
            "transcript.srt" => Format::Srt,
            _ => Format::Json,
        };
        if let Some(items) = &items {
            let file_name = match format {
                Format::Json => "transcript.json",
                Format::Text => "transcript.txt",
                Format::Srt => "transcript.srt",
            };
            let body = transcript(job, config, items, format).into_bytes();
            pieces.push(piece(file_name, format.content_type(), body));
        }
    }
    Ok(pieces)
}

/// multipart/form-data with one file for each piece.
fn form(pieces: &[Piece]) -> Message {
    // 122 random bits do not come up in any body.
    let boundary = format!("portcullis-{:032x}", rand::random::<u128>());
    let mut body = Vec::new();
    for piece in pieces {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            piece.name, piece.file_name, piece.content_type
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(&piece.body);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Message { content_type: format!("multipart/form-data; boundary={boundary}"), body }
}
