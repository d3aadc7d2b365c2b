//! What the tasks of one thread of the pool share: what it answers with, and which connections rest.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::{Arc, Weak},
};

use super::{answers::Answers, connection::Connection, load::Load, plan::ListenerApplication};

/// A worker with so many connections more than the one that has fewest lets the others accept.
const HEAD_START: usize = 4;

/// What a worker made, for as long as some generation has the application that it is made of.
struct Made {
    application: Weak<dyn ListenerApplication>,
    answers: Rc<Answers>,
}

/// What the tasks of one worker share.
pub(super) struct Worker {
    load: Arc<Load>,
    loads: Arc<[Arc<Load>]>,
    made: RefCell<HashMap<*const (), Made>>,
    /// Connections of HTTP/1 that may have to rest.
    awake: RefCell<HashMap<*const Connection, Arc<Connection>>>,
}

impl Worker {
    pub(super) fn new(index: usize, loads: &Arc<[Arc<Load>]>) -> Rc<Self> {
        Rc::new(Self {
            load: loads[index].clone(),
            loads: loads.clone(),
            made: RefCell::default(),
            awake: RefCell::default(),
        })
    }

    pub(super) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// Whether another worker has so much less to do that it should accept.
    pub(super) fn has_enough(&self) -> bool {
        let least = self.loads.iter().map(|load| load.connections()).min().unwrap_or_default();
        self.load.connections() > least + HEAD_START
    }

    /// What answers for an application; made now if this worker has not made it before.
    pub(super) async fn answers(
        &self,
        application: &Arc<dyn ListenerApplication>,
    ) -> Result<Rc<Answers>, ()> {
        let key = Arc::as_ptr(application).cast();
        if let Some(made) = self.made.borrow().get(&key) {
            return Ok(made.answers.clone());
        }
        let answers = Answers::of(application).await?;
        let mut made = self.made.borrow_mut();
        // The weak reference keeps the address from being used again before it goes here.
        made.retain(|_, made| made.application.strong_count() > 0);
        let application = Arc::downgrade(application);
        made.insert(key, Made { application, answers: answers.clone() });
        Ok(answers)
    }

    /// Looks from time to time whether the connection can rest, until the guard is dropped.
    pub(super) fn keep_awake(self: &Rc<Self>, connection: &Arc<Connection>) -> Awake {
        connection.wake_up();
        self.awake.borrow_mut().insert(Arc::as_ptr(connection), connection.clone());
        Awake { worker: self.clone(), connection: Arc::as_ptr(connection) }
    }

    /// Lets connections rest on which nothing is in progress.
    pub(super) fn let_rest(&self) {
        // Waking runs no code of others now, so nothing changes the table meanwhile.
        self.awake.borrow().values().for_each(|connection| connection.rest_if_idle());
    }
}

/// A connection that somebody serves at the moment.
pub(super) struct Awake {
    worker: Rc<Worker>,
    connection: *const Connection,
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.worker.awake.borrow_mut().remove(&self.connection);
    }
}
