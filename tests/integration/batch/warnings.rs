//! What the owner of a job is told with its transcript: missing words and features, and what of a
//! configuration or a query does not fit.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::curl::curl;
use crate::support::service::Service;
use crate::support::sounds::{sound, together};
use crate::support::speech::{
    CONFIG, batch_setup, ended, id_of, post, recording, sentence, transcript,
};

/// The id and the json-v2 of a job that is done.
fn document(service: &Service, file: &Path, config: &str) -> (String, Value) {
    let id = id_of(&post(service, file, config).expect(201));
    let job = ended(service, &id);
    assert_eq!(job["status"], "done", "{job}");
    let text = transcript(service, &id, "json-v2");
    (id, serde_json::from_str(&text).expect("JSON"))
}

fn warnings(document: &Value) -> &[Value] {
    document["metadata"]["warnings"].as_array().map_or(&[], Vec::as_slice)
}

fn codes(document: &Value) -> Vec<&str> {
    warnings(document).iter().map(|warning| warning["code"].as_str().expect("a code")).collect()
}

fn log(service: &Service, id: &str) -> String {
    curl(&[&service.url("https", &format!("/v2/jobs/{id}/log"))]).expect(200).body
}

#[test]
fn sound_without_words_is_told_with_figures_and_speech_is_not() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    for (name, code) in [
        ("muted.wav", "silent_audio"),
        ("muted.flac", "silent_audio"),
        ("tone.wav", "no_words_recognised"),
        ("white.wav", "no_words_recognised"),
    ] {
        let (id, document) = document(&service, &sound(folder.path(), name), CONFIG);
        assert_eq!(document["results"], json!([]), "{name}");
        assert_eq!(codes(&document), [code], "{name}: {document}");
        let warning = &warnings(&document)[0];
        assert_eq!((&warning["words"], &warning["channel"]), (&json!(0), &Value::Null));
        let seconds = |key: &str| warning[key].as_f64().expect("seconds");
        let (audio, audible) = (seconds("audio_seconds"), seconds("audible_seconds"));
        assert!((3.9..6.2).contains(&audio) && seconds("speech_seconds") <= audible, "{warning}");
        assert_eq!(audible < 0.1, code == "silent_audio", "{warning}");
        let reason = warning["reason"].as_str().expect("a reason");
        let told = log(&service, &id);
        assert!(told.contains(&format!(" warning {code}: {reason}\n")), "{told}");
        assert_eq!(transcript(&service, &id, "txt").trim(), "");
        assert_eq!(transcript(&service, &id, "srt").trim(), "");
    }
    let short = recording("cards/001.wav");
    for file in [&*sound(folder.path(), "speech.wav"), &sound(folder.path(), "pauses.wav"), &short]
    {
        let (id, document) = document(&service, file, CONFIG);
        assert_ne!(document["results"], json!([]), "{file:?}");
        assert_eq!(document["metadata"].get("warnings"), None, "{file:?}: {document}");
        assert!(!log(&service, &id).contains("warning"));
    }
    // Whatever the recogniser makes of these: there are words or there is a warning.
    for name in ["faint.wav", "pink.flac", "brown.wav"] {
        let (_, document) = document(&service, &sound(folder.path(), name), CONFIG);
        assert_eq!(document["results"] == json!([]), codes(&document).len() == 1, "{document}");
    }
}

#[test]
fn hardly_any_words_in_what_sounds_like_speech_are_told() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    let (id, document) = document(&service, &sound(folder.path(), "buzz.wav"), CONFIG);
    assert_eq!(codes(&document), ["few_words_recognised"], "{document}");
    let warning = &warnings(&document)[0];
    let words = document["results"].as_array().expect("results").iter();
    let words = words.filter(|result| result["type"] == "word").count();
    assert!((1..=4).contains(&words) && warning["words"] == words, "{document}");
    assert!(warning["speech_seconds"].as_f64().is_some_and(|speech| speech >= 20.0), "{warning}");
    let told = log(&service, &id);
    let expected = format!(" warning few_words_recognised: {words} words were recognised in 2");
    assert!(told.contains(&expected), "{told}");
}

#[test]
fn a_dead_channel_is_named_where_channels_are_told_apart() {
    let service = batch_setup().start();
    let folder = tempfile::tempdir().expect("tempdir");
    let made = |name: &str| sound(folder.path(), name);
    let (speech, muted, white) = (made("speech.wav"), made("muted.wav"), made("white.wav"));
    let call = together(folder.path(), "call.wav", &[&speech, &muted, &white]);
    let (_, whole) = document(&service, &call, CONFIG);
    assert_eq!(warnings(&whole), [Value::Null; 0], "the words of one channel are enough");
    let config = json!({"type": "transcription", "transcription_config": {"language": "en",
        "diarization": "channel", "channel_diarization_labels": ["agent", "caller"]}});
    let (id, apart) = document(&service, &call, &config.to_string());
    let told: Vec<_> = warnings(&apart)
        .iter()
        .map(|warning| (warning["code"].as_str(), warning["channel"].as_str()))
        .collect();
    let expected =
        [(Some("silent_audio"), Some("caller")), (Some("no_words_recognised"), Some("Channel 3"))];
    assert_eq!(told, expected, "{apart}");
    let told = log(&service, &id);
    assert!(told.contains("warning silent_audio: channel caller: nothing can be heard"), "{told}");
}

