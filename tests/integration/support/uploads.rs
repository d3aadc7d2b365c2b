//! Uploads that take their time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use super::http::{Connection, open};
use super::{http2, pace};

/// How an upload is cut up, and how fast the pieces follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pieces {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
    pub(crate) step: Duration,
}

impl Pieces {
    fn total(self) -> usize {
        self.count * self.bytes
    }
}

/// How the length is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    ContentLength,
    Chunked,
}

/// One slow upload. Its last piece waits until the gate is opened, so that whatever happens
/// before has happened in the middle of it.
#[derive(Clone, Debug)]
pub(crate) struct SlowUpload {
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) seed: u64,
    pub(crate) pieces: Pieces,
    pub(crate) gate: watch::Receiver<bool>,
}

/// The body of an upload, piece by piece, with its digest.
struct Body {
    random: StdRng,
    digest: Sha256,
    left: usize,
    pieces: Pieces,
    gate: watch::Receiver<bool>,
}

impl Body {
    fn new(upload: &SlowUpload) -> Self {
        Self {
            random: StdRng::seed_from_u64(upload.seed),
            digest: Sha256::new(),
            left: upload.pieces.count,
            pieces: upload.pieces,
            gate: upload.gate.clone(),
        }
    }

    /// The next piece, when it is time for it.
    async fn next(&mut self) -> Option<Vec<u8>> {
        self.left = self.left.checked_sub(1)?;
        if self.left == 0 {
            self.gate.wait_for(|open| *open).await.expect("the gate outlives the uploads");
        } else {
            pace(self.pieces.step).await;
        }
        let mut piece = vec![0; self.pieces.bytes];
        self.random.fill_bytes(&mut piece);
        self.digest.update(&piece);
        Some(piece)
    }

    /// Compares what the service received with what was sent.
    fn check(self, name: &str, status: u16, answer: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(answer);
        if status != 200 {
            return Err(format!("{name}: {status} {text}"));
        }
        let answer: Value = serde_json::from_str(&text).map_err(|err| format!("{name}: {err}"))?;
        let digest = hex(&self.digest.finalize());
        if answer["sha256"] != digest || answer["length"] != self.pieces.total() {
            return Err(format!("{name}: sent {} {digest}, {answer}", self.pieces.total()));
        }
        Ok(())
    }
}

impl SlowUpload {
    /// Uploads over HTTP/1.1.
    pub(crate) async fn over_http1(self, with_tls: bool, framing: Framing) -> Result<(), String> {
        let told = |err: std::io::Error| format!("{}: {err}", self.name);
        let stream = open(self.port, with_tls).await.map_err(told)?;
        let mut connection = Connection::over(stream, self.port);
        let length = self.pieces.total().to_string();
        let header = match framing {
            Framing::ContentLength => ("content-length", length.as_str()),
            Framing::Chunked => ("transfer-encoding", "chunked"),
        };
        connection.send_head("POST", "/echo/upload", &[header]).await.map_err(told)?;
        let mut body = Body::new(&self);
        while let Some(piece) = body.next().await {
            if framing == Framing::Chunked {
                let size = format!("{:x}\r\n", piece.len());
                connection.send(size.as_bytes()).await.map_err(told)?;
            }
            connection.send(&piece).await.map_err(told)?;
            if framing == Framing::Chunked {
                connection.send(b"\r\n").await.map_err(told)?;
            }
        }
        if framing == Framing::Chunked {
            connection.send(b"0\r\n\r\n").await.map_err(told)?;
        }
        let answer = connection.answer().await.map_err(told)?;
        body.check(&self.name, answer.status, &answer.body)
    }

    /// Uploads as one stream of an HTTP/2 connection.
    pub(crate) async fn over_http2(self) -> Result<(), String> {
        let told = |err: h2::Error| format!("{}: {err}", self.name);
        let client = http2::Client::connect(self.port).await.map_err(told)?;
        let mut stream = client.begin("POST", "/echo/upload", false).await.map_err(told)?;
        let mut body = Body::new(&self);
        while let Some(piece) = body.next().await {
            stream.send(piece, body.left == 0).await.map_err(told)?;
        }
        let (status, answer) = stream.answer().await.map_err(told)?;
        body.check(&self.name, status, &answer)
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
