//! Keys that are made on the appliance and wait there for their certificates, and what else the
//! certificate API answers: dry runs, `force`, PEM.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::certificates::{Bundle, CertificateAuthority};
use crate::support::curl::{Reply, curl, curl_as};
use crate::support::openssl::{fingerprint_seen_by_openssl, openssl, s_client};
use crate::support::service::Service;
use crate::support::stored::{Stored, files_below};

const CSR: &str = "/v2/security/csr";
const CERTIFICATE: &str = "/v2/security/sslcertificate";

/// A request as an administrator would post it.
fn example(key_type: &str) -> Value {
    json!({
        "subject": {
            "common_name": "appliance.example.test",
            "organization": "Beispiel & Söhne",
            "organizational_unit": "Telefonie",
            "locality": "Köln",
            "state": "Nordrhein-Westfalen",
            "country": "de",
        },
        "names": ["appliance.example.test", "*.voice.example.test", "192.0.2.7", "2001:db8::7"],
        "key_type": key_type,
    })
}

fn post(service: &Service, body: &Value) -> Reply {
    curl_as("admin", &["-d", &body.to_string(), &service.url("https", CSR)])
}

fn get(service: &Service, path: &str) -> Reply {
    curl_as("admin", &[&service.url("https", path)])
}

fn delete(service: &Service, path: &str) -> Reply {
    curl_as("admin", &["-X", "DELETE", &service.url("https", path)])
}

/// Uploads files; `query` is empty or begins with a question mark.
fn upload(service: &Service, query: &str, fields: &[String]) -> Reply {
    let url = service.url("https", &format!("{CERTIFICATE}{query}"));
    let mut arguments = Vec::new();
    for field in fields {
        arguments.extend(["-F", field.as_str()]);
    }
    arguments.push(&url);
    curl_as("admin", &arguments)
}

fn pair(bundle: &Bundle) -> [String; 2] {
    [bundle.keyfile(), bundle.certfile()]
}

fn waiting(service: &Service) -> Vec<Value> {
    let list = get(service, CSR).expect(200).json();
    list["requests"].as_array().expect("a list").clone()
}

fn folder(service: &Service) -> PathBuf {
    service.data_dir().join("waiting-keys")
}

/// The lines of a waiting key, to be found nowhere else.
fn key_lines(service: &Service, id: &Value) -> Vec<String> {
    let path = folder(service).join(id.as_str().expect("an id")).join("key.pem");
    let text = std::fs::read_to_string(path).expect("a waiting key");
    let lines: Vec<String> =
        text.lines().filter(|line| !line.contains("-----")).map(str::to_owned).collect();
    assert!(lines.len() >= 3, "{} lines", lines.len());
    lines
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a new folder");
    for file in files_below(from) {
        let name = file.file_name().expect("a name");
        std::fs::copy(&file, to.join(name)).expect("copy");
    }
}

fn write(folder: &Path, name: &str, text: &Value) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text.as_str().expect("text")).expect("write");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn request_of_every_key_type_satisfies_openssl() {
    let service = Service::portcullis().start();
    let kinds = [
        ("ec-p256", "NIST CURVE: P-256", "ecdsa-with-SHA256"),
        ("ec-p384", "NIST CURVE: P-384", "ecdsa-with-SHA384"),
        ("rsa-2048", "(2048 bit)", "sha256WithRSAEncryption"),
        ("rsa-3072", "(3072 bit)", "sha256WithRSAEncryption"),
        ("rsa-4096", "(4096 bit)", "sha256WithRSAEncryption"),
    ];
    for (key_type, size, signature) in kinds {
        let made = post(&service, &example(key_type)).expect(201);
        let answer = made.json();
        assert_eq!(answer["key_type"], key_type);
        assert_eq!(answer["names"], example(key_type)["names"]);
        assert_eq!(answer["subject"]["country"], "DE", "{answer}");
        assert!(answer["created"].is_string() && answer["expires"].is_string(), "{answer}");
        let id = answer["id"].as_str().expect("an id");
        assert_eq!(made.header("location"), Some(format!("{CSR}/{id}").as_str()));

        let file = write(service.path(), "asked.csr", &answer["csr"]);
        openssl(service.path(), &["req", "-verify", "-noout", "-in", &file]);
        let text =
            openssl(service.path(), &["req", "-noout", "-text", "-nameopt", "utf8", "-in", &file]);
        let expected = [
            size,
            signature,
            "C=DE, ST=Nordrhein-Westfalen, L=Köln, O=Beispiel & Söhne, OU=Telefonie, CN=appliance.example.test",
            "DNS:appliance.example.test, DNS:*.voice.example.test, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:7",
            "TLS Web Server Authentication",
            "Digital Signature",
        ];
        for words in expected {
            assert!(text.contains(words), "{key_type}: {words} is not in\n{text}");
        }
    }
}

