//! What goes into the audit record, seen from the front: every attempt to change something behind
//! the admin password, carried out or refused, and every failed login, wrong tokens included.

use std::net::IpAddr;

use actix_web::{
    HttpMessage, HttpRequest,
    body::BoxBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{Method, StatusCode},
};
use portcullis_actors::{
    Owners, Requester,
    audit::{AuditEntry, Outcome},
    auth::ADMIN,
};

use crate::{
    front::{authentication, mounts::Matched},
    service::Authentication,
};

/// Watches the requests of one listener.
#[derive(Clone)]
pub(crate) struct Auditor {
    owners: Owners,
}

/// What an attempt that succeeded has changed in particular; handlers leave it in the request.
struct Change(String);

/// Tells the record what the request has changed in particular, such as `note 7 of minutes`. Never a
/// secret. It counts for requests that would change something behind the admin password; a second call
/// replaces what the first one said, and a refused or failed request is recorded with its error instead.
pub fn note_change(request: &HttpRequest, change: impl Into<String>) {
    request.extensions_mut().insert(Change(change.into()));
}

/// An attempt under way.
pub(crate) struct Attempt {
    method: Method,
    path: String,
    address: Option<IpAddr>,
    authentication: Authentication,
    with_credentials: bool,
    changes: bool,
    fingerprint: String,
}

impl Auditor {
    pub(crate) fn new(owners: Owners) -> Self {
        Self { owners }
    }

    /// Takes note of a request that may have to be recorded; `mount` is the one that it belongs to.
    pub(crate) fn begin(
        &self,
        request: &ServiceRequest,
        mount: Option<Matched>,
    ) -> Option<Attempt> {
        let authentication = mount?.authentication;
        let safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let changes = match authentication {
            Authentication::Open => return None,
            Authentication::Admin => !safe,
            // What is behind a token is work, not administration.
            Authentication::Monitoring | Authentication::JobToken => false,
        };
        let with_credentials = authentication::has_credentials(authentication, request.head());
        if !changes && !with_credentials {
            return None;
        }
        // As it was routed, so that one handler has one name here.
        let path = request.match_info().as_str();
        Some(Attempt {
            method: request.method().clone(),
            path: path.chars().filter(char::is_ascii_graphic).take(100).collect(),
            address: request.peer_addr().map(|peer| peer.ip().to_canonical()),
            authentication,
            with_credentials,
            changes,
            fingerprint: if changes { self.fingerprint() } else { String::new() },
        })
    }

    /// Records what became of it.
    pub(crate) fn end(&self, attempt: Attempt, response: &ServiceResponse<BoxBody>) {
        let status = response.status();
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS);
        let failed_login = refused && attempt.with_credentials;
        if !attempt.changes && !failed_login {
            return;
        }
        let requester = response.request().extensions().get::<Requester>().cloned();
        let is_stranger = requester.is_none();
        let by = requester.unwrap_or_else(|| Requester {
            user: match attempt.authentication {
                Authentication::Admin | Authentication::Monitoring if attempt.with_credentials => {
                    format!("{ADMIN}?")
                }
                _ => "anybody".into(),
            },
            address: attempt.address,
            request_id: None,
        });
        let outcome = match status.as_u16() {
            0..=399 => Outcome::Done,
            400..=499 => Outcome::Refused,
            _ => Outcome::Failed,
        };
        let (login, wrong) = match attempt.authentication {
            Authentication::JobToken => ("use the job token", "wrong job token"),
            Authentication::Monitoring => ("log in", "wrong user, password or token"),
            Authentication::Open | Authentication::Admin => ("log in", "wrong user or password"),
        };
        let action = if attempt.changes {
            format!("{} {}", attempt.method, attempt.path)
        } else {
            login.to_owned()
        };
        let mut entry = AuditEntry::new(&by, &action, outcome);
        if let Some(err) = response.response().error() {
            entry = entry.detail(err.to_string());
        } else if failed_login && status == StatusCode::TOO_MANY_REQUESTS {
            entry = entry.detail("too many failures from this address: not looked at");
        } else if failed_login {
            entry = entry.detail(wrong);
        } else if outcome != Outcome::Done {
            entry = entry.detail(status.to_string());
        } else if let Some(change) = response.request().extensions().get::<Change>() {
            entry = entry.detail(&*change.0);
        }
        if attempt.changes && !is_stranger {
            entry = entry.fingerprints(&attempt.fingerprint, &self.fingerprint());
        }
        if is_stranger {
            self.owners.audit.record_refusal(entry);
        } else {
            self.owners.audit.record(entry);
        }
    }

    fn fingerprint(&self) -> String {
        self.owners.certificates.active().fingerprint().to_owned()
    }
}
