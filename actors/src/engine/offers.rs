//! Offers of other protocols in the request heads of HTTP/1.
//!
//! actix-http takes every `Connection: upgrade` for a WebSocket and every `Upgrade: websocket` for the
//! end of HTTP on the connection, whatever else the request says. Clients offer `h2c` or TLS with
//! ordinary requests, and proxies send `Connection: upgrade` with everything; a server may ignore all
//! of it (RFC 9110, section 7.8). So each head is looked at before actix-http sees it: the offer stays
//! if it is a WebSocket handshake for a path that takes one, and otherwise is taken out.
//!
//! To know where heads are, the bodies between them are followed: with the rules of actix-http, its
//! parser for heads included. Where those rules call something malformed, or leave HTTP, everything
//! passes from there on, and actix-http ends the connection.

use std::sync::Arc;

/// The longest request head that actix-http reads; it answers a longer one with 431.
const LONGEST_HEAD: usize = 131_072;
/// The header lines of a request that it reads.
const MOST_HEADERS: usize = 96;

/// Whether a path takes WebSockets.
pub type TakesWebSocket = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Where in HTTP/1 a connection is.
pub(super) struct Offers {
    takes_websocket: TakesWebSocket,
    place: Place,
    /// A head that is not complete yet.
    head: Vec<u8>,
    /// What is to be read before anything else.
    pub(super) ready: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Head,
    /// In a body of which so much is left.
    Body(u64),
    Chunked(Chunk),
    /// What comes is no HTTP, or malformed.
    Beyond,
}

/// In a body in chunks: what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunk {
    /// The size, of which digits may have come.
    Size {
        size: u64,
        digits: bool,
    },
    /// Blanks after the size.
    Blank {
        size: u64,
    },
    Extension {
        size: u64,
    },
    /// The end of the line with the size.
    SizeEnd {
        size: u64,
    },
    Data(u64),
    DataReturn,
    DataEnd,
    /// A line behind the last chunk, or the empty one at the end.
    Line,
    Trailer,
    TrailerEnd,
    End,
}

/// What becomes of the bytes at a place.
enum Step {
    /// So many pass as they are.
    Pass(usize),
    /// These stand for so many.
    Changed(usize, Vec<u8>),
    /// A head is not complete.
    Wait,
}

impl Offers {
    pub(super) fn new(takes_websocket: TakesWebSocket) -> Self {
        Self { takes_websocket, place: Place::Head, head: Vec::new(), ready: Vec::new() }
    }

    /// Takes what was read, and tells how many bytes of it are to be read on as they are; the others
    /// were kept or have become [`Self::ready`].
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        if self.head.is_empty() {
            return self.split(bytes, false);
        }
        let mut joined = std::mem::take(&mut self.head);
        joined.extend_from_slice(bytes);
        self.split(&joined, true);
        // Its first byte went on when it came.
        self.ready.remove(0);
        0
    }

    /// Whether all that came was whole requests: what comes next is the head of another.
    pub(super) fn between_requests(&self) -> bool {
        self.place == Place::Head && self.head.is_empty() && self.ready.is_empty()
    }

    fn split(&mut self, bytes: &[u8], mut copying: bool) -> usize {
        let (mut at, mut passed) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let count = match self.step(rest) {
                Step::Pass(count) => count,
                Step::Changed(count, head) => {
                    copying = true;
                    self.ready.extend(head);
                    at += count;
                    continue;
                }
                Step::Wait => {
                    self.head = rest.to_vec();
                    // The first byte goes on, so that the connection does not look idle.
                    1
                }
            };
            if copying {
                self.ready.extend_from_slice(&rest[..count]);
            } else {
                passed += count;
            }
            at = if self.head.is_empty() { at + count } else { bytes.len() };
        }
        passed
    }

    /// Nothing more comes: what was kept goes on.
    pub(super) fn end(&mut self) {
        if !self.head.is_empty() {
            self.ready = self.head.split_off(1);
            self.head.clear();
        }
        self.place = Place::Beyond;
    }

    fn step(&mut self, bytes: &[u8]) -> Step {
        match self.place {
            Place::Head => self.judge(bytes),
            Place::Body(left) => {
                let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.place = match left - count as u64 {
                    0 => Place::Head,
                    left => Place::Body(left),
                };
                Step::Pass(count)
            }
            Place::Chunked(chunk) => {
                let (place, count) = chunk.follow(bytes);
                self.place = place;
                Step::Pass(count)
            }
            Place::Beyond => Step::Pass(bytes.len()),
        }
    }

    fn judge(&mut self, bytes: &[u8]) -> Step {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => {
                let head = Head::of(&request);
                let stays = head.is_handshake(&request) && (self.takes_websocket)(path(&request));
                let behind = head.body(&request);
                self.place = if stays { Place::Beyond } else { behind };
                let is_right = if stays { head.upgrades == 1 } else { !head.offers() };
                if is_right || behind == Place::Beyond {
                    return Step::Pass(length);
                }
                // Empty lines before a request are let pass, here too.
                let empty = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
                let mut changed = bytes[..empty].to_vec();
                rewrite(&request, stays, &mut changed);
                Step::Changed(length, changed)
            }
            Ok(httparse::Status::Partial) if bytes.len() < LONGEST_HEAD => Step::Wait,
            Ok(httparse::Status::Partial) | Err(_) => {
                self.place = Place::Beyond;
                Step::Pass(bytes.len())
            }
        }
    }
}

