use super::*;

fn parse(config: Value) -> Result<JobConfig, ConfigError> {
    JobConfig::parse(&config.to_string())
}

fn with(transcription: Value) -> Result<JobConfig, ConfigError> {
    let mut config = json!({"type": "transcription", "transcription_config": {"language": "en"}});
    for (key, value) in transcription.as_object().unwrap() {
        config["transcription_config"][key] = value.clone();
    }
    parse(config)
}

#[test]
fn what_was_submitted_is_kept_without_nulls_and_without_additions() {
    let text = r#"{"type":"transcription","transcription_config":{"language":"en","model":"enhanced",
        "operating_point":null},"tracking":{"title":null,"tags":["a"]}}"#;
    let config = JobConfig::parse(text).unwrap();
    assert_eq!(
        config.submitted,
        json!({"type": "transcription", "tracking": {"tags": ["a"]},
               "transcription_config": {"language": "en", "model": "enhanced"}})
    );
    assert_eq!(config.model.as_deref(), Some("enhanced"));
}

#[test]
fn every_documented_key_is_taken() {
    let config = json!({
        "type": "transcription",
        "fetch_data": {"url": "https://example.com/a.wav", "auth_headers": ["Authorization: Bearer x"]},
        "transcription_config": {
            "language": "en", "operating_point": "standard", "domain": "finance", "output_locale": "en-GB",
            "additional_vocab": ["Ceph", {"content": "gnocchi", "sounds_like": ["nyohki"]}],
            "punctuation_overrides": {"sensitivity": 0.4, "permitted_marks": [".", ","]},
            "diarization": "channel", "channel_diarization_labels": ["a", "b"],
            "speaker_diarization_config": {"speaker_sensitivity": 0.5}, "enable_entities": false,
            "max_delay_mode": "fixed", "max_delay": 2, "enable_partials": false,
            "audio_filtering_config": {"volume_threshold": 0},
            "transcript_filtering_config":
                {"remove_disfluencies": true, "replacements": [{"from": "a", "to": "b"}]},
            "language_hints": ["en"], "language_hints_strict": false,
        },
        "notification_config": [{"url": "http://example.com/cb", "contents": ["jobinfo"], "method": "put",
            "auth_headers": ["X-Key: 1"]}],
        "tracking": {"title": "t", "reference": "r", "tags": ["x"], "details": {"a": 1}},
        "output_config": {"srt_overrides": {"max_line_length": 20, "max_lines": 1}},
        "translation_config": {"target_languages": ["de"]}, "language_identification_config": {},
        "summarization_config": {}, "sentiment_analysis_config": {"enable_sentiment": true},
        "topic_detection_config": {}, "auto_chapters_config": {"enable_chapters": true},
        "audio_events_config": {},
    });
    let config = parse(config).unwrap();
    let gnocchi = Term { content: "gnocchi".into(), sounds_like: vec!["nyohki".into()] };
    assert_eq!(config.vocabulary, ["Ceph".into(), gnocchi]);
    assert_eq!(config.marks, Marks::Only(vec!['.', ',']));
    assert_eq!(config.channels.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((config.srt.line_length, config.srt.lines), (20, 1));
    let failed: Vec<&str> = config.failed_features.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        failed,
        [
            "translation",
            "summarization",
            "sentiment_analysis",
            "topic_detection",
            "auto_chapters",
            "audio_events",
        ]
    );
    let missing: Vec<&str> = config.missing.iter().map(|missing| missing.feature).collect();
    assert_eq!(
        missing,
        [
            "speaker_diarization_config",
            "domain",
            "output_locale",
            "language_hints",
            "punctuation_overrides.sensitivity",
            "max_delay",
            "max_delay_mode",
            "translation_config",
            "summarization_config",
            "sentiment_analysis_config",
            "topic_detection_config",
            "auto_chapters_config",
            "audio_events_config",
        ]
    );
    assert!(!format!("{config:?}").contains("Bearer x"), "a secret in {config:?}");
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |text: &str| JobConfig::parse(text).unwrap_err().to_string();
    assert!(refused("{").contains("line 1 column 1"));
    assert!(refused("[]").contains("object"));
    assert!(refused("{}").contains("type is missing"));
    assert!(refused(r#"{"type":"transcription"}"#).contains("language"));
    assert!(refused(r#"{"type":"transcription","transcription_config":{}}"#).contains("language"));
    let alignment = r#"{"type":"alignment","alignment_config":{"language":"en"}}"#;
    assert!(matches!(JobConfig::parse(alignment), Err(ConfigError::Product(_))));
    for (key, value, expected) in [
        ("langauge", json!("en"), "config.langauge is not known here; did you mean language?"),
        ("diarization", json!("both"), "config.diarization is \"both\"; it must be one of `none`"),
        ("channel_diarization_labels", json!(["a", "b", "a"]), "labels[2] is `a`, which another"),
        ("channel_diarization_labels", json!(["a b"]), "labels[0] is `a b`; a label has 1 to 100"),
        ("channel_diarization_labels", json!(vec!["a"; 9]), "has 9 entries; 8 are the most"),
        ("additional_vocab", json!([1]), "additional_vocab[0]: it must be a text, or {"),
        (
            "punctuation_overrides",
            json!({"sensitivity": 2}),
            "sensitivity is 2; it must be from 0 to 1",
        ),
        (
            "enable_entities",
            json!("true"),
            "config.enable_entities is \"true\"; it must be true or",
        ),
        ("max_delay", json!("4"), "config.max_delay is \"4\"; it must be a number, without quotes"),
        ("punctuation_overrides", json!({"permitted_marks": ["ab"]}), "single marks"),
    ] {
        let err = with(json!({key: value})).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_named_with_their_path_and_secrets_are_not_repeated() {
    for (key, value, expected) in [
        ("type", json!(1), "type is 1; it must be a text in quotes"),
        (
            "transcription_config",
            json!("{}"),
            "transcription_config is \"{}\"; it must be an object",
        ),
        ("tracking", json!({"tags": "a"}), "tracking.tags is \"a\"; it must be a list in brackets"),
        ("tracking", json!({"title": 7}), "tracking.title is 7; it must be a text in quotes"),
        (
            "output_config",
            json!({"srt_overrides": {"max_line_length": "37"}}),
            "output_config.srt_overrides.max_line_length is \"37\"; it must be a whole number",
        ),
        (
            "notification_config",
            json!([{"url": "http://a", "auth_headers": "X-Key: secret"}]),
            "notification_config[0].auth_headers is ***; it must be a list in brackets",
        ),
        ("notification_config", json!({"url": "http://a"}), "notification_config is {\"url\""),
        ("fetch_data", json!({}), "fetch_data.url is missing"),
        ("trackng", json!({}), "trackng is not known here; did you mean tracking?"),
    ] {
        let mut config =
            json!({"type": "transcription", "transcription_config": {"language": "en"}});
        config[key] = value;
        let told = parse(config).unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn what_asks_for_nothing_is_not_missed() {
    let config = with(json!({
        "model": "enhanced", "diarization": "none", "enable_entities": false, "domain": "general",
        "audio_filtering_config": {"volume_threshold": 0}, "enable_partials": false,
        "punctuation_overrides": {"sensitivity": 0.5}, "additional_vocab": [{"content": "a"}],
    }));
    assert_eq!(config.unwrap().missing, []);
}

#[test]
fn callbacks_are_few_and_carry_what_there_is() {
    let config = |entry: Value| {
        parse(json!({"type": "transcription", "transcription_config": {"language": "en"},
            "notification_config": entry}))
    };
    for wrong in [
        json!([{"url": "http://a", "method": "get"}]),
        json!([{"url": "http://a", "contents": ["everything"]}]),
        json!([{"url": "http://a"}, {"url": "http://a"}, {"url": "http://a"}, {"url": "http://a"}]),
    ] {
        assert!(config(wrong.clone()).is_err(), "{wrong}");
    }
    config(json!([{"url": "http://a", "method": "POST", "contents": []}])).unwrap();
}

#[test]
fn a_bad_pattern_fails_when_it_is_used() {
    let rules = json!({"replacements": [{"from": "/(/", "to": ""}]});
    let config = with(json!({"transcript_filtering_config": rules})).unwrap();
    config.filter().unwrap_err();
}
