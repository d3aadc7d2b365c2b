//! How alike two texts sound, as an English reader would say them; in other scripts, how alike they
//! are written. For finding what a recogniser may have made of a word that it does not know.

/// A text as a row of sounds, one letter each; nothing for what has no letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sound {
    letters: Vec<char>,
    /// Which sounds are in it, one bit each.
    set: u32,
}

/// What it costs to hear another sound of the same kind, a vowel more or less, and any other sound.
const KIND: u32 = 1;
const OTHER: u32 = 2;

impl Sound {
    /// `None` if the text has no letter and no digit.
    pub(super) fn of(text: &str) -> Option<Self> {
        let mut letters = Vec::new();
        let plain = text.chars().filter(|c| c.is_alphanumeric());
        let plain: String = plain.filter_map(plain_letter).collect();
        let mut rest = &*plain;
        while let Some((sounds, length)) = first(rest, letters.is_empty()) {
            for sound in sounds.chars() {
                // A letter that is doubled is one sound.
                if letters.last() != Some(&sound) {
                    letters.push(sound);
                }
            }
            rest = &rest[length..];
        }
        let set = letters.iter().fold(0, |set, letter| set | 1 << (u32::from(*letter) % 32));
        (!letters.is_empty()).then_some(Self { letters, set })
    }

    /// How many sounds.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// The cost of taking one for the other as a share of what all sounds of the longer cost; `None`
    /// above `limit`.
    pub(super) fn distance(&self, other: &Self, limit: f32) -> Option<f32> {
        let all = self.len().max(other.len()) as u32 * OTHER;
        let most = (all as f32 * limit) as u32;
        // A sound that only one of them has costs something.
        let apart = (self.set ^ other.set).count_ones();
        if apart * KIND / 2 > most || self.len().abs_diff(other.len()) as u32 * KIND > most {
            return None;
        }
        let mut row: Vec<u32> = vec![0; other.len() + 1];
        for (index, letter) in other.letters.iter().enumerate() {
            row[index + 1] = row[index] + missing(*letter);
        }
        for mine in &self.letters {
            let mut diagonal = row[0];
            row[0] += missing(*mine);
            for (column, theirs) in other.letters.iter().enumerate() {
                let replaced = diagonal + replaced(*mine, *theirs);
                diagonal = row[column + 1];
                row[column + 1] =
                    replaced.min(diagonal + missing(*mine)).min(row[column] + missing(*theirs));
            }
        }
        let cost = row[other.len()];
        (cost <= most).then(|| cost as f32 / all as f32)
    }
}

fn missing(letter: char) -> u32 {
    if is_vowel(letter) || letter == 'h' { KIND } else { OTHER }
}

fn replaced(a: char, b: char) -> u32 {
    if a == b {
        return 0;
    }
    let kinds = ["aeiouy", "bp", "dt0", "gk", "fvw", "szSC", "mn"];
    if kinds.iter().any(|kind| kind.contains(a) && kind.contains(b)) { KIND } else { OTHER }
}

fn is_vowel(letter: char) -> bool {
    "aeiouy".contains(letter)
}

/// A letter without its accent, in lower case.
fn plain_letter(letter: char) -> Option<char> {
    let plain = match letter.to_lowercase().next()? {
        'à'..='æ' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' | 'œ' => 'o',
        'ř' => 'r',
        'ś' | 'š' | 'ş' | 'ß' => 's',
        'ť' | 'ţ' => 't',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'ź' | 'ż' | 'ž' => 'z',
        'ł' => 'l',
        'ď' | 'đ' => 'd',
        'ğ' => 'g',
        other => other,
    };
    Some(plain)
}

/// The sounds at the front of the letters and how many letters they take; `None` at the end.
fn first(letters: &str, begins: bool) -> Option<(&str, usize)> {
    const BEGINNINGS: [(&str, &str); 6] =
        [("gn", "n"), ("kn", "n"), ("pn", "n"), ("ps", "s"), ("wr", "r"), ("x", "s")];
    const GROUPS: [(&str, &str); 22] = [
        ("tch", "C"),
        ("tsch", "C"),
        ("sch", "S"),
        ("cch", "k"),
        ("ch", "C"),
        ("sh", "S"),
        ("ph", "f"),
        ("th", "0"),
        ("gh", ""),
        ("ck", "k"),
        ("qu", "kw"),
        ("ce", "se"),
        ("ci", "si"),
        ("cy", "si"),
        ("ge", "Ce"),
        ("gi", "Ci"),
        ("wh", "w"),
        ("ee", "i"),
        ("ea", "i"),
        ("oo", "u"),
        ("ou", "u"),
        ("ay", "e"),
    ];
    let beginnings = if begins { &BEGINNINGS[..] } else { &[] };
    for (group, sounds) in beginnings.iter().chain(&GROUPS) {
        if letters.starts_with(group) {
            return Some((sounds, group.len()));
        }
    }
    let letter = letters.chars().next()?;
    let length = letter.len_utf8();
    let sound = match letter {
        'c' | 'q' => "k",
        'j' => "C",
        'x' => "ks",
        _ => &letters[..length],
    };
    Some((sound, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_alike_is_near_and_other_words_are_not() {
        let distance =
            |a: &str, b: &str| Sound::of(a).unwrap().distance(&Sound::of(b).unwrap(), 1.0).unwrap();
        for (said, heard) in [
            ("Gnocchi", "nyoki"),
            ("Dashwood", "dashwud"),
            ("Speechmatics", "speech matics"),
            ("Kubernetes", "cooper netties"),
            ("Nguyen", "nuen"),
            ("Siobhán", "Sioban"),
            ("Phoebe", "feeby"),
            ("xylophone", "silofone"),
        ] {
            let near = distance(said, heard);
            assert!(near < 0.34, "{said} {heard} {near}");
            assert_eq!(near, distance(heard, said));
        }
        for (said, heard) in [("Gnocchi", "conference"), ("Dashwood", "password"), ("Ceph", "the")]
        {
            let far = distance(said, heard);
            assert!(far > 0.34, "{said} {heard} {far}");
        }
        assert_eq!(distance("photo", "fotto"), 0.0);
    }

    #[test]
    fn what_has_no_letters_has_no_sound_and_other_scripts_are_compared_as_written() {
        let distance = Sound::of("Соломон").unwrap().distance(&Sound::of("саломон").unwrap(), 1.0);
        assert!(distance.is_some_and(|distance| distance < 0.2), "{distance:?}");
        for text in ["", "-", "..."] {
            assert_eq!(Sound::of(text), None, "{text}");
        }
        let long = "a".repeat(200) + &"b".repeat(200);
        assert!(Sound::of(&long).is_some());
        let apart = Sound::of("a").unwrap().distance(&Sound::of("strengths").unwrap(), 0.3);
        assert_eq!(apart, None);
    }
}
