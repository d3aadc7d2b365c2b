//! Puts a GOAWAY frame between two frames that somebody else writes.
//!
//! actix-http gives no way to say goodbye to an HTTP/2 client. So the bytes that leave a
//! connection are followed frame by frame (RFC 9113, section 4.1), and where one frame has ended
//! and no header block is open (section 6.10) a GOAWAY goes out: no error, last stream id
//! 2^31-1, which asks the client to open no new streams here and touches none of the open ones
//! (section 6.8).

/// Length 8, type GOAWAY, no flags, stream 0; last stream id 2^31-1; NO_ERROR.
const FRAME: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0];

const HEADER: usize = 9;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Follows the outgoing frames of one connection and holds its GOAWAY.
#[derive(Debug, Default)]
pub(super) struct GoAway {
    header: [u8; HEADER],
    header_len: usize,
    payload_left: usize,
    header_block_open: bool,
    /// The server's preface, a SETTINGS frame, must come first.
    anything_sent: bool,
    state: State,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotAsked,
    Writing(usize),
    Written,
}

impl GoAway {
    /// Takes note of bytes that were written.
    pub(super) fn observe(&mut self, mut bytes: &[u8]) {
        self.anything_sent |= !bytes.is_empty();
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let skipped = self.payload_left.min(bytes.len());
                self.payload_left -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.header_len).min(bytes.len());
            self.header[self.header_len..self.header_len + taken].copy_from_slice(&bytes[..taken]);
            self.header_len += taken;
            bytes = &bytes[taken..];
            if self.header_len == HEADER {
                self.header_len = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                if matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION) {
                    self.header_block_open = flags & END_HEADERS == 0;
                }
            }
        }
    }

    fn at_boundary(&self) -> bool {
        self.anything_sent
            && self.header_len == 0
            && self.payload_left == 0
            && !self.header_block_open
    }

    /// Begins the frame if it was not begun yet and may stand here; whether it has begun.
    pub(super) fn begin(&mut self) -> bool {
        if self.state == State::NotAsked && self.at_boundary() {
            self.state = State::Writing(0);
        }
        self.state != State::NotAsked
    }

    /// What is left to write of a frame that was begun.
    pub(super) fn rest(&self) -> Option<&'static [u8]> {
        match self.state {
            State::Writing(at) => Some(&FRAME[at..]),
            State::NotAsked | State::Written => None,
        }
    }

    pub(super) fn advance(&mut self, written: usize) {
        if let State::Writing(at) = self.state {
            let at = at + written;
            self.state = if at < FRAME.len() { State::Writing(at) } else { State::Written };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![0, (payload >> 8) as u8, payload as u8, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER + payload, 7);
        frame
    }

    #[test]
    fn it_waits_for_the_end_of_a_frame_whatever_the_size_of_the_writes() {
        let bytes = [frame(4, 0, 6), frame(0, 0, 300), frame(8, 0, 4)].concat();
        let ends = [15, 15 + 309, 15 + 309 + 13];
        for chunk in [1, 2, 7, 100] {
            let mut at = 0;
            let mut goaway = GoAway::default();
            for part in bytes.chunks(chunk) {
                goaway.observe(part);
                at += part.len();
                assert_eq!(goaway.at_boundary(), ends.contains(&at), "at {at} by {chunk}");
            }
        }
    }

    #[test]
    fn it_does_not_cut_a_header_block() {
        let mut goaway = GoAway::default();
        goaway.observe(&frame(HEADERS, 0, 10));
        assert!(!goaway.begin());
        goaway.observe(&frame(CONTINUATION, END_HEADERS, 10));
        assert!(goaway.begin());
        goaway.advance(5);
        assert_eq!(goaway.rest(), Some(&FRAME[5..]));
        goaway.advance(12);
        assert_eq!(goaway.rest(), None);
        assert!(goaway.begin(), "it is sent once");
        assert_eq!(goaway.rest(), None);
    }

    #[test]
    fn it_does_not_come_before_the_preface() {
        assert!(!GoAway::default().begin());
    }
}
