//! Passwords that wait to be hashed, and the threads that do it.
//!
//! A check costs 50 ms of a core and more, so there are few at once and nobody may make others wait
//! for his own. Who stands better is served first: nothing held against it, then wrong before, then
//! refused. Of those that stand alike, words that their client presents again go first (somebody
//! who knows the password does that), then the client whose last turn is longest ago, then who came
//! first. The queue is short. What does not fit is displaced at once and may come again: one of the
//! worst that wait, picked at random, so that nobody can hold a place by coming early or late.
//! Whoever goes away leaves the queue.

use std::{
    collections::HashMap,
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use tokio::sync::oneshot;

use super::{known::Known, throttle::Standing, words::Tag};
use crate::bounds::Client;

/// Work that may wait for one client, and the number of different words that this is.
const WAITING_EACH: Room = Room { work: Duration::from_millis(750), words: 2..=12 };
/// The same for all clients together.
const WAITING_ALL: Room = Room { work: Duration::from_millis(1500), words: 4..=32 };
/// Requests of one client that wait for one and the same word.
const REQUESTS_EACH: usize = 128;
/// Clients whose last turn is remembered.
const TURNS: usize = 1024;

/// The way to the queue and its threads. They end with the last of its clones.
pub(super) struct Checks(Arc<Inner>);

struct Inner {
    queue: Mutex<Queue>,
    work: Condvar,
}

/// How much may wait. What a check takes is a matter of the hash and of the machine, so it is
/// measured.
struct Room {
    work: Duration,
    words: RangeInclusive<u32>,
}

impl Room {
    fn words(&self, check: Duration) -> usize {
        let fit = self.work.as_secs_f64() / check.as_secs_f64().max(0.001);
        (fit as u32).clamp(*self.words.start(), *self.words.end()) as usize
    }
}

type Work = Box<dyn FnOnce() -> bool + Send>;

#[derive(Default)]
struct Queue {
    /// Words that wait or are being hashed.
    words: Vec<Word>,
    turns: HashMap<Client, u64>,
    last: u64,
    /// How long a check takes, after those that were last.
    check: Duration,
    closed: bool,
}

struct Word {
    tag: Tag,
    /// The credential that it is compared with.
    known: Arc<Known>,
    /// `None` while it is being hashed.
    check: Option<Work>,
    askers: Vec<Asking>,
}

struct Asking {
    id: u64,
    asker: Asker,
    answer: oneshot::Sender<bool>,
}

/// Who wants a word to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) standing: Standing,
    /// The client has presented the same word a moment ago.
    pub(super) again: bool,
}

/// The queue is full of those who stand better, or luckier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Displaced;

impl Checks {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let checks = Self::without_threads();
        for _ in 0..threads {
            let inner = checks.0.clone();
            std::thread::Builder::new().name("passwords".into()).spawn(move || inner.work())?;
        }
        Ok(checks)
    }

    fn without_threads() -> Self {
        Self(Arc::new(Inner { queue: Mutex::default(), work: Condvar::new() }))
    }

    /// Lets `check` tell whether the word of this tag is right, or joins those who wait for the
    /// same word and the same credential. Dropping what this gives leaves the queue.
    pub(super) fn ask(
        &self,
        known: Arc<Known>,
        tag: Tag,
        asker: Asker,
        check: impl FnOnce() -> bool + Send + 'static,
    ) -> Check {
        let (answer, verdict) = oneshot::channel();
        let mut queue = self.0.queue();
        let id = queue.next();
        let asking = Asking { id, asker, answer };
        queue.add(known, tag, asking, Box::new(check));
        queue.displace(asker.client);
        drop(queue);
        self.0.work.notify_one();
        Check { inner: self.0.clone(), id, verdict }
    }

    /// Words that wait or are being hashed.
    pub(super) fn waiting(&self) -> usize {
        self.0.queue().words.len()
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.work.notify_all();
    }
}

