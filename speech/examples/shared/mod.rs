//! What the examples have in common.

use std::{fs, io};

use portcullis_speech::recogniser::Term;

/// A list of words: one a line, each with what it sounds like behind it, with `|` between.
pub(crate) fn vocabulary(path: &str) -> io::Result<Vec<Term>> {
    let term = |line: &str| {
        let mut parts = line.split('|').map(str::to_owned);
        Term { content: parts.next().unwrap_or_default(), sounds_like: parts.collect() }
    };
    Ok(fs::read_to_string(path)?.lines().map(term).collect())
}
