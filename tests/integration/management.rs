//! The management API, with the commands of the manual.

use std::io::Read;

use serde_json::{Value, json};

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::follower::Follower;
use crate::support::seconds;
use crate::support::service::{Service, Setup};
use crate::support::wait_until_blocking;

fn url(service: &Service, path: &str) -> String {
    service.url("https", &format!("/v2/management/{path}"))
}

fn get(service: &Service, path: &str) -> Value {
    curl_as("admin", &["-L", "-X", "GET", &url(service, path)]).expect(200).json()
}

fn send(service: &Service, method: &str, path: &str, body: &str) -> Reply {
    // With `-d` alone, as the manual does: not a JSON content type.
    curl_as("admin", &["-L", "-X", method, &url(service, path), "-d", body])
}

#[test]
fn health_of_a_new_appliance_is_good_and_names_every_component() {
    let service = Service::portcullis().start();
    let health = get(&service, "health");
    assert_eq!(health["status"], "healthy", "{health}");
    let status = |name: &str| health[name]["status"].as_str().unwrap_or("?").to_owned();
    for name in ["certificate", "authentication", "listeners", "storage"] {
        assert_eq!(status(name), "healthy", "{name} in {health}");
    }
    for name in ["batch", "realtime", "database", "batch_inference", "gpu_inference"] {
        assert_eq!(status(name), "disabled", "{name} in {health}");
    }
    let warning = health["authentication"]["warnings"][0].as_str().expect("a warning");
    assert!(warning.contains("default"), "{warning}");
    assert!(health["storage"].get("errors").is_none(), "{health}");
}

#[test]
fn figures_of_the_machine_have_the_documented_shapes() {
    let service = Service::portcullis().start();
    let cpu = get(&service, "cpuinfo");
    assert!(cpu["cpus"].as_str().is_some_and(|text| text.parse::<u32>().is_ok()), "{cpu}");
    assert!(cpu["usage_percentage"].is_number() && cpu["hyperthreading"].is_boolean(), "{cpu}");
    for key in ["architecture", "model_name", "vendor", "flags"] {
        assert!(cpu[key].is_string(), "{key} in {cpu}");
    }
    let memory = get(&service, "meminfo");
    let number = |key: &str| memory[key].as_f64().unwrap_or_else(|| panic!("{key} in {memory}"));
    assert!(number("used_kb") < number("total_kb") && number("available_kb") > 0.0);
    assert!((0.0..=100.0).contains(&number("usage_percentage")), "{memory}");
    let disks = get(&service, "diskinfo")["disks"].clone();
    assert_eq!(disks[0]["name"], "data", "{disks}");
    assert!(disks[0]["total_kb"].as_u64() > disks[0]["available_kb"].as_u64(), "{disks}");
    let node = get(&service, "nodeinfo");
    assert_eq!(node["kubernetes.io/os"], "linux", "{node}");
    assert!(node.as_object().expect("flat").values().all(Value::is_string), "{node}");
}

