//! What every request passes before it reaches a service.

mod audit;
mod authentication;
mod instruments;
mod mounts;
mod redirect;

use std::{
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

pub use self::{audit::note_change, authentication::By};
use actix_http::{ConnectionType, Method, Request, RequestHead, Response};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, boxed, fn_service, map_config};
use actix_web::{
    App, HttpMessage, HttpResponse, ResponseError,
    body::{BodySize, BoxBody, MessageBody},
    dev::{AppConfig, ServiceRequest, ServiceResponse, Url},
    http::{StatusCode, Version, header},
    middleware::{Next, from_fn},
    web::{self, Bytes},
};
use pin_project_lite::pin_project;
use portcullis_actors::{
    RequestId,
    auth::Authenticator,
    engine::{
        Connection, ContinueGate, HttpApp, ListenerApplication, ListenerPlan, RequestInProgress,
        TakesWebSocket,
    },
    supervisor::InsecurePorts,
};

use crate::{
    front::{
        audit::Auditor,
        instruments::{Measured, RequestInstruments},
        mounts::{Matched, Mounts},
    },
    http::{
        body,
        connection::connection_of,
        error::{self, ApiError, Code},
    },
    names::{
        self, OwnNames,
        host::{Host, HostError},
        origin::OwnPages,
    },
    service::{Authentication, Context, Service},
};

/// What the front of one listener knows.
#[derive(Clone)]
struct Front {
    listener: Arc<str>,
    mounts: Mounts,
    /// The port of the TLS listener that plain requests are sent to while plain ports are off.
    redirect_port: u16,
    insecure_ports: InsecurePorts,
    authenticator: Authenticator,
    names: OwnNames,
    pages: OwnPages,
}

impl Front {
    fn new(plan: &ListenerPlan, mounts: Mounts, context: &Context) -> Self {
        let Context { owners, appliance, .. } = context;
        let target = plan.redirect_to.as_ref().and_then(|name| appliance.addresses.get(name));
        Self {
            listener: plan.name.as_str().into(),
            mounts,
            redirect_port: plan
                .redirect_port
                .unwrap_or_else(|| target.map_or(443, SocketAddr::port)),
            insecure_ports: owners.insecure_ports.clone(),
            authenticator: owners.authenticator.clone(),
            names: OwnNames::new(&appliance.names, owners.certificates.clone()),
            pages: OwnPages {
                ports: appliance.ports.as_slice().into(),
                public: appliance.names.public_origins.as_slice().into(),
            },
        }
    }

    /// Redirects or refuses a request by its head and its mount; `None` lets it pass.
    fn judge(
        &self,
        head: &RequestHead,
        secure: bool,
        mount: Option<Matched>,
    ) -> Option<HttpResponse> {
        let host = Host::of(head);
        if !secure && !self.insecure_ports.are_enabled() {
            return Some(match host {
                Ok(host) => redirect::to_tls(head, &host, self.redirect_port),
                Err(err) => wrong_host(&err),
            });
        }
        let host = match host {
            Ok(host) => Some(host),
            // HTTP/1.0 does not ask for one.
            Err(HostError::Missing) if head.version < Version::HTTP_11 => None,
            Err(err) => return Some(wrong_host(&err)),
        };
        if let Some(host) = &host
            && self.is_misdirected(head, host, mount)
        {
            return Some(ApiError::Misdirected(self.names.remedy(host)).error_response());
        }
        if let Some(why) =
            self.pages.foreign(head, host.as_ref(), secure, self.mounts.origins(mount))
        {
            let text = format!("the request was refused because {why}");
            return Some(ApiError::Forbidden(text).error_response());
        }
        if let Some(encoding) = compression(head) {
            return Some(ApiError::Compressed(encoding).error_response());
        }
        let expects = head.headers().get(header::EXPECT);
        if expects.is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Some(ApiError::ExpectationFailed.error_response());
        }
        None
    }
}

impl Front {
    /// Whether a browser asks under a name that is not ours.
    fn is_misdirected(&self, head: &RequestHead, host: &Host, mount: Option<Matched>) -> bool {
        let open_to_pages = match mount {
            None => return false,
            Some(mount) if mount.any_host => return false,
            // A page that has turned a name to us does not know the token.
            Some(mount) if mount.authentication == Authentication::JobToken => {
                !self.authenticator.has_job_token()
            }
            Some(_) => true,
        };
        open_to_pages
            && names::is_from_browser(head)
            && !self.names.contain(host)
            && !self.pages.is_listed(head, self.mounts.origins(mount))
    }
}

