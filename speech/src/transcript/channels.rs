//! Several channels in one transcript.

use super::{Item, LONG_GAP};

/// The results of all channels, each with its label, in order of time; a mark stays behind its
/// word, whatever another channel says meanwhile.
#[must_use]
pub fn merged(channels: Vec<(String, Vec<Item>)>) -> Vec<Item> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for (label, mut items) in channels {
        items.iter_mut().for_each(|item| item.channel = Some(label.clone()));
        groups.extend(items.chunk_by(|item, next| item.holds(next)).map(<[Item]>::to_vec));
    }
    groups.sort_by(|a, b| a[0].start.total_cmp(&b[0].start));
    groups.concat()
}

/// What one channel says until its sentence ends or it pauses.
pub(super) struct Turn<'a> {
    /// `None` where channels are not told apart.
    pub(super) channel: Option<&'a str>,
    pub(super) items: Vec<&'a Item>,
}

/// The turns in order of their beginnings; all is one where channels are not told apart.
pub(super) fn turns(items: &[Item]) -> Vec<Turn<'_>> {
    let mut labels: Vec<Option<&str>> = Vec::new();
    for item in items {
        if !labels.contains(&item.channel.as_deref()) {
            labels.push(item.channel.as_deref());
        }
    }
    let mut turns: Vec<Turn<'_>> = Vec::new();
    for channel in labels {
        let own: Vec<&Item> =
            items.iter().filter(|item| item.channel.as_deref() == channel).collect();
        let goes_on = |item: &&Item, next: &&Item| {
            let ends = item.ends_sentence() || next.start - item.end >= LONG_GAP;
            channel.is_none() || item.holds(next) || !ends
        };
        let own = own.chunk_by(goes_on).map(|items| Turn { channel, items: items.to_vec() });
        turns.extend(own);
    }
    turns.sort_by(|a, b| a.items[0].start.total_cmp(&b.items[0].start));
    turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        recogniser::Word,
        transcript::{Marks, SrtLimits, items, srt, text},
    };

    /// Words of half a second, the first at `start`.
    fn said(line: &str, start: f64) -> Vec<Item> {
        let words = line.split(' ').enumerate().map(|(index, text)| {
            let start = start + index as f64 / 2.0;
            Word { text: text.into(), start, end: start + 0.4, confidence: 1.0 }
        });
        items(&words.collect::<Vec<_>>(), &Marks::All, 0.0, 100.0)
    }

    fn conversation() -> Vec<Item> {
        let mut agent = said("Hello there. How are you?", 1.0);
        agent.extend(said("Good.", 8.0));
        merged(vec![("agent".into(), agent), ("caller".into(), said("Yes, hello. Fine.", 1.6))])
    }

    #[test]
    fn words_of_all_channels_are_in_order_and_marks_stay_behind_their_words() {
        let all = conversation();
        let words: Vec<&Item> = all.iter().filter(|item| item.is_word()).collect();
        assert!(words.windows(2).all(|pair| pair[0].start <= pair[1].start));
        for pair in all.windows(2).filter(|pair| !pair[1].is_word()) {
            assert_eq!(pair[0].channel, pair[1].channel);
            assert!(pair[0].is_word());
        }
        assert!(all.iter().all(|item| item.channel.is_some()));
    }

    #[test]
    fn a_text_tells_who_speaks_and_keeps_sentences_whole() {
        assert_eq!(
            text(&conversation(), "en"),
            "CHANNEL: agent\nHello there.\nCHANNEL: caller\nYes, hello.\nCHANNEL: agent\n\
             How are you?\nCHANNEL: caller\nFine.\nCHANNEL: agent\nGood.\n"
        );
        let one = merged(vec![("left".into(), said("One. Two.", 0.0)), ("right".into(), vec![])]);
        assert_eq!(text(&one, "en"), "CHANNEL: left\nOne. Two.\n");
        assert_eq!(text(&merged(vec![("left".into(), vec![])]), "en"), "");
    }

    #[test]
    fn subtitles_tell_who_speaks_and_do_not_overlap() {
        let shown = srt(&conversation(), "en", SrtLimits::default(), 100.0);
        assert!(shown.contains("\nagent: Hello there.\n"), "{shown}");
        assert!(shown.contains("\ncaller: Yes, hello.\n"), "{shown}");
        let times: Vec<&str> = shown.lines().filter(|line| line.contains("-->")).collect();
        assert_eq!(times.len(), 5, "{shown}");
        let bounds: Vec<&str> = times.iter().flat_map(|line| line.split(" --> ")).collect();
        assert!(bounds.is_sorted(), "{shown}");
    }
}
