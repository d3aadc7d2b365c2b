//! How often one place in the code is heard.
//!
//! Some lines are brought about by whoever reaches a port. Each place has a bucket of lines that
//! fills slowly: ordinary work is logged whole, a flood is not, and the number of lines that were
//! left out is told.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use log::Record;

use crate::bucket::{Bucket, Limit};

/// Places that are told apart; those after them share one bucket.
const MAX_PLACES: usize = 1024;
/// Characters of a target that are kept.
const MAX_TARGET: usize = 80;

/// For our own code: a script that makes two hundred changes is logged whole.
pub(super) const OWN: Limit = Limit { most: 200, refill: Duration::from_secs(2) };
/// For libraries, which do not know who brings their lines about.
pub(super) const LIBRARY: Limit = Limit { most: 20, refill: Duration::from_secs(10) };

#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<u64, Place>>);

#[derive(Debug)]
struct Place {
    target: String,
    lines: Bucket,
    left_out: u64,
}

/// The place of a line.
pub(super) fn place_of(record: &Record<'_>) -> u64 {
    hash((record.target(), record.file(), record.line()))
}

pub(super) fn hash(place: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    hasher.finish()
}

impl Rates {
    /// Whether one more line of this place may be logged at `now`.
    pub(super) fn admit(&self, place: u64, target: &str, limit: Limit, now: Instant) -> bool {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = places.contains_key(&place) || places.len() < MAX_PLACES;
        let (place, target) = if is_known { (place, target) } else { (0, "other modules") };
        let place = places.entry(place).or_insert_with(|| Place {
            target: target.chars().take(MAX_TARGET).collect(),
            lines: Bucket::new(limit, now),
            left_out: 0,
        });
        let admitted = place.lines.take(limit, now);
        place.left_out += u64::from(!admitted);
        admitted
    }

    /// The targets whose lines were left out since the last call, and how many.
    pub(super) fn left_out(&self) -> Vec<(String, u64)> {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let places = places.values_mut().filter(|place| place.left_out > 0);
        places.map(|place| (place.target.clone(), std::mem::take(&mut place.left_out))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_other_places_are_heard() {
        let rates = Rates::default();
        let start = Instant::now();
        let admitted = (0..500).filter(|_| rates.admit(1, "loud", LIBRARY, start)).count();
        assert_eq!(admitted, 20);
        assert!(rates.admit(2, "quiet", OWN, start));
        assert_eq!(rates.left_out(), [("loud".to_owned(), 480)]);
        assert!(rates.left_out().is_empty(), "told once");
        let later = start + Duration::from_secs(25);
        assert_eq!((0..9).filter(|_| rates.admit(1, "loud", LIBRARY, later)).count(), 2);
        let much_later = start + Duration::from_secs(1 << 40);
        assert_eq!((0..99).filter(|_| rates.admit(1, "loud", LIBRARY, much_later)).count(), 20);
    }

    #[test]
    fn places_without_number_share_one_bucket() {
        let rates = Rates::default();
        let now = Instant::now();
        let admitted = (1..=5000).filter(|place| rates.admit(*place, "x", LIBRARY, now)).count();
        assert_eq!(admitted, MAX_PLACES + 20);
    }
}
