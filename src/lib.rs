//! portcullis: an appliance front door, and the framework to build one with.
//!
//! A program of its own makes an [`Appliance`], adds its [`Service`]s and hands it to
//! [`command_line`]; `examples/echo.rs` is the least that it takes, `examples/notes.rs`
//! uses all that there is.
//!
//! | to | there is |
//! |---|---|
//! | answer below a path | [`Service`], [`Mount`], [`Authentication`], [`Endpoint`] |
//! | read the configuration and start | [`Kind`], [`Tables`], [`Table`], [`ConfigError`], [`Start`] |
//! | use what the appliance has | [`Door`], [`events`], [`figures`], [`audit`], [`settings`] |
//! | read requests | [`Json`], [`Query`], [`By`], [`Generation`] |
//! | answer | [`ApiError`], [`Code`], [`sse`], [`websocket`], [`note_change`] |
//! | tell how it is | [`Health`], [`Folder`], [`Languages`] |
//!
//! This is all that a program of its own uses; the other crates of the workspace promise nothing.

#![warn(missing_docs)]

mod appliance;
mod cli;
#[cfg_attr(not(feature = "internals"), allow(unreachable_pub))]
mod config;
mod console;
mod inherited;
mod limits;
mod notify;
mod process;
mod ready;
mod tokens;

#[doc(inline)]
pub use portcullis_actors::{RequestId, Requester};
#[doc(inline)]
pub use portcullis_web::{
    front::{By, note_change},
    http::{
        body::{Json, Query},
        error::{ApiError, Code},
        sse,
    },
    service::{
        Authentication, Door, Folder, Health, Kind, Languages, Mount, Service, Start, StartError,
        Tables,
        endpoint::Endpoint,
        generation::Generation,
        mount::is_prefix,
        table::{ConfigError, Found, Table},
    },
    websocket,
};

pub use self::{appliance::Appliance, cli::command_line};

/// What happens, to be followed and told of.
pub mod events {
    #[doc(inline)]
    pub use portcullis_actors::events::{
        Event, EventId, EventKind, EventLog, Next, ServiceEvent, Subscription,
    };
}

/// What figures are made of: those of prometheus-client.
pub mod figures {
    pub use prometheus_client::{
        collector::Collector,
        encoding::{DescriptorEncoder, EncodeLabelSet},
        metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
        registry::{Registry, Unit},
    };

    #[doc(inline)]
    pub use portcullis_actors::metrics::stop_counting;
}

/// What a service records of the changes that it makes by itself, see [`Door::record`].
pub mod audit {
    #[doc(inline)]
    pub use portcullis_actors::audit::{AuditEntry, Outcome};
}

/// What administrators may set while the appliance runs, see [`Door::settings`].
pub mod settings {
    #[doc(inline)]
    pub use portcullis_actors::settings::{LiveSettings, LogLevel, Settings};
}

/// What the fuzz targets try; nobody else can count on it.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::config::Config;
}

/// The service in the README is compiled, so that strangers can copy it.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
