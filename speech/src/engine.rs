//! Which recogniser serves the appliance.

use std::{path::PathBuf, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{SpeechSettings, recogniser::Recogniser, slots::Slots, upstream::Upstream};

/// The model that `make model` makes.
const DEFAULT_MODEL: &str = "ggml-tiny.en-q8_0.bin";
/// Where a package puts it.
const PACKAGED_MODELS: &str = "/usr/share/portcullis/models";

/// The recognisers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// whisper.cpp with a ggml model.
    Whisper,
    /// PocketSphinx with the English model of Debian.
    PocketSphinx,
    /// Another server of the realtime protocol.
    Upstream,
}

impl FromStr for Engine {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "whisper" => Ok(Self::Whisper),
            "pocketsphinx" => Ok(Self::PocketSphinx),
            "upstream" => Ok(Self::Upstream),
            _ => Err("the engines are whisper, pocketsphinx and upstream"),
        }
    }
}

/// Makes the recogniser ready. Errors are texts for people that say what to do. Blocks.
pub(crate) fn load(
    settings: &SpeechSettings,
    slots: &Slots,
) -> Result<Arc<dyn Recogniser>, String> {
    let SpeechSettings { engine, model, upstream, .. } = settings.clone();
    let engine = engine.unwrap_or_else(|| match (&upstream, &model) {
        (Some(_), _) => Engine::Upstream,
        (None, Some(_)) => Engine::Whisper,
        (None, None) if default_model().is_none() && pocketsphinx_is_there() => {
            Engine::PocketSphinx
        }
        (None, None) => Engine::Whisper,
    });
    match engine {
        Engine::Whisper => whisper(model, slots),
        Engine::PocketSphinx => pocketsphinx(slots),
        Engine::Upstream => {
            let settings = upstream.ok_or("the engine is the upstream, but none is given; set `upstream = \"ws://…\"` below [speech] and start the appliance again")?;
            let upstream = Upstream::new(settings);
            Ok(Arc::new(upstream.map_err(|err| {
                format!("{err}; correct it below [speech] and start the appliance again")
            })?))
        }
    }
}

#[cfg(feature = "whisper")]
fn whisper(configured: Option<PathBuf>, slots: &Slots) -> Result<Arc<dyn Recogniser>, String> {
    let path = configured.or_else(default_model).ok_or(
        "there is no speech model; get the default one with `make model`, or name a ggml model of Whisper as `model` below [speech] in the configuration, and start the appliance again",
    )?;
    let loaded = crate::whisper::Whisper::load(&path, slots.clone());
    let whisper = loaded.map_err(|err| {
        format!("{err}; name a ggml model of Whisper as `model` below [speech] in the configuration and start the appliance again")
    })?;
    Ok(Arc::new(whisper))
}

#[cfg(not(feature = "whisper"))]
fn whisper(_: Option<PathBuf>, _: &Slots) -> Result<Arc<dyn Recogniser>, String> {
    Err("this appliance was built without Whisper; build it with the feature `whisper`".into())
}

#[cfg(feature = "pocketsphinx")]
fn pocketsphinx(slots: &Slots) -> Result<Arc<dyn Recogniser>, String> {
    let loaded = crate::pocketsphinx::PocketSphinx::load(slots.clone());
    log::warn!("PocketSphinx mistakes about one word in three; a model of Whisper is far better");
    Ok(Arc::new(loaded.map_err(|err| err.to_string())?))
}

#[cfg(not(feature = "pocketsphinx"))]
fn pocketsphinx(_: &Slots) -> Result<Arc<dyn Recogniser>, String> {
    Err("this appliance was built without PocketSphinx; build it with the feature `pocketsphinx`"
        .into())
}

#[cfg(feature = "pocketsphinx")]
fn pocketsphinx_is_there() -> bool {
    crate::pocketsphinx::PocketSphinx::is_installed()
}

#[cfg(not(feature = "pocketsphinx"))]
fn pocketsphinx_is_there() -> bool {
    false
}

/// `PORTCULLIS_MODEL`, the packaged model, or the one in the user's cache.
pub(crate) fn default_model() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PORTCULLIS_MODEL") {
        return (!path.is_empty()).then(|| path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folders =
        [Some(PathBuf::from(PACKAGED_MODELS)), cache.map(|cache| cache.join("portcullis"))];
    let paths = folders.into_iter().flatten().map(|folder| folder.join(DEFAULT_MODEL));
    paths.into_iter().find(|path| path.is_file())
}