fn wrong_host(err: &HostError) -> HttpResponse {
    ApiError::invalid(Code::INVALID_HEADER, Some("Host"), err.to_string()).error_response()
}

/// The encoding of a body that is not sent as it is.
fn compression(head: &RequestHead) -> Option<String> {
    if matches!(head.method, Method::GET | Method::HEAD) {
        return None;
    }
    let value = head.headers().get(header::CONTENT_ENCODING)?;
    let value = value.to_str().unwrap_or("?").trim();
    let shown = || value.chars().filter(char::is_ascii_graphic).take(40).collect();
    (!value.is_empty() && !value.eq_ignore_ascii_case("identity")).then(shown)
}

fn is_secure(connection: Option<&Arc<Connection>>) -> bool {
    connection.is_some_and(|connection| connection.is_secure())
}

/// What answers on one listener: its services behind the front.
struct ListenerFront {
    plan: ListenerPlan,
    front: Front,
    auditor: Auditor,
    http2: bool,
    administers: bool,
}

/// Puts `services` behind the front of a listener.
#[must_use]
pub fn listener(
    plan: &ListenerPlan,
    services: &[Arc<dyn Service>],
    context: &Context,
) -> Arc<dyn ListenerApplication> {
    let mounts = services.iter().flat_map(|service| service.mounts()).collect();
    Arc::new(ListenerFront {
        plan: plan.clone(),
        front: Front::new(plan, Mounts::new(mounts), context),
        auditor: Auditor::new(context.owners.clone()),
        // Also where nothing is carried yet: no client could use more there.
        http2: !services.iter().all(|service| service.http1_only()),
        administers: services.iter().any(|service| service.administers()),
    })
}

impl ListenerApplication for ListenerFront {
    fn app(&self) -> HttpApp {
        let front = self.front.clone();
        let names = service_names(&self.plan);
        let mut app = App::new().configure(move |config| {
            for (matched, mount) in front.mounts.iter() {
                let authenticator = front.authenticator.clone();
                let names = names.clone();
                let layer = from_fn(move |request, next| {
                    authentication::layer(matched, authenticator.clone(), request, next)
                });
                let scope = web::scope(&mount.prefix)
                    .configure(|config| (mount.routes)(config))
                    .default_service(web::to(move || not_found(names.clone())))
                    .wrap(layer);
                config.service(scope);
            }
        });
        let names = service_names(&self.plan);
        app = app.default_service(web::to(move || not_found(names.clone())));
        let worker = Rc::new(WorkerFront {
            front: self.front.clone(),
            auditor: self.auditor.clone(),
            instruments: RequestInstruments::new(&self.plan.name),
        });
        let app = app.wrap(from_fn(move |request, next| pass(worker.clone(), request, next)));
        let factory = app
            .into_factory()
            .map_err(|err: actix_web::Error| Response::from(err.error_response()))
            .map(|response: ServiceResponse<BoxBody>| Response::from(HttpResponse::from(response)));
        boxed::factory(map_config(factory, |()| AppConfig::default()))
    }

    /// Judges requests with `Expect: 100-continue` before their body is asked for, so that a client
    /// with a wrong password is told so without sending anything.
    fn continue_gate(&self) -> ContinueGate {
        let front = self.front.clone();
        boxed::factory(fn_service(move |request: Request| {
            let front = front.clone();
            async move {
                let mount = front.mounts.find(&Url::new(request.uri().clone()));
                let secure = is_secure(request.conn_data());
                if let Some(response) = front.judge(request.head(), secure, mount) {
                    return Err(response.into());
                }
                // The mount's own layer has the last word; this one only spares the upload.
                if let Some(mount) = mount {
                    let authenticator = &front.authenticator;
                    let checked =
                        authentication::check(mount.authentication, authenticator, request.head());
                    if let Err(response) = checked.await {
                        return Err(response.into());
                    }
                }
                Ok(request)
            }
        }))
    }

