//! What a worker makes of an application: its routes, and the dispatcher of HTTP/1 before them.

use std::{future::ready, net::SocketAddr, rc::Rc, sync::Arc};

use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_service::{Service as _, ServiceFactory, fn_factory};
use futures::future::LocalBoxFuture;

use super::{
    app::App,
    connection::{DISCONNECT_TIMEOUT, HEAD_TIMEOUT, KEEP_ALIVE},
    offers::TakesWebSocket,
    plan::{ContinueGate, ListenerApplication},
    stream::Http1,
    upgrade,
};

/// Serves a stream as long as a dispatcher does.
pub(super) type Http1Service =
    Box<dyn Fn(Http1, SocketAddr) -> LocalBoxFuture<'static, Result<(), DispatchError>>>;

/// What serves HTTP/1 with `app`.
async fn service(app: Rc<App>, gate: ContinueGate) -> Result<Http1Service, ()> {
    let (upgraded, shared) = (app.clone(), app);
    let service = HttpService::build()
        .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
        .client_request_timeout(HEAD_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .expect(gate)
        .upgrade(fn_factory(move || ready(Ok::<_, ()>(upgrade::service(upgraded.clone())))))
        .on_connect_ext(|stream: &Http1, extensions| {
            extensions.insert(stream.connection().clone());
        })
        .h1(fn_factory(move || ready(Ok::<_, ()>(shared.clone()))))
        .new_service(())
        .await?;
    Ok(Box::new(move |stream, peer| Box::pin(service.call((stream, Some(peer))))))
}

/// What answers on the listeners whose application it was made of.
pub(super) struct Answers {
    pub(super) app: Rc<App>,
    pub(super) http1: Http1Service,
    pub(super) takes_websocket: TakesWebSocket,
}

impl Answers {
    pub(super) async fn of(application: &Arc<dyn ListenerApplication>) -> Result<Rc<Self>, ()> {
        let app = Rc::new(App(application.app().new_service(()).await?));
        let http1 = service(app.clone(), application.continue_gate()).await?;
        Ok(Rc::new(Self { app, http1, takes_websocket: application.takes_websocket() }))
    }
}
