//! Speech in other languages, with a model of many: named, and found by itself. The recordings are
//! those of a telephone exchange, from the Debian packages `asterisk-core-sounds-*-wav`; those of
//! Chinese and Japanese come with the Python package `pytest-audioeval`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::realtime::{Client, realtime_setup, text};
use crate::support::service::Service;
use crate::support::speech::{
    ended, id_of, post, recording, run, sample, sentence, transcript, words,
};

const SPANISH: &str = "es_MX_f_Allison";
const FRENCH: &str = "fr_CA_f_June";

/// The appliance with the model of 99 languages, by its name.
fn multilingual() -> Service {
    realtime_setup().settings("[speech]\nmodel = \"base\"\n").start()
}

fn prompt(voice: &str, name: &str) -> PathBuf {
    Path::new("/usr/share/asterisk/sounds").join(voice).join(format!("{name}.wav"))
}

/// Silence, then a prompt.
fn late(folder: &Path, voice: &str, name: &str) -> PathBuf {
    let (before, target) = (folder.join("silence.wav"), folder.join("late.wav"));
    let path = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let shape = ["-n", "-r", "8000", "-b", "16", "-c", "1", &*path(&before)];
    run("sox", &[&shape[..], &["trim", "0", "8"]].concat());
    run("sox", &[&path(&before), &path(&prompt(voice, name)), &path(&target)]);
    target
}

fn config(language: &str, identification: Value) -> String {
    let mut config =
        json!({"type": "transcription", "transcription_config": {"language": language}});
    if !identification.is_null() {
        config["language_identification_config"] = identification;
    }
    config.to_string()
}

fn submit(service: &Service, file: &Path, language: &str, identification: Value) -> String {
    id_of(&post(service, file, &config(language, identification)).expect(201))
}

fn document(service: &Service, id: &str) -> Value {
    serde_json::from_str(&transcript(service, id, "json-v2")).expect("a document")
}

/// What the results say, and of which language; they are all of one.
fn contents(document: &Value) -> (Vec<String>, String) {
    let results = document["results"].as_array().expect("results");
    let of = |key: &str| -> Vec<String> {
        let values = results.iter().map(|result| &result["alternatives"][0][key]);
        values.map(|value| value.as_str().expect("a text").to_owned()).collect()
    };
    let languages = of("language");
    assert!(languages.windows(2).all(|pair| pair[0] == pair[1]), "{languages:?}");
    (of("content"), languages.into_iter().next().expect("a word"))
}

#[test]
fn a_language_is_found_in_the_first_speech_and_its_words_are_in_it() {
    let service = multilingual();
    let cases = [
        (prompt(SPANISH, "queue-thankyou"), "es", "Spanish", "gracias"),
        (late(service.path(), FRENCH, "demo-nomatch"), "fr", "French", "mots"),
        (sample("zh/nihao_shijie.wav"), "zh", "Mandarin", "你好世界"),
        (recording("cards/001.wav"), "en", "English", "clubs"),
    ];
    let jobs = cases.each_ref().map(|(file, ..)| submit(&service, file, "auto", Value::Null));
    for (id, (_, language, name, expected)) in jobs.iter().zip(&cases) {
        let job = ended(&service, id);
        assert_eq!(job["status"], "done", "{job}");
        assert_eq!(job["config"]["transcription_config"]["language"], "auto");
        let document = document(&service, id);
        assert_eq!(contents(&document).1, *language);
        let metadata = &document["metadata"];
        assert_eq!(metadata["transcription_config"]["language"], "auto");
        assert_eq!(metadata["language_pack_info"]["language_description"], *name);
        let found = &metadata["language_identification"];
        assert_eq!(found["predicted_language"], *language, "{found}");
        assert_eq!(found["error"], Value::Null);
        let best = &found["results"][0]["alternatives"][0];
        assert_eq!(best["language"], *language);
        assert!(best["confidence"].as_f64().expect("a number") >= 0.5, "{found}");
        let text = transcript(&service, id, "txt");
        assert!(words(&text).contains(&(*expected).to_owned()), "{expected} in {text}");
    }
    let place = &document(&service, &jobs[1])["metadata"]["language_identification"]["results"][0];
    assert!(place["start_time"].as_f64().expect("a number") > 7.0, "after the silence: {place}");
    // The same recording is found alike, whatever was heard before it.
    let again = submit(&service, &cases[2].0, "auto", Value::Null);
    ended(&service, &again);
    let told = |id: &str| document(&service, id)["metadata"]["language_identification"].clone();
    assert_eq!(told(&again), told(&jobs[2]));
}

