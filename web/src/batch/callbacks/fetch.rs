//! Fetching audio.

use std::{
    io::{Read, Write},
    time::Duration,
};

use portcullis_speech::jobs::{IncomingFile, Job, JobConfig, JobStatus, JobStore, config::Fetch};
use ureq::Agent;

use super::{Office, seconds};
use crate::batch::{outbound, upload::RESERVE};

/// The pauses before the attempts after the first.
const PAUSES: [Duration; 3] = [seconds(2), seconds(10), seconds(20)];
const CHUNK: usize = 1 << 20;

impl Office {
    /// Fetches the audio of a job and queues it, or rejects it after some attempts.
    pub(super) async fn fetch(&self, job: &Job) {
        let config = JobConfig::parse(&job.config).ok();
        let Some(fetch) = config.and_then(|config| config.fetch) else {
            return self.give_up(job, "the job says nowhere to fetch its audio".into()).await;
        };
        let mut last = String::new();
        for pause in [None].into_iter().chain(PAUSES.map(Some)) {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            let id = job.id;
            let now = self.desk.store(move |store| store.get(id)).await;
            if !matches!(now, Ok(Some(job)) if job.status == JobStatus::Fetching) {
                return;
            }
            let Ok(jobs) = self.desk.jobs() else { return };
            let (store, fetch) = (jobs.store().clone(), fetch.clone());
            match self.attempt(move |agent| download(store.as_ref(), agent, &fetch)).await {
                Ok(audio) => {
                    let attached =
                        self.desk.store(move |store| store.attach_audio(id, audio)).await;
                    if let Err(err) = attached {
                        self.give_up(job, err.to_string()).await;
                    }
                    return;
                }
                Err(reason) => {
                    last = format!("unable to fetch audio: {reason}");
                    self.note(id, last.clone()).await;
                }
            }
        }
        self.give_up(job, last).await;
    }

    async fn give_up(&self, job: &Job, reason: String) {
        let id = job.id;
        let _ = self.desk.store(move |store| store.reject(id, &reason, "")).await;
        if let Ok(jobs) = self.desk.jobs() {
            jobs.announce_end(id);
        }
    }
}

/// Blocks.
fn download(store: &dyn JobStore, agent: &Agent, fetch: &Fetch) -> Result<IncomingFile, String> {
    let mut request = agent.get(&fetch.url);
    for (name, value) in outbound::header_lines(fetch.auth_headers.as_ref()) {
        request = request.header(name, value);
    }
    let response = request.call().map_err(|err| outbound::reason(&err))?;
    if !response.status().is_success() {
        return Err(format!("http status code {}", response.status().as_u16()));
    }
    let mut incoming = store.begin_upload().map_err(|err| err.to_string())?;
    let mut file = incoming.take_file().ok_or("the upload has no file")?;
    let mut body = response.into_body().into_reader();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count =
            body.read(&mut chunk).map_err(|err| format!("the body broke off: {}", err.kind()))?;
        if count == 0 {
            break;
        }
        if store.free_space().map_err(|err| err.to_string())? < RESERVE {
            return Err("the disk is full".into());
        }
        file.write_all(&chunk[..count]).map_err(|err| err.to_string())?;
    }
    file.sync_all().map_err(|err| err.to_string())?;
    Ok(incoming)
}
