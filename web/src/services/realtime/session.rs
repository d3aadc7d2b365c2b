//! One WebSocket of the realtime API: frames and events into the protocol, its actions out.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Bytes, Payload},
};
use futures::{StreamExt, stream};
use portcullis_actors::bounds::{Client, Full};
use portcullis_speech::{
    RecogniserState,
    realtime::{
        Pipe,
        config::SessionPlan,
        messages::{ErrorType, Refusal, ServerMessage},
        protocol::{Action, ChannelEvent, Input, Opened, Protocol},
    },
    recogniser::Recogniser,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{RealtimeContext, board::OpenSession};
use crate::{
    services::shared::patterns,
    websocket::{self, Heartbeat, Socket},
};

/// Events of recognisers that may wait for the socket.
const EVENTS: usize = 64;
/// How long a session that is asked for right after the start waits for the model. Clients wait
/// five seconds for the answer.
const LOADING: Duration = Duration::from_secs(4);
/// The longest id that a client may give its request.
const LONGEST_ID: usize = 128;

/// Opens the WebSocket of a request.
pub(super) fn start(
    shared: Arc<RealtimeContext>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, actix_web::Error> {
    let path_language = request.match_info().get("language").map(str::to_owned);
    let began = Instant::now();
    let (events, mut heard) = mpsc::channel(EVENTS);
    let (answers, mut answered) = mpsc::channel(1);
    let peer_timeout = shared.settings.peer_timeout;
    let heartbeat = Heartbeat { interval: peer_timeout / 4, patience: peer_timeout };
    let session = RealtimeSession {
        protocol: Protocol::new(shared.settings.limits, path_language, Duration::ZERO),
        id: id_of(request),
        client: websocket::client_of(request),
        shared,
        began,
        plan: None,
        pipes: Vec::new(),
        open: None,
        events,
        answers,
    };
    let heard = stream::poll_fn(move |cx| heard.poll_recv(cx));
    let answered = stream::poll_fn(move |cx| answered.poll_recv(cx));
    let events = stream::select(
        heard.map(|(channel, event)| Event::Channel(channel, event)),
        answered.map(Event::Answer),
    );
    websocket::start_with_events(session, events, heartbeat, request, payload)
}

/// The id that the client gave its request, or a fresh one.
fn id_of(request: &HttpRequest) -> String {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let fits = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(fits).map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

pub(super) enum Event {
    Channel(usize, ChannelEvent),
    Answer(Box<Result<Admission, Refusal>>),
}

/// The right to a session, and the recogniser for it.
pub(super) struct Admission {
    open: OpenSession,
    opened: Opened,
    recogniser: Arc<dyn Recogniser>,
}

struct RealtimeSession {
    shared: Arc<RealtimeContext>,
    protocol: Protocol,
    id: String,
    client: Client,
    began: Instant,
    plan: Option<SessionPlan>,
    /// One for each channel, once it is open.
    pipes: Vec<Pipe>,
    open: Option<OpenSession>,
    events: mpsc::Sender<(usize, ChannelEvent)>,
    answers: mpsc::Sender<Box<Result<Admission, Refusal>>>,
}

impl RealtimeSession {
    fn handle(&mut self, input: Input<'_>, socket: &mut Socket<'_>) {
        let mut actions = self.protocol.handle(self.began.elapsed(), input);
        // A pipe that fails is told to the protocol, whose answer comes before the rest.
        while let Err((channel, refusal)) = self.act(actions, socket) {
            let failed = Input::Channel(channel, ChannelEvent::Failed(refusal));
            actions = self.protocol.handle(self.began.elapsed(), failed);
        }
    }

    fn act(
        &mut self,
        actions: Vec<Action>,
        socket: &mut Socket<'_>,
    ) -> Result<(), (usize, Refusal)> {
        for action in actions {
            match action {
                Action::Send(message) => self.send(&message, socket),
                Action::Open(plan) => self.ask(*plan),
                Action::Close { code, reason } => {
                    self.pipes.clear();
                    self.open = None;
                    socket.close(code, reason);
                }
                Action::Audio { channel, .. }
                | Action::Force { channel }
                | Action::Configure { channel, .. }
                | Action::End { channel } => {
                    if let Some(pipe) = self.pipes.get(channel) {
                        pipe.act(action).map_err(|refusal| (channel, refusal))?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks for room and a recogniser; the answer comes as an event.
    fn ask(&mut self, plan: SessionPlan) {
        let (shared, id, answers) = (self.shared.clone(), self.id.clone(), self.answers.clone());
        let client = self.client;
        self.plan = Some(plan.clone());
        actix::spawn(async move {
            tokio::select! {
                admission = admit(&shared, id, client, plan) => {
                    let _ = answers.send(Box::new(admission)).await;
                }
                // The client has gone.
                () = answers.closed() => {}
            }
        });
    }

    fn answered(&mut self, admission: Result<Admission, Refusal>, socket: &mut Socket<'_>) {
        let input = match (admission, self.plan.take(), &self.shared.pipes) {
            (Ok(Admission { open, opened, recogniser }), Some(plan), Some(pipes)) => {
                self.open = Some(open);
                let pipe = |index| {
                    pipes.pipe(index, plan.clone(), recogniser.clone(), self.events.clone())
                };
                self.pipes = (0..plan.channels.as_ref().map_or(1, Vec::len)).map(pipe).collect();
                Input::Opened(opened)
            }
            (Err(refusal), _, _) => Input::Refused(refusal),
            (Ok(_), _, _) => {
                let reason = "the threads of the recogniser could not be started";
                Input::Refused(Refusal::new(ErrorType::JobError, reason))
            }
        };
        self.handle(input, socket);
    }

    fn send(&self, message: &ServerMessage, socket: &mut Socket<'_>) {
        if let ServerMessage::Error { kind, reason } = message {
            // Anybody can be refused as often as he likes; there are not many sessions.
            let level = if self.open.is_some() { log::Level::Info } else { log::Level::Debug };
            log::log!(level, "a realtime session ends with {kind:?}: {reason}");
            let (_, name) = kind.close();
            self.shared.figures.failed(name);
        }
        match serde_json::to_string(message) {
            Ok(text) => socket.text(&text),
            Err(err) => log::error!("a message cannot be written: {err}"),
        }
    }
}

async fn admit(
    shared: &RealtimeContext,
    id: String,
    client: Client,
    plan: SessionPlan,
) -> Result<Admission, Refusal> {
    let recogniser = recogniser(shared).await?;
    let info = recogniser.info();
    let (languages, language) = (&info.languages, &plan.language);
    if language == "auto" {
        let reason = format!(
            "the language of a session must be named, only that of a job can be found by itself; installed are {}",
            languages.join(", ")
        );
        return Err(Refusal::new(ErrorType::InvalidModel, reason));
    }
    if info.code_of(language).is_none() {
        let reason = format!(
            "the language {language} is not installed; installed are {}",
            languages.join(", ")
        );
        return Err(Refusal::new(ErrorType::InvalidModel, reason));
    }
    let (quota, share) = (shared.settings.max_sessions, shared.settings.max_sessions_per_address);
    let (open, usage) = shared.sessions.try_open(id.clone(), client).map_err(|full| {
        let reason = match full {
            Full::All => {
                format!("all {quota} sessions of this appliance are taken; try again later")
            }
            Full::Client => format!(
                "your address has {share} sessions open, the most that one address may have of the {quota}; try again later"
            ),
        };
        Refusal::new(ErrorType::QuotaExceeded, reason)
    })?;
    // After the place was taken, so that one address does not keep the others from it.
    let replacements = patterns::compile(plan.rules).await.map_err(|err| {
        let kind = match err {
            patterns::Error::Rule(_) => ErrorType::InvalidConfig,
            patterns::Error::Busy => ErrorType::JobError,
        };
        Refusal::new(kind, err.to_string())
    })?;
    let at = OffsetDateTime::now_utc();
    let at = at.replace_nanosecond(0).unwrap_or(at).format(&Rfc3339).unwrap_or_default();
    let opened = Opened { id, version: shared.version.clone(), usage, quota, at, replacements };
    Ok(Admission { open, opened, recogniser })
}

async fn recogniser(shared: &RealtimeContext) -> Result<Arc<dyn Recogniser>, Refusal> {
    let reason = match shared.speech.loaded(LOADING).await {
        RecogniserState::Ready(recogniser) => return Ok(recogniser),
        RecogniserState::Loading => "the model is still being read".to_owned(),
        RecogniserState::Unavailable(reason) => reason,
    };
    Err(Refusal::new(ErrorType::JobError, reason))
}

impl websocket::Session for RealtimeSession {
    type Event = Event;

    fn text(&mut self, text: &str, socket: &mut Socket<'_>) {
        self.handle(Input::Text(text), socket);
    }

    fn binary(&mut self, bytes: Bytes, socket: &mut Socket<'_>) {
        self.handle(Input::Binary(bytes.into()), socket);
    }

    fn event(&mut self, event: Event, socket: &mut Socket<'_>) {
        match event {
            Event::Channel(index, event) => self.handle(Input::Channel(index, event), socket),
            Event::Answer(admission) => self.answered(*admission, socket),
        }
    }

    fn tick(&mut self, socket: &mut Socket<'_>) {
        self.handle(Input::Tick, socket);
    }

    fn limit(&self) -> usize {
        self.protocol.message_limit()
    }

    fn too_large(&mut self, socket: &mut Socket<'_>) {
        self.handle(Input::TooLarge, socket);
    }

    fn restart(&mut self, left: Option<Duration>, socket: &mut Socket<'_>) {
        // A little before the cut, so that the farewell gets through.
        let left = left.map(|left| left.saturating_sub(Duration::from_secs(1)));
        self.handle(Input::Restart(left.unwrap_or(self.shared.flush)), socket);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_session_has_the_id_of_its_request_or_a_random_one() {
        let id = |given: &str| {
            let request = TestRequest::default().insert_header(("x-request-id", given));
            id_of(&request.to_http_request())
        };
        assert_eq!(id("mine"), "mine");
        for unfit in ["", "two words", &"x".repeat(LONGEST_ID + 1)] {
            let made = id(unfit);
            assert_eq!(Uuid::parse_str(&made).unwrap().get_version_num(), 4, "{made}");
            assert_ne!(made, id(unfit));
        }
    }
}
