//! Reads a TOML table key by key, so that every error can name file, line and key. Services read their
//! own tables with it, the program all others.

use std::{path::PathBuf, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// What is wrong with a configuration, where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {key}: {reason}")]
pub struct ConfigError {
    /// The path of the file, as it was given.
    pub file: String,
    /// From 1 on; 0: the file as a whole.
    pub line: usize,
    /// With the tables around it, as in `listener[0].tls`.
    pub key: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// A file's text and name, for the positions in errors.
pub struct Source<'a> {
    /// The path, for errors.
    pub file: &'a str,
    /// All of it.
    pub text: &'a str,
}

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
    }

    /// An error about the key that stands at `offset`.
    #[must_use]
    pub fn error(&self, offset: usize, key: &str, reason: impl Into<String>) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: self.line(offset),
            key: key.to_owned(),
            reason: reason.into(),
        }
    }
}

/// One table, whose keys are taken one after another; what is left at the end is unknown. A key that is
/// absent is `None`, never an error.
///
/// ```
/// use std::time::Duration;
///
/// use portcullis::{ConfigError, Table};
///
/// fn patience(table: &mut Table<'_>) -> Result<Duration, ConfigError> {
///     let most = Duration::from_secs(60);
///     let patience = table.duration("patience")?.unwrap_or(most);
///     if patience > most {
///         return Err(table.error_at("patience", table.offset_of("patience"), "is above 60s"));
///     }
///     Ok(patience)
/// }
/// # let _ = patience;
/// ```
pub struct Table<'d> {
    source: &'d Source<'d>,
    path: String,
    offset: usize,
    /// `None`: it is not in the file.
    table: Option<&'d DeTable<'d>>,
    taken: Vec<&'static str>,
}

/// A value with its position.
pub struct Found<T> {
    /// What it is.
    pub value: T,
    /// Where it stands, for [`Table::error_at`].
    pub offset: usize,
}

impl<'d> Table<'d> {
    /// The outermost table of a file.
    #[doc(hidden)] // For the program that reads the configuration, as the next.
    #[must_use]
    pub fn root(source: &'d Source<'d>, table: &'d DeTable<'d>) -> Self {
        Self { source, path: String::new(), offset: 0, table: Some(table), taken: Vec::new() }
    }

    /// The table `path`, which the file does not have: every key is absent.
    #[doc(hidden)]
    #[must_use]
    pub fn absent(source: &'d Source<'d>, path: &str) -> Self {
        Self { source, path: path.to_owned(), offset: 0, table: None, taken: Vec::new() }
    }

    /// Whether the file has it.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// What the file has of it.
    #[doc(hidden)] // For the program, which compares two files.
    #[must_use]
    pub fn contents(&self) -> Option<&'d DeTable<'d>> {
        self.table
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// An error about the table as a whole.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>) -> ConfigError {
        self.source.error(self.offset, &self.path, reason)
    }

    /// An error about one key, or about what stands at `offset` below it.
    #[must_use]
    pub fn error_at(&self, key: &str, offset: usize, reason: impl Into<String>) -> ConfigError {
        self.source.error(offset, &self.name(key), reason)
    }

    /// Where the value of a key stands; where the table does for a key that is absent.
    #[must_use]
    pub fn offset_of(&self, key: &str) -> usize {
        self.table.and_then(|table| table.get(key)).map_or(self.offset, |value| value.span().start)
    }

    fn take(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        if !self.taken.contains(&key) {
            self.taken.push(key);
        }
        self.table?.get(key)
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(&'d DeValue<'d>) -> Option<T>,
    ) -> Result<Option<Found<T>>, ConfigError> {
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

    /// A string.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&mut self, key: &'static str) -> Result<Option<Found<String>>, ConfigError> {
        self.typed(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// A string or `true`/`false`, the latter spelled out.
    ///
    /// # Errors
    /// It is something else.
    pub fn string_or_boolean(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Found<String>>, ConfigError> {
        self.typed(key, "true, false or a string", |value| {
            value.as_str().map(str::to_owned).or_else(|| value.as_bool().map(|b| b.to_string()))
        })
    }

    /// The path of a file or folder.
    ///
    /// # Errors
    /// It is not a string.
    pub fn path(&mut self, key: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        Ok(self.string(key)?.map(|found| found.value.into()))
    }

    /// A whole number in `range`.
    ///
    /// # Errors
    /// It is something else, or out of range.
    pub fn integer(
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
    ///
    /// # Errors
    /// It is something else.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, ConfigError> {
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

    /// A list of strings.
    ///
    /// # Errors
    /// It is something else.
    pub fn strings(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Found<Vec<Found<String>>>>, ConfigError> {
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
    ///
    /// # Errors
    /// It is something else.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Table<'d>>, ConfigError> {
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
            table: Some(table),
            taken: Vec::new(),
        });
        Ok(numbered.collect())
    }

    /// The table of `[key]`.
    ///
    /// # Errors
    /// It is something else.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Table<'d>>, ConfigError> {
        let found = self.typed(key, "a table, […]", DeValue::as_table)?;
        Ok(found.map(|Found { value, offset }| Table {
            source: self.source,
            path: self.name(key),
            offset,
            table: Some(value),
            taken: Vec::new(),
        }))
    }

    /// Refuses what was not taken, naming the nearest key that would have been.
    ///
    /// # Errors
    /// There is such a key.
    pub fn finish(self) -> Result<(), ConfigError> {
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name: &str = key.get_ref();
            if self.taken.contains(&name) {
                continue;
            }
            let mut reason = "is not a known key".to_owned();
            match nearest(name, self.taken.iter().copied()) {
                Some(near) => reason.push_str(&format!("; did you mean `{near}`?")),
                None if self.taken.is_empty() => reason.push_str("; this table has none"),
                None => reason.push_str(&format!("; known are {}", self.taken.join(", "))),
            }
            return Err(self.error_at(name, key.span().start, reason));
        }
        Ok(())
    }
}

/// The candidate that a misspelling was probably meant to be.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let typos = (word.len() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= typos)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What `read` makes of the table `name` of `text`, a file called `test.toml`.
    pub(crate) fn read_table<T>(
        text: &str,
        name: &'static str,
        read: impl FnOnce(&mut Table<'_>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let source = Source { file: "test.toml", text };
        let document = DeTable::parse(text).expect("TOML");
        let mut root = Table::root(&source, document.get_ref());
        let mut table = root.table(name)?.unwrap_or_else(|| Table::absent(&source, name));
        root.finish()?;
        let read = read(&mut table)?;
        table.finish()?;
        Ok(read)
    }
}
