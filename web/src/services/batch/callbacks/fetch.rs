//! Fetching audio.

use portcullis_speech::jobs::{ConfigError, IncomingFile, JobConfig, JobId, JobStatus};

use super::{CallbackRunner, Errand, Kind, Outcome, Pauses, count, seconds};
use crate::{
    outbound::{self, Request},
    services::batch::{error::BatchError, upload::AudioUpload},
};

const PAUSES: Pauses = [seconds(2), seconds(10), seconds(20)];

/// Why an attempt did not bring audio.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Exchange(#[from] outbound::Error),
    #[error("http status code {0}")]
    Status(u16),
    #[error("it took longer than {0}")]
    TooLong(humantime::FormattedDuration),
    #[error("the job says nowhere to fetch it")]
    Nowhere,
    /// An older version took it.
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] BatchError),
}

impl FetchError {
    /// Whether another attempt cannot go otherwise.
    fn is_final(&self) -> bool {
        match self {
            Self::Exchange(err) => err.is_final(),
            Self::Nowhere | Self::Config(_) => true,
            Self::Status(_) | Self::TooLong(_) | Self::Store(_) => false,
        }
    }

    fn outcome(&self) -> Outcome {
        match self {
            Self::Exchange(err) => Outcome::of(err),
            Self::TooLong(_) => Outcome::Slow,
            Self::Status(_) | Self::Nowhere | Self::Config(_) | Self::Store(_) => Outcome::Failed,
        }
    }
}

impl CallbackRunner {
    /// Fetches the audio of a job and queues it, or rejects it after some attempts.
    pub(super) async fn fetch(&self, errand: &Errand) {
        let id = errand.id;
        let mut last = String::new();
        for pause in [None].into_iter().chain(PAUSES.map(Some)) {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            match self.attempt(errand).await {
                Ok(None) => return,
                Ok(Some(audio)) => {
                    let attached =
                        self.batch.store(move |store| store.attach_audio(id, audio)).await;
                    if let Err(err) = attached {
                        self.give_up(id, err.to_string()).await;
                    }
                    return;
                }
                Err(err) => {
                    last = format!("unable to fetch audio: {err}");
                    if err.is_final() {
                        break;
                    }
                    self.note(id, last.clone()).await;
                }
            }
        }
        self.give_up(id, last).await;
    }

    /// One attempt when it is its turn; `None` if the job waits for no audio any more.
    async fn attempt(&self, errand: &Errand) -> Result<Option<IncomingFile>, FetchError> {
        let Some(request) = self.request(errand.id).await? else { return Ok(None) };
        let origin = request.origin().to_string();
        // Not held while it waits: there may be many.
        drop(request);
        let turn = self.fetches.wait(&errand.client, &origin).await;
        let (Some(_turn), Some(request)) = (turn, self.request(errand.id).await?) else {
            return Ok(None);
        };
        let longest = self.batch.outbound.limits().whole;
        let fetched = tokio::time::timeout(longest, self.download(errand, &request)).await;
        let fetched = fetched
            .unwrap_or_else(|_| Err(FetchError::TooLong(humantime::format_duration(longest))));
        count(Kind::Fetch, fetched.as_ref().map_or_else(FetchError::outcome, |_| Outcome::Done));
        fetched.map(Some)
    }

    /// What fetches the audio of a job; `None` if it waits for none.
    async fn request(&self, id: JobId) -> Result<Option<Request>, FetchError> {
        let job = self.job(id).await;
        let Some(job) = job.filter(|job| job.status == JobStatus::Fetching) else {
            return Ok(None);
        };
        let fetch = JobConfig::parse(&job.config)?.fetch.ok_or(FetchError::Nowhere)?;
        Ok(Some(Request::get(&fetch.url, fetch.auth_headers.as_deref())?))
    }

    async fn download(
        &self,
        errand: &Errand,
        request: &Request,
    ) -> Result<IncomingFile, FetchError> {
        let mut answer = self.batch.outbound.send(request).await?;
        if !answer.is_success() {
            return Err(FetchError::Status(answer.status()));
        }
        let announced = answer.length().unwrap_or(0);
        let mut upload = AudioUpload::begin(&self.batch, &errand.client, announced).await?;
        while let Some(chunk) = answer.chunk().await? {
            upload.write(&chunk).await?;
        }
        let (audio, _) = upload.finish().await?;
        Ok(audio.into_file().ok_or(BatchError::Stopping)?)
    }

    async fn give_up(&self, id: JobId, reason: String) {
        let _ = self.batch.store(move |store| store.reject(id, &reason, "")).await;
        if let Ok(jobs) = self.batch.jobs() {
            jobs.announce_end(id);
        }
    }
}
