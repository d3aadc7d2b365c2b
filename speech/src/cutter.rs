//! Cuts a stream of samples into windows with speech; silence between them is dropped.

use std::collections::VecDeque;

use earshot::Detector;

use crate::recogniser::{LiveOptions, SAMPLE_RATE};

/// What the detector takes at once: 16 ms.
pub(crate) const FRAME: usize = 256;
/// Silence that is kept before and after speech, so that no sound is clipped.
const MARGIN: usize = seconds(0.4);
/// The detector's score from which a frame counts as speech.
pub(crate) const VOICED: f32 = 0.5;
/// Fewer voiced frames than this in a window are a click, not a word.
const LEAST_VOICED: usize = 4;

const fn seconds(count: f64) -> usize {
    (count * SAMPLE_RATE as f64) as usize
}

/// Where to cut. All lengths are in samples.
#[derive(Debug, Clone)]
pub(crate) struct CutterSettings {
    /// A pause that ends a window which is at least `enough` long.
    pub(crate) pause: usize,
    /// A pause that ends every window.
    pub(crate) long_pause: usize,
    /// The length from which short pauses count.
    pub(crate) enough: usize,
    /// The length at which a window is cut in any case, at its best pause.
    pub(crate) longest: usize,
    /// The pause that ends an utterance; `None`: it is not told.
    pub(crate) utterance: Option<usize>,
}

impl CutterSettings {
    /// Long windows with much context for files.
    pub(crate) fn batch() -> Self {
        Self {
            pause: seconds(0.35),
            long_pause: seconds(1.2),
            enough: seconds(12.0),
            longest: seconds(27.0),
            utterance: None,
        }
    }

    /// Windows that short pauses end: the longer words may wait, the longer they are.
    pub(crate) fn live(live: &LiveOptions) -> Self {
        let utterance = live.end_of_utterance.map(|silence| seconds(silence.as_secs_f64()));
        let pause = seconds((live.max_delay.as_secs_f64() / 3.0).clamp(0.35, 0.8));
        let pause = utterance.map_or(pause, |utterance| pause.min(utterance)).max(seconds(0.2));
        // A longer window is heard better and takes longer, again and again.
        let longest = seconds((live.max_delay.as_secs_f64() * 3.75).clamp(7.5, 15.0));
        Self { pause, long_pause: pause, enough: 0, longest, utterance }
    }
}

/// What the cutter finds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cut {
    Window(Window),
    /// The pause after the last window has become long enough to end the utterance, here in
    /// seconds of the stream. Comes at most once after each window.
    Silence {
        at: f64,
    },
}

/// A stretch of the stream with speech in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// Samples of the stream before it.
    pub(crate) start: u64,
    pub(crate) samples: Vec<f32>,
    /// How many of them lie before the end of the last speech.
    pub(crate) spoken: usize,
}

/// The cutter's state: at most the open window and the margin before it.
pub(crate) struct Cutter {
    settings: CutterSettings,
    detector: Detector,
    /// Samples that do not fill a frame yet.
    rest: Vec<f32>,
    /// Samples of the stream that were judged.
    judged: u64,
    margin: VecDeque<f32>,
    open: Option<Open>,
    /// Where the last speech ended, while it is not known yet whether that ended the utterance.
    paused: Option<u64>,
}

#[derive(Default)]
struct Open {
    start: u64,
    samples: Vec<f32>,
    /// For each frame whether it is speech.
    voiced: Vec<bool>,
    /// How many are.
    voices: usize,
    /// Samples since the last speech.
    quiet: usize,
}

/// The window that is open, so far.
pub(crate) struct OpenWindow<'a> {
    pub(crate) start: u64,
    pub(crate) samples: &'a [f32],
    pub(crate) spoken: usize,
}

impl Cutter {
    pub(crate) fn new(settings: CutterSettings) -> Self {
        Self {
            settings,
            detector: Detector::default(),
            rest: Vec::new(),
            judged: 0,
            margin: VecDeque::with_capacity(MARGIN + FRAME),
            open: None,
            paused: None,
        }
    }

    /// Cuts otherwise from now on.
    pub(crate) fn set(&mut self, settings: CutterSettings) {
        self.settings = settings;
    }

