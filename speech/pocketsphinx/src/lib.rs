//! A decoder of PocketSphinx 0.8+5prealpha behind safe calls.

use std::{
    ffi::{CStr, CString, c_char, c_double, c_int, c_void},
    path::Path,
    ptr::{NonNull, null_mut},
};

/// Frames in a second.
const FRAME_RATE: f64 = 100.0;

/// The functions that are needed, as in pocketsphinx.h, cmd_ln.h, err.h and logmath.h.
mod ffi {
    use super::{c_char, c_double, c_int, c_void};

    /// What the library keeps behind its pointers.
    #[repr(C)]
    pub(crate) struct Opaque {
        _private: [u8; 0],
    }

    unsafe extern "C" {
        pub(crate) fn err_set_logfp(file: *mut c_void);
        pub(crate) fn ps_args() -> *const c_void;
        pub(crate) fn cmd_ln_parse_r(
            into: *mut Opaque,
            definitions: *const c_void,
            count: i32,
            arguments: *const *const c_char,
            strict: i32,
        ) -> *mut Opaque;
        pub(crate) fn cmd_ln_free_r(config: *mut Opaque) -> c_int;
        pub(crate) fn ps_init(config: *mut Opaque) -> *mut Opaque;
        pub(crate) fn ps_free(decoder: *mut Opaque) -> c_int;
        pub(crate) fn ps_start_stream(decoder: *mut Opaque) -> c_int;
        pub(crate) fn ps_start_utt(decoder: *mut Opaque) -> c_int;
        pub(crate) fn ps_process_raw(
            decoder: *mut Opaque,
            samples: *const i16,
            count: usize,
            no_search: c_int,
            whole: c_int,
        ) -> c_int;
        pub(crate) fn ps_end_utt(decoder: *mut Opaque) -> c_int;
        pub(crate) fn ps_get_logmath(decoder: *mut Opaque) -> *mut Opaque;
        pub(crate) fn ps_seg_iter(decoder: *mut Opaque) -> *mut Opaque;
        pub(crate) fn ps_seg_next(segment: *mut Opaque) -> *mut Opaque;
        pub(crate) fn ps_seg_word(segment: *mut Opaque) -> *const c_char;
        pub(crate) fn ps_seg_frames(segment: *mut Opaque, first: *mut c_int, last: *mut c_int);
        pub(crate) fn ps_seg_prob(
            segment: *mut Opaque,
            acoustic: *mut i32,
            language: *mut i32,
            backoff: *mut i32,
        ) -> i32;
        pub(crate) fn logmath_exp(logmath: *mut Opaque, value: c_int) -> c_double;
    }
}

/// A word and its place in the utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    pub text: String,
    /// Seconds from the start of the utterance.
    pub start: f64,
    pub end: f64,
    /// The posterior probability; `None` while the utterance goes on.
    pub confidence: Option<f64>,
}

/// A decoder. It shares nothing with others: each takes about 100 MB and has its own idea of the
/// speaker, so that one speaker does not change what is heard of another.
pub struct Decoder {
    decoder: NonNull<ffi::Opaque>,
    /// Whether an utterance goes on.
    open: bool,
}

// SAFETY: the decoder has no ties to the thread that made it, and `&mut self` keeps it to one
// thread at a time.
unsafe impl Send for Decoder {}

