//! The OpenAPI document, the page made of it, and schemathesis, which tries what it promises.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::curl::{curl, curl_as};
use crate::support::service::Service;

fn appliance() -> Service {
    let services = r#"services = ["security", "management", "monitoring"]"#;
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
    ] {
        let told = &document["paths"][path][method];
        assert_eq!(told["operationId"], operation, "{path}");
        assert_eq!(told["tags"][0], tag, "{path}");
    }
    let open = &document["paths"]["/healthz"]["get"]["security"];
    assert_eq!(open, &serde_json::json!([{}]), "anybody may ask");
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

#[test]
fn schemathesis_finds_no_server_error_and_no_answer_off_its_schema() {
    let service = appliance();
    let base = service.url("https", "");
    // Streams never end, without the password nothing more could be tried, and no Prometheus is
    // behind this appliance.
    let left_out = [
        "Events",
        "Logs",
        "SetAdminPassword",
        "DisableAuthentication",
        "Graph",
        "AskPrometheus",
        "AskPrometheusByForm",
    ];
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance";
    let output = Command::new(schemathesis())
        .current_dir(service.path())
        .arg("run")
        .arg(service.url("https", "/docs/openapi.json"))
        .args(["--url", &base, "--auth", "admin:admin", "--tls-verify=false", "--no-color"])
        .args(["--checks", checks, "--max-examples", "15", "--request-timeout", "20"])
        .args(["--seed", "1"])
        .args(left_out.iter().flat_map(|operation| ["--exclude-operation-id", operation]))
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("nresolvable"), "{said}");
    assert!(said.contains("Operations:       35 selected / 42 total"), "{said}");
}
