//! Other listeners, while the appliance runs: some come, some go, some move or serve something else.
//!
//! What can fail is done by [`PrepareListeners`]; [`ServeListeners`] then swaps pointers.

use std::sync::Arc;

use actix::{
    ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, Message, MessageResult,
    WrapFuture, fut::wrap_future,
};

use super::{
    Launch, ListenerSupervisor,
    listener::{Gate, Listener},
    socket::{BoundListener, BoundSocket},
};
use crate::{
    engine::{BindError, Generation, ListenerApplication, ListenerPlan},
    handover::{Generations, HandoverError},
    request_id::RequestId,
};

/// Binds what is not bound yet and lets the workers make the routes of all listeners that there are
/// to be. Nothing serves otherwise before [`ServeListeners`].
#[derive(Message)]
#[rtype(result = "Result<PreparedListeners, ListenersError>")]
pub struct PrepareListeners(pub Vec<(ListenerPlan, Arc<dyn ListenerApplication>)>);

/// Lets what was prepared serve, and that alone; replies with the new generations.
#[derive(Message)]
#[rtype(result = "Generations")]
pub struct ServeListeners {
    pub prepared: PreparedListeners,
    /// Why, in the past tense.
    pub reason: String,
    /// The request that asked for it.
    pub request_id: Option<RequestId>,
}

/// Listeners that can serve.
pub struct PreparedListeners(Vec<PreparedListener>);

struct PreparedListener {
    plan: Arc<ListenerPlan>,
    application: Arc<dyn ListenerApplication>,
    socket: Arc<BoundSocket>,
}

/// Why listeners cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenersError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Build(#[from] HandoverError),
}

impl ListenerSupervisor {
    /// The socket for a listener: its own where it stays, that of another which lets go of it, or a
    /// new one.
    fn socket_for(&self, plan: &ListenerPlan) -> Result<Arc<BoundSocket>, BindError> {
        let gates = || {
            let of =
                |listener: &'_ Listener| listener.gate.as_ref().map(|gate| gate.socket.clone());
            self.listeners.iter().filter_map(move |listener| Some((listener, of(listener)?)))
        };
        let same = |listener: &Listener| listener.plan.address == plan.address;
        let own = gates().find(|(listener, _)| listener.plan.name == plan.name && same(listener));
        // Port 0 is another one each time.
        let others = || gates().find(|(listener, _)| plan.address.port() != 0 && same(listener));
        if let Some((_, socket)) = own.or_else(others) {
            return Ok(socket);
        }
        let bound = BoundListener::bind(plan.clone()).map_err(|err| {
            let port = plan.address.port();
            match gates().find(|(listener, _)| port != 0 && listener.plan.address.port() == port) {
                Some((own, _)) => BindError {
                    reason: format!(
                        "it overlaps with {}, which listener `{}` has until then; remove that listener first, or use another port in between",
                        own.plan.address, own.plan.name
                    ),
                    ..err
                },
                None => err,
            }
        })?;
        Ok(Arc::new(bound.socket))
    }

    fn prepare_listeners(
        &self,
        next: Vec<(ListenerPlan, Arc<dyn ListenerApplication>)>,
    ) -> Result<PreparedListeners, BindError> {
        let prepared = next.into_iter().map(|(plan, application)| {
            let socket = self.socket_for(&plan)?;
            Ok(PreparedListener { plan: Arc::new(plan), application, socket })
        });
        Ok(PreparedListeners(prepared.collect::<Result<_, _>>()?))
    }

    /// Whether a listener serves already as it is to.
    fn is_served(&self, next: &PreparedListener) -> bool {
        self.listeners.iter().any(|listener| {
            let same_socket =
                listener.gate.as_ref().is_some_and(|gate| Arc::ptr_eq(&gate.socket, &next.socket));
            let same_application = listener
                .serving()
                .is_some_and(|serving| Arc::ptr_eq(serving.application(), &next.application));
            same_socket && same_application && *listener.plan == *next.plan
        })
    }

