//! The recogniser, which the batch and the realtime service share, and `[speech]`, which says what it is.

use std::sync::{Arc, OnceLock};

use portcullis_speech::{RecogniserState, Speech, SpeechSettings, upstream::UpstreamSettings};

use crate::service::{
    Health, Languages,
    table::{ConfigError, Table},
};

const MAX_THREADS: usize = 1024;
const MAX_WAITING: usize = 1_000_000;

/// The name of the table.
pub(crate) const TABLE: &str = "speech";

/// Where the speech side stands once one of the services has started it. Cheap to clone.
#[derive(Clone, Default)]
pub struct SpeechRoom(Arc<OnceLock<Arc<Speech>>>);

impl SpeechRoom {
    /// Starts the speech side, unless the other service has done so.
    pub(crate) fn start(&self, settings: &SpeechSettings) -> Arc<Speech> {
        self.0.get_or_init(|| Speech::start(settings.clone())).clone()
    }
}

/// A speech service is as its recogniser is.
pub(crate) fn health(speech: &Speech) -> Health {
    match speech.recogniser() {
        RecogniserState::Ready(_) => Health::good(),
        RecogniserState::Loading => Health::good().with_warning("the speech model is being read"),
        RecogniserState::Unavailable(reason) => Health::good().with_error(reason),
    }
}

/// The languages of the recogniser; none before its model has been read.
pub(crate) fn languages(speech: &Speech) -> Languages {
    let recogniser = speech.recogniser().ready();
    let info = recogniser.as_ref().map(|recogniser| recogniser.info());
    info.map(|info| Languages { codes: info.languages.clone(), identifies: info.identifies })
        .unwrap_or_default()
}

/// Reads the table; absent keys keep their defaults.
pub(crate) fn read(table: &mut Table<'_>) -> Result<SpeechSettings, ConfigError> {
    let defaults = SpeechSettings::default();
    Ok(SpeechSettings {
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
        upstream: upstream(table)?,
        model: table.path("model")?,
        decoding_threads: table
            .integer("decoding_threads", 1..=MAX_THREADS)?
            .unwrap_or(defaults.decoding_threads),
        longest_audio: table.duration("longest_audio")?.unwrap_or(defaults.longest_audio),
        most_waiting_jobs: table
            .integer("most_waiting_jobs", 1..=MAX_WAITING)?
            .unwrap_or(defaults.most_waiting_jobs),
    })
}

/// The keys about the upstream; none of the others makes sense without its address.
fn upstream(table: &mut Table<'_>) -> Result<Option<UpstreamSettings>, ConfigError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::table::tests::read_table;

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            (
                "speech.engine = \"vosk\"",
                "speech.engine: \"vosk\": the engines are whisper, pocketsphinx and upstream",
            ),
            ("speech.upstream_languages = [\"de\"]", "need upstream = \"ws://…\""),
        ] {
            let message = read_table(text, TABLE, read).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
