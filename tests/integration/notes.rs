//! A service that somebody else has written can have all that the built-in ones have.

use std::process::Command;

use serde_json::json;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{curl, curl_as};
use crate::support::follower::Follower;
use crate::support::seconds;
use crate::support::service::{Program, Service};

const TABLES: &str = r#"
[notes]
most = 2

[[service]]
kind = "notes"
name = "minutes"
prefix = "/minutes"
"#;

fn listeners(services: &str) -> String {
    format!(
        "{TABLES}\n[[listener]]\nname = \"https\"\naddress = \"127.0.0.1:0\"\ntls = true\nservices = [\"security\", \"management\", \"monitoring\", {services}]\n"
    )
}

fn notes() -> Service {
    Service::notes().listeners(&listeners("\"notes\", \"minutes\"")).start()
}

fn add(service: &Service, path: &str, text: &str) -> crate::support::curl::Reply {
    let body = json!({ "text": text }).to_string();
    curl_as("admin", &["-d", &body, &service.url("https", path)])
}

#[test]
fn several_services_of_a_kind_have_tables_and_places_of_their_own() {
    let service = notes();
    let first = add(&service, "/notes/", "Water the plants.").expect(201).json();
    assert_eq!((&first["id"], &first["by"]), (&json!(1), &json!("admin")));
    add(&service, "/notes/", "Feed the cat.").expect(201);
    let refused = add(&service, "/notes/", "Too many.").expect(409).json();
    assert_eq!(refused["error_code"], "too-many-notes", "{refused}");
    let refused = add(&service, "/notes/", &"x".repeat(10_001)).expect(400).json();
    assert_eq!(
        (&refused["error_code"], &refused["part"]),
        (&json!("note-too-long"), &json!("text"))
    );

    add(&service, "/minutes/", "<b>We met.</b>").expect(201);
    let list = curl_as("admin", &[&service.url("https", "/minutes/")]).expect(200).json();
    assert_eq!(list["notes"].as_array().map(Vec::len), Some(1), "{list}");
    let page = curl_as("admin", &[&service.url("https", "/minutes/page")]).expect(200);
    assert!(page.body.contains("&lt;b&gt;We met."), "{}", page.body);
    curl(&[&service.url("https", "/minutes/")]).expect(401);
    for name in ["notes", "minutes"] {
        let database = service.data_dir().join("services").join(name).join("notes.sqlite");
        assert!(database.exists(), "{}", database.display());
    }
}

#[test]
fn what_it_tells_shows_in_health_figures_events_record_and_document() {
    let service = notes();
    let get = |path: &str| curl_as("admin", &[&service.url("https", path)]).expect(200);
    let follower = Follower::start(&service.url("https", "/v2/management/events"), &[]);
    for text in ["one", "two"] {
        add(&service, "/notes/", text).expect(201);
    }
    let health = get("/v2/management/health").json();
    assert_eq!(health["notes"]["status"], "healthy", "{health}");
    assert_eq!(health["notes"]["warnings"][0], "all 2 notes are taken; delete some", "{health}");
    assert_eq!(health["minutes"]["status"], "healthy", "{health}");

    let figures = get("/metrics").body;
    for line in ["notes_kept{service=\"notes\"} 2", "notes_kept{service=\"minutes\"} 0"] {
        assert!(figures.lines().any(|one| one == line), "{line}\n{figures}");
    }
    assert_eq!(figures.matches("# TYPE notes_kept ").count(), 1, "{figures}");

    follower.wait("both are told", |follower| follower.named("note-added").len() == 2);
    let event = follower.named("note-added")[1].json();
    assert_eq!((&event["service"], &event["note"]), (&json!("notes"), &json!(2)), "{event}");

    let record = get("/v2/security/audit").json();
    let told = record.to_string();
    assert!(told.contains("note 2 of notes") && !told.contains("two"), "{told}");
    let document = get("/docs/openapi.json").json();
    assert_eq!(document["paths"]["/minutes/"]["post"]["operationId"], "minutes-add");
    let disks = get("/v2/management/diskinfo").json().to_string();
    assert!(disks.contains("\"notes\"") && disks.contains("\"minutes\""), "{disks}");
    let about = get("/v2/management/host/about").json();
    assert_eq!(
        about["services"],
        json!(["management", "minutes", "monitoring", "notes", "security"])
    );
}

