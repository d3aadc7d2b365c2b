//! Against a small server of the protocol that does as it is told.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
    time::Duration,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::{Value, json};
use tungstenite::{
    Message, WebSocket,
    handshake::server::{ErrorResponse, Request, Response},
};

use super::*;
use crate::recogniser::{Cancel, Heard, LiveOptions, SAMPLE_RATE, Term, Word};

trait Duplex: std::io::Read + std::io::Write + Send {}
impl<T: std::io::Read + std::io::Write + Send> Duplex for T {}

/// One connection on the server's side.
struct Caller {
    socket: WebSocket<Box<dyn Duplex>>,
    path: String,
    authorization: Option<String>,
}

impl Caller {
    #[expect(clippy::result_large_err, reason = "the callback's type is tungstenite's")]
    fn accept(stream: Box<dyn Duplex>) -> Self {
        let (mut path, mut authorization) = (String::new(), None);
        let look = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            path = request.uri().path().to_owned();
            let header = request.headers().get("authorization");
            authorization = header.map(|value| value.to_str().unwrap().to_owned());
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, look).unwrap();
        Self { socket, path, authorization }
    }

    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The next text message; audio before it is acknowledged and counted in bytes.
    fn hear(&mut self) -> (Value, usize) {
        let mut bytes = 0;
        loop {
            match self.socket.read().unwrap() {
                Message::Text(text) => return (serde_json::from_str(&text).unwrap(), bytes),
                Message::Binary(audio) => {
                    bytes += audio.len();
                    self.say(&json!({"message": "AudioAdded", "seq_no": 1}));
                }
                other => panic!("unexpected: {other:?}"),
            }
        }
    }

    /// Begins as servers do; gives what was asked for.
    fn start(&mut self) -> Value {
        let (start, _) = self.hear();
        assert_eq!(start["message"], "StartRecognition");
        self.say(&json!({"message": "Info", "type": "concurrent_session_usage", "reason": ""}));
        self.say(&json!({"message": "RecognitionStarted", "id": "1", "new_key": [1]}));
        start
    }

    fn end(&mut self) {
        self.say(&json!({"message": "EndOfTranscript"}));
        // Until the other side closes.
        while self.socket.read().is_ok() {}
    }
}

type Script = Box<dyn FnOnce(&mut Caller) + Send>;

/// Serves one connection for each of `scripts`, one after the other.
fn serve(scripts: Vec<Script>, tls: Option<Arc<ServerConfig>>) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for script in scripts {
            let (socket, _) = listener.accept().unwrap();
            let stream: Box<dyn Duplex> = match &tls {
                None => Box::new(socket),
                Some(config) => {
                    let connection = ServerConnection::new(config.clone()).unwrap();
                    Box::new(StreamOwned::new(connection, socket))
                }
            };
            script(&mut Caller::accept(stream));
        }
    });
    (port, thread)
}

fn settings(port: u16) -> UpstreamSettings {
    UpstreamSettings {
        url: format!("ws://127.0.0.1:{port}"),
        languages: vec!["en".into()],
        ca: None,
        token_file: None,
    }
}

fn live() -> LiveOptions {
    LiveOptions {
        partials: true,
        max_delay: Duration::from_secs(10),
        end_of_utterance: Some(Duration::from_millis(700)),
        ..LiveOptions::default()
    }
}

fn result(kind: &str, content: &str, start: f64, end: f64) -> Value {
    json!({"type": kind, "start_time": start, "end_time": end,
        "alternatives": [{"content": content, "confidence": 0.5, "language": "en"}]})
}

fn transcript(message: &str, start: f64, end: f64, results: &[Value]) -> Value {
    json!({"message": message, "format": "2.9", "results": results,
        "metadata": {"start_time": start, "end_time": end, "transcript": ""}})
}

fn words(heard: &[Heard]) -> Vec<(String, f64, f64)> {
    let stretches = heard.iter().filter_map(|heard| match heard {
        Heard::Final(stretch) => Some(&stretch.words),
        Heard::Partial(_) | Heard::EndOfUtterance { .. } => None,
    });
    stretches.flatten().map(|Word { text, start, end, .. }| (text.clone(), *start, *end)).collect()
}

fn failure(upstream: &Upstream, options: SessionOptions) -> String {
    upstream.begin(options).err().expect("it is refused").to_string()
}

