//! Whisper by whisper.cpp: a ggml model, one copy of its weights for all sessions.

mod decoder;
mod segments;
mod session;
mod sounds;
mod states;
#[cfg(test)]
mod tests;
mod times;
mod vocabulary;
mod words;

use std::path::Path;

use whisper_rs::{WhisperContext, WhisperContextParameters};

use self::{decoder::Decoder, session::WhisperSession, states::States};
use crate::{
    recogniser::{Cancel, Recogniser, RecogniserError, RecogniserInfo, Session, SessionOptions},
    regular,
    slots::{Slots, Urgency},
};

/// Whether the engine was built for processors with AVX2; see `.cargo/config.toml`.
const BUILT_FOR_AVX2: bool = matches!(option_env!("GGML_AVX2"), Some(on) if on.len() == 2);

/// The header of a model: magic, tokens, encoder positions, width …
const GGML_MAGIC: i32 = 0x6767_6d6c;
const VOCABULARIES: std::ops::RangeInclusive<i32> = 51_864..=51_866;
/// What is in the vocabulary of a model of several languages besides a token for each of them.
const MULTILINGUAL_TOKENS: i32 = 51_766;
const AUDIO_CONTEXT: i32 = 1500;
/// The smallest model, in its smallest form, has more bytes than this.
const LEAST_MODEL: u64 = 10 << 20;

/// A loaded model.
pub struct Whisper {
    states: States,
    info: RecogniserInfo,
    slots: Slots,
}

/// Why there is no recogniser.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the model {path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("the model {0} is not a Whisper model in ggml form, or it is damaged")]
    Model(String),
    #[error(
        "the recogniser was built for processors with AVX2, FMA, F16C and BMI2, which this one lacks; build it again with GGML_AVX=OFF GGML_AVX2=OFF GGML_FMA=OFF GGML_F16C=OFF GGML_BMI2=OFF"
    )]
    Processor,
}

impl Whisper {
    /// Reads a model; takes a tenth of a second for a small one. Blocks. Decodes take a slot each.
    ///
    /// # Errors
    /// The file is missing or no ggml model, or the engine was built for another processor.
    pub fn load(path: &Path, slots: Slots) -> Result<Self, LoadError> {
        check_processor()?;
        // Without the hooks whisper.cpp writes to standard error.
        whisper_rs::install_logging_hooks();
        check_file(path)?;
        let shown = || path.display().to_string();
        let context = WhisperContext::new_with_params(path, WhisperContextParameters::default())
            .map_err(|_| LoadError::Model(shown()))?;
        let identifies = context.is_multilingual();
        let languages: Vec<String> = if identifies {
            // The engine counts those of the newest models; the others lack the last ones, and
            // would take the word for them for another.
            let count = usize::try_from(context.n_vocab() - MULTILINGUAL_TOKENS).unwrap_or(0);
            let ids = (0..=whisper_rs::get_lang_max_id()).take(count);
            ids.filter_map(whisper_rs::get_lang_str).map(str::to_owned).collect()
        } else {
            vec!["en".to_owned()]
        };
        let model = path.file_name().map_or_else(shown, |name| name.to_string_lossy().into_owned());
        let info = RecogniserInfo { engine: "whisper", model, languages, identifies };
        Ok(Self { states: States::new(context), info, slots })
    }
}

impl Recogniser for Whisper {
    fn info(&self) -> &RecogniserInfo {
        &self.info
    }

    fn begin(&self, options: SessionOptions) -> Result<Box<dyn Session>, RecogniserError> {
        let id = self.info.code_of(&options.language).and_then(whisper_rs::get_lang_id);
        let language =
            id.and_then(whisper_rs::get_lang_str).ok_or_else(|| RecogniserError::Language {
                language: options.language.clone(),
                known: self.info.languages.join(", "),
            })?;
        let states = self.states.clone();
        let decoder = Decoder::new(states, language, &options, self.slots.clone());
        Ok(Box::new(WhisperSession::new(decoder, &options)))
    }

    fn identify(&self, speech: &[f32], cancel: &Cancel) -> Result<Vec<f32>, RecogniserError> {
        let _slot = self.slots.acquire(Urgency::Batch, cancel)?;
        // One that has decoded keeps how much of a window it looks at, and what it tells would
        // depend on that.
        let mut state = self.states.fresh()?;
        state.pcm_to_mel(speech, 1).map_err(|err| engine(&err))?;
        let (_, mut probabilities) = state.lang_detect(0, 1).map_err(|err| engine(&err))?;
        cancel.check()?;
        probabilities.truncate(self.info.languages.len());
        Ok(probabilities)
    }
}

fn engine(err: &whisper_rs::WhisperError) -> RecogniserError {
    RecogniserError::Engine(err.to_string())
}

/// The C++ side trusts the sizes in a model, so what is plainly none is not handed to it.
fn check_file(path: &Path) -> Result<(), LoadError> {
    let shown = || path.display().to_string();
    let read = |source| LoadError::Read { path: shown(), source };
    let mut file = regular::open(path).map_err(read)?;
    let length = file.metadata().map_err(read)?.len();
    let mut header = [0; 16];
    let whole = std::io::Read::read_exact(&mut file, &mut header).is_ok();
    let number = |index: usize| {
        let bytes = [0, 1, 2, 3].map(|byte| header[index * 4 + byte]);
        i32::from_le_bytes(bytes)
    };
    let plausible = number(0) == GGML_MAGIC
        && VOCABULARIES.contains(&number(1))
        && number(2) == AUDIO_CONTEXT
        && (64..=8192).contains(&number(3))
        && length > LEAST_MODEL;
    if whole && plausible { Ok(()) } else { Err(LoadError::Model(shown())) }
}

fn check_processor() -> Result<(), LoadError> {
    #[cfg(target_arch = "x86_64")]
    let able = std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("f16c")
        && std::arch::is_x86_feature_detected!("bmi2");
    // The flags mean nothing elsewhere.
    #[cfg(not(target_arch = "x86_64"))]
    let able = true;
    fits(BUILT_FOR_AVX2, able)
}

fn fits(built_for_avx2: bool, able: bool) -> Result<(), LoadError> {
    if built_for_avx2 && !able { Err(LoadError::Processor) } else { Ok(()) }
}
