use serde_json::{Value, json};

use super::*;
use crate::{
    recogniser::{Stretch, Word},
    transcript::Replacements,
};

/// A session on a clock that the test moves.
struct Client {
    protocol: Protocol,
    now: Duration,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { waiting: 1 << 20, ..Limits::default() }
}

impl Client {
    fn new() -> Self {
        Self { protocol: Protocol::new(limits(), None, Duration::ZERO), now: Duration::ZERO }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Action> {
        self.protocol.handle(self.now, input)
    }

    fn say(&mut self, message: Value) -> Vec<Action> {
        self.give(Input::Text(&message.to_string()))
    }

    fn audio(&mut self, bytes: usize) -> Vec<Action> {
        self.give(Input::Binary(vec![0; bytes]))
    }

    fn told(&mut self, event: ChannelEvent) -> Vec<Action> {
        self.give(Input::Channel(0, event))
    }

    fn open(&mut self) -> Vec<Action> {
        self.give(Input::Opened(Opened {
            id: "7".into(),
            version: "test 1".into(),
            usage: 1,
            quota: 2,
            at: "2026-01-01T00:00:00Z".into(),
            replacements: Replacements::default(),
        }))
    }

    /// A session that runs, with raw audio of 16 kHz.
    fn running(config: Value) -> Self {
        let mut client = Self::new();
        let actions = client.say(start(config));
        assert!(matches!(actions[..], [Action::Open(_)]), "{actions:?}");
        let said = messages(&client.open());
        assert_eq!(said[0]["message"], "RecognitionStarted");
        client
    }

    /// Lets time pass second by second and gives what is done at which second.
    fn wait(&mut self, time: Duration) -> Vec<(Duration, Action)> {
        let until = self.now + time;
        let mut done = Vec::new();
        while self.now < until {
            self.now += SECOND;
            let now = self.now;
            done.extend(self.give(Input::Tick).into_iter().map(|action| (now, action)));
        }
        done
    }
}

fn start(config: Value) -> Value {
    json!({
        "message": "StartRecognition",
        "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
        "transcription_config": config,
    })
}

fn english() -> Value {
    json!({"language": "en"})
}

fn message(action: &Action) -> Option<Value> {
    match action {
        Action::Send(message) => Some(serde_json::to_value(message).unwrap()),
        _ => None,
    }
}

fn messages(actions: &[Action]) -> Vec<Value> {
    actions.iter().filter_map(message).collect()
}

/// Asserts what is to be done, by its pattern.
macro_rules! assert_done {
    ($actions:expr, $expected:pat) => {
        let actions = $actions;
        assert!(matches!(actions[..], $expected), "{actions:?}");
    };
}

#[track_caller]
fn assert_audio(action: &Action, expected: usize, sent: &[u8]) {
    let Action::Audio { channel, bytes } = action else { panic!("{action:?}") };
    assert_eq!((*channel, &bytes[..]), (expected, sent));
}

/// The error and the close code that end a session.
#[track_caller]
fn failure(actions: &[Action]) -> (String, u16) {
    match &actions[actions.len().saturating_sub(2)..] {
        [error, Action::Close { code, .. }] => {
            let error = message(error).unwrap();
            assert_eq!(error["message"], "Error");
            assert!(error["reason"].as_str().unwrap().len() > 10);
            (error["type"].as_str().unwrap().to_owned(), *code)
        }
        other => panic!("{other:?}"),
    }
}

fn words(texts: &[(&str, f64, f64)]) -> Stretch {
    let word = |(text, start, end): &(&str, f64, f64)| Word {
        text: (*text).into(),
        start: *start,
        end: *end,
        confidence: 0.9,
    };
    let (start, end) = (texts.first().map_or(0.0, |w| w.1), texts.last().map_or(0.0, |w| w.2));
    Stretch { start, end, words: texts.iter().map(word).collect() }
}

fn heard(heard: Heard) -> ChannelEvent {
    ChannelEvent::Heard { heard, forced: false }
}

#[test]
fn a_whole_session() {
    let mut client = Client::running(json!({"language": "en", "enable_partials": true}));
    let actions = client.audio(4096);
    assert_audio(&actions[0], 0, &[0; 4096]);
    assert_eq!(messages(&actions), [json!({"message": "AudioAdded", "seq_no": 1})]);
    let partial = client.told(heard(Heard::Partial(words(&[("Welcome", 0.2, 0.6)]))));
    assert_eq!(messages(&partial)[0]["metadata"]["transcript"], "Welcome");
    let last = words(&[("Welcome", 0.2, 0.6), ("home.", 0.7, 1.004)]);
    let said = messages(&client.told(heard(Heard::Final(last))));
    assert_eq!(said[0]["message"], "AddTranscript");
    let metadata = json!({"start_time": 0.2, "end_time": 1.0, "transcript": "Welcome home. "});
    assert_eq!(said[0]["metadata"], metadata);
    assert_eq!(said[0]["results"].as_array().unwrap().len(), 3);
    let alternative = &said[0]["results"][0]["alternatives"][0];
    assert_eq!(alternative["speaker"], Value::Null, "diarization is off");
    let end = client.say(json!({"message": "EndOfStream", "last_seq_no": 0}));
    assert_done!(end, [Action::End { channel: 0 }]);
    let end = client.told(ChannelEvent::Ended);
    assert_eq!(messages(&end), [json!({"message": "EndOfTranscript"})]);
    assert!(client.wait(9 * SECOND).is_empty());
    let (seconds, farewell): (Vec<_>, Vec<_>) = client.wait(2 * SECOND).into_iter().unzip();
    assert_eq!(seconds, [10 * SECOND]);
    assert_done!(farewell, [Action::Close { code: 1000, reason: "" }]);
    assert!(client.audio(1).is_empty(), "it is over");
}

#[test]
fn what_was_not_asked_for_is_not_told() {
    let mut client = Client::running(english());
    assert!(client.told(heard(Heard::Partial(words(&[("a", 0.0, 0.1)])))).is_empty());
    assert!(client.told(heard(Heard::EndOfUtterance { at: 1.0 })).is_empty());
    let forced = ChannelEvent::Heard { heard: Heard::EndOfUtterance { at: 1.0 }, forced: true };
    let said = messages(&client.told(forced));
    assert_eq!((&said[0]["message"], &said[0]["forced"]), (&"EndOfUtterance".into(), &true.into()));
}

#[test]
fn acknowledgements_wait_for_the_recogniser_and_are_all_there_at_the_end() {
    let mut client = Client::running(english());
    let seconds = |actions: &[Action]| messages(actions).len();
    // Ten seconds of lead.
    let acknowledged: usize = (0..15).map(|_| seconds(&client.audio(32_000))).sum();
    assert_eq!(acknowledged, 10);
    assert_eq!(seconds(&client.told(ChannelEvent::Consumed(64_000))), 2);
    // The client is kept from giving up.
    let kept = client.wait(61 * SECOND);
    assert_eq!(kept.iter().filter_map(|(_, a)| message(a)).next().unwrap()["seq_no"], 13);
    client.say(json!({"message": "EndOfStream", "last_seq_no": 1}));
    let said = messages(&client.told(ChannelEvent::Ended));
    let numbers: Vec<_> = said.iter().filter_map(|said| said["seq_no"].as_u64()).collect();
    assert_eq!(numbers, [14, 15]);
    assert_eq!(said.last().unwrap()["message"], "EndOfTranscript");
}

#[test]
fn too_much_audio_at_once_is_an_error() {
    let mut client = Client::running(english());
    assert!(!client.audio(1 << 20).is_empty());
    assert_eq!(failure(&client.audio(1)), ("buffer_error".into(), 1008));
    let mut client = Client::running(english());
    for _ in 0..MOST_WAITING {
        client.audio(3);
        if client.protocol.phase == Phase::Closed {
            break;
        }
    }
    client.audio(1 << 19);
    let count = client.protocol.channels[0].unacknowledged();
    assert!(count <= MOST_WAITING, "{count}");
}

#[test]
fn messages_at_the_wrong_time_are_protocol_errors() {
    let protocol_error = ("protocol_error".to_owned(), 1003);
    assert_eq!(failure(&Client::new().audio(10)), protocol_error);
    for name in ["EndOfStream", "GetSpeakers", "ForceEndOfUtterance"] {
        assert_eq!(failure(&Client::new().say(json!({"message": name}))), protocol_error, "{name}");
    }
    let mut opening = Client::new();
    opening.say(start(english()));
    assert_eq!(failure(&opening.audio(10)), protocol_error);
    let mut twice = Client::running(english());
    assert_eq!(failure(&twice.say(start(english()))), protocol_error);
    let config =
        json!({"language": "en", "diarization": "channel", "channel_diarization_labels": ["a"]});
    assert_eq!(failure(&Client::running(config).audio(10)), protocol_error);
}

#[test]
fn what_cannot_be_understood_is_refused_by_its_kind() {
    for (text, expected) in [
        ("{", "invalid_message"),
        ("[]", "invalid_message"),
        ("{\"message\": \"Hello\"}", "invalid_message"),
        ("{\"message\": \"StartRecognition\"}", "invalid_config"),
    ] {
        let mut client = Client::new();
        assert_eq!(failure(&client.give(Input::Text(text))), (expected.to_owned(), 1003), "{text}");
    }
    for (format, expected) in [
        (json!({"type": "raw"}), "invalid_audio_type"),
        (json!({"type": "raw", "encoding": "mp3", "sample_rate": 1}), "invalid_audio_type"),
        (json!({"type": "raw", "encoding": "mulaw", "sample_rate": 1}), "invalid_audio_type"),
    ] {
        let mut message = start(english());
        message["audio_format"] = format;
        assert_eq!(failure(&Client::new().say(message)).0, expected);
    }
    let oversized = Client::new().give(Input::TooLarge);
    assert_eq!(failure(&oversized), ("invalid_message".into(), 1009));
}

#[test]
fn the_language_of_the_path_must_be_that_of_the_configuration() {
    let mut client = Client::new();
    client.protocol = Protocol::new(limits(), Some("de".into()), Duration::ZERO);
    assert_eq!(failure(&client.say(start(english()))), ("invalid_model".into(), 4004));
}

#[test]
fn a_refusal_and_a_failing_recogniser_end_the_session() {
    let mut client = Client::new();
    client.say(start(english()));
    let refusal = Refusal::new(ErrorType::QuotaExceeded, "all sessions are taken");
    assert_eq!(failure(&client.give(Input::Refused(refusal))), ("quota_exceeded".into(), 4005));
    let mut client = Client::running(english());
    let failed = ChannelEvent::Failed(Refusal::new(ErrorType::JobError, "out of memory"));
    assert_eq!(failure(&client.told(failed)), ("job_error".into(), 4013));
}

#[test]
fn late_audio_is_warned_of_once_and_ignored() {
    let mut client = Client::running(english());
    client.say(json!({"message": "EndOfStream", "last_seq_no": 5}));
    let said = messages(&client.audio(5));
    assert_eq!(
        (&said[0]["message"], &said[0]["type"]),
        (&"Warning".into(), &"add_audio_after_eos".into())
    );
    assert!(client.audio(5).is_empty());
}

#[test]
fn a_session_without_audio_is_warned_and_ended() {
    let mut client = Client::running(english());
    client.wait(30 * MINUTE);
    client.audio(2);
    let done = client.wait(60 * MINUTE);
    let times: Vec<u64> = done.iter().map(|(at, _)| at.as_secs() / 60 - 30).collect();
    assert_eq!(times, [45, 50, 55, 60, 60]);
    let reason = "Session will timeout in 15m due to inactivity, no audio sent within the last 45m";
    let warning = json!({"message": "Warning", "type": "idle_timeout", "reason": reason});
    assert_eq!(message(&done[0].1).unwrap(), warning);
    let last: Vec<_> = done.into_iter().skip(3).map(|(_, action)| action).collect();
    assert_eq!(failure(&last), ("idle_timeout".into(), 1008));
}

#[test]
fn a_session_ends_after_48_hours() {
    let mut client = Client::running(english());
    let mut done = Vec::new();
    for _ in 0..48 * 60 {
        client.audio(2);
        client.told(ChannelEvent::Consumed(u64::MAX));
        done.extend(client.wait(MINUTE));
    }
    let minutes: Vec<u64> = done.iter().map(|(at, _)| 48 * 60 - at.as_secs() / 60).collect();
    assert_eq!(minutes, [45, 30, 15, 0, 0]);
    assert_eq!(message(&done[0].1).unwrap()["type"], "session_timeout");
    let last: Vec<_> = done.into_iter().skip(3).map(|(_, action)| action).collect();
    assert_eq!(failure(&last), ("session_timeout".into(), 1008));
}

#[test]
fn the_configuration_changes_while_the_session_runs() {
    let mut client = Client::running(json!({"language": "en", "max_delay": 2}));
    let change =
        |config: Value| json!({"message": "SetRecognitionConfig", "transcription_config": config});
    assert!(client.say(change(json!({"language": "en", "max_delay": 2}))).is_empty());
    let actions = client.say(change(json!({"max_delay": 1, "enable_partials": true})));
    let [Action::Configure { channel: 0, live }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((live.max_delay, live.partials), (SECOND, true));
    let partial = client.told(heard(Heard::Partial(words(&[("a", 0.0, 0.1)]))));
    assert_eq!(partial.len(), 1);
    assert_eq!(
        failure(&client.say(change(json!({"language": "de"})))),
        ("invalid_config".into(), 1003)
    );
}

#[test]
fn channels_are_counted_and_ended_apart() {
    let config = json!({"language": "en", "diarization": "channel", "channel_diarization_labels": ["a", "b"]});
    let mut client = Client::running(config);
    let audio =
        |channel: &str| json!({"message": "AddChannelAudio", "channel": channel, "data": "AAAA"});
    for (channel, index, seq_no) in [("b", 1, 1), ("a", 0, 1), ("b", 1, 2)] {
        let actions = client.say(audio(channel));
        assert_audio(&actions[0], index, &[0; 3]);
        let expected =
            json!({"message": "ChannelAudioAdded", "seq_no": seq_no, "channel": channel});
        assert_eq!(messages(&actions), [expected]);
    }
    let said = client.give(Input::Channel(1, heard(Heard::Final(words(&[("Hi", 0.0, 0.5)])))));
    assert_eq!(messages(&said)[0]["channel"], "b");
    let end =
        |channel: &str| json!({"message": "EndOfChannel", "channel": channel, "last_seq_no": 2});
    assert_done!(client.say(end("b")), [Action::End { channel: 1 }]);
    assert!(client.give(Input::Channel(1, ChannelEvent::Ended)).is_empty());
    assert_done!(client.say(end("a")), [Action::End { channel: 0 }]);
    let said = messages(&client.told(ChannelEvent::Ended));
    assert_eq!(said, [json!({"message": "EndOfTranscript"})]);
    let mut client = Client::running(english());
    assert_eq!(failure(&client.say(audio("a"))).0, "invalid_message");
}

#[test]
fn at_a_restart_finals_are_told_before_the_farewell() {
    let mut client = Client::running(english());
    client.audio(100);
    assert_done!(client.give(Input::Restart(5 * SECOND)), [Action::End { channel: 0 }]);
    assert_eq!(client.told(heard(Heard::Final(words(&[("Bye", 0.0, 0.5)])))).len(), 1);
    let actions = client.told(ChannelEvent::Ended);
    assert_eq!(messages(&actions).last().unwrap()["message"], "EndOfTranscript");
    assert_done!(actions, [.., Action::Close { code: 1012, reason: "service restart" }]);

    let mut slow = Client::running(english());
    slow.give(Input::Restart(5 * SECOND));
    let done: Vec<_> = slow.wait(6 * SECOND).into_iter().map(|(_, action)| action).collect();
    assert_eq!(messages(&done), [json!({"message": "EndOfTranscript"})]);
    assert_done!(done, [_, Action::Close { code: 1012, reason: "service restart" }]);
    let fresh = Client::new().give(Input::Restart(SECOND));
    assert_eq!(fresh.len(), 1, "{fresh:?}");
}

#[test]
fn forcing_goes_to_the_channel_that_was_named() {
    let mut client = Client::running(english());
    let forced = client.say(json!({"message": "ForceEndOfUtterance"}));
    assert_done!(forced, [Action::Force { channel: 0 }]);
    let config = json!({"language": "en", "diarization": "channel", "channel_diarization_labels": ["a", "b"]});
    let mut client = Client::running(config);
    let force = json!({"message": "ForceEndOfUtterance", "channel": "b"});
    assert_done!(client.say(force), [Action::Force { channel: 1 }]);
}

#[test]
fn a_socket_that_starts_no_session_is_ended() {
    let mut client = Client::new();
    assert_eq!(client.protocol.message_limit(), 256 << 10);
    assert!(client.wait(59 * SECOND).is_empty());
    client.now += SECOND;
    assert_eq!(failure(&client.give(Input::Tick)), ("idle_timeout".to_owned(), 1008));
    // One that asks for a session has as long.
    let mut client = Client::new();
    client.say(start(english()));
    client.now += MINUTE;
    assert_eq!(failure(&client.give(Input::Tick)), ("idle_timeout".to_owned(), 1008));
    let mut client = Client::running(english());
    assert_eq!(client.protocol.message_limit(), 4 << 20);
    assert!(client.wait(2 * MINUTE).is_empty());
}

#[test]
fn a_reason_repeats_little_of_what_was_sent() {
    let mut client = Client::new();
    let name = format!("a\n{}", "b".repeat(100_000));
    let actions = client.say(start(json!({"language": "en", name: 1})));
    let reason = message(&actions[0]).unwrap()["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("transcription_config.abbb"), "{reason}");
    assert!(reason.len() < 600 && reason.ends_with(" …"), "{reason}");
}

#[test]
fn a_byte_order_mark_before_a_message_is_ignored() {
    let mut client = Client::new();
    let actions =
        client.give(Input::Text(&format!("\u{feff}{}", start(json!({"language": "en"})))));
    assert!(matches!(actions[..], [Action::Open(_)]), "{actions:?}");
}
