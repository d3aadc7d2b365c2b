//! Who may administer the appliance.
//!
//! The [`AuthActor`] owns the admin credential and the job token. It publishes a snapshot that every
//! request reads without waiting. A word that was judged before is recognised by its keyed hash;
//! only a password that nothing is known of waits for one of a few threads that hash (`checks`).
//! What one address may get wrong is bounded by the `throttle`.

mod basic;
mod checks;
mod credential;
mod known;
mod messages;
mod spelling;
mod throttle;
mod words;

use std::{
    future::ready,
    net::IpAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, Supervised};
use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use tokio::sync::watch;
use zeroize::Zeroizing;

pub(crate) use self::throttle::Throttle;
use self::{
    basic::BasicCredentials,
    checks::{Asker, Checks, Displaced},
    known::{Known, Recognised},
    throttle::{Attempt, Told},
    words::Tag,
};
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
    bounds::Client,
    change::{Change, ChangeError, Prepared, Snapshot, Undo, Writer},
    events::{EventKind, EventLog},
    metrics::{METRICS, ReasonLabels, TokenLabels},
    request_id::RequestId,
    requester::Requester,
    settings::ThrottleLimits,
    store::{AdminAccess, State},
};

/// What requests are judged by; replaced whole by every change.
struct Judged {
    access: Access,
    /// Counts the changes of `access`.
    epoch: u64,
    /// `None` while the speech services are open.
    job_token: Option<Arc<Known>>,
}

/// The part of it that the state says.
struct Rules {
    access: Access,
    job_token: Option<Arc<Known>>,
}

impl Rules {
    fn of(state: &State, key: &hmac::Key) -> Result<Self, CredentialError> {
        Ok(Self { access: Access::from_state(&state.admin)?, job_token: job_token(key, state) })
    }
}

impl Snapshot for Arc<AuthShared> {
    fn prepare(
        &self,
        serving: Option<&State>,
        next: &State,
    ) -> Result<Option<Prepared>, ChangeError> {
        let is_same = |now: &State| (&now.admin, &now.job_token) == (&next.admin, &next.job_token);
        if serving.is_some_and(is_same) {
            return Ok(None);
        }
        let rules = Rules::of(next, &self.key)
            .map_err(|err| ChangeError::unusable("the stored credential", err))?;
        let shared = self.clone();
        let publish = Box::new(move || shared.publish(rules));
        Ok(Some(Prepared { scope: None, remark: None, publish }))
    }
}

#[derive(Clone)]
enum Access {
    Open,
    Password { credential: Credential, known: Arc<Known>, is_default: Arc<OnceLock<bool>> },
}

impl Access {
    fn from_state(admin: &AdminAccess) -> Result<Self, CredentialError> {
        Ok(match admin {
            AdminAccess::Open => Self::Open,
            AdminAccess::Htpasswd(line) => Self::Password {
                credential: Credential::parse(line)?,
                known: Arc::default(),
                is_default: Arc::default(),
            },
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Open, Self::Open) => true,
            (Self::Password { credential, .. }, Self::Password { credential: other, .. }) => {
                credential == other
            }
            (Self::Open, Self::Password { .. }) | (Self::Password { .. }, Self::Open) => false,
        }
    }
}

/// The readers' side: judges requests. Cheap to clone; shared by all threads.
#[derive(Clone)]
pub struct Authenticator {
    shared: Arc<AuthShared>,
}

/// What the actor and its readers share.
pub(crate) struct AuthShared {
    snapshot: ArcSwap<Judged>,
    /// The epoch of the snapshot.
    epoch: watch::Sender<u64>,
    passwords: Mutex<Throttle>,
    tokens: Mutex<Throttle>,
    /// The tokens that scrapers may use; `None` while there are none.
    monitoring: ArcSwap<Option<Known>>,
    checks: Checks,
    key: hmac::Key,
    events: EventLog,
}

/// Somebody who was let in with the admin password, or because none is asked for.
pub struct Admitted {
    pub requester: Requester,
    pub validity: Validity,
}

/// How long an admission holds: until the credential changes by which it was given. For answers
/// that go on for hours.
#[derive(Debug, Clone)]
pub struct Validity {
    epoch: u64,
    now: watch::Receiver<u64>,
}