#[test]
fn certificate_that_comes_alone_is_paired_with_its_key_and_the_key_never_travels() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let mut answers = Vec::new();
    let made = post(&service, &example("ec-p256")).expect(201);
    let other = post(&service, &json!({ "names": ["other.example.test"] })).expect(201).json();
    let (id, csr) = (made.json()["id"].clone(), made.json()["csr"].clone());
    let mut secret = key_lines(&service, &id);
    secret.extend(key_lines(&service, &other["id"]));
    let certified = authority.certify(csr.as_str().expect("PEM"), "certified");
    answers.extend([made.body, other.to_string()]);

    // A stranger's certificate finds no key, and the keys go on waiting.
    let stranger = upload(&service, "", &[authority.pair_b().certfile()]).expect(400);
    assert!(stranger.body.contains("none of the keys waiting"), "{}", stranger.body);

    let log = service.log();
    let service = service.restart();
    let listed = waiting(&service);
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[0], serde_json::from_str::<Value>(&answers[0]).expect("JSON"));
    let one = format!("{CSR}/{}", id.as_str().expect("an id"));
    let shown = get(&service, &one).expect(200);
    assert_eq!(shown.json(), listed[0]);
    let pem = get(&service, &format!("{one}?format=pem")).expect(200);
    assert_eq!(pem.body, csr.as_str().expect("PEM"));
    assert!(pem.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));

    let judged = upload(&service, "?dry_run=true", &[certified.certfile()]).expect(200);
    assert_eq!(judged.json()["waiting_key"], id, "{}", judged.body);
    assert_eq!(waiting(&service).len(), 2, "a dry run uses no key up");

    let installed = upload(&service, "", &[certified.certfile()]).expect(200);
    let answer = installed.json();
    assert_eq!(answer["waiting_key"], id, "{answer}");
    assert_eq!(answer["certificate"]["fingerprint_sha256"], certified.fingerprint, "{answer}");
    for port in service.tls_ports() {
        assert_eq!(fingerprint_seen_by_openssl(service.path(), port), certified.fingerprint);
    }
    let root = authority.root();
    let root = root.to_str().expect("a plain path");
    let verified = s_client(service.port("wss"), &["-CAfile", root, "-verify_return_error"], "");
    assert!(verified.success, "{}", verified.text);

    let left = waiting(&service);
    assert_eq!(left.len(), 1, "the used key waits no longer");
    assert_eq!(left[0]["id"], other["id"]);
    assert!(!folder(&service).join(id.as_str().expect("an id")).exists());
    let gone = get(&service, &one).expect(404);
    let whole = [shown, pem, judged, installed, stranger, gone, get(&service, CERTIFICATE)];
    answers.extend(whole.map(|reply| reply.headers + &reply.body));
    answers.extend([log, service.log(), json!(listed).to_string()]);
    for line in &secret {
        assert!(answers.iter().all(|answer| !answer.contains(line)), "a key line leaked");
    }

    // What a crash between the installation and the removal of the key leaves.
    let installation = service.stop();
    let keys = installation.data_dir().join("waiting-keys");
    let (used, spare) = (keys.join("0".repeat(32)), keys.join(other["id"].as_str().expect("id")));
    copy_folder(&spare, &used);
    let record = std::fs::read_to_string(used.join("request.json")).expect("a record");
    let mut record: Value = serde_json::from_str(&record).expect("JSON");
    record["spki_sha256"] = answer["certificate"]["spki_sha256"].clone();
    std::fs::write(used.join("request.json"), record.to_string()).expect("write the record");
    let service = installation.start();
    assert!(!used.exists() && spare.exists());
    let served = fingerprint_seen_by_openssl(service.path(), service.port("https"));
    assert_eq!(served, certified.fingerprint);
    let stored = Stored::in_data_dir(&service.data_dir()).bundle().expect("a stored bundle");
    assert_eq!(stored.fingerprint, certified.fingerprint);
}

