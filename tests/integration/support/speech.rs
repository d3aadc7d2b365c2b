//! Spoken sentences in files, and an appliance that transcribes them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::curl::{Reply, curl};
use super::service::{Service, Setup};
use super::{seconds, wait_until_blocking};

/// The configuration of the simplest job.
pub(crate) const CONFIG: &str =
    r#"{"type":"transcription","transcription_config":{"language":"en"}}"#;

/// Recorded speech that the Debian package `pocketsphinx-testdata` brings.
pub(crate) fn recording(name: &str) -> PathBuf {
    Path::new("/usr/share/pocketsphinx/test/data").join(name)
}

/// "Had he married a more amiable woman, he might have been made still more respectable than he
/// was."
pub(crate) fn sentence() -> PathBuf {
    recording("librivox/sense_and_sensibility_01_austen_64kb-0920.wav")
}

/// Speech in other languages that `scripts/tools.sh test` has brought.
pub(crate) fn sample(name: &str) -> PathBuf {
    let samples = "target/samples/pytest_audioeval/samples/audio";
    Path::new(env!("CARGO_MANIFEST_DIR")).join(samples).join(name)
}

/// The sentence `times` over, 6.05 s each, as a flac file in `folder`.
pub(crate) fn long_recording(folder: &Path, times: usize) -> PathBuf {
    let (sentence, long) = (sentence(), folder.join("long.flac"));
    let mut arguments = vec![sentence.to_str().expect("a plain path"); times];
    arguments.push(long.to_str().expect("a plain path"));
    run("sox", &arguments);
    long
}

/// An appliance with the batch service on `http` and `https`.
pub(crate) fn batch_setup() -> Setup {
    let listener = |name: &str, extra: &str| {
        format!(
            "[[listener]]\nname = \"{name}\"\naddress = \"127.0.0.1:0\"\n{extra}\nservices = [\"security\", \"management\", \"monitoring\", \"batch\"]\n\n"
        )
    };
    let listeners = listener("http", "redirect_to = \"https\"") + &listener("https", "tls = true");
    Service::portcullis().listeners(&listeners)
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|err| panic!("{program}: {err}"));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}\n{told}");
}

/// Posts a file with a configuration.
pub(crate) fn post(service: &Service, file: &Path, config: &str) -> Reply {
    let (file, config) = (format!("data_file=@{}", file.display()), format!("config={config}"));
    curl(&["-F", &file, "-F", &config, &service.url("https", "/v2/jobs")])
}

/// Posts a file and gives the id of the job.
pub(crate) fn submit(service: &Service, file: &Path) -> String {
    id_of(&post(service, file, CONFIG).expect(201))
}

pub(crate) fn id_of(reply: &Reply) -> String {
    reply.json()["id"].as_str().expect("the id is a string").to_owned()
}

/// A job as the appliance tells it.
pub(crate) fn job(service: &Service, id: &str) -> Value {
    curl(&[&service.url("https", &format!("/v2/jobs/{id}"))]).expect(200).json()["job"].clone()
}

/// Waits for the end of a job.
pub(crate) fn ended(service: &Service, id: &str) -> Value {
    let mut last = Value::Null;
    wait_until_blocking(&format!("job {id} ends"), seconds(120), || {
        last = job(service, id);
        last["status"] != "running"
    });
    last
}

/// The transcript of a finished job.
pub(crate) fn transcript(service: &Service, id: &str, format: &str) -> String {
    let path = format!("/v2/jobs/{id}/transcript?format={format}");
    curl(&[&service.url("https", &path)]).expect(200).body
}

/// The words alone, to compare what two recordings said.
pub(crate) fn words(text: &str) -> Vec<String> {
    let letters = text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), " ");
    letters.split_whitespace().map(str::to_owned).collect()
}

/// Where `scripts/tools.sh test` has put the official clients.
pub(crate) fn clients() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    assert!(folder.join("venv").exists(), "the clients are missing; scripts/tools.sh test");
    folder
}

/// The certificate that the service presents, as a file.
fn certificate(service: &Service) -> PathBuf {
    let path = service.path().join("served.pem");
    let script = format!(
        "openssl s_client -connect 127.0.0.1:{} </dev/null 2>/dev/null | openssl x509 >{}",
        service.port("https"),
        path.display()
    );
    run("sh", &["-c", &script]);
    path
}

/// A client that trusts the certificate of the service.
pub(crate) fn client_command(program: &Path, service: &Service) -> Command {
    client_trusting(program, service, Some(&certificate(service)))
}

/// A client that trusts this certificate, or what the machine trusts.
pub(crate) fn client_trusting(
    program: &Path,
    service: &Service,
    trusted: Option<&Path>,
) -> Command {
    let mut command = Command::new(program);
    command.env("HOME", service.path()).env("NODE_PATH", clients().join("node_modules"));
    for variable in ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"] {
        match trusted {
            Some(path) => command.env(variable, path),
            None => command.env_remove(variable),
        };
    }
    command
}

/// What a client printed that must have succeeded.
#[track_caller]
pub(crate) fn said(output: Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}