#[test]
fn audio_goes_there_and_words_come_back_and_times_go_on_after_a_finish() {
    let first = |caller: &mut Caller| {
        assert_eq!((caller.path.as_str(), &caller.authorization), ("/v2", &None));
        let start = caller.start();
        assert_eq!(
            start["audio_format"],
            json!({"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000})
        );
        assert_eq!(
            start["transcription_config"],
            json!({"language": "en", "enable_partials": true, "max_delay": 4.0,
                "max_delay_mode": "flexible", "additional_vocab": ["Gnocchi", {"content": "CEO", "sounds_like": ["see ee oh"]}],
                "conversation_config": {"end_of_utterance_silence_trigger": 0.7}})
        );
        let (set, bytes) = caller.hear();
        assert_eq!(bytes, 2 * 16000);
        assert_eq!(set["message"], "SetRecognitionConfig");
        assert_eq!(set["transcription_config"]["max_delay"], 1.0);
        assert_eq!(set["transcription_config"]["language"], "en");
        let partial = [result("word", "hell", 0.1, 0.3)];
        caller.say(&transcript("AddPartialTranscript", 0.0, 0.3, &partial));
        let (end, bytes) = caller.hear();
        assert_eq!(bytes, 2 * 8100);
        assert_eq!(end["message"], "EndOfStream");
        let mut open = result("punctuation", "¿", 0.5, 0.5);
        open["attaches_to"] = "next".into();
        let mut joint = result("punctuation", "-", 0.8, 0.8);
        joint["attaches_to"] = "both".into();
        let said = [
            result("word", "hello", 0.1, 0.4),
            result("punctuation", ",", 0.4, 0.4),
            open,
            result("word", "well", 0.5, 0.8),
            joint,
            result("word", "known", 0.8, 1.0),
            result("entity", "10 meters", 1.0, 1.2),
            result("punctuation", "!", 1.2, 1.2),
        ];
        caller.say(&transcript("AddTranscript", 0.1, 1.2, &said));
        caller.say(
            &json!({"message": "EndOfUtterance", "metadata": {"start_time": 1.2, "end_time": 1.2}}),
        );
        caller.end();
    };
    let second = |caller: &mut Caller| {
        let start = caller.start();
        assert_eq!(start["transcription_config"]["max_delay"], 1.0);
        let (end, bytes) = caller.hear();
        assert_eq!((end["message"].as_str(), bytes), (Some("EndOfStream"), 2 * 1600));
        caller.say(&transcript("AddTranscript", 0.0, 0.1, &[result("word", "again", 0.0, 0.1)]));
        caller.end();
    };
    let (port, server) = serve(vec![Box::new(first), Box::new(second)], None);
    let upstream = Upstream::new(settings(port)).unwrap();
    let mut options = SessionOptions::live("en", live(), Cancel::default());
    let ceo = Term { content: "CEO".into(), sounds_like: vec!["see ee oh".into()] };
    options.vocabulary = vec!["Gnocchi".into(), ceo];
    let mut session = upstream.begin(options).unwrap();
    let mut heard = session.feed(&vec![0.1; 16000]).unwrap();
    session.configure(&LiveOptions { max_delay: Duration::from_secs(1), ..live() }).unwrap();
    // Less than a message is kept until the end.
    heard.extend(session.feed(&vec![0.1; 8000]).unwrap());
    heard.extend(session.feed(&vec![0.1; 100]).unwrap());
    heard.extend(session.finish().unwrap());
    assert!(heard.iter().any(|heard| matches!(heard, Heard::Partial(_))));
    assert!(!matches!(heard.last(), Some(Heard::EndOfUtterance { .. })));
    let expected = [("hello,", 0.1, 0.4), ("¿well-known", 0.8, 1.0), ("10 meters!", 1.0, 1.2)];
    assert_eq!(words(&heard), expected.map(|(text, start, end)| (text.to_owned(), start, end)));
    assert!(session.finish().unwrap().is_empty());

    session.feed(&vec![0.1; 1600]).unwrap();
    let offset = 24100.0 / f64::from(SAMPLE_RATE);
    let heard = session.finish().unwrap();
    assert_eq!(words(&heard), [("again".to_owned(), offset, offset + 0.1)]);
    assert_eq!(session.measures().final_words(), 4);
    drop(session);
    server.join().unwrap();
}

#[test]
fn no_more_is_sent_than_the_server_acknowledges() {
    let (look, looked) = mpsc::channel();
    let script = move |caller: &mut Caller| {
        caller.start();
        let mut ahead = 0;
        // Reads what comes without an answer, until nothing more comes: the bound is reached.
        while ahead < 10 * 2 * SAMPLE_RATE as usize {
            let Message::Binary(audio) = caller.socket.read().unwrap() else { panic!("no audio") };
            ahead += audio.len();
            caller.say(&json!({"message": "Info", "type": "x", "reason": ""}));
        }
        look.send(ahead).unwrap();
        for _ in 0..ahead / 16000 {
            caller.say(&json!({"message": "AudioAdded", "seq_no": 1}));
        }
        let (end, bytes) = caller.hear();
        assert_eq!(end["message"], "EndOfStream");
        assert_eq!(ahead + bytes, 60 * 2 * SAMPLE_RATE as usize);
        caller.end();
    };
    let (port, server) = serve(vec![Box::new(script)], None);
    let upstream = Upstream::new(settings(port)).unwrap();
    let mut session = upstream.begin(SessionOptions::batch("en", Cancel::default())).unwrap();
    session.feed(&vec![0.1; 60 * SAMPLE_RATE as usize]).unwrap();
    session.finish().unwrap();
    assert_eq!(looked.recv().unwrap(), 10 * 2 * SAMPLE_RATE as usize);
    drop(session);
    server.join().unwrap();
}

#[test]
fn a_job_waits_for_a_busy_server_and_a_live_session_is_told() {
    let busy = |caller: &mut Caller| {
        caller.hear();
        caller.say(&json!({"message": "Error", "type": "quota_exceeded", "reason": "all taken\n"}));
    };
    let free = |caller: &mut Caller| {
        caller.start();
    };
    let scripts: Vec<Script> = vec![Box::new(busy), Box::new(busy), Box::new(free)];
    let (port, server) = serve(scripts, None);
    let upstream = Upstream::new(settings(port)).unwrap();
    let told = failure(&upstream, SessionOptions::live("en", live(), Cancel::default()));
    assert!(told.contains(&format!("ws://127.0.0.1:{port}/v2")), "{told}");
    assert!(told.ends_with("quota_exceeded: all taken"), "{told}");
    upstream.begin(SessionOptions::batch("en", Cancel::default())).unwrap();
    server.join().unwrap();
}

#[test]
fn errors_and_broken_connections_end_the_session_with_the_reason() {
    let error = |caller: &mut Caller| {
        caller.start();
        caller.say(&json!({"message": "Error", "type": "job_error", "reason": "out of memory"}));
        while caller.socket.read().is_ok() {}
    };
    let breaks = |caller: &mut Caller| {
        caller.start();
    };
    let closes = |caller: &mut Caller| {
        caller.start();
        caller.socket.close(None).unwrap();
        while caller.socket.read().is_ok() {}
    };
    let ends_early = |caller: &mut Caller| {
        caller.start();
        caller.end();
    };
    let garbage = |caller: &mut Caller| {
        caller.start();
        caller.socket.send(Message::text("{\"message\":")).unwrap();
    };
    let scripts: Vec<Script> = vec![
        Box::new(error),
        Box::new(breaks),
        Box::new(closes),
        Box::new(ends_early),
        Box::new(garbage),
    ];
    let (port, server) = serve(scripts, None);
    let upstream = Upstream::new(settings(port)).unwrap();
    for expected in [
        "job_error: out of memory",
        "the connection broke",
        "it closed the connection",
        "ended the transcript before",
        "no message of the protocol",
    ] {
        let mut session = upstream.begin(SessionOptions::batch("en", Cancel::default())).unwrap();
        let reason = loop {
            if let Err(err) = session.feed(&[0.1; 1600]) {
                break err.to_string();
            }
        };
        assert!(reason.contains(expected) && reason.contains("the upstream ws://"), "{reason}");
    }
    server.join().unwrap();
    // Nobody is there any more.
    let refused = failure(&upstream, SessionOptions::batch("en", Cancel::default()));
    assert!(refused.contains("no connection to 127.0.0.1"), "{refused}");
    let french = failure(&upstream, SessionOptions::batch("fr", Cancel::default()));
    assert!(french.contains("the language fr"), "{french}");
}

#[test]
fn a_cancelled_session_does_not_wait_for_the_server() {
    let (done, wait) = mpsc::channel::<()>();
    let script = move |caller: &mut Caller| {
        caller.start();
        let _ = wait.recv();
    };
    let (port, server) = serve(vec![Box::new(script)], None);
    let cancel = Cancel::default();
    let upstream = Upstream::new(settings(port)).unwrap();
    let mut session = upstream.begin(SessionOptions::batch("en", cancel.clone())).unwrap();
    session.feed(&vec![0.1; 16000]).unwrap();
    let canceller = std::thread::spawn(move || cancel.cancel());
    assert_eq!(session.finish(), Err(RecogniserError::Cancelled));
    canceller.join().unwrap();
    drop(done);
    server.join().unwrap();
}

#[test]
fn the_certificate_is_checked_and_the_token_sent() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let script = |caller: &mut Caller| {
        assert_eq!(caller.path, "/v2/en");
        assert_eq!(caller.authorization.as_deref(), Some("Bearer secret"));
        caller.start();
        caller.end();
    };
    let (port, server) = serve(vec![Box::new(script)], Some(Arc::new(config)));
    let folder = tempfile::tempdir().unwrap();
    let (ca, token) = (folder.path().join("ca.pem"), folder.path().join("token"));
    std::fs::write(&ca, made.cert.pem()).unwrap();
    std::fs::write(&token, "secret\n").unwrap();
    let url = format!("wss://localhost:{port}/v2/en");
    let settings = |ca: Option<&PathBuf>| UpstreamSettings {
        url: url.clone(),
        languages: vec!["en".into()],
        ca: ca.cloned(),
        token_file: Some(token.clone()),
    };
    let upstream = Upstream::new(settings(Some(&ca))).unwrap();
    let mut session = upstream.begin(SessionOptions::batch("en", Cancel::default())).unwrap();
    assert!(session.finish().unwrap().is_empty());
    drop(session);
    server.join().unwrap();

    // One that nobody vouches for. Both sides see the handshake fail.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("wss://localhost:{}", listener.local_addr().unwrap().port());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let server = std::thread::spawn(move || {
        let config = Arc::new(config);
        for _ in 0..2 {
            let (mut socket, _): (TcpStream, _) = listener.accept().unwrap();
            let mut connection = ServerConnection::new(config.clone()).unwrap();
            while connection.is_handshaking() && connection.complete_io(&mut socket).is_ok() {}
        }
    });
    for ca in [Some(&ca), None] {
        let settings = UpstreamSettings { url: url.clone(), ..settings(ca) };
        let upstream = Upstream::new(settings).unwrap();
        let refused = failure(&upstream, SessionOptions::batch("en", Cancel::default()));
        assert!(
            refused.contains("the TLS handshake failed: invalid peer certificate"),
            "{refused}"
        );
        assert!(!refused.contains("secret"));
    }
    server.join().unwrap();
}

