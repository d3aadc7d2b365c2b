//! The realtime Speech API over real sockets.

mod clients;
mod errors;
mod flow;
mod frames;
mod handover;
mod limits;
