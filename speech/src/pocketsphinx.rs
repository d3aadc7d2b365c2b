//! PocketSphinx with the English model of Debian: for machines without a model of Whisper. It
//! hears frame by frame, knows no marks and no capitals, and mistakes one word in three.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis_pocketsphinx::Decoder;

use crate::{
    cutter::{Cutter, CutterSettings, Window},
    measures::{Measures, Meter},
    recogniser::{
        Cancel, Clock, Heard, LiveOptions, Recogniser, RecogniserError, RecogniserInfo,
        SAMPLE_RATE, Session, SessionOptions, Word,
    },
    silence::Standing,
    slots::{Slots, Urgency},
    telling::{ByTheClock, Telling, seconds},
};

/// Where Debian's pocketsphinx-en-us puts its model.
const MODEL: &str = "/usr/share/pocketsphinx/model/en-us";
/// How many sessions there may be at once where nobody says otherwise: each decoder takes about
/// 100 MB and shares nothing.
pub const MOST_DECODERS: usize = 16;
/// How often a job looks whether a decoder is free.
const LOOK: Duration = Duration::from_millis(100);
/// What is told of words that become final before the utterance ends, when the engine knows no
/// probability yet.
const UNKNOWN: f64 = 0.5;
/// A word on which two looks agree still waits for this part of the delay that it may have.
const PATIENCE: f64 = 0.5;

/// The recogniser; every session has a decoder of its own.
pub struct PocketSphinx {
    folder: PathBuf,
    info: RecogniserInfo,
    slots: Slots,
    decoders: Arc<AtomicUsize>,
    most_decoders: usize,
}

/// Why there is no recogniser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the model of PocketSphinx is not in {0}; install the Debian package pocketsphinx-en-us and start the appliance again"
)]
pub struct NoModel(String);

impl PocketSphinx {
    /// Whether the model is installed.
    #[must_use]
    pub fn is_installed() -> bool {
        Path::new(MODEL).join("en-us.lm.bin").is_file()
    }

    /// Looks for the model. Decodes take a slot each.
    ///
    /// # Errors
    /// It is not installed.
    pub fn load(slots: Slots, most_decoders: usize) -> Result<Self, NoModel> {
        if !Self::is_installed() {
            return Err(NoModel(MODEL.to_owned()));
        }
        let info = RecogniserInfo {
            engine: "pocketsphinx",
            model: "en-us".into(),
            languages: vec!["en".into()],
            identifies: false,
        };
        Ok(Self { folder: MODEL.into(), info, slots, decoders: Arc::default(), most_decoders })
    }

