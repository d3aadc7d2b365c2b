//! The realtime protocol as a state machine: it is told what arrives and what time it is, and gives
//! what is to be done. It knows no socket, no thread and no clock.
//!
//! ```text
//! Fresh --StartRecognition--> Opening --Opened--> Running --EndOfStream--> Ending
//!                                                                            | all channels ended
//!    any --Error, restart, limits--> Closed <--------- grace --------- Done <+
//! ```

mod exchange;
mod limits;
#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};

pub use self::exchange::{Action, ChannelEvent, Input, Limits, Opened};
use super::{
    channel::{Channel, transcript, utterance_end},
    config::{Change, SessionPlan},
    messages::{
        ClientMessage, ErrorType, ForceEndOfUtterance, Info, Refusal, ServerMessage,
        StartRecognition, Warning,
    },
};
use crate::{
    listener::Finding, reading::MOST_KEYS, recogniser::Heard, transcript::language_pack_info,
    transcription_config::Missing,
};

/// How long a client may keep the socket after `EndOfTranscript`.
const FAREWELL: Duration = Duration::from_secs(10);
/// The command line client gives up after 120 s without an acknowledgement.
const ACKNOWLEDGE_AT_LEAST: Duration = Duration::from_secs(60);
/// Messages that may wait for their acknowledgement.
const MOST_WAITING: usize = 100_000;
/// Bytes of a message before the session is open: `StartRecognition` with its vocabulary.
const FIRST_MESSAGE: usize = 256 << 10;
/// Bytes of a message in a session.
const LARGEST_MESSAGE: usize = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Fresh,
    Opening,
    Running,
    Ending,
    Done { since: Duration },
    Closed,
}

/// The state of one session.
#[derive(Debug)]
pub struct Protocol {
    phase: Phase,
    limits: Limits,
    path_language: Option<String>,
    plan: Option<SessionPlan>,
    channels: Vec<Channel>,
    began: Duration,
    last_audio: Duration,
    last_acknowledged: Duration,
    idle_warnings: usize,
    session_warnings: usize,
    warned_of_late_audio: bool,
    restart_by: Option<Duration>,
    actions: Vec<Action>,
}

impl Protocol {
    /// A session whose socket was opened at `now`, a time on any clock that does not go back.
    /// `path_language` is that of `/v2/{language}`.
    #[must_use]
    pub fn new(limits: Limits, path_language: Option<String>, now: Duration) -> Self {
        Self {
            phase: Phase::Fresh,
            limits,
            path_language,
            plan: None,
            channels: Vec::new(),
            began: now,
            last_audio: now,
            last_acknowledged: now,
            idle_warnings: 0,
            session_warnings: 0,
            warned_of_late_audio: false,
            restart_by: None,
            actions: Vec::new(),
        }
    }

    /// Bytes that a message may have now.
    #[must_use]
    pub fn message_limit(&self) -> usize {
        match self.phase {
            Phase::Fresh | Phase::Opening => FIRST_MESSAGE,
            Phase::Running | Phase::Ending | Phase::Done { .. } | Phase::Closed => LARGEST_MESSAGE,
        }
    }

    /// Takes what happens and gives what is to be done, in order.
    pub fn handle(&mut self, now: Duration, input: Input<'_>) -> Vec<Action> {
        if self.phase != Phase::Closed
            && let Err(refusal) = self.take(now, input)
        {
            self.fail(refusal);
        }
        std::mem::take(&mut self.actions)
    }

    fn take(&mut self, now: Duration, input: Input<'_>) -> Result<(), Refusal> {
        match input {
            Input::Text(text) => self.message(now, ClientMessage::parse(text)?)?,
            Input::Binary(bytes) => self.binary(now, bytes)?,
            Input::TooLarge => {
                let limit = self.message_limit();
                let reason = if limit < LARGEST_MESSAGE {
                    format!(
                        "a message is larger than {} KiB, the limit before RecognitionStarted",
                        limit >> 10
                    )
                } else {
                    format!("a message is larger than {} MiB, the limit here", limit >> 20)
                };
                self.send(ServerMessage::Error { kind: ErrorType::InvalidMessage, reason });
                self.close(1009, "message too large");
            }
            Input::Opened(opened) if self.phase == Phase::Opening => self.opened(now, opened),
            Input::Refused(refusal) if self.phase == Phase::Opening => return Err(refusal),
            Input::Opened(_) | Input::Refused(_) => {}
            Input::Channel(index, event) => self.event(now, index, event)?,
            Input::Restart(grace) => self.restart(now, grace),
            Input::Tick => self.tick(now)?,
        }
        Ok(())
    }

