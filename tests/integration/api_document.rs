//! The OpenAPI document, the page made of it, and whether what it promises is what is answered.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::realtime::realtime_setup;
use crate::support::service::Service;
use crate::support::speech::{batch_setup, ended, long_recording, sentence, submit};

fn appliance() -> Service {
    let services = r#"services = ["security", "management", "monitoring", "batch"]"#;
    Service::portcullis()
        // An hour: nothing that is tried here comes to pass.
        .settings("[power]\nreboot = [\"true\"]\nshutdown = [\"true\"]\ndelay = \"1h\"\n")
        .listeners(&format!(
            "[[listener]]\nname = \"https\"\naddress = \"127.0.0.1:0\"\ntls = true\n{services}\n"
        ))
        .start()
}

#[test]
fn document_has_every_service_and_the_operations_of_the_manual() {
    let service = appliance();
    let url = service.url("https", "/docs/openapi.json");
    curl(&[&url]).expect(401);
    let document = curl_as("admin", &[&url]).expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, method, tag, operation) in [
        ("/v2/management/logs/zip", "get", "Management", "ZipLogs"),
        ("/v2/management/cleanupinterval", "post", "Management", "Management_SetCleanupInterval"),
        ("/v2/security/sslcertificate", "post", "Security", "InstallCertificate"),
        ("/v2/security/csr/{id}", "delete", "Security", "DeleteCertificateRequest"),
        ("/v2/security/audit", "get", "Security", "Audit"),
        ("/metrics", "get", "Monitoring", "Metrics"),
        ("/api/v1/{path}", "post", "Monitoring", "AskPrometheusByForm"),
        ("/v2/jobs", "post", "Jobs", "PostJob"),
        ("/v2/jobs/{id}/transcript", "get", "Jobs", "GetTranscript"),
        ("/v2/usage", "get", "Jobs", "GetUsage"),
        ("/v1/discovery/features", "get", "Jobs", "GetFeatures"),
    ] {
        let told = &document["paths"][path][method];
        assert_eq!(told["operationId"], operation, "{path}");
        assert_eq!(told["tags"][0], tag, "{path}");
    }
    let open = &document["paths"]["/healthz"]["get"]["security"];
    assert_eq!(open, &json!([{}]), "anybody may ask");
    let error = &document["components"]["schemas"]["ErrorBody"];
    let codes = error["properties"]["error_code"]["enum"].as_array().expect("the codes");
    for code in ["key-mismatch", "invalid-field", "no-such-path"] {
        assert!(codes.contains(&code.into()), "{code}: {error}");
    }
    let required = error["required"].as_array().expect("what is always there");
    assert!(required.contains(&"error_code".into()) && !required.contains(&"part".into()));
}

#[test]
fn page_and_all_that_it_loads_come_from_the_appliance() {
    let service = appliance();
    for path in ["/docs", "/docs/"] {
        let page = curl_as("admin", &[&service.url("https", path)]).expect(200);
        let policy = page.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
        assert!(!page.body.contains("://"), "{}", page.body);
        for part in page.body.split('"').filter(|text| text.starts_with("/docs/")) {
            let asset = curl_as("admin", &[&service.url("https", part)]).expect(200);
            assert!(!asset.body.is_empty(), "{part}");
        }
    }
}

/// Where `scripts/tools.sh test` has put it.
fn schemathesis() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/schemathesis");
    assert!(path.exists(), "{} is missing; scripts/tools.sh test installs it", path.display());
    path
}

