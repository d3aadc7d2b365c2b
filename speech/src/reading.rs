//! JSON that clients send, read so that what does not fit is told with its key, what was given and
//! what to write.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// Characters of a key or a value that an error repeats.
const SHOWN: usize = 60;
/// Characters of a path.
const LONGEST_PATH: usize = 120;
/// Unknown keys that are named.
pub(crate) const MOST_KEYS: usize = 20;

/// Parses a text.
///
/// # Errors
/// Shows the place of the first error.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|err| {
        if err.is_eof() {
            return err.to_string();
        }
        let line = text.split('\n').nth(err.line().saturating_sub(1)).unwrap_or_default();
        let place = &line[line.floor_char_boundary(err.column().saturating_sub(1))..];
        let hint = if ["True", "False", "None"].iter().any(|word| place.starts_with(word)) {
            "; JSON writes true, false and null"
        } else if place.starts_with('\'') {
            "; JSON has double quotes"
        } else {
            ""
        };
        format!("{err}, where it reads `{}`{hint}", shown(place))
    })
}

/// Null is the same as absent, at every depth.
pub(crate) fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads a value that stands at the path `within`, which is empty for a whole document.
///
/// # Errors
/// Names the key with its path, what was given and what to write.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, within: &str) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|err| {
        let path = match err.path().iter().len() {
            0 => within.to_owned(),
            _ => join(within, &err.path().to_string()),
        };
        explain(&path, find(value, err.path()), &err.inner().to_string())
    })
}

/// The first keys of an object at the path `within` that are not among the known ones.
pub(crate) fn unknown_keys<'a>(
    object: impl IntoIterator<Item = (&'a String, &'a Value)>,
    within: &str,
    known: &[&str],
) -> Vec<String> {
    let unknown = object
        .into_iter()
        .filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str()));
    unknown.map(|(key, _)| join(within, &shown(key))).take(MOST_KEYS).collect()
}

fn join(within: &str, path: &str) -> String {
    let dot = if within.is_empty() { "" } else { "." };
    format!("{within}{dot}{path}")
}

/// What stands at a path.
fn find<'a>(value: &'a Value, path: &Path) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Map { key } => value.get(key),
        Segment::Seq { index } => value.get(index),
        Segment::Enum { .. } | Segment::Unknown => None,
    })
}

/// Says what serde found in the words of a client that writes JSON.
fn explain(path: &str, given: Option<&Value>, found: &str) -> String {
    if let Some(key) = found.strip_prefix("missing field `") {
        return format!("{} is missing", join(path, key.trim_end_matches('`')));
    }
    let path = cut(path, LONGEST_PATH);
    let Some((what, expected)) = found.rsplit_once(", expected ") else {
        return format!("{path}: {found}");
    };
    if let Some(key) = what.strip_prefix("unknown field `") {
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let near = nearest(key.trim_end_matches('`'), &known);
        let near = near.map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        return format!("{path} is not known here{near}; known are {}", known.join(", "));
    }
    let given = match given {
        // These may be secrets.
        Some(_) if path.contains("auth_headers") => "***".to_owned(),
        Some(given) => shown(&given.to_string()),
        None => return format!("{path}: {found}"),
    };
    let expected = match expected {
        "a boolean" => "true or false, without quotes",
        "a string" | "string or map" => "a text in quotes",
        "a sequence" => "a list in brackets",
        "a map" => "an object in braces",
        "f64" => "a number, without quotes",
        "u16" => "a whole number from 0 to 65535, without quotes",
        "u32" => "a whole number from 0 to 4294967295, without quotes",
        other => other,
    };
    format!("{path} is {given}; it must be {expected}")
}

/// The known key that a misspelt one was meant to be.
fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    if key.len() > SHOWN {
        return None;
    }
    let distances = known.iter().map(|known| (strsim::damerau_levenshtein(key, known), *known));
    let near = distances.filter(|(distance, _)| *distance <= (key.len() / 3).clamp(1, 5));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// As much of a text as an error repeats.
pub(crate) fn shown(text: &str) -> String {
    cut(text, SHOWN)
}

