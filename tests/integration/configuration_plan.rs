//! The operator asks what another configuration would change, with the service running and with it stopped.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::support::console::{Console, Said};
use crate::support::http::Connection;
use crate::support::service::{Installation, Service};
use crate::support::stored::Stored;

const TABLES: &str = "[notes]\nmost = 2 # few\n";
const HTTP: &str = r#"
[[listener]]
name = "http"
address = "127.0.0.1:0"
services = ["security", "management"]
redirect_to = "https"
"#;
const HTTPS: &str = r#"
[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "notes"]
"#;

/// `http` is gone, `https` has another address and no `security`, and `notes` keeps more.
const OTHER: &str = r#"
max_draining = 8

[notes]
# More than before.
most = 3

[[listener]]
name = "https"
address = "127.0.0.1:8443"
tls = true
services = ["notes", "management"]
"#;

fn written() -> String {
    format!("{TABLES}{HTTP}{HTTPS}")
}

fn install() -> Installation {
    Service::notes().listeners(&written()).prepare()
}

/// A file beside the configuration.
fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("other.toml");
    std::fs::write(&path, text).expect("write the file");
    path
}

fn plan(console: &Console, options: &[&str], file: &Path) -> Said {
    let file = file.to_str().expect("a plain path");
    console.run(&[options, &["configuration", "plan", file]].concat())
}

#[tokio::test]
async fn a_plan_says_what_another_configuration_would_change() {
    let service = install().start();
    let console = service.console();
    let mut client = Connection::plain(service.port("http")).await.expect("a connection");
    assert_eq!(client.get("/healthz", &[]).await.expect("an answer").status, 200);

    let said = plan(&console, &[], &file(service.path(), OTHER)).expect(0);
    assert_eq!(
        said.stdout,
        "max_draining changes\n\
         service `notes` starts anew because [notes] changed: most (line 6)\n\
         listener `https` moves from 127.0.0.1:0 to 127.0.0.1:8443\n\
         listener `https` no longer carries `security`\n\
         listener `http` on 127.0.0.1:0 stops; it drains (now open: 1 connection, 0 requests, 0 WebSockets)\n\
         service `security` stops (now open: 1 connection, 0 requests, 0 WebSockets)\n"
    );
    let told = plan(&console, &["--json"], &file(service.path(), OTHER)).expect(0).json();
    assert_eq!((&told["running"], &told["refused"]), (&json!(true), &json!(false)));
    assert_eq!(
        told["steps"][4],
        json!({
            "step": "listener-stops",
            "listener": "http",
            "address": "127.0.0.1:0",
            "text": "listener `http` on 127.0.0.1:0 stops; it drains",
            "drains": { "connections": 1, "requests_in_progress": 0, "websockets": 0 },
        })
    );
    // Nothing has changed: the connection is not even asked to close.
    let answer = client.get("/healthz", &[]).await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (200, None));
}

#[test]
fn the_configuration_in_force_changes_nothing_whatever_its_spelling() {
    let installation = install();
    let own = installation.config_file();
    let service = installation.start();
    let spelt = format!("# The same.\n{HTTPS}{HTTP}\n[notes]\n  most = 0x2");
    for text in [std::fs::read_to_string(&own).expect("the configuration"), spelt] {
        let said = plan(&service.console(), &[], &file(service.path(), &text)).expect(0);
        assert_eq!(said.stdout, "nothing changes\n");
    }
    // The file does not name the data directory, the command line does.
    let elsewhere = format!("data_dir = \"/srv\"\n{}", written());
    let said = plan(&service.console(), &[], &file(service.path(), &elsewhere)).expect(0);
    assert_eq!(said.stdout, "nothing changes\n");
}

#[test]
fn a_mistake_is_named_with_file_line_and_key_and_nothing_changes() {
    let service = install().start();
    let console = service.console();
    let (status, stored) = (console.status(), Stored::in_data_dir(&service.data_dir()));
    let contents = stored.contents();
    for (text, expected) in [
        ("\nmax_drainig = 8", ":2: max_drainig: is not a known key; did you mean `max_draining`?"),
        ("[notes]\nmost = 0", ":2: notes.most: is 0; it must be a whole number from 1 to 1000000"),
        ("a = = 1", ":1: TOML: "),
        (
            "[notes]\npassword = \"(masked)\"",
            ":2: notes.password: is \"(masked)\", and the configuration in force has no such secret to keep",
        ),
    ] {
        let file = file(service.path(), text);
        let refusal = plan(&console, &[], &file).refusal();
        let expected = format!("{}{expected}", file.display());
        assert!(refusal.contains(&expected), "{refusal}");
    }
    let missing = service.path().join("missing.toml");
    let refusal = plan(&console, &[], &missing).refusal();
    assert!(refusal.contains("missing.toml:0: file: cannot be read"), "{refusal}");
    assert_eq!(console.status(), status);
    assert!(stored.contents() == contents, "a plan changed the state");
}

#[test]
fn a_stopped_server_is_compared_by_the_file_that_the_operator_names() {
    let installation = install();
    let (console, own) = (installation.console(), installation.config_file());
    let other = file(installation.path(), OTHER);
    let refusal = plan(&console, &[], &other).refusal();
    assert!(refusal.contains("the server is stopped; name the configuration"), "{refusal}");

    let own = own.to_str().expect("a plain path");
    let said = plan(&console, &["--config", own], &other).expect(0);
    assert!(said.stdout.contains("listener `http` on 127.0.0.1:0 stops; it drains\n"), "{said:?}");
    let told = plan(&console, &["--config", own, "--json"], &other).expect(0).json();
    assert_eq!((&told["running"], &told["steps"][4]["drains"]), (&json!(false), &json!(null)));
    let said = plan(&console, &["--config", own], Path::new(own)).expect(0);
    assert_eq!(said.stdout, "nothing changes\n");
    let data = installation.data_dir().read_dir().expect("the data directory").count();
    assert_eq!(data, 0, "a plan leaves something in the data directory");
}
