//! What one line of the log looks like.

use std::fmt::{self, Write};

use log::{Level, Record};
use serde::Serialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::request_id::RequestId;

/// Bytes of a message; the rest is cut off.
const MAX_MESSAGE: usize = 8 << 10;

/// The form of the log's lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `2026-01-31T12:00:00.123Z INFO  module [request] message`
    #[default]
    Text,
    /// One JSON object a line: `time`, `level`, `target`, `Request-ID`, `msg`.
    Json,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    time: &'a str,
    level: &'a str,
    target: &'a str,
    #[serde(rename = "Request-ID", skip_serializing_if = "Option::is_none")]
    request_id: Option<RequestId>,
    msg: &'a str,
}

impl Format {
    /// One line with its end; line breaks and control characters of the message are escaped, so
    /// that no message can pass for another line.
    pub(super) fn line(self, record: &Record<'_>) -> String {
        let mut message = Message::default();
        // It fails where the message is too long, and says so at its end.
        let _ = write!(message, "{}", record.args());
        self.put_together(record.level(), record.target(), RequestId::current(), &message.text)
    }

    /// A line of the log about itself.
    pub(super) fn notice(self, text: &str) -> String {
        self.put_together(Level::Warn, "portcullis_actors::logging", None, text)
    }

    /// A line of this level and target.
    pub(super) fn put_together(
        self,
        level: Level,
        target: &str,
        request_id: Option<RequestId>,
        message: &str,
    ) -> String {
        let time = timestamp(OffsetDateTime::now_utc());
        match self {
            Self::Text => text(&time, level, target, request_id, message),
            Self::Json => {
                let line = JsonLine {
                    time: &time,
                    level: match level {
                        Level::Error => "error",
                        Level::Warn => "warn",
                        Level::Info => "info",
                        Level::Debug => "debug",
                        Level::Trace => "trace",
                    },
                    target,
                    request_id,
                    msg: message,
                };
                serde_json::to_string(&line).unwrap_or_default() + "\n"
            }
        }
    }
}

/// A message, which never holds more than its bound however long it would be.
#[derive(Default)]
struct Message {
    text: String,
    is_cut: bool,
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = MAX_MESSAGE - self.text.len().min(MAX_MESSAGE);
        if !self.is_cut && text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        if !self.is_cut {
            self.text.push_str(&text[..text.floor_char_boundary(room)]);
            self.text.push_str("… (cut)");
            self.is_cut = true;
        }
        Err(fmt::Error)
    }
}

/// RFC 3339 with milliseconds, always of one length.
fn timestamp(now: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        now.year(),
        u8::from(now.month()),
        now.day(),
        now.hour(),
        now.minute(),
        now.second(),
        now.millisecond(),
    )
}

fn text(
    time: &str,
    level: Level,
    target: &str,
    request_id: Option<RequestId>,
    message: &str,
) -> String {
    let mut line = String::with_capacity(message.len() + 80);
    // Writing to a string does not fail.
    let _ = write!(line, "{time} {level:<5} {target}");
    if let Some(id) = request_id {
        let _ = write!(line, " [{id}]");
    }
    line.push(' ');
    for c in message.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line.push('\n');
    line
}

/// When a line was logged, whichever form it has.
pub(super) fn time_of(line: &[u8]) -> Option<OffsetDateTime> {
    let text = line.strip_prefix(br#"{"time":""#).unwrap_or(line);
    let end = text.iter().take(40).position(|byte| matches!(byte, b' ' | b'"'))?;
    OffsetDateTime::parse(std::str::from_utf8(&text[..end]).ok()?, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: Format, message: &str) -> String {
        format.line(&Record::builder().args(format_args!("{message}")).target("test").build())
    }

    #[test]
    fn a_message_cannot_pass_for_another_line() {
        let line = line(Format::Text, "one\n2026-01-01T00:00:00Z ERROR two\u{1b}[31m");
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.contains("one\\n2026"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }

    #[test]
    fn a_long_message_is_cut_and_never_held_whole() {
        let line = line(Format::Text, &"ü".repeat(MAX_MESSAGE));
        assert!(line.ends_with("ü… (cut)\n") && line.len() < MAX_MESSAGE + 200, "{}", line.len());
        let mut message = Message::default();
        for _ in 0..3 * MAX_MESSAGE {
            let _ = message.write_str("x");
        }
        assert!(message.text.len() < MAX_MESSAGE + 20 && message.text.ends_with("(cut)"));
    }

    #[test]
    fn both_forms_tell_their_time_and_their_request() {
        let id = RequestId::next();
        for format in [Format::Text, Format::Json] {
            let line = id.sync_scope(|| line(format, "said \"so\""));
            let age = OffsetDateTime::now_utc() - time_of(line.as_bytes()).expect(&line);
            assert!(age.whole_seconds().abs() < 10, "{line}");
            assert!(line.contains(&id.to_string()), "{line}");
        }
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json, "x")).unwrap();
        assert_eq!((&json["level"], &json["msg"]), (&"info".into(), &"x".into()));
    }
}