#[test]
fn sixteen_keys_wait_and_room_is_made_by_deleting() {
    let service = Service::portcullis().start();
    let body = json!({ "subject": { "common_name": "box.example.test" } });
    // At once, so that two cannot both take the last place.
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..20).map(|_| scope.spawn(|| post(&service, &body))).collect();
        posts.into_iter().map(|post| post.join().expect("a reply")).collect()
    });
    let (made, refused): (Vec<_>, Vec<_>) =
        replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((made.len(), refused.len()), (16, 4));
    for reply in made {
        assert_eq!(reply.json()["names"], json!(["box.example.test"]), "{}", reply.body);
        assert_eq!(reply.json()["key_type"], "ec-p256", "{}", reply.body);
    }
    for reply in refused {
        assert!(reply.expect(409).body.contains("delete one"));
    }
    let listed = waiting(&service);
    assert_eq!(listed.len(), 16);

    let path = format!("{CSR}/{}", listed[3]["id"].as_str().expect("an id"));
    delete(&service, &path).expect(200);
    delete(&service, &path).expect(404);
    get(&service, &path).expect(404);
    get(&service, &format!("{CSR}/..%2Fstate")).expect(404);
    post(&service, &body).expect(201);
    assert_eq!(waiting(&service).len(), 16);
    assert_eq!(std::fs::read_dir(folder(&service)).expect("the folder").count(), 16);
    curl(&[&service.url("https", CSR)]).expect(401);
}

#[test]
fn requests_that_make_no_sense_are_refused_by_name() {
    let service = Service::portcullis().start();
    let cases = [
        (json!({ "names": ["a.test"], "keytype": "ec-p256" }), None, "unknown field `keytype`"),
        (json!({ "names": ["a.test"], "subject": { "cn": "x" } }), None, "unknown field `cn`"),
        (json!({ "names": ["a.test"], "key_type": "dsa" }), None, "unknown variant `dsa`"),
        (json!({ "names": [] }), Some("names"), "names is empty"),
        (json!({}), Some("names"), "neither names nor subject.common_name"),
        (json!({ "names": ["a.b", "https://c/"] }), Some("names[1]"), "names[1] is `https://c/`"),
        (json!({ "names": ["192.0.2.300"] }), Some("names[0]"), "looks like an IP address"),
        (
            json!({ "names": ["a.test"], "subject": { "country": "DEU" } }),
            Some("subject.country"),
            "two letters",
        ),
        (json!({ "names": "a.test" }), None, "expected a sequence"),
    ];
    for (body, field, words) in cases {
        let error = post(&service, &body).expect(400).json();
        let detail = error["detail"].as_str().expect("a detail");
        assert!(detail.contains(words), "{body}: {error}");
        let code = if field.is_some() { "invalid-field" } else { "invalid-body" };
        assert_eq!((&error["error_code"], error["part"].as_str()), (&code.into(), field), "{body}");
    }
    assert!(waiting(&service).is_empty());
    assert!(files_below(&folder(&service)).is_empty());
}

