//! The connection that a request came in on.

use std::sync::Arc;

use actix_web::{HttpMessage, HttpRequest};
use portcullis_actors::engine::Connection;

/// The connection of a request: HTTP/1 brings it as connection data, HTTP/2 as an extension.
pub(crate) fn connection_of(request: &HttpRequest) -> Option<Arc<Connection>> {
    let connection = request.conn_data::<Arc<Connection>>().cloned();
    connection.or_else(|| request.extensions().get::<Arc<Connection>>().cloned())
}
