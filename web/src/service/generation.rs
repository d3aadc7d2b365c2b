//! The generation that a request came in on.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload};
use portcullis_actors::engine::GenerationContext;

use crate::http::{connection::connection_of, error::ApiError};

/// The generation of a listener that a request came in on. A handler whose answer has no end of its own
/// asks for it, and ends the answer when the generation drains: a client that comes back is served by
/// the next one.
///
/// ```
/// use std::time::Duration;
///
/// use actix_web::{HttpResponse, rt::time::timeout};
/// use portcullis::Generation;
///
/// /// Answers after a minute, or as soon as the generation drains.
/// async fn wait(generation: Generation) -> HttpResponse {
///     let waited = timeout(Duration::from_secs(60), generation.drains()).await;
///     let why = if waited.is_ok() { "come back" } else { "nothing happened" };
///     HttpResponse::Ok().body(format!("{why}\n"))
/// }
/// # let _ = wait;
/// ```
#[derive(Debug, Clone)]
pub struct Generation(Arc<GenerationContext>);

impl Generation {
    /// Its number; the next one of the listener has a larger one.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Whether it drains: nothing new comes in.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.is_draining()
    }

    /// Resolves when it begins to drain.
    pub async fn drains(&self) {
        self.0.drained().await;
    }
}

impl FromRequest for Generation {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let connection = connection_of(request);
        let generation = connection.map(|connection| Self(connection.generation().clone()));
        let unknown = || ApiError::Internal("the request came in on no listener".into());
        ready(generation.ok_or_else(unknown))
    }
}
