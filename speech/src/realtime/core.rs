//! A channel's recogniser: bytes in, events out.

use std::{sync::Arc, time::Instant};

use tokio::sync::mpsc;

use super::{
    config::{AudioFormat, Encoding, SessionPlan},
    messages::{ErrorType, Refusal},
    protocol::ChannelEvent,
    spool::Item,
};
use crate::{
    audio::{AudioError, Resampler},
    listener::Listener,
    measures::Measures,
    recogniser::{Cancel, Heard, Recogniser, RecogniserError, SAMPLE_RATE, Session, Stretch},
};

/// Told of the measures of each channel when it is over, however it ended.
pub type Measured = Arc<dyn Fn(&Measures) + Send + Sync>;

/// Samples that are fed at once when more than enough wait: 5 s, which costs fewer decodes.
pub(super) const MOST_AT_ONCE: usize = 5 * SAMPLE_RATE as usize;

/// Why the work of a channel ends early.
pub(super) enum Stop {
    /// Nobody listens any more.
    Gone,
    Failed(Refusal),
}

impl From<RecogniserError> for Stop {
    fn from(err: RecogniserError) -> Self {
        match err {
            RecogniserError::Cancelled => Self::Gone,
            RecogniserError::Language { .. } => {
                Self::Failed(Refusal::new(ErrorType::InvalidModel, err.to_string()))
            }
            err @ RecogniserError::Engine(_) => {
                Self::Failed(Refusal::new(ErrorType::JobError, err.to_string()))
            }
        }
    }
}

/// The recogniser of a channel and all that it needs.
pub(super) struct Core {
    pub(super) index: usize,
    pub(super) audio: AudioFormat,
    pub(super) plan: SessionPlan,
    pub(super) recogniser: Arc<dyn Recogniser>,
    pub(super) events: mpsc::Sender<(usize, ChannelEvent)>,
    pub(super) measured: Measured,
    pub(super) cancel: Cancel,
    pub(super) session: Option<Box<dyn Session>>,
    pub(super) resampler: Option<Resampler>,
    /// Bytes that are no whole sample yet.
    pub(super) rest: Vec<u8>,
    /// Samples of a file that were decoded and not fed yet.
    pub(super) pending: Vec<f32>,
    /// Samples that were fed.
    pub(super) samples: u64,
    pub(super) listener: Listener,
    /// Bytes that were taken.
    pub(super) consumed: u64,
    pub(super) ended: bool,
    /// Why a file cannot be read on, found while its reader read.
    pub(super) stop: Option<Stop>,
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            (self.measured)(&session.measures());
        }
    }
}

impl Core {
    pub(super) fn tell(&self, event: ChannelEvent) -> Result<(), Stop> {
        self.events.blocking_send((self.index, event)).map_err(|_| Stop::Gone)
    }

    pub(super) fn stopped(&self, stop: Stop) {
        if let Stop::Failed(refusal) = stop {
            let _ = self.tell(ChannelEvent::Failed(refusal));
        }
    }

    fn heard(&mut self, heard: Vec<Heard>, forced: bool) -> Result<(), Stop> {
        heard.into_iter().try_for_each(|heard| {
            if let Heard::Final(stretch) = &heard {
                self.listener.recognised(&stretch.words);
            }
            let forced = forced && !matches!(heard, Heard::Partial(_));
            self.tell(ChannelEvent::Heard { heard, forced })
        })
    }

