//! Query strings that are read to the last key, so that a misspelt switch is not taken for its
//! absence.

use actix_web::{HttpRequest, web};

use crate::http::error::{ApiError, Code};

/// How much of something unknown an error repeats.
const SHOWN: usize = 40;

/// A query string whose keys are taken one after another; what is left at the end is unknown.
pub(crate) struct Query {
    left: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl Query {
    /// The query of a request.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let left = pairs
            .map_err(|_| invalid(None, "the query string cannot be decoded".into()))?
            .into_inner();
        Ok(Self { left, known: Vec::new() })
    }

    fn take(&mut self, key: &'static str) -> Result<Option<String>, ApiError> {
        self.known.push(key);
        let Some(index) = self.left.iter().position(|(name, _)| name == key) else {
            return Ok(None);
        };
        let (_, value) = self.left.swap_remove(index);
        if self.left.iter().any(|(name, _)| name == key) {
            return Err(invalid(Some(key), format!("the query has {key} more than once")));
        }
        Ok(Some(value))
    }

    /// One of several words.
    pub(crate) fn choice(
        &mut self,
        key: &'static str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, ApiError> {
        let Some(value) = self.take(key)? else { return Ok(None) };
        match words.iter().find(|word| **word == value) {
            Some(word) => Ok(Some(word)),
            None => {
                let text = format!(
                    "the query has {key}={}; it must be {}",
                    shown(&value),
                    words.join(" or ")
                );
                Err(invalid(Some(key), text))
            }
        }
    }

    /// `true` or `false`; left out, it is `false`.
    pub(crate) fn switch(&mut self, key: &'static str) -> Result<bool, ApiError> {
        Ok(self.choice(key, &["true", "false"])? == Some("true"))
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        let Some((key, _)) = self.left.first() else { return Ok(()) };
        let known = match &self.known[..] {
            [] => "this path takes none".to_owned(),
            known => format!("known here are {}", known.join(", ")),
        };
        let key = shown(key);
        let text = format!("the query key `{key}` is not known; {known}");
        Err(invalid(Some(&key), text))
    }
}

/// A query that does not fit, because of the key `part`.
pub(crate) fn invalid(part: Option<&str>, text: String) -> ApiError {
    ApiError::invalid(Code::INVALID_QUERY, part, text)
}

/// As much of something that was given as an error repeats.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|symbol| !symbol.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::with_uri(&format!("/x?{text}")).to_http_request()).unwrap()
    }

    #[test]
    fn switches_and_choices_are_read_and_the_rest_is_refused() {
        let mut read = query("dry_run=true&format=pem");
        assert!(read.switch("dry_run").unwrap() && !read.switch("force").unwrap());
        assert_eq!(read.choice("format", &["json", "pem"]).unwrap(), Some("pem"));
        read.finish().unwrap();

        let mut unknown = query("dryrun=true");
        assert!(!unknown.switch("dry_run").unwrap());
        let message = unknown.finish().unwrap_err().to_string();
        assert_eq!(message, "the query key `dryrun` is not known; known here are dry_run");
        let message = query("a=1").finish().unwrap_err().to_string();
        assert!(message.ends_with("this path takes none"), "{message}");
    }

    #[test]
    fn values_that_mean_nothing_are_named() {
        for (text, expected) in [
            ("force=yes", "force=yes; it must be true or false"),
            ("force", "force=; it must be true or false"),
            ("force=true&force=false", "force more than once"),
        ] {
            let message = query(text).switch("force").unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
