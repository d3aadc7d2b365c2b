//! Resources that answer a wrong method with 405 and `Allow`.

use actix_web::{
    FromRequest, Handler, Resource, Responder, guard,
    http::Method,
    web::{self, ServiceConfig},
};

use crate::http::error::ApiError;

/// A path and its methods, to be registered with [`Endpoint::register`]. Any other method is answered
/// with 405 and an `Allow` header.
///
/// ```
/// use actix_web::{HttpResponse, web::{Path, ServiceConfig}};
/// use portcullis::Endpoint;
///
/// fn routes(config: &mut ServiceConfig) {
///     Endpoint::new("/{id:[0-9]+}").get(read).delete(remove).register(config);
/// }
///
/// async fn read(id: Path<u64>) -> String {
///     format!("guest {id}\n")
/// }
///
/// async fn remove(_id: Path<u64>) -> HttpResponse {
///     HttpResponse::NoContent().finish()
/// }
/// # let _ = routes;
/// ```
pub struct Endpoint {
    #[cfg(test)]
    path: String,
    resource: Resource,
    allow: Vec<Method>,
}

impl Endpoint {
    /// `path` is relative to the mount, and is a pattern of actix-web: `/{id}` or `/{id:[0-9]+}`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self {
            #[cfg(test)]
            path: path.to_owned(),
            resource: web::resource(path.to_owned()),
            allow: Vec::new(),
        }
    }

    /// Answers GET, and HEAD with the same head.
    #[must_use]
    pub fn get<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let read = guard::Any(guard::Get()).or(guard::Head());
        self.resource = self.resource.route(web::route().guard(read).to(handler));
        self.allow.extend([Method::GET, Method::HEAD]);
        self
    }

    /// Answers POST.
    #[must_use]
    pub fn post<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.method(Method::POST, handler)
    }

    /// Answers DELETE.
    #[must_use]
    pub fn delete<F, Args>(self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.method(Method::DELETE, handler)
    }

    /// Answers another method, such as PUT.
    #[must_use]
    pub fn method<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.resource = self.resource.route(web::method(method.clone()).to(handler));
        self.allow.push(method);
        self
    }

    /// Puts it among the routes of a mount.
    pub fn register(self, config: &mut ServiceConfig) {
        #[cfg(test)]
        tests::note(&self.path, &self.allow);
        let allow = self.allow.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
        let refuse = move || {
            let allow = allow.clone();
            async move { Err::<String, _>(ApiError::MethodNotAllowed(allow)) }
        };
        config.service(self.resource.default_service(web::to(refuse)));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    //! What was registered, for the test of the document.

    use std::cell::RefCell;

    use super::Method;

    thread_local! {
        static REGISTERED: RefCell<Vec<(String, Vec<Method>)>> = RefCell::default();
    }

    pub(super) fn note(path: &str, methods: &[Method]) {
        REGISTERED.with_borrow_mut(|all| all.push((path.to_owned(), methods.to_vec())));
    }

    /// Paths and methods that this thread has registered since the last call.
    pub(crate) fn registered() -> Vec<(String, Vec<Method>)> {
        REGISTERED.take()
    }
}
