//! The frames that clients send (RFC 6455, section 5), read as they come.
//!
//! A frame is judged by its head, however the head is cut: what is too large or not allowed is
//! refused before anything of it is kept. Memory grows with what has arrived, never with what a
//! head announces.

use actix_web::web::{Buf, Bytes};

/// The longest ping, pong or close (RFC 6455, section 5.5).
const LONGEST_CONTROL: u8 = 125;

/// Something whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(String),
    Binary(Bytes),
    Ping(Bytes),
    Pong,
    /// The peer closes, with the code that it gave.
    Close(Option<u16>),
}

/// Why nothing more can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Violation {
    /// A message is larger than it may be.
    TooLarge,
    /// What is wrong with a frame.
    Protocol(&'static str),
    NotUtf8,
}

/// What became of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    Whole(Incoming),
    /// They are used up; what they began is unfinished.
    More,
    /// There is no room for those that are left.
    NoRoom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Continue,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Kind {
    fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

#[derive(Debug)]
struct Frame {
    kind: Kind,
    last: bool,
    /// Bytes that are still to come.
    left: usize,
    mask: [u8; 4],
    /// Where in the mask the next byte is.
    turn: usize,
}

#[derive(Debug)]
struct Message {
    text: bool,
    bytes: Vec<u8>,
}

/// Puts messages together.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// An unfinished head.
    head: Vec<u8>,
    frame: Option<Frame>,
    /// An unfinished message; pings may come between its fragments.
    message: Option<Message>,
    control: Vec<u8>,
}

impl Reader {
    /// Whether nothing is unfinished.
    pub(super) fn is_idle(&self) -> bool {
        self.head.is_empty() && self.frame.is_none() && self.message.is_none()
    }

