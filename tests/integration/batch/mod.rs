//! The batch Speech API, with real speech.

mod api;
mod channels;
mod clients;
mod forms;
mod load;
mod outbound;
mod storage;
mod upkeep;
mod uploads;