impl Validity {
    /// Resolves when the credential has changed.
    pub async fn over(mut self) {
        let epoch = self.epoch;
        // The sender lives as long as the process serves.
        let _ = self.now.wait_for(|now| *now != epoch).await;
    }
}

/// An attempt that costs nothing unless it is ended as wrong: its client may have gone.
struct Judging<'a> {
    throttle: &'a Mutex<Throttle>,
    attempt: Option<Attempt>,
}

impl<'a> Judging<'a> {
    fn begin(throttle: &'a Mutex<Throttle>, client: Client, word: &Tag) -> Result<Self, Refusal> {
        let attempt = locked(throttle, |throttle| throttle.begin(client, word, Instant::now()));
        let attempt = attempt.map_err(|retry_after| Refusal::Throttled { retry_after })?;
        Ok(Self { throttle, attempt: Some(attempt) })
    }

    fn asker(&self) -> Option<Asker> {
        let attempt = self.attempt.as_ref()?;
        let Attempt { client, standing, again, .. } = *attempt;
        Some(Asker { client, standing, again })
    }

    /// The word was wrong.
    fn wrong(mut self) -> Told {
        let Some(attempt) = self.attempt.take() else {
            return Told::Wrong { hold: Duration::ZERO };
        };
        locked(self.throttle, |throttle| throttle.end(&attempt, Instant::now()))
    }
}

impl Drop for Judging<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            locked(self.throttle, |throttle| throttle.abandon(&attempt));
        }
    }
}

