//! `[speech]`: the recogniser and the jobs.

use portcullis_speech::{SpeechSettings, upstream::UpstreamSettings};

use super::reader::{ConfigError, Table};

const MAX_THREADS: usize = 1024;
const MAX_WAITING: usize = 1_000_000;

/// Reads the table; absent keys keep their defaults.
pub(super) fn read(table: Option<Table<'_, '_, '_>>) -> Result<SpeechSettings, ConfigError> {
    let defaults = SpeechSettings::default();
    let Some(mut table) = table else { return Ok(defaults) };
    let settings = SpeechSettings {
        engine: match table.string("engine")? {
            Some(found) => {
                let engine = found.value.parse();
                let engine = engine.map_err(|known: &str| {
                    table.error_at("engine", found.offset, format!("{:?}: {known}", found.value))
                })?;
                Some(engine)
            }
            None => None,
        },
        upstream: upstream(&mut table)?,
        model: table.path("model")?,
        decoding_threads: table
            .integer("decoding_threads", 1..=MAX_THREADS)?
            .unwrap_or(defaults.decoding_threads),
        longest_audio: table.duration("longest_audio")?.unwrap_or(defaults.longest_audio),
        most_waiting_jobs: table
            .integer("most_waiting_jobs", 1..=MAX_WAITING)?
            .unwrap_or(defaults.most_waiting_jobs),
    };
    table.finish()?;
    Ok(settings)
}

/// The keys about the upstream; none of the others makes sense without its address.
fn upstream(table: &mut Table<'_, '_, '_>) -> Result<Option<UpstreamSettings>, ConfigError> {
    let url = table.string("upstream")?;
    let languages = table.strings("upstream_languages")?;
    let ca = table.path("upstream_ca")?;
    let token_file = table.path("upstream_token_file")?;
    let Some(url) = url else {
        if languages.is_some() || ca.is_some() || token_file.is_some() {
            return Err(table.error(
                "upstream_languages, upstream_ca and upstream_token_file need upstream = \"ws://…\"",
            ));
        }
        return Ok(None);
    };
    let languages = languages.map_or_else(
        || vec!["en".to_owned()],
        |found| found.value.into_iter().map(|language| language.value).collect(),
    );
    Ok(Some(UpstreamSettings { url: url.value, languages, ca, token_file }))
}
