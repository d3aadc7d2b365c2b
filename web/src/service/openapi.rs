//! The OpenAPI 3.1 document of an appliance: every service's part in one.

use serde_json::{Map, Value, json};
use utoipa::IntoResponses;

use crate::{http::error::ErrorBody, service::Service};

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

/// Puts the parts of `services` together.
pub fn document<'a>(
    name: &str,
    version: &str,
    services: impl Iterator<Item = &'a dyn Service>,
) -> Value {
    let (mut paths, mut schemas) = (Map::new(), Map::new());
    for mut part in services.filter_map(|service| service.openapi()) {
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
    json!({
        "openapi": "3.1.0",
        "info": { "title": name, "version": version },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "admin": { "type": "http", "scheme": "basic" },
                "jobToken": { "type": "http", "scheme": "bearer" },
            },
        },
        "security": [{ "admin": [] }],
    })
}

/// The part of a service, from what utoipa made of its code.
pub(crate) fn part(document: &utoipa::openapi::OpenApi) -> Option<Value> {
    serde_json::to_value(document).ok()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::Arc,
        time::{Duration, Instant},
    };

    use actix_web::{App, http::Method};
    use portcullis_actors::{
        Configured, Owners, Prepared,
        store::FileStore,
        supervisor::{Application, ContinueGate, HttpApp, ListenerPlan, TakesWebSocket},
    };
    use portcullis_speech::Speech;

    use super::*;
    use crate::{
        outbound::{Guard, Outbound},
        service::{ApplianceFacts, Context, endpoint},
        services::{
            batch::Batch, management::Management, monitoring::Monitoring, realtime::Realtime,
            security::Security,
        },
    };

    struct Nothing;

    impl Application for Nothing {
        fn app(&self, _: &ListenerPlan) -> HttpApp {
            unreachable!("no listener is started")
        }

        fn continue_gate(&self, _: &ListenerPlan) -> ContinueGate {
            unreachable!("no listener is started")
        }

        fn takes_websocket(&self, _: &ListenerPlan) -> TakesWebSocket {
            Arc::new(|_| false)
        }
    }

    /// What services are given, of an appliance without listeners.
    async fn context(data_dir: &std::path::Path) -> Context {
        let store = Arc::new(FileStore::open(data_dir).unwrap());
        let prepared = Prepared::load(store, data_dir).unwrap();
        let nothing = |_| -> Arc<dyn Application> { Arc::new(Nothing) };
        let owners = Owners::start(prepared, Vec::new(), Configured::default(), nothing).await;
        let appliance = Arc::new(ApplianceFacts {
            name: "test".into(),
            version: "0",
            started: Instant::now(),
            addresses: Default::default(),
            ports: Vec::new(),
            names: Default::default(),
            services: Vec::new(),
            watched_certificate: None,
            upload_beside_watch: false,
            data_dir: data_dir.to_owned(),
            configuration: String::new(),
            prometheus: None,
            outbound: Arc::new(Outbound::new(Guard::default(), Duration::ZERO)),
            realtime: Default::default(),
            openapi: Value::Null,
        });
        Context { owners: owners.unwrap(), appliance, speech: Speech::off() }
    }

    /// `method path` of everything that a service registers.
    fn registered(service: &dyn Service, context: &Context) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for mount in service.mounts(context) {
            endpoint::tests::registered();
            let _ = App::new().configure(mount.routes);
            for (path, methods) in endpoint::tests::registered() {
                // Both forms of a path are one operation, and HEAD is part of GET.
                let path = format!("{}{path}", mount.prefix);
                let path = match (path.find(':'), path.rfind('}')) {
                    (Some(pattern), Some(end)) => format!("{}{}", &path[..pattern], &path[end..]),
                    _ => path,
                };
                let path = path.trim_end_matches('/');
                for method in methods.into_iter().filter(|method| method != Method::HEAD) {
                    found.insert(format!("{method} {path}").to_lowercase());
                }
            }
        }
        found
    }

    fn documented(service: &dyn Service) -> BTreeSet<String> {
        let part = service.openapi().expect("a document");
        let paths = part["paths"].as_object().expect("paths").iter();
        paths
            .flat_map(|(path, operations)| {
                let methods = operations.as_object().expect("operations").keys();
                let methods = methods.filter(|method| *method != "parameters");
                methods.map(move |method| format!("{method} {path}").to_lowercase())
            })
            .collect()
    }

    #[actix_web::test]
    async fn every_endpoint_is_in_the_document_and_every_documented_one_exists() {
        let folder = tempfile::tempdir().unwrap();
        let context = context(folder.path()).await;
        let services: [&dyn Service; 5] =
            [&Security, &Management, &Monitoring, &Batch, &Realtime::default()];
        for service in services {
            let name = service.name();
            let (mut registered, mut documented) =
                (registered(service, &context), documented(service));
            // The pages for people, old names of one path, and what Prometheus answers.
            registered.retain(|operation| {
                let page =
                    ["get /docs", "get /v2/ui"].iter().any(|page| operation.starts_with(page));
                let old = ["/alignment", "/text"].iter().any(|name| operation.ends_with(name));
                // Realtime without a language, which the document mentions beside the other.
                let bare = operation == "get /v2";
                !old && !page && !bare || operation == "get /docs/openapi.json"
            });
            documented.retain(|operation| {
                !operation.contains(" /api/v1/") && !operation.ends_with(" /graph")
            });
            assert_eq!(registered, documented, "of {name}");
            assert!(!registered.is_empty(), "of {name}");
        }
    }
}
