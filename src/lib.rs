//! portcullis: an appliance front door, and the framework to build one with.
//!
//! A program of its own makes an [`Appliance`], adds its [`Service`]s and hands it to
//! [`command_line`]; `examples/echo.rs` shows how.

mod appliance;
mod cli;
pub mod config;
mod console;
mod inherited;
mod limits;
mod notify;
mod process;
mod ready;
mod tokens;

pub use portcullis_actors as actors;
pub use portcullis_speech as speech;
pub use portcullis_web as web;
pub use portcullis_web::{
    Authentication, Context, Mount, Service, service::endpoint::Endpoint, websocket,
};

pub use self::{appliance::Appliance, cli::command_line};
