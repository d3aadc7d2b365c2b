//! One WebSocket to the other server: blocking, with time limits.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};
use tungstenite::{
    HandshakeError, Message, WebSocket,
    client::{IntoClientRequest, client_with_config},
    http::header::AUTHORIZATION,
    protocol::WebSocketConfig,
};

use super::{Target, messages::Answer};

/// To connect, for the TLS handshake and for the WebSocket handshake each.
const PATIENCE: Duration = Duration::from_secs(10);
/// The server is always ready to read, so this is a broken connection.
const LONGEST_WRITE: Duration = Duration::from_secs(30);
/// No message of the protocol is as long.
const LONGEST_MESSAGE: usize = 4 << 20;

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

pub(super) struct Connection(WebSocket<Stream>);

impl Connection {
    /// Connects and shakes hands. Errors are texts for people.
    pub(super) fn open(target: &Target) -> Result<Self, String> {
        let socket = connect(&target.host, target.port)?;
        let prepared = socket
            .set_nodelay(true)
            .and_then(|()| socket.set_read_timeout(Some(PATIENCE)))
            .and_then(|()| socket.set_write_timeout(Some(LONGEST_WRITE)));
        prepared.map_err(|err| err.to_string())?;
        let stream = match &target.tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from(target.host.clone());
                let name = name.map_err(|_| "its host is no name for a certificate".to_owned())?;
                let tls = ClientConnection::new(config.clone(), name);
                let mut stream = StreamOwned::new(tls.map_err(|err| err.to_string())?, socket);
                while stream.conn.is_handshaking() {
                    let done = stream.conn.complete_io(&mut stream.sock);
                    done.map_err(|err| format!("the TLS handshake failed: {}", late(&err)))?;
                }
                Stream::Tls(Box::new(stream))
            }
        };
        let mut request =
            target.uri.clone().into_client_request().map_err(|err| err.to_string())?;
        if let Some(token) = &target.authorization {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let limits = WebSocketConfig::default()
            .max_message_size(Some(LONGEST_MESSAGE))
            .max_frame_size(Some(LONGEST_MESSAGE));
        match client_with_config(request, stream, Some(limits)) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(HandshakeError::Interrupted(_)) => {
                Err("it did not answer the WebSocket handshake in time".into())
            }
            Err(HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
                Err(format!("it refused the WebSocket with the status {}", answer.status()))
            }
            Err(HandshakeError::Failure(err)) => {
                Err(format!("the WebSocket handshake failed: {err}"))
            }
        }
    }

    pub(super) fn send(&mut self, message: Message) -> Result<(), String> {
        self.0.send(message).map_err(|err| broken(&err))
    }

    /// The next message that matters; `None` if there is none within `patience`, which is more
    /// than nothing. Answers pings.
    pub(super) fn receive(&mut self, patience: Duration) -> Result<Option<Answer>, String> {
        let set = self.0.get_ref().socket().set_read_timeout(Some(patience));
        set.map_err(|err| err.to_string())?;
        match self.0.read() {
            Ok(Message::Text(text)) => {
                let answer = serde_json::from_str(&text);
                answer
                    .map(Some)
                    .map_err(|err| format!("it sent what is no message of the protocol: {err}"))
            }
            Ok(Message::Close(frame)) => {
                let reason = frame.map_or_else(String::new, |frame| {
                    let reason: String = frame.reason.chars().filter(|c| !c.is_control()).collect();
                    format!(" with {} {reason}", u16::from(frame.code))
                });
                Err(format!("it closed the connection{reason}"))
            }
            Ok(Message::Ping(_)) => {
                // The answer is queued; this sends it.
                let sent = self.0.flush();
                sent.map(|()| None).map_err(|err| broken(&err))
            }
            Ok(Message::Binary(_) | Message::Pong(_) | Message::Frame(_)) => Ok(None),
            Err(tungstenite::Error::Io(err)) if is_timeout(&err) => Ok(None),
            Err(err) => Err(broken(&err)),
        }
    }

    /// Says goodbye as far as that goes without waiting.
    pub(super) fn close(mut self) {
        // The other side may be gone already.
        let _ = self.0.close(None);
        let _ = self.0.flush();
    }
}

fn connect(host: &str, port: u16) -> Result<TcpStream, String> {
    let addresses = (host, port).to_socket_addrs();
    let addresses =
        addresses.map_err(|err| format!("the host {host} cannot be looked up: {err}"))?;
    let mut last = format!("the host {host} has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(err) => last = format!("no connection to {address}: {err}"),
        }
    }
    Err(last)
}

fn is_timeout(err: &io::Error) -> bool {
    matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn late(err: &io::Error) -> String {
    if is_timeout(err) { "no answer in time".into() } else { err.to_string() }
}

fn broken(err: &tungstenite::Error) -> String {
    match err {
        tungstenite::Error::Io(err) if is_timeout(err) => "it takes no more audio".into(),
        err => format!("the connection broke: {err}"),
    }
}
