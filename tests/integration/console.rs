//! The operator at the console, with the service running and with it stopped.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::certificates::CertificateAuthority;
use crate::support::console::{Console, Machine, said};
use crate::support::http::Connection;
use crate::support::process::Process;
use crate::support::service::{Installation, Program, Service};
use crate::support::stored::{Stored, files_below};
use crate::support::tls::served_fingerprint;
use crate::support::{seconds, wait_until, wait_until_blocking};

async fn opens(service: &Service, password: &str) -> bool {
    service.admin().with_password(password).about_status().await == 200
}

/// What a plain request to `/healthz` is answered.
async fn plain_status(service: &Service) -> u16 {
    let mut connection = Connection::plain(service.port("http")).await.expect("a connection");
    connection.get("/healthz", &[("connection", "close")]).await.expect("an answer").status
}

/// Somebody has switched plain HTTP off and set a password that nobody knows any more.
async fn locked_out() -> Service {
    let service = Service::portcullis().start();
    service.admin().set_insecure_ports(false).await;
    service.admin().set_password("nobody remembers").await;
    assert!(!opens(&service, "admin").await);
    assert_eq!(plain_status(&service).await, 301);
    service
}

/// In again, with the password that the console has brought back, and everything else kept.
async fn in_again(service: &Service) {
    assert!(opens(service, "admin").await, "the default password does not open");
    assert!(!opens(service, "nobody remembers").await, "the forgotten password still opens");
    assert_eq!(plain_status(service).await, 301, "plain HTTP was switched on by the way");
    let own = service.admin().set_password("written down").await;
    own.set_insecure_ports(true).await;
    assert_eq!(plain_status(service).await, 200);
}

#[tokio::test]
async fn forgotten_password_is_reset_while_the_service_runs() {
    let service = locked_out().await;
    service.console().done(&["reset-password"]);
    in_again(&service).await;
}

#[tokio::test]
async fn forgotten_password_is_reset_while_the_service_is_stopped() {
    let installation = locked_out().await.stop();
    installation.console().done(&["reset-password"]);
    in_again(&installation.start()).await;
}

#[tokio::test]
async fn set_password_takes_the_first_line_of_standard_input() {
    for machine in Machine::both() {
        let console = machine.console();
        console.run_with(&["set-password"], "from a script\nanother line\n").expect(0);
        console.run_with(&["set-password", "--stdin"], "with blanks and ü \r\n").expect(0);
        let service = machine.serving();
        assert!(opens(&service, "with blanks and ü ").await);
        assert!(!opens(&service, "from a script").await);
    }
}

#[tokio::test]
async fn authentication_is_switched_off_and_on() {
    for machine in Machine::both() {
        let console = machine.console();
        console.set_password("own");
        console.done(&["auth", "off"]);
        assert_eq!(console.status()["auth_enabled"], false);
        let service = machine.serving();
        assert!(opens(&service, "anything").await);
        service.console().done(&["auth", "on"]);
        assert_eq!(service.console().status()["auth_enabled"], true);
        assert!(!opens(&service, "anything").await);
        assert!(opens(&service, "admin").await, "it comes back with the default password");
    }
}

#[tokio::test]
async fn plain_http_is_switched_off_and_on() {
    for machine in Machine::both() {
        let (console, stored) = (machine.console(), Stored::in_data_dir(&machine.data_dir()));
        console.done(&["http", "off"]);
        assert_eq!(console.status()["enable_insecure_ports"], false);
        assert!(!stored.insecure_ports());
        let service = machine.serving();
        assert_eq!(plain_status(&service).await, 301);
        service.console().done(&["http", "on"]);
        assert_eq!(plain_status(&service).await, 200);
        assert!(stored.insecure_ports());
    }
}

