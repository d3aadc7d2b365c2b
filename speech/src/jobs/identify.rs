//! Which language a recording is in, for jobs that say `auto`: told from its first minute of speech,
//! so not from silence or music before it, and always alike.

use serde_json::{Map, Value, json};

use super::{
    config::{Identification, LowConfidence},
    failure::Failure,
};
use crate::{
    audio::AudioReader,
    cutter::{Cut, Cutter, CutterSettings, Window},
    recogniser::{Cancel, LONGEST_IDENTIFIED, Recogniser, SAMPLE_RATE},
    telling::seconds,
    transcript::{hundredths, is_same_language},
};

/// So much speech is heard, in samples, if there is so much.
const ENOUGH: usize = 60 * SAMPLE_RATE as usize;
/// A language with at least this probability counts as found.
const SURE: f32 = 0.5;
/// How many languages are told at most, and how likely they must be.
const TOLD: usize = 10;
const LEAST: f32 = 0.005;

const NO_SPEECH: &str = "No speech found for language identification";
const LOW_CONFIDENCE: &str =
    "Language identification could not identify any language with sufficient confidence";

/// A language and how likely it is, 0 to 1.
type Guess = (String, f32);

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
struct Heard {
    /// The likeliest first, never empty.
    guesses: Vec<Guess>,
    /// Where the speech lies that was heard, in samples.
    from: u64,
    to: u64,
}

/// The language to transcribe in, and what the transcript tells of how it was found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) language: String,
    pub(super) metadata: Map<String, Value>,
}

/// Finds the language of a recording, of which it reads as much as is needed.
pub(super) fn identify(
    recogniser: &dyn Recogniser,
    audio: &mut AudioReader,
    wanted: &Identification,
    cancel: &Cancel,
) -> Result<Found, Failure> {
    let mut heard = hear(recogniser, audio, cancel)?;
    name_as_expected(heard.as_mut(), wanted);
    let (language, error) = decide(heard.as_ref(), wanted).map_err(Failure::Rejected)?;
    let mut told = Map::new();
    if let Some(Heard { guesses, from, to }) = &heard {
        let told_guesses = guesses.iter().take(TOLD).take_while(|(_, share)| *share >= LEAST);
        let alternatives: Vec<Value> = told_guesses.map(alternative).collect();
        let result = json!({
            "alternatives": alternatives,
            "start_time": hundredths(seconds(*from)),
            "end_time": hundredths(seconds(*to)),
        });
        told.insert("results".into(), json!([result]));
        told.insert("predicted_language".into(), json!(guesses[0].0));
    }
    if let Some((code, message)) = error {
        told.insert("error".into(), json!(code));
        told.insert("message".into(), json!(message));
    }
    let mut metadata = Map::new();
    metadata.insert("language_identification".into(), Value::Object(told));
    Ok(Found { language, metadata })
}

/// A language that the client expects is told with the code that the client has for it.
fn name_as_expected(heard: Option<&mut Heard>, wanted: &Identification) {
    for (language, _) in heard.into_iter().flat_map(|heard| &mut heard.guesses) {
        let expected =
            wanted.expected_languages.iter().find(|code| is_same_language(code, language));
        if let Some(code) = expected {
            code.clone_into(language);
        }
    }
}

fn alternative((language, probability): &Guess) -> Value {
    let confidence = f64::from((probability * 100.0).round()) / 100.0;
    json!({"language": language, "confidence": confidence})
}

/// Listens to the first speech; `None` if there is none.
fn hear(
    recogniser: &dyn Recogniser,
    audio: &mut AudioReader,
    cancel: &Cancel,
) -> Result<Option<Heard>, Failure> {
    let mut cutter = Cutter::new(CutterSettings::batch());
    let mut speech: Vec<f32> = Vec::new();
    let mut place: Option<(u64, u64)> = None;
    let mut ended = false;
    while !ended && speech.len() < ENOUGH {
        cancel.check()?;
        let windows: Vec<Window> = match audio.next_samples()? {
            Some(samples) => cutter.feed(&samples).into_iter().filter_map(window).collect(),
            None => {
                ended = true;
                cutter.finish().into_iter().collect()
            }
        };
        for window in windows {
            let from = place.map_or(window.start, |(from, _)| from);
            place = Some((from, window.start + window.spoken as u64));
            // Short ones are put together: to hear one second costs as much as to hear thirty.
            speech.extend(window.samples);
        }
    }
    let Some((from, to)) = place else { return Ok(None) };
    // In equal parts, so that each counts the same.
    let parts = speech.len().div_ceil(LONGEST_IDENTIFIED);
    let mut sum = vec![0.0; recogniser.info().languages.len()];
    for part in speech.chunks(speech.len().div_ceil(parts)) {
        for (sum, probability) in sum.iter_mut().zip(recogniser.identify(part, cancel)?) {
            *sum += probability / parts as f32;
        }
    }
    let mut guesses: Vec<Guess> = recogniser.info().languages.iter().cloned().zip(sum).collect();
    guesses.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(Some(Heard { guesses, from, to }))
}

fn window(cut: Cut) -> Option<Window> {
    match cut {
        Cut::Window(window) => Some(window),
        Cut::Silence { .. } => None,
    }
}

type Note = Option<(&'static str, &'static str)>;

