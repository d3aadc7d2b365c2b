//! What handlers read and answer: bodies, JSON, queries, errors, answers in pieces.

pub mod body;
pub(crate) mod connection;
pub mod error;
pub(crate) mod json;
pub(crate) mod pieces;
pub(crate) mod query;
pub mod sse;
