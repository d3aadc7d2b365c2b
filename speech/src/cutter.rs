//! Cuts a stream of samples into windows with speech; silence between them is dropped.

use std::collections::VecDeque;

use earshot::Detector;

use crate::recogniser::SAMPLE_RATE;

/// What the detector takes at once: 16 ms.
const FRAME: usize = 256;
/// Silence that is kept before and after speech, so that no sound is clipped.
const MARGIN: usize = seconds(0.4);
/// The detector's score from which a frame counts as speech.
const VOICED: f32 = 0.5;
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
}

impl CutterSettings {
    /// Long windows with much context for files.
    pub(crate) fn batch() -> Self {
        Self {
            pause: seconds(0.35),
            long_pause: seconds(1.2),
            enough: seconds(12.0),
            longest: seconds(27.0),
        }
    }

    /// One window for each utterance, which `pause` seconds of silence end.
    pub(crate) fn live(pause: f64) -> Self {
        let pause = seconds(pause.clamp(0.2, 2.0));
        Self { pause, long_pause: pause, enough: 0, longest: seconds(15.0) }
    }
}

/// A stretch of the stream with speech in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// Samples of the stream before it.
    pub(crate) start: u64,
    pub(crate) samples: Vec<f32>,
    /// Whether a pause follows; otherwise it was cut because it grew too long.
    pub(crate) ends_utterance: bool,
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
}

#[derive(Default)]
struct Open {
    start: u64,
    samples: Vec<f32>,
    /// For each frame whether it is speech.
    voiced: Vec<bool>,
    /// Samples since the last speech.
    quiet: usize,
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
        }
    }

    /// Takes samples and gives the windows that are complete.
    pub(crate) fn feed(&mut self, samples: &[f32]) -> Vec<Window> {
        let mut windows = Vec::new();
        self.rest.extend_from_slice(samples);
        let rest = std::mem::take(&mut self.rest);
        let mut frames = rest.chunks_exact(FRAME);
        for frame in &mut frames {
            windows.extend(self.judge(frame));
        }
        self.rest = frames.remainder().to_vec();
        windows
    }

    /// Closes the open window; the stream may go on.
    pub(crate) fn finish(&mut self) -> Option<Window> {
        let mut rest = std::mem::take(&mut self.rest);
        let mut last = None;
        if !rest.is_empty() {
            rest.resize(FRAME, 0.0);
            last = self.judge(&rest);
        }
        last.or_else(|| self.open.take().and_then(|open| open.close(true)))
    }

    /// The window that is open: its start and its samples so far.
    pub(crate) fn open(&self) -> Option<(u64, &[f32])> {
        self.open.as_ref().map(|open| (open.start, open.samples.as_slice()))
    }

    /// Seconds of the stream that were judged.
    pub(crate) fn position(&self) -> f64 {
        self.judged as f64 / f64::from(SAMPLE_RATE)
    }

    fn judge(&mut self, frame: &[f32]) -> Option<Window> {
        let mut sound = [0.0_f32; FRAME];
        for (to, from) in sound.iter_mut().zip(frame) {
            // A damaged file may hold what is no number; the detector and the model must not see it.
            *to = if from.is_finite() { from.clamp(-1.0, 1.0) } else { 0.0 };
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
                self.open = Some(Open { start, samples, voiced: marks, quiet: 0 });
            } else {
                let surplus = self.margin.len().saturating_sub(MARGIN / FRAME * FRAME);
                self.margin.drain(..surplus);
            }
            return None;
        };
        open.samples.extend(sound);
        open.voiced.push(voiced);
        open.quiet = if voiced { 0 } else { open.quiet + FRAME };
        let needed = if open.samples.len() >= self.settings.enough {
            self.settings.pause
        } else {
            self.settings.long_pause
        };
        if open.quiet >= needed.max(FRAME) {
            return self.open.take().and_then(|open| open.close(true));
        }
        if open.samples.len() >= self.settings.longest {
            let tail = open.split();
            return self.open.replace(tail).and_then(|open| open.close(false));
        }
        None
    }
}

impl Open {
    /// Takes off the silence at the end; nothing is left of a click.
    fn close(mut self, ends_utterance: bool) -> Option<Window> {
        if self.voiced.iter().filter(|voiced| **voiced).count() < LEAST_VOICED {
            return None;
        }
        let surplus = self.quiet.saturating_sub(MARGIN);
        self.samples.truncate(self.samples.len() - surplus);
        Some(Window { start: self.start, samples: self.samples, ends_utterance })
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
        let tail = Open {
            start: self.start + at as u64,
            samples: self.samples.split_off(at),
            voiced: self.voiced.split_off(frame.min(self.voiced.len())),
            quiet: self.quiet,
        };
        self.quiet = 0;
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
    fn what_is_no_number_is_taken_for_silence() {
        let mut cutter = Cutter::new(CutterSettings::batch());
        cutter.feed(&[f32::NAN, f32::INFINITY, 1e30, -1e30].repeat(FRAME * 50));
        if let Some(window) = cutter.finish() {
            assert!(window.samples.iter().all(|sample| sample.abs() <= 1.0));
        }
    }

    #[test]
    fn an_endless_sound_is_cut_and_nothing_is_lost() {
        let settings = CutterSettings::batch();
        let mut open = Open { start: 7, ..Open::default() };
        for index in 0..settings.longest / FRAME {
            open.samples.extend([if index == 1000 { 0.0 } else { 0.5 }; FRAME]);
            open.voiced.push(true);
        }
        let total = open.samples.len();
        let tail = open.split();
        assert_eq!(open.samples.len(), 1000 * FRAME);
        assert_eq!(tail.start, 7 + 1000 * FRAME as u64);
        assert_eq!(open.samples.len() + tail.samples.len(), total);
        assert_eq!(open.voiced.len() + tail.voiced.len(), settings.longest / FRAME);
    }
}
