//! What the services register is what they document.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{App, http::Method};
use portcullis_actors::{
    Configured, Owners, Prepared,
    engine::{Application, ListenerApplication, ListenerPlan},
    store::FileStore,
};
use toml::de::DeTable;

use super::{
    SpeechRoom, batch::Batch, management::Management, monitoring::Monitoring, realtime::Realtime,
    security::Security,
};
use crate::{
    outbound::{Guard, Outbound},
    service::{
        ApplianceFacts, Context, Door, House, Kind, Service, Tables, endpoint,
        table::{Source, Table},
    },
};

struct Nothing;

impl Application for Nothing {
    fn on(&self, _: &ListenerPlan) -> Arc<dyn ListenerApplication> {
        unreachable!("no listener is started")
    }
}

/// What services are given, of an appliance without listeners.
fn context(data_dir: &Path) -> Context {
    let store = Arc::new(FileStore::open(data_dir).unwrap());
    let prepared = Prepared::load(store, data_dir).unwrap();
    let owners = Owners::start(prepared, Vec::new(), Configured::default(), Arc::new(Nothing));
    let appliance = Arc::new(ApplianceFacts {
        name: "test".into(),
        version: "0",
        started: Instant::now(),
        addresses: Default::default(),
        ports: Vec::new(),
        names: Default::default(),
        watched_certificate: None,
        upload_beside_watch: false,
        data_dir: data_dir.to_owned(),
        configuration: String::new(),
        shutdown_timeout: Duration::ZERO,
        outbound: Arc::new(Outbound::new(Guard::default(), Duration::ZERO)),
    });
    Context { owners: owners.unwrap(), appliance, house: House::default() }
}

/// A service of this kind, with a model that is not there.
async fn start(kind: &dyn Kind, context: &Context) -> Arc<dyn Service> {
    let source = Source { file: "test.toml", text: "model = \"none\"" };
    let speech = DeTable::parse(source.text).unwrap();
    let mut shared = BTreeMap::new();
    for name in kind.shared_tables() {
        shared.insert(*name, Table::root(&source, speech.get_ref()));
    }
    let mut tables = Tables::new(Table::absent(&source, kind.name()), shared);
    let start = kind.configure(&mut tables).unwrap();
    tables.finish().unwrap();
    start.begin(Door::new(kind.name(), context.clone())).await.unwrap()
}

/// `method path` of everything that a service registers.
fn registered(service: &dyn Service) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for mount in service.mounts().into_iter().chain(service.administration()) {
        endpoint::tests::registered();
        let _ = App::new().configure(|config| (mount.routes)(config));
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
    let context = context(folder.path());
    let speech = SpeechRoom::default();
    let kinds: [&dyn Kind; 5] =
        [&Security, &Management, &Monitoring, &Batch::new(speech.clone()), &Realtime::new(speech)];
    for kind in kinds {
        let name = kind.name();
        let service = start(kind, &context).await;
        let (mut registered, mut documented) = (registered(&*service), documented(&*service));
        // The pages for people, old names of one path, and what Prometheus answers.
        registered.retain(|operation| {
            let page = ["get /docs", "get /v2/ui"].iter().any(|page| operation.starts_with(page));
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
        service.stop();
    }
}