#[tokio::test]
async fn reset_brings_back_a_new_appliance_when_it_is_confirmed() {
    for machine in Machine::both() {
        let (console, stored) = (machine.console(), Stored::in_data_dir(&machine.data_dir()));
        console.set_password("own");
        console.done(&["http", "off"]);
        let contents = stored.contents();
        assert!(console.run(&["reset"]).refusal().contains("--yes"));
        assert!(stored.contents() == contents, "an unconfirmed reset changed something");
        console.done(&["reset", "--yes"]);
        let service = machine.serving();
        assert!(opens(&service, "admin").await);
        assert!(!opens(&service, "own").await);
        assert_eq!(plain_status(&service).await, 200);
    }
}

/// The files of the state below its folder: what differs from appliance to appliance, the salted
/// hash of the password and the note of the change, by name alone.
fn state_files(machine: &Machine) -> Vec<(String, Vec<u8>)> {
    let root = std::fs::canonicalize(Stored::in_data_dir(&machine.data_dir()).link());
    let root = root.expect("the current revision");
    let mut files: Vec<_> = files_below(&root)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("below").display().to_string();
            let differs = ["users", "change.json"].iter().any(|end| name.ends_with(end));
            let bytes = if differs { Vec::new() } else { std::fs::read(&path).expect("a file") };
            (name, bytes)
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn reset_makes_the_same_state_with_the_server_running_and_stopped() {
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let mut states = Vec::new();
    for stops in [false, true] {
        let service = Service::portcullis().start();
        let admin = service.admin();
        admin.install(&bundle).await;
        let key = serde_json::json!({ "subject": { "common_name": "a" }, "key_type": "ec-p256" });
        for (path, body, status) in [
            ("/v2/security/csr", key, 201),
            ("/v2/security/jobtoken", serde_json::json!({ "user_token": "word" }), 200),
            ("/v2/management/cleanupinterval", serde_json::json!({ "minutes": 77 }), 200),
        ] {
            let answer = admin.post(path, &body).await;
            assert_eq!(answer.status, status, "{path}: {}", answer.text());
        }
        admin.set_insecure_ports(false).await;
        admin.set_password("own").await;
        let machine = if stops {
            Machine::Stopped(Box::new(service.stop()))
        } else {
            Machine::Running(Box::new(service))
        };
        let waiting = machine.data_dir().join("waiting-keys");
        assert!(!files_below(&waiting).is_empty(), "a key waits");
        machine.console().done(&["reset", "--yes"]);
        assert!(files_below(&waiting).is_empty(), "no key waits");
        states.push(state_files(&machine));

        let service = machine.serving();
        let interval = service.admin().get("/v2/management/cleanupinterval").await;
        assert_eq!((interval.status, &interval.json()["minutes"]), (200, &77.into()));
        assert_ne!(served_fingerprint(service.port("https")).await, bundle.fingerprint);
        assert_eq!(plain_status(&service).await, 200);
    }
    let names: Vec<_> = states[0].iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"settings.json"), "settings stay: {names:?}");
    assert!(!names.contains(&"job-token") && !names.contains(&"tls/tls.key"), "{names:?}");
    assert!(states[0] == states[1], "running {:?}, stopped {:?}", states[0], states[1]);
}

#[tokio::test]
async fn rollback_brings_back_the_state_of_a_kept_revision() {
    for machine in Machine::both() {
        let console = machine.console();
        console.set_password("early");
        let early = console.current_revision();
        console.set_password("late");
        console.done(&["http", "off"]);
        assert!(console.current_revision() > early);
        console.done(&["rollback", &early.to_string()]);
        // It is a change like any other, and can be taken back in its turn.
        assert!(console.current_revision() > early + 2);
        let service = machine.serving();
        assert!(opens(&service, "early").await);
        assert!(!opens(&service, "late").await);
        assert_eq!(plain_status(&service).await, 200);
    }
}

#[test]
fn history_tells_what_was_done_by_whom_and_which_revision_holds() {
    for machine in Machine::both() {
        let console = machine.console();
        console.done(&["http", "off"]);
        console.set_password("own");
        let text = console.done(&["history"]).stdout;
        let lines = text.lines().collect::<Vec<_>>();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].starts_with('*') && lines[0].contains("password"), "{text}");
        assert!(lines[1].contains("HTTP") && lines[1].contains("console"), "{text}");
        let revisions = console.done(&["history", "--json"]).json()["revisions"].clone();
        let numbers = revisions.as_array().expect("revisions").iter();
        let numbers = numbers.map(|entry| entry["revision"].as_u64()).collect::<Vec<_>>();
        assert_eq!(numbers, [Some(3), Some(2), Some(1)]);
    }
}