#[test]
fn each_feature_that_cannot_be_done_is_told_and_the_job_is_done() {
    let service = batch_setup().start();
    let config = json!({
        "type": "transcription",
        "transcription_config": {
            "language": "en", "model": "melia-1", "domain": "medical", "output_locale": "en-GB",
            "diarization": "speaker", "speaker_diarization_config": {"speaker_sensitivity": 0.7},
            "enable_entities": true, "audio_filtering_config": {"volume_threshold": 3.4},
            "punctuation_overrides": {"sensitivity": 0.1},
            "additional_vocab": [{"content": "Dashwood", "sounds_like": ["dash wood"]}],
            "max_delay": 2, "enable_partials": true,
        },
        "translation_config": {"target_languages": ["de"]}, "summarization_config": {},
        "sentiment_analysis_config": {}, "topic_detection_config": {}, "auto_chapters_config": {},
        "audio_events_config": {}, "output_config": {"generate_lattice": true},
    });
    let (id, document) = document(&service, &sentence(), &config.to_string());
    let told = warnings(&document).iter().map(|warning| {
        assert_eq!(warning["code"], "unsupported_feature");
        assert!(warning["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{warning}");
        warning["feature"].as_str().expect("a feature")
    });
    let told: Vec<_> = told.collect();
    let expected = [
        "diarization",
        "speaker_diarization_config",
        "enable_entities",
        "domain",
        "output_locale",
        "audio_filtering_config",
        "punctuation_overrides.sensitivity",
        "model",
        "max_delay",
        "enable_partials",
        "translation_config",
        "summarization_config",
        "sentiment_analysis_config",
        "topic_detection_config",
        "auto_chapters_config",
        "audio_events_config",
        "output_config.generate_lattice",
    ];
    assert_eq!(told, expected, "{document}");
    for feature in [
        "translation",
        "summarization",
        "sentiment_analysis",
        "topic_detection",
        "auto_chapters",
        "audio_events",
        "diarization",
        "entities",
    ] {
        let errors = &document["metadata"][format!("{feature}_errors")];
        assert!(errors[0]["type"].is_string() && errors[0]["message"].is_string(), "{document}");
    }
    assert!(log(&service, &id).contains("warning unsupported_feature: domain is not available"));
    assert!(transcript(&service, &id, "txt").contains("amiable"));
}

#[test]
fn what_other_languages_write_for_booleans_and_numbers_is_refused_with_its_key() {
    let service = batch_setup().start();
    let refused = |config: &str| -> String {
        let reply = post(&service, &sentence(), config).expect(400).json();
        assert_eq!(reply["error"], "Job rejected", "{reply}");
        reply["detail"].as_str().expect("a detail").to_owned()
    };
    for (key, value, expected) in [
        ("enable_entities", json!("true"), "is \"true\"; it must be true or false, without quotes"),
        ("enable_entities", json!("True"), "is \"True\"; it must be true or false"),
        ("enable_entities", json!("yes"), "is \"yes\"; it must be true or false"),
        ("enable_partials", json!(1), "is 1; it must be true or false"),
        ("max_delay", json!("4"), "is \"4\"; it must be a number, without quotes"),
        ("language", json!(["en"]), "is [\"en\"]; it must be a text in quotes"),
        ("diarization", json!(true), "is true; it must be a text in quotes"),
        ("dairization", json!("none"), "is not known here; did you mean diarization?"),
        ("punctuation_overrides", json!("."), "is \".\"; it must be an object in braces"),
    ] {
        let mut config =
            json!({"type": "transcription", "transcription_config": {"language": "en"}});
        config["transcription_config"][key] = value;
        let told = refused(&config.to_string());
        assert!(told.starts_with(&format!("transcription_config.{key} {expected}")), "{told}");
    }
    for (text, expected) in [
        ("{\"type\": \"transcription\", \"x\": True}", "line 1 column 32, where it reads `True}`"),
        ("{\"type\": None}", "JSON writes true, false and null"),
        ("{'type': 'transcription'}", "JSON has double quotes"),
        ("{\"type\": yes}", "where it reads `yes}`"),
    ] {
        let told = refused(text);
        assert!(told.starts_with("the config is not JSON") && told.contains(expected), "{told}");
    }
    for (path, error, detail) in [
        (
            "jobs?include_deleted=True",
            "include_deleted in query must be of type boolean",
            "include_deleted is `True`; write true or false",
        ),
        (
            "jobs?include_deleted=yes",
            "include_deleted in query must be of type boolean",
            "include_deleted is `yes`; write true or false",
        ),
        (
            "jobs?limit=%224%22",
            "limit in query must be of type int64",
            "limit is `\"4\"`; write a whole number from 1 to 100",
        ),
        (
            "jobs?limit=101",
            "limit in query should be less than or equal to 100",
            "limit is `101`; write a whole number from 1 to 100",
        ),
        (
            "jobs?created_before=yesterday",
            "created_before in query must be of type date-time",
            "created_before is `yesterday`; write a time such as",
        ),
        (
            "usage?since=2026-1-1",
            "since in query must be of type date",
            "since is `2026-1-1`; write a day such as",
        ),
    ] {
        let reply = curl(&[&service.url("https", &format!("/v2/{path}"))]).expect(422).json();
        assert_eq!(reply["error"], error, "{path}");
        let told = reply["detail"].as_str().expect("a detail");
        assert!(told.starts_with(detail), "{told}");
    }
}
