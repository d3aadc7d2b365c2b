//! The realtime Speech API over real sockets.

mod bounds;
mod clients;
mod errors;
mod flow;
mod forms;
mod frames;
mod handover;
mod limits;
mod said;
mod silence;
mod voice;
mod warnings;
