//! What is known of languages: their names, and how they are written.

use serde_json::{Value, json};

use super::Item;

/// Those of Whisper, by their codes.
const NAMES: &[(&str, &str)] = &[
    ("af", "Afrikaans"),
    ("am", "Amharic"),
    ("ar", "Arabic"),
    ("as", "Assamese"),
    ("az", "Azerbaijani"),
    ("ba", "Bashkir"),
    ("be", "Belarusian"),
    ("bg", "Bulgarian"),
    ("bn", "Bengali"),
    ("bo", "Tibetan"),
    ("br", "Breton"),
    ("bs", "Bosnian"),
    ("ca", "Catalan"),
    ("cs", "Czech"),
    ("cy", "Welsh"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("eu", "Basque"),
    ("fa", "Persian"),
    ("fi", "Finnish"),
    ("fo", "Faroese"),
    ("fr", "French"),
    ("gl", "Galician"),
    ("gu", "Gujarati"),
    ("ha", "Hausa"),
    ("haw", "Hawaiian"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("ht", "Haitian Creole"),
    ("hu", "Hungarian"),
    ("hy", "Armenian"),
    ("id", "Indonesian"),
    ("is", "Icelandic"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("jw", "Javanese"),
    ("ka", "Georgian"),
    ("kk", "Kazakh"),
    ("km", "Khmer"),
    ("kn", "Kannada"),
    ("ko", "Korean"),
    ("la", "Latin"),
    ("lb", "Luxembourgish"),
    ("ln", "Lingala"),
    ("lo", "Lao"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("mg", "Malagasy"),
    ("mi", "Maori"),
    ("mk", "Macedonian"),
    ("ml", "Malayalam"),
    ("mn", "Mongolian"),
    ("mr", "Marathi"),
    ("ms", "Malay"),
    ("mt", "Maltese"),
    ("my", "Burmese"),
    ("ne", "Nepali"),
    ("nl", "Dutch"),
    ("nn", "Norwegian Nynorsk"),
    ("no", "Norwegian"),
    ("oc", "Occitan"),
    ("pa", "Punjabi"),
    ("pl", "Polish"),
    ("ps", "Pashto"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sa", "Sanskrit"),
    ("sd", "Sindhi"),
    ("si", "Sinhala"),
    ("sk", "Slovak"),
    ("sl", "Slovenian"),
    ("sn", "Shona"),
    ("so", "Somali"),
    ("sq", "Albanian"),
    ("sr", "Serbian"),
    ("su", "Sundanese"),
    ("sv", "Swedish"),
    ("sw", "Swahili"),
    ("ta", "Tamil"),
    ("te", "Telugu"),
    ("tg", "Tajik"),
    ("th", "Thai"),
    ("tk", "Turkmen"),
    ("tl", "Tagalog"),
    ("tr", "Turkish"),
    ("tt", "Tatar"),
    ("uk", "Ukrainian"),
    ("ur", "Urdu"),
    ("uz", "Uzbek"),
    ("vi", "Vietnamese"),
    ("yi", "Yiddish"),
    ("yo", "Yoruba"),
    ("yue", "Cantonese"),
    ("zh", "Mandarin"),
];

/// Codes by which other services call a language, and those here.
const OTHER_CODES: &[(&str, &str)] = &[("cmn", "zh")];

/// Written without blanks between the words.
const UNDIVIDED: &[&str] = &["bo", "ja", "km", "lo", "my", "th", "yue", "zh"];
const RIGHT_TO_LEFT: &[&str] = &["ar", "fa", "he", "ps", "sd", "ur", "yi"];

/// What stands between two words; nothing in languages that are written without blanks.
#[must_use]
pub fn word_delimiter(language: &str) -> &'static str {
    if UNDIVIDED.contains(&usual(language)) { "" } else { " " }
}

/// The code that is used here for a language.
fn usual(code: &str) -> &str {
    OTHER_CODES.iter().find(|(other, _)| *other == code).map_or(code, |(_, usual)| usual)
}

/// Whether both codes are of one language.
pub(crate) fn is_same_language(one: &str, other: &str) -> bool {
    usual(one) == usual(other)
}

/// The other codes of a language.
pub(crate) fn other_codes(code: &str) -> impl Iterator<Item = &'static str> {
    OTHER_CODES.iter().filter(move |(_, usual)| *usual == code).map(|(other, _)| *other)
}

/// What stands between a text and this result, which begins another word: foreign words in Latin
/// letters and figures keep their blanks, whatever the language, and phrases those that the
/// recogniser wrote.
pub(super) fn between(before: &str, next: &Item, language: &str) -> &'static str {
    let latin = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let foreign = latin(before.chars().next_back()) && latin(next.content.chars().next());
    if foreign || next.blank { " " } else { word_delimiter(language) }
}

/// What clients are told about a language.
#[must_use]
pub fn language_pack_info(language: &str) -> Value {
    let direction =
        if RIGHT_TO_LEFT.contains(&language) { "right-to-left" } else { "left-to-right" };
    json!({
        "adapted": false,
        "itn": true,
        "language_description": language_name(language),
        "word_delimiter": word_delimiter(language),
        "writing_direction": direction,
    })
}

/// The English name of a language; the code itself where it has none here.
#[must_use]
pub fn language_name(code: &str) -> &str {
    let usual = usual(code);
    NAMES.iter().find(|(known, _)| *known == usual).map_or(code, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recogniser::Word,
        transcript::{Marks, items},
    };

    #[test]
    fn languages_are_told_as_they_are_written() {
        for (language, name, delimiter, direction) in [
            ("en", "English", " ", "left-to-right"),
            ("ja", "Japanese", "", "left-to-right"),
            ("he", "Hebrew", " ", "right-to-left"),
            ("zh", "Mandarin", "", "left-to-right"),
            ("cmn", "Mandarin", "", "left-to-right"),
            ("tlh", "tlh", " ", "left-to-right"),
        ] {
            let told = language_pack_info(language);
            assert_eq!(told["language_description"], name);
            assert_eq!(told["word_delimiter"], delimiter);
            assert_eq!(told["writing_direction"], direction);
        }
    }

    #[test]
    fn foreign_words_and_phrases_keep_their_blanks() {
        for (before, after, language, expected) in [
            ("話", "す", "ja", ""),
            ("Open", "AI", "ja", " "),
            ("、", "AI", "ja", ""),
            ("el", "perro", "es", " "),
            ("ดี", "ค", "th", ""),
            ("ดี", " ค", "th", " "),
        ] {
            let word = Word { text: after.into(), start: 0.0, end: 1.0, confidence: 1.0 };
            let item = &items(&[word], &Marks::All, 0.0, 1.0)[0];
            assert_eq!(between(before, item, language), expected, "{before} {after}");
        }
    }
}