/// What a head says about offers and about the body behind it.
#[derive(Default)]
struct Head {
    /// `Connection` names `upgrade`.
    connection_upgrade: bool,
    connection_close: bool,
    /// Protocols in `Upgrade`, and whether one is `websocket`.
    upgrades: usize,
    websocket: bool,
    /// There is an `Upgrade` header, perhaps an empty one.
    upgrade_header: bool,
    lengths: Vec<Option<u64>>,
    encodings: Vec<bool>,
}

impl Head {
    fn of(request: &httparse::Request<'_, '_>) -> Self {
        let mut head = Self::default();
        for header in request.headers.iter() {
            let text = std::str::from_utf8(header.value).unwrap_or_default().trim();
            if header.name.eq_ignore_ascii_case("connection") {
                head.connection_upgrade |= tokens(text).any(is_upgrade);
                head.connection_close |=
                    tokens(text).any(|word| word.eq_ignore_ascii_case("close"));
            } else if header.name.eq_ignore_ascii_case("upgrade") {
                head.upgrade_header = true;
                head.upgrades += tokens(text).count();
                head.websocket |= tokens(text).any(is_websocket);
            } else if header.name.eq_ignore_ascii_case("content-length") {
                head.lengths.push(text.parse().ok().filter(|_| !text.starts_with('+')));
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                head.encodings.push(text.eq_ignore_ascii_case("chunked"));
            }
        }
        head
    }

    fn offers(&self) -> bool {
        self.connection_upgrade || self.upgrade_header
    }

    /// RFC 6455, section 4.2.1; the WebSocket's own headers are its service's business.
    fn is_handshake(&self, request: &httparse::Request<'_, '_>) -> bool {
        let bodyless =
            self.encodings.is_empty() && self.lengths.iter().all(|length| *length == Some(0));
        request.method == Some("GET")
            && request.version == Some(1)
            && self.connection_upgrade
            && !self.connection_close
            && self.websocket
            && bodyless
    }

    /// Where the connection is behind the head.
    fn body(&self, request: &httparse::Request<'_, '_>) -> Place {
        match (&self.lengths[..], &self.encodings[..]) {
            ([], [true]) if request.version == Some(1) => Place::Chunked(Chunk::START),
            ([], []) | ([Some(0)], []) if request.method == Some("CONNECT") => Place::Beyond,
            ([], []) | ([Some(0)], []) => Place::Head,
            ([Some(length)], []) => Place::Body(*length),
            _ => Place::Beyond,
        }
    }
}

fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn is_upgrade(word: &str) -> bool {
    word.eq_ignore_ascii_case("upgrade")
}

/// A protocol may have a version, `websocket/13`; nobody sends one.
fn is_websocket(word: &str) -> bool {
    word.eq_ignore_ascii_case("websocket")
}

/// The path of a target, which may be a whole URL.
fn path<'a>(request: &httparse::Request<'_, 'a>) -> &'a str {
    let target = request.path.unwrap_or_default();
    let target = match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => target,
    };
    target.split(['?', '#']).next().unwrap_or_default()
}

/// The head without its offer, or with `websocket` alone where that stays.
fn rewrite(request: &httparse::Request<'_, '_>, stays: bool, into: &mut Vec<u8>) {
    let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
    let version = request.version.unwrap_or_default();
    into.extend(format!("{method} {target} HTTP/1.{version}\r\n").bytes());
    let mut line = |name: &str, value: &[u8]| {
        into.extend(name.bytes());
        into.extend(b": ");
        into.extend(value);
        into.extend(b"\r\n");
    };
    if stays {
        line("Upgrade", b"websocket");
    }
    for header in request.headers.iter() {
        let connection = header.name.eq_ignore_ascii_case("connection");
        if header.name.eq_ignore_ascii_case("upgrade") {
            continue;
        }
        match std::str::from_utf8(header.value) {
            Ok(text) if connection && !stays => {
                let left: Vec<_> = tokens(text).filter(|word| !is_upgrade(word)).collect();
                if !left.is_empty() {
                    line(header.name, left.join(", ").as_bytes());
                }
            }
            _ => line(header.name, header.value),
        }
    }
    into.extend(b"\r\n");
}