    /// Takes samples and gives what is complete.
    pub(crate) fn feed(&mut self, samples: &[f32]) -> Vec<Cut> {
        let mut cuts = Vec::new();
        for frame in whole_frames(&mut self.rest, samples).chunks_exact(FRAME) {
            cuts.extend(self.judge(frame).map(Cut::Window));
            cuts.extend(self.silence());
        }
        cuts
    }

    /// Closes the open window; the stream may go on. The silence that follows ends no utterance.
    pub(crate) fn finish(&mut self) -> Option<Window> {
        let rest = std::mem::take(&mut self.rest);
        self.judged += rest.len() as u64;
        let rest = rest.iter().map(|sample| sane(*sample));
        let Some(mut open) = self.open.take() else {
            self.margin.extend(rest);
            self.paused = None;
            return None;
        };
        open.quiet += if open.quiet > 0 { rest.len() } else { 0 };
        open.samples.extend(rest);
        self.paused = None;
        open.close()
    }

    /// Closes the open window as a pause does.
    pub(crate) fn pause(&mut self) -> Option<Window> {
        let window = self.finish()?;
        self.paused = Some(window.start + window.spoken as u64);
        Some(window)
    }

    /// How many seconds of silence have come since the last speech; `None` where it is known
    /// already what they end.
    pub(crate) fn quiet(&self) -> Option<f64> {
        let samples = match self.open() {
            Some(open) => (open.samples.len() - open.spoken) as u64,
            None => self.judged.saturating_sub(self.paused?),
        };
        Some(samples as f64 / f64::from(SAMPLE_RATE))
    }

    /// The window that is open and has speech in it.
    pub(crate) fn open(&self) -> Option<OpenWindow<'_>> {
        let open = self.open.as_ref().filter(|open| open.voices >= LEAST_VOICED)?;
        let spoken = open.samples.len() - open.quiet;
        Some(OpenWindow { start: open.start, samples: &open.samples, spoken })
    }

    /// Seconds of the stream that were judged.
    pub(crate) fn position(&self) -> f64 {
        self.judged as f64 / f64::from(SAMPLE_RATE)
    }

    fn judge(&mut self, frame: &[f32]) -> Option<Window> {
        let mut sound = [0.0_f32; FRAME];
        for (to, from) in sound.iter_mut().zip(frame) {
            *to = sane(*from);
        }
        let voiced = self.detector.predict_f32(&sound) >= VOICED;
        let before = self.judged;
        self.judged += FRAME as u64;
        let Some(open) = &mut self.open else {
            self.margin.extend(sound);
            if voiced {
                let samples: Vec<f32> = self.margin.drain(..).collect();
                let frames = samples.len() / FRAME;
                let start = before + FRAME as u64 - samples.len() as u64;
                let mut marks = vec![false; frames];
                if let Some(last) = marks.last_mut() {
                    *last = true;
                }
                self.open = Some(Open { start, samples, voiced: marks, voices: 1, quiet: 0 });
            } else {
                let surplus = self.margin.len().saturating_sub(MARGIN / FRAME * FRAME);
                self.margin.drain(..surplus);
            }
            return None;
        };
        open.samples.extend(sound);
        open.voiced.push(voiced);
        open.voices += usize::from(voiced);
        if open.voices >= LEAST_VOICED {
            self.paused = None;
        }
        open.quiet = if voiced { 0 } else { open.quiet + FRAME };
        let needed = if open.samples.len() >= self.settings.enough {
            self.settings.pause
        } else {
            self.settings.long_pause
        };
        if open.quiet >= needed.max(FRAME) {
            let window = self.open.take().and_then(Open::close)?;
            self.paused = Some(window.start + window.spoken as u64);
            return Some(window);
        }
        if open.samples.len() >= self.settings.longest {
            let tail = open.split();
            return self.open.replace(tail).and_then(Open::close);
        }
        None
    }

    fn silence(&mut self) -> Option<Cut> {
        let needed = self.settings.utterance? as u64;
        self.paused.take_if(|since| self.judged.saturating_sub(*since) >= needed)?;
        Some(Cut::Silence { at: self.position() })
    }
}

/// The samples that fill frames; what is left over goes to `rest`, from which the first ones come.
pub(crate) fn whole_frames(rest: &mut Vec<f32>, samples: &[f32]) -> Vec<f32> {
    rest.extend_from_slice(samples);
    let left = rest.split_off(rest.len() / FRAME * FRAME);
    std::mem::replace(rest, left)
}

