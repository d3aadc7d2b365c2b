//! JSON in the encodings in which it comes, and bodies that are compressed.

use crate::support::curl::{Reply, curl, curl_as};
use crate::support::service::Service;

const ON: &str = r#"{"enable_insecure_ports": true}"#;
const GZIPPED: &[u8] =
    &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];

fn post(service: &Service, path: &str, body: &[u8], headers: &[&str]) -> Reply {
    let file = service.path().join("body");
    std::fs::write(&file, body).expect("a body");
    let data = format!("@{}", file.display());
    let url = service.url("https", path);
    let mut arguments = vec!["--data-binary", &data, &url];
    for header in headers {
        arguments.extend(["-H", header]);
    }
    curl_as("admin", &arguments)
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn byte_order_mark_is_ignored_and_other_encodings_are_named() {
    let service = Service::portcullis().start();
    let switch = "/v2/security/insecureports";
    let marked = format!("\u{feff}{ON}");
    post(&service, switch, marked.as_bytes(), &[]).expect(200);
    let charset = "Content-Type: application/json; charset=utf-16";
    post(&service, switch, ON.as_bytes(), &[charset]).expect(200);
    let settings = "\u{feff}{\"max_draining\": 16}";
    let url = service.url("https", "/v2/management/settings");
    curl_as("admin", &["-X", "PUT", "-d", settings, &url]).expect(200);
    for (body, name) in [
        (utf16(&marked, u16::to_le_bytes), "UTF-16"),
        (utf16(ON, u16::to_le_bytes), "UTF-16"),
        (utf16(ON, u16::to_be_bytes), "UTF-16"),
        (ON.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(), "UTF-32"),
        (GZIPPED.to_vec(), "gzip"),
        (Vec::from("\u{feff}"), "empty"),
        (Vec::from("{\"enable_insecure_ports\": true}\0"), "not JSON"),
    ] {
        let told = post(&service, switch, &body, &[charset]).expect(400).body;
        assert!(told.contains(name), "{name}: {told}");
    }
    let latin1 = [b"{\"password\": \"Gr".as_slice(), &[0xfc, 0xdf], b"e1\"}"].concat();
    let told = post(&service, "/v2/security/adminpassword", &latin1, &[]).expect(400).body;
    assert!(told.contains("Latin-1") && told.contains("byte 17"), "{told}");
}

#[test]
fn compressed_body_is_415_that_says_so() {
    let service = Service::portcullis().start();
    for path in ["/v2/security/insecureports", "/v2/security/sslcertificate"] {
        for encoding in ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"] {
            let header = format!("Content-Encoding: {encoding}");
            let reply = post(&service, path, GZIPPED, &[&header]).expect(415);
            assert_eq!(reply.header("accept-encoding"), Some("identity"), "{encoding}");
            assert!(reply.body.contains("may not be compressed"), "{}", reply.body);
        }
    }
    for encoding in ["identity", "IDENTITY", ""] {
        let header = format!("Content-Encoding: {encoding}");
        post(&service, "/v2/security/insecureports", ON.as_bytes(), &[&header]).expect(200);
    }
}

#[test]
fn configuration_of_a_job_may_begin_with_a_mark() {
    let service = Service::portcullis()
        .listeners(
            r#"[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["batch"]
[speech]
engine = "upstream"
upstream = "ws://127.0.0.1:1""#,
        )
        .start();
    let config = r#"{"type": "transcription", "transcription_config": {"language": "en"}}"#;
    let url = service.url("https", "/v2/jobs");
    let post = |config: &[u8]| {
        let file = service.path().join("config.json");
        std::fs::write(&file, config).expect("a configuration");
        let part = format!("config=<{}", file.display());
        curl(&["-F", "data_file=@/dev/null;filename=a.wav", "-F", &part, &url])
    };
    post(config.as_bytes()).expect(201);
    post(format!("\u{feff}{config}").as_bytes()).expect(201);
    let told = post(&utf16(config, u16::to_le_bytes)).expect(400).body;
    assert!(told.contains("UTF-16"), "{told}");
}
