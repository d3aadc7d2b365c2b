//! The thread that serves one connection: it sends what it is told, in the bounds of what the
//! server has acknowledged, and reads all the time, so that pings are answered while no audio comes.

use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, SendError, Sender, TryRecvError},
    time::{Duration, Instant},
};

use tungstenite::Message;

use super::{connection::Connection, messages, messages::Answer};
use crate::recogniser::{Heard, SAMPLE_RATE};

/// How long it waits for a message before it looks whether there is something to send.
const TURN: Duration = Duration::from_millis(10);
/// Audio and messages that may be ahead of what the server has acknowledged.
const SAMPLES_AHEAD: usize = 10 * SAMPLE_RATE as usize;
const MESSAGES_AHEAD: usize = 500;
/// A server that owes something and says nothing for this long is gone.
const LONGEST_SILENCE: Duration = Duration::from_secs(120);

/// What the session wants.
pub(super) enum Command {
    Audio(Vec<i16>),
    Say(String),
    /// The audio has ended.
    End,
}

/// What the session gets.
pub(super) enum Event {
    Heard(Heard),
    /// There is room for more audio: so many samples were acknowledged.
    Acknowledged(usize),
    /// Everything was said.
    Ended,
    Failed(String),
}

pub(super) struct Link {
    connection: Connection,
    commands: Receiver<Command>,
    events: Sender<Event>,
    /// Seconds of the stream before the first sample of this connection.
    offset: f64,
    unacknowledged: VecDeque<usize>,
    ahead: usize,
    sent: u64,
    ending: bool,
}

/// Why the thread ends.
enum Stop {
    /// The session was dropped.
    Dropped,
    Ended,
    Failed(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl From<SendError<Event>> for Stop {
    fn from(_: SendError<Event>) -> Self {
        Self::Dropped
    }
}

impl Link {
    pub(super) fn new(
        connection: Connection,
        commands: Receiver<Command>,
        events: Sender<Event>,
        offset: f64,
    ) -> Self {
        let unacknowledged = VecDeque::new();
        Self {
            connection,
            commands,
            events,
            offset,
            unacknowledged,
            ahead: 0,
            sent: 0,
            ending: false,
        }
    }

    /// Works until the session is dropped, the transcript ends or the connection breaks.
    pub(super) fn run(mut self) {
        let last = match self.serve() {
            Stop::Dropped => None,
            Stop::Ended => Some(Event::Ended),
            Stop::Failed(reason) => Some(Event::Failed(reason)),
        };
        if let Some(last) = last {
            // Nobody may be left to be told.
            let _ = self.events.send(last);
        }
        self.connection.close();
    }

    fn serve(&mut self) -> Stop {
        let mut heard_from = Instant::now();
        loop {
            let sent = self.send_what_may_be_sent().map_err(|stop| self.last_words(stop));
            match sent.and_then(|()| self.receive()) {
                Ok(true) => heard_from = Instant::now(),
                Ok(false) => {
                    let owes = self.ending || !self.unacknowledged.is_empty();
                    if !owes {
                        heard_from = Instant::now();
                    } else if heard_from.elapsed() > LONGEST_SILENCE {
                        return Stop::Failed("it has stopped answering".into());
                    }
                }
                Err(stop) => return stop,
            }
        }
    }

    fn send_what_may_be_sent(&mut self) -> Result<(), Stop> {
        while self.ahead < SAMPLES_AHEAD && self.unacknowledged.len() < MESSAGES_AHEAD {
            match self.commands.try_recv() {
                Ok(Command::Audio(samples)) => {
                    let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
                    self.connection.send(Message::Binary(bytes.into()))?;
                    self.unacknowledged.push_back(samples.len());
                    self.ahead += samples.len();
                    self.sent += 1;
                }
                Ok(Command::Say(text)) => self.connection.send(Message::Text(text.into()))?,
                Ok(Command::End) => {
                    self.connection.send(Message::Text(messages::end(self.sent).into()))?;
                    self.ending = true;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Stop::Dropped),
            }
        }
        Ok(())
    }

    /// A server that hangs up may have said why before.
    fn last_words(&mut self, stop: Stop) -> Stop {
        if matches!(stop, Stop::Failed(_)) {
            loop {
                match self.connection.receive(TURN) {
                    Ok(Some(Answer::Error(notice))) => return Stop::Failed(notice.to_string()),
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(reason) => return Stop::Failed(reason),
                }
            }
        }
        stop
    }

    /// Whether a message came.
    fn receive(&mut self) -> Result<bool, Stop> {
        let Some(answer) = self.connection.receive(TURN)? else { return Ok(false) };
        match answer {
            Answer::AudioAdded => {
                let samples = self.unacknowledged.pop_front().unwrap_or_default();
                self.ahead -= samples;
                self.events.send(Event::Acknowledged(samples))?;
            }
            Answer::EndOfTranscript => return Err(Stop::Ended),
            Answer::Error(notice) => return Err(Stop::Failed(notice.to_string())),
            Answer::Warning(notice) => log::warn!("the upstream warns of {notice}"),
            answer => {
                if let Some(heard) = answer.heard(self.offset) {
                    self.events.send(Event::Heard(heard))?;
                }
            }
        }
        Ok(true)
    }
}
