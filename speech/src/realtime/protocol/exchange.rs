//! What the state machine is told and what it asks for.

use std::time::Duration;

use crate::{
    listener::Finding,
    realtime::{
        config::SessionPlan,
        messages::{Refusal, ServerMessage},
    },
    recogniser::{Heard, LiveOptions},
    transcript::Replacements,
};

/// The limits of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time without audio that ends a session.
    pub idle: Duration,
    /// The longest session.
    pub session: Duration,
    /// Bytes of audio that may wait for the recogniser, of all channels together.
    pub waiting: u64,
    /// Time until `StartRecognition` must have come.
    pub start: Duration,
}

impl Default for Limits {
    /// An hour, 48 hours, 200 MiB, a minute.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(3600),
            session: Duration::from_secs(48 * 3600),
            waiting: 200 << 20,
            start: Duration::from_secs(60),
        }
    }
}

/// What happens to a session.
#[derive(Debug)]
pub enum Input<'a> {
    Text(&'a str),
    Binary(Vec<u8>),
    /// A message is above [`Protocol::message_limit`](super::Protocol::message_limit).
    TooLarge,
    /// There is room and a recogniser: the answer to [`Action::Open`].
    Opened(Opened),
    /// The other answer.
    Refused(Refusal),
    /// The recogniser of a channel tells something.
    Channel(usize, ChannelEvent),
    /// The session has to end, with all that was heard told within this time.
    Restart(Duration),
    /// Time has passed.
    Tick,
}

/// What an opened session is told about itself.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Its id.
    pub id: String,
    /// Name and version of the appliance.
    pub version: String,
    /// Sessions that are open, this one included.
    pub usage: usize,
    pub quota: usize,
    /// Now, RFC 3339.
    pub at: String,
    /// The rules of its plan, compiled.
    pub replacements: Replacements,
}

/// What the recogniser of a channel tells.
#[derive(Debug, Clone, PartialEq)]
pub enum ChannelEvent {
    /// `forced`: because of `ForceEndOfUtterance`.
    Heard {
        heard: Heard,
        forced: bool,
    },
    /// So many bytes have been recognised, from the start on.
    Consumed(u64),
    /// Words are missing, or sound is; told before the end.
    Unheard(Finding),
    /// All has been recognised.
    Ended,
    Failed(Refusal),
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    Send(ServerMessage),
    /// Look for room and for a recogniser of this session, and answer with [`Input::Opened`] or
    /// [`Input::Refused`].
    Open(Box<SessionPlan>),
    Audio {
        channel: usize,
        bytes: Vec<u8>,
    },
    /// Finalise what has come so far.
    Force {
        channel: usize,
    },
    Configure {
        channel: usize,
        live: LiveOptions,
    },
    /// No more audio comes.
    End {
        channel: usize,
    },
    /// The last action of all.
    Close {
        code: u16,
        reason: &'static str,
    },
}
