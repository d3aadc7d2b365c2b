//! What a peer sends, message by message, within bounds: of size, of memory over all sockets, and
//! of time.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::{Arc, LazyLock},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use actix_web::{error::PayloadError, web::Bytes};
use futures::Stream;
use portcullis_actors::{
    bounds::{Client, Held, Quota},
    metrics::METRICS,
};
use tokio::time::Sleep;

use super::frames::{Incoming, Reader, Step, Violation};

/// What the unfinished messages of one address may take, and those of all.
const EACH: u64 = 32 << 20;
const ALL: u64 = 128 << 20;
/// What a socket may keep without counting, which is less than an unfinished request head may:
/// whoever sends small messages is not hindered by those who send large ones.
const FREE: usize = 32 << 10;
/// How long a message waits for room before its socket is closed.
const ROOM_PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Bytes a second at which a message must come on average once the patience is over.
const SLOWEST: u64 = 16 << 10;

static UNFINISHED: LazyLock<Arc<Quota>> = LazyLock::new(|| Quota::new(EACH, ALL));

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Violation(Violation),
    /// Unfinished messages take all the memory that they may.
    Full,
    /// A message was begun and did not end.
    Late,
}

/// What the socket and its inbox tell each other.
#[derive(Debug)]
pub(super) struct Link {
    /// The largest message, in bytes.
    pub(super) limit: Cell<usize>,
    /// When the peer was last heard of.
    pub(super) heard: Cell<Instant>,
}

/// The messages of a socket; after an error it takes what comes and keeps nothing, so that the
/// peer can read why it was closed.
pub(super) struct Inbox<P> {
    payload: P,
    link: Rc<Link>,
    client: Client,
    /// How long a message may take that does not come on.
    patience: Duration,
    chunk: Bytes,
    reader: Reader,
    held: Option<Held>,
    /// When the unfinished message began.
    began: Option<Instant>,
    /// Since when there has been no room.
    crowded: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    over: bool,
}

impl<P> Inbox<P> {
    pub(super) fn new(payload: P, link: Rc<Link>, client: Client, patience: Duration) -> Self {
        Self {
            payload,
            link,
            client,
            patience,
            chunk: Bytes::new(),
            reader: Reader::default(),
            held: None,
            began: None,
            crowded: None,
            timer: None,
            over: false,
        }
    }

    /// Reads on in the chunk.
    fn step(&mut self) -> Result<Step, Violation> {
        let (client, held) = (self.client, &mut self.held);
        let room = |capacity: usize| {
            let counted = capacity.saturating_sub(FREE) as u64;
            let taken = match held {
                Some(held) => held.grow(counted.saturating_sub(held.units())),
                None if counted > 0 => {
                    UNFINISHED.take(client, counted).map(|taken| *held = Some(taken))
                }
                None => Ok(()),
            };
            taken.is_ok()
        };
        let step = self.reader.read(&mut self.chunk, self.link.limit.get(), room);
        if self.reader.held() == 0 {
            self.held = None;
        }
        measure();
        if self.reader.is_idle() {
            self.began = None;
        } else {
            self.began.get_or_insert_with(Instant::now);
        }
        step
    }

    fn broken(&mut self, broken: Broken) -> Poll<Option<Result<Incoming, Broken>>> {
        self.over = true;
        (self.reader, self.held, self.chunk) = (Reader::default(), None, Bytes::new());
        Poll::Ready(Some(Err(broken)))
    }

    /// When the unfinished message is late.
    fn deadline(&self) -> Option<Instant> {
        let earned = Duration::from_secs(self.reader.held() as u64 / SLOWEST);
        self.began.map(|began| began + self.patience + earned)
    }

    /// Wakes the task at `until`; false if it has passed.
    fn sleep(&mut self, until: Instant, cx: &mut Context<'_>) -> bool {
        let until = tokio::time::Instant::from_std(until);
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).is_pending()
    }
}

impl<P: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Inbox<P> {
    type Item = Result<Incoming, Broken>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while this.over {
            if !matches!(ready!(Pin::new(&mut this.payload).poll_next(cx)), Some(Ok(_))) {
                return Poll::Ready(None);
            }
        }
        loop {
            if this.chunk.is_empty() {
                match Pin::new(&mut this.payload).poll_next(cx) {
                    Poll::Ready(Some(Ok(chunk))) => {
                        this.link.heard.set(Instant::now());
                        this.chunk = chunk;
                    }
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(None),
                    Poll::Pending => {
                        if let Some(deadline) = this.deadline()
                            && !this.sleep(deadline, cx)
                        {
                            return this.broken(Broken::Late);
                        }
                        return Poll::Pending;
                    }
                }
            }
            match this.step() {
                Ok(Step::Whole(incoming)) => {
                    this.crowded = None;
                    return Poll::Ready(Some(Ok(incoming)));
                }
                Ok(Step::More) => this.crowded = None,
                Ok(Step::NoRoom) => {
                    let since = *this.crowded.get_or_insert_with(Instant::now);
                    let look = Instant::now() + LOOK_EVERY;
                    if since.elapsed() > ROOM_PATIENCE || !this.sleep(look, cx) {
                        return this.broken(Broken::Full);
                    }
                    return Poll::Pending;
                }
                Err(violation) => return this.broken(Broken::Violation(violation)),
            }
        }
    }
}