/// A damaged file may hold what is no number; the detector and the model must not see it.
pub(crate) fn sane(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
}

impl Open {
    /// Takes off the silence at the end; nothing is left of a click.
    fn close(mut self) -> Option<Window> {
        if self.voices < LEAST_VOICED {
            return None;
        }
        let spoken = self.samples.len() - self.quiet;
        self.samples.truncate(spoken + self.quiet.min(MARGIN));
        Some(Window { start: self.start, samples: self.samples, spoken })
    }

    /// Cuts in the middle of the longest pause of the later two thirds, or else at the frame of
    /// least energy there. Keeps the front; gives the rest.
    fn split(&mut self) -> Open {
        let from = self.voiced.len() / 3;
        let (mut best, mut run) = ((0_usize, 0_usize), 0);
        for (index, voiced) in self.voiced.iter().enumerate().skip(from) {
            run = if *voiced { 0 } else { run + 1 };
            if run > best.0 {
                best = (run, index);
            }
        }
        let frame = if best.0 > 0 { best.1 + 1 - best.0.div_ceil(2) } else { self.quietest(from) };
        let at = (frame * FRAME).min(self.samples.len());
        let voiced = self.voiced.split_off(frame.min(self.voiced.len()));
        let voices = voiced.iter().filter(|voiced| **voiced).count();
        let tail = Open {
            start: self.start + at as u64,
            samples: self.samples.split_off(at),
            quiet: self.quiet.min((voiced.len()) * FRAME),
            voiced,
            voices,
        };
        self.voices -= voices;
        let quiet = self.voiced.iter().rev().take_while(|voiced| !**voiced).count();
        self.quiet = (quiet * FRAME).min(self.samples.len());
        tail
    }

    fn quietest(&self, from: usize) -> usize {
        let energy = |frame: usize| -> f32 {
            self.samples[frame * FRAME..][..FRAME].iter().map(|s| s * s).sum()
        };
        (from..self.voiced.len())
            .min_by(|a, b| energy(*a).total_cmp(&energy(*b)))
            .unwrap_or(self.voiced.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_gives_no_window_however_long() {
        let mut cutter = Cutter::new(CutterSettings::batch());
        for _ in 0..60 {
            assert!(cutter.feed(&vec![0.0; SAMPLE_RATE as usize]).is_empty());
        }
        assert_eq!(cutter.finish(), None);
        assert!(cutter.margin.len() <= MARGIN);
    }

    #[test]
    fn what_is_no_sample_is_made_one() {
        let mut cutter = Cutter::new(CutterSettings::batch());
        // Speech is heard already, so whatever the detector makes of the rest, there is a window.
        let speech = vec![0.5; LEAST_VOICED * FRAME];
        let (voiced, voices) = (vec![true; LEAST_VOICED], LEAST_VOICED);
        cutter.open = Some(Open { samples: speech.clone(), voiced, voices, ..Open::default() });
        // A frame, and half of one, which `finish` takes.
        let count = FRAME * 3 / 2 / 4;
        assert_eq!(cutter.feed(&[f32::NAN, f32::INFINITY, 1e30, -1e30].repeat(count)), []);
        let window = cutter.finish().expect("a window");
        assert_eq!(window.samples, [speech, [0.0, 0.0, 1.0, -1.0].repeat(count)].concat());
    }

    #[test]
    fn an_endless_sound_is_cut_and_nothing_is_lost() {
        let settings = CutterSettings::batch();
        let mut open = Open { start: 7, ..Open::default() };
        for index in 0..settings.longest / FRAME {
            open.samples.extend([if index == 1000 { 0.0 } else { 0.5 }; FRAME]);
            open.voiced.push(true);
            open.voices += 1;
        }
        let total = open.samples.len();
        let tail = open.split();
        assert_eq!(open.samples.len(), 1000 * FRAME);
        assert_eq!(tail.start, 7 + 1000 * FRAME as u64);
        assert_eq!(open.samples.len() + tail.samples.len(), total);
        assert_eq!(open.voiced.len() + tail.voiced.len(), settings.longest / FRAME);
    }
}