fn cut(text: &str, most: usize) -> String {
    let mut plain = text.chars().filter(|c| !c.is_control());
    let mut shown: String = plain.by_ref().take(most).collect();
    if plain.next().is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default, expecting = "an object in braces")]
    struct Whole {
        flag: Option<bool>,
        number: Option<f64>,
        count: Option<u16>,
        name: Option<String>,
        list: Option<Vec<String>>,
        part: Option<Part>,
        auth_headers: Option<Vec<String>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, expecting = "an object in braces")]
    struct Part {
        must: Option<bool>,
        url: String,
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_told_with_its_key_and_what_to_write() {
        for (value, expected) in [
            (
                json!({"flag": "true"}),
                "a.flag is \"true\"; it must be true or false, without quotes",
            ),
            (json!({"flag": "True"}), "a.flag is \"True\"; it must be true or false"),
            (json!({"flag": "yes"}), "a.flag is \"yes\"; it must be true or false"),
            (json!({"flag": 1}), "a.flag is 1; it must be true or false"),
            (json!({"flag": [true]}), "a.flag is [true]; it must be true or false"),
            (json!({"number": "4"}), "a.number is \"4\"; it must be a number, without quotes"),
            (json!({"number": "0,7"}), "a.number is \"0,7\"; it must be a number"),
            (json!({"number": true}), "a.number is true; it must be a number"),
            (
                json!({"count": "37"}),
                "a.count is \"37\"; it must be a whole number from 0 to 65535",
            ),
            (json!({"count": 37.5}), "a.count is 37.5; it must be a whole number"),
            (json!({"count": -1}), "a.count is -1; it must be a whole number"),
            (json!({"name": 7}), "a.name is 7; it must be a text in quotes"),
            (json!({"name": ["en"]}), "a.name is [\"en\"]; it must be a text in quotes"),
            (json!({"list": "x"}), "a.list is \"x\"; it must be a list in brackets"),
            (json!({"list": ["x", 7]}), "a.list[1] is 7; it must be a text in quotes"),
            (json!({"part": "{}"}), "a.part is \"{}\"; it must be an object in braces"),
            (json!({"part": {"must": "no"}}), "a.part.must is \"no\"; it must be true or false"),
            (json!({"part": {}}), "a.part.url is missing"),
            (json!({"flg": true}), "a.flg is not known here; did you mean flag?; known are flag,"),
            (json!({"auth_headers": "Key: secret"}), "a.auth_headers is ***; it must be a list"),
            (json!("x"), "a is \"x\"; it must be an object in braces"),
        ] {
            let told = read::<Whole>(&value, "a").unwrap_err();
            assert!(told.starts_with(expected), "{value}: {told}");
        }
        let long = json!({"flag": "y".repeat(10_000), "x".repeat(10_000): 1});
        assert!(read::<Whole>(&long, "").unwrap_err().len() < 300);
        let fits = json!({"flag": true, "number": 4, "count": 37, "name": "n", "list": ["x"],
            "part": {"must": false, "url": "u"}, "auth_headers": null});
        let Whole { flag, number, count, name, list, part, auth_headers } =
            read(&fits, "").unwrap();
        assert_eq!(
            (flag, number, count, name),
            (Some(true), Some(4.0), Some(37), Some("n".into()))
        );
        assert_eq!((list.map(|list| list.len()), auth_headers), (Some(1), None));
        assert!(part.is_some_and(|part| part.must == Some(false) && part.url == "u"));
    }

    #[test]
    fn what_is_no_json_is_shown_at_its_place() {
        for (text, expected) in [
            ("{\"a\": True}", "line 1 column 7, where it reads `True}`; JSON writes true, false"),
            ("{\n \"b\": None\n}", "line 2 column 7, where it reads `None`; JSON writes"),
            ("{'a': 1}", "line 1 column 2, where it reads `'a': 1}`; JSON has double quotes"),
            ("{\"ä\": yes}", "where it reads `yes}`"),
            ("", "EOF while parsing a value at line 1 column 0"),
            ("{\"a\": 1", "EOF while parsing an object at line 1 column 7"),
        ] {
            let told = parse(text).unwrap_err();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }

    #[test]
    fn keys_that_nobody_knows_are_found() {
        let value = json!({"type": "file", "chunk_size": 4096, "encoding": null});
        let unknown = unknown_keys(value.as_object().unwrap(), "audio_format", &["type"]);
        assert_eq!(unknown, ["audio_format.chunk_size"]);
        let many: serde_json::Map<_, _> =
            (0..1000).map(|index| (format!("{index}{}", "x".repeat(1000)), json!(1))).collect();
        let unknown = unknown_keys(&many, "", &[]);
        assert!(unknown.len() == 20 && unknown.iter().all(|key| key.len() < 70), "{unknown:?}");
    }
}
