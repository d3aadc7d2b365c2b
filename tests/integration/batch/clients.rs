//! The official clients, unchanged. `scripts/tools.sh` installs them below `target/clients`.

use std::path::Path;
use std::process::Output;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::curl_as;
use crate::support::service::Service;
use crate::support::speech::{
    batch_setup, client_command, client_trusting, clients, said, sentence, words,
};

const ASYNC_AND_SYNC: &str = r#"
import asyncio, sys
from speechmatics.batch import AsyncClient, Client, FormatType
key, secure, plain, audio = sys.argv[1:]
async def main():
    async with AsyncClient(api_key=key, url=secure) as client:
        print((await client.transcribe(audio)).transcript_text)
        assert len(await client.list_jobs()) >= 1
asyncio.run(main())
with Client(api_key=key, url=plain) as client:
    print(client.transcribe(audio, format_type=FormatType.TXT))
"#;

const NODE: &str = r#"
const fs = require('fs');
const { BatchClient } = require('@speechmatics/batch-client');
const [key, url, audio] = process.argv.slice(1);
(async () => {
  const client = new BatchClient({ apiKey: key, apiUrl: url, appId: 'test' });
  const file = new File([await fs.openAsBlob(audio)], 'a.wav');
  const config = { transcription_config: { language: 'en' } };
  const result = await client.transcribe(file, config, 'json-v2');
  console.log(result.results.map((item) => item.alternatives[0].content).join(' '));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
"#;

fn set_job_token(service: &Service, token: &str) {
    let body = format!("{{\"user_token\": \"{token}\"}}");
    curl_as("admin", &["-d", &body, &service.url("https", "/v2/security/jobtoken")]).expect(200);
}

/// The command line client against one listener.
fn cli(service: &Service, listener: &str, arguments: &[&str]) -> Output {
    let mode = if listener == "https" { "insecure" } else { "none" };
    let (group, rest) = arguments.split_first().expect("a subcommand");
    let url = service.url(listener, "/v2");
    client_command(&clients().join("venv/bin/speechmatics"), service)
        .args(["batch", group, "--url", &url, "--ssl-mode", mode])
        .args(rest)
        .output()
        .expect("the speechmatics command")
}

#[test]
fn the_command_line_client_does_all_it_can() {
    let service = batch_setup().start();
    let audio = sentence();
    let audio = audio.to_str().expect("a plain path");
    for listener in ["https", "http"] {
        let text = said(cli(&service, listener, &["transcribe", "--lang", "en", audio]));
        assert!(text.contains("respectable"), "{text}");
        let submitted = said(cli(&service, listener, &["submit", "--lang", "en", audio]));
        let id = submitted.trim().rsplit(' ').next().expect("an id").to_owned();
        let listed = said(cli(&service, listener, &["list-jobs"]));
        assert!(listed.contains(&format!("'id': '{id}'")), "{listed}");
        said(cli(&service, listener, &["job-status", "--job-id", &id]));
        crate::support::speech::ended(&service, &id);
        for format in ["txt", "srt", "json-v2"] {
            let arguments = ["get-results", "--job-id", &id, "--output-format", format];
            let text = said(cli(&service, listener, &arguments));
            assert!(text.contains("respectable"), "{text}");
        }
        said(cli(&service, listener, &["delete", "--job-id", &id]));
        let gone = cli(&service, listener, &["job-status", "--job-id", &id]);
        assert!(!gone.status.success());
        assert!(String::from_utf8_lossy(&gone.stderr).contains("JobNotFoundException"));
    }
}

#[test]
fn the_command_line_client_is_let_in_by_the_job_token_alone() {
    let service = batch_setup().start();
    set_job_token(&service, "secret-1");
    let list = |token: &str| cli(&service, "https", &["list-jobs", "--auth-token", token]);
    said(list("secret-1"));
    let refused = list("wrong");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("401"), "{told}");
}

/// A certificate that an authority has signed: no client needs to be told to trust anything but
/// the authority, and none trusts the appliance without.
#[test]
fn every_client_trusts_the_authority_behind_an_uploaded_certificate() {
    let service = batch_setup().start();
    let authority = CertificateAuthority::new();
    let bundle = authority.pair_a();
    let url = service.url("https", "/v2/security/sslcertificate");
    curl_as("admin", &["-F", &bundle.keyfile(), "-F", &bundle.certfile(), &url]).expect(200);
    let (secure, audio) = (service.url("https", "/v2"), sentence());
    let run = |client: &str, trusted: Option<&Path>| {
        let start = |program: &Path| client_trusting(program, &service, trusted);
        let mut command = match client {
            "speechmatics" => {
                let mut command = start(&clients().join("venv/bin/speechmatics"));
                command.args(["batch", "transcribe", "--url", &secure, "--lang", "en"]);
                command
            }
            "python" => {
                let mut command = start(&clients().join("venv/bin/python"));
                command.args(["-W", "ignore", "-c", ASYNC_AND_SYNC, "any", &secure, &secure]);
                command
            }
            _ => {
                let mut command = start(Path::new("node"));
                command.args(["-e", NODE, "any", &service.url("https", "")]);
                command
            }
        };
        command.arg(&audio).output().expect("the client")
    };
    for client in ["speechmatics", "python", "node"] {
        let text = said(run(client, Some(&authority.root())));
        assert!(text.contains("respectable"), "{client}: {text}");
        let refused = run(client, None);
        let told = String::from_utf8_lossy(&refused.stderr).to_lowercase();
        assert!(!refused.status.success() && told.contains("certificate"), "{client}: {told}");
    }
}

#[test]
fn the_python_library_transcribes_async_and_sync() {
    let service = batch_setup().start();
    let script = |key: &str| {
        client_command(&clients().join("venv/bin/python"), &service)
            .args(["-W", "ignore", "-c", ASYNC_AND_SYNC, key])
            .args([service.url("https", "/v2"), service.url("http", "/v2")])
            .arg(sentence())
            .output()
            .expect("python")
    };
    let text = said(script("anything"));
    let heard = words(&text);
    assert_eq!(heard.iter().filter(|word| *word == "respectable").count(), 2, "{text}");
    set_job_token(&service, "secret-1");
    let refused = script("wrong");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("AuthenticationError"), "{told}");
    said(script("secret-1"));
}

#[test]
fn the_javascript_client_transcribes() {
    let service = batch_setup().start();
    let run = |listener: &str, key: &str| {
        client_command(Path::new("node"), &service)
            .args(["-e", NODE, key, &service.url(listener, "")])
            .arg(sentence())
            .output()
            .expect("node")
    };
    for listener in ["https", "http"] {
        let text = said(run(listener, "any"));
        assert!(text.contains("respectable"), "{text}");
    }
    set_job_token(&service, "secret-1");
    said(run("https", "secret-1"));
    let refused = run("https", "wrong");
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("Permission Denied"), "{told}");
}
