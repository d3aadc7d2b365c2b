//! `[speech]`: the recogniser and the jobs.

use portcullis_speech::SpeechSettings;

use super::reader::{ConfigError, Table};

const MAX_THREADS: usize = 1024;

/// Reads the table; absent keys keep their defaults.
pub(super) fn read(table: Option<Table<'_, '_, '_>>) -> Result<SpeechSettings, ConfigError> {
    let defaults = SpeechSettings::default();
    let Some(mut table) = table else { return Ok(defaults) };
    let settings = SpeechSettings {
        model: table.path("model")?,
        decoding_threads: table
            .integer("decoding_threads", 1..=MAX_THREADS)?
            .unwrap_or(defaults.decoding_threads),
        longest_audio: table.duration("longest_audio")?.unwrap_or(defaults.longest_audio),
    };
    table.finish()?;
    Ok(settings)
}
