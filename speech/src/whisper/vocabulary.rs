//! Words that the client expects, heard where the model made something alike of them.
//!
//! A list of words in front of the audio (a prompt) makes the model err more elsewhere. Here it
//! decodes without the list. Where it is unsure and its words sound like one of the list, it is asked
//! how likely the audio makes the one and the other, each with the words before and behind it; the
//! word of the list is taken if it is not too much less likely. How much that may be, follows from
//! how alike they sound and how sure the model was. What it spells out of pieces is no common word,
//! so it may be a name that the model does not know, and more is allowed.

use std::{collections::HashSet, ops::Range};

use whisper_rs::{WhisperContext, WhisperState, WhisperTokenId};

use super::{
    engine,
    sounds::Sound,
    words::{Token, groups, text},
};
use crate::{
    agreement::letters,
    recogniser::{RecogniserError, Term},
};

/// How unlike a word may sound, as a share of its sounds.
const FAR: f32 = 0.4;
/// How much less likely a word of the list may be, as a natural logarithm, if it sounds the same;
/// less and less up to [`FAR`]. For each sound, if a word is spelled out of pieces.
const BIAS: f32 = 6.0;
const SOUND_BIAS: f32 = 3.0;
/// And at most so many times the logarithm of the probability that the model gave its own words.
const DOUBT: f32 = 1.5;
const SPELLED_DOUBT: f32 = 12.0;
/// Words of fewer sounds are too easily taken for others.
const LEAST_SOUNDS: usize = 3;
/// A term of more words than this is not looked for.
const MOST_WORDS: usize = 4;
/// Words that the model is as sure of as this are not doubted.
const SURE: f32 = 0.97;
/// Places that are weighed in one decode, and words of the list at each.
const MOST_PLACES: usize = 12;
const MOST_TERMS: usize = 3;
/// Tokens behind a place that are weighed with it.
const BEHIND: usize = 3;
/// Ways to say a word of the list that are looked for, of all its words; more would take longer than
/// a decode.
const MOST_SOUNDS: usize = 4_000;
/// The most tokens of a term.
const MOST_TOKENS: usize = 64;

/// The list.
pub(super) struct Vocabulary {
    terms: Vec<Entry>,
    /// The letters of those that are one word.
    words: HashSet<String>,
}

struct Entry {
    text: String,
    letters: String,
    words: usize,
    sounds: Vec<Sound>,
}

/// Words of a decode and what of the list sounds like them.
#[derive(Debug, Clone, PartialEq)]
struct Place {
    /// The tokens of the words, without marks around them.
    tokens: Range<usize>,
    /// How many sounds are in them, and whether a word of them is spelled out of pieces.
    sounds: usize,
    spelled: bool,
    /// Terms by their number, with the distance of each.
    terms: Vec<(usize, f32)>,
}

impl Place {
    /// How much less likely a term may be than the words, which have the logarithm `own`.
    fn bias(&self, distance: f32, own: f32) -> f32 {
        let near = 1.0 - distance / FAR;
        if self.spelled {
            (SOUND_BIAS * self.sounds as f32 * near).min(-own * SPELLED_DOUBT)
        } else {
            (BIAS * near).min(-own * DOUBT)
        }
    }
}

impl Vocabulary {
    /// `None` if there is nothing to look for.
    pub(super) fn new(terms: &[Term]) -> Option<Self> {
        let mut left = MOST_SOUNDS;
        let mut taken = |entry: &Entry| {
            let rest = left.checked_sub(entry.sounds.len());
            left = rest.unwrap_or_default();
            rest.is_some()
        };
        let terms = terms.iter().filter_map(Entry::new);
        let terms: Vec<Entry> = terms.take_while(|entry| taken(entry)).collect();
        let words = terms.iter().filter(|term| term.words == 1);
        let words = words.map(|term| term.letters.clone()).collect();
        (!terms.is_empty()).then_some(Self { terms, words })
    }

    /// Puts words of the list where they were meant. The state is that of the decode which gave
    /// `tokens`, with its audio still in it; `encode`: maybe of another part of it. Weighs `most`
    /// tokens at most.
    pub(super) fn hear(
        &self,
        context: &WhisperContext,
        state: &mut WhisperState,
        task: &[WhisperTokenId],
        mut tokens: Vec<Token>,
        encode: bool,
        most: usize,
    ) -> Result<Vec<Token>, RecogniserError> {
        let places = self.places(&tokens);
        if places.is_empty() {
            return Ok(tokens);
        }
        if encode {
            // The decode may have gone on to a later part of the audio.
            state.encode(0, 1).map_err(|err| engine(&err))?;
        }
        let mut scales = Scales { state, fed: Vec::new(), left: most };
        // From the back, so that the places before stay where they are, and what is fed for one of
        // them is fed for those before it.
        for place in places.into_iter().rev() {
            if let Some(put) = self.weigh(context, &mut scales, task, &tokens, &place)? {
                tokens.splice(place.tokens, put);
            }
        }
        Ok(tokens)
    }

