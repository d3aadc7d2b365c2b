//! A small HTTP/1.1 client that shows what a library would hide: the connection itself.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use base64::Engine;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use super::{seconds, tls};

/// Longest wait for one answer.
const ANSWER_DEADLINE: Duration = seconds(30);

/// A connection of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

pub(crate) type BoxedStream = Box<dyn Stream>;

/// Opens a connection to a port of this machine, with TLS or without.
pub(crate) async fn open(port: u16, with_tls: bool) -> io::Result<BoxedStream> {
    if with_tls {
        Ok(Box::new(tls::connect(port, &["http/1.1"]).await?))
    } else {
        Ok(Box::new(TcpStream::connect(("127.0.0.1", port)).await?))
    }
}

/// Opens a plain connection that comes from another address of this machine.
pub(crate) async fn open_from(source: Ipv4Addr, port: u16) -> io::Result<BoxedStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    Ok(Box::new(socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?))
}

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: BufReader<BoxedStream>,
    host: String,
}

impl Connection {
    pub(crate) async fn plain(port: u16) -> io::Result<Self> {
        Ok(Self::over(open(port, false).await?, port))
    }

    pub(crate) async fn tls(port: u16) -> io::Result<Self> {
        Ok(Self::over(open(port, true).await?, port))
    }

    pub(crate) fn over(stream: BoxedStream, port: u16) -> Self {
        Self { stream: BufReader::new(stream), host: format!("127.0.0.1:{port}") }
    }

    /// Sends a request without a body and reads the answer.
    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<Answer> {
        self.request("GET", path, headers, b"").await
    }

    /// Sends a whole request and reads the whole answer.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if !body.is_empty() || method == "POST" {
            headers.push(("content-length", &length));
        }
        self.send_head(method, path, &headers).await?;
        self.send(body).await?;
        self.answer().await
    }

    /// Sends the request line and the header lines.
    pub(crate) async fn send_head(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.send(head.as_bytes()).await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Reads one answer, head and body.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        let answer = tokio::time::timeout(ANSWER_DEADLINE, self.read_answer()).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn read_answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.read_head().await?;
        if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
            loop {
                let size = self.line().await?;
                let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
                let from = answer.body.len();
                answer.body.resize(from + size, 0);
                self.stream.read_exact(&mut answer.body[from..]).await?;
                self.line().await?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        if let Some(length) = answer.header("content-length") {
            answer.body.resize(length.parse().map_err(io::Error::other)?, 0);
            self.stream.read_exact(&mut answer.body).await?;
        }
        Ok(answer)
    }

    async fn read_head(&mut self) -> io::Result<Answer> {
        let status_line = self.line().await?;
        let status = status_line.split(' ').nth(1).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("answer: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line)
    }

    /// Reads what is no HTTP any more.
    pub(crate) async fn bytes(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        let read = tokio::time::timeout(ANSWER_DEADLINE, self.stream.read_exact(&mut bytes)).await;
        read.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        Ok(bytes)
    }

    /// Waits until the server closes, and fails if it says anything before.
    pub(crate) async fn closed_within(&mut self, deadline: Duration) -> bool {
        match tokio::time::timeout(deadline, self.stream.read_u8()).await {
            Ok(Ok(byte)) => panic!("a byte came that nobody asked for: {byte:#x}"),
            Ok(Err(_)) => true,
            Err(_) => false,
        }
    }
}

/// What the server answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err} in {} {:?}", self.status, self.text()))
    }
}

/// The value of an `Authorization` header.
pub(crate) fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}