    fn serve_listeners(
        &mut self,
        PreparedListeners(next): PreparedListeners,
        reason: &str,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) -> Generations {
        let stays = |name: &str| next.iter().any(|next| next.plan.name == name);
        // Sockets go from hand to hand with what accepts on them, so that nothing is accepted for the
        // listener that had one before.
        let mut free: Vec<(String, Gate)> = Vec::new();
        let mut gone = Vec::new();
        for listener in self.listeners.iter_mut().filter(|listener| !stays(&listener.plan.name)) {
            let Some(gate) = listener.gate.take() else { continue };
            let name = listener.plan.name.clone();
            gone.push((name.clone(), listener.serving().cloned()));
            free.push((name, gate));
        }
        let changed: Vec<_> = next.into_iter().filter(|next| !self.is_served(next)).collect();
        for next in &changed {
            let listener = self.listener_called(&next.plan);
            let leaves = |gate: &mut Gate| !Arc::ptr_eq(&gate.socket, &next.socket);
            if let Some(gate) = listener.gate.take_if(leaves) {
                free.push((next.plan.name.clone(), gate));
            }
        }
        let mut launches = Vec::new();
        for next in changed {
            let taken = free.iter().position(|(_, gate)| Arc::ptr_eq(&gate.socket, &next.socket));
            let taken = taken.map(|index| free.swap_remove(index).1);
            let listener = self.listener_called(&next.plan);
            listener.plan = next.plan.clone();
            if listener.gate.is_none() {
                listener.gate = Some(taken.unwrap_or_else(|| Gate::new(next.socket)));
            }
            let name = next.plan.name.clone();
            launches.push(Launch { listener: name, application: next.application });
        }
        let numbers = self.promote(launches, reason, request_id, ctx);
        let closing = free.into_iter().map(|(name, mut gate)| {
            // A listener that has moved gets what comes to its old address still.
            if let Some(serving) = self.serving(&name) {
                gate.lead_to(&serving, &self.pool, (&self.admission, &self.tls));
            }
            gate.close()
        });
        let closed = futures::future::join_all(closing.collect::<Vec<_>>());
        ctx.spawn(wrap_future::<_, Self>(closed).map(move |_, act, ctx| {
            for (name, generation) in gone {
                act.retire(&name, generation.as_ref(), request_id, ctx);
            }
        }));
        numbers
    }

    /// The listener of that name; a new one has no socket yet.
    fn listener_called(&mut self, plan: &Arc<ListenerPlan>) -> &mut Listener {
        let index = self.index(&plan.name).unwrap_or_else(|| {
            self.listeners.push(Listener::new(plan.clone()));
            self.listeners.len() - 1
        });
        &mut self.listeners[index]
    }

    /// Drains the last generation of a listener that was removed.
    fn retire(
        &mut self,
        name: &str,
        generation: Option<&Arc<Generation>>,
        request_id: Option<RequestId>,
        ctx: &mut Context<Self>,
    ) {
        match generation {
            Some(generation) if !generation.is_draining() => {
                self.drain(name, generation, request_id, ctx);
            }
            _ => self.forget_if_gone(name),
        }
    }
}

impl Handler<PrepareListeners> for ListenerSupervisor {
    // Atomic, so that no handover changes the listeners meanwhile.
    type Result = AtomicResponse<Self, Result<PreparedListeners, ListenersError>>;

    fn handle(&mut self, msg: PrepareListeners, _ctx: &mut Self::Context) -> Self::Result {
        let prepared = self.prepare_listeners(msg.0);
        let pool = self.pool.clone();
        let built = async move {
            let prepared = prepared?;
            for next in &prepared.0 {
                let built = pool.build(&next.application).await;
                built
                    .map_err(|source| HandoverError { listener: next.plan.name.clone(), source })?;
            }
            Ok(prepared)
        };
        AtomicResponse::new(Box::pin(built.into_actor(self)))
    }
}

impl Handler<ServeListeners> for ListenerSupervisor {
    type Result = MessageResult<ServeListeners>;

    fn handle(&mut self, msg: ServeListeners, ctx: &mut Self::Context) -> Self::Result {
        let ServeListeners { prepared, reason, request_id } = msg;
        MessageResult(self.serve_listeners(prepared, &reason, request_id, ctx))
    }
}
