//! Who may administer the appliance.
//!
//! The [`AuthActor`] owns the admin credential, the job token and the failed attempts. It
//! publishes a snapshot that every request reads without waiting; only a password that has not
//! been seen yet goes through its mailbox, to be hashed on a bounded number of blocking threads.

mod basic;
mod credential;
mod messages;
mod throttle;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Instant,
};

use actix::{Actor, Addr, AsyncContext, Context, Handler, ResponseFuture};
use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

pub(crate) use self::throttle::Throttle;
use self::{basic::BasicCredentials, messages::Authenticate};
pub use self::{
    credential::{
        ADMIN, Credential, CredentialError, DEFAULT_PASSWORD, MAX_PASSWORD_BYTES, PasswordError,
        validate_password,
    },
    messages::{AuthError, DisableAuthentication, Refusal, SetAdminPassword, SetJobToken},
    throttle::{ThrottleState, ThrottledAddress},
};
use crate::{
    blocking,
    change::ChangeError,
    events::{EventKind, EventLog},
    ledger::{Change, Ledger, Requester},
    metrics::{METRICS, ReasonLabels},
    request_id::RequestId,
    settings::ThrottleLimits,
    store::{AdminAccess, State},
};

/// A password's keyed hash: enough to recognise it again, useless outside this process.
type Tag = [u8; 32];

/// What requests are judged by; replaced whole by every change.
struct Snapshot {
    access: Access,
    job_token: Option<Zeroizing<String>>,
}

enum Access {
    Open,
    Password { credential: Credential, verified: OnceLock<Tag>, is_default: OnceLock<bool> },
}

impl Snapshot {
    fn new(access: Access, job_token: Option<Zeroizing<String>>) -> Self {
        Self { access, job_token }
    }
}

impl Access {
    fn from_state(admin: &AdminAccess) -> Result<Self, CredentialError> {
        Ok(match admin {
            AdminAccess::Open => Self::Open,
            AdminAccess::Htpasswd(line) => Self::Password {
                credential: Credential::parse(line)?,
                verified: OnceLock::new(),
                is_default: OnceLock::new(),
            },
        })
    }
}

/// The readers' side: judges requests. Cheap to clone; shared by all threads.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<AuthShared>,
    actor: Addr<AuthActor>,
}

/// What the actor and its readers share.
pub(crate) struct AuthShared {
    snapshot: ArcSwap<Snapshot>,
    throttle: Mutex<Throttle>,
    /// The keyed hashes of the tokens that scrapers may use.
    monitoring: ArcSwap<Vec<Tag>>,
    key: hmac::Key,
    events: EventLog,
}

impl AuthShared {
    pub(crate) fn new(state: &State, events: EventLog) -> Result<Self, CredentialError> {
        let access = Access::from_state(&state.admin)?;
        let rng = aws_lc_rs::rand::SystemRandom::new();
        Ok(Self {
            snapshot: ArcSwap::from_pointee(Snapshot::new(access, state.job_token.clone())),
            throttle: Mutex::new(Throttle::default()),
            monitoring: ArcSwap::default(),
            key: hmac::Key::generate(hmac::HMAC_SHA256, &rng)
                .expect("the operating system gives random bytes"),
            events,
        })
    }

    fn tag(&self, password: &[u8]) -> Tag {
        let tag = hmac::sign(&self.key, password);
        tag.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
    }

