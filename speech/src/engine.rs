//! Which recogniser serves the appliance.

use std::{
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    recogniser::Recogniser,
    settings::{Engine, SpeechSettings},
    slots::Slots,
    upstream::Upstream,
};

/// The model that `make model` makes if no other is named.
const DEFAULT_MODEL: &str = "tiny.en";
/// Where a package puts it.
const PACKAGED_MODELS: &str = "/usr/share/portcullis/models";

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
    let path = located(path)?;
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
    use crate::pocketsphinx::{MOST_DECODERS, PocketSphinx};
    let loaded = PocketSphinx::load(slots.clone(), MOST_DECODERS);
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

/// `PORTCULLIS_MODEL`, a path or a name, or the default model if it is there.
pub(crate) fn default_model() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("PORTCULLIS_MODEL") {
        return (!path.is_empty()).then(|| path.into());
    }
    named(DEFAULT_MODEL, &folders())
}

/// Where models are looked for by name: those of a package, and the user's cache.
fn folders() -> Vec<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    let folders =
        [Some(PathBuf::from(PACKAGED_MODELS)), cache.map(|cache| cache.join("portcullis"))];
    folders.into_iter().flatten().collect()
}

/// The file of the model called so, such as `base`: as `make model` names it, or whisper.cpp.
fn named(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let names = [format!("ggml-{name}-q8_0.bin"), format!("ggml-{name}.bin")];
    let paths = folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
    paths.into_iter().find(|path| path.is_file())
}

/// The file that is meant: by its name, or by its path.
#[cfg(feature = "whisper")]
fn located(model: PathBuf) -> Result<PathBuf, String> {
    let Some(name) = as_name(&model) else { return Ok(model) };
    let folders = folders();
    named(name, &folders).ok_or_else(|| {
        let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        format!(
            "there is no model {name:?} in {}; get it with `make model MODEL={name}`, or give the path of a ggml model of Whisper as `model` below [speech] in the configuration, and start the appliance again",
            shown.join(" or ")
        )
    })
}

/// `base` is a name; what lies somewhere, or ends in `.bin`, is a path.
#[cfg(feature = "whisper")]
fn as_name(model: &Path) -> Option<&str> {
    let mut components = model.components();
    let single = matches!(components.next(), Some(Component::Normal(_)));
    let is_path = !single
        || components.next().is_some()
        || model.extension().is_some_and(|extension| extension == "bin")
        || model.is_file();
    if is_path { None } else { model.to_str() }
}

#[cfg(all(test, feature = "whisper"))]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_of_models_are_told_apart() {
        for name in ["base", "tiny.en", "large-v3-turbo"] {
            assert_eq!(as_name(Path::new(name)), Some(name));
        }
        for path in ["/models/base", "models/base", "./base", "base.bin", "..", ""] {
            assert_eq!(as_name(Path::new(path)), None, "{path:?}");
        }
    }

    #[test]
    fn a_model_is_found_by_name_in_the_first_folder_that_has_it() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [first.path().to_owned(), second.path().to_owned()];
        let made = second.path().join("ggml-base-q8_0.bin");
        std::fs::write(&made, "").unwrap();
        std::fs::write(second.path().join("ggml-small.bin"), "").unwrap();
        assert_eq!(named("base", &folders), Some(made));
        assert_eq!(named("small", &folders), Some(second.path().join("ggml-small.bin")));
        assert_eq!(named("bas", &folders), None);
        let nearer = first.path().join("ggml-base.bin");
        std::fs::write(&nearer, "").unwrap();
        assert_eq!(named("base", &folders), Some(nearer));
    }

    #[test]
    fn a_model_that_is_not_there_is_told_how_to_get_it() {
        let told = located("not-there".into()).unwrap_err();
        assert!(told.contains("make model MODEL=not-there") && told.contains("models"), "{told}");
    }
}
