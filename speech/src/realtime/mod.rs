//! The realtime side: the protocol, and the way of the audio to the recogniser. Knows no HTTP.
//!
//! | module | what |
//! |---|---|
//! | [`messages`] | the messages of both sides, typed |
//! | [`config`] | what a session was asked for, checked |
//! | [`protocol`] | the state machine: what arrives in, what is to be done out |
//! | `channel` | counts and transcripts of one stream of audio |
//! | `spool` | audio that waits: memory, then disk |
//! | `worker` | the thread between spool and recogniser |
//! | `core` | the recogniser of a channel, fed with bytes |

mod channel;
pub mod config;
mod core;
pub mod messages;
pub mod protocol;
mod spool;
mod worker;

pub use self::{
    core::Measured,
    worker::{Pipe, Pipes},
};
