//! Bounds of the lists that a client asks for, the same for jobs and for sessions.

use crate::{reading::shown, transcript::Marks};

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
const LONGEST_LABEL: usize = 100;

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

/// Checks `channel_diarization_labels`.
///
/// # Errors
/// There are too many, or one, named by its index from 0, is no label or is there twice.
pub(crate) fn check_labels(labels: &[String]) -> Result<(), String> {
    let key = "channel_diarization_labels";
    if labels.len() > MOST_CHANNELS {
        return Err(format!("{key} has {} entries; {MOST_CHANNELS} are the most", labels.len()));
    }
    for (index, label) in labels.iter().enumerate() {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        if label.is_empty() || label.len() > LONGEST_LABEL || !label.chars().all(plain) {
            return Err(format!(
                "{key}[{index}] is `{}`; a label has 1 to {LONGEST_LABEL} letters from A to Z, digits, dots and underscores",
                shown(label)
            ));
        }
        if labels[..index].contains(label) {
            return Err(format!("{key}[{index}] is `{label}`, which another channel has"));
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
    fn labels_are_few_plain_and_different() {
        let check = |labels: &[&str]| {
            check_labels(&labels.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>())
        };
        let longest = "a".repeat(100);
        for right in [&[][..], &["agent", "Caller_2", "x.y"], &["1"], &[&longest]] {
            assert_eq!(check(right), Ok(()), "{right:?}");
        }
        let longer = "a".repeat(101);
        for (wrong, expected) in [
            (&["a b"][..], "labels[0] is `a b`; a label has 1 to 100"),
            (&["a", "links-rechts"], "labels[1] is `links-rechts`"),
            (&["a", ""], "labels[1] is ``"),
            (&["büro"], "labels[0] is `büro`"),
            (&["a\n"], "labels[0] is `a`"),
            (&[&longer], "labels[0] is `aaa"),
            (&["a", "b", "a"], "labels[2] is `a`, which another channel has"),
            (&["a"; 9], "has 9 entries; 8 are the most"),
        ] {
            let refused = check(wrong).unwrap_err();
            assert!(refused.contains(expected) && refused.len() < 200, "{refused}");
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