/// Tries the operations of a document; gives what schemathesis says of a run without a fault.
fn tried(service: &Service, document: &str, arguments: &[&str]) -> String {
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";
    let output = Command::new(schemathesis())
        .current_dir(service.path())
        .arg("run")
        .arg(service.url("https", document))
        .args(["--url", &service.url("https", ""), "--tls-verify=false", "--no-color"])
        .args(["--checks", checks, "--max-examples", "15", "--request-timeout", "20"])
        .args(["--seed", "1"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("nresolvable"), "{said}");
    said.into_owned()
}

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_off_its_schema() {
    let service = appliance();
    // Streams never end, without the password nothing more could be tried, no Prometheus is behind
    // this appliance, and jobs come below.
    let left_out = [
        "Events",
        "Logs",
        "SetAdminPassword",
        "DisableAuthentication",
        "Graph",
        "AskPrometheus",
        "AskPrometheusByForm",
    ];
    let left_out = left_out.iter().flat_map(|operation| ["--exclude-operation-id", operation]);
    let arguments: Vec<&str> =
        left_out.chain(["--exclude-tag", "Jobs", "--auth", "admin:admin"]).collect();
    let said = tried(&service, "/docs/openapi.json", &arguments);
    assert!(said.contains("Operations:       34 selected / 50 total"), "{said}");
}

#[test]
fn schemathesis_finds_no_fault_in_the_jobs_either() {
    let service = batch_setup().quiet().start();
    for _ in 0..2 {
        let id = submit(&service, &sentence());
        ended(&service, &id);
    }
    let said = tried(&service, "/v2/ui/openapi.json", &[]);
    assert!(said.contains("Operations:       9 selected / 9 total"), "{said}");
    eprintln!("{said}");
}

/// An appliance with every service, and the answers that it gave.
struct Asked {
    service: Service,
    document: Value,
    answers: Vec<Value>,
    operations: BTreeSet<String>,
}

impl Asked {
    fn new(service: Service) -> Self {
        let url = service.url("https", "/docs/openapi.json");
        let document = curl_as("admin", &[&url]).expect(200).json();
        Self { service, document, answers: Vec::new(), operations: BTreeSet::new() }
    }

    /// Path, method and description of an operation.
    fn operations(&self) -> impl Iterator<Item = (&String, &String, &Value)> {
        let paths = self.document["paths"].as_object().expect("paths");
        paths.iter().flat_map(|(path, methods)| {
            let methods = methods.as_object().expect("methods");
            methods.iter().map(move |(method, operation)| (path, method, operation))
        })
    }

    /// Asks for `path`, or the one that the document has, and keeps the answer.
    fn ask(&mut self, operation: &str, status: u64, path: &str, arguments: &[&str]) -> Reply {
        let mut found = self.operations().filter(|(.., told)| told["operationId"] == operation);
        let (template, method, _) = found.next().unwrap_or_else(|| panic!("no {operation}"));
        let (template, method) = (template.clone(), method.clone());
        drop(found);
        let url = self.service.url("https", if path.is_empty() { &template } else { path });
        let verb = method.to_uppercase();
        let reply = curl_as("admin", &[&["-X", &verb, &url], arguments].concat()).expect(status);
        self.answers.push(json!({
            "path": template,
            "method": method,
            "status": status,
            "type": reply.header("content-type").unwrap_or_default(),
            "body": reply.body,
        }));
        self.operations.insert(operation.to_owned());
        reply
    }

    /// What does not fit the document, a line for each.
    fn faults(&self) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/integration/strict.py");
        // It came with schemathesis, and the validator too.
        let mut checking = Command::new(schemathesis().with_file_name("python"))
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python");
        let told = json!({"document": self.document, "answers": self.answers}).to_string();
        let mut input = checking.stdin.take().expect("standard input");
        input.write_all(told.as_bytes()).expect("python reads");
        drop(input);
        let output = checking.wait_with_output().expect("python ends");
        assert!(output.status.success());
        String::from_utf8(output.stdout).expect("UTF-8")
    }
}

#[test]
fn every_answer_has_the_keys_and_types_that_the_document_promises_and_no_others() {
    let authority = CertificateAuthority::new();
    let service = realtime_setup()
        .settings("[power]\nreboot = [\"true\"]\nshutdown = [\"true\"]\ndelay = \"1h\"\n")
        .quiet()
        .start();
    let mut asked = Asked::new(service);
    jobs(&mut asked);
    reads(&mut asked);
    certificates(&mut asked, &authority);
    access(&mut asked);
    management(&mut asked);
    asked.ask("Audit", 200, "/v2/security/audit?limit=200", &[]);
    asked.ask("Reset", 200, "", &[]);
    assert_eq!(asked.faults(), "");

    let operations = asked.operations().map(|(.., told)| told["operationId"].as_str());
    let operations: BTreeSet<&str> = operations.flatten().collect();
    let asked = asked.operations.iter().map(String::as_str).collect();
    let left: Vec<&str> = operations.difference(&asked).copied().collect();
    // Streams have no end, and a session is a WebSocket.
    assert_eq!(left, ["Events", "OpenRealtimeSession"]);
}

