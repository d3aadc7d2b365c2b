//! The services behind the front door, and what every request passes on its way to one.
//!
//! | module | what |
//! |---|---|
//! | [`front`] | what every request passes: counting, redirect, checks of host and origin, authentication |
//! | [`service`] | what a service is, its endpoints and its part of the API document |
//! | [`services`] | the built-in services, and what they share |
//! | [`names`] | the names and origins that are the appliance's own |
//! | [`http`] | bodies, JSON, queries, errors, answers in pieces |
//! | [`websocket`] | WebSocket sessions |
//! | [`outbound`] | requests to addresses that clients name |
//!
//! A request's way: [`front`] -> authentication of its mount -> handler -> [`ApiError`]. This crate
//! owns no state and listens on no socket.

pub mod front;
pub mod http;
pub mod names;
pub mod outbound;
pub mod service;
pub mod services;
pub mod websocket;

pub use self::http::error::ApiError;