    fn throttle<T>(&self, work: impl FnOnce(&mut Throttle) -> T) -> T {
        work(&mut self.throttle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Addresses may fail so often and so fast from now on.
    pub(crate) fn limit_failures(&self, limits: ThrottleLimits) {
        self.throttle(|throttle| throttle.set_limits(limits));
    }

    /// Tells followers that somebody gave a wrong user or password.
    fn tell_failure(&self, address: IpAddr, request_id: Option<RequestId>) {
        let throttled = self.throttle(|throttle| throttle.refuse(address, Instant::now())).is_err();
        let kind = EventKind::LoginFailed { address, throttled };
        self.events.publish_for(request_id, kind);
    }

    /// Remembers that `password` is the right one, which saves the next request its hashing.
    fn know(&self, password: &str) {
        if let Access::Password { verified, is_default, .. } = &self.snapshot.load().access {
            let _ = verified.set(self.tag(password.as_bytes()));
            let _ = is_default.set(password == DEFAULT_PASSWORD);
        }
    }

    /// Adopts what a change has made durable. What is known of a credential that stays is kept.
    pub(crate) fn publish(&self, state: &State) -> Result<(), CredentialError> {
        let access = Access::from_state(&state.admin)?;
        let before = self.snapshot.load();
        if let (
            Access::Password { credential, verified, is_default },
            Access::Password { credential: old, verified: old_verified, is_default: old_default },
        ) = (&access, &before.access)
            && credential == old
        {
            old_verified.get().map(|tag| verified.set(*tag));
            old_default.get().map(|is_it| is_default.set(*is_it));
        }
        self.snapshot.store(Arc::new(Snapshot::new(access, state.job_token.clone())));
        Ok(())
    }
}

impl Authenticator {
    pub(crate) fn new(shared: Arc<AuthShared>, actor: Addr<AuthActor>) -> Self {
        Self { shared, actor }
    }

    /// Judges the `Authorization` header of a request from `address`.
    ///
    /// A password that was verified before costs microseconds, a new one a bcrypt hash on a
    /// blocking thread.
    ///
    /// # Errors
    /// Why the request is not let in.
    pub async fn authenticate(
        &self,
        address: IpAddr,
        header: Option<&[u8]>,
    ) -> Result<Requester, Refusal> {
        let judged = self.judge(address, header).await;
        let reason = match &judged {
            // Browsers ask without a password first; that is no failure.
            Ok(_) | Err(Refusal::Missing | Refusal::Unavailable) => return judged,
            Err(Refusal::Malformed) => "malformed",
            Err(Refusal::Wrong) => "wrong",
            Err(Refusal::Throttled { .. }) => "throttled",
        };
        METRICS.auth_failures.get_or_create(&ReasonLabels { reason }).inc();
        judged
    }

    async fn judge(&self, address: IpAddr, header: Option<&[u8]>) -> Result<Requester, Refusal> {
        let admitted = || Requester::new(ADMIN, address);
        let snapshot = self.shared.snapshot.load_full();
        let Access::Password { verified, .. } = &snapshot.access else {
            return Ok(admitted());
        };
        let credentials =
            BasicCredentials::parse(header.ok_or(Refusal::Missing)?).ok_or(Refusal::Malformed)?;
        // A refused address learns nothing, not even from the fast way.
        self.shared
            .throttle(|throttle| throttle.refuse(address, Instant::now()))
            .map_err(|retry_after| Refusal::Throttled { retry_after })?;
        let user_is_admin = credentials.user() == ADMIN.as_bytes();
        if user_is_admin && let Some(known) = verified.get() {
            let tag = self.shared.tag(credentials.password());
            if verify_slices_are_equal(known, &tag).is_ok() {
                self.shared.throttle(|throttle| {
                    if !throttle.is_empty() {
                        throttle.end(address, true, Instant::now());
                    }
                });
                return Ok(admitted());
            }
        }
        let password = Zeroizing::new(credentials.password().to_vec());
        self.actor
            .send(Authenticate {
                address,
                user_is_admin,
                password,
                request_id: RequestId::current(),
            })
            .await
            .map_err(|_| Refusal::Unavailable)?
            .map(|()| admitted())
    }

    /// Replaces the list of tokens that scrapers may use.
    pub fn set_monitoring_tokens(&self, tokens: &[Zeroizing<String>]) {
        let tags = tokens.iter().map(|token| self.shared.tag(token.as_bytes())).collect();
        self.shared.monitoring.store(Arc::new(tags));
    }

    /// Whether `token` is one that scrapers may use.
    #[must_use]
    pub fn admits_monitoring(&self, token: &[u8]) -> bool {
        let tag = self.shared.tag(token);
        // All are compared, so that the time tells nothing.
        self.shared
            .monitoring
            .load()
            .iter()
            .fold(false, |found, known| verify_slices_are_equal(known, &tag).is_ok() | found)
    }

    /// How many addresses are refused now.
    #[must_use]
    pub fn refused_addresses(&self) -> usize {
        self.shared.throttle(|throttle| throttle.refused(Instant::now()))
    }

    /// The addresses that are slowed or refused now, the worst first and at most 500 of them, and
    /// how many there are.
    #[must_use]
    pub fn throttled_addresses(&self) -> (Vec<ThrottledAddress>, usize) {
        self.shared.throttle(|throttle| throttle.throttled(Instant::now()))
    }

    /// Whether the speech services ask for a token.
    #[must_use]
    pub fn has_job_token(&self) -> bool {
        self.shared.snapshot.load().job_token.is_some()
    }

    /// Whether a password is asked for at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        matches!(self.shared.snapshot.load().access, Access::Password { .. })
    }

    /// Whether the password is still the default one; `None` until that has been checked.
    #[must_use]
    pub fn has_default_password(&self) -> Option<bool> {
        match &self.shared.snapshot.load().access {
            Access::Open => Some(false),
            Access::Password { is_default, .. } => is_default.get().copied(),
        }
    }

    /// Whether `token` (`None`: none was sent) opens the speech services.
    #[must_use]
    pub fn job_token_admits(&self, token: Option<&[u8]>) -> bool {
        match (&self.shared.snapshot.load().job_token, token) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(token)) => {
                verify_slices_are_equal(wanted.as_bytes(), token).is_ok()
            }
        }
    }
}

