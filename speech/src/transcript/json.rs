//! json-v2: the results with all that is known of them.

use serde_json::{Map, Value, json};

use super::{Item, ItemKind, language_pack_info};

/// The version of the form.
pub const FORMAT_VERSION: &str = "2.9";

/// What a json-v2 document is made of.
#[derive(Debug)]
pub struct JsonDocument<'a> {
    /// The `job` object.
    pub job: Value,
    /// RFC 3339: when the transcript was made.
    pub created_at: String,
    /// The transcription configuration as it was used.
    pub transcription_config: Value,
    /// The output configuration, if one was given.
    pub output_config: Option<Value>,
    pub language: &'a str,
    /// What else is to be told in the metadata, by key.
    pub metadata: &'a Map<String, Value>,
    /// What was asked for and is not to be had here, by feature: `translation`, `summarization` …
    pub failed_features: &'a [(String, Value)],
    /// Name and version of what made it.
    pub orchestrator_version: &'a str,
    pub items: &'a [Item],
}

impl JsonDocument<'_> {
    /// The document.
    #[must_use]
    pub fn build(&self) -> Value {
        let mut metadata = Map::new();
        metadata.insert("created_at".into(), json!(self.created_at));
        metadata.insert("type".into(), json!("transcription"));
        metadata.insert("transcription_config".into(), self.transcription_config.clone());
        metadata.insert("orchestrator_version".into(), json!(self.orchestrator_version));
        metadata.insert("language_pack_info".into(), language_pack_info(self.language));
        if let Some(output) = &self.output_config {
            metadata.insert("output_config".into(), output.clone());
        }
        for (feature, errors) in self.failed_features {
            metadata.insert(format!("{feature}_errors"), errors.clone());
        }
        metadata.extend(self.metadata.clone());
        json!({
            "format": FORMAT_VERSION,
            "job": self.job,
            "metadata": metadata,
            "results": results(self.items, self.language),
        })
    }
}

/// The `results` array. Every alternative carries `"speaker": "UU"`: who spoke is not known.
#[must_use]
pub fn results(items: &[Item], language: &str) -> Vec<Value> {
    items.iter().map(|item| result(item, language, true)).collect()
}

/// The same for a live client, where alternatives carry a speaker only if that was asked for:
/// otherwise the command line client prints a line about it before each final.
#[must_use]
pub fn live_results(items: &[Item], language: &str, speakers: bool) -> Vec<Value> {
    items.iter().map(|item| result(item, language, speakers)).collect()
}

fn result(item: &Item, language: &str, speaker: bool) -> Value {
    let mut alternative = json!({
        "content": item.content,
        "confidence": f64::from((item.confidence * 100.0).round()) / 100.0,
        "language": language,
    });
    if speaker {
        alternative["speaker"] = json!("UU");
    }
    if item.disfluency {
        alternative["tags"] = json!(["disfluency"]);
    }
    let mut result = json!({
        "type": if item.is_word() { "word" } else { "punctuation" },
        "start_time": item.start,
        "end_time": item.end,
        "alternatives": [alternative],
    });
    if let Some(channel) = &item.channel {
        result["channel"] = json!(channel);
    }
    if let ItemKind::Mark { sentence_end, opens } = item.kind {
        result["attaches_to"] = json!(if opens { "next" } else { "previous" });
        result["is_eos"] = json!(sentence_end);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_and_its_mark_are_written_as_clients_expect() {
        let item = |content: &str, kind, end| Item {
            content: content.into(),
            start: 0.72,
            end,
            confidence: 0.987,
            kind,
            blank: false,
            disfluency: false,
            channel: None,
        };
        let mark = ItemKind::Mark { sentence_end: true, opens: false };
        let mut mark = item(".", mark, 1.36);
        mark.start = 1.36;
        assert_eq!(
            Value::from(results(&[item("Welcome", ItemKind::Word, 1.36), mark], "en")),
            json!([
                {"type": "word", "start_time": 0.72, "end_time": 1.36, "alternatives":
                    [{"content": "Welcome", "confidence": 0.99, "language": "en", "speaker": "UU"}]},
                {"type": "punctuation", "start_time": 1.36, "end_time": 1.36, "attaches_to": "previous",
                 "is_eos": true, "alternatives":
                    [{"content": ".", "confidence": 0.99, "language": "en", "speaker": "UU"}]},
            ])
        );
    }
}
