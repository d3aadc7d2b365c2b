//! portcullis: an appliance front door, and the framework to build one with.
//!
//! A program of its own makes an [`Appliance`], adds its [`Service`]s and hands it to
//! [`command_line`]; `examples/echo.rs` is the least that it takes, `examples/notes.rs`
//! uses all that there is.

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
    ApiError,
    front::{By, note_change},
    http::{
        body::{Json, Query},
        error::Code,
        sse,
    },
    service::{
        Authentication, Door, Folder, Health, Kind, Languages, Mount, Service, Start, StartError,
        Tables,
        endpoint::Endpoint,
        generation::Generation,
        mount::is_prefix,
        table::{ConfigError, Table},
    },
    websocket,
};

pub use self::{appliance::Appliance, cli::command_line};

/// What happens, to be followed and told of.
pub mod events {
    pub use portcullis_actors::events::{
        Event, EventKind, EventLog, Next, ServiceEvent, Subscription,
    };
}

/// What figures are made of.
pub mod figures {
    pub use prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeLabelSet},
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
        registry::{Registry, Unit},
    };
}

/// The service in the README is compiled, so that strangers can copy it.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