/// Owns the admin credential, the job token and the failed attempts.
pub struct AuthActor {
    shared: Arc<AuthShared>,
    ledger: Ledger,
    /// Checks under way by tag, so that a burst of the same password is hashed once.
    checks: HashMap<Tag, Shared<BoxFuture<'static, bool>>>,
    /// Half the cores may hash at once, so that requests that need none are not held up.
    hashing: Arc<Semaphore>,
}

impl AuthActor {
    pub(crate) fn new(shared: Arc<AuthShared>, ledger: Ledger) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let hashing = Arc::new(Semaphore::new((cores / 2).max(1)));
        Self { shared, ledger, checks: HashMap::new(), hashing }
    }

    fn check(
        &mut self,
        tag: Tag,
        password: Zeroizing<Vec<u8>>,
    ) -> Shared<BoxFuture<'static, bool>> {
        if let Some(check) = self.checks.get(&tag) {
            return check.clone();
        }
        let (shared, hashing) = (self.shared.clone(), self.hashing.clone());
        let check = async move {
            let _permit = hashing.acquire_owned().await;
            let snapshot = shared.snapshot.load_full();
            let judged = snapshot.clone();
            let is_default_word = password.as_slice() == DEFAULT_PASSWORD.as_bytes();
            let right = blocking::run(move || match &judged.access {
                Access::Open => true,
                Access::Password { credential, .. } => credential.verify(&password),
            })
            .await
            .unwrap_or(false);
            if right && let Access::Password { verified, is_default, .. } = &snapshot.access {
                let _ = verified.set(tag);
                let _ = is_default.set(is_default_word);
            }
            // A change that was published meanwhile has the last word.
            right && Arc::ptr_eq(&snapshot, &shared.snapshot.load_full())
        }
        .boxed()
        .shared();
        self.checks.insert(tag, check.clone());
        check
    }
}

impl Actor for AuthActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(std::time::Duration::from_secs(60), |act, _| {
            act.shared.throttle(|throttle| throttle.forget_empty(Instant::now()));
        });
        // Tells operators about an unchanged default password without waiting for a login.
        let tag = self.shared.tag(DEFAULT_PASSWORD.as_bytes());
        let check = self.check(tag, Zeroizing::new(DEFAULT_PASSWORD.as_bytes().to_vec()));
        let (shared, addr) = (self.shared.clone(), ctx.address());
        actix::spawn(async move {
            let admits = check.await;
            if let Access::Password { is_default, .. } = &shared.snapshot.load().access {
                let _ = is_default.set(admits);
            }
            addr.do_send(ForgetCheck(tag));
        });
    }
}

