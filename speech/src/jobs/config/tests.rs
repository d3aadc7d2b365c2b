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
    assert_eq!(config.vocabulary, ["Ceph", "gnocchi"]);
    assert_eq!(config.marks, Marks::Only(vec!['.', ',']));
    assert_eq!(config.channels.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
    assert_eq!((config.srt.line_length, config.srt.lines), (20, 1));
    let failed: Vec<&str> = config.failed_features.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        failed,
        [
            "translation",
            "language_identification",
            "summarization",
            "sentiment_analysis",
            "topic_detection",
            "auto_chapters",
            "audio_events",
        ]
    );
    assert!(!format!("{config:?}").contains("Bearer x"), "a secret in {config:?}");
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |text: &str| JobConfig::parse(text).unwrap_err().to_string();
    assert!(refused("{").contains("line 1 column 1"));
    assert!(refused("[]").contains("object"));
    assert!(refused("{}").contains("missing field `type`"));
    assert!(refused(r#"{"type":"transcription"}"#).contains("language"));
    assert!(refused(r#"{"type":"transcription","transcription_config":{}}"#).contains("language"));
    let alignment = r#"{"type":"alignment","alignment_config":{"language":"en"}}"#;
    assert!(matches!(JobConfig::parse(alignment), Err(ConfigError::Product(_))));
    for (key, value, expected) in [
        ("langauge", json!("en"), "unknown field `langauge`"),
        ("diarization", json!("both"), "unknown variant `both`"),
        ("channel_diarization_labels", json!(["a", "b", "a"]), "labels[2] is `a`, which another"),
        ("channel_diarization_labels", json!(["a b"]), "labels[0] must have 1 to 100 letters"),
        ("channel_diarization_labels", json!(vec!["a"; 9]), "has 9 entries; 8 are the most"),
        ("additional_vocab", json!([1]), "does not fit"),
        ("punctuation_overrides", json!({"sensitivity": 2}), "0 to 1"),
        ("punctuation_overrides", json!({"permitted_marks": ["ab"]}), "single marks"),
    ] {
        let err = with(json!({key: value})).unwrap_err().to_string();
        assert!(err.contains(expected), "{err}");
    }
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
