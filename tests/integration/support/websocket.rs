//! WebSocket clients of the echo service.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::http::{BoxedStream, open};
use super::{pace, seconds, within};

/// Longest wait for an echo.
const ECHO_DEADLINE: Duration = seconds(10);

/// One open WebSocket.
pub(crate) struct Socket {
    stream: WebSocketStream<BoxedStream>,
}

impl Socket {
    pub(crate) async fn connect(port: u16, with_tls: bool) -> Result<Self, Error> {
        let stream = open(port, with_tls).await?;
        Self::over(stream, port, with_tls).await
    }

    /// Opens a WebSocket over a connection that exists.
    pub(crate) async fn over(
        stream: BoxedStream,
        port: u16,
        with_tls: bool,
    ) -> Result<Self, Error> {
        let scheme = if with_tls { "wss" } else { "ws" };
        let url = format!("{scheme}://127.0.0.1:{port}/echo/ws");
        let upgrade = client_async(url, stream);
        let (stream, _) = within(seconds(20), "a WebSocket upgrade", upgrade).await?;
        Ok(Self { stream })
    }

    /// The next frame that carries something.
    pub(crate) async fn next(&mut self) -> Option<Result<Message, Error>> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => return other,
            }
        }
    }

    /// Sends a message and waits for nothing.
    pub(crate) async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.stream.send(message).await
    }

    /// Sends a message and takes its echo.
    pub(crate) async fn echo(&mut self, message: Message) -> Result<(), String> {
        self.stream.send(message.clone()).await.map_err(|err| format!("send: {err}"))?;
        match tokio::time::timeout(ECHO_DEADLINE, self.next()).await {
            Err(_) => Err(format!("no echo of {message:?}")),
            Ok(None) => Err("the server ended the connection".to_owned()),
            Ok(Some(Err(err))) => Err(format!("receive: {err}")),
            Ok(Some(Ok(answer))) if answer == message => Ok(()),
            Ok(Some(Ok(answer))) => Err(format!("{message:?} came back as {answer:?}")),
        }
    }

    /// Closes as a client does, and waits for the server's consent.
    pub(crate) async fn close(mut self) -> Result<(), String> {
        let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        self.stream.close(Some(frame)).await.map_err(|err| format!("close: {err}"))?;
        match tokio::time::timeout(ECHO_DEADLINE, self.next()).await {
            Ok(None | Some(Ok(Message::Close(_)) | Err(Error::ConnectionClosed))) => Ok(()),
            other => Err(format!("after the close: {other:?}")),
        }
    }

    /// Closes as a client does, and waits until the server has ended the connection under it.
    pub(crate) async fn close_and_wait(mut self, deadline: Duration) -> Result<(), String> {
        self.stream.close(None).await.map_err(|err| format!("close: {err}"))?;
        let ended = async { while let Some(Ok(_)) = self.stream.next().await {} };
        let late = |_| format!("the connection is still open after {deadline:?}");
        tokio::time::timeout(deadline, ended).await.map_err(late)
    }

    /// The code with which the server closes, when it does so in time.
    pub(crate) async fn close_code_within(&mut self, deadline: Duration) -> Option<u16> {
        match tokio::time::timeout(deadline, self.next()).await {
            Ok(Some(Ok(Message::Close(frame)))) => frame.map(|frame| frame.code.into()),
            Ok(other) => panic!("instead of a close frame: {other:?}"),
            Err(_) => None,
        }
    }

    /// Sends a message at every step until told to stop; each must come back before the next.
    pub(crate) async fn chat(
        mut self,
        name: String,
        step: Duration,
        stop: watch::Receiver<bool>,
    ) -> Result<Chat, String> {
        let mut chat = Chat::default();
        while !*stop.borrow() {
            let text = format!("{name} {}", chat.messages);
            let message = if chat.messages % 4 == 3 {
                Message::Binary(text.into_bytes().into())
            } else {
                Message::Text(text.into())
            };
            let begun = std::time::Instant::now();
            let echoed = self.echo(message).await;
            echoed.map_err(|err| format!("{name}, message {}: {err}", chat.messages))?;
            chat.round_trips.push(begun.elapsed());
            chat.messages += 1;
            pace(step).await;
        }
        self.close().await.map_err(|err| format!("{name}: {err}"))?;
        Ok(chat)
    }
}

/// What a chat came to.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    pub(crate) messages: u64,
    pub(crate) round_trips: Vec<Duration>,
}

impl Chat {
    /// The round trip that this share of them did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let mut sorted = self.round_trips.clone();
        sorted.sort();
        let last = sorted.len().checked_sub(1).expect("at least one message");
        let index = (sorted.len() as f64 * share) as usize;
        sorted[index.min(last)]
    }
}
