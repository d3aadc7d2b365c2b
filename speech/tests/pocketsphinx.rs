//! PocketSphinx with Debian's model and real speech.

use std::time::Duration;

use portcullis_speech::{
    pocketsphinx::PocketSphinx,
    recogniser::{
        Cancel, Clock, Heard, LiveOptions, Recogniser, RecogniserError, SAMPLE_RATE,
        SessionOptions, Word, samples_from_i16,
    },
    slots::Slots,
};

/// "Go forward ten meters", from the Debian package pocketsphinx-testdata.
fn go_forward() -> Vec<f32> {
    let bytes = std::fs::read("/usr/share/pocketsphinx/test/data/goforward.raw").unwrap();
    let samples = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    samples_from_i16(&samples.collect::<Vec<_>>())
}

fn finals(heard: &[Heard]) -> Vec<Word> {
    let stretches = heard.iter().filter_map(|heard| match heard {
        Heard::Final(stretch) => Some(stretch.words.clone()),
        Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
    });
    stretches.flatten().collect()
}

fn text(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}

fn recogniser() -> PocketSphinx {
    PocketSphinx::load(Slots::new(1), 2).unwrap()
}

#[test]
fn a_sentence_is_heard_with_times_and_confidence_and_again_in_a_new_session() {
    let recogniser = recogniser();
    for _ in 0..2 {
        let options = SessionOptions::batch("en", Cancel::default());
        let mut session = recogniser.begin(options).unwrap();
        let mut heard = session.feed(&go_forward()).unwrap();
        heard.extend(session.finish().unwrap());
        let words = finals(&heard);
        assert_eq!(text(&words), "go forward ten meters");
        assert!(words.windows(2).all(|pair| pair[0].end <= pair[1].start + 0.02));
        assert!(words[0].start > 0.2 && words[3].end < 2.79);
        assert!(words.iter().all(|word| word.confidence > 0.0 && word.confidence <= 1.0));
    }
}

#[test]
fn a_live_session_tells_partials_finals_and_the_pause_and_times_go_on() {
    let live = LiveOptions {
        partials: true,
        end_of_utterance: Some(Duration::from_secs(1)),
        ..LiveOptions::default()
    };
    let recogniser = recogniser();
    let options = SessionOptions::live("en", live, Cancel::default());
    let mut session = recogniser.begin(options).unwrap();
    let mut samples = go_forward();
    let length = samples.len() as f64 / f64::from(SAMPLE_RATE);
    samples.extend([0.0; 2 * SAMPLE_RATE as usize]);
    let mut heard = Vec::new();
    for chunk in samples.chunks(1600) {
        heard.extend(session.feed(chunk).unwrap());
    }
    assert_eq!(text(&finals(&heard)), "go forward ten meters");
    assert!(heard.iter().any(|heard| matches!(heard, Heard::Partial(_))));
    let pauses = heard.iter().filter(|heard| matches!(heard, Heard::EndOfUtterance { .. }));
    assert_eq!(pauses.count(), 1);
    let mut again = session.feed(&go_forward()).unwrap();
    again.extend(session.finish().unwrap());
    let words = finals(&again);
    assert!(text(&words).contains("forward"), "{words:?}");
    assert!(words.iter().all(|word| word.start > length + 1.9));
}

#[test]
fn decoders_are_bounded_and_given_back() {
    let recogniser = PocketSphinx::load(Slots::new(1), 1).unwrap();
    let live = || SessionOptions::live("en", LiveOptions::default(), Cancel::default());
    let session = recogniser.begin(live()).unwrap();
    let refused = recogniser.begin(live()).err().expect("it is refused");
    assert!(refused.to_string().contains("decoders are in use"), "{refused}");
    let cancel = Cancel::default();
    let waiting = SessionOptions::batch("en", cancel.clone());
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| recogniser.begin(waiting).map(drop));
        cancel.cancel();
        assert_eq!(waiting.join().unwrap(), Err(RecogniserError::Cancelled));
    });
    drop(session);
    recogniser.begin(live()).unwrap();
    let french = SessionOptions::batch("fr", Cancel::default());
    assert!(recogniser.begin(french).is_err());
}

#[test]
fn a_session_goes_by_the_clock_that_it_is_given() {
    let clock = Clock::simulated().unwrap();
    let hour = Duration::from_secs(3600);
    let late = clock.now() + hour;
    clock.wait_until(late);
    let options = SessionOptions::live("en", LiveOptions::default(), Cancel::default());
    let mut session =
        recogniser().begin(SessionOptions { clock: clock.clone(), ..options }).unwrap();
    // Ends in a word, so that something is due.
    session.feed(&go_forward()[..SAMPLE_RATE as usize * 3 / 2]).unwrap();
    let due = session.wake_at().expect("words wait for their final");
    assert!(due > late, "{:?} too early", late - due);
}