    fn takes_websocket(&self) -> TakesWebSocket {
        let mounts = self.front.mounts.clone();
        Arc::new(move |path| path.parse().is_ok_and(|uri| mounts.takes_websocket(&Url::new(uri))))
    }

    fn offers_http2(&self) -> bool {
        self.http2
    }

    fn administers(&self) -> bool {
        self.administers
    }
}

fn service_names(plan: &ListenerPlan) -> String {
    if plan.services.is_empty() { "none".into() } else { plan.services.join(", ") }
}

/// The answer for a path that no mount of the listener has.
async fn not_found(names: String) -> Result<String, ApiError> {
    Err(ApiError::NotFound(names))
}

/// The length of the body, if the client has told it.
fn announced_length(head: &RequestHead) -> Option<u64> {
    head.headers().get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The name of the header that tells the number of a request.
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("request-id");

/// What stands at the front of one worker and looks at every request.
struct WorkerFront {
    front: Front,
    auditor: Auditor,
    instruments: Option<Rc<RequestInstruments>>,
}

/// The outermost middleware: numbers and measures the request, counts it on its connection, judges
/// it, and finishes its answer.
async fn pass(
    worker: Rc<WorkerFront>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let id = RequestId::next();
    id.scope(pass_numbered(id, worker, request, next)).await
}

async fn pass_numbered(
    id: RequestId,
    worker: Rc<WorkerFront>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let connection = connection_of(request.request());
    let mut in_progress = connection.as_ref().map(Connection::begin_request);
    let WorkerFront { front, auditor, instruments } = &*worker;
    let mount = front.mounts.resolve(&request);
    let attempt = auditor.begin(&request, mount);
    let started = std::time::Instant::now();
    let secure = is_secure(connection.as_ref());
    let mut received = None;
    let offers_websocket = request.head().upgrade();
    if !offers_websocket {
        let (payload, counted) = body::with_idle_timeout(request.take_payload());
        request.set_payload(payload);
        received = counted;
    }
    if let (Some(received), Some(in_progress)) = (&received, &mut in_progress) {
        in_progress.is_upload(request.path(), announced_length(request.head()), received.clone());
    }
    let mut measured = instruments.as_ref().map(|instruments| instruments.begin(started, received));
    let mut response = match front.judge(request.head(), secure, mount) {
        Some(response) => request.into_response(response),
        None => next.call(request).await?,
    };
    if let Some(err) = response.response().error() {
        error::tell(err);
    }
    if let Some(attempt) = attempt {
        auditor.end(attempt, &response);
    }
    if let Some(measured) = &mut measured {
        let answered = response.request();
        measured.answered(
            answered.path(),
            || answered.match_pattern(),
            answered.method(),
            response.status().as_u16(),
            secure,
        );
    }
    log::debug!(
        target: "portcullis::access",
        "{} {} {} {} {} {:?}",
        front.listener,
        response.request().peer_addr().map_or_else(|| "-".into(), |peer| peer.to_string()),
        response.request().method(),
        response.request().path(),
        response.status().as_u16(),
        started.elapsed(),
    );
    finish(&mut response, id);
    let Some((connection, mut in_progress)) = connection.zip(in_progress) else {
        return Ok(response);
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        in_progress.became_websocket(response.request().path());
        if let Some(measured) = &mut measured {
            measured.became_websocket();
        }
    } else if connection.is_retired() || offers_websocket {
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response
        .map_body(|_, body| Guarded { body, id, measured, _in_progress: in_progress }.boxed()))
}

/// Headers that every answer carries unless its handler decided otherwise.
fn finish(response: &mut ServiceResponse<BoxBody>, id: RequestId) {
    let headers = response.headers_mut();
    if let Ok(value) = header::HeaderValue::try_from(id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
}

pin_project! {
    /// A body that keeps its request counted until it has been handed over whole, or dropped.
    struct Guarded {
        #[pin]
        body: BoxBody,
        id: RequestId,
        measured: Option<Measured>,
        _in_progress: RequestInProgress,
    }
}

impl MessageBody for Guarded {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.project();
        let polled = this.id.sync_scope(|| this.body.poll_next(cx));
        if let (Poll::Ready(Some(Ok(bytes))), Some(measured)) = (&polled, this.measured) {
            measured.add_sent(bytes.len());
        }
        polled
    }
}