#[test]
fn its_streams_learn_that_their_generation_drains_and_its_notes_outlive_the_process() {
    let service = notes();
    let changes = service.url("https", "/notes/changes");
    let mut follower = Follower::start(&changes, &[]);
    add(&service, "/notes/", "Water the plants.").expect(201);
    follower.wait("the note is told", |follower| !follower.named("note-added").is_empty());
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_b();
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(200);
    assert!(follower.ended(seconds(5)), "{}", follower.text());

    let service = service.restart();
    let note = curl_as("admin", &[&service.url("https", "/notes/1")]).expect(200).json();
    assert_eq!(note["text"], "Water the plants.");
    let metrics = curl_as("admin", &[&service.url("https", "/metrics")]).expect(200).body;
    assert!(metrics.contains("notes_kept{service=\"notes\"} 1"), "{metrics}");
}

#[test]
fn what_listeners_do_not_carry_is_not_started_and_health_says_so() {
    let service = Service::notes().listeners(&listeners("\"minutes\"")).start();
    let health = curl_as("admin", &[&service.url("https", "/v2/management/health")]).expect(200);
    assert_eq!(health.json()["notes"]["status"], "disabled", "{}", health.body);
    assert!(!service.data_dir().join("services/notes").exists());
    curl_as("admin", &[&service.url("https", "/notes/")]).expect(404);
}

/// What `check` says to a configuration that is wrong.
fn complaint(config: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), config).expect("write it");
    let mut check = Command::new(Program::Notes.path());
    let output = check.args(["check", "--config"]).arg(file.path()).output().expect("the program");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    text.replace(&file.path().display().to_string(), "FILE")
}

#[test]
fn mistakes_in_its_table_are_named_with_file_line_and_key() {
    for (config, expected) in [
        ("[notes]\nmust = 3", "FILE:2: notes.must: is not a known key; did you mean `most`?"),
        (
            "[notes]\nmost = 0",
            "FILE:2: notes.most: is 0; it must be a whole number from 1 to 1000000",
        ),
        (
            "[[service]]\nkind = \"notes\"\nname = \"minutes\"\nprefix = \"minutes/\"",
            "FILE:4: service[0].prefix: `minutes/` is not a prefix such as \"/minutes\"",
        ),
        (
            "[[service]]\nkind = \"batch\"\nname = \"more\"",
            "FILE:2: service[0].kind: there is one service `batch`",
        ),
    ] {
        let complaint = complaint(config);
        assert!(complaint.contains(expected), "{complaint}");
    }
}

#[test]
fn two_services_cannot_answer_the_same_paths() {
    let config = listeners("\"notes\", \"minutes\"").replace("\"/minutes\"", "\"/notes\"");
    let prepared = Service::notes().listeners(&config).prepare();
    let told = prepared.try_start().err().expect("it is refused").stderr;
    assert!(
        told.contains("listener `https` carries the services `notes` and `minutes`, which answer below `/notes/` and `/notes/`"),
        "{told}"
    );
}

#[test]
fn nobody_takes_paths_of_the_administration_over() {
    for prefix in ["/v2/security/adminpassword", "/v2/management/host/realtime", "/docs/x"] {
        let config =
            listeners("\"notes\", \"minutes\"").replace("/minutes\"", &format!("{prefix}\""));
        let told = Service::notes().listeners(&config).prepare().try_start().err();
        let told = told.expect("it is refused").stderr;
        assert!(told.contains(&format!("`{prefix}/`")), "{told}");
    }
}
