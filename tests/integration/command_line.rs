//! What the binary says to whoever types its name.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::service::Program;

fn portcullis(arguments: &[&str]) -> Output {
    let mut command = Command::new(Program::Portcullis.path());
    command.args(arguments).env_remove("RUST_LOG").output().expect("the binary")
}

fn check(folder: &Path, config: &str) -> (bool, String) {
    let file = folder.join("portcullis.toml");
    std::fs::write(&file, config).expect("write the configuration");
    let output = portcullis(&["check", "--config", file.to_str().expect("a plain path")]);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

const GOOD: &str = r#"data_dir = "data"
drain_timeout = "24h"
max_draining = 32
shutdown_timeout = "30s"

[[listener]]
name = "http"
address = "[::]:8080"
services = ["security", "management"]
redirect_to = "https"

[[listener]]
name = "https"
address = "[::]:8443"
tls = true
services = ["security", "management"]
"#;

#[test]
fn version_is_told() {
    let output = portcullis(&["--version"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.trim().strip_prefix("portcullis ").expect("the name first");
    assert_eq!(version.split('.').count(), 3, "{version}");
}

#[test]
fn good_configuration_passes_the_check() {
    let folder = tempfile::tempdir().expect("tempdir");
    let (passed, text) = check(folder.path(), GOOD);
    assert!(passed, "{text}");
    assert!(!folder.path().join("data").exists(), "a check leaves nothing behind");
}

/// A change to the good configuration, and what the refusal must name beside the file.
const MISTAKES: [(&str, &str, &[&str]); 8] = [
    ("drain_timeout", "drain_timeuot", &["drain_timeuot", "drain_timeout", ":2"]),
    ("redirect_to", "redirct_to", &["redirct_to", "redirect_to"]),
    ("\"24h\"", "\"soon\"", &["drain_timeout", "soon", ":2"]),
    ("max_draining = 32", "max_draining = \"many\"", &["max_draining", ":3"]),
    ("[::]:8443", "[::]:84430", &["address", "84430"]),
    ("redirect_to = \"https\"", "redirect_to = \"htps\"", &["redirect_to", "htps"]),
    (
        "[\"security\", \"management\"]\nredirect_to",
        "[\"securty\"]\nredirect_to",
        &["securty", "security", "management"],
    ),
    ("name = \"http\"", "name = \"https\"", &["https"]),
];

#[test]
fn mistake_in_the_configuration_is_named_with_file_and_key() {
    for (good, bad, words) in MISTAKES {
        let folder = tempfile::tempdir().expect("tempdir");
        let config = GOOD.replacen(good, bad, 1);
        assert_ne!(config, GOOD, "{good} is not there to be changed");
        let (passed, text) = check(folder.path(), &config);
        assert!(!passed, "{bad} passes the check");
        for word in words.iter().chain(&["portcullis.toml"]) {
            assert!(text.contains(word), "no {word} in {text:?}");
        }
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn run_refuses_what_the_check_refuses() {
    let folder = tempfile::tempdir().expect("tempdir");
    let file = folder.path().join("portcullis.toml");
    std::fs::write(&file, GOOD.replace("tls = true", "tsl = true")).expect("write");
    let data = folder.path().join("data");
    let output = portcullis(&[
        "run",
        "--config",
        file.to_str().expect("a plain path"),
        "--data-dir",
        data.to_str().expect("a plain path"),
    ]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("tsl"));
    assert!(!data.exists(), "a refused configuration leaves nothing behind");
}
