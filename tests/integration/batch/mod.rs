//! The batch Speech API, with real speech.

mod api;
pub(crate) mod channels;
mod clients;
mod forms;
mod load;
mod outbound;
mod progress;
mod storage;
mod upkeep;
mod uploads;
mod warnings;