/// Commands that change nothing that the next ones need.
const COMMANDS: [&[&str]; 9] = [
    &["status"],
    &["history"],
    &["certificate", "show"],
    &["certificate", "reset"],
    &["http", "off"],
    &["http", "on"],
    &["auth", "off"],
    &["auth", "on"],
    &["reset-password"],
];

#[test]
fn every_command_speaks_to_people_and_to_scripts() {
    for machine in Machine::both() {
        let console = machine.console();
        for words in COMMANDS {
            let text = console.done(words);
            assert!(!text.stdout.trim().is_empty(), "{words:?} says nothing");
            assert!(serde_json::from_str::<Value>(&text.stdout).is_err(), "{words:?}");
            assert_eq!(text.stderr, "", "{words:?}");
            if words != ["auth", "on"] {
                let json = console.done(&[&["--json"], words].concat());
                assert!(json.json().is_object(), "{words:?}: {}", json.stdout);
            }
        }
    }
}

#[test]
fn status_tells_whether_the_service_runs_and_what_holds() {
    for machine in Machine::both() {
        let (console, running) = (machine.console(), machine.is_running());
        let status = console.status();
        assert_eq!(status["running"], running, "{status}");
        assert_eq!(status["default_certificate"], true, "{status}");
        assert_eq!(status["listeners"].is_array(), running, "{status}");
        let text = console.done(&["status"]).stdout;
        for word in [if running { "running" } else { "stopped" }, "SHA-256", "plain HTTP"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}

#[test]
fn wrong_command_line_ends_with_2() {
    let folder = tempfile::tempdir().expect("tempdir");
    let console = Console::new(Program::Portcullis, folder.path());
    for words in [
        &[][..],
        &["nonsense"],
        &["auth"],
        &["auth", "perhaps"],
        &["http", "1"],
        &["certificate"],
        &["certificate", "check"],
        &["certificate", "check", "a", "b", "c"],
        &["certificate", "install", "--key", "a"],
        &["rollback", "yesterday"],
        &["status", "--xml"],
    ] {
        let said = console.run(words).expect(2);
        assert!(said.stdout.is_empty() && !said.stderr.is_empty(), "{words:?}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_with_one_line_and_changes_nothing() {
    for machine in Machine::both() {
        let (console, stored) = (machine.console(), Stored::in_data_dir(&machine.data_dir()));
        let contents = stored.contents();
        let long = "x".repeat(73);
        for (words, stdin, expected) in [
            (&["set-password"][..], "", "empty"),
            (&["set-password"], "\nsecond line\n", "empty"),
            (&["set-password"], long.as_str(), "72"),
            (&["set-password"], "tab\tulator\n", "control"),
            (&["auth", "on"], "", "on already"),
            (&["rollback", "999"], "", "999"),
        ] {
            let line = console.run_with(words, stdin).refusal();
            assert!(line.contains(expected), "{words:?}: {line}");
        }
        assert!(stored.contents() == contents, "the state changed");
    }
}

#[test]
fn folder_without_a_state_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("tempdir");
    let missing = folder.path().join("missing");
    for data_dir in [folder.path(), &missing] {
        let console = Console::new(Program::Portcullis, data_dir);
        for words in [&["status"][..], &["reset-password"], &["reset", "--yes"]] {
            let line = console.run(words).refusal();
            assert!(line.contains(&data_dir.display().to_string()), "{line}");
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}

#[test]
fn data_directory_is_taken_from_the_configuration() {
    let installation = Service::portcullis().start().stop();
    let config = installation.path().join("other.toml");
    let data_dir = format!("data_dir = \"{}\"\n", installation.data_dir().display());
    std::fs::write(&config, data_dir).expect("write the configuration");
    let mut command = Command::new(Program::Portcullis.path());
    command.args(["console", "--config"]).arg(&config).args(["http", "off"]);
    said(command, "").expect(0);
    assert!(!Stored::in_data_dir(&installation.data_dir()).insecure_ports());
}

#[test]
fn socket_belongs_to_its_owner_alone_and_goes_with_the_service() {
    let service = Service::portcullis().start();
    let socket = service.data_dir().join("console.sock");
    let metadata = std::fs::metadata(&socket).expect("the socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    let _installation = service.stop();
    assert!(!socket.exists());
}

#[tokio::test]
async fn socket_left_behind_by_a_crash_is_no_trouble() {
    let installation = Service::portcullis().start().kill();
    assert!(installation.data_dir().join("console.sock").exists(), "nothing was left behind");
    installation.console().set_password("while it is down");
    let service = installation.start();
    assert!(opens(&service, "while it is down").await);
    service.console().done(&["reset-password"]);
    assert!(opens(&service, "admin").await);
}

#[test]
fn second_writer_is_kept_out_of_the_state() {
    let installation = Service::portcullis().start().stop();
    let stored = Stored::in_data_dir(&installation.data_dir());
    let contents = stored.contents();
    let lock = File::open(installation.data_dir().join("lock")).expect("the lock");
    lock.try_lock().expect("nobody else holds it");
    let line = installation.console().run(&["http", "off"]).refusal();
    assert!(line.contains("in use"), "{line}");
    assert!(stored.contents() == contents, "the state changed");
    drop(lock);
    installation.console().done(&["http", "off"]);
    // The service holds the same lock, also against a console that cannot reach its socket.
    let service = installation.start();
    std::fs::remove_file(service.data_dir().join("console.sock")).expect("remove the socket");
    wait_until_blocking("the socket is there again", seconds(20), || {
        let said = service.console().run(&["http", "on"]);
        if said.code == 0 {
            return true;
        }
        let line = said.refusal();
        assert!(line.contains("in use") && line.contains("try again"), "{line}");
        assert!(!stored.insecure_ports());
        false
    });
    assert!(stored.insecure_ports());
}

#[test]
fn socket_that_something_has_replaced_is_made_anew() {
    let service = Service::portcullis().start();
    let socket = service.data_dir().join("console.sock");
    type Replace = fn(&Path);
    let replacements: [(&str, Replace); 4] = [
        ("a file", |path| std::fs::write(path, "x").expect("write")),
        ("a dangling link", |path| std::os::unix::fs::symlink("nowhere", path).expect("a link")),
        ("an empty folder", |path| std::fs::create_dir(path).expect("a folder")),
        ("a foreign socket", |path| drop(UnixListener::bind(path).expect("a socket"))),
    ];
    for (name, replace) in replacements {
        std::fs::remove_file(&socket).expect("remove the socket");
        replace(&socket);
        wait_until_blocking(name, seconds(20), || service.console().run(&["status"]).code == 0);
        let mode = std::fs::symlink_metadata(&socket).expect("the socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Starts the appliance on a data directory of any name, and waits until it is ready.
fn start_on(installation: &Installation, folder: &Path, data_dir: &Path) -> Process {
    let ready = installation.path().join("ready.json");
    let _ = std::fs::remove_file(&ready);
    let mut command = Command::new(Program::Portcullis.path());
    command.args(["run", "--config"]).arg(installation.config_file());
    command.arg("--data-dir").arg(data_dir).arg("--ready-file").arg(&ready);
    command.current_dir(folder).stderr(Stdio::piped());
    let process = Process::spawn(command);
    wait_until_blocking("it is ready", seconds(30), || ready.exists());
    process
}

#[test]
fn console_works_under_any_data_directory_running_and_stopped() {
    let installation = Service::portcullis().prepare();
    let root = installation.path();
    let long = |length: usize| {
        let mut path = root.join(length.to_string());
        while path.as_os_str().len() + 201 < length {
            path.push("d".repeat(200));
        }
        let left = length - path.as_os_str().len() - 1;
        path.join("e".repeat(left))
    };
    let mut folders: Vec<PathBuf> = [93, 94, 95, 96, 107, 108, 140, 1000].map(long).to_vec();
    folders.push(root.join("with 'späce' \"q\""));
    folders.push("relative/data".into());
    folders.push(format!("relative/{}/data", "r".repeat(150)).into());
    for data_dir in folders {
        let shown = data_dir.display();
        let console = |words: &[&str]| {
            let mut command = Command::new(Program::Portcullis.path());
            command.arg("console").arg("--data-dir").arg(&data_dir).args(words);
            command.current_dir(root);
            said(command, "")
        };
        let mut process = start_on(&installation, root, &data_dir);
        let status = console(&["--json", "status"]).expect(0).json();
        assert_eq!(status["running"], true, "{shown}");
        console(&["reset-password"]).expect(0);
        let pid = i32::try_from(process.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("signal it");
        assert!(process.child.wait().expect("its end").success(), "{shown}");
        assert!(!process.whole_log().contains("WARN"), "{shown}");
        let status = console(&["--json", "status"]).expect(0).json();
        assert_eq!(status["running"], false, "{shown}");
        console(&["reset-password"]).expect(0);
    }
}

#[tokio::test]
async fn many_operators_at_once_each_have_their_turn() {
    for machine in Machine::both() {
        let console = machine.console();
        let before = console.current_revision();
        let attempts = (0..8).map(|number| {
            let console = console.clone();
            std::thread::spawn(move || {
                let word = if number % 2 == 0 { "on" } else { "off" };
                console.run(&["http", word])
            })
        });
        let attempts = attempts.collect::<Vec<_>>();
        let ended = attempts.into_iter().map(|attempt| attempt.join().expect("a console"));
        let ended = ended.collect::<Vec<_>>();
        let done = ended.iter().filter(|said| said.code == 0).count() as u64;
        if machine.is_running() {
            assert_eq!(done, 8, "{ended:?}");
        }
        for said in ended.into_iter().filter(|said| said.code != 0) {
            assert!(said.refusal().contains("in use"));
        }
        assert!(done > 0, "nobody had a turn");
        assert_eq!(console.current_revision(), before + done);
        let holds = console.status()["enable_insecure_ports"] == true;
        let service = machine.serving();
        let expected = if holds { 200 } else { 301 };
        wait_until("clients see what holds", seconds(5), async || {
            plain_status(&service).await == expected
        })
        .await;
    }
}

#[test]
fn program_of_its_own_has_the_same_console() {
    let service = Service::echo().start();
    assert_eq!(service.console().status()["running"], true);
    let installation = service.stop();
    assert_eq!(installation.console().status()["running"], false);
    for words in [&["completions", "bash"][..], &["man"]] {
        let mut command = Command::new(Program::Echo.path());
        command.args(words);
        assert!(!said(command, "").expect(0).stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn completions_and_the_manual_page_know_every_command() {
    let portcullis = |words: &[&str]| {
        let mut command = Command::new(Program::Portcullis.path());
        command.args(words);
        said(command, "")
    };
    for words in [&["completions", "bash"][..], &["completions", "zsh"], &["completions", "fish"]] {
        let text = portcullis(words).expect(0).stdout;
        for word in ["console", "reset-password", "rollback", "certificate"] {
            assert!(text.contains(word), "{words:?}: no {word}");
        }
    }
    portcullis(&["completions", "ed"]).expect(2);
    let bash = portcullis(&["completions", "bash"]).stdout;
    let mut command = Command::new("bash");
    command.arg("-n");
    assert_eq!(said(command, &bash).expect(0).stderr, "");
    // Hyphens are escaped in manual pages.
    let manual = portcullis(&["man"]).expect(0).stdout.replace('\\', "");
    assert!(manual.contains(".TH"), "{manual}");
    for word in ["run", "console reset-password", "console certificate check", "--data-dir"] {
        assert!(manual.contains(word), "no {word} in the manual page");
    }
}