fn locked<T>(throttle: &Mutex<Throttle>, work: impl FnOnce(&mut Throttle) -> T) -> T {
    work(&mut throttle.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Why the owner of passwords and tokens cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AuthStartError {
    #[error(transparent)]
    Credential(#[from] CredentialError),
    #[error("the threads that check passwords cannot be started")]
    Threads(#[from] std::io::Error),
}

impl AuthShared {
    pub(crate) fn new(state: &State, events: EventLog) -> Result<Self, AuthStartError> {
        let rng = aws_lc_rs::rand::SystemRandom::new();
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rng)
            .expect("the operating system gives random bytes");
        let Rules { access, job_token } = Rules::of(state, &key)?;
        let snapshot = Judged { access, epoch: 0, job_token };
        // Half the cores may hash at once, so that requests that need none are not held up.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            epoch: watch::Sender::new(0),
            passwords: Mutex::default(),
            tokens: Mutex::default(),
            monitoring: ArcSwap::default(),
            checks: Checks::start((cores / 2).max(1))?,
            key,
            events,
        })
    }

    /// Addresses may fail so often and so fast from now on.
    pub(crate) fn limit_failures(&self, limits: ThrottleLimits) {
        for throttle in [&self.passwords, &self.tokens] {
            locked(throttle, |throttle| throttle.set_limits(limits));
        }
    }

    fn forget_empty(&self) {
        for throttle in [&self.passwords, &self.tokens] {
            locked(throttle, |throttle| throttle.forget_empty(Instant::now()));
        }
    }

    /// Tells followers that somebody gave a wrong user or password.
    fn tell_failure(&self, address: IpAddr) {
        let refused = |throttle: &mut Throttle| throttle.refuse(address.into(), Instant::now());
        let throttled = locked(&self.passwords, refused).is_err();
        let kind = EventKind::LoginFailed { address, throttled };
        self.events.publish_for(RequestId::current(), kind);
    }

    /// Remembers that `password` is the right one, which saves the next request its hashing.
    fn know(&self, password: &str) {
        if let Access::Password { known, is_default, .. } = &self.snapshot.load().access {
            known.verified(tag(&self.key, spelling::canonical(password).as_bytes()));
            let _ = is_default.set(password == DEFAULT_PASSWORD);
        }
    }

    /// Lets requests be judged by `next` from now on, and gives the way back. What is known of a
    /// credential that stays is kept.
    fn publish(self: Arc<Self>, next: Rules) -> Undo {
        let before = self.snapshot.load_full();
        let stays = next.access.is_same(&before.access);
        let access = if stays { before.access.clone() } else { next.access };
        let job_token = match (next.job_token, &before.job_token) {
            (Some(fresh), Some(known)) if fresh.is_same(known) => Some(known.clone()),
            (fresh, _) => fresh,
        };
        // Also on the way back: who was let in meanwhile is let in no more.
        let epoch = if stays { before.epoch } else { before.epoch + 1 };
        self.snapshot.store(Arc::new(Judged { access, epoch, job_token }));
        self.epoch.send_replace(epoch);
        let before = Rules { access: before.access.clone(), job_token: before.job_token.clone() };
        Box::new(move || drop(self.publish(before)))
    }

    /// Judges a token, or the several that one request brings.
    async fn judge_token(
        &self,
        kind: &'static str,
        known: &Known,
        address: IpAddr,
        tokens: &[&[u8]],
    ) -> Result<(), Refusal> {
        let judged = self.judge_known_token(known, address, tokens).await;
        let reason = match &judged {
            Ok(()) | Err(Refusal::Missing) => return judged,
            Err(Refusal::Throttled { .. }) => "throttled",
            Err(_) => "wrong",
        };
        METRICS.token_failures.get_or_create(&TokenLabels { token: kind, reason }).inc();
        judged
    }

    async fn judge_known_token(
        &self,
        known: &Known,
        address: IpAddr,
        tokens: &[&[u8]],
    ) -> Result<(), Refusal> {
        let tags: Vec<Tag> = tokens.iter().map(|token| tag(&self.key, token)).collect();
        let sent = tags.first().ok_or(Refusal::Missing)?;
        let recognised = known.recognise(sent, tags.iter().copied());
        let begun = recognise_first(&self.tokens, recognised, address.into(), sent)?;
        let Some(judging) = begun else { return Ok(()) };
        if recognised == Recognised::Right {
            return Ok(());
        }
        known.refuted(*sent);
        Err(hold_back(judging.wrong()).await)
    }
}

/// What needs no [`Judging`]: the right word where the client is not refused (`None`), and a word
/// that was wrong before where it is.
fn recognise_first<'a>(
    throttle: &'a Mutex<Throttle>,
    recognised: Recognised,
    client: Client,
    sent: &Tag,
) -> Result<Option<Judging<'a>>, Refusal> {
    let refused = locked(throttle, |throttle| throttle.refuse(client, Instant::now()));
    match (recognised, refused) {
        (Recognised::Right, Ok(())) => Ok(None),
        (Recognised::WrongAgain, Err(retry_after)) => Err(Refusal::Throttled { retry_after }),
        _ => Judging::begin(throttle, client, sent).map(Some),
    }
}

/// Keeps somebody waiting whose word was wrong, for as long as he has deserved.
async fn hold_back(told: Told) -> Refusal {
    match told {
        Told::Wrong { hold } => {
            tokio::time::sleep(hold).await;
            Refusal::Wrong
        }
        Told::Throttled { retry_after } => Refusal::Throttled { retry_after },
    }
}

fn tag(key: &hmac::Key, word: &[u8]) -> Tag {
    let tag = hmac::sign(key, word);
    tag.as_ref().try_into().expect("HMAC-SHA256 has 32 bytes")
}

fn job_token(key: &hmac::Key, state: &State) -> Option<Arc<Known>> {
    let token = state.job_token.as_ref()?;
    Some(Arc::new(Known::of(vec![tag(key, token.as_bytes())])))
}

impl Authenticator {
    pub(crate) fn new(shared: Arc<AuthShared>) -> Self {
        Self { shared }
    }

    /// Judges the `Authorization` header of a request from `address`.
    ///
    /// A password that is known to be right or wrong costs microseconds, another one a bcrypt hash
    /// on a thread of its own. Dropping the future gives the place in the queue back.
    ///
    /// # Errors
    /// Why the request is not let in.
    pub async fn authenticate(
        &self,
        address: IpAddr,
        header: Option<&[u8]>,
    ) -> Result<Admitted, Refusal> {
        let judged = self.judge(address, header).await;
        let reason = match judged {
            // Browsers ask without a password first; that is no failure.
            Ok(_) | Err(Refusal::Missing) => None,
            Err(Refusal::Malformed) => Some("malformed"),
            Err(Refusal::Wrong) => Some("wrong"),
            Err(Refusal::Throttled { .. }) => Some("throttled"),
            Err(Refusal::Busy) => Some("busy"),
        };
        if let Some(reason) = reason {
            METRICS.auth_failures.get_or_create(&ReasonLabels { reason }).inc();
        }
        let epoch = judged?;
        let validity = Validity { epoch, now: self.shared.epoch.subscribe() };
        Ok(Admitted { requester: Requester::new(ADMIN, address), validity })
    }