impl<P> Drop for Inbox<P> {
    fn drop(&mut self) {
        self.held = None;
        measure();
    }
}

fn measure() {
    METRICS.websocket_unfinished.set(i64::try_from(UNFINISHED.held()).unwrap_or(i64::MAX));
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::{StreamExt, channel::mpsc};

    use super::*;

    type Sender = mpsc::UnboundedSender<Result<Bytes, PayloadError>>;

    fn inbox(
        address: [u8; 4],
        patience: Duration,
    ) -> (Sender, Inbox<mpsc::UnboundedReceiver<Result<Bytes, PayloadError>>>) {
        let (sender, payload) = mpsc::unbounded();
        let link = Rc::new(Link { limit: Cell::new(4 << 20), heard: Cell::new(Instant::now()) });
        (sender, Inbox::new(payload, link, IpAddr::from(address).into(), patience))
    }

    /// The head of a binary message of 4 MiB, and the most of it.
    fn unfinished() -> Bytes {
        let mut bytes = vec![0x82, 0xff, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0];
        bytes.resize(bytes.len() + (4 << 20) - 1, 0);
        bytes.into()
    }

    #[actix_web::test]
    async fn unfinished_messages_of_one_address_share_a_budget() {
        let mut open: Vec<_> =
            (0..9).map(|_| inbox([192, 0, 2, 1], Duration::from_secs(90))).collect();
        for (sender, inbox) in &mut open[..8] {
            sender.unbounded_send(Ok(unfinished())).unwrap();
            assert!(futures::poll!(inbox.next()).is_pending());
        }
        let (sender, last) = &mut open[8];
        sender.unbounded_send(Ok(unfinished())).unwrap();
        assert!(futures::poll!(last.next()).is_pending(), "it waits for room");
        let (other, mut inbox_of_other) = inbox([192, 0, 2, 2], Duration::from_secs(90));
        other.unbounded_send(Ok(unfinished())).unwrap();
        other.unbounded_send(Ok(Bytes::from_static(&[0]))).unwrap();
        assert!(matches!(inbox_of_other.next().await, Some(Ok(Incoming::Binary(_)))));
        // A small message needs none.
        let (small, mut inbox_of_small) = inbox([192, 0, 2, 1], Duration::from_secs(90));
        small.unbounded_send(Ok(Bytes::from_static(&[0x81, 0x81, 0, 0, 0, 0, b'a']))).unwrap();
        assert_eq!(inbox_of_small.next().await, Some(Ok(Incoming::Text("a".into()))));
        // One that ends makes room for the one that waits.
        open[0].0.unbounded_send(Ok(Bytes::from_static(&[0]))).unwrap();
        assert!(matches!(open[0].1.next().await, Some(Ok(Incoming::Binary(_)))));
        open[8].0.unbounded_send(Ok(Bytes::from_static(&[0]))).unwrap();
        assert!(matches!(open[8].1.next().await, Some(Ok(Incoming::Binary(_)))));
        drop(open);
        assert_eq!(UNFINISHED.held_by(IpAddr::from([192, 0, 2, 1]).into()), 0);
    }

    #[actix_web::test]
    async fn a_message_that_does_not_end_is_late_and_what_comes_then_is_not_kept() {
        let (sender, mut inbox) = inbox([192, 0, 2, 3], Duration::from_millis(50));
        sender.unbounded_send(Ok(Bytes::from_static(&[0x01, 0x81, 0, 0, 0, 0, b'a']))).unwrap();
        assert_eq!(inbox.next().await, Some(Err(Broken::Late)));
        sender.unbounded_send(Ok(unfinished())).unwrap();
        assert!(futures::poll!(inbox.next()).is_pending());
        assert_eq!(inbox.reader.held(), 0);
        drop(sender);
        assert_eq!(inbox.next().await, None);
    }

    #[actix_web::test]
    async fn what_is_too_large_is_known_from_its_head() {
        let (sender, mut inbox) = inbox([192, 0, 2, 4], Duration::from_secs(90));
        inbox.link.limit.set(1000);
        sender.unbounded_send(Ok(Bytes::from_static(&[0x82, 0xfe, 0x03, 0xe9]))).unwrap();
        let broken = Broken::Violation(Violation::TooLarge);
        assert_eq!(inbox.next().await, Some(Err(broken)));
    }
}
