//! What is known of a credential without hashing: which words are right, and which are not.

use std::sync::{Mutex, OnceLock, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::words::{RecentWords, Tag};

/// Wrong words that are remembered, so that a program with an old password costs nothing.
const WRONG_WORDS: usize = 4096;

/// Lives as long as its credential does: a password of the next one is judged anew.
pub(super) struct Known {
    /// All that are right, once they are known.
    right: OnceLock<Vec<Tag>>,
    wrong: Mutex<RecentWords>,
}

/// What is known of a word before anything is hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recognised {
    Right,
    /// It is wrong, for another one is right.
    Wrong,
    /// It was found to be wrong before.
    WrongAgain,
    /// Only hashing tells.
    Unknown,
}

impl Default for Known {
    fn default() -> Self {
        let wrong = Mutex::new(RecentWords::with_room(WRONG_WORDS));
        Self { right: OnceLock::new(), wrong }
    }
}

impl Known {
    /// All words that are right.
    pub(super) fn of(right: Vec<Tag>) -> Self {
        Self { right: right.into(), ..Self::default() }
    }

    /// The word of this tag was verified: from now on every other one is wrong.
    pub(super) fn verified(&self, tag: Tag) {
        let _ = self.right.set(vec![tag]);
    }

    /// The word that was sent as `sent` was verified not to be the right one.
    pub(super) fn refuted(&self, sent: Tag) {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).insert(sent);
    }

    /// Looks a word up by the tag of what was sent and those of its spellings.
    pub(super) fn recognise(
        &self,
        sent: &Tag,
        mut spellings: impl Iterator<Item = Tag>,
    ) -> Recognised {
        let right = self.right.get();
        if let Some(right) = right
            && spellings.any(|tag| contains(right, &tag))
        {
            return Recognised::Right;
        }
        if self.wrong.lock().unwrap_or_else(PoisonError::into_inner).contains(sent) {
            return Recognised::WrongAgain;
        }
        if right.is_some() { Recognised::Wrong } else { Recognised::Unknown }
    }

    /// Whether the same words are right.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.right.get() == other.right.get()
    }
}

/// All are compared, so that the time tells nothing.
fn contains(right: &[Tag], tag: &Tag) -> bool {
    right.iter().fold(false, |found, known| verify_slices_are_equal(known, tag).is_ok() | found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_one_word_is_right_all_others_are_wrong() {
        let known = Known::default();
        let recognise = |tag: u8| known.recognise(&[tag; 32], [[tag; 32]].into_iter());
        assert_eq!(recognise(1), Recognised::Unknown);
        known.refuted([1; 32]);
        assert_eq!(recognise(1), Recognised::WrongAgain);
        known.verified([2; 32]);
        assert_eq!(recognise(2), Recognised::Right);
        assert_eq!(recognise(3), Recognised::Wrong);
        let spelled = known.recognise(&[9; 32], [[9; 32], [2; 32]].into_iter());
        assert_eq!(spelled, Recognised::Right, "in another spelling");
        let several = Known::of(vec![[1; 32], [2; 32]]);
        assert_eq!(several.recognise(&[2; 32], [[2; 32]].into_iter()), Recognised::Right);
        assert_eq!(several.recognise(&[3; 32], [[3; 32]].into_iter()), Recognised::Wrong);
    }
}
