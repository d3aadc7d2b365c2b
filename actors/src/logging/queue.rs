//! Lines that wait for whoever writes them. Nobody who logs ever waits: past the bounds, lines are
//! left out and counted.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Lines that wait at most.
const MAX_LINES: usize = 16_384;
/// Bytes of the lines that wait at most.
const MAX_BYTES: usize = 4 << 20;

/// What is written next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Item {
    Line(Arc<str>),
    /// Here so many lines are missing.
    LeftOut(u64),
}

#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Something waits.
    filled: Condvar,
    /// Something was dealt with.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
    /// Lines left out since the last item.
    left_out: u64,
    /// Items that were ever taken in, and those of them that were dealt with.
    taken: u64,
    dealt_with: u64,
}

impl Waiting {
    fn has_room_for(&self, line: &str) -> bool {
        self.items.len() + 2 <= MAX_LINES && self.bytes + line.len() <= MAX_BYTES
    }

    fn put(&mut self, item: Item) {
        if let Item::Line(line) = &item {
            self.bytes += line.len();
        }
        self.items.push_back(item);
        self.taken += 1;
    }

    /// Lets the lines that were left out take their place in the order.
    fn close_gap(&mut self) {
        if self.left_out > 0 {
            let left_out = std::mem::take(&mut self.left_out);
            self.put(Item::LeftOut(left_out));
        }
    }
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { waiting: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() }
    }

    /// Takes a line in, or leaves it out and says `false`.
    pub(super) fn push(&self, line: Arc<str>) -> bool {
        let mut waiting = self.waiting();
        let takes = waiting.has_room_for(&line);
        if takes {
            waiting.close_gap();
            waiting.put(Item::Line(line));
        } else {
            waiting.left_out += 1;
        }
        drop(waiting);
        self.filled.notify_one();
        takes
    }

    /// The next item, for which it waits so long at most. [`Self::done`] is to follow.
    pub(super) fn next(&self, patience: Duration) -> Option<Item> {
        let waiting = self.waiting();
        let is_empty = |waiting: &mut Waiting| waiting.items.is_empty() && waiting.left_out == 0;
        let (mut waiting, _) = self
            .filled
            .wait_timeout_while(waiting, patience, is_empty)
            .unwrap_or_else(PoisonError::into_inner);
        if waiting.items.is_empty() {
            waiting.close_gap();
        }
        let item = waiting.items.pop_front()?;
        if let Item::Line(line) = &item {
            waiting.bytes -= line.len();
        }
        Some(item)
    }

    /// The item that [`Self::next`] gave was dealt with, well or badly.
    pub(super) fn done(&self) {
        self.waiting().dealt_with += 1;
        self.emptied.notify_all();
    }

    /// Waits until everything that was taken in before is dealt with, or `deadline` is over.
    /// Says whether it is.
    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let waiting = self.waiting();
        let all = waiting.taken;
        let patience = deadline.saturating_duration_since(Instant::now());
        let (waiting, _) = self
            .emptied
            .wait_timeout_while(waiting, patience, |waiting| waiting.dealt_with < all)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.dealt_with >= all
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_TIME: Duration = Duration::ZERO;

    fn line(number: usize) -> Arc<str> {
        format!("line {number}\n").into()
    }

    #[test]
    fn lines_past_the_bound_are_left_out_and_told_in_their_place() {
        let queue = Queue::new();
        let taken = (0..MAX_LINES + 5).filter(|number| queue.push(line(*number))).count();
        assert_eq!(taken, MAX_LINES - 1);
        let mut last = None;
        for _ in 0..10 {
            last = queue.next(NO_TIME);
            queue.done();
        }
        assert_eq!(last, Some(Item::Line(line(9))));
        assert!(queue.push(line(99)), "there is room again");
        let rest: Vec<Item> = std::iter::from_fn(|| queue.next(NO_TIME)).collect();
        assert_eq!(rest[rest.len() - 2..], [Item::LeftOut(6), Item::Line(line(99))]);
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let queue = Queue::new();
        let long: Arc<str> = "x".repeat(MAX_BYTES / 4).into();
        assert_eq!((0..9).filter(|_| queue.push(long.clone())).count(), 4);
        let rest: Vec<Item> = std::iter::from_fn(|| queue.next(NO_TIME)).collect();
        assert_eq!(rest.last(), Some(&Item::LeftOut(5)), "told without a line that follows");
        assert!(queue.push(long), "what was taken makes room");
    }

    #[test]
    fn flushing_waits_for_the_writer_and_not_for_ever() {
        let queue = Arc::new(Queue::new());
        assert!(queue.flush(Instant::now()), "nothing waits");
        queue.push(line(1));
        assert!(!queue.flush(Instant::now() + Duration::from_millis(20)), "nobody writes");
        let writer = queue.clone();
        let writer = std::thread::spawn(move || {
            let item = writer.next(Duration::from_secs(9));
            writer.done();
            item
        });
        assert!(queue.flush(Instant::now() + Duration::from_secs(9)));
        assert_eq!(writer.join().unwrap(), Some(Item::Line(line(1))));
    }
}
