//! A `curl -N` that follows a stream of server-sent events.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::wait_until_blocking;

/// One message of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Empty for a message without a name.
    pub(crate) event: String,
    pub(crate) id: Option<u64>,
    pub(crate) data: String,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|err| panic!("{err} in {self:?}"))
    }
}

/// The command, running until it is dropped or the server ends the stream.
pub(crate) struct Follower {
    child: Child,
    text: Arc<Mutex<String>>,
}

impl Follower {
    /// Follows `url` as `admin` with the default password.
    pub(crate) fn start(url: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new("curl")
            .args(["-skN", "--max-time", "120", "-u", "admin:admin"])
            .args(arguments)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the curl command");
        let text = Arc::new(Mutex::new(String::new()));
        let (stdout, copy) = (child.stdout.take().expect("piped"), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout);
            let mut line = String::new();
            while matches!(lines.read_line(&mut line), Ok(1..)) {
                copy.lock().expect("text").push_str(&line);
                line.clear();
            }
        });
        let follower = Self { child, text };
        // The server's first words: from here on nothing is missed.
        follower.wait("the stream begins", |follower| follower.text().contains("retry:"));
        follower
    }

    pub(crate) fn text(&self) -> String {
        self.text.lock().expect("text").clone()
    }

    /// The messages that have arrived whole.
    pub(crate) fn messages(&self) -> Vec<Message> {
        let text = self.text();
        let whole = text.rfind("\n\n").map_or("", |end| &text[..end]);
        let parse = |block: &str| {
            let field = |name: &str| {
                let mut lines = block.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
            };
            Some(Message {
                event: field("event").unwrap_or_default(),
                id: field("id").and_then(|digits| digits.parse().ok()),
                data: field("data")?,
            })
        };
        whole.split("\n\n").filter_map(parse).collect()
    }

    /// The messages of one kind.
    pub(crate) fn named(&self, event: &str) -> Vec<Message> {
        self.messages().into_iter().filter(|message| message.event == event).collect()
    }

    /// Waits until the stream fulfils a condition.
    #[track_caller]
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begun = std::time::Instant::now();
        while !condition(self) {
            let waited = begun.elapsed() < Duration::from_secs(20);
            assert!(waited, "still waiting: {what}; so far:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// Waits until the server has ended the stream, and tells curl's verdict.
    pub(crate) fn ended(&mut self, deadline: Duration) -> bool {
        let mut status = None;
        wait_until_blocking("the stream ends", deadline, || {
            status = self.child.try_wait().expect("wait for curl");
            status.is_some()
        });
        status.is_some_and(|status| status.success())
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