#[test]
fn wrong_settings_are_told() {
    let told = |change: &dyn Fn(&mut UpstreamSettings)| {
        let mut settings = settings(1);
        change(&mut settings);
        Upstream::new(settings).err().expect("it is refused").to_string()
    };
    for (url, reason) in [
        ("http://a/v2", "the scheme"),
        ("localhost:9000", "the scheme"),
        ("ws://", "malformed"),
        ("wss://me:secret@a", "a user"),
        ("wss://a/v2?jwt=secret", "a query"),
    ] {
        let told = told(&|settings| settings.url = url.to_owned());
        assert!(told.contains(reason), "{told}");
    }
    assert!(told(&|settings| settings.languages.clear()).contains("no languages"));
    let told_of_ca = |path: &Path| {
        told(&|settings| {
            settings.url = "wss://a".into();
            settings.ca = Some(path.to_owned());
        })
    };
    let told = told_of_ca(Path::new("/nowhere/ca.pem"));
    assert!(told.contains("/nowhere/ca.pem"), "{told}");
    let ca = tempfile::NamedTempFile::new().unwrap();
    let block = |text| format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    for (content, reason) in [
        ("no PEM".to_owned(), "it holds no certificate in PEM"),
        (block("%%%%"), "base64"),
        (block("AAAA"), "invalid peer certificate"),
    ] {
        std::fs::write(&ca, content).unwrap();
        let told = told_of_ca(ca.path());
        assert!(told.contains(&ca.path().display().to_string()), "{told}");
        assert!(told.contains(reason), "{told}");
    }
}