    fn send(&mut self, message: ServerMessage) {
        self.actions.push(Action::Send(message));
    }

    fn close(&mut self, code: u16, reason: &'static str) {
        self.actions.push(Action::Close { code, reason });
        self.phase = Phase::Closed;
    }

    fn fail(&mut self, refusal: Refusal) {
        let (code, reason) = refusal.kind.close();
        self.send(ServerMessage::Error { kind: refusal.kind, reason: refusal.reason });
        self.close(code, reason);
    }

    fn message(&mut self, now: Duration, message: ClientMessage) -> Result<(), Refusal> {
        let out_of_order = |reason: &str| Err(Refusal::new(ErrorType::ProtocolError, reason));
        match (self.phase, message) {
            (Phase::Fresh, ClientMessage::StartRecognition(start)) => self.start(*start),
            (Phase::Fresh, _) => out_of_order("the first message must be StartRecognition"),
            (Phase::Opening, ClientMessage::EndOfStream)
            | (Phase::Opening, ClientMessage::EndOfChannel(_)) => {
                out_of_order("the stream ends before RecognitionStarted was sent")
            }
            (_, ClientMessage::StartRecognition(_)) => {
                out_of_order("there is one StartRecognition in a session, and it has been sent")
            }
            (Phase::Opening, _) => {
                out_of_order("wait for RecognitionStarted after StartRecognition")
            }
            (Phase::Running, message) => self.running(now, message),
            (Phase::Ending, ClientMessage::AddChannelAudio(_)) => {
                self.late_audio();
                Ok(())
            }
            (Phase::Ending, ClientMessage::GetSpeakers) => {
                self.send(ServerMessage::SpeakersResult { speakers: Vec::new() });
                Ok(())
            }
            // What no longer changes anything.
            (Phase::Ending | Phase::Done { .. } | Phase::Closed, _) => Ok(()),
        }
    }

    fn start(&mut self, start: StartRecognition) -> Result<(), Refusal> {
        let plan = SessionPlan::new(start)?;
        if let Some(path) = &self.path_language
            && *path != plan.language
        {
            let reason = format!(
                "the path says {path} and transcription_config.language says {}",
                plan.language
            );
            return Err(Refusal::new(ErrorType::InvalidModel, reason));
        }
        self.phase = Phase::Opening;
        self.actions.push(Action::Open(Box::new(plan.clone())));
        self.plan = Some(plan);
        Ok(())
    }

    fn opened(&mut self, now: Duration, opened: Opened) {
        let Some(plan) = &mut self.plan else { return };
        plan.filter.replacements = opened.replacements;
        let plan = plan.clone();
        self.phase = Phase::Running;
        (self.last_audio, self.last_acknowledged, self.idle_warnings) = (now, now, 0);
        self.channels = match &plan.channels {
            None => vec![Channel::new(None)],
            Some(labels) => labels.iter().map(|label| Channel::new(Some(label.clone()))).collect(),
        };
        self.send(ServerMessage::RecognitionStarted {
            id: opened.id,
            orchestrator_version: opened.version,
            language_pack_info: language_pack_info(&plan.language),
            channel_ids: plan.channels,
        });
        let broadcast = plan.audio.sample_rate().is_none_or(|rate| rate >= 12_000);
        let quality = if broadcast { "broadcast" } else { "telephony" };
        self.send(ServerMessage::Info {
            info: Info::RecognitionQuality { quality },
            reason: format!("Running recognition using a {quality} model quality."),
        });
        let (usage, quota) = (opened.usage, opened.quota);
        self.send(ServerMessage::Info {
            info: Info::ConcurrentSessionUsage { usage, quota, last_updated: opened.at },
            reason: format!("{usage} concurrent sessions active out of quota {quota}"),
        });
        if plan.translation {
            self.send(ServerMessage::Warning {
                warning: Warning::UnsupportedTranslationPair,
                reason: "translation is not available on this appliance".to_owned(),
            });
        }
        self.warn_of_missing(plan.missing);
        self.warn_of_ignored(plan.unknown, "not known here");
    }

    fn warn_of_missing(&mut self, missing: Vec<Missing>) {
        for Missing { feature, reason } in missing {
            self.send(ServerMessage::Warning {
                warning: Warning::UnsupportedFeature { feature },
                reason: format!("{reason}; the session goes on without it"),
            });
        }
    }

    fn warn_of_ignored(&mut self, mut keys: Vec<String>, why: &str) {
        if keys.is_empty() {
            return;
        }
        keys.truncate(MOST_KEYS);
        let reason = format!("what is {why} was ignored: {}", keys.join(", "));
        self.send(ServerMessage::Warning { warning: Warning::IgnoredKeys { keys }, reason });
    }

