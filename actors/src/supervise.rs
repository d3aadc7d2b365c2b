//! Owners that die are started again.
//!
//! A panic in an owner must not leave an appliance that can no longer be changed. Its mailbox and
//! its state outlive it: the address stays valid, what was being done is given up, and its
//! [`restarting`](actix::Supervised::restarting) makes what is published agree with the ledger.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix::{Actor, Addr, AsyncContext, Context, Supervised};
use futures::FutureExt;
use time::OffsetDateTime;

use crate::metrics::{METRICS, OwnerLabels};

/// An owner that dies again this soon is left dead for a moment.
const SOON: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// What has become of the owners that have died.
static DEATHS: Mutex<BTreeMap<&'static str, Death>> = Mutex::new(BTreeMap::new());

/// How often an owner has died since the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub count: u64,
    /// The last time.
    pub at: OffsetDateTime,
    /// What the panic said then.
    pub reason: String,
    /// Whether it does not run yet.
    pub dead: bool,
}

fn table() -> MutexGuard<'static, BTreeMap<&'static str, Death>> {
    DEATHS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The owners that have died since the start, by name.
#[must_use]
pub fn deaths() -> BTreeMap<&'static str, Death> {
    table().clone()
}

/// The owners that do not run at this moment.
#[must_use]
pub fn dead() -> Vec<&'static str> {
    table().iter().filter(|(_, death)| death.dead).map(|(name, _)| *name).collect()
}

/// Why an owner gave no answer: it died over the message, or the appliance ends.
#[must_use]
pub fn why_no_answer() -> String {
    let just_now = |death: &Death| death.dead || OffsetDateTime::now_utc() - death.at < SOON;
    match deaths().into_iter().find(|(_, death)| just_now(death)) {
        Some((name, _)) => format!(
            "the owner of {name} died and is started again; look at the state, and try once more"
        ),
        None => "the appliance is shutting down".into(),
    }
}

/// The mailbox of an owner that does not live yet, for those who have to know its address before.
pub(crate) struct Mailbox<A: Actor<Context = Context<A>>>(Context<A>);

impl<A> Mailbox<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    pub(crate) fn new() -> Self {
        Self(Context::new())
    }

    pub(crate) fn address(&self) -> Addr<A> {
        self.0.address()
    }

    /// Starts the owner, and again whenever it panics.
    pub(crate) fn start(self, name: &'static str, actor: A) -> Addr<A> {
        let address = self.address();
        let mut life = self.0.into_future(actor);
        // Told from the start on, as a zero: an alert needs something to compare with.
        drop(METRICS.owner_deaths.get_or_create(&OwnerLabels { owner: name }));
        actix::spawn(async move {
            let mut died: Option<Instant> = None;
            // It ends without a panic when nobody holds its address any more.
            while let Err(panic) = AssertUnwindSafe(&mut life).catch_unwind().await {
                bury(name, &*panic);
                if died.replace(Instant::now()).is_some_and(|before| before.elapsed() < SOON) {
                    tokio::time::sleep(PAUSE).await;
                }
                let restarted = std::panic::catch_unwind(AssertUnwindSafe(|| life.restart()));
                match restarted {
                    Ok(true) => revive(name),
                    Ok(false) => return,
                    Err(panic) => bury(name, &*panic),
                }
            }
        });
        address
    }
}

/// Starts an owner, and again whenever it panics.
pub(crate) fn start<A>(name: &'static str, actor: A) -> Addr<A>
where
    A: Actor<Context = Context<A>> + Supervised,
{
    Mailbox::new().start(name, actor)
}

fn bury(name: &'static str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    let reason = text.unwrap_or_else(|| "a panic without a text".into());
    log::error!("the owner of {name} died ({reason}); it is started again with its state");
    METRICS.owner_deaths.get_or_create(&OwnerLabels { owner: name }).inc();
    let mut deaths = table();
    let count = deaths.get(name).map_or(0, |death| death.count) + 1;
    deaths.insert(name, Death { count, at: OffsetDateTime::now_utc(), reason, dead: true });
}

fn revive(name: &'static str) {
    if let Some(death) = table().get_mut(name) {
        death.dead = false;
    }
    log::warn!("the owner of {name} runs again");
}

#[cfg(test)]
mod tests {
    use actix::{Handler, Message};

    use super::*;

    struct Counter(u32);

    impl Actor for Counter {
        type Context = Context<Self>;
    }

    impl Supervised for Counter {
        fn restarting(&mut self, _ctx: &mut Self::Context) {
            self.0 += 100;
        }
    }

    /// Counts, or dies.
    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Count(bool);

    impl Handler<Count> for Counter {
        type Result = u32;

        fn handle(&mut self, msg: Count, _ctx: &mut Self::Context) -> u32 {
            assert!(msg.0, "on purpose");
            self.0 += 1;
            self.0
        }
    }

    #[actix::test]
    async fn an_owner_that_dies_keeps_its_address_and_its_state_and_is_counted() {
        let owner = start("the counters", Counter(0));
        assert_eq!(owner.send(Count(true)).await.unwrap(), 1);
        for round in 1..=2 {
            assert!(owner.send(Count(false)).await.is_err(), "what it was doing is given up");
            assert_eq!(owner.send(Count(true)).await.unwrap(), 1 + round * 101);
            let death = deaths()["the counters"].clone();
            assert_eq!((death.count, death.dead), (round.into(), false));
            assert_eq!(death.reason, "on purpose");
        }
        assert!(!dead().contains(&"the counters"));
    }
}