/// Whatever can be asked for without knowing more than its path.
fn reads(asked: &mut Asked) {
    let without_parameters = asked.operations().filter(|(path, method, told)| {
        let streams = told["responses"]["200"]["content"].get("text/event-stream").is_some();
        *method == "get" && !path.contains('{') && (!streams || *path == "/v2/management/logs")
    });
    let operations = without_parameters.map(|(.., told)| told["operationId"].clone());
    for operation in operations.collect::<Vec<_>>() {
        let operation = operation.as_str().expect("a name");
        // No Prometheus is behind this appliance.
        let status = if operation == "Graph" { 501 } else { 200 };
        asked.ask(operation, status, "", &[]);
    }
    asked.ask("AskPrometheus", 501, "/api/v1/query?query=up", &[]);
    asked.ask("AskPrometheusByForm", 501, "/api/v1/query", &["-d", "query=up"]);
}

fn jobs(asked: &mut Asked) {
    let long = long_recording(asked.service.path(), 40);
    let [long, short] = [long, sentence()].map(|audio| format!("data_file=@{}", audio.display()));
    let config = r#"config={"type": "transcription", "transcription_config": {"language": "en"}}"#;
    let made = asked.ask("PostJob", 201, "", &["-F", &long, "-F", config]).json();
    let job = format!("/v2/jobs/{}", made["id"].as_str().expect("an id"));
    asked.ask("DeleteJob", 423, &job, &[]);
    asked.ask("GetJob", 200, &job, &[]);
    asked.ask("GetTranscript", 404, &format!("{job}/transcript"), &[]);
    asked.ask("ListJobs", 200, "", &[]);
    asked.ask("DeleteJob", 200, &format!("{job}?force=true"), &[]);
    asked.ask("GetJob", 404, &job, &[]);

    asked.ask("PostJob", 400, "", &["-F", &short, "-F", "config={}"]);
    let foreign = ["-H", "Origin: https://elsewhere.example"];
    asked.ask("PostJob", 403, "", &foreign);
    asked.ask("PostJob", 417, "", &["-H", "Expect: more", "-F", &short, "-F", config]);
    let made = asked.ask("PostJob", 201, "", &["-F", &short, "-F", config]).json();
    let job = format!("/v2/jobs/{}", made["id"].as_str().expect("an id"));
    ended(&asked.service, made["id"].as_str().expect("an id"));
    asked.ask("GetJob", 200, &job, &[]);
    asked.ask("GetTranscript", 200, &format!("{job}/transcript"), &[]);
    asked.ask("GetTranscript", 200, &format!("{job}/transcript?format=txt"), &[]);
    asked.ask("GetJobLog", 200, &format!("{job}/log"), &[]);
    asked.ask("GetJobData", 200, &format!("{job}/data"), &[]);
    asked.ask("ListJobs", 422, "/v2/jobs?limit=0", &[]);
    asked.ask("DeleteJob", 200, &job, &[]);
}

fn certificates(asked: &mut Asked, authority: &CertificateAuthority) {
    let dry_run = "/v2/security/sslcertificate?dry_run=true";
    let pair = authority.pair_a();
    let (keyfile, certfile) = (pair.keyfile(), pair.certfile());
    let fields = ["-F", &keyfile, "-F", &certfile];
    asked.ask("InstallCertificate", 200, dry_run, &fields);
    asked.ask("InstallCertificate", 200, "", &fields);
    asked.ask("InstallCertificate", 400, "", &fields[2..]);
    asked.ask("InstallCertificate", 415, "", &["-d", "{}"]);
    asked.ask("GetCertificate", 200, "", &[]);
    asked.ask("GetCertificate", 200, "/v2/security/sslcertificate?format=pem", &[]);
    asked.ask("About", 200, "", &[]);

    let whose = r#"{"subject": {"common_name": "appliance.example.test", "country": "de"}}"#;
    let made = asked.ask("RequestCertificate", 201, "", &["-d", whose]).json();
    let path = format!("/v2/security/csr/{}", made["id"].as_str().expect("an id"));
    asked.ask("RequestCertificate", 400, "", &["-d", "{}"]);
    asked.ask("ListCertificateRequests", 200, "", &[]);
    asked.ask("GetCertificateRequest", 200, &path, &[]);
    asked.ask("GetCertificateRequest", 200, &format!("{path}?format=pem"), &[]);
    let certified = authority.certify(made["csr"].as_str().expect("PEM"), "certified").certfile();
    for path in [dry_run, ""] {
        let answer = asked.ask("InstallCertificate", 200, path, &["-F", &certified]).json();
        assert_eq!(answer["waiting_key"], made["id"]);
    }
    let other = asked.ask("RequestCertificate", 201, "", &["-d", whose]).json();
    let path = format!("/v2/security/csr/{}", other["id"].as_str().expect("an id"));
    asked.ask("DeleteCertificateRequest", 200, &path, &[]);
    asked.ask("DeleteCertificateRequest", 404, &path, &[]);
    asked.ask("RestoreDefaultCertificate", 200, "", &[]);
}

