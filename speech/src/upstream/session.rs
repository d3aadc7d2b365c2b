//! One stream of audio through another server.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};

use tungstenite::Message;

use super::{
    Target,
    connection::Connection,
    link::{Command, Event, Link},
    messages::{self, Answer},
};
use crate::{
    measures::{Measures, Meter},
    recogniser::{Heard, LiveOptions, RecogniserError, SAMPLE_RATE, Session, SessionOptions},
};

/// Audio is sent in messages of 100 ms at least and 500 ms at most.
const LEAST_MESSAGE: usize = SAMPLE_RATE as usize / 10;
const LONGEST_MESSAGE: usize = SAMPLE_RATE as usize / 2;
/// Audio that was fed and is not acknowledged; more makes [`Session::feed`] wait.
const AHEAD: usize = SAMPLE_RATE as usize * 20;
/// How often it is looked, while no audio comes, whether the server has said something.
const LISTEN: Duration = Duration::from_millis(200);
/// How much longer than the delay of words a server may say something about audio that it has.
const LATEST: Duration = Duration::from_secs(10);
/// How often a wait looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(100);
/// For the answer to StartRecognition.
const START: Duration = Duration::from_secs(30);
/// A busy server is asked again after this, for a job; for so long.
const BUSY_PAUSE: Duration = Duration::from_secs(5);
const BUSY: Duration = Duration::from_secs(600);

pub(super) struct UpstreamSession {
    target: Arc<Target>,
    options: SessionOptions,
    /// `None` after [`Session::finish`]; more audio connects again.
    open: Option<Open>,
    /// Samples that do not fill a message yet.
    rest: Vec<i16>,
    /// Samples that were handed to connections.
    handed: u64,
    /// When audio came last, and when the server was last listened to.
    fed: Instant,
    listened: Instant,
    meter: Meter,
}

struct Open {
    commands: Sender<Command>,
    events: Receiver<Event>,
    ahead: usize,
}

enum Refusal {
    Busy(String),
    Failed(String),
}

impl UpstreamSession {
    /// Connects, and returns when the server has started the recognition.
    pub(super) fn begin(
        target: Arc<Target>,
        options: SessionOptions,
    ) -> Result<Self, RecogniserError> {
        let mut session = Self {
            target,
            options,
            open: None,
            rest: Vec::new(),
            handed: 0,
            fed: Instant::now(),
            listened: Instant::now(),
            meter: Meter::default(),
        };
        session.open()?;
        Ok(session)
    }

    /// The connection, made anew if there is none. A job waits for a server that is busy; somebody
    /// who listens live is told at once.
    fn open(&mut self) -> Result<&mut Open, RecogniserError> {
        if self.open.is_none() {
            let begun = Instant::now();
            let open = loop {
                match self.connect() {
                    Ok(open) => break open,
                    Err(Refusal::Busy(_)) if self.may_wait(begun) => self.pause()?,
                    Err(Refusal::Busy(reason) | Refusal::Failed(reason)) => {
                        self.options.cancel.check()?;
                        return Err(self.failed(&reason));
                    }
                }
            };
            self.open = Some(open);
        }
        Ok(self.open.as_mut().expect("it was just made"))
    }

    fn may_wait(&self, begun: Instant) -> bool {
        self.options.live.is_none() && begun.elapsed() < BUSY
    }