    /// The memory that the unfinished message takes.
    pub(super) fn held(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.bytes.capacity())
    }

    /// Takes from `input` until something is whole. A message may have `limit` bytes. `room` is asked
    /// before the unfinished message takes so much memory.
    pub(super) fn read(
        &mut self,
        input: &mut Bytes,
        limit: usize,
        room: impl FnOnce(usize) -> bool,
    ) -> Result<Step, Violation> {
        let mut room = Some(room);
        loop {
            let Some(frame) = &mut self.frame else {
                match self.read_head(input, limit)? {
                    Some(frame) => self.begin(frame),
                    None => return Ok(Step::More),
                }
                continue;
            };
            if frame.left > 0 && input.is_empty() {
                return Ok(Step::More);
            }
            let count = frame.left.min(input.len());
            let bytes = match &mut self.message {
                Some(message) if !frame.kind.is_control() => &mut message.bytes,
                _ => &mut self.control,
            };
            let capacity = wanted(bytes, count, frame.left);
            if capacity > bytes.capacity() {
                if !frame.kind.is_control() && !room.take().is_some_and(|room| room(capacity)) {
                    return Ok(Step::NoRoom);
                }
                bytes.reserve_exact(capacity - bytes.len());
            }
            frame.unmask(&input.split_to(count), bytes);
            if frame.left == 0
                && let Some(whole) = self.finish()?
            {
                return Ok(Step::Whole(whole));
            }
        }
    }

    fn read_head(&mut self, input: &mut Bytes, limit: usize) -> Result<Option<Frame>, Violation> {
        while input.has_remaining() {
            self.head.push(input.get_u8());
            if let Some(frame) = self.judge(limit)? {
                self.head.clear();
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Judges what there is of a head; a frame once it is complete.
    fn judge(&self, limit: usize) -> Result<Option<Frame>, Violation> {
        let Some((&first, rest)) = self.head.split_first() else { return Ok(None) };
        let last = first & 0x80 != 0;
        let kind = self.kind(first, last)?;
        let Some((&second, rest)) = rest.split_first() else { return Ok(None) };
        if second & 0x80 == 0 {
            return Err(Violation::Protocol("a frame without a mask"));
        }
        let short = second & 0x7f;
        if kind.is_control() && short > LONGEST_CONTROL {
            return Err(Violation::Protocol("a control frame above 125 bytes"));
        }
        let extended = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
        let number = |length: &[u8]| length.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let length = if extended == 0 { u64::from(short) } else { number(length) };
        let so_far = self.message.as_ref().map_or(0, |message| message.bytes.len());
        let left = usize::try_from(length).map_err(|_| Violation::TooLarge)?;
        if !kind.is_control() && so_far.saturating_add(left) > limit {
            return Err(Violation::TooLarge);
        }
        let mask = rest.try_into().ok();
        Ok(mask.map(|mask| Frame { kind, last, left, mask, turn: 0 }))
    }

    fn kind(&self, first: u8, last: bool) -> Result<Kind, Violation> {
        if first & 0x70 != 0 {
            return Err(Violation::Protocol(
                "a reserved bit is set, but no extension was agreed on",
            ));
        }
        let kind = match first & 0x0f {
            0 => Kind::Continue,
            1 => Kind::Text,
            2 => Kind::Binary,
            8 => Kind::Close,
            9 => Kind::Ping,
            10 => Kind::Pong,
            _ => return Err(Violation::Protocol("an unknown opcode")),
        };
        match (kind, &self.message) {
            (Kind::Continue, None) => Err(Violation::Protocol("nothing to continue")),
            (Kind::Text | Kind::Binary, Some(_)) => {
                Err(Violation::Protocol("a message inside another"))
            }
            _ if kind.is_control() && !last => {
                Err(Violation::Protocol("a control frame in fragments"))
            }
            _ => Ok(kind),
        }
    }

    fn begin(&mut self, frame: Frame) {
        if matches!(frame.kind, Kind::Text | Kind::Binary) {
            self.message = Some(Message { text: frame.kind == Kind::Text, bytes: Vec::new() });
        }
        self.frame = Some(frame);
    }

    /// The frame is complete, and perhaps its message.
    fn finish(&mut self) -> Result<Option<Incoming>, Violation> {
        let Some(frame) = self.frame.take() else { return Ok(None) };
        match frame.kind {
            Kind::Ping => Ok(Some(Incoming::Ping(std::mem::take(&mut self.control).into()))),
            Kind::Pong => {
                self.control.clear();
                Ok(Some(Incoming::Pong))
            }
            Kind::Close => close(&std::mem::take(&mut self.control)).map(Some),
            Kind::Continue | Kind::Text | Kind::Binary if !frame.last => Ok(None),
            Kind::Continue | Kind::Text | Kind::Binary => {
                let Some(Message { text, bytes }) = self.message.take() else { return Ok(None) };
                if !text {
                    return Ok(Some(Incoming::Binary(bytes.into())));
                }
                let text = String::from_utf8(bytes).map_err(|_| Violation::NotUtf8)?;
                Ok(Some(Incoming::Text(text)))
            }
        }
    }
}

impl Frame {
    fn unmask(&mut self, masked: &[u8], into: &mut Vec<u8>) {
        let mask: [u8; 4] = std::array::from_fn(|n| self.mask[(self.turn + n) % 4]);
        let mut groups = masked.chunks_exact(4);
        for group in &mut groups {
            let plain: [u8; 4] = std::array::from_fn(|n| group[n] ^ mask[n]);
            into.extend_from_slice(&plain);
        }
        into.extend(groups.remainder().iter().zip(mask).map(|(byte, key)| byte ^ key));
        self.turn = (self.turn + masked.len()) % 4;
        self.left -= masked.len();
    }
}

/// The capacity for `count` more of the `left` bytes of a frame: twice as much as before while it
/// grows, but never more than the frame needs.
fn wanted(bytes: &Vec<u8>, count: usize, left: usize) -> usize {
    let needed = bytes.len() + count;
    if needed <= bytes.capacity() {
        return bytes.capacity();
    }
    needed.max(2 * bytes.capacity()).min(bytes.len() + left)
}

/// The codes that an endpoint may send (RFC 6455, section 7.4, and the registry of IANA).
fn close(payload: &[u8]) -> Result<Incoming, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(Incoming::Close(None)),
            _ => Err(Violation::Protocol("a close code of one byte")),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close code that must not be sent"));
    }
    std::str::from_utf8(reason).map_err(|_| Violation::NotUtf8)?;
    Ok(Incoming::Close(Some(code)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    /// A frame of a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            short @ ..126 => bytes.push(0x80 | short as u8),
            length @ ..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(0x80 | 127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        let mask = [7, 99, 0, 255];
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// Everything that `bytes` are, cut into pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Result<Vec<Incoming>, Violation> {
        let (mut reader, mut whole) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(size) {
            let mut piece = Bytes::copy_from_slice(piece);
            loop {
                match reader.read(&mut piece, LIMIT, |_| true)? {
                    Step::Whole(incoming) => whole.push(incoming),
                    Step::More => break,
                    Step::NoRoom => panic!("there is room"),
                }
            }
            assert!(piece.is_empty());
        }
        Ok(whole)
    }

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let bytes = [
            frame(0x81, "grüß".as_bytes()),
            frame(0x02, b"one "),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x8a, b"pong"),
            frame(0x80, b"two"),
            frame(0x82, &[5; 700]),
            frame(0x81, b""),
            frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        ]
        .concat();
        for size in 1..bytes.len() {
            let whole = read(&bytes, size).unwrap();
            let expected = [
                Incoming::Text("grüß".into()),
                Incoming::Ping("ping".into()),
                Incoming::Pong,
                Incoming::Binary("one two".into()),
                Incoming::Binary(vec![5; 700].into()),
                Incoming::Text(String::new()),
                Incoming::Close(Some(1000)),
            ];
            assert_eq!(whole, expected, "{size}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_from_its_head_on() {
        use Violation::{NotUtf8, Protocol, TooLarge};
        let claims = |first, length: u64| {
            let mut head = vec![first, 0xff];
            head.extend(length.to_be_bytes());
            head
        };
        let after = |first: Vec<u8>, then: Vec<u8>| [first, then].concat();
        for (bytes, expected) in [
            // The mask need not have come.
            (claims(0x82, 1 << 40), TooLarge),
            (claims(0x81, u64::MAX), TooLarge),
            (claims(0x02, LIMIT as u64 + 1), TooLarge),
            (vec![0x82, 0xfe, 0x03, 0xe9], TooLarge),
            (after(frame(0x01, &[b'a'; 600]), vec![0x80, 0xfe, 0x01, 0x91]), TooLarge),
            (after(frame(0x01, &[b'a'; 600]), claims(0x00, 1 << 62)), TooLarge),
            (vec![0xc1], Protocol("a reserved bit is set, but no extension was agreed on")),
            (vec![0x83], Protocol("an unknown opcode")),
            (vec![0x8b], Protocol("an unknown opcode")),
            (vec![0x80], Protocol("nothing to continue")),
            (vec![0x09], Protocol("a control frame in fragments")),
            (vec![0x81, 0x01], Protocol("a frame without a mask")),
            (vec![0x89, 0xfe], Protocol("a control frame above 125 bytes")),
            (vec![0x88, 0xff], Protocol("a control frame above 125 bytes")),
            (after(frame(0x01, b"a"), vec![0x82]), Protocol("a message inside another")),
            (frame(0x88, b"x"), Protocol("a close code of one byte")),
            (frame(0x88, &[0x03, 0xed]), Protocol("a close code that must not be sent")),
            (frame(0x81, &[0xff]), NotUtf8),
            (frame(0x88, &[0x03, 0xe8, 0xff]), NotUtf8),
        ] {
            for size in [1, 2, bytes.len()] {
                assert_eq!(read(&bytes, size).unwrap_err(), expected, "{bytes:?} by {size}");
            }
        }
    }

    #[test]
    fn memory_follows_what_has_arrived_and_room_is_asked_for_first() {
        let limit = 4 << 20;
        let mut reader = Reader::default();
        let mut head = Bytes::from(frame(0x82, &vec![1; limit])[..14 + 100].to_vec());
        assert_eq!(reader.read(&mut head, limit, |_| true), Ok(Step::More));
        assert!(reader.held() <= 200, "{}", reader.held());
        let mut asked = 0;
        let mut more = Bytes::from(vec![0; 1000]);
        let refused = reader.read(&mut more, limit, |bytes| {
            asked = bytes;
            false
        });
        assert_eq!(refused, Ok(Step::NoRoom));
        assert!((1100..=1200).contains(&asked), "{asked}");
        assert_eq!(more.len(), 1000, "nothing was taken");
        assert_eq!(reader.read(&mut more, limit, |_| true), Ok(Step::More));
        let mut rest = Bytes::from(vec![0; limit - 1100]);
        assert!(matches!(reader.read(&mut rest, limit, |_| true), Ok(Step::Whole(_))));
        assert!(reader.is_idle() && reader.held() == 0);
    }
}
