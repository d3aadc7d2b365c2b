//! Bounds of the lists that a client asks for, the same for jobs and for sessions.

use crate::transcript::Marks;

/// Entries of `additional_vocab`.
const MOST_WORDS: usize = 20_000;
/// Ways in which one of them may be spoken.
const MOST_SOUNDS: usize = 20;
/// Bytes of an entry, and of a way to speak it.
const LONGEST_WORD: usize = 200;
const MOST_MARKS: usize = 100;
/// Channels that are told apart, each with a label.
pub(crate) const MOST_CHANNELS: usize = 8;
/// Bytes of a label.
pub(crate) const LONGEST_LABEL: usize = 100;

/// Checks `additional_vocab`: entries, each with the ways in which it is spoken.
///
/// # Errors
/// Names the entry, by its index from 0, and the bound.
pub(crate) fn check_vocabulary<'a>(
    entries: impl IntoIterator<Item = (&'a str, &'a [String])>,
) -> Result<(), String> {
    for (index, (content, sounds)) in entries.into_iter().enumerate() {
        if index >= MOST_WORDS {
            return Err(format!("additional_vocab has more than {MOST_WORDS} entries"));
        }
        if content.len() > LONGEST_WORD || sounds.iter().any(|sound| sound.len() > LONGEST_WORD) {
            return Err(format!(
                "additional_vocab[{index}] has a text of more than {LONGEST_WORD} bytes"
            ));
        }
        if sounds.len() > MOST_SOUNDS {
            return Err(format!(
                "additional_vocab[{index}].sounds_like has more than {MOST_SOUNDS} entries"
            ));
        }
    }
    Ok(())
}

/// Reads `permitted_marks`.
///
/// # Errors
/// There are too many, or one is neither a single mark nor `all`.
pub(crate) fn marks(permitted: &[String]) -> Result<Marks, String> {
    let refused = |what: &str| Err(format!("punctuation_overrides.permitted_marks {what}"));
    if permitted.len() > MOST_MARKS {
        return refused(&format!("has more than {MOST_MARKS} entries"));
    }
    if permitted.iter().any(|mark| mark == "all") {
        return Ok(Marks::All);
    }
    let single = |mark: &String| {
        let mut characters = mark.chars();
        characters.next().filter(|_| characters.next().is_none())
    };
    match permitted.iter().map(single).collect() {
        Some(marks) => Ok(Marks::Only(marks)),
        None => refused("must hold single marks, or \"all\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_named() {
        let long = "a".repeat(201);
        let vocabulary = |content: &str, sounds: &[String], count: usize| {
            check_vocabulary(std::iter::repeat_n((content, sounds), count))
        };
        vocabulary("gnocchi", &["nyohki".to_owned()], 20_000).unwrap();
        for (refused, expected) in [
            (vocabulary("a", &[], 20_001), "more than 20000 entries"),
            (vocabulary(&long, &[], 1), "additional_vocab[0] has a text of more than 200 bytes"),
            (vocabulary("a", std::slice::from_ref(&long), 1), "more than 200 bytes"),
            (vocabulary("a", &vec![String::new(); 21], 1), "sounds_like has more than 20"),
        ] {
            assert!(refused.clone().unwrap_err().contains(expected), "{refused:?}");
        }
    }

    #[test]
    fn marks_are_single_ones_or_all_and_few() {
        let read = |entries: &[&str]| {
            marks(&entries.iter().map(|mark| (*mark).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(&[]), Ok(Marks::Only(vec![])));
        assert_eq!(read(&[".", "\u{3002}"]), Ok(Marks::Only(vec!['.', '\u{3002}'])));
        assert_eq!(read(&[".", "all"]), Ok(Marks::All));
        let long = ".".repeat(100_000);
        for (entries, expected) in [
            (&[".."][..], "single marks"),
            (&["", "."], "single marks"),
            (&["All"], "single marks"),
            (&[&*long], "single marks"),
            (&["."; 101], "more than 100 entries"),
        ] {
            let refused = read(entries).unwrap_err();
            assert!(refused.contains(expected) && refused.len() < 100, "{refused}");
        }
    }
}