/// The language to use, with what went wrong if the job goes on all the same; or why it does not.
fn decide(heard: Option<&Heard>, wanted: &Identification) -> Result<(String, Note), String> {
    let Some(Heard { guesses, .. }) = heard else {
        let note = Some(("NO_SPEECH", NO_SPEECH));
        let default = wanted.default_language.clone();
        return default.map(|language| (language, note)).ok_or_else(|| NO_SPEECH.to_owned());
    };
    let is_expected = |(language, _): &&Guess| {
        wanted.expected_languages.is_empty() || wanted.expected_languages.contains(language)
    };
    let best = &guesses[0];
    // Whoever says what may come is taken at his word: a sister language takes nothing away then.
    let (share, refusal) = if is_expected(&best) {
        let expected: f32 = guesses.iter().filter(is_expected).map(|(_, share)| share).sum();
        (best.1 / expected.max(f32::MIN_POSITIVE), None)
    } else {
        let language = &best.0;
        let told =
            format!("The identified language '{language}' is not one of the expected languages");
        (best.1, Some(told))
    };
    if share >= SURE {
        return refusal.map_or_else(|| Ok((best.0.clone(), None)), Err);
    }
    let note = Some(("LOW_CONFIDENCE", LOW_CONFIDENCE));
    match (wanted.low_confidence, &wanted.default_language) {
        (LowConfidence::Allow, _) => {
            let likeliest = guesses.iter().find(is_expected).unwrap_or(best);
            Ok((likeliest.0.clone(), note))
        }
        (LowConfidence::UseDefaultLanguage, Some(language)) => Ok((language.clone(), note)),
        (LowConfidence::UseDefaultLanguage, None) | (LowConfidence::Reject, _) => {
            let likeliest =
                guesses.iter().take(3).map(|(name, share)| format!("{name} {share:.2}"));
            let likeliest: Vec<String> = likeliest.collect();
            Err(format!("{LOW_CONFIDENCE}: {}", likeliest.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guesses(shares: &[(&str, f32)]) -> Vec<Guess> {
        shares.iter().map(|(language, share)| ((*language).to_owned(), *share)).collect()
    }

    fn decided(shares: &[(&str, f32)], wanted: &Identification) -> Result<(String, Note), String> {
        let heard = Heard { guesses: guesses(shares), from: 0, to: 1 };
        decide(Some(&heard), wanted)
    }

    fn expecting(languages: &[&str]) -> Identification {
        let languages = languages.iter().map(|language| (*language).to_owned()).collect();
        Identification { expected_languages: languages, ..Identification::default() }
    }

    #[test]
    fn a_sure_language_is_taken_and_an_unexpected_one_is_refused() {
        let spanish = [("es", 0.8), ("pt", 0.2)];
        assert_eq!(decided(&spanish, &Identification::default()), Ok(("es".into(), None)));
        assert_eq!(decided(&spanish, &expecting(&["en", "es"])), Ok(("es".into(), None)));
        assert_eq!(
            decided(&spanish, &expecting(&["de", "pt"])),
            Err("The identified language 'es' is not one of the expected languages".into())
        );
    }

    #[test]
    fn a_language_has_the_code_that_the_client_expects() {
        let mut heard = Heard { guesses: guesses(&[("zh", 0.9), ("ja", 0.1)]), from: 0, to: 1 };
        name_as_expected(Some(&mut heard), &expecting(&["en", "cmn"]));
        assert_eq!(decide(Some(&heard), &expecting(&["en", "cmn"])), Ok(("cmn".into(), None)));
    }

    #[test]
    fn sisters_of_an_expected_language_do_not_make_it_unsure() {
        let near = [("es", 0.45), ("gl", 0.3), ("pt", 0.25)];
        let refused = decided(&near, &Identification::default()).unwrap_err();
        assert_eq!(refused, format!("{LOW_CONFIDENCE}: es 0.45, gl 0.30, pt 0.25"));
        assert_eq!(decided(&near, &expecting(&["es", "en"])), Ok(("es".into(), None)));
        decided(&near, &expecting(&["es", "gl", "pt"])).unwrap_err();
    }

    #[test]
    fn an_unsure_language_is_treated_as_was_asked() {
        let unsure = [("es", 0.4), ("it", 0.35), ("de", 0.25)];
        let note = Some(("LOW_CONFIDENCE", LOW_CONFIDENCE));
        let mut wanted = Identification { low_confidence: LowConfidence::Allow, ..expecting(&[]) };
        assert_eq!(decided(&unsure, &wanted), Ok(("es".into(), note)));
        wanted.expected_languages = vec!["de".into(), "it".into()];
        assert_eq!(decided(&unsure, &wanted), Ok(("it".into(), note)));
        wanted.low_confidence = LowConfidence::UseDefaultLanguage;
        wanted.default_language = Some("fr".into());
        assert_eq!(decided(&unsure, &wanted), Ok(("fr".into(), note)));
        wanted.low_confidence = LowConfidence::Reject;
        decided(&unsure, &wanted).unwrap_err();
    }

    #[test]
    fn without_speech_the_default_language_is_taken_if_there_is_one() {
        let mut wanted = Identification::default();
        assert_eq!(decide(None, &wanted), Err(NO_SPEECH.into()));
        wanted.default_language = Some("es".into());
        let note = Some(("NO_SPEECH", NO_SPEECH));
        assert_eq!(decide(None, &wanted), Ok(("es".into(), note)));
    }
}