    /// The right to one more decoder. A job waits for it, a live session does not.
    fn admit(&self, options: &SessionOptions) -> Result<Admission, RecogniserError> {
        loop {
            options.cancel.check()?;
            let more = |count: usize| (count < self.most_decoders).then_some(count + 1);
            if self.decoders.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok() {
                return Ok(Admission(self.decoders.clone()));
            }
            if options.live.is_some() {
                return Err(RecogniserError::Engine(format!(
                    "all {} decoders are in use; try again later",
                    self.most_decoders
                )));
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Recogniser for PocketSphinx {
    fn info(&self) -> &RecogniserInfo {
        &self.info
    }

    fn begin(&self, options: SessionOptions) -> Result<Box<dyn Session>, RecogniserError> {
        if !self.info.languages.contains(&options.language) {
            let known = self.info.languages.join(", ");
            return Err(RecogniserError::Language { language: options.language, known });
        }
        let admission = self.admit(&options)?;
        let decoder = Decoder::new(&self.folder).map_err(RecogniserError::Engine)?;
        let settings = CutterSettings::live(&options.live.clone().unwrap_or_default());
        Ok(Box::new(PocketSphinxSession {
            decoder,
            _admission: admission,
            slots: self.slots.clone(),
            cancel: options.cancel,
            telling: Telling::new(options.live, options.clock.now()),
            clock: options.clock,
            cutter: Cutter::new(settings),
            utterance: None,
            decoded: 0,
            looked: 0,
            meter: Meter::default(),
        }))
    }
}

struct Admission(Arc<AtomicUsize>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct PocketSphinxSession {
    decoder: Decoder,
    _admission: Admission,
    slots: Slots,
    cancel: Cancel,
    clock: Clock,
    telling: Telling,
    cutter: Cutter,
    /// Where the decoder's utterance began, in samples of the stream; `None` before it begins.
    utterance: Option<u64>,
    /// Up to where the decoder has heard the stream.
    decoded: u64,
    /// The end of the audio when its words were last looked at.
    looked: u64,
    meter: Meter,
}

impl PocketSphinxSession {
    /// Lets the decoder hear what it has not heard of samples that begin at `start`.
    fn decode(&mut self, start: u64, samples: &[f32]) -> Result<(), RecogniserError> {
        let known = self.decoded.saturating_sub(start) as usize;
        let Some(fresh) = samples.get(known..).filter(|fresh| !fresh.is_empty()) else {
            return Ok(());
        };
        self.utterance.get_or_insert(start + known as u64);
        let fresh: Vec<i16> = fresh.iter().map(|sample| (sample * 32767.0) as i16).collect();
        let urgency = if self.telling.live.is_some() { Urgency::Realtime } else { Urgency::Batch };
        let asked = self.clock.now();
        let slot = self.slots.acquire(urgency, &self.cancel)?;
        self.meter.waited(self.clock.now().duration_since(asked));
        self.decoder.process(&fresh).map_err(RecogniserError::Engine)?;
        drop(slot);
        self.decoded = start + samples.len() as u64;
        Ok(())
    }

    fn words(&self, words: Vec<portcullis_pocketsphinx::Word>) -> Vec<Word> {
        let offset = seconds(self.utterance.unwrap_or(self.decoded));
        let words = words.into_iter().map(|word| Word {
            text: word.text,
            start: offset + word.start,
            end: offset + word.end.max(word.start),
            confidence: word.confidence.unwrap_or(UNKNOWN).clamp(0.0, 1.0) as f32,
        });
        words.collect()
    }

    /// Tells what the open window sounds like, if it is time.
    fn look(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        let Some(open) = self.cutter.open() else { return Ok(Vec::new()) };
        let (start, samples) = (open.start, open.samples.to_vec());
        self.decode(start, &samples)?;
        let Some(live) = self.telling.live.clone() else { return Ok(Vec::new()) };
        if !self.telling.pace.is_due(self.clock.now(), &live) {
            return Ok(Vec::new());
        }
        self.look_now(&live, 0.0)
    }
}

impl ByTheClock for PocketSphinxSession {
    fn telling(&mut self) -> &mut Telling {
        &mut self.telling
    }

    fn cutter(&mut self) -> &mut Cutter {
        &mut self.cutter
    }

    fn standing(&self) -> Option<Standing> {
        let unseen = self.cutter.open().is_some() && self.looked != self.decoded;
        self.telling.standing(&self.cutter, unseen, false)
    }

    fn look_now(&mut self, live: &LiveOptions, after: f64) -> Result<Vec<Heard>, RecogniserError> {
        let Some(start) = self.cutter.open().map(|open| open.start) else { return Ok(Vec::new()) };
        self.telling.pace.decoded(self.clock.now(), Duration::ZERO, Duration::ZERO);
        let deadlines = self.telling.deadlines(live, self.cutter.position(), after, PATIENCE);
        self.looked = self.decoded;
        let words = self.words(self.decoder.words());
        Ok(self.telling.look(seconds(start), seconds(self.decoded), words, deadlines))
    }

    /// Ends the decoder's utterance.
    fn close(&mut self, window: &Window) -> Result<Vec<Heard>, RecogniserError> {
        self.decode(window.start, &window.samples)?;
        let words = self.decoder.end().map_err(RecogniserError::Engine)?;
        let words = self.words(words);
        let end = seconds((window.start + window.samples.len() as u64).max(self.decoded));
        self.utterance = None;
        Ok(self.telling.close(seconds(window.start), end, words))
    }

    fn tell_open(&mut self, _last: bool) -> Result<Vec<Heard>, RecogniserError> {
        let Some(start) = self.cutter.open().map(|open| open.start) else { return Ok(Vec::new()) };
        self.looked = self.decoded;
        let words = self.words(self.decoder.words());
        Ok(self.telling.look_last(seconds(start), seconds(self.decoded), words))
    }
}

impl Session for PocketSphinxSession {
    fn feed(&mut self, samples: &[f32]) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        self.meter.fed(begun, samples.len());
        self.telling.fed(begun, samples.len());
        let mut heard = Vec::new();
        // Between the parts of a long call it can be cancelled.
        for samples in samples.chunks(SAMPLE_RATE as usize) {
            heard.extend(self.cut(samples)?);
            heard.extend(self.look()?);
        }
        self.meter.told(begun, self.clock.now(), &heard);
        Ok(heard)
    }

    fn finish(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        let window = self.cutter.finish();
        let heard = window.map_or_else(|| Ok(Vec::new()), |window| self.close(&window))?;
        self.telling.finish();
        self.meter.told(begun, self.clock.now(), &heard);
        Ok(heard)
    }

    fn wake_at(&self) -> Option<Instant> {
        self.telling.due(&self.standing()?).map(|(at, _)| at)
    }

    fn wake(&mut self) -> Result<Vec<Heard>, RecogniserError> {
        self.cancel.check()?;
        let begun = self.clock.now();
        let heard = self.act(begun)?;
        self.meter.told(begun, self.clock.now(), &heard);
        Ok(heard)
    }

    fn configure(&mut self, live: &LiveOptions) -> Result<(), RecogniserError> {
        self.reconfigure(live);
        Ok(())
    }

    fn measures(&self) -> Measures {
        self.meter.measures().clone()
    }
}
