//! txt: the words as prose.

use super::{Item, channels::turns, languages::between, word_delimiter};

/// All on one line, with a line end; nothing for no words. Where channels are told apart, each turn
/// has a line of its own, below one that names the channel.
#[must_use]
pub fn text(items: &[Item], language: &str) -> String {
    let mut text = String::new();
    for turns in turns(items).chunk_by(|turn, next| turn.channel == next.channel) {
        if let Some(channel) = turns[0].channel {
            text.push_str(&format!("CHANNEL: {channel}\n"));
        }
        let said = turns.iter().flat_map(|turn| turn.items.iter().copied());
        text.push_str(&joined(said, language));
        text.push('\n');
    }
    text
}

/// What a live client joins to what it has: a final ends with the delimiter, so that the next one
/// can follow; a partial does not.
#[must_use]
pub fn live_text(items: &[Item], language: &str, is_final: bool) -> String {
    let mut text = joined(items, language);
    if items.first().is_some_and(|item| item.blank) {
        text.insert(0, ' ');
    }
    if is_final && !text.is_empty() {
        text.push_str(word_delimiter(language));
    }
    text
}

/// The words with the delimiter of the language, marks attached.
pub(super) fn joined<'a>(items: impl IntoIterator<Item = &'a Item>, language: &str) -> String {
    let mut text = String::new();
    let mut last: Option<&Item> = None;
    for item in items {
        if last.is_some_and(|last| !last.holds(item)) {
            text.push_str(between(&text, item, language));
        }
        text.push_str(&item.content);
        last = Some(item);
    }
    text
}
