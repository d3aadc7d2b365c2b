//! One stream of audio inside a session: what has come, what is acknowledged, what is heard.

use std::collections::VecDeque;

use super::{
    config::SessionPlan,
    messages::{ServerMessage, Transcript, TranscriptMetadata, UtteranceEnd},
};
use crate::{
    recogniser::Stretch,
    transcript::{FORMAT_VERSION, hundredths, items, live_results, live_text},
};

/// The counts of a channel.
#[derive(Debug)]
pub(super) struct Channel {
    /// Where channels come apart.
    pub(super) label: Option<String>,
    /// No more audio comes.
    pub(super) ended: bool,
    /// All of it was recognised.
    pub(super) done: bool,
    received: u64,
    consumed: u64,
    acknowledged: u64,
    /// Where each message ends that is not acknowledged yet.
    ends: VecDeque<u64>,
}

impl Channel {
    pub(super) fn new(label: Option<String>) -> Self {
        Self {
            label,
            ended: false,
            done: false,
            received: 0,
            consumed: 0,
            acknowledged: 0,
            ends: VecDeque::new(),
        }
    }

    /// A message of so many bytes came.
    pub(super) fn received(&mut self, bytes: u64) {
        self.received += bytes;
        self.ends.push_back(self.received);
    }

    pub(super) fn consumed(&mut self, total: u64) {
        self.consumed = total.clamp(self.consumed, self.received);
    }

    /// Bytes that the recogniser has not taken yet.
    pub(super) fn waiting(&self) -> u64 {
        self.received - self.consumed
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn next_is_within(&self, lead: u64) -> bool {
        self.ends.front().is_some_and(|end| *end <= self.consumed + lead)
    }

    /// The number of the next message to acknowledge, if there is one.
    pub(super) fn acknowledge(&mut self) -> Option<u64> {
        self.ends.pop_front()?;
        self.acknowledged += 1;
        Some(self.acknowledged)
    }
}

/// A stretch as the client sees it.
pub(super) fn transcript(
    plan: &SessionPlan,
    stretch: &Stretch,
    channel: Option<String>,
    is_final: bool,
    forced: bool,
) -> Transcript {
    let language = &plan.language;
    let items =
        plan.filter.apply(items(&stretch.words, &plan.marks, stretch.start, stretch.end), language);
    Transcript {
        format: FORMAT_VERSION,
        metadata: TranscriptMetadata {
            start_time: hundredths(stretch.start),
            end_time: hundredths(stretch.end),
            transcript: live_text(&items, language, is_final),
        },
        results: live_results(&items, language, plan.speakers),
        channel,
        forced,
    }
}

pub(super) fn utterance_end(at: f64, channel: Option<String>, forced: bool) -> ServerMessage {
    let at = hundredths(at);
    let metadata = UtteranceEnd { start_time: at, end_time: at };
    ServerMessage::EndOfUtterance { format: FORMAT_VERSION, metadata, channel, forced }
}
