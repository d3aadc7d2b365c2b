//! What is counted of each request.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use actix_web::http::Method;
use portcullis_actors::metrics::{
    self, ListenerLabels, METRICS, RequestBytesLabels, RequestLabels, RouteLabels,
};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};

/// Paths whose instruments one worker remembers; those of others are looked up each time.
const REMEMBERED: usize = 256;
const LONGEST_REMEMBERED: usize = 128;

/// The instruments of one worker of a listener. Looking a label set up costs more than counting,
/// so those of frequent paths are remembered.
pub(crate) struct RequestInstruments {
    listener: Arc<str>,
    uploads: Gauge,
    remembered: RefCell<HashMap<String, Vec<Rc<Handles>>>>,
}

/// The instruments of one label set.
struct Handles {
    method: &'static str,
    code: u16,
    secure: bool,
    requests: Counter,
    duration: Histogram,
    received: Counter,
    sent: Counter,
}

impl RequestInstruments {
    /// `None` where nothing is counted.
    pub(crate) fn new(listener: &str) -> Option<Rc<Self>> {
        if !metrics::is_counting() {
            return None;
        }
        let listener: Arc<str> = listener.into();
        let labels = ListenerLabels { listener: listener.clone() };
        let uploads = METRICS.uploads_open.get_or_create_owned(&labels);
        Some(Rc::new(Self { listener, uploads, remembered: RefCell::default() }))
    }

    /// Begins to measure a request; `received` counts the bytes of its body, if it has one.
    pub(crate) fn begin(
        self: &Rc<Self>,
        begun: Instant,
        received: Option<Arc<AtomicU64>>,
    ) -> Measured {
        if received.is_some() {
            self.uploads.inc();
        }
        Measured {
            instruments: self.clone(),
            begun,
            received,
            sent: 0,
            handles: None,
            websocket: false,
        }
    }

    fn handles(
        &self,
        path: &str,
        pattern: impl FnOnce() -> Option<String>,
        key: (&Method, u16, bool),
    ) -> Rc<Handles> {
        let (method, code, secure) = (method_label(key.0), key.1, key.2);
        let fits = |known: &&Rc<Handles>| {
            (known.method, known.code, known.secure) == (method, code, secure)
        };
        let mut remembered = self.remembered.borrow_mut();
        if let Some(known) = remembered.get(path).and_then(|all| all.iter().find(fits)) {
            return known.clone();
        }
        let pattern = pattern();
        let worth_it = pattern.is_some() && path.len() <= LONGEST_REMEMBERED;
        let route = pattern.as_deref().unwrap_or("none").into();
        let made = Rc::new(self.look_up(route, method, code, secure));
        if worth_it && (remembered.len() < REMEMBERED || remembered.contains_key(path)) {
            remembered.entry(path.to_owned()).or_default().push(made.clone());
        }
        made
    }

    fn look_up(&self, route: Arc<str>, method: &'static str, code: u16, secure: bool) -> Handles {
        let listener = self.listener.clone();
        let entrypoint = if secure { "websecure" } else { "web" };
        let bytes = RequestBytesLabels { code, method, entrypoint };
        let by_route = RouteLabels { listener: listener.clone(), route: route.clone(), method };
        let labels = RequestLabels { listener, route, method, code };
        Handles {
            method,
            code,
            secure,
            requests: METRICS.http_requests.get_or_create_owned(&labels),
            duration: METRICS.http_request_duration.get_or_create_owned(&by_route),
            received: METRICS.http_request_body.get_or_create_owned(&bytes),
            sent: METRICS.http_response_body.get_or_create_owned(&bytes),
        }
    }
}

fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "other",
    }
}

/// One request; what it took is counted when it is dropped.
pub(crate) struct Measured {
    instruments: Rc<RequestInstruments>,
    begun: Instant,
    received: Option<Arc<AtomicU64>>,
    sent: u64,
    handles: Option<Rc<Handles>>,
    websocket: bool,
}

impl Measured {
    /// The head of the answer is known. `pattern` is asked for the route that matched.
    pub(crate) fn answered(
        &mut self,
        path: &str,
        pattern: impl FnOnce() -> Option<String>,
        method: &Method,
        code: u16,
        secure: bool,
    ) {
        self.handles = Some(self.instruments.handles(path, pattern, (method, code, secure)));
    }

    /// It is a WebSocket from here on: counted now, and its time is no answer's time.
    pub(crate) fn became_websocket(&mut self) {
        if !self.websocket
            && let Some(handles) = &self.handles
        {
            handles.requests.inc();
            self.websocket = true;
        }
    }

    pub(crate) fn add_sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        if self.received.is_some() {
            self.instruments.uploads.dec();
        }
        let Some(handles) = &self.handles else { return };
        if !self.websocket {
            handles.requests.inc();
            handles.duration.observe(self.begun.elapsed().as_secs_f64());
        }
        if let Some(received) = &self.received {
            handles.received.inc_by(received.load(Relaxed));
        }
        handles.sent.inc_by(self.sent);
    }
}