    /// Gives the epoch of the credential by which the request is let in.
    async fn judge(&self, address: IpAddr, header: Option<&[u8]>) -> Result<u64, Refusal> {
        let shared = &*self.shared;
        let snapshot = shared.snapshot.load_full();
        let Access::Password { credential, known, is_default } = &snapshot.access else {
            return Ok(snapshot.epoch);
        };
        let header = header.ok_or(Refusal::Missing)?;
        let credentials = BasicCredentials::parse(header).ok_or(Refusal::Malformed)?;
        let sent = tag(&shared.key, credentials.pair());
        let mut words = Vec::new();
        if credentials.user() == ADMIN.as_bytes() {
            let spellings = spelling::spellings(credentials.password()).into_iter();
            words.extend(spellings.map(|word| (tag(&shared.key, &word), word)));
        }
        let recognised = match known.recognise(&sent, words.iter().map(|(tag, _)| *tag)) {
            // Another user, or a word that is no password.
            Recognised::Unknown if words.is_empty() => Recognised::Wrong,
            recognised => recognised,
        };
        let client = address.into();
        let Some(judging) = recognise_first(&shared.passwords, recognised, client, &sent)? else {
            return Ok(snapshot.epoch);
        };
        let right = match (recognised, judging.asker()) {
            (Recognised::Right, _) => true,
            (Recognised::Unknown, Some(asker)) => {
                let (credential, known) = (credential.clone(), known.clone());
                let is_default = is_default.clone();
                let check = shared.checks.ask(known.clone(), sent, asker, move || {
                    verify(&credential, &words, &known, &is_default)
                });
                check.await.map_err(|Displaced| Refusal::Busy)?
            }
            _ => false,
        };
        if !right {
            known.refuted(sent);
            let told = judging.wrong();
            if matches!(told, Told::Wrong { .. }) {
                shared.tell_failure(address);
            }
            return Err(hold_back(told).await);
        }
        // A change that was published meanwhile has the last word.
        let stands = shared.snapshot.load().epoch == snapshot.epoch;
        stands.then_some(snapshot.epoch).ok_or(Refusal::Wrong)
    }

    /// Replaces the list of tokens that scrapers may use.
    pub fn set_monitoring_tokens(&self, tokens: &[Zeroizing<String>]) {
        let tags: Vec<Tag> =
            tokens.iter().map(|token| tag(&self.shared.key, token.as_bytes())).collect();
        let known = (!tags.is_empty()).then(|| Known::of(tags));
        self.shared.monitoring.store(Arc::new(known));
    }

    /// Judges the bearer token of a scraper; `None` where there are no such tokens.
    pub async fn admit_monitoring(
        &self,
        address: IpAddr,
        token: &[u8],
    ) -> Option<Result<(), Refusal>> {
        let tokens = self.shared.monitoring.load_full();
        let known = tokens.as_ref().as_ref()?;
        Some(self.shared.judge_token("monitoring", known, address, &[token]).await)
    }

    /// Judges what a request to the speech services brings; one right token is enough.
    ///
    /// # Errors
    /// A token is asked for and none of these is it; nobody waits because of others' failures.
    pub async fn admit_job(&self, address: IpAddr, tokens: &[&[u8]]) -> Result<(), Refusal> {
        match &self.shared.snapshot.load_full().job_token {
            None => Ok(()),
            Some(known) => self.shared.judge_token("job", known, address, tokens).await,
        }
    }

    /// How many addresses are refused now.
    #[must_use]
    pub fn refused_addresses(&self) -> usize {
        locked(&self.shared.passwords, |throttle| throttle.refused(Instant::now()))
    }

