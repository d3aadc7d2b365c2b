//! What is heard of a stream besides its words, to tell its owner where words are missing: a muted
//! microphone, a dead channel, speech that the recogniser does not understand.

use earshot::Detector;
use serde::Serialize;

use crate::{
    cutter::{FRAME, VOICED, sane, whole_frames},
    recogniser::Word,
    telling::seconds,
    transcript::{hundredths, word_delimiter},
};

/// Half the swing of a frame that can be heard: -60 dBFS.
const AUDIBLE: f32 = 0.001;
/// Audio shorter than this is not judged.
const SHORTEST: f64 = 0.5;
/// A click does not make a recording audible.
const CLICK: f64 = 0.1;
/// Speech from which hardly any words are too few …
const MUCH_SPEECH: f64 = 20.0;
/// … namely fewer than this in a second of it. Slow speech has about one and a half.
const FEW_WORDS: f64 = 0.2;

/// Hears a stream of samples at [`SAMPLE_RATE`](crate::recogniser::SAMPLE_RATE) beside the recogniser.
pub(crate) struct Listener {
    detector: Detector,
    /// Whether words are written without blanks: then their letters count.
    counts_letters: bool,
    /// Samples that do not fill a frame yet.
    rest: Vec<f32>,
    samples: u64,
    /// Half the widest swing of a frame.
    loudest: f32,
    audible: u64,
    voiced: u64,
    words: usize,
}

/// What was heard; seconds are to the hundredth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    pub audio_seconds: f64,
    /// Of it, what is louder than -60 dBFS.
    pub audible_seconds: f64,
    /// Of that, what sounds like speech.
    pub speech_seconds: f64,
    /// The level of the loudest sound in dBFS, from -100 to 0.
    pub loudest_dbfs: f64,
    /// Words that were recognised; letters in languages that are written without blanks.
    pub words: usize,
}

/// What a stream lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// Nothing can be heard.
    SilentAudio,
    /// Something can be heard, and no word was recognised.
    NoWordsRecognised,
    /// Much sounds like speech, and hardly a word was recognised.
    FewWordsRecognised,
}

impl Lack {
    /// The stable code of its warning.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::SilentAudio => "silent_audio",
            Self::NoWordsRecognised => "no_words_recognised",
            Self::FewWordsRecognised => "few_words_recognised",
        }
    }
}

/// Something that the owner of a stream should be told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finding {
    pub lack: Lack,
    pub figures: Figures,
}

impl Listener {
    pub(crate) fn new(language: &str) -> Self {
        Self {
            detector: Detector::default(),
            counts_letters: word_delimiter(language).is_empty(),
            rest: Vec::new(),
            samples: 0,
            loudest: 0.0,
            audible: 0,
            voiced: 0,
            words: 0,
        }
    }

    /// Hears more audio.
    pub(crate) fn hear(&mut self, samples: &[f32]) {
        self.samples += samples.len() as u64;
        for frame in whole_frames(&mut self.rest, samples).chunks_exact(FRAME) {
            self.judge(frame);
        }
    }

    fn judge(&mut self, frame: &[f32]) {
        let frame: Vec<f32> = frame.iter().copied().map(sane).collect();
        let lowest = frame.iter().copied().fold(1.0, f32::min);
        let highest = frame.iter().copied().fold(-1.0, f32::max);
        // The swing, not the level: cheap sound cards add a constant.
        let swing = (highest - lowest) / 2.0;
        self.loudest = self.loudest.max(swing);
        if swing < AUDIBLE {
            return;
        }
        self.audible += 1;
        self.voiced += u64::from(self.detector.predict_f32(&frame) >= VOICED);
    }

    /// Counts words that will not change any more.
    pub(crate) fn recognised(&mut self, words: &[Word]) {
        self.words += if self.counts_letters {
            words.iter().map(|word| word.text.chars().filter(|c| c.is_alphanumeric()).count()).sum()
        } else {
            words.len()
        };
    }

    /// What is to be told of all that was heard so far.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let frames = |count: u64| seconds(count * FRAME as u64);
        let (audio, audible, speech) =
            (seconds(self.samples), frames(self.audible), frames(self.voiced));
        let lack = match self.words {
            _ if audio < SHORTEST => return None,
            0 if audible < CLICK => Lack::SilentAudio,
            0 => Lack::NoWordsRecognised,
            words if speech >= MUCH_SPEECH && (words as f64) < FEW_WORDS * speech => {
                Lack::FewWordsRecognised
            }
            _ => return None,
        };
        let figures = Figures {
            audio_seconds: hundredths(audio),
            audible_seconds: hundredths(audible),
            speech_seconds: hundredths(speech),
            loudest_dbfs: (20.0 * f64::from(self.loudest).log10()).round().clamp(-100.0, 0.0),
            words: self.words,
        };
        Some(Finding { lack, figures })
    }
}