#[test]
fn a_recording_whose_language_is_not_expected_or_not_there_ends_as_the_client_asked() {
    let service = multilingual();
    let spanish = prompt(SPANISH, "queue-thankyou");
    // One word, which might be one of several languages.
    let unsure = prompt(SPANISH, "vm-goodbye");
    let silence = service.path().join("silence.wav");
    let path = silence.to_str().expect("a plain path");
    run("sox", &["-n", "-r", "16000", "-b", "16", "-c", "1", path, "trim", "0", "3"]);
    let end = |file: &Path, identification: Value| {
        let id = submit(&service, file, "auto", identification);
        (ended(&service, &id), id)
    };
    let reason = |job: &Value| job["errors"][0]["message"].as_str().unwrap_or_default().to_owned();

    let (job, _) = end(&spanish, json!({"expected_languages": ["de", "fr"]}));
    assert_eq!(job["status"], "rejected", "{job}");
    assert_eq!(reason(&job), "The identified language 'es' is not one of the expected languages");
    let expected = json!({"expected_languages": ["en", "es"]});
    let (job, id) = end(&spanish, expected.clone());
    assert_eq!(job["status"], "done", "{job}");
    assert_eq!(document(&service, &id)["metadata"]["language_identification_config"], expected);

    let told = "Language identification could not identify any language with sufficient confidence";
    let (job, _) = end(&unsure, json!({"low_confidence_action": "reject"}));
    assert_eq!(job["status"], "rejected", "{job}");
    assert!(reason(&job).starts_with(&format!("{told}: es 0.")), "{job}");
    for (asked, language) in [
        (json!({"low_confidence_action": "allow"}), "es"),
        (json!({"low_confidence_action": "use_default_language", "default_language": "fr"}), "fr"),
    ] {
        let (job, id) = end(&unsure, asked.clone());
        assert_eq!(job["status"], "done", "{job}");
        let document = document(&service, &id);
        assert_eq!(contents(&document).1, language);
        let metadata = &document["metadata"];
        assert_eq!(metadata["language_identification_config"], asked);
        let found = &metadata["language_identification"];
        assert_eq!(found["predicted_language"], "es", "{found}");
        assert_eq!((&found["error"], &found["message"]), (&json!("LOW_CONFIDENCE"), &json!(told)));
    }

    let (job, _) = end(&silence, json!({}));
    assert_eq!(job["status"], "rejected", "{job}");
    assert_eq!(reason(&job), "No speech found for language identification");
    let (job, id) = end(&silence, json!({"default_language": "fr"}));
    assert_eq!(job["status"], "done", "{job}");
    let metadata = document(&service, &id)["metadata"].clone();
    assert_eq!(metadata["language_identification"]["error"], "NO_SPEECH", "{metadata}");
    assert_eq!(metadata["language_pack_info"]["language_description"], "French");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_found_is_refused_at_once() {
    let refused = |service: &Service, language: &str, identification: Value| -> String {
        let reply: Reply = post(service, &sentence(), &config(language, identification));
        reply.expect(400).json()["detail"].as_str().expect("a detail").to_owned()
    };
    let service = multilingual();
    let mut locale: Value = serde_json::from_str(&config("auto", Value::Null)).expect("JSON");
    locale["transcription_config"]["output_locale"] = "en-GB".into();
    let told = post(&service, &sentence(), &locale.to_string()).expect(400).body;
    assert!(told.contains("output_locale needs a language"), "{told}");
    for (language, identification, expected) in [
        ("auto", json!({"expected_languages": ["es", "zz"]}), "Language(s) [zz] are not supported"),
        ("en", json!({"expected_languages": ["zz"]}), "Language(s) [zz] are not supported"),
        ("auto", json!({"default_language": "xx"}), "default_language \"xx\" is not installed"),
        (
            "auto",
            json!({"low_confidence_action": "use_default_language"}),
            "needs a default_language",
        ),
        ("auto", json!({"low_confidence_action": "guess"}), "low_confidence_action is \"guess\""),
        ("yue", Value::Null, "\"yue\" is not installed"),
    ] {
        let told = refused(&service, language, identification);
        assert!(told.contains(expected), "{told}");
    }
    // A session must name its language.
    let mut client = Client::connect(&service, "ws", "/v2").await;
    client.say(&start("auto")).await;
    let failed = client.next_of("Error").await;
    assert_eq!(failed["type"], "invalid_model");
    let told = failed["reason"].as_str().expect("a reason");
    assert!(told.contains("must be named"), "{told}");

    let english = realtime_setup().start();
    let told = refused(&english, "auto", Value::Null);
    assert!(told.contains("cannot be found by itself") && told.contains("\"base\""), "{told}");
}

fn start(language: &str) -> Value {
    json!({
        "message": "StartRecognition",
        "audio_format": {"type": "file"},
        "transcription_config": {"language": language, "enable_partials": true},
    })
}

/// What a session hears in a file: its words, and all messages.
async fn hears(service: &Service, language: &str, file: &Path) -> (String, Vec<Value>) {
    let mut client = Client::connect(service, "wss", &format!("/v2/{language}")).await;
    client.say(&start(language)).await;
    client.next_of("RecognitionStarted").await;
    client.audio(&std::fs::read(file).expect("a recording")).await;
    client.end().await;
    let messages = client.rest().await;
    (text(&messages), messages)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_that_is_named_is_recognised_in_it() {
    let service = multilingual();
    for (file, language, expected) in [
        (prompt(FRENCH, "demo-nomatch"), "fr", "mots"),
        (prompt("it_IT_m_Carlo", "demo-nomatch"), "it", "parole"),
        // What others call Mandarin.
        (sample("zh/nihao_shijie.wav"), "cmn", "你好世界"),
    ] {
        let id = submit(&service, &file, language, Value::Null);
        let (live, _) = hears(&service, language, &file).await;
        assert_eq!(ended(&service, &id)["status"], "done");
        for text in [transcript(&service, &id, "txt"), live] {
            assert!(words(&text).contains(&expected.to_owned()), "{expected} in {text}");
        }
        assert_eq!(contents(&document(&service, &id)).1, language);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_without_blanks_comes_in_characters_with_their_times() {
    let service = multilingual();
    let japanese = sample("ja/konnichiwa_sekai.wav");
    let id = submit(&service, &japanese, "ja", Value::Null);
    let (live, messages) = hears(&service, "ja", &japanese).await;
    assert_eq!(ended(&service, &id)["status"], "done");
    let document = document(&service, &id);
    assert_eq!(document["metadata"]["language_pack_info"]["word_delimiter"], "");
    let (contents, _) = contents(&document);
    assert!(contents.len() >= 7, "{contents:?}");
    assert!(contents.iter().all(|content| content.chars().count() == 1), "{contents:?}");
    for text in [&live, &transcript(&service, &id, "txt"), &transcript(&service, &id, "srt")] {
        assert!(text.contains("こんにちは") && text.contains("世界"), "{text}");
    }
    let finals = messages.iter().filter(|message| message["message"] == "AddTranscript");
    let live: Vec<Value> = finals
        .flat_map(|message| message["results"].as_array().expect("results").clone())
        .collect();
    for results in [document["results"].as_array().expect("results"), &live] {
        let time = |result: &Value, key: &str| result[key].as_f64().expect("a time");
        let words: Vec<&Value> = results.iter().filter(|one| one["type"] == "word").collect();
        assert!(words.len() >= 7, "{words:?}");
        assert!(words.iter().all(|word| time(word, "end_time") > time(word, "start_time")));
        for pair in words.windows(2) {
            assert!(time(pair[0], "end_time") <= time(pair[1], "start_time"), "{pair:?}");
        }
    }
}

#[test]
fn clients_are_told_which_languages_there_are() {
    let told = |service: &Service| {
        let features = curl(&[&service.url("https", "/v1/discovery/features")]).expect(200).json();
        let about = curl_as("admin", &[&service.url("https", "/v2/management/host/about")]);
        (features, about.expect(200).json())
    };
    let (features, about) = told(&multilingual());
    let codes = features["batch"]["transcription"][0]["languages"].clone();
    let mut known = codes.clone();
    let known_codes = known.as_array_mut().expect("a list");
    // What others call Mandarin.
    known_codes.retain(|code| code != "cmn");
    assert_eq!((known_codes.len(), codes.as_array().map(Vec::len)), (99, Some(100)));
    assert_eq!(features["batch"]["languageId"], codes);
    assert_eq!(features["realtime"]["transcription"][0]["languages"], codes);
    let names = &features["metadata"]["language_pack_info"];
    for (code, name) in [("fr", "French"), ("zh", "Mandarin"), ("cmn", "Mandarin")] {
        assert_eq!(names[code]["language_description"], name);
    }
    assert_eq!((&about["languages"], &about["language_identification"]), (&known, &json!(true)));

    let (features, about) = told(&realtime_setup().start());
    assert_eq!(features["batch"]["transcription"][0]["languages"], json!(["en"]));
    assert_eq!(features["batch"]["languageId"], json!([]));
    assert_eq!(about["languages"], json!(["en"]));
    assert_eq!(about["language_identification"], false);
}
