//! Reading and writing the few DER structures that no crate here reads for us.
//!
//! The reader checks lengths and nothing else; it never copies and never panics.

use zeroize::Zeroizing;

use super::limits::MAX_NESTING;

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;

/// Why a structure could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DerError {
    /// The length in the header reaches past the end of the data.
    CutShort { promised: usize, present: usize },
    /// The bytes do not follow the encoding rules.
    Malformed,
}

/// One tag, length, value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// Header and content.
    pub(super) raw: &'a [u8],
}

impl<'a> Node<'a> {
    /// The nodes inside, one after the other; stops for good at the first malformed one.
    pub(super) fn children(&self) -> Items<'a> {
        Items { rest: self.content }
    }

    /// This node, provided that it carries `tag`.
    pub(super) fn expect(self, tag: u8) -> Result<Self, DerError> {
        if self.tag == tag { Ok(self) } else { Err(DerError::Malformed) }
    }

    /// The value of a small, non-negative INTEGER.
    pub(super) fn small_integer(&self) -> Option<u64> {
        let digits = self.unsigned_integer()?;
        (digits.len() <= 8)
            .then(|| digits.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
    }

    /// The bytes of a non-negative INTEGER without leading zeros.
    pub(super) fn unsigned_integer(&self) -> Option<&'a [u8]> {
        if self.tag != INTEGER || self.content.first().is_none_or(|first| first & 0x80 != 0) {
            return None;
        }
        Some(without_leading_zeros(self.content))
    }

    /// The payload of a BIT STRING that consists of whole bytes.
    pub(super) fn bit_string(&self) -> Option<&'a [u8]> {
        match self.content.split_first() {
            Some((0, bits)) if self.tag == BIT_STRING => Some(bits),
            _ => None,
        }
    }
}

/// Consecutive nodes.
#[derive(Clone, Debug)]
pub(super) struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    pub(super) fn of(input: &'a [u8]) -> Self {
        Self { rest: input }
    }

    /// The next node; its absence is an error.
    pub(super) fn required(&mut self) -> Result<Node<'a>, DerError> {
        let (node, rest) = read(self.rest)?;
        self.rest = rest;
        Ok(node)
    }

    /// The next node, provided that it carries `tag`; otherwise an error.
    pub(super) fn required_tag(&mut self, tag: u8) -> Result<Node<'a>, DerError> {
        self.required()?.expect(tag)
    }

    /// The next node when it carries `tag`; anything else is left where it is.
    pub(super) fn optional_tag(&mut self, tag: u8) -> Option<Node<'a>> {
        let (node, rest) = read(self.rest).ok().filter(|(node, _)| node.tag == tag)?;
        self.rest = rest;
        Some(node)
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        self.required().inspect_err(|_| self.rest = &[]).ok()
    }
}

/// Reads one node, gives it and what follows it.
pub(super) fn read(input: &[u8]) -> Result<(Node<'_>, &[u8]), DerError> {
    let (&tag, after_tag) = input.split_first().ok_or(DerError::Malformed)?;
    let (&first, after_first) = after_tag.split_first().ok_or(DerError::Malformed)?;
    if tag & 0x1f == 0x1f {
        return Err(DerError::Malformed);
    }
    let (length, body) = if first < 0x80 {
        (usize::from(first), after_first)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) || after_first.len() < count {
            return Err(DerError::Malformed);
        }
        let (digits, body) = after_first.split_at(count);
        (digits.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), body)
    };
    if body.len() < length {
        return Err(DerError::CutShort { promised: length, present: body.len() });
    }
    let (content, rest) = body.split_at(length);
    let raw = &input[..input.len() - rest.len()];
    Ok((Node { tag, content, raw }, rest))
}

/// Writes one node around the joined `parts`.
pub(super) fn write(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    // Reserved at once: a growing vector would leave copies of a key behind.
    let mut out = Zeroizing::new(Vec::with_capacity(length + 6));
    out.push(tag);
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits = without_leading_zeros(&bytes);
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

pub(super) fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

/// Rewrites BER with indefinite lengths and segmented strings as DER, as far as needed here.
///
/// Older Windows and Java releases write PKCS#12 and PKCS#7 in that form.
pub(super) fn definite_form(input: &[u8]) -> Result<Zeroizing<Vec<u8>>, DerError> {
    definite_node(input, MAX_NESTING).map(|(node, _)| node)
}

fn definite_node(input: &[u8], depth: usize) -> Result<(Zeroizing<Vec<u8>>, &[u8]), DerError> {
    let depth = depth.checked_sub(1).ok_or(DerError::Malformed)?;
    let (inside, rest, tag) = match input {
        [tag, 0x80, after @ ..] if tag & CONSTRUCTED != 0 => {
            let mut inside = Zeroizing::new(Vec::with_capacity(after.len()));
            let mut rest = after;
            loop {
                match rest {
                    [0, 0, beyond @ ..] => break (inside, beyond, *tag),
                    _ => {
                        let (child, beyond) = definite_node(rest, depth)?;
                        inside.extend_from_slice(&child);
                        rest = beyond;
                    }
                }
            }
        }
        _ => {
            let (node, rest) = read(input)?;
            if node.tag & CONSTRUCTED == 0 {
                return Ok((Zeroizing::new(node.raw.to_vec()), rest));
            }
            let mut inside = Zeroizing::new(Vec::with_capacity(node.content.len()));
            let mut children = node.content;
            while !children.is_empty() {
                let (child, beyond) = definite_node(children, depth)?;
                inside.extend_from_slice(&child);
                children = beyond;
            }
            (inside, rest, node.tag)
        }
    };
    if tag == OCTET_STRING | CONSTRUCTED {
        return Ok((write(OCTET_STRING, &[&joined_segments(&inside)]), rest));
    }
    Ok((write(tag, &[&inside]), rest))
}

/// The content of the octet strings in `segments`, in one piece.
pub(super) fn joined_segments(segments: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut joined = Zeroizing::new(Vec::with_capacity(segments.len()));
    for segment in Items::of(segments).filter(|segment| segment.tag == OCTET_STRING) {
        joined.extend_from_slice(segment.content);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for length in [0usize, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let node = write(OCTET_STRING, &[&content]);
            let (back, rest) = read(&node).expect("own output");
            assert_eq!((back.content.len(), rest.len()), (length, 0));
        }
    }

    #[test]
    fn a_cut_structure_is_told_with_its_lengths() {
        let node = write(SEQUENCE, &[&[0; 300]]);
        assert_eq!(
            read(&node[..100]).err(),
            Some(DerError::CutShort { promised: 300, present: 96 })
        );
        assert_eq!(read(&[0x30]).err(), Some(DerError::Malformed));
        assert_eq!(read(&[0x30, 0x85, 1, 1, 1, 1, 1]).err(), Some(DerError::Malformed));
    }

    #[test]
    fn indefinite_lengths_and_segments_become_definite() {
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 1, 0xaa, 4, 1, 0xbb, 0, 0, 2, 1, 5, 0, 0];
        assert_eq!(*definite_form(&ber).expect("valid BER"), [0x30, 7, 4, 2, 0xaa, 0xbb, 2, 1, 5]);
    }

    #[test]
    fn endless_nesting_is_refused() {
        assert_eq!(definite_form(&[0x30, 0x80].repeat(10_000)).err(), Some(DerError::Malformed));
    }
}
