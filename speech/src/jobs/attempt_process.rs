//! An attempt in a process of its own: for a job during which ours has ended before.
//!
//! A process that ends without a word does not say whose fault it was: a job's, a neighbour's, or
//! somebody's `kill -9`. An attempt apart does: if its process ends while ours lives, the job is
//! the cause. The audio is the standard input of that process; its standard output is a socket
//! over which the job goes in and what becomes of it comes out, each a line of JSON.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    failure::Failure,
    job::{Finished, Job},
    process::{JobLog, Work},
};
use crate::{engine, recogniser::Cancel, settings::SpeechSettings, slots::Slots};

/// The word on the command line that makes a process call [`transcribe_apart`].
pub const APART_COMMAND: &str = "transcribe-apart";

/// How often the waiting side looks whether the job was cancelled.
const LOOK: Duration = Duration::from_millis(200);

/// How attempts apart are started.
#[derive(Debug, Clone)]
pub(super) struct AttemptProcess {
    program: PathBuf,
    settings: SpeechSettings,
}

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    config: String,
    attempt: u32,
    settings: SpeechSettings,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Progress(f64),
    Done(Box<Finished>),
    Rejected { reason: String, log: String },
    Failed(String),
}

/// The other process; it ends with its owner.
struct Other(Child);

impl Other {
    fn end(&mut self) -> io::Result<ExitStatus> {
        self.0.kill()?;
        self.0.wait()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

impl AttemptProcess {
    /// The program is ours, also after its file was replaced.
    pub(super) fn new(settings: SpeechSettings) -> Self {
        Self { program: "/proc/self/exe".into(), settings }
    }

    /// Transcribes a job; tells how far it is, 0 to 1.
    pub(super) fn run(
        &self,
        job: &Job,
        audio: File,
        cancel: &Cancel,
        log: &mut JobLog,
        progress: impl FnMut(f64),
    ) -> Result<Finished, Failure> {
        let failed = |err: io::Error| {
            Failure::Failed(format!("the process for the work on it cannot be spoken to: {err}"))
        };
        let (mut ours, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(&self.program)
            .arg(APART_COMMAND)
            .stdin(audio)
            .stdout(OwnedFd::from(theirs))
            .spawn()
            .map_err(failed)?;
        let mut other = Other(child);
        let request = Request {
            config: job.config.clone(),
            attempt: job.attempts,
            settings: self.settings.clone(),
        };
        let mut line = serde_json::to_vec(&request)
            .map_err(|err| Failure::Failed(format!("the job cannot be handed over: {err}")))?;
        line.push(b'\n');
        // A process that has ended already takes nothing; why it ended is seen below.
        let _ = ours.write_all(&line);
        ours.set_read_timeout(Some(LOOK)).map_err(failed)?;
        let ended = listen(BufReader::new(ours), cancel, progress)?;
        match ended {
            Some(Answer::Done(finished)) => Ok(*finished),
            Some(Answer::Rejected { reason, log: told }) => {
                log.0.push_str(&told);
                Err(Failure::Rejected(reason))
            }
            Some(Answer::Failed(reason)) => Err(Failure::Failed(reason)),
            Some(Answer::Progress(_)) | None => {
                let status = other.0.wait().map_err(failed)?;
                Err(Failure::Rejected(format!(
                    "the work on this job ends the process that does it ({status}); before, the appliance ended {} times during it",
                    job.crashes
                )))
            }
        }
    }
}

/// What became of it; `None` if the other side ended without a word.
fn listen(
    mut lines: BufReader<UnixStream>,
    cancel: &Cancel,
    mut progress: impl FnMut(f64),
) -> Result<Option<Answer>, Failure> {
    let mut line = Vec::new();
    loop {
        if cancel.is_cancelled() {
            return Err(Failure::Cancelled);
        }
        match lines.read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {
                match serde_json::from_slice(&line) {
                    Ok(Answer::Progress(share)) => progress(share),
                    Ok(answer) => return Ok(Some(answer)),
                    Err(err) => return Err(Failure::Failed(format!("a garbled answer: {err}"))),
                }
                line.clear();
            }
            Ok(_) => return Ok(None),
            // What has come of the line so far is kept in it.
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock) => {}
            Err(_) => return Ok(None),
        }
    }
}

/// The other side: reads the job, transcribes it, and tells. Ends with the process that began it.
///
/// # Errors
/// Nobody is there who handed over a job.
pub fn transcribe_apart() -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let audio = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let stream = UnixStream::from(io::stdout().as_fd().try_clone_to_owned()?);
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let request: Request = serde_json::from_str(&line)?;
    let answer = transcribe(&request, audio, |share| tell(&stream, &Answer::Progress(share)));
    tell(&stream, &answer);
    Ok(())
}

fn tell(mut stream: &UnixStream, answer: &Answer) {
    if let Ok(mut line) = serde_json::to_vec(answer) {
        line.push(b'\n');
        // Nobody listens any more once the job was deleted.
        let _ = stream.write_all(&line);
    }
}

fn transcribe(request: &Request, audio: File, progress: impl FnMut(f64)) -> Answer {
    let recogniser = match engine::load(&request.settings, &Slots::new(1)) {
        Ok(recogniser) => recogniser,
        Err(reason) => return Answer::Failed(reason),
    };
    let work = Work {
        config: &request.config,
        attempt: request.attempt,
        recogniser: recogniser.as_ref(),
        longest_audio: request.settings.longest_audio,
        cancel: Cancel::default(),
    };
    let mut log = JobLog::default();
    log.line("in a process of its own, because the appliance ended during earlier attempts");
    match work.run(audio, &mut log, progress) {
        Ok(finished) => Answer::Done(Box::new(finished)),
        Err(Failure::Rejected(reason)) => Answer::Rejected { reason, log: log.0 },
        Err(err @ (Failure::Failed(_) | Failure::Cancelled)) => Answer::Failed(err.to_string()),
    }
}