    /// How many passwords wait to be hashed, or are being hashed.
    #[must_use]
    pub fn waiting_checks(&self) -> usize {
        self.shared.checks.waiting()
    }

    /// The addresses that are slowed or refused now, the worst first and at most 500 of them, and
    /// how many there are.
    #[must_use]
    pub fn throttled_addresses(&self) -> (Vec<ThrottledAddress>, usize) {
        locked(&self.shared.passwords, |throttle| throttle.throttled(Instant::now()))
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
}

/// Compares the spellings of a word with the credential: 50 ms and more for each.
fn verify(
    credential: &Credential,
    words: &[(Tag, Zeroizing<Vec<u8>>)],
    known: &Known,
    is_default: &OnceLock<bool>,
) -> bool {
    let Some((tag, word)) = words.iter().find(|(_, word)| credential.verify(word)) else {
        return false;
    };
    known.verified(*tag);
    let _ = is_default.set(word.as_slice() == DEFAULT_PASSWORD.as_bytes());
    true
}

/// Owns the admin credential and the job token.
pub struct AuthActor {
    shared: Arc<AuthShared>,
    writer: Writer,
}

impl AuthActor {
    pub(crate) fn new(shared: Arc<AuthShared>, writer: Writer) -> Self {
        Self { shared, writer }
    }

    /// Makes a change, as part of the request that asked for it.
    fn change(&self, change: Change, by: Requester) -> ResponseFuture<Result<(), AuthError>> {
        let writer = self.writer.clone();
        Box::pin(async move {
            by.scope(writer.apply(change, &by)).await?;
            Ok(())
        })
    }

    /// Tells operators about an unchanged default password without waiting for a login.
    fn look_for_default_password(&self) {
        let snapshot = self.shared.snapshot.load_full();
        let Access::Password { credential, known, is_default } = &snapshot.access else { return };
        let word = Zeroizing::new(DEFAULT_PASSWORD.as_bytes().to_vec());
        let words = [(tag(&self.shared.key, &word), word)];
        let (credential, known, is_default) =
            (credential.clone(), known.clone(), is_default.clone());
        actix::spawn(blocking::run(move || {
            let right = verify(&credential, &words, &known, &is_default);
            let _ = is_default.set(right);
        }));
    }
}

impl Actor for AuthActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(Duration::from_secs(60), |act, _| act.shared.forget_empty());
        self.look_for_default_password();
    }
}

impl Supervised for AuthActor {
    /// What was published may not be what the ledger holds: the change that died is not undone.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        let writer = self.writer.clone();
        actix::spawn(async move {
            writer.realign("the owner of the credential was started again").await;
        });
    }
}

impl Handler<SetAdminPassword> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: SetAdminPassword, _ctx: &mut Self::Context) -> Self::Result {
        let (shared, writer) = (self.shared.clone(), self.writer.clone());
        let SetAdminPassword { password, by } = msg;
        Box::pin(async move {
            let work = async {
                validate_password(&password)?;
                let hashed = password.clone();
                let admin = blocking::run(move || AdminAccess::password(&hashed)).await;
                let change = Change::SetAdminPassword(admin.map_err(ChangeError::from)?);
                let mut transaction = writer.begin().await;
                transaction.apply(change, &by).await?;
                // Before the next change, which may be of the password as well.
                shared.know(&password);
                Ok(())
            };
            by.scope(work).await
        })
    }
}

impl Handler<DisableAuthentication> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: DisableAuthentication, _ctx: &mut Self::Context) -> Self::Result {
        self.change(Change::SwitchAuthenticationOff, msg.by)
    }
}

impl Handler<SetJobToken> for AuthActor {
    type Result = ResponseFuture<Result<(), AuthError>>;

    fn handle(&mut self, msg: SetJobToken, _ctx: &mut Self::Context) -> Self::Result {
        let fits = |token: &Zeroizing<String>| {
            (1..=4096).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
        };
        if !msg.token.as_ref().is_none_or(fits) {
            return Box::pin(ready(Err(AuthError::Token)));
        }
        self.change(Change::SetJobToken(msg.token), msg.by)
    }
}
