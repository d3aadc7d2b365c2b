//! With the default model and real speech.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    engine::default_model,
    recogniser::{Cancel, Clock, Heard, LiveOptions, SAMPLE_RATE, Stretch, Word, samples_from_i16},
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

/// A live session with partials, whose words may wait for long.
fn forced_session(whisper: &Whisper, clock: Clock) -> Box<dyn Session> {
    let max_delay = Duration::from_secs(20);
    let live = LiveOptions { partials: true, max_delay, ..LiveOptions::default() };
    let options = SessionOptions::live("en", live, Cancel::default());
    whisper.begin(SessionOptions { clock, ..options }).unwrap()
}

#[test]
fn words_that_were_seen_are_final_by_force_without_another_decode() {
    let whisper = whisper(&Slots::new(2));
    let clock = Clock::simulated().unwrap();
    let mut session = forced_session(&whisper, clock.clone());
    let (sentence, pause) = (sentence(), vec![0.0; SAMPLE_RATE as usize / 5]);
    let begun = clock.now();
    let mut heard = session.feed(&sentence).unwrap();
    // A session looks when it is no longer behind: after a quarter of the time that the audio lasts.
    clock.wait_until(begun + Duration::from_secs(2));
    let begun = clock.now();
    heard.extend(session.feed(&pause).unwrap());
    let looked = clock.now();
    assert!(matches!(heard.last(), Some(Heard::Partial(open)) if !open.words.is_empty()));
    let forced = session.force().unwrap();
    let (look, force) = (looked - begun, clock.now() - looked);
    assert!(force < look / 4, "{force:?} after a look of {look:?}");
    heard.extend(forced);
    assert!(text(&heard).ends_with("respectable than he was."), "{heard:?}");
    assert_eq!(text(&session.finish().unwrap()), "");
}

