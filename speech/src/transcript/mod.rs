//! Words as results: marks apart, filtered, and written as json-v2, txt or srt.

mod channels;
mod ecmascript;
mod filter;
mod json;
mod languages;
mod marks;
mod replacements;
mod spans;
mod srt;
mod text;

use serde::{Deserialize, Serialize};

pub use self::{
    channels::merged,
    filter::Filter,
    json::{FORMAT_VERSION, JsonDocument, live_results, results},
    languages::{language_name, language_pack_info, word_delimiter},
    marks::{Marks, items},
    replacements::{Replacements, Rule, RuleError, Rules},
    srt::{SrtLimits, srt},
    text::{live_text, text},
};

pub(crate) use self::languages::{is_same_language, other_codes};

/// A pause that ends a turn, and from which a new subtitle begins, in seconds.
const LONG_GAP: f64 = 1.5;

/// Seconds as they are told: to the hundredth.
pub(crate) fn hundredths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

/// One result: a word or a mark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub content: String,
    /// Seconds from the start of the audio. A mark has no length: it lies at the end of its word,
    /// or at its beginning.
    pub start: f64,
    pub end: f64,
    /// 0 to 1.
    pub confidence: f32,
    pub kind: ItemKind,
    /// Whether a blank stands before it, in a language that has none between its words.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blank: bool,
    /// Whether it is a filled pause such as `um`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disfluency: bool,
    /// The label of its channel, where channels are told apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    Word,
    /// A mark that belongs to the word before it; `sentence_end` for `. ! ?`. One that `opens`,
    /// `¿` or `¡`, belongs to the word after it.
    Mark {
        sentence_end: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        opens: bool,
    },
}

impl Item {
    #[must_use]
    pub fn is_word(&self) -> bool {
        self.kind == ItemKind::Word
    }

    /// Whether a sentence ends here.
    #[must_use]
    pub fn ends_sentence(&self) -> bool {
        matches!(self.kind, ItemKind::Mark { sentence_end: true, .. })
    }

    fn opens(&self) -> bool {
        matches!(self.kind, ItemKind::Mark { opens: true, .. })
    }

    /// Whether the result after it belongs to the same word: a word and its marks are one.
    fn holds(&self, next: &Self) -> bool {
        self.opens() || !(next.is_word() || next.opens())
    }
}