    fn binary(&mut self, now: Duration, bytes: Vec<u8>) -> Result<(), Refusal> {
        match self.phase {
            Phase::Running if self.channels[0].label.is_none() => self.audio(now, 0, bytes),
            Phase::Running => Err(Refusal::new(
                ErrorType::ProtocolError,
                "this session has channels: send AddChannelAudio instead of binary messages",
            )),
            Phase::Fresh | Phase::Opening => Err(Refusal::new(
                ErrorType::ProtocolError,
                "audio may come only after RecognitionStarted",
            )),
            Phase::Ending => {
                self.late_audio();
                Ok(())
            }
            Phase::Done { .. } | Phase::Closed => Ok(()),
        }
    }

    fn late_audio(&mut self) {
        if !std::mem::replace(&mut self.warned_of_late_audio, true) {
            self.send(ServerMessage::Warning {
                warning: Warning::AddAudioAfterEos,
                reason: "audio that comes after the end of the stream is ignored".to_owned(),
            });
        }
    }

    fn running(&mut self, now: Duration, message: ClientMessage) -> Result<(), Refusal> {
        match message {
            ClientMessage::AddChannelAudio(audio) => {
                let index = self.channel(&audio.channel)?;
                let bytes = STANDARD.decode(&audio.data).map_err(|_| {
                    Refusal::new(ErrorType::InvalidMessage, "AddChannelAudio: data is not base64")
                })?;
                if self.channels[index].ended {
                    self.late_audio();
                    return Ok(());
                }
                self.audio(now, index, bytes)?;
            }
            ClientMessage::EndOfChannel(end) => {
                let index = self.channel(&end.channel)?;
                self.end_channel(index);
                if self.channels.iter().all(|channel| channel.ended) {
                    self.phase = Phase::Ending;
                }
            }
            ClientMessage::EndOfStream => self.end_stream(),
            ClientMessage::ForceEndOfUtterance(ForceEndOfUtterance { channel }) => {
                let only = channel.map(|label| self.channel(&label)).transpose()?;
                for index in self.open_channels().filter(|index| only.is_none_or(|o| o == *index)) {
                    self.actions.push(Action::Force { channel: index });
                }
            }
            ClientMessage::GetSpeakers => {
                self.send(ServerMessage::SpeakersResult { speakers: Vec::new() });
            }
            ClientMessage::SetRecognitionConfig(message) => {
                let Some(plan) = &mut self.plan else { return Ok(()) };
                let Change { live, missing, unknown, fixed } = plan.reconfigured(*message)?;
                if live != plan.live {
                    plan.live = live.clone();
                    for channel in self.open_channels() {
                        self.actions.push(Action::Configure { channel, live: live.clone() });
                    }
                }
                self.warn_of_missing(missing);
                self.warn_of_ignored(unknown, "not known here");
                self.warn_of_ignored(fixed, "fixed while a session runs");
            }
            ClientMessage::StartRecognition(_) => {}
        }
        Ok(())
    }

    fn open_channels(&self) -> impl Iterator<Item = usize> + use<> {
        let open = |(index, channel): (usize, &Channel)| (!channel.ended).then_some(index);
        self.channels.iter().enumerate().filter_map(open).collect::<Vec<_>>().into_iter()
    }

    fn channel(&self, label: &str) -> Result<usize, Refusal> {
        let found =
            self.channels.iter().position(|channel| channel.label.as_deref() == Some(label));
        found.ok_or_else(|| {
            let known: Vec<_> =
                self.channels.iter().filter_map(|channel| channel.label.as_deref()).collect();
            let reason = if known.is_empty() {
                "this session has no channels: ask for diarization by channel in StartRecognition"
                    .to_owned()
            } else {
                format!("there is no such channel; the channels are {}", known.join(", "))
            };
            Refusal::new(ErrorType::InvalidMessage, reason)
        })
    }

    fn audio(&mut self, now: Duration, index: usize, bytes: Vec<u8>) -> Result<(), Refusal> {
        (self.last_audio, self.idle_warnings) = (now, 0);
        let waiting: u64 = self.channels.iter().map(Channel::waiting).sum();
        let too_much = waiting + bytes.len() as u64 > self.limits.waiting;
        if too_much || self.channels[index].unacknowledged() >= MOST_WAITING {
            return Err(Refusal::new(
                ErrorType::BufferError,
                format!(
                    "{} bytes of audio wait already; wait for AudioAdded before more is sent",
                    waiting
                ),
            ));
        }
        self.channels[index].received(bytes.len() as u64);
        self.actions.push(Action::Audio { channel: index, bytes });
        self.acknowledge(now, index);
        Ok(())
    }