    /// The tokens of the term that was most likely said at this place, if it was one.
    fn weigh(
        &self,
        context: &WhisperContext,
        scales: &mut Scales<'_>,
        task: &[WhisperTokenId],
        tokens: &[Token],
        place: &Place,
    ) -> Result<Option<Vec<Token>>, RecogniserError> {
        let ids = |tokens: &[Token]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
        let before = [task, &ids(&tokens[..place.tokens.start])].concat();
        let behind = &tokens[place.tokens.end..];
        let behind = ids(&behind[..behind.len().min(BEHIND)]);
        let heard = &tokens[place.tokens.clone()];
        let Some(base) = scales.weigh(&before, &ids(heard), &behind)? else { return Ok(None) };
        let mut best: Option<(f32, Vec<Token>)> = None;
        for (term, distance) in &place.terms {
            let Some(pieces) = pieces(context, &format!(" {}", self.terms[*term].text)) else {
                continue;
            };
            let ids: Vec<WhisperTokenId> = pieces.iter().map(|(id, _)| *id).collect();
            let Some(found) = scales.weigh(&before, &ids, &behind)? else { break };
            let lead = found.all + place.bias(*distance, base.own) - base.all;
            if lead > best.as_ref().map_or(0.0, |(lead, _)| *lead) {
                let probability = (found.own / ids.len() as f32).exp();
                best = Some((lead, spread(pieces, ends(heard), probability)));
            }
        }
        let before = tokens[..place.tokens.start].last();
        let begins = before.is_none_or(|token| token.bytes.ends_with(b"."));
        Ok(best.map(|(_, tokens)| if begins { capital(tokens) } else { tokens }))
    }

    /// Where words of the list may have been said; in order, apart from each other.
    fn places(&self, tokens: &[Token]) -> Vec<Place> {
        let mut words: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        for group in groups(tokens) {
            words.push(bare(tokens, at..at + group.len()));
            at += group.len();
        }
        let mut found: Vec<(f32, Place)> = Vec::new();
        for first in 0..words.len() {
            for last in first..words.len().min(first + MOST_WORDS + 1) {
                let range = words[first].start..words[last].end;
                if words[first..=last].iter().any(|word| self.is_there(tokens, word)) {
                    break;
                }
                let spelled = words[first..=last].iter().any(|word| word.len() > 1);
                if range.is_empty() || words[first].is_empty() || words[last].is_empty() {
                    continue;
                }
                found.extend(self.place(tokens, range, last + 1 - first, spelled));
            }
        }
        // The most alike first; what overlaps with a better one is left out.
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut places: Vec<Place> = Vec::new();
        for (_, place) in found {
            let apart = |other: &Place| {
                place.tokens.end <= other.tokens.start || other.tokens.end <= place.tokens.start
            };
            if places.len() < MOST_PLACES && places.iter().all(apart) {
                places.push(place);
            }
        }
        places.sort_by_key(|place| place.tokens.start);
        places
    }

    /// Whether a word is one of the list.
    fn is_there(&self, tokens: &[Token], word: &Range<usize>) -> bool {
        self.words.contains(&letters(&text(&tokens[word.clone()])))
    }

    fn place(
        &self,
        tokens: &[Token],
        range: Range<usize>,
        words: usize,
        spelled: bool,
    ) -> Option<(f32, Place)> {
        let heard = &tokens[range.clone()];
        if heard.iter().all(|token| token.probability >= SURE) {
            return None;
        }
        let text = text(heard);
        let (sound, text) = (Sound::of(&text)?, letters(&text));
        let mut near: Vec<(f32, usize)> = Vec::new();
        for (index, term) in self.terms.iter().enumerate() {
            if term.words.abs_diff(words) > 1 {
                continue;
            }
            if term.letters == text && term.words == words {
                // It is there.
                return None;
            }
            let distances = term.sounds.iter().filter_map(|other| sound.distance(other, FAR));
            near.extend(distances.min_by(f32::total_cmp).map(|distance| (distance, index)));
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(MOST_TERMS);
        let nearest = near.first()?.0;
        let terms = near.into_iter().map(|(distance, term)| (term, distance)).collect();
        Some((nearest, Place { tokens: range, sounds: sound.len(), spelled, terms }))
    }
}

impl Entry {
    fn new(term: &Term) -> Option<Self> {
        let text: String = term.content.chars().filter(|c| !c.is_control()).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = text.split(' ').count();
        let said = std::iter::once(&text).chain(&term.sounds_like);
        let sounds = said.filter_map(|text| Sound::of(text));
        let sounds: Vec<Sound> = sounds.filter(|sound| sound.len() >= LEAST_SOUNDS).collect();
        let letters = letters(&text);
        (words <= MOST_WORDS && !sounds.is_empty()).then_some(Self { text, letters, words, sounds })
    }
}

/// How likely the model finds tokens in the place of others.
struct Scales<'a> {
    state: &'a mut WhisperState,
    /// The tokens that the state remembers.
    fed: Vec<WhisperTokenId>,
    /// How many more tokens may be weighed.
    left: usize,
}