#[test]
fn settings_hold_at_once_and_over_a_restart_and_can_be_taken_back() {
    let service = Service::portcullis().settings("max_draining = 7").start();
    assert_eq!(get(&service, "settings")["max_draining"], 7);
    let change = r#"{"max_draining": 3, "drain_timeout": "90m", "log_level": "debug"}"#;
    let set = send(&service, "PUT", "settings", change).expect(200).json();
    assert_eq!((&set["max_draining"], &set["drain_timeout"]), (&json!(3), &json!("1h 30m")));
    assert_eq!(get(&service, "settings"), set);
    wait_until_blocking("debug lines are logged", seconds(5), || {
        get(&service, "health");
        service.log().contains("portcullis::access")
    });

    let service = service.restart();
    assert_eq!(get(&service, "settings"), set);
    curl_as("admin", &["-X", "DELETE", &service.url("https", "/v2/security/reset")]).expect(200);
    assert_eq!(get(&service, "settings"), set, "a security reset is none of settings");
    let back = send(&service, "PUT", "settings", r#"{"max_draining": null}"#).expect(200).json();
    assert_eq!((&back["max_draining"], &back["log_level"]), (&json!(7), &json!("debug")));
}

#[test]
fn settings_out_of_range_are_refused_by_name_and_change_nothing() {
    let service = Service::portcullis().start();
    let before = get(&service, "settings");
    for (body, word, code) in [
        (r#"{"max_draining": 0}"#, "max_draining", "invalid-field"),
        (r#"{"drain_timeout": "soon"}"#, "drain_timeout", "invalid-field"),
        (r#"{"login_failures_free": 50}"#, "login_failures_free", "invalid-field"),
        (r#"{"log_level": "loud"}"#, "loud", "invalid-body"),
        (r#"{"max_drainig": 1}"#, "max_drainig", "invalid-body"),
        ("max_draining=1", "not JSON", "malformed-body"),
    ] {
        let refused = send(&service, "PUT", "settings", body).expect(400);
        assert!(refused.body.contains(word), "{body}: {}", refused.body);
        let error = refused.json();
        assert_eq!(error["error_code"], code, "{body}: {error}");
        let part = (code == "invalid-field").then_some(word);
        assert_eq!(error["part"].as_str(), part, "{body}: {error}");
    }
    assert_eq!(get(&service, "settings"), before);
}

#[test]
fn limit_of_wrong_passwords_can_be_set() {
    let service = Service::portcullis().start();
    let change = r#"{"login_failures_free": 1, "login_failures_limit": 3, "login_failures_forgiven_per_minute": 1}"#;
    send(&service, "PUT", "settings", change).expect(200);
    let try_it = || curl_as("wrong", &[&url(&service, "health")]).status;
    assert_eq!([try_it(), try_it(), try_it(), try_it()], [401, 401, 401, 429]);
}

#[test]
fn cleanup_interval_is_a_day_until_it_is_set() {
    let service = Service::portcullis().start();
    assert_eq!(get(&service, "cleanupinterval"), json!({ "minutes": 1440 }));
    let set = send(&service, "POST", "cleanupinterval", r#"{"minutes": 1}"#).expect(200);
    assert_eq!(set.json(), json!({ "minutes": 1 }));
    let service = service.restart();
    assert_eq!(get(&service, "cleanupinterval"), json!({ "minutes": 1 }));
    let refused = send(&service, "POST", "cleanupinterval", r#"{"minutes": 0}"#).expect(400);
    assert!(refused.body.contains("cleanup_interval_minutes"), "{}", refused.body);
    assert_eq!(refused.json()["part"], "minutes", "{}", refused.body);
}

#[test]
fn realtime_paths_say_that_there_is_no_realtime_service() {
    let service = Service::portcullis().start();
    for path in ["host/realtime/sessions", "host/realtime/ready"] {
        let absent = curl_as("admin", &["-L", &url(&service, path)]).expect(404);
        assert_eq!(absent.json()["error_code"], "not-served", "{}", absent.body);
        let detail = absent.json()["detail"].clone();
        assert!(detail.as_str().is_some_and(|text| text.contains("realtime")), "{detail}");
    }
}

/// An appliance whose reboot makes a file in its folder.
fn with_power(delay: &str) -> Setup {
    Service::portcullis().settings(&format!(
        "[power]\nreboot = [\"touch\", \"rebooted\"]\nshutdown = [\"touch\", \"shut-down\"]\ndelay = \"{delay}\"\n"
    ))
}

#[test]
fn reboot_waits_and_can_be_called_off() {
    let service = with_power("1m").start();
    let reboot = curl_as("admin", &["-L", "-X", "DELETE", &url(&service, "reboot")]).expect(200);
    assert!(reboot.json()["due"].is_string(), "{}", reboot.body);
    curl_as("admin", &["-X", "DELETE", &url(&service, "reboot")]).expect(409);
    curl_as("admin", &["-X", "POST", &url(&service, "reboot/cancel")]).expect(200);
    curl_as("admin", &["-X", "POST", &url(&service, "reboot/cancel")]).expect(409);
    assert!(!service.path().join("rebooted").exists());
}

#[test]
fn reboot_runs_the_configured_command_when_its_time_has_come() {
    let service = with_power("1s").start();
    let follower = Follower::start(&service.url("http", "/v2/management/events"), &[]);
    curl_as("admin", &["-L", "-X", "DELETE", &url(&service, "reboot")]).expect(200);
    let file = service.path().join("rebooted");
    assert!(!file.exists(), "not at once");
    wait_until_blocking("the command has run", seconds(10), || file.exists());
    assert_eq!(follower.named("power-scheduled").len(), 1, "{}", follower.text());
}

#[test]
fn shutdown_runs_its_own_command_and_can_be_called_off_as_well() {
    let service = with_power("1s").start();
    let shutdown = || curl_as("admin", &["-L", "-X", "DELETE", &url(&service, "shutdown")]);
    shutdown().expect(200);
    let file = service.path().join("shut-down");
    wait_until_blocking("the command has run", seconds(10), || file.exists());
    assert!(!service.path().join("rebooted").exists());

    let service = with_power("1m").start();
    curl_as("admin", &["-L", "-X", "DELETE", &url(&service, "shutdown")]).expect(200);
    let cancel = curl_as("admin", &["-X", "POST", &url(&service, "shutdown/cancel")]).expect(200);
    assert_eq!(cancel.json()["action"], "shutdown", "{}", cancel.body);
}

/// The commands of the manual that have a meaning here, typed as they stand there.
#[test]
fn commands_of_the_manual_are_answered_over_http_and_https() {
    let service = with_power("1m").start();
    for listener in ["http", "https"] {
        let url = |path: &str| service.url(listener, &format!("/v2/management/{path}"));
        let login = ["-u", "admin:admin"];
        for (path, key) in [
            ("host/about", "appliance_version"),
            ("health", "status"),
            ("meminfo", "available_kb"),
            ("cpuinfo", "usage_percentage"),
            ("nodeinfo", "kubernetes.io/arch"),
            ("cleanupinterval", "minutes"),
        ] {
            let read = curl(&[&["-L", "-X", "GET", &url(path)], &login[..]].concat());
            let read = read.expect(200);
            assert_eq!(read.header("content-type"), Some("application/json"), "{path}");
            assert!(!read.json()[key].is_null(), "{path}: {}", read.body);
            curl(&["-L", "-X", "GET", &url(path)]).expect(401);
        }
        let interval = ["-L", "-X", "POST", &url("cleanupinterval"), "-d", r#"{"minutes":60}"#];
        let set = curl(&[&interval, &login[..]].concat()).expect(200);
        assert_eq!(set.json(), json!({ "minutes": 60 }));
        let logs = url("logs/zip?limit=1h");
        let zip = curl(&[&["-L", "-X", "GET", logs.as_str()], &login[..]].concat()).expect(200);
        assert_eq!(zip.header("content-type"), Some("application/zip"));
        for action in ["reboot", "shutdown"] {
            curl(&[&["-L", "-X", "DELETE", &url(action)], &login[..]].concat()).expect(200);
            let cancel = url(&format!("{action}/cancel"));
            curl(&[&["-X", "POST", cancel.as_str()], &login[..]].concat()).expect(200);
        }
    }
}

#[test]
fn shutdown_without_a_command_names_the_key_to_set() {
    let service = Service::portcullis().start();
    let refused = curl_as("admin", &["-L", "-X", "DELETE", &url(&service, "shutdown")]);
    let refused = refused.expect(501);
    assert!(refused.body.contains("[power]") && refused.body.contains("shutdown = "));
}

#[test]
fn number_of_a_request_is_in_its_answer_its_error_and_its_log_lines() {
    let service = Service::portcullis().start();
    let set = send(&service, "PUT", "settings", r#"{"max_draining": 4}"#).expect(200);
    let id = set.header("request-id").expect("a number").to_owned();
    let logged = |id: &str, word: &str| {
        service.log().lines().any(|line| line.contains(id) && line.contains(word))
    };
    wait_until_blocking("its line is logged", seconds(5), || logged(&id, "settings changed"));
    let missing = curl_as("admin", &[&url(&service, "nothing")]).expect(404);
    let number = missing.header("request-id").expect("a number");
    assert_ne!(number, id);
    assert_eq!(missing.json()["request_id"], number, "{}", missing.body);
    assert_eq!(missing.json()["error_code"], "no-such-path", "{}", missing.body);
    let failed = send(&service, "DELETE", "reboot", "").expect(501);
    assert_eq!(failed.json()["request_id"], failed.header("request-id").expect("a number"));

    // An owner's line, from another task.
    let password = service.url("https", "/v2/security/adminpassword");
    let set = curl_as("admin", &["-d", r#"{"password": "admin"}"#, &password]).expect(200);
    let id = set.header("request-id").expect("a number").to_owned();
    wait_until_blocking("the owner's line", seconds(5), || logged(&id, "admin password set"));
}

#[test]
fn log_archive_is_a_whole_zip_cut_to_the_window() {
    let service = Service::portcullis()
        .settings("[log]\nformat = \"json\"\n# secret follows\n[power]\nreboot = [\"true\"]\n")
        .start();
    let set = send(&service, "PUT", "settings", r#"{"max_draining": 4}"#).expect(200);
    let id = set.header("request-id").expect("a number").to_owned();
    let file = service.path().join("logs.zip");
    let fetch = |limit: &str| {
        let url = url(&service, &format!("logs/zip?limit={limit}"));
        let told = std::process::Command::new("curl")
            .args(["-sSkL", "-X", "GET", &url, "-u", "admin:admin", "-w", "%{content_type}", "-o"])
            .arg(&file)
            .output()
            .expect("the curl command");
        assert_eq!(String::from_utf8_lossy(&told.stdout), "application/zip");
        let mut archive = zip::ZipArchive::new(std::fs::File::open(&file).expect("the file"))
            .expect("an archive");
        let names: Vec<String> =
            archive.file_names().map(|name| name.expect("a name").into_owned()).collect();
        let mut log = String::new();
        let mut entry = archive.by_name("portcullis.log").expect("the log");
        entry.read_to_string(&mut log).expect("text");
        (names, log)
    };
    let (names, log) = fetch("1h");
    for name in ["about", "health", "listeners", "settings", "history"] {
        assert!(names.contains(&format!("extra/{name}.json")), "{name} in {names:?}");
    }
    for name in ["extra/configuration.toml", "extra/audit/audit.jsonl"] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        assert!(line["time"].is_string() && line["msg"].is_string(), "{line}");
    }
    let of_the_change = |line: &&Value| line["Request-ID"] == id.as_str();
    let change = lines.iter().find(of_the_change).expect("a line of the change");
    assert_eq!(change["level"], "info", "{change}");
    assert!(change["msg"].as_str().is_some_and(|text| text.contains("settings changed")));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let (_, log) = fetch("1s");
    assert!(!log.contains("settings changed"), "{log}");
    for limit in ["8h5m3s", "3h30m", "300s", "300"] {
        fetch(limit);
    }
    let refused = curl_as("admin", &[&url(&service, "logs/zip?limit=soon")]).expect(400);
    assert!(refused.body.contains("soon"), "{}", refused.body);
}

#[test]
fn log_can_be_read_and_followed() {
    let service = Service::portcullis().start();
    let read = curl_as("admin", &[&url(&service, "logs")]).expect(200);
    assert!(read.body.contains("listener https"), "{}", read.body);
    let follow = service.url("http", "/v2/management/logs?follow=true&limit=1h");
    let follower = Follower::start(&follow, &[]);
    send(&service, "PUT", "settings", r#"{"max_draining": 4}"#).expect(200);
    follower.wait("both lines", |follower| {
        let has = |word: &str| follower.messages().iter().any(|one| one.data.contains(word));
        has("listener https") && has("settings changed")
    });
}

#[test]
fn log_at_trace_tells_no_credential() {
    let service = Service::portcullis().start();
    send(&service, "PUT", "settings", r#"{"log_level": "trace"}"#).expect(200);
    for protocol in ["--http1.1", "--http2"] {
        curl(&[protocol, "-u", "admin:admin", &url(&service, "health")]).expect(200);
        curl(&[protocol, "-u", "admin:opensesame", &url(&service, "health")]).expect(401);
    }
    let log = service.log();
    assert!(log.contains("portcullis::access"), "{log}");
    for secret in ["YWRtaW46YWRtaW4", "YWRtaW46b3BlbnNlc2FtZQ", "opensesame"] {
        assert!(!log.contains(secret), "{secret} in the log");
    }
}
