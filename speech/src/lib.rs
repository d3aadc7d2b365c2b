//! The speech side: what turns audio into words, and the jobs that wait for it. Knows no HTTP.
//!
//! | module | what |
//! |---|---|
//! | [`recogniser`] | the trait that recognisers implement, and their sessions |
//! | [`whisper`] | the default recogniser: whisper.cpp with a ggml model |
//! | [`clock`] | where sessions take the time from |
//! | [`measures`] | what a session costs and how late its finals are |
//! | [`listener`] | what is heard besides words, to tell where words are missing |
//! | [`upstream`] | a recogniser that is another server of the realtime protocol |
//! | `pocketsphinx` | PocketSphinx of Debian, with the feature of that name |
//! | [`slots`] | how many decodes compute at once, realtime before batch |
//! | [`audio`] | any audio file as a stream of samples |
//! | [`transcript`] | words as results; json-v2, txt, srt |
//! | [`disk`] | room on the disks that strangers can fill |
//! | [`jobs`] | job configuration, the job store, the threads that work on jobs |
//! | [`realtime`] | the realtime protocol, and the way of its audio to the recogniser |
//! | [`speech`] | all of it put together, for the services |

mod agreement;
pub mod audio;
pub mod clock;
mod cutter;
pub mod disk;
mod engine;
mod heard;
pub mod jobs;
pub mod listener;
mod lists;
pub mod measures;
mod pace;
#[cfg(feature = "pocketsphinx")]
pub mod pocketsphinx;
mod reading;
pub mod realtime;
pub mod recogniser;
mod regular;
mod settings;
mod silence;
pub mod slots;
pub mod speech;
mod telling;
pub mod transcript;
pub mod transcription_config;
pub mod upstream;
#[cfg(feature = "whisper")]
pub mod whisper;

pub use self::{
    settings::{Engine, SpeechSettings},
    speech::{JobsPlace, RecogniserState, Speech},
};
