//! The OpenAPI document, the page made of it, and schemathesis, which tries what it promises.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::curl::{curl, curl_as};
use crate::support::service::Service;
use crate::support::speech::{batch_setup, ended, sentence, submit};

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
    assert_eq!(open, &serde_json::json!([{}]), "anybody may ask");
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
