//! The real curl.

use std::process::{Command, Stdio};

use serde_json::Value;

/// What curl received and measured.
pub(crate) struct Reply {
    pub(crate) status: u64,
    /// Every header block, those of redirects included.
    pub(crate) headers: String,
    pub(crate) body: String,
    pub(crate) exit_code: i32,
    pub(crate) stderr: String,
    measured: Value,
}

impl Reply {
    /// One of curl's `--write-out` variables.
    pub(crate) fn number(&self, variable: &str) -> f64 {
        self.measured[variable].as_f64().unwrap_or_else(|| panic!("no number {variable}"))
    }

    /// The last value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.lines().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next_back().map(|(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|err| panic!("{err} in {} {:?}", self.status, self.body))
    }

    /// Fails with the whole answer when the status is another.
    #[track_caller]
    pub(crate) fn expect(self, status: u64) -> Self {
        assert_eq!(
            self.status, status,
            "curl exit {} {}\n{}{}",
            self.exit_code, self.stderr, self.headers, self.body
        );
        self
    }
}

/// Runs `curl -sSk` with these arguments.
pub(crate) fn curl(arguments: &[&str]) -> Reply {
    let scratch = tempfile::tempdir().expect("tempdir");
    let (head, body) = (scratch.path().join("head"), scratch.path().join("body"));
    let output = Command::new("curl")
        .args(["-sSk", "--max-time", "60", "-w", "%{json}"])
        .arg("-D")
        .arg(&head)
        .arg("-o")
        .arg(&body)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the curl command");
    let read = |path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let measured: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Reply {
        status: measured["http_code"].as_u64().unwrap_or_default(),
        headers: read(&head),
        body: read(&body),
        exit_code: output.status.code().unwrap_or(-1),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        measured,
    }
}

/// The same as `admin` with this password.
pub(crate) fn curl_as(password: &str, arguments: &[&str]) -> Reply {
    let user = format!("admin:{password}");
    curl(&[&["-u", user.as_str()], arguments].concat())
}
