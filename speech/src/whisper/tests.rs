//! With the default model and real speech.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    engine::default_model,
    recogniser::{Cancel, Heard, LiveOptions, SAMPLE_RATE, Stretch, samples_from_i16},
    slots::Urgency,
};

/// The default model, which `make test` brings.
fn whisper(slots: &Slots) -> Whisper {
    let model = default_model().expect("the model is there; make model brings it");
    Whisper::load(&model, slots.clone()).unwrap()
}

/// "Had he married a more amiable woman, he might have been made still more respectable than he
/// was", from the Debian package pocketsphinx-testdata.
fn sentence() -> Vec<f32> {
    let path =
        "/usr/share/pocketsphinx/test/data/librivox/sense_and_sensibility_01_austen_64kb-0920.wav";
    let bytes = std::fs::read(path).unwrap();
    let samples = bytes[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    samples_from_i16(&samples.collect::<Vec<_>>())
}

fn feed(session: &mut dyn Session, samples: &[f32]) -> Vec<Heard> {
    samples.chunks(1600).flat_map(|chunk| session.feed(chunk).unwrap()).collect()
}

fn text(heard: &[Heard]) -> String {
    let mut words = Vec::new();
    for heard in heard {
        if let Heard::Final(stretch) = heard {
            words.extend(stretch.words.iter().map(|word| word.text.as_str()));
        }
    }
    words.join(" ")
}

fn pauses(heard: &[Heard]) -> usize {
    heard.iter().filter(|heard| matches!(heard, Heard::EndOfUtterance { .. })).count()
}

#[test]
fn a_live_session_tells_each_pause_once_goes_on_after_a_finish_and_can_be_changed() {
    let live = LiveOptions {
        partials: true,
        end_of_utterance: Some(Duration::from_secs(1)),
        ..LiveOptions::default()
    };
    let whisper = whisper(&Slots::new(2));
    let options = SessionOptions::live("en", live.clone(), Cancel::default());
    let mut session = whisper.begin(options).unwrap();
    let silence = vec![0.0; 5 * SAMPLE_RATE as usize];
    let sentence = sentence();

    let heard = feed(&mut *session, &silence);
    assert_eq!(heard, [], "silence before the first word");
    let heard = feed(&mut *session, &[&sentence[..], &silence].concat());
    assert!(text(&heard).ends_with("respectable than he was."), "{heard:?}");
    assert_eq!(pauses(&heard), 1, "{heard:?}");
    for pair in heard.windows(2) {
        let partial = matches!(pair[1], Heard::Partial(_));
        assert!(partial || !matches!(pair[0], Heard::Final(_)), "{heard:?}");
    }

    // In the middle: everything so far is final, and no pause is told of the silence behind.
    let half = sentence.len() / 2;
    let mut heard = feed(&mut *session, &sentence[..half]);
    heard.extend(session.finish().unwrap());
    assert!(text(&heard).contains("amiable"), "{heard:?}");
    heard.extend(feed(&mut *session, &silence));
    assert_eq!(pauses(&heard), 0, "{heard:?}");
    let before = session.measures().audio.as_secs_f64();

    let off = LiveOptions { partials: false, end_of_utterance: None, ..live };
    session.configure(&off).unwrap();
    let heard = feed(&mut *session, &[&sentence[..], &silence].concat());
    assert!(text(&heard).ends_with("respectable than he was."), "{heard:?}");
    for heard in &heard {
        let Heard::Final(stretch) = heard else { panic!("only finals are wanted: {heard:?}") };
        assert!(stretch.start > before - 1.0 && stretch.start <= stretch.end);
    }
    let measures = session.measures();
    assert!(measures.real_time_factor().is_some_and(|factor| factor > 0.0));
    assert_eq!(measures.final_delay(1.0).is_some(), measures.final_words() > 0);
}

/// A live session with partials that has waited long enough to look at what comes next.
fn forced_session(whisper: &Whisper) -> Box<dyn Session> {
    let max_delay = Duration::from_secs(20);
    let live = LiveOptions { partials: true, max_delay, ..LiveOptions::default() };
    whisper.begin(SessionOptions::live("en", live, Cancel::default())).unwrap()
}

#[test]
fn words_that_were_seen_are_final_by_force_without_another_decode() {
    let whisper = whisper(&Slots::new(2));
    let mut session = forced_session(&whisper);
    let (sentence, pause) = (sentence(), vec![0.0; SAMPLE_RATE as usize / 5]);
    let begun = Instant::now();
    let mut heard = session.feed(&sentence).unwrap();
    // A session looks when it is no longer behind: after a quarter of the time that the audio lasts.
    std::thread::sleep(Duration::from_secs(2).saturating_sub(begun.elapsed()));
    let begun = Instant::now();
    heard.extend(session.feed(&pause).unwrap());
    let look = begun.elapsed();
    assert!(matches!(heard.last(), Some(Heard::Partial(open)) if !open.words.is_empty()));
    let begun = Instant::now();
    let forced = session.force().unwrap();
    assert!(begun.elapsed() < look / 4, "{:?} after a look of {look:?}", begun.elapsed());
    heard.extend(forced);
    assert!(text(&heard).ends_with("respectable than he was."), "{heard:?}");
    assert_eq!(text(&session.finish().unwrap()), "");
}

#[test]
fn what_follows_a_word_that_was_cut_by_force_is_heard_in_one_with_it() {
    let whisper = whisper(&Slots::new(2));
    let mut session = forced_session(&whisper);
    let sentence = sentence();
    // In the middle of "respectable".
    let (first, rest) = sentence.split_at(SAMPLE_RATE as usize * 48 / 10);
    let mut heard = session.feed(first).unwrap();
    heard.extend(session.force().unwrap());
    assert!(text(&heard).contains("a more amiable woman"), "{heard:?}");
    heard.extend(session.feed(rest).unwrap());
    heard.extend(session.finish().unwrap());
    assert!(text(&heard).ends_with("than he was."), "{heard:?}");
    let told: Vec<&Stretch> = heard
        .iter()
        .filter_map(|heard| match heard {
            Heard::Final(stretch) => Some(stretch),
            Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
        })
        .collect();
    assert!(told.windows(2).all(|pair| pair[0].end <= pair[1].start), "{told:?}");
}

#[test]
fn running_work_ends_when_it_is_cancelled() {
    let slots = Slots::new(1);
    let whisper = whisper(&slots);
    // Several windows; the first one's decode is cancelled after its encoder has run.
    let audio = sentence().repeat(8);
    let run = |cancel: &Cancel| {
        let mut session = whisper.begin(SessionOptions::batch("en", cancel.clone())).unwrap();
        let begun = Instant::now();
        let fed = session.feed(&audio);
        let result = fed.and_then(|_| session.finish());
        (result, begun.elapsed())
    };
    let (result, whole) = run(&Cancel::default());
    assert!(result.is_ok());
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&cancel));
        while slots.running(Urgency::Batch) == 0 {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        cancel.cancel();
        assert_eq!(running.join().unwrap().0, Err(RecogniserError::Cancelled));
        // Not a matter of speed: work that is not ended takes the whole time.
        assert!(begun.elapsed() < whole, "{:?} of {whole:?}", begun.elapsed());
    });
}

#[test]
fn what_is_no_model_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.bin");
    let refused = |path: &Path| match Whisper::load(path, Slots::new(1)) {
        Ok(_) => panic!("it was loaded"),
        Err(err) => err.to_string(),
    };
    assert!(refused(&path).contains("cannot be read"));
    for bytes in [&b""[..], b"RIFF....WAVE", b"lmgg"] {
        std::fs::write(&path, bytes).unwrap();
        assert!(refused(&path).contains("not a Whisper model"), "{bytes:?}");
    }
}

#[test]
fn a_processor_that_lacks_something_is_told_so() {
    assert!(fits(true, true).is_ok() && fits(false, false).is_ok());
    let told = fits(true, false).unwrap_err().to_string();
    assert!(told.contains("AVX2") && told.contains("GGML_AVX2=OFF"), "{told}");
}
