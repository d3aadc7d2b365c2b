//! The OpenAPI 3.1 document of an appliance: every service's part in one.

use serde_json::{Map, Value, json};
use utoipa::IntoResponses;

use crate::http::error::ErrorBody;

/// What any operation behind the password may answer instead of what was asked for.
#[derive(IntoResponses)]
#[allow(dead_code)] // The document is made of its variants; nothing makes them.
pub(crate) enum Refusals {
    /// The request does not fit; `detail` says what would.
    #[response(status = 400)]
    BadRequest(#[to_schema] ErrorBody),
    /// No password, or a wrong one.
    #[response(status = 401, content_type = "text/plain")]
    Unauthorized(String),
    /// A page of another site sent it.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// The body was not sent in time.
    #[response(status = 408)]
    Timeout(#[to_schema] ErrorBody),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// The `Expect` header asks for more than `100-continue`.
    #[response(status = 417)]
    ExpectationFailed(#[to_schema] ErrorBody),
    /// Too many wrong passwords from this address; `Retry-After` tells how long to wait.
    #[response(status = 429)]
    TooManyFailures(#[to_schema] ErrorBody),
    /// Something broke; nothing was changed.
    #[response(status = 500)]
    Internal(#[to_schema] ErrorBody),
    /// The appliance is shutting down.
    #[response(status = 503)]
    Unavailable(#[to_schema] ErrorBody),
    /// The disk is full; nothing was changed.
    #[response(status = 507)]
    StorageFull(#[to_schema] ErrorBody),
}

/// The document of an appliance, or of a service, that is made of `parts`.
pub fn document(title: &str, version: &str, parts: impl IntoIterator<Item = Value>) -> Value {
    let Value::Object(mut whole) = joined(parts) else { return Value::Null };
    whole.insert("openapi".into(), "3.1.0".into());
    whole.insert("info".into(), json!({ "title": title, "version": version }));
    whole.insert("security".into(), json!([{ "admin": [] }]));
    whole["components"]["securitySchemes"] = json!({
        "admin": { "type": "http", "scheme": "basic" },
        "jobToken": { "type": "http", "scheme": "bearer" },
    });
    whole.into()
}

/// Makes one part of several: an object with `paths` and `components`.
pub fn joined(parts: impl IntoIterator<Item = Value>) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for mut part in parts {
        if let Value::Object(own) = part["paths"].take() {
            paths.extend(own);
        }
        if let Value::Object(own) = part["components"]["schemas"].take() {
            for (name, schema) in own {
                let known = schemas.insert(name, schema.clone());
                debug_assert!(
                    known.is_none_or(|known| known == schema),
                    "two services call different things by one name: {schema}"
                );
            }
        }
    }
    json!({ "paths": paths, "components": { "schemas": schemas } })
}

/// The part of a service, from what utoipa made of its code.
pub fn part(document: &utoipa::openapi::OpenApi) -> Option<Value> {
    serde_json::to_value(document).ok()
}