    fn session(&mut self) -> Result<&mut Box<dyn Session>, Stop> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => {
                let options = self.plan.options(self.cancel.clone());
                Ok(none.insert(self.recogniser.begin(options)?))
            }
        }
    }

    /// Takes an item of raw audio; false at the end.
    pub(super) fn take(&mut self, item: Item) -> Result<bool, Stop> {
        if let Item::Audio(bytes) = item {
            let samples = self.decode(&bytes)?;
            self.feed(&samples)?;
            self.consumed += bytes.len() as u64;
            self.tell(ChannelEvent::Consumed(self.consumed))?;
            return Ok(true);
        }
        self.pass(item)?;
        if self.ended {
            if let Some(mut resampler) = self.resampler.take() {
                let rest = resampler.finish().map_err(unusable)?;
                self.feed(&rest)?;
            }
            self.end()?;
        }
        Ok(!self.ended)
    }

    /// Takes an item that is not audio to be heard.
    pub(super) fn pass(&mut self, item: Item) -> Result<(), Stop> {
        match item {
            Item::Audio(bytes) => {
                self.consumed += bytes.len() as u64;
                self.tell(ChannelEvent::Consumed(self.consumed))
            }
            Item::Force => self.force(),
            Item::Configure(live) => {
                self.plan.live = live;
                if let Some(session) = &mut self.session {
                    session.configure(&self.plan.live)?;
                }
                Ok(())
            }
            Item::End => {
                self.ended = true;
                Ok(())
            }
        }
    }

    pub(super) fn feed(&mut self, samples: &[f32]) -> Result<(), Stop> {
        if samples.is_empty() {
            return Ok(());
        }
        self.samples += samples.len() as u64;
        self.listener.hear(samples);
        let heard = self.session()?.feed(samples)?;
        self.heard(heard, false)
    }

    /// Feeds what was decoded of a file.
    pub(super) fn feed_pending(&mut self) -> Result<(), Stop> {
        let pending = std::mem::take(&mut self.pending);
        self.feed(&pending)
    }

    /// When [`Core::wake`] is to be called if nothing comes before.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.session.as_ref().and_then(|session| session.wake_at())
    }

    /// Tells what is due by the clock.
    pub(super) fn wake(&mut self) -> Result<(), Stop> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let heard = session.wake()?;
        self.heard(heard, false)
    }

    /// Finals of all that came so far, and the end of the utterance.
    fn force(&mut self) -> Result<(), Stop> {
        self.feed_pending()?;
        let mut heard = match &mut self.session {
            Some(session) => session.force()?,
            None => Vec::new(),
        };
        let last = heard.iter().rev().find_map(|heard| match heard {
            Heard::Final(stretch) => Some(stretch.end),
            Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
        });
        let now = self.samples as f64 / f64::from(SAMPLE_RATE);
        if last.is_none() {
            heard.push(Heard::Final(Stretch { start: now, end: now, words: Vec::new() }));
        }
        heard.retain(|heard| !matches!(heard, Heard::EndOfUtterance { .. }));
        heard.push(Heard::EndOfUtterance { at: last.unwrap_or(now) });
        self.heard(heard, true)
    }

    pub(super) fn end(&mut self) -> Result<(), Stop> {
        self.feed_pending()?;
        if let Some(session) = &mut self.session {
            let heard = session.finish()?;
            self.heard(heard, false)?;
        }
        if let Some(finding) = self.listener.finding() {
            self.tell(ChannelEvent::Unheard(finding))?;
        }
        self.tell(ChannelEvent::Ended)
    }

    pub(super) fn most_bytes(&self) -> usize {
        match self.audio {
            AudioFormat::File => usize::MAX,
            AudioFormat::Raw { encoding, sample_rate } => {
                MOST_AT_ONCE * encoding.width() * sample_rate as usize / SAMPLE_RATE as usize
            }
        }
    }

    fn decode(&mut self, bytes: &[u8]) -> Result<Vec<f32>, Stop> {
        let AudioFormat::Raw { encoding, sample_rate } = self.audio else { return Ok(Vec::new()) };
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let whole = all.len() / encoding.width() * encoding.width();
        let samples = samples(&all[..whole], encoding);
        self.rest = all.split_off(whole);
        let resampler = match &mut self.resampler {
            Some(resampler) => resampler,
            // 50 ms at once.
            none => none
                .insert(Resampler::new(sample_rate, sample_rate as usize / 20).map_err(unusable)?),
        };
        resampler.feed(samples).map_err(unusable)
    }
}

fn unusable(err: AudioError) -> Stop {
    Stop::Failed(Refusal::new(ErrorType::InvalidAudioType, err.to_string()))
}

fn samples(bytes: &[u8], encoding: Encoding) -> Vec<f32> {
    match encoding {
        Encoding::PcmS16le => {
            let sample = |b: &[u8]| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32768.0;
            bytes.chunks_exact(2).map(sample).collect()
        }
        Encoding::PcmF32le => {
            let sample = |b: &[u8]| {
                let sample = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
                // The resampler would spread what is no number over its neighbours.
                if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 }
            };
            bytes.chunks_exact(4).map(sample).collect()
        }
        Encoding::Mulaw => bytes.iter().map(|byte| mulaw(*byte)).collect(),
    }
}

/// ITU-T G.711, mu-law.
fn mulaw(byte: u8) -> f32 {
    let byte = !byte;
    let magnitude = ((i32::from(byte & 0x0f) << 3) + 0x84) << ((byte & 0x70) >> 4);
    let sample = magnitude - 0x84;
    (if byte & 0x80 == 0 { sample } else { -sample }) as f32 / 32768.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_every_encoding() {
        assert_eq!(samples(&[0, 0x80, 0xff, 0x7f], Encoding::PcmS16le), [-1.0, 32767.0 / 32768.0]);
        let floats: Vec<u8> = [0.5, f32::NAN, 7.0].into_iter().flat_map(f32::to_le_bytes).collect();
        assert_eq!(samples(&floats, Encoding::PcmF32le), [0.5, 0.0, 1.0]);
        // The ends and the middle of the table in G.711.
        let ends = samples(&[0x00, 0x80, 0xff, 0x7f], Encoding::Mulaw);
        assert_eq!(ends, [-32124.0 / 32768.0, 32124.0 / 32768.0, 0.0, 0.0]);
    }
}