    fn pause(&self) -> Result<(), RecogniserError> {
        let begun = Instant::now();
        while begun.elapsed() < BUSY_PAUSE {
            self.options.cancel.check()?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn connect(&self) -> Result<Open, Refusal> {
        let mut connection = Connection::open(&self.target).map_err(Refusal::Failed)?;
        let start = messages::start(&self.options);
        connection.send(Message::Text(start.into())).map_err(Refusal::Failed)?;
        let begun = Instant::now();
        loop {
            if self.options.cancel.is_cancelled() {
                return Err(Refusal::Failed("cancelled".into()));
            }
            match connection.receive(LOOK).map_err(Refusal::Failed)? {
                Some(Answer::RecognitionStarted) => break,
                Some(Answer::Error(notice)) if notice.is_busy() => {
                    return Err(Refusal::Busy(notice.to_string()));
                }
                Some(Answer::Error(notice)) => return Err(Refusal::Failed(notice.to_string())),
                Some(_) | None => {}
            }
            if begun.elapsed() > START {
                return Err(Refusal::Failed("it did not start the recognition in time".into()));
            }
        }
        let (commands, to_do) = channel();
        let (tell, events) = channel();
        let offset = self.handed as f64 / f64::from(SAMPLE_RATE);
        let link = Link::new(connection, to_do, tell, offset);
        let thread = std::thread::Builder::new().name("speech-upstream".into());
        let started = thread.spawn(move || link.run());
        started.map_err(|err| Refusal::Failed(format!("no thread for it: {err}")))?;
        Ok(Open { commands, events, ahead: 0 })
    }

    fn failed(&self, reason: &str) -> RecogniserError {
        RecogniserError::Engine(format!("the upstream {}: {reason}", self.target.uri))
    }

    fn tell(&mut self, command: Command) -> Result<(), RecogniserError> {
        let samples = if let Command::Audio(samples) = &command { samples.len() } else { 0 };
        let open = self.open()?;
        open.ahead += samples;
        // If the link has ended, the events say why.
        let _ = open.commands.send(command);
        self.handed += samples as u64;
        Ok(())
    }

    /// Takes an event in. Whether the transcript has ended.
    fn take(&mut self, event: Event, heard: &mut Vec<Heard>) -> Result<bool, RecogniserError> {
        match event {
            Event::Heard(news) => heard.push(news),
            Event::Acknowledged(samples) => {
                if let Some(open) = &mut self.open {
                    open.ahead = open.ahead.saturating_sub(samples);
                }
            }
            Event::Ended => return Ok(true),
            Event::Failed(reason) => {
                self.open = None;
                return Err(self.failed(&reason));
            }
        }
        Ok(false)
    }

    /// Waits for the next event, but not longer than [`LOOK`].
    fn wait(&mut self, heard: &mut Vec<Heard>) -> Result<bool, RecogniserError> {
        self.options.cancel.check()?;
        let Some(open) = &self.open else { return Ok(true) };
        let begun = Instant::now();
        let event = open.events.recv_timeout(LOOK);
        self.meter.waited(begun.elapsed());
        match event {
            Ok(event) => self.take(event, heard),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(self.failed("its thread has ended")),
        }
    }

    fn hear(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.rest.extend(samples.iter().map(|sample| (sample * 32768.0) as i16));
        let mut heard = Vec::new();
        while self.rest.len() >= LEAST_MESSAGE {
            let length = self.rest.len().min(LONGEST_MESSAGE);
            let message = self.rest.drain(..length).collect();
            self.tell(Command::Audio(message))?;
            while self.open.as_ref().is_some_and(|open| open.ahead > AHEAD) {
                if self.wait(&mut heard)? {
                    return Err(self.failed("it ended the transcript before the audio ended"));
                }
            }
        }
        self.listen(&mut heard)?;
        Ok(heard)
    }

    /// Takes what the server has said.
    fn listen(&mut self, heard: &mut Vec<Heard>) -> Result<(), RecogniserError> {
        self.listened = Instant::now();
        while let Some(open) = &self.open {
            match open.events.try_recv() {
                Ok(event) => {
                    if self.take(event, heard)? {
                        return Err(self.failed("it ended the transcript before the audio ended"));
                    }
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(self.failed("its thread has ended")),
            }
        }
        Ok(())
    }

    /// Sends what does not fill a message.
    fn flush(&mut self) -> Result<(), RecogniserError> {
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() { Ok(()) } else { self.tell(Command::Audio(rest)) }
    }

    /// Ends this connection's stream and takes what is still said.
    fn end(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let mut heard = Vec::new();
        if self.open.is_none() && self.rest.is_empty() {
            return Ok(heard);
        }
        self.flush()?;
        self.tell(Command::End)?;
        while !self.wait(&mut heard)? {}
        self.open = None;
        // The end of the stream is no pause of the speaker.
        heard.pop_if(|last| matches!(last, Heard::EndOfUtterance { .. }));
        Ok(heard)
    }
}

impl Session for UpstreamSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.options.cancel.check()?;
        let begun = Instant::now();
        self.meter.fed(begun, samples.len());
        self.fed = begun;
        let heard = self.hear(samples)?;
        self.meter.told(begun, Instant::now(), &heard);
        Ok(heard)
    }

    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.options.cancel.check()?;
        let begun = Instant::now();
        let heard = self.end()?;
        self.meter.told(begun, Instant::now(), &heard);
        Ok(heard)
    }

    fn wake_at(&self) -> Option<Instant> {
        let live = self.options.live.as_ref()?;
        let over = self.fed + live.max_delay + LATEST;
        (self.open.is_some() && self.listened < over).then(|| self.listened + LISTEN)
    }

    /// The server counts the delay; here it is only listened to.
    fn wake(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.options.cancel.check()?;
        let begun = Instant::now();
        let mut heard = Vec::new();
        self.flush()?;
        self.listen(&mut heard)?;
        self.meter.told(begun, Instant::now(), &heard);
        Ok(heard)
    }

    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError> {
        if self.options.live.is_none() {
            return Ok(());
        }
        self.options.live = Some(live.clone());
        if self.open.is_some() {
            let message = messages::set(&self.options.language, live);
            self.tell(Command::Say(message))?;
        }
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
}
