//! The services behind the front door, and what every request passes on its way to one.
//!
//! A request's way: [`front`] (counting, redirect, host and origin checks) ->
//! [`authentication`] of the service -> handler -> [`error::ApiError`]. A service is one module
//! and implements [`service::Service`]. This crate owns no state and listens on no socket.

mod audit;
pub mod authentication;
pub mod batch;
pub mod body;
mod docs;
pub mod error;
pub mod front;
pub mod host;
mod host_figures;
mod instruments;
pub mod interface;
mod json;
pub mod management;
pub mod monitoring;
mod mounts;
pub mod names;
pub mod openapi;
pub mod origin;
pub mod outbound;
mod patterns;
mod pieces;
mod query;
pub mod realtime;
mod redirect;
pub mod routes;
pub mod security;
pub mod service;
mod sse;
pub mod websocket;

pub use self::{
    error::ApiError,
    service::{Authentication, Context, Mount, Service},
};