impl Inner {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let mut queue = self.queue();
        loop {
            if queue.closed {
                return;
            }
            if let Some((tag, known, check)) = queue.begin() {
                drop(queue);
                let begun = Instant::now();
                let right = catch_unwind(AssertUnwindSafe(check)).unwrap_or(false);
                queue = self.queue();
                queue.check = (queue.check + begun.elapsed()) / 2;
                queue.finish(&tag, &known, right);
            } else {
                queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Queue {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn position(&self, tag: &Tag, known: &Arc<Known>) -> Option<usize> {
        self.words.iter().position(|word| word.tag == *tag && Arc::ptr_eq(&word.known, known))
    }

    fn add(&mut self, known: Arc<Known>, tag: Tag, asking: Asking, check: Work) {
        let Some(index) = self.position(&tag, &known) else {
            self.words.push(Word { tag, known, check: Some(check), askers: vec![asking] });
            return;
        };
        let askers = &mut self.words[index].askers;
        let own = askers.iter().filter(|other| other.asker.client == asking.asker.client);
        // One too many is displaced by not being kept: its sender is dropped.
        if own.count() < REQUESTS_EACH {
            askers.push(asking);
        }
    }

    /// Makes room where `client` or all clients have too much waiting.
    fn displace(&mut self, client: Client) {
        let waits_for = |word: &Word| word.askers.iter().any(|other| other.asker.client == client);
        let own = self.waiting().filter(|index| waits_for(&self.words[*index]));
        let own: Vec<usize> = own.collect();
        if own.len() > WAITING_EACH.words(self.check) {
            self.remove_one_of_the_worst(&own);
        }
        let all: Vec<usize> = self.waiting().collect();
        if all.len() > WAITING_ALL.words(self.check) {
            self.remove_one_of_the_worst(&all);
        }
    }

    fn waiting(&self) -> impl Iterator<Item = usize> {
        let words = self.words.iter().enumerate();
        words.filter(|(_, word)| word.check.is_some()).map(|(index, _)| index)
    }

    fn remove_one_of_the_worst(&mut self, indices: &[usize]) {
        let worst = indices.iter().map(|index| self.words[*index].merit()).max();
        let worst: Vec<usize> = indices
            .iter()
            .copied()
            .filter(|index| Some(self.words[*index].merit()) == worst)
            .collect();
        if let Some(index) = worst.get(random_below(worst.len())) {
            self.words.swap_remove(*index);
        }
    }

    /// Takes the word whose turn it is.
    fn begin(&mut self) -> Option<(Tag, Arc<Known>, Work)> {
        let index = self.waiting().min_by_key(|index| self.rank(&self.words[*index]))?;
        let turn = self.next();
        if self.turns.len() >= TURNS {
            self.turns.clear();
        }
        let word = &mut self.words[index];
        let check = word.check.take()?;
        for asking in &word.askers {
            self.turns.insert(asking.asker.client, turn);
        }
        Some((word.tag, word.known.clone(), check))
    }

    /// Merit, the last turn of the client, the order of coming; the least is served first.
    fn rank(&self, word: &Word) -> ((Standing, bool), u64, u64) {
        let turn = |asking: &Asking| self.turns.get(&asking.asker.client).copied().unwrap_or(0);
        let turn = word.askers.iter().map(turn).min().unwrap_or(0);
        let came = word.askers.first().map_or(0, |asking| asking.id);
        (word.merit(), turn, came)
    }

    fn finish(&mut self, tag: &Tag, known: &Arc<Known>, right: bool) {
        let Some(index) = self.position(tag, known) else { return };
        for asking in self.words.swap_remove(index).askers {
            let _ = asking.answer.send(right);
        }
    }

    fn leave(&mut self, id: u64) {
        for word in &mut self.words {
            word.askers.retain(|asking| asking.id != id);
        }
        // What is being hashed cannot be stopped, and others may still come to ask for it.
        self.words.retain(|word| word.check.is_none() || !word.askers.is_empty());
    }
}

impl Word {
    /// That of the best of those who ask for it.
    fn merit(&self) -> (Standing, bool) {
        let merit = |asking: &Asking| (asking.asker.standing, !asking.asker.again);
        self.askers.iter().map(merit).min().unwrap_or((Standing::Refused, true))
    }
}

fn random_below(bound: usize) -> usize {
    let mut bytes = [0; 8];
    // Without randomness the first one goes, which is fair enough.
    let _ = rand::fill(&mut bytes);
    u64::from_le_bytes(bytes) as usize % bound.max(1)
}

/// A check that waits or is under way: resolves to whether the word is right.
pub(super) struct Check {
    inner: Arc<Inner>,
    id: u64,
    verdict: oneshot::Receiver<bool>,
}

impl Future for Check {
    type Output = Result<bool, Displaced>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.verdict).poll(cx).map_err(|_| Displaced)
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        self.inner.queue().leave(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt;

    use super::*;

    fn known() -> Arc<Known> {
        Arc::new(Known::default())
    }

    fn word(number: usize) -> Tag {
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&number.to_be_bytes());
        tag
    }

    fn asker(number: u8, standing: Standing) -> Asker {
        Asker { client: IpAddr::from([192, 0, 2, number]).into(), standing, again: false }
    }

    impl Checks {
        fn wait(&self, known: &Arc<Known>, number: usize, asker: Asker) -> Check {
            self.ask(known.clone(), word(number), asker, || false)
        }

        /// Takes turns until nobody waits, and tells the words in their order.
        fn serve(&self) -> Vec<usize> {
            let mut queue = self.0.queue();
            let mut served = Vec::new();
            while let Some((tag, known, _)) = queue.begin() {
                served.push(usize::from_be_bytes(tag[..8].try_into().unwrap()));
                queue.finish(&tag, &known, false);
            }
            served
        }
    }

    #[test]
    fn clients_take_turns_and_the_better_ones_go_first() {
        let (checks, known) = (Checks::without_threads(), known());
        let ask = |number, asker| checks.wait(&known, number, asker);
        let _waiting = [
            ask(10, asker(1, Standing::Failed)),
            ask(11, asker(1, Standing::Failed)),
            ask(12, asker(1, Standing::Failed)),
            ask(20, asker(2, Standing::Failed)),
            ask(21, asker(2, Standing::Failed)),
            ask(30, asker(3, Standing::Refused)),
            ask(31, Asker { again: true, ..asker(3, Standing::Refused) }),
            ask(40, asker(4, Standing::Clean)),
        ];
        assert_eq!(checks.serve(), [40, 10, 20, 11, 21, 12, 31, 30]);
    }

    #[test]
    fn one_word_is_hashed_once_for_all_who_ask() {
        let (checks, known) = (Checks::without_threads(), known());
        let asked: Vec<_> =
            (0..5).map(|number| checks.wait(&known, 1, asker(number, Standing::Clean))).collect();
        // The same word is another question once the password has changed.
        let other = checks.wait(&Arc::default(), 1, asker(9, Standing::Clean));
        assert_eq!(checks.serve(), [1, 1]);
        for check in asked.into_iter().chain([other]) {
            assert_eq!(check.now_or_never(), Some(Ok(false)));
        }
    }

    #[test]
    fn who_goes_away_leaves_the_queue() {
        let (checks, known) = (Checks::without_threads(), known());
        let gone: Vec<_> =
            (0..10).map(|number| checks.wait(&known, number, asker(1, Standing::Clean))).collect();
        let stays = checks.wait(&known, 3, asker(2, Standing::Clean));
        drop(gone);
        assert_eq!(checks.waiting(), 1);
        assert_eq!(checks.serve(), [3]);
        assert_eq!(stays.now_or_never(), Some(Ok(false)));
    }

    #[test]
    fn the_queue_is_bounded_for_one_and_for_all() {
        let (checks, known) = (Checks::without_threads(), known());
        let from_one: Vec<_> =
            (0..50).map(|number| checks.wait(&known, number, asker(1, Standing::Failed))).collect();
        assert_eq!(checks.waiting(), 12);
        let clean = checks.wait(&known, 100, asker(2, Standing::Clean));
        let from_many: Vec<_> = (3..103)
            .map(|number| checks.wait(&known, 100 + number, asker(number as u8, Standing::Failed)))
            .collect();
        assert_eq!(checks.waiting(), 32);
        let served = checks.serve();
        assert_eq!((served.len(), served[0]), (32, 100));
        assert_eq!(clean.now_or_never(), Some(Ok(false)), "the better one is not displaced");
        let all = from_one.into_iter().chain(from_many);
        let displaced = all.filter_map(|check| check.now_or_never()).filter(Result::is_err);
        assert_eq!(displaced.count(), 150 - 31);
    }

    #[test]
    fn costly_checks_make_the_queue_shorter() {
        let words = |millis| {
            let check = Duration::from_millis(millis);
            (WAITING_EACH.words(check), WAITING_ALL.words(check))
        };
        assert_eq!(
            [words(0), words(50), words(250), words(2000)],
            [(12, 32), (12, 30), (3, 6), (2, 4)]
        );
    }

    #[test]
    fn many_requests_with_one_word_are_bounded_too() {
        let (checks, known) = (Checks::without_threads(), known());
        let all: Vec<_> = (0..2 * REQUESTS_EACH)
            .map(|_| checks.wait(&known, 1, asker(1, Standing::Clean)))
            .collect();
        checks.serve();
        let served = all.into_iter().filter_map(FutureExt::now_or_never).filter(Result::is_ok);
        assert_eq!(served.count(), REQUESTS_EACH);
    }

    #[tokio::test]
    async fn the_threads_outlive_a_check_that_panics_and_end_with_the_queue() {
        let checks = Checks::start(2).unwrap();
        let ask = |number, check: fn() -> bool| {
            checks.ask(known(), word(number), asker(1, Standing::Clean), check)
        };
        assert_eq!(ask(1, || panic!("a check that panics")).await, Ok(false));
        assert_eq!(ask(2, || true).await, Ok(true));
        let inner = Arc::downgrade(&checks.0);
        drop(checks);
        for _ in 0..1000 {
            if inner.strong_count() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the threads have not ended");
    }
}