#[test]
fn unknown_query_keys_and_values_are_refused_by_name() {
    let service = Service::portcullis().start();
    let authority = CertificateAuthority::new();
    let files = pair(&authority.pair_b());
    let before = Stored::in_data_dir(&service.data_dir()).contents();
    for (query, key, words) in [
        ("?dryrun=true", "dryrun", "`dryrun`"),
        ("?dry_run=yes", "dry_run", "dry_run=yes"),
        ("?force=1", "force", "force=1"),
        ("?dry_run=true&dry_run=false", "dry_run", "dry_run more than once"),
    ] {
        let reply = upload(&service, query, &files).expect(400);
        assert!(reply.body.contains(words), "{}", reply.body);
        let error = reply.json();
        assert_eq!((&error["error_code"], &error["part"]), (&"invalid-query".into(), &key.into()));
    }
    let reply = get(&service, &format!("{CERTIFICATE}?format=der")).expect(400);
    assert!(reply.body.contains("format=der; it must be json or pem"), "{}", reply.body);
    get(&service, &format!("{CSR}?all=true")).expect(400);
    assert!(Stored::in_data_dir(&service.data_dir()).contents() == before);
}

#[test]
fn dry_run_tells_what_would_be_installed_and_changes_nothing() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (installed, judged) = (authority.pair_b(), authority.pair_a());
    upload(&service, "", &pair(&installed)).expect(200);
    let before = Stored::in_data_dir(&service.data_dir()).contents();

    let answer = upload(&service, "?dry_run=true", &pair(&judged)).expect(200).json();
    assert_eq!(answer["dry_run"], true, "{answer}");
    assert_eq!(answer["certificate"]["fingerprint_sha256"], judged.fingerprint, "{answer}");
    assert_eq!(answer["certificate"]["default"], false, "{answer}");
    assert!(answer["warnings"].is_array() && answer["generations"].is_null(), "{answer}");
    upload(&service, "?dry_run=true", &[judged.keyfile(), installed.certfile()]).expect(400);

    assert!(Stored::in_data_dir(&service.data_dir()).contents() == before);
    let told = get(&service, CERTIFICATE).expect(200).json();
    assert_eq!(told["certificate"]["fingerprint_sha256"], installed.fingerprint, "{told}");
    for port in service.tls_ports() {
        assert_eq!(fingerprint_seen_by_openssl(service.path(), port), installed.fingerprint);
    }
}

#[test]
fn expired_certificate_is_installed_by_force_alone() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let expired = authority.expired();
    for query in ["", "?force=false", "?dry_run=true"] {
        upload(&service, query, &pair(&expired)).expect(400);
    }
    let answer = upload(&service, "?force=true", &pair(&expired)).expect(200).json();
    let warnings = answer["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning["code"] == "expired"), "{answer}");
    for port in service.tls_ports() {
        assert_eq!(fingerprint_seen_by_openssl(service.path(), port), expired.fingerprint);
    }
}

#[test]
fn pem_of_the_certificate_is_what_clients_are_shown() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let path = format!("{CERTIFICATE}?format=pem");
    for step in ["the default certificate", "a chain"] {
        let reply = get(&service, &path).expect(200);
        assert_eq!(reply.header("content-type"), Some("application/x-pem-file"), "{step}");
        let shown = s_client(service.port("https"), &["-showcerts"], "").text;
        assert_eq!(blocks(&reply.body), blocks(&shown), "{step}");
        assert!(!reply.body.contains("PRIVATE KEY"));
        upload(&service, "", &pair(&authority.pair_a())).expect(200);
    }
}

/// The certificates in a text, each from BEGIN to END.
fn blocks(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let blocks = text.split_inclusive(END).filter_map(|part| {
        let begin = part.find("-----BEGIN CERTIFICATE-----")?;
        part.ends_with(END).then(|| part[begin..].to_owned())
    });
    let blocks: Vec<String> = blocks.collect();
    assert!(!blocks.is_empty(), "no certificate in {text}");
    blocks
}

#[test]
fn reset_removes_the_keys_that_wait() {
    let service = Service::portcullis().start();
    post(&service, &example("ec-p256")).expect(201);
    assert_eq!(waiting(&service).len(), 1);
    delete(&service, "/v2/security/reset").expect(200);
    assert!(waiting(&service).is_empty());
    assert!(files_below(&folder(&service)).is_empty());
}