impl Finding {
    /// The text for people.
    #[must_use]
    pub fn reason(&self, channel: Option<&str>) -> String {
        let whose = channel.map(|label| format!("channel {label}: ")).unwrap_or_default();
        let Figures { audio_seconds, audible_seconds, speech_seconds, loudest_dbfs, words } =
            self.figures;
        match self.lack {
            Lack::SilentAudio => format!(
                "{whose}nothing can be heard in {audio_seconds:.1} s of audio, whose loudest sound has {loudest_dbfs} dBFS; is the microphone or the recording muted?"
            ),
            Lack::NoWordsRecognised => format!(
                "{whose}no words were recognised, though sound is heard for {audible_seconds:.1} s of {audio_seconds:.1} s, {speech_seconds:.1} s of it like speech, the loudest with {loudest_dbfs} dBFS"
            ),
            Lack::FewWordsRecognised => format!(
                "{whose}{words} words were recognised in {speech_seconds:.1} s of what sounds like speech; is it in the language that was asked for?"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recogniser::SAMPLE_RATE;

    fn lack(samples: &[f32], words: usize) -> Option<Lack> {
        let mut listener = Listener::new("en");
        samples.chunks(1000).for_each(|chunk| listener.hear(chunk));
        let word = Word { text: "word".into(), start: 0.0, end: 1.0, confidence: 1.0 };
        listener.recognised(&vec![word; words]);
        listener.finding().map(|finding| finding.lack)
    }

    fn tone(seconds: f64, level: f32) -> Vec<f32> {
        let samples = (seconds * f64::from(SAMPLE_RATE)) as usize;
        (0..samples).map(|index| level * (index as f32 * 0.2).sin()).collect()
    }

    /// The samples of a recording of Debian's pocketsphinx-testdata, `times` over.
    fn speech(times: usize) -> Vec<f32> {
        let file = "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0870.wav";
        let bytes = std::fs::read(file).unwrap().split_off(44);
        let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
        crate::recogniser::samples_from_i16(&samples.collect::<Vec<_>>()).repeat(times)
    }

    #[test]
    fn silence_is_told_from_sound_and_from_clicks() {
        assert_eq!(lack(&tone(2.0, 0.0), 0), Some(Lack::SilentAudio));
        assert_eq!(lack(&tone(2.0, 0.0009), 0), Some(Lack::SilentAudio));
        assert_eq!(lack(&tone(2.0, 0.002), 0), Some(Lack::NoWordsRecognised));
        let constant: Vec<f32> = tone(2.0, 0.0).iter().map(|_| 0.1).collect();
        assert_eq!(lack(&constant, 0), Some(Lack::SilentAudio));
        let mut click = tone(2.0, 0.0);
        click[100..200].fill(0.9);
        assert_eq!(lack(&click, 0), Some(Lack::SilentAudio));
        assert_eq!(lack(&vec![f32::NAN; 40_000], 0), Some(Lack::SilentAudio));
        assert_eq!(lack(&tone(0.4, 0.5), 0), None);
        assert_eq!(lack(&[], 0), None);
    }

    #[test]
    fn the_loudest_sound_is_told() {
        let loudest = |samples: &[f32]| {
            let mut listener = Listener::new("en");
            listener.hear(samples);
            listener.finding().expect("there are no words").figures.loudest_dbfs
        };
        assert_eq!(loudest(&tone(1.0, 0.1)), -20.0);
        assert_eq!(loudest(&[tone(1.0, 0.0005), tone(1.0, 0.00005)].concat()), -66.0);
        assert_eq!(loudest(&tone(1.0, 0.0)), -100.0);
        assert_eq!(loudest(&tone(1.0, 7.0)), 0.0);
    }

    #[test]
    fn few_words_are_few_for_much_speech_alone() {
        let long = speech(5);
        assert_eq!(lack(&long, 0), Some(Lack::NoWordsRecognised));
        assert_eq!(lack(&long, 3), Some(Lack::FewWordsRecognised));
        assert_eq!(lack(&long, 30), None);
        assert_eq!(lack(&speech(2), 1), None);
        assert_eq!(lack(&tone(60.0, 0.5), 1), None, "a tone is no speech");
    }

    #[test]
    fn letters_count_where_words_have_no_blanks() {
        let phrase = Word { text: "今日は。".into(), start: 0.0, end: 1.0, confidence: 1.0 };
        for (language, count) in [("ja", 3), ("en", 1)] {
            let mut listener = Listener::new(language);
            listener.recognised(std::slice::from_ref(&phrase));
            assert_eq!(listener.words, count);
        }
    }

    #[test]
    fn a_finding_says_what_is_wrong_and_where() {
        let figures = Figures {
            audio_seconds: 30.5,
            audible_seconds: 25.25,
            speech_seconds: 21.0,
            loudest_dbfs: -61.0,
            words: 2,
        };
        for (lack, expected) in [
            (
                Lack::SilentAudio,
                "channel left: nothing can be heard in 30.5 s of audio, whose loudest sound has -61 dBFS",
            ),
            (Lack::NoWordsRecognised, "channel left: no words were recognised, though sound is"),
            (Lack::FewWordsRecognised, "channel left: 2 words were recognised in 21.0 s"),
        ] {
            let reason = Finding { lack, figures }.reason(Some("left"));
            assert!(reason.starts_with(expected), "{reason}");
            assert_eq!(serde_json::to_value(lack).unwrap(), lack.code());
        }
    }
}
