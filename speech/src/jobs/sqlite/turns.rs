//! Whose job is begun next: clients take turns, so that the many jobs of one do not keep the few of
//! another one waiting.

use std::collections::HashMap;

use crate::jobs::job::JobId;

/// Clients whose turns are remembered.
const MOST: usize = 10_000;

/// When each client had its turn last.
#[derive(Debug, Default)]
pub(super) struct Turns {
    number: u64,
    last: HashMap<String, u64>,
}

impl Turns {
    /// Of the oldest job of each client, the one of that client that waited longest for its turn.
    pub(super) fn next(&mut self, waiting: Vec<(String, JobId)>) -> Option<JobId> {
        let turn =
            |(client, id): &(String, JobId)| (self.last.get(client).copied().unwrap_or(0), *id);
        let (client, id) = waiting.into_iter().min_by_key(turn)?;
        self.number += 1;
        self.last.insert(client, self.number);
        if self.last.len() > MOST {
            let recent = self.number - (MOST / 2) as u64;
            self.last.retain(|_, turn| *turn > recent);
        }
        Some(id)
    }

    /// The waiting jobs in the order in which they will be begun if no more come. `waiting` holds
    /// them with their clients, the older of a client before its newer ones.
    pub(super) fn order(&self, waiting: Vec<(String, JobId)>) -> Vec<JobId> {
        // A round is one turn of each client. Whoever comes earlier in the first one does so in all.
        let mut clients: HashMap<String, (u64, (u64, JobId))> = HashMap::new();
        let mut turns = Vec::with_capacity(waiting.len());
        for (client, id) in waiting {
            let last = self.last.get(&client).copied().unwrap_or(0);
            let (round, first) = clients.entry(client).or_insert((0, (last, id)));
            turns.push((*round, *first, id));
            *round += 1;
        }
        turns.sort_unstable();
        turns.into_iter().map(|(_, _, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_and_nobody_jumps_the_queue_for_ever() {
        let mut turns = Turns::default();
        let mut next = |waiting: &[(&str, i64)]| {
            let waiting = waiting.iter().map(|(client, id)| ((*client).to_owned(), JobId(*id)));
            turns.next(waiting.collect()).unwrap().0
        };
        assert_eq!(next(&[("many", 1)]), 1);
        assert_eq!(next(&[("many", 2), ("few", 100)]), 100);
        assert_eq!(next(&[("many", 2)]), 2);
        // Who always has one job waiting gets every other turn, no more.
        assert_eq!(next(&[("many", 3), ("few", 101)]), 101);
        assert_eq!(next(&[("many", 3), ("few", 102)]), 3);
        assert_eq!(next(&[("many", 4), ("few", 102)]), 102);
    }

    #[test]
    fn the_order_is_that_in_which_the_jobs_are_begun() {
        let mut turns = Turns::default();
        let named = |jobs: &[(&str, i64)]| -> Vec<(String, JobId)> {
            jobs.iter().map(|(client, id)| ((*client).to_owned(), JobId(*id))).collect()
        };
        turns.next(named(&[("many", 1)]));
        turns.next(named(&[("once", 2)]));
        let mut waiting = named(&[
            ("few", 7),
            ("few", 9),
            ("many", 3),
            ("many", 4),
            ("many", 5),
            ("many", 11),
            ("new", 6),
            ("once", 10),
        ]);
        let order = turns.order(waiting.clone());
        assert_eq!(order, [6, 7, 3, 10, 9, 4, 5, 11].map(JobId));
        for expected in order {
            assert_eq!(turns.next(waiting.clone()), Some(expected));
            waiting.retain(|(_, id)| *id != expected);
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut turns = Turns::default();
        for client in 0..3 * MOST {
            turns.next(vec![(client.to_string(), JobId(1))]);
        }
        assert!(turns.last.len() <= MOST, "{}", turns.last.len());
    }
}
