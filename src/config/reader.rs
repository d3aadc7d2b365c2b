//! Reads a TOML table key by key, so that every error can name file, line and key.

use std::{path::PathBuf, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What is wrong with a configuration, where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {key}: {reason}")]
pub struct ConfigError {
    pub file: String,
    pub line: usize,
    pub key: String,
    pub reason: String,
}

/// A file's text and name, for the positions in errors.
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    pub(super) fn error(&self, offset: usize, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: self.line(offset),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }
}

/// One table, whose keys are taken one after another; what is left at the end is unknown.
pub(super) struct Table<'s, 'd, 'i> {
    source: &'s Source<'s>,
    path: String,
    offset: usize,
    table: &'d DeTable<'i>,
    taken: Vec<&'static str>,
}

/// A value with its position.
pub(super) struct Found<T> {
    pub(super) value: T,
    pub(super) offset: usize,
}

type Take<T> = Result<Option<Found<T>>, ConfigError>;

impl<'s, 'd, 'i> Table<'s, 'd, 'i> {
    pub(super) fn root(source: &'s Source<'s>, table: &'d DeTable<'i>) -> Self {
        Self { source, path: String::new(), offset: 0, table, taken: Vec::new() }
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// An error about the table as a whole.
    pub(super) fn error(&self, reason: impl Into<String>) -> ConfigError {
        self.source.error(self.offset, &self.path, reason)
    }

    /// An error about one key.
    pub(super) fn error_at(
        &self,
        key: &str,
        offset: usize,
        reason: impl Into<String>,
    ) -> ConfigError {
        self.source.error(offset, &self.name(key), reason)
    }

    /// Where the value of a key stands; where the table does for a key that is absent.
    pub(super) fn offset_of(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.offset, |value| value.span().start)
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'i>>> {
        self.taken.push(key);
        self.table.get(key)
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'d DeValue<'i>) -> Option<T>,
    ) -> Take<T> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let offset = value.span().start;
        match convert(value.get_ref()) {
            Some(value) => Ok(Some(Found { value, offset })),
            None => {
                let reason = format!("must be {expected}, not {}", value.get_ref().type_str());
                Err(self.error_at(key, offset, reason))
            }
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Take<String> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string or `true`/`false`, the latter spelled out.
    pub(super) fn string_or_boolean(&mut self, key: &'static str) -> Take<String> {
        self.typed(key, "true, false or a string", |value| {
            value.as_str().map(str::to_owned).or_else(|| value.as_bool().map(|b| b.to_string()))
        })
    }

    pub(super) fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.string(key)?.map(|found| found.value.into()))
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, ConfigError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let found = self.typed(key, &expected, |value| {
            let integer = value.as_integer()?;
            Some(i64::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i64::MAX))
        })?;
        let Some(Found { value, offset }) = found else { return Ok(None) };
        match usize::try_from(value).ok().filter(|value| range.contains(value)) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error_at(key, offset, format!("is {value}; it must be {expected}"))),
        }
    }

    /// A duration as in `24h`, `30s` or `1h 30m`.
    pub(super) fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
        let Some(Found { value, offset }) = self.string(key)? else { return Ok(None) };
        match humantime::parse_duration(&value) {
            Ok(duration) => Ok(Some(duration)),
            Err(err) => Err(self.error_at(
                key,
                offset,
                format!(
                    "`{value}` is not a duration such as \"24h\", \"30s\" or \"1h 30m\": {err}"
                ),
            )),
        }
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Take<Vec<Found<String>>> {
        self.typed(key, "a list of strings", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| {
                    let value = item.get_ref().as_str()?.to_owned();
                    Some(Found { value, offset: item.span().start })
                })
                .collect()
        })
    }

    /// The tables of `[[key]]`.
    pub(super) fn tables(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<Table<'s, 'd, 'i>>, ConfigError> {
        let found = self.typed(key, "one or more tables, [[…]]", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| Some((item.span().start, item.get_ref().as_table()?)))
                .collect::<Option<Vec<_>>>()
        })?;
        let tables = found.map(|found| found.value).unwrap_or_default();
        let numbered = tables.into_iter().enumerate().map(|(index, (offset, table))| Table {
            source: self.source,
            path: format!("{key}[{index}]"),
            offset,
            table,
            taken: Vec::new(),
        });
        Ok(numbered.collect())
    }

    /// The table of `[key]`.
    pub(super) fn table(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Table<'s, 'd, 'i>>, ConfigError> {
        let found = self.typed(key, "a table, […]", DeValue::as_table)?;
        Ok(found.map(|Found { value, offset }| Table {
            source: self.source,
            path: self.name(key),
            offset,
            table: value,
            taken: Vec::new(),
        }))
    }

    /// Refuses what was not taken, naming the nearest key that would have been.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.taken.contains(&name) {
                continue;
            }
            let mut reason = "is not a known key".to_owned();
            match nearest(name, self.taken.iter().copied()) {
                Some(near) => reason.push_str(&format!("; did you mean `{near}`?")),
                None => reason.push_str(&format!("; known are {}", self.taken.join(", "))),
            }
            return Err(self.error_at(name, key.span().start, reason));
        }
        Ok(())
    }
}

/// The candidate that a misspelling was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let typos = (word.len() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= typos)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