#[test]
fn what_follows_a_word_that_was_cut_by_force_is_heard_in_one_with_it() {
    let whisper = whisper(&Slots::new(2));
    let mut session = forced_session(&whisper, Clock::default());
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
fn wherever_the_audio_stops_no_word_comes_twice_and_none_is_lost_but_the_one_that_was_cut() {
    let whisper = whisper(&Slots::new(2));
    let sentence = sentence();
    let letters = |word: &Word| crate::agreement::letters(&word.text);
    let words = |heard: &[Heard]| -> Vec<Word> {
        let finals = heard.iter().filter_map(|heard| match heard {
            Heard::Final(stretch) => Some(stretch.words.clone()),
            Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
        });
        finals.flatten().collect()
    };
    let mut session = forced_session(&whisper, Clock::default());
    session.feed(&sentence).unwrap();
    let said = words(&session.finish().unwrap());
    assert_eq!(said.len(), 18, "{said:?}");
    for tenths in (6..60).step_by(4) {
        let stop = f64::from(tenths) / 10.0;
        let mut session = forced_session(&whisper, Clock::default());
        let (first, rest) = sentence.split_at((stop * SECOND as f64) as usize);
        let mut heard = session.feed(first).unwrap();
        heard.extend(session.force().unwrap());
        let before = words(&heard);
        let mut heard = session.feed(rest).unwrap();
        heard.extend(session.finish().unwrap());
        let after = words(&heard);
        // With all of the audio the words are those of the sentence, from one on.
        let known = said.len().checked_sub(after.len()).expect("no more words than were said");
        assert!(
            said[known..].iter().map(letters).eq(after.iter().map(letters)),
            "{stop}: {after:?}"
        );
        let unheard = said.iter().position(|word| word.start >= stop + 0.1);
        assert!(known <= unheard.unwrap_or(said.len()), "{stop}: {before:?} {after:?}");
        // What was cut off begins as the word does.
        if let (Some(last), Some(next)) = (before.last(), after.first()) {
            let (last, next) = (letters(last), letters(next));
            assert_ne!(last.get(..2), next.get(..2), "{stop}: {last} {next}");
        }
    }
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

const SECOND: usize = SAMPLE_RATE as usize;

/// Tones of these frequencies together, on and off for so many seconds, again and again.
fn tones(frequencies: &[f32], on: f32, off: f32, times: usize) -> Vec<f32> {
    let samples = |seconds: f32| (seconds * SAMPLE_RATE as f32) as usize;
    let sound = (0..samples(on)).map(|at| {
        let time = at as f32 / SAMPLE_RATE as f32;
        let each = frequencies.iter().map(|hertz| (time * hertz * std::f32::consts::TAU).sin());
        0.3 * each.sum::<f32>() / frequencies.len() as f32
    });
    let period: Vec<f32> = sound.chain(std::iter::repeat_n(0.0, samples(off))).collect();
    period.repeat(times)
}

/// White noise, the same each time, whose loudness swells as that of speech does.
fn murmur(seconds: usize) -> Vec<f32> {
    let mut seed = 7_u32;
    let noise = (0..seconds * SECOND).map(|at| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let swell = (at as f32 / SAMPLE_RATE as f32 * 4.0 * std::f32::consts::TAU).sin().max(0.0);
        (seed >> 8) as f32 / (1 << 24) as f32 * swell - swell / 2.0
    });
    noise.collect()
}

/// A tune on the notes of a chord, plucked.
fn tune() -> Vec<f32> {
    let notes = [262.0, 330.0, 392.0, 523.0, 392.0, 330.0, 440.0, 349.0].into_iter().cycle();
    let note = |hertz: f32| {
        let mut sound = tones(&[hertz, hertz * 2.0, hertz * 3.0], 0.45, 0.0, 1);
        let length = sound.len() as f32;
        for (at, sample) in sound.iter_mut().enumerate() {
            *sample *= (-4.0 * at as f32 / length).exp();
        }
        sound
    };
    notes.take(40).flat_map(note).collect()
}

fn transcribe(whisper: &Whisper, samples: &[f32], vocabulary: &[&str]) -> String {
    let mut options = SessionOptions::batch("en", Cancel::default());
    options.vocabulary = vocabulary.iter().map(|term| (*term).into()).collect();
    let mut session = whisper.begin(options).unwrap();
    let mut heard = feed(&mut *session, samples);
    heard.extend(session.finish().unwrap());
    text(&heard)
}

#[test]
fn ringing_music_and_noise_are_no_words_alone_or_before_a_sentence_and_each_time_the_same() {
    let whisper = whisper(&Slots::new(2));
    let sentence = sentence();
    let ringing = tones(&[440.0, 480.0], 2.0, 4.0, 2);
    for (name, sound) in [
        ("ringing, United States", ringing.clone()),
        ("ringing, Europe", tones(&[425.0], 1.0, 4.0, 2)),
        ("ringing, Japan", tones(&[400.0, 416.0], 1.0, 2.0, 3)),
        ("a murmur", murmur(8)),
        ("a tune", tune()),
    ] {
        assert_eq!(transcribe(&whisper, &sound, &[]), "", "{name}");
    }
    let alone = transcribe(&whisper, &sentence, &[]);
    let before = [&ringing[..], &vec![0.0; SECOND], &sentence].concat();
    // The states of the model have been in use by now.
    for time in ["first", "again"] {
        assert_eq!(transcribe(&whisper, &before, &[]), alone, "{time}");
    }
}

#[test]
fn a_live_session_makes_no_words_of_ringing() {
    let whisper = whisper(&Slots::new(2));
    let live = LiveOptions { partials: true, ..LiveOptions::default() };
    let options = SessionOptions::live("en", live, Cancel::default());
    let mut session = whisper.begin(options).unwrap();
    let mut heard = feed(&mut *session, &tones(&[440.0, 480.0], 2.0, 4.0, 2));
    heard.extend(session.finish().unwrap());
    assert_eq!(text(&heard), "");
    let heard = feed(&mut *session, &[&sentence()[..], &vec![0.0; 2 * SECOND]].concat());
    assert!(text(&heard).starts_with("Had he married"), "{heard:?}");
}

/// A prompt of a telephone exchange, from the Debian package asterisk-core-sounds-en-wav: 8,000
/// samples a second, brought to 16,000.
fn prompt(name: &str) -> Vec<f32> {
    let path = format!("/usr/share/asterisk/sounds/en_US_f_Allison/{name}.wav");
    let file = std::fs::File::open(&path).expect("make test brings the prompts");
    let day = Duration::from_secs(86_400);
    let mut audio = crate::audio::AudioReader::open(file, day, &Cancel::default()).unwrap();
    let mut samples = Vec::new();
    while let Some(more) = audio.next_samples().unwrap() {
        samples.extend(more);
    }
    samples
}

#[test]
fn words_that_are_expected_are_heard_and_a_list_of_others_changes_nothing() {
    let whisper = whisper(&Slots::new(2));
    let others: Vec<String> = (0..1_000).map(|n| format!("Xylo{n}phon")).collect();
    let mut others: Vec<&str> = others.iter().map(String::as_str).collect();
    let cities = ["Amsterdam", "Kathmandu", "Reykjavik", "Dar es Salaam", "Buenos Aires"];
    others.splice(..cities.len(), cities);
    for (name, term, letters) in [
        ("tt-weasels", "weasels", "Weasels have eaten"),
        ("vm-tocancelmsg", "star", "Press star to cancel"),
        ("vm-undelete", "undelete", "to undelete this message"),
    ] {
        let samples = prompt(name);
        let without = transcribe(&whisper, &samples, &[]);
        let with = transcribe(&whisper, &samples, &[term]);
        assert!(!without.contains(letters), "{name} proves nothing: {without}");
        assert!(with.contains(letters), "{name}: {without} / {with}");
        others[999] = term;
        assert_eq!(transcribe(&whisper, &samples, &others), with, "{name}, among many");
        others[999] = "Ouagadougou";
        assert_eq!(transcribe(&whisper, &samples, &others), without, "{name}, without it");
    }
}