/// Natural logarithms of probabilities.
struct Weight {
    /// Of the tokens and of those behind them.
    all: f32,
    /// Of the tokens alone.
    own: f32,
}

impl Scales<'_> {
    /// How likely `put` is after `before`, and `behind` after both; `None` once too much was weighed.
    fn weigh(
        &mut self,
        before: &[WhisperTokenId],
        put: &[WhisperTokenId],
        behind: &[WhisperTokenId],
    ) -> Result<Option<Weight>, RecogniserError> {
        let Some(left) = self.left.checked_sub(put.len() + behind.len()) else {
            return Ok(None);
        };
        self.left = left;
        let mut weight = Weight { all: 0.0, own: 0.0 };
        let mut text = before.to_vec();
        for (index, id) in put.iter().chain(behind).enumerate() {
            let found = log_probability(self.logits(&text)?, *id);
            weight.all += found;
            weight.own += if index < put.len() { found } else { 0.0 };
            text.push(*id);
        }
        Ok(Some(weight))
    }

    /// What the model thinks of each token as the next after `text`, which has at least one.
    fn logits(&mut self, text: &[WhisperTokenId]) -> Result<&[f32], RecogniserError> {
        let same = self.fed.iter().zip(text).take_while(|(a, b)| a == b).count();
        // The last one has to be fed alone: the state tells the logits of the first of a batch.
        let same = same.min(text.len() - 1);
        for part in [same..text.len() - 1, text.len() - 1..text.len()] {
            if !part.is_empty() {
                let past = part.start;
                self.state.decode(&text[part], past, 1).map_err(|err| engine(&err))?;
            }
        }
        self.fed = text.to_vec();
        self.state.get_logits().map_err(|err| engine(&err))
    }
}

/// When words begin and end.
fn ends(heard: &[Token]) -> (f64, f64) {
    let start = heard.first().map_or(0.0, |token| token.start);
    (start, heard.last().map_or(start, |token| token.end).max(start))
}

fn log_probability(logits: &[f32], id: WhisperTokenId) -> f32 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    let own = usize::try_from(id).ok().and_then(|id| logits.get(id));
    own.map_or(f32::NEG_INFINITY, |own| own - most - sum.ln())
}

/// A token and its bytes.
type Piece = (WhisperTokenId, Vec<u8>);

/// A text as the model's tokens; `None` if it has none for a part of it.
fn pieces(context: &WhisperContext, text: &str) -> Option<Vec<Piece>> {
    let ids = context.tokenize(text, MOST_TOKENS).ok()?;
    let piece = |id: WhisperTokenId| Some((id, context.token_to_bytes(id).ok()?.to_vec()));
    let pieces: Vec<Piece> = ids.into_iter().map(piece).collect::<Option<_>>()?;
    let whole = pieces.iter().flat_map(|(_, bytes)| bytes.iter().copied()).eq(text.bytes());
    whole.then_some(pieces)
}

/// A term's tokens over the time of what they replace.
fn spread(pieces: Vec<Piece>, (start, end): (f64, f64), probability: f32) -> Vec<Token> {
    let total = pieces.iter().map(|(_, bytes)| bytes.len()).sum::<usize>().max(1) as f64;
    let mut passed = 0;
    let mut at = |bytes: usize| {
        passed += bytes;
        start + (end - start) * passed as f64 / total
    };
    let token = |(id, bytes): Piece| {
        let (start, end) = (at(0), at(bytes.len()));
        Token { id, bytes, start, end, probability }
    };
    pieces.into_iter().map(token).collect()
}

/// With a capital letter, as at the beginning of a sentence.
fn capital(mut tokens: Vec<Token>) -> Vec<Token> {
    let first = tokens.first_mut().and_then(|token| token.bytes.get_mut(1));
    if let Some(letter) = first {
        letter.make_ascii_uppercase();
    }
    tokens
}