impl Decoder {
    /// Reads the model in `folder`: `en-us`, `en-us.lm.bin` and `cmudict-en-us.dict`. Takes about
    /// 0.3 s.
    ///
    /// # Errors
    /// A text: the model is not there or not whole.
    pub fn new(folder: &Path) -> Result<Self, String> {
        let part = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            "portcullis".to_owned(),
            "-hmm".into(),
            part("en-us"),
            "-lm".into(),
            part("en-us.lm.bin"),
            "-dict".into(),
            part("cmudict-en-us.dict"),
        ];
        let arguments: Result<Vec<CString>, _> = arguments.into_iter().map(CString::new).collect();
        let arguments = arguments.map_err(|_| "the path of the model holds a NUL".to_owned())?;
        let pointers: Vec<*const c_char> = arguments.iter().map(|text| text.as_ptr()).collect();
        // SAFETY: the pointers are valid C strings for the whole call, which copies them; a null
        // file only silences the log. The configuration is freed once; the decoder holds its own
        // reference to it.
        let decoder = unsafe {
            ffi::err_set_logfp(null_mut());
            let count = pointers.len() as i32;
            let config =
                ffi::cmd_ln_parse_r(null_mut(), ffi::ps_args(), count, pointers.as_ptr(), 1);
            if config.is_null() {
                return Err("PocketSphinx does not take its configuration".into());
            }
            let decoder = ffi::ps_init(config);
            ffi::cmd_ln_free_r(config);
            NonNull::new(decoder)
        };
        let decoder = decoder
            .ok_or_else(|| format!("PocketSphinx cannot read a model in {}", folder.display()))?;
        // SAFETY: the decoder was just made.
        unsafe { ffi::ps_start_stream(decoder.as_ptr()) };
        Ok(Self { decoder, open: false })
    }

    /// Hears samples: 16 kHz, mono. Begins an utterance if none goes on.
    ///
    /// # Errors
    /// A text: the library refused them.
    pub fn process(&mut self, samples: &[i16]) -> Result<(), String> {
        let decoder = self.decoder.as_ptr();
        // SAFETY: the decoder lives as long as `self`; the samples are read during the call.
        let done = unsafe {
            if !self.open && ffi::ps_start_utt(decoder) < 0 {
                return Err("PocketSphinx does not begin an utterance".into());
            }
            self.open = true;
            ffi::ps_process_raw(decoder, samples.as_ptr(), samples.len(), 0, 0)
        };
        if done < 0 { Err("PocketSphinx does not take the samples".into()) } else { Ok(()) }
    }

    /// Ends the utterance; gives its words.
    ///
    /// # Errors
    /// A text: the library failed.
    pub fn end(&mut self) -> Result<Vec<Word>, String> {
        if !self.open {
            return Ok(Vec::new());
        }
        self.open = false;
        // SAFETY: as above.
        let done = unsafe { ffi::ps_end_utt(self.decoder.as_ptr()) };
        if done < 0 {
            Err("PocketSphinx does not end the utterance".into())
        } else {
            Ok(self.words())
        }
    }

    /// The words of the utterance as they look now.
    #[must_use]
    pub fn words(&self) -> Vec<Word> {
        let decoder = self.decoder.as_ptr();
        let mut words = Vec::new();
        // SAFETY: the iterator is valid until `ps_seg_next` returns null, which also frees it; the
        // word belongs to the dictionary, which lives as long as the decoder.
        unsafe {
            let logmath = ffi::ps_get_logmath(decoder);
            let mut segment = ffi::ps_seg_iter(decoder);
            while !segment.is_null() {
                let text = ffi::ps_seg_word(segment);
                let text =
                    if text.is_null() { "".into() } else { CStr::from_ptr(text).to_string_lossy() };
                let (mut first, mut last) = (0, 0);
                ffi::ps_seg_frames(segment, &raw mut first, &raw mut last);
                let probability = ffi::ps_seg_prob(segment, null_mut(), null_mut(), null_mut());
                if let Some(text) = spoken(&text) {
                    words.push(Word {
                        text: text.to_owned(),
                        start: f64::from(first) / FRAME_RATE,
                        end: f64::from(last + 1) / FRAME_RATE,
                        confidence: (!self.open).then(|| ffi::logmath_exp(logmath, probability)),
                    });
                }
                segment = ffi::ps_seg_next(segment);
            }
        }
        words
    }
}

/// The word without the number of its pronunciation (`read(2)`); nothing for fillers such as
/// `<sil>`, `[NOISE]` and `++UH++`.
fn spoken(text: &str) -> Option<&str> {
    let word = text.split('(').next().unwrap_or_default();
    (!word.is_empty() && !word.starts_with(['<', '[', '+'])).then_some(word)
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: nobody else has the pointer.
        unsafe { ffi::ps_free(self.decoder.as_ptr()) };
    }
}
