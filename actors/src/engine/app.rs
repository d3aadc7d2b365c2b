//! An application on one worker.

use std::task::{Context, Poll};

use actix_http::{Request, Response, body::BoxBody};
use actix_service::{Service, boxed};

use crate::pulse::{self, Named};

pub(super) type Respond = boxed::BoxService<Request, Response<BoxBody>, Response<BoxBody>>;

/// An application, each of whose requests is named while its worker is busy with it.
pub(super) struct App(pub(super) Respond);

impl Service<Request> for App {
    type Response = Response<BoxBody>;
    type Error = Response<BoxBody>;
    type Future = Named<<Respond as Service<Request>>::Future>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&self, request: Request) -> Self::Future {
        // Without the query, which may hold a token.
        let name = format!("{} {}", request.method(), request.path());
        pulse::named(name, || self.0.call(request))
    }
}
