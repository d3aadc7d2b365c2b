//! Realtime sessions, spoken by hand over a WebSocket.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::http::{BoxedStream, open};
use super::service::{Service, Setup};
use super::{seconds, within};

/// Longest wait for a message; decodes of other tests may be in the way.
const PATIENCE: Duration = seconds(90);

/// Bytes of a second of the raw audio that is sent here.
pub(crate) const SECOND: usize = 32_000;

/// An appliance with the realtime service beside the others and alone, plain and over TLS.
pub(crate) fn realtime_setup() -> Setup {
    let listener = |name: &str, extra: &str, services: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [{services}]\n\n"
        )
    };
    let all = r#""security", "management", "monitoring", "batch", "realtime""#;
    Service::portcullis().listeners(
        &(listener("http", "redirect_to = \"https\"", all)
            + &listener("https", "tls = true", all)
            + &listener("ws", "redirect_to = \"wss\"", r#""realtime""#)
            + &listener("wss", "tls = true", r#""realtime""#)),
    )
}

/// The samples of a recording: 16 bits, 16 kHz, without the header.
pub(crate) fn samples(wav: &Path) -> Vec<u8> {
    std::fs::read(wav).expect("a recording").split_off(44)
}

/// `StartRecognition` for raw samples with these additions to the configuration.
pub(crate) fn start_raw(config: &Value) -> Value {
    let mut all = json!({"language": "en"});
    for (key, value) in config.as_object().expect("an object") {
        all[key] = value.clone();
    }
    json!({
        "message": "StartRecognition",
        "audio_format": {"type": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
        "transcription_config": all,
    })
}

/// A client that says what it is told to say.
pub(crate) struct Client {
    stream: WebSocketStream<BoxedStream>,
}

impl Client {
    /// Opens a socket on a listener.
    pub(crate) async fn connect(service: &Service, listener: &str, path: &str) -> Self {
        Self::with_headers(service, listener, path, &[]).await.expect("a WebSocket")
    }

    /// The same with header lines; the error may be an HTTP answer.
    pub(crate) async fn with_headers(
        service: &Service,
        listener: &str,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let port = service.port(listener);
        let tls = service.url(listener, "").starts_with("https");
        let stream = open(port, tls).await?;
        let scheme = if tls { "wss" } else { "ws" };
        let mut request = format!("{scheme}://127.0.0.1:{port}{path}").into_client_request()?;
        for (name, value) in headers {
            let value = HeaderValue::from_str(value).expect("a header value");
            request.headers_mut().insert(*name, value);
        }
        let upgrade = client_async(request, stream);
        let (stream, response) = within(seconds(20), "a WebSocket upgrade", upgrade).await?;
        let extensions = response.headers().get("sec-websocket-extensions");
        assert_eq!(extensions, None, "no extension was agreed on");
        Ok(Self { stream })
    }

    /// Opens a session on the TLS listener and waits until it has started.
    pub(crate) async fn session(service: &Service, config: &Value) -> Self {
        let mut client = Self::connect(service, "wss", "/v2/en").await;
        client.say(&start_raw(config)).await;
        let started = client.next_of("RecognitionStarted").await;
        assert!(started["id"].as_str().is_some_and(|id| !id.is_empty()), "{started}");
        client
    }

    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        within(PATIENCE, "a message is taken", self.stream.send(message)).await
    }

    pub(crate) async fn say(&mut self, message: &Value) {
        self.send(Message::Text(message.to_string().into())).await.expect("sent");
    }

    pub(crate) async fn audio(&mut self, bytes: &[u8]) {
        self.send(Message::Binary(bytes.to_vec().into())).await.expect("audio sent");
    }

    /// Sends audio as fast as it was spoken; gives what came meanwhile.
    pub(crate) async fn speak(&mut self, audio: &[u8]) -> Vec<Value> {
        let (begun, mut heard) = (Instant::now(), Vec::new());
        for (index, piece) in audio.chunks(SECOND / 10).enumerate() {
            self.audio(piece).await;
            let due = begun + Duration::from_millis(100) * (index as u32 + 1);
            while let Ok(message) = tokio::time::timeout_at(due.into(), self.next()).await {
                heard.push(message);
            }
        }
        heard
    }

    pub(crate) async fn end(&mut self) {
        self.say(&json!({"message": "EndOfStream", "last_seq_no": 0})).await;
    }

    /// The next frame that carries something; `None` when the connection is gone.
    pub(crate) async fn frame(&mut self) -> Option<Message> {
        loop {
            let frame = within(PATIENCE, "a frame", self.stream.next()).await;
            match frame {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(frame)) => return Some(frame),
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// The next message of the appliance.
    pub(crate) async fn next(&mut self) -> Value {
        match self.frame().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("instead of a message: {other:?}"),
        }
    }

    /// The next message of this kind.
    pub(crate) async fn next_of(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["message"] == kind {
                return message;
            }
            assert_ne!(message["message"], "Error", "while waiting for {kind}: {message}");
        }
    }

    /// Everything up to the end of the transcript.
    pub(crate) async fn rest(&mut self) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let message = self.next().await;
            assert_ne!(message["message"], "Error", "{message}");
            let last = message["message"] == "EndOfTranscript";
            all.push(message);
            if last {
                return all;
            }
        }
    }

    /// The code and the reason with which the appliance closes, whatever it says before.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.frame().await {
                Some(Message::Close(Some(frame))) => {
                    return (frame.code.into(), frame.reason.to_string());
                }
                Some(Message::Text(_)) => {}
                other => panic!("instead of a close frame: {other:?}"),
            }
        }
    }

    /// The type of the error and the close code that end the session.
    pub(crate) async fn fails(&mut self) -> (String, u16) {
        loop {
            let message = self.next().await;
            if message["message"] == "Error" {
                assert!(message["reason"].as_str().is_some_and(|reason| reason.len() > 10));
                let kind = message["type"].as_str().expect("a type").to_owned();
                return (kind, self.closed().await.0);
            }
        }
    }
}

/// What was finally said.
pub(crate) fn text(messages: &[Value]) -> String {
    let finals = messages.iter().filter(|message| message["message"] == "AddTranscript");
    finals.filter_map(|message| message["metadata"]["transcript"].as_str()).collect()
}

/// The numbers of the acknowledgements.
pub(crate) fn acknowledged(messages: &[Value]) -> Vec<u64> {
    let added = messages.iter().filter(|message| message["message"] == "AudioAdded");
    added.filter_map(|message| message["seq_no"].as_u64()).collect()
}
