//! The built-in services, a folder each, and what they share.

pub mod batch;
pub mod interface;
pub mod management;
pub mod monitoring;
pub mod realtime;
pub mod security;
mod shared;
#[cfg(test)]
mod tests;

pub use self::shared::speech::SpeechRoom;