impl Handler<Authenticate> for AuthActor {
    type Result = ResponseFuture<Result<(), Refusal>>;

    fn handle(&mut self, msg: Authenticate, ctx: &mut Self::Context) -> Self::Result {
        let shared = self.shared.clone();
        let begun = shared.throttle(|throttle| throttle.begin(msg.address, Instant::now()));
        if let Err(retry_after) = begun {
            return Box::pin(async move { Err(Refusal::Throttled { retry_after }) });
        }
        let (addr, address) = (ctx.address(), msg.address);
        let check = msg.user_is_admin.then(|| {
            let tag = shared.tag(&msg.password);
            (tag, self.check(tag, msg.password))
        });
        Box::pin(async move {
            let right = match check {
                None => false,
                Some((tag, check)) => {
                    let right = check.await;
                    addr.do_send(ForgetCheck(tag));
                    right
                }
            };
            let hold = shared.throttle(|throttle| throttle.end(address, right, Instant::now()));
            if right {
                return Ok(());
            }
            shared.tell_failure(address, msg.request_id);
            tokio::time::sleep(hold).await;
            Err(Refusal::Wrong)
        })
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct ForgetCheck(Tag);

impl Handler<ForgetCheck> for AuthActor {
    type Result = ();

    fn handle(&mut self, msg: ForgetCheck, _ctx: &mut Self::Context) {
        self.checks.remove(&msg.0);
    }
}

impl Handler<SetAdminPassword> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: SetAdminPassword, _ctx: &mut Self::Context) -> Self::Result {
        let (shared, ledger) = (self.shared.clone(), self.ledger.clone());
        let by = msg.by.clone();
        Box::pin(scoped(by, async move {
            validate_password(&msg.password)?;
            let password = msg.password.clone();
            let hashed = blocking::run(move || Credential::hash(&password).line()).await;
            let line = hashed.map_err(ChangeError::from)?;
            let mut change = ledger.begin().await;
            let next = State { admin: AdminAccess::Htpasswd(line), ..change.state().clone() };
            change.commit(next, "admin password set", &msg.by).await?;
            publish(&shared, &change);
            shared.know(&msg.password);
            log::info!("admin password set by {}", msg.by);
            Ok(())
        }))
    }
}

impl Handler<DisableAuthentication> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: DisableAuthentication, _ctx: &mut Self::Context) -> Self::Result {
        let (shared, ledger) = (self.shared.clone(), self.ledger.clone());
        let by = msg.by.clone();
        Box::pin(scoped(by, async move {
            let mut change = ledger.begin().await;
            let next = State { admin: AdminAccess::Open, ..change.state().clone() };
            change.commit(next, "authentication switched off", &msg.by).await?;
            publish(&shared, &change);
            log::warn!("authentication switched off by {}: anybody may administer", msg.by);
            Ok(())
        }))
    }
}

impl Handler<SetJobToken> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: SetJobToken, _ctx: &mut Self::Context) -> Self::Result {
        let (shared, ledger) = (self.shared.clone(), self.ledger.clone());
        let by = msg.by.clone();
        Box::pin(scoped(by, async move {
            let fits = |token: &Zeroizing<String>| {
                (1..=4096).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
            };
            if !msg.token.as_ref().is_none_or(fits) {
                return Err(AuthError::Token);
            }
            let what = if msg.token.is_some() { "job token set" } else { "job token removed" };
            let mut change = ledger.begin().await;
            let next = State { job_token: msg.token, ..change.state().clone() };
            change.commit(next, what, &msg.by).await?;
            publish(&shared, &change);
            log::info!("{what} by {}", msg.by);
            Ok(())
        }))
    }
}

async fn scoped<F: Future>(by: Requester, work: F) -> F::Output {
    by.scope(work).await
}

fn publish(shared: &AuthShared, change: &Change) {
    shared.publish(change.state()).expect("portcullis wrote the credential itself");
}