    /// Acknowledges what lies within the lead before the recogniser.
    fn acknowledge(&mut self, now: Duration, index: usize) {
        let lead = self.plan.as_ref().map_or(0, |plan| plan.audio.lead());
        while self.channels[index].next_is_within(lead) {
            self.acknowledge_one(now, index);
        }
    }

    fn acknowledge_one(&mut self, now: Duration, index: usize) {
        let Some(seq_no) = self.channels[index].acknowledge() else { return };
        self.last_acknowledged = now;
        let message = match self.channels[index].label.clone() {
            None => ServerMessage::AudioAdded { seq_no },
            Some(channel) => ServerMessage::ChannelAudioAdded { seq_no, channel },
        };
        self.send(message);
    }

    fn end_channel(&mut self, index: usize) {
        if !std::mem::replace(&mut self.channels[index].ended, true) {
            self.actions.push(Action::End { channel: index });
        }
    }

    fn end_stream(&mut self) {
        for index in 0..self.channels.len() {
            self.end_channel(index);
        }
        self.phase = Phase::Ending;
    }

    fn event(&mut self, now: Duration, index: usize, event: ChannelEvent) -> Result<(), Refusal> {
        let active = matches!(self.phase, Phase::Running | Phase::Ending);
        let Some(channel) = self.channels.get_mut(index).filter(|_| active) else { return Ok(()) };
        match event {
            ChannelEvent::Heard { heard, forced } => self.heard(index, heard, forced),
            ChannelEvent::Consumed(bytes) => {
                channel.consumed(bytes);
                self.acknowledge(now, index);
            }
            ChannelEvent::Failed(refusal) => return Err(refusal),
            ChannelEvent::Unheard(finding) => {
                let channel = channel.label.clone();
                let reason = finding.reason(channel.as_deref());
                let Finding { lack, figures } = finding;
                let warning = Warning::Unheard { lack, figures, channel };
                self.send(ServerMessage::Warning { warning, reason });
            }
            ChannelEvent::Ended => {
                channel.done = true;
                while self.channels[index].unacknowledged() > 0 {
                    self.acknowledge_one(now, index);
                }
                if self.channels.iter().all(|channel| channel.done) {
                    self.end_of_transcript(now);
                }
            }
        }
        Ok(())
    }

    fn end_of_transcript(&mut self, now: Duration) {
        self.send(ServerMessage::EndOfTranscript);
        if self.restart_by.is_some() {
            self.close(1012, "service restart");
        } else {
            self.phase = Phase::Done { since: now };
        }
    }

    fn heard(&mut self, index: usize, heard: Heard, forced: bool) {
        let Some(plan) = &self.plan else { return };
        let label = self.channels[index].label.clone();
        let message = match heard {
            Heard::Final(stretch) => {
                ServerMessage::AddTranscript(transcript(plan, &stretch, label, true, forced))
            }
            Heard::Partial(stretch) if plan.live.partials => {
                ServerMessage::AddPartialTranscript(transcript(plan, &stretch, label, false, false))
            }
            Heard::EndOfUtterance { at } if forced || plan.live.end_of_utterance.is_some() => {
                utterance_end(at, label, forced)
            }
            Heard::Partial(_) | Heard::EndOfUtterance { .. } => return,
        };
        self.send(message);
    }

    fn restart(&mut self, now: Duration, grace: Duration) {
        match self.phase {
            Phase::Running | Phase::Ending => {
                self.restart_by = Some(now + grace);
                self.end_stream();
            }
            Phase::Fresh | Phase::Opening | Phase::Done { .. } => {
                self.close(1012, "service restart");
            }
            Phase::Closed => {}
        }
    }

    fn tick(&mut self, now: Duration) -> Result<(), Refusal> {
        if let Phase::Done { since } = self.phase {
            if now.saturating_sub(since) >= FAREWELL {
                self.close(1000, "");
            }
            return Ok(());
        }
        if self.restart_by.is_some_and(|by| now >= by) {
            self.send(ServerMessage::EndOfTranscript);
            self.close(1012, "service restart");
            return Ok(());
        }
        if now.saturating_sub(self.last_acknowledged) >= ACKNOWLEDGE_AT_LEAST {
            for index in 0..self.channels.len() {
                self.acknowledge_one(now, index);
            }
        }
        if matches!(self.phase, Phase::Fresh | Phase::Opening) {
            return self.check_start(now);
        }
        self.check_session_limit(now)?;
        if self.phase == Phase::Ending { Ok(()) } else { self.check_idle_limit(now) }
    }
}