fn access(asked: &mut Asked) {
    for body in [r#"{"enable_insecure_ports": false}"#, r#"{"enable_insecure_ports": true}"#] {
        asked.ask("SetInsecurePorts", 200, "", &["-d", body]);
        asked.ask("GetInsecurePorts", 200, "", &[]);
    }
    asked.ask("SetJobToken", 200, "", &["-d", r#"{"user_token": "s3cret"}"#]);
    asked.ask("ListJobs", 401, "", &[]);
    asked.ask("RemoveJobToken", 200, "", &[]);
    asked.ask("DisableAuthentication", 200, "", &[]);
    asked.ask("GetAdminPassword", 200, "", &[]);
    asked.ask("SetAdminPassword", 400, "", &["-d", r#"{"password": ""}"#]);
    asked.ask("SetAdminPassword", 200, "", &["-d", r#"{"password": "admin"}"#]);
    asked.ask("GetAdminPassword", 200, "", &[]);

    asked.ask("PutSettings", 200, "", &["-d", r#"{"login_failures_free": 0}"#]);
    asked.ask("GetAdminPassword", 401, "", &["-u", "admin:wrong"]);
    let throttled = asked.ask("GetThrottledAddresses", 200, "", &[]).json();
    assert_eq!(throttled["count"], 1);
}

fn management(asked: &mut Asked) {
    asked.ask("PutSettings", 200, "", &["-d", r#"{"log_level": "info", "max_draining": 4}"#]);
    asked.ask("PutSettings", 400, "", &["-d", r#"{"max_draining": 0}"#]);
    asked.ask("GetSettings", 200, "", &[]);
    asked.ask("Management_SetCleanupInterval", 200, "", &["-d", r#"{"minutes": 60}"#]);
    asked.ask("Reboot", 200, "", &[]);
    asked.ask("Shutdown", 409, "", &[]);
    asked.ask("CancelReboot", 200, "", &[]);
    asked.ask("Shutdown", 200, "", &[]);
    asked.ask("CancelShutdown", 200, "", &[]);
    asked.ask("CancelReboot", 409, "", &[]);
}

#[test]
fn answers_that_do_not_fit_the_document_are_noticed() {
    let mut asked = Asked::new(appliance());
    let about = asked.ask("About", 200, "", &[]).json();
    let kept = asked.answers[0].clone();
    let doctored = |change: fn(&mut Value)| {
        let (mut body, mut answer) = (about.clone(), kept.clone());
        change(&mut body);
        answer["body"] = body.to_string().into();
        answer
    };
    for (change, expected) in [
        ((|_| {}) as fn(&mut Value), ""),
        (|body| body["more"] = true.into(), "'more'"),
        (|body| body["certificate"]["key"] = "PEM".into(), "'key'"),
        (|body| body["certificate"]["chain"][0]["key"] = "PEM".into(), "'key'"),
        (|body| body["uptime_seconds"] = "1".into(), "\"integer\""),
        (|body| body["authentication"]["auth_enabled"] = Value::Null, "boolean"),
        (|body| drop(body.as_object_mut().map(|body| body.remove("warnings"))), "\"warnings\""),
    ] {
        asked.answers = vec![doctored(change)];
        let faults = asked.faults();
        assert!(faults.contains(expected), "{expected} in {faults}");
        assert_eq!(faults.is_empty(), expected.is_empty(), "{faults}");
    }
    for (key, wrong, expected) in
        [("status", json!(418), "a status"), ("type", json!("text/html"), "text/html")]
    {
        let mut answer = kept.clone();
        answer[key] = wrong;
        asked.answers = vec![answer];
        assert!(asked.faults().contains(expected));
    }
}