/// A word's tokens without marks and `'s` around them.
fn bare(tokens: &[Token], mut word: Range<usize>) -> Range<usize> {
    let is_mark = |token: &Token| {
        token.bytes == b"'s"
            || !String::from_utf8_lossy(&token.bytes).contains(char::is_alphanumeric)
    };
    while word.end > word.start && is_mark(&tokens[word.end - 1]) {
        word.end -= 1;
    }
    while word.end > word.start && is_mark(&tokens[word.start]) {
        word.start += 1;
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str, probability: f32) -> Vec<Token> {
        let token = |(index, text): (usize, &str)| Token {
            id: index as WhisperTokenId,
            bytes: text.replace('_', " ").into_bytes(),
            start: index as f64,
            end: index as f64 + 1.0,
            probability,
        };
        text.split(' ').enumerate().map(token).collect()
    }

    fn vocabulary(terms: &[&str]) -> Vocabulary {
        let terms: Vec<Term> = terms.iter().map(|term| Term::from(*term)).collect();
        Vocabulary::new(&terms).unwrap()
    }

    fn found(terms: &[&str], text: &str, probability: f32) -> Vec<(Range<usize>, String)> {
        let vocabulary = vocabulary(terms);
        let places = vocabulary.places(&tokens(text, probability));
        let term = |place: &Place| vocabulary.terms[place.terms[0].0].text.clone();
        places.iter().map(|place| (place.tokens.clone(), term(place))).collect()
    }

    #[test]
    fn places_are_where_it_sounds_like_the_list_and_the_model_is_unsure() {
        let terms = ["Gnocchi", "Speechmatics", "Anna Karenina", "conference"];
        for (text, expected) in [
            ("_I _like _ny oki , _too", &[(2..4, "Gnocchi")][..]),
            ("_the _speech _matic s _box", &[(1..4, "Speechmatics")]),
            ("_Anna _Car an ina 's _train", &[(0..4, "Anna Karenina")]),
            ("_gnocchi _and _conference", &[]),
            ("_the _weather _today", &[]),
            ("_ny oki _and _speech _medics", &[(0..2, "Gnocchi"), (3..5, "Speechmatics")]),
        ] {
            let expected: Vec<_> =
                expected.iter().map(|(range, term)| (range.clone(), (*term).to_owned())).collect();
            assert_eq!(found(&terms, text, 0.5), expected, "{text}");
            assert_eq!(found(&terms, text, 0.99), [], "{text}");
        }
    }

    #[test]
    fn what_a_term_sounds_like_is_looked_for_as_well() {
        let term = Term { content: "CEO".into(), sounds_like: vec!["see ee oh".into()] };
        let vocabulary = Vocabulary::new(&[term]).unwrap();
        assert_eq!(vocabulary.places(&tokens("_our _see _EO _said", 0.5)).len(), 1);
    }

    #[test]
    fn lists_of_nothing_and_long_ones_are_taken() {
        for term in ["", "\0", "-", "of", "a b c d e f g h"] {
            assert!(Vocabulary::new(&[term.into()]).is_none(), "{term}");
        }
        let terms: Vec<Term> = (0..1_000).map(|n| Term::from(&*format!("Xyzzy{n}"))).collect();
        let many = tokens(&"_press _the _pound _key ".repeat(5), 0.5);
        assert!(Vocabulary::new(&terms).unwrap().places(&many).len() <= MOST_PLACES);
        let said = Term { content: "Xyzzy".into(), sounds_like: vec!["zizzy".into(); 20] };
        let many = vec![said; 20_000];
        assert_eq!(Vocabulary::new(&many).unwrap().terms.len(), MOST_SOUNDS / 21);
    }

    #[test]
    fn a_term_takes_the_time_of_what_it_replaces() {
        let pieces = [&b" Anna"[..], b" Karenina"].map(|bytes| (7, bytes.to_vec()));
        let put = spread(pieces.to_vec(), (1.0, 2.2), 1.0);
        let shown: Vec<_> = put.iter().map(|token| (token.start, token.end)).collect();
        assert_eq!(put.len(), 2);
        assert!((shown[0].0 - 1.0).abs() < 1e-9 && (shown[1].1 - 2.2).abs() < 1e-9);
        assert_eq!(shown[0].1, shown[1].0);
        assert!((log_probability(&[0.0, 0.0], 1) + std::f32::consts::LN_2).abs() < 1e-6);
        assert_eq!(log_probability(&[0.0], 9), f32::NEG_INFINITY);
        let weasels = spread(vec![(7, b" weasels".to_vec())], (0.0, 1.0), 1.0);
        assert_eq!(text(&capital(weasels)), " Weasels");
    }
}
