//! Words that were presented before, recognised by their keyed hashes.

use std::{
    collections::{HashSet, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use crate::bounds::Client;

/// A password's or token's keyed hash: enough to recognise it again, useless outside this process.
pub(super) type Tag = [u8; 32];

/// The last words of one kind; the oldest makes room.
#[derive(Debug)]
pub(super) struct RecentWords {
    room: usize,
    order: VecDeque<Tag>,
    tags: HashSet<Tag>,
}

impl RecentWords {
    pub(super) fn with_room(room: usize) -> Self {
        Self { room, order: VecDeque::new(), tags: HashSet::new() }
    }

    pub(super) fn contains(&self, tag: &Tag) -> bool {
        self.tags.contains(tag)
    }

    pub(super) fn insert(&mut self, tag: Tag) {
        if !self.tags.insert(tag) {
            return;
        }
        self.order.push_back(tag);
        if self.order.len() > self.room
            && let Some(oldest) = self.order.pop_front()
        {
            self.tags.remove(&oldest);
        }
    }
}

/// Which client presented which word a moment ago. A table of fixed size: a word that is new pushes
/// the oldest of a few out, and whoever is forgotten so is taken for somebody new.
#[derive(Debug)]
pub(super) struct Presented {
    hasher: RandomState,
    /// Made at the first word.
    sets: Vec<[Option<(u64, Instant)>; 4]>,
}

const SETS: usize = 4096;

/// How long it is remembered that a word was presented.
const REMEMBERED: Duration = Duration::from_secs(120);

impl Default for Presented {
    fn default() -> Self {
        Self { hasher: RandomState::new(), sets: Vec::new() }
    }
}

impl Presented {
    /// Notes the word, and says whether the client has presented it in the last two minutes.
    pub(super) fn again(&mut self, client: Client, tag: &Tag, now: Instant) -> bool {
        if self.sets.is_empty() {
            self.sets = vec![Default::default(); SETS];
        }
        let mark = self.hasher.hash_one((client, tag));
        let set = &mut self.sets[mark as usize % SETS];
        let known = set.iter().position(|slot| slot.is_some_and(|(known, _)| known == mark));
        let again = known
            .and_then(|index| set[index])
            .is_some_and(|(_, at)| now.saturating_duration_since(at) < REMEMBERED);
        let oldest = || (0..set.len()).min_by_key(|index| set[*index].map(|(_, at)| at));
        if let Some(index) = known.or_else(oldest) {
            set[index] = Some((mark, now));
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn word(number: u32) -> Tag {
        let mut tag = [0; 32];
        tag[..4].copy_from_slice(&number.to_be_bytes());
        tag
    }

    #[test]
    fn the_oldest_word_makes_room() {
        let mut words = RecentWords::with_room(3);
        for number in [1, 2, 1, 3, 4] {
            words.insert(word(number));
        }
        assert!(!words.contains(&word(1)));
        assert!([2, 3, 4].iter().all(|number| words.contains(&word(*number))));
        assert_eq!((words.order.len(), words.tags.len()), (3, 3));
    }

    #[test]
    fn a_word_is_known_again_for_two_minutes_and_by_its_client_alone() {
        let mut presented = Presented::default();
        let (one, now): (Client, _) = (IpAddr::from([192, 0, 2, 1]).into(), Instant::now());
        let other: Client = IpAddr::from([192, 0, 2, 2]).into();
        assert!(!presented.again(one, &word(1), now));
        assert!(!presented.again(other, &word(1), now));
        assert!(presented.again(one, &word(1), now + Duration::from_secs(119)));
        assert!(!presented.again(one, &word(1), now + Duration::from_secs(240)));
    }

    #[test]
    fn a_word_outlives_a_flood_of_others() {
        let now = Instant::now();
        let client: Client = IpAddr::from([192, 0, 2, 1]).into();
        let kept = (0..100)
            .filter(|round| {
                let mut presented = Presented::default();
                presented.again(client, &word(u32::MAX), now);
                for number in 0..2000 {
                    presented.again(client, &word(round * 10_000 + number), now);
                }
                presented.again(client, &word(u32::MAX), now)
            })
            .count();
        assert!(kept >= 90, "{kept} of 100");
    }
}