impl Chunk {
    const START: Self = Self::Size { size: 0, digits: false };

    /// Where the body is after some of the bytes, and how many those are.
    fn follow(self, bytes: &[u8]) -> (Place, usize) {
        if let Self::Data(left) = self {
            let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let next = match left - count as u64 {
                0 => Self::DataReturn,
                left => Self::Data(left),
            };
            return (Place::Chunked(next), count);
        }
        let place = match (self, bytes[0]) {
            (Self::End, b'\n') => Place::Head,
            (chunk, byte) => chunk.after(byte).map_or(Place::Beyond, Place::Chunked),
        };
        (place, 1)
    }

    /// `None`: that is malformed.
    fn after(self, byte: u8) -> Option<Self> {
        let digit = || char::from(byte).to_digit(16).map(u64::from);
        Some(match (self, byte) {
            (Self::Size { digits: true, size }, b' ' | b'\t') => Self::Blank { size },
            (Self::Size { digits: true, size }, b';') => Self::Extension { size },
            (Self::Size { digits: true, size }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, .. }, _) => {
                Self::Size { size: size.checked_mul(16)? + digit()?, digits: true }
            }
            (Self::Blank { size }, b' ' | b'\t') => Self::Blank { size },
            (Self::Blank { size }, b';') => Self::Extension { size },
            (Self::Blank { size } | Self::Extension { size }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { .. }, 0x00..=0x08 | 0x0a..=0x1f | 0x7f) => return None,
            (Self::Extension { size }, _) => Self::Extension { size },
            (Self::SizeEnd { size: 0 }, b'\n') | (Self::TrailerEnd, b'\n') => Self::Line,
            (Self::SizeEnd { size }, b'\n') => Self::Data(size),
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::START,
            (Self::Line, b'\r') => Self::End,
            (Self::Line, _) => Self::Trailer,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Trailer, _) => Self::Trailer,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of `sent`, which comes in pieces of `size`.
    fn read(sent: &[u8], size: usize) -> Vec<u8> {
        let mut offers = Offers::new(Arc::new(|path| matches!(path, "/ws" | "/ws/")));
        let mut read = Vec::new();
        for piece in sent.chunks(size) {
            let passed = offers.take(piece);
            read.extend_from_slice(&piece[..passed]);
            read.append(&mut offers.ready);
        }
        offers.end();
        read.append(&mut offers.ready);
        read
    }

    #[track_caller]
    fn becomes(sent: &str, expected: &str) {
        // What follows is found behind each.
        for (more, more_expected) in [
            ("", ""),
            (
                "GET /b HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n\r\n",
                "GET /b HTTP/1.1\r\nHost: x\r\n\r\n",
            ),
        ] {
            let (sent, expected) = (format!("{sent}{more}"), format!("{expected}{more_expected}"));
            for size in (1..=sent.len()).filter(|size| sent.len() < 1000 || size % 97 == 1) {
                let read = read(sent.as_bytes(), size);
                assert_eq!(String::from_utf8_lossy(&read), expected, "by {size}");
            }
        }
    }

    fn head(first: &str, lines: &[&str]) -> String {
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        format!("{first}\r\nHost: x\r\n{lines}\r\n")
    }

    #[test]
    fn an_offer_that_does_not_count_is_taken_out() {
        let get = "GET /a?q=1 HTTP/1.1";
        for (lines, left) in [
            (&["Connection: upgrade"][..], &[][..]),
            (
                &["connection: Upgrade", "upgrade: h2c", "HTTP2-Settings: AA"],
                &["HTTP2-Settings: AA"],
            ),
            (
                &["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"],
                &["Connection: HTTP2-Settings"],
            ),
            (&["Connection: keep-alive, Upgrade", "Upgrade: TLS/1.2"], &["Connection: keep-alive"]),
            (&["Upgrade: websocket", "Connection: upgrade"], &[]),
            (&["Upgrade:", "Connection: upgrade"], &[]),
            (&["Upgrade: h2c"], &[]),
            (&["Connection: close, Upgrade"], &["Connection: close"]),
            (&["Connection: upgrade", "Connection: close"], &["Connection: close"]),
        ] {
            becomes(&head(get, lines), &head(get, left));
        }
        for first in
            ["POST /ws HTTP/1.1", "HEAD /ws HTTP/1.1", "GET /ws HTTP/1.0", "GET /ws/more HTTP/1.1"]
        {
            let offer = ["Connection: Upgrade", "Upgrade: websocket"];
            becomes(&head(first, &offer), &head(first, &[]));
        }
        for lines in [
            &["Connection: Upgrade"][..],
            &["Upgrade: websocket"],
            &["Connection: Upgrade", "Upgrade: websockets"],
            &["Connection: Upgrade", "Upgrade: h2c"],
        ] {
            becomes(&head("GET /ws HTTP/1.1", lines), &head("GET /ws HTTP/1.1", &[]));
        }
    }

    #[test]
    fn what_is_no_offer_stays_byte_for_byte() {
        for lines in [
            &[][..],
            &["Upgrade-Insecure-Requests: 1", "connection:  keep-alive", "X:y"],
            &["Connection: close"],
            &["X: Connection: upgrade"],
        ] {
            let sent = head("GET /a HTTP/1.1", lines);
            becomes(&sent, &sent);
        }
        becomes("\r\n\nGET /a HTTP/1.1\nHost: x\n\n", "\r\n\nGET /a HTTP/1.1\nHost: x\n\n");
        becomes(
            "\r\nGET /a HTTP/1.1\nHost: x\nConnection: upgrade\n\n",
            "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n",
        );
    }

    #[test]
    fn bodies_are_not_looked_into() {
        let body = "GET /c HTTP/1.1\r\nConnection: upgrade\r\n\r\n";
        let length = format!("Content-Length: {}", body.len());
        let post = |lines: &[&str]| head("POST /a HTTP/1.1", lines);
        becomes(
            &(post(&["Connection: upgrade", "Upgrade: websocket", &length]) + body),
            &(post(&[&length]) + body),
        );
        let chunked = "Transfer-Encoding: chunked";
        let chunks =
            format!("{:x} ;a=b\r\n{body}\r\n5\r\n12345\r\n0\r\nT: upgrade\r\n\r\n", body.len());
        becomes(
            &(post(&["Connection: upgrade", chunked]) + &chunks),
            &(post(&[chunked]) + &chunks),
        );
        becomes(&post(&["Content-Length: 0"]), &post(&["Content-Length: 0"]));
        let large = "x".repeat(3000);
        let length = "Content-Length: 3000";
        becomes(&(post(&[length]) + &large), &(post(&[length]) + &large));
    }

    #[test]
    fn a_handshake_stays_and_nothing_behind_it_is_touched() {
        let behind = "GET /c HTTP/1.1\r\nConnection: upgrade\r\n\r\n\u{1}";
        for (first, lines, expected) in [
            (
                "GET /ws HTTP/1.1",
                &["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"][..],
                &["Connection: keep-alive, Upgrade", "Upgrade: WebSocket"][..],
            ),
            (
                "GET http://x/ws/?a=/b HTTP/1.1",
                &["Upgrade: websocket", "Connection: upgrade", "Content-Length: 0"],
                &["Upgrade: websocket", "Connection: upgrade", "Content-Length: 0"],
            ),
        ] {
            let (sent, expected) = (head(first, lines) + behind, head(first, expected) + behind);
            for size in 1..sent.len() {
                assert_eq!(String::from_utf8_lossy(&read(sent.as_bytes(), size)), expected);
            }
        }
        // One of several offers.
        let sent = head("GET /ws HTTP/1.1", &["Upgrade: h2c, websocket", "Connection: upgrade"]);
        let read = read((sent + behind).as_bytes(), 7);
        let expected =
            "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nHost: x\r\nConnection: upgrade\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&read), format!("{expected}{behind}"));
    }

    #[test]
    fn what_is_malformed_passes_for_actix_http_to_refuse() {
        let get = |lines| head("GET /a HTTP/1.1", lines);
        let long = format!("GET /a HTTP/1.1\r\nX: {}", "x".repeat(LONGEST_HEAD));
        for sent in [
            "\u{16}\u{3}\u{1}".to_owned(),
            "GET /a HTTP/1.1\r\nA b\r\n\r\n".to_owned(),
            get(&["Connection: upgrade", "Content-Length: 1", "Content-Length: 1"]),
            get(&["Connection: upgrade", "Content-Length: +1"]),
            get(&["Connection: upgrade", "Content-Length: 1", "Transfer-Encoding: chunked"]),
            get(&["Connection: upgrade", "Transfer-Encoding: gzip, chunked"]),
            head("CONNECT x:1 HTTP/1.1", &["Connection: upgrade"]),
            get(&["Transfer-Encoding: chunked"]) + "x\r\n" + &get(&["Connection: upgrade"]),
            "GET /a HTTP/1.1\r\nConnection: upgr".to_owned(),
        ] {
            for size in 1..sent.len() {
                assert_eq!(String::from_utf8_lossy(&read(sent.as_bytes(), size)), sent);
            }
        }
        for size in [1000, long.len()] {
            assert_eq!(read(long.as_bytes(), size), long.as_bytes());
        }
    }
}
