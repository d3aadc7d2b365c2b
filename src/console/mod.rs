//! `portcullis console`: the operator at the machine itself.
//!
//! While the server runs, commands go through its Unix socket and apply at once; while it is
//! stopped, they work on the state directory under its lock. Whoever may read the data directory
//! may use it; no password is asked for.

mod answer;
mod recover;
mod request;
mod server;
mod socket;

use std::{
    io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use portcullis_actors::{
    Requester,
    audit::{self, Audit, AuditEntry, Outcome},
    auth::DEFAULT_PASSWORD,
    certificate::{
        ActiveCertificate, CertificateBundle, CertificateError, Judgement, Options, Upload,
        load_or_generate, resolve_certificate,
    },
    change_stopped, factory_state, storage,
    store::{
        FileStore, Loaded, State, StateStore, StoreError, close_to_others, describe_open_modes,
    },
};
use serde_json::json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use self::request::{Answer, Reply, Request};
pub(crate) use self::server::{ConsoleServer, ConsoleSocket};
use crate::config::{Config, InForce, Kinds, read_text};

/// A running server that has not answered after this time will not.
const PATIENCE: Duration = Duration::from_secs(60);

/// The largest file that can be a certificate or a key.
const MAX_FILE: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(crate) struct ConsoleArguments {
    /// The data directory, instead of what the configuration says.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration that names the data directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints JSON for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: ConsoleCommand,
}

#[derive(Debug, Subcommand)]
enum ConsoleCommand {
    /// Tells what is set and, while the server runs, what its listeners do.
    Status,
    /// Sets the admin password back to the default one, `admin`.
    ResetPassword,
    /// Sets the admin password: asked for at a terminal, else the first line of standard input.
    SetPassword {
        /// Reads standard input even at a terminal.
        #[arg(long)]
        stdin: bool,
    },
    /// Switches authentication on (with the default password) or off.
    Auth { state: Switch },
    /// Switches plain HTTP on or off.
    Http { state: Switch },
    /// The certificate that is served.
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// The configuration.
    #[command(subcommand)]
    Configuration(ConfigurationCommand),
    /// Default certificate, default password, plain HTTP on, no job token.
    Reset {
        /// Does it without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Lists the revisions of the state that are kept.
    History,
    /// Makes the state what it was in a kept revision.
    Rollback { revision: u64 },
    /// Puts a damaged state right while the server is stopped: lists the revisions that are there
    /// and makes the newest one the state again, or the one that is named.
    Recover { revision: Option<u64> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Debug, Subcommand)]
enum CertificateCommand {
    /// Shows the certificate that is served.
    Show,
    /// Installs a certificate with its key.
    Install {
        /// The private key.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The certificate, followed by its intermediate certificates.
        #[arg(long, value_name = "FILE")]
        certificate: PathBuf,
        #[command(flatten)]
        passphrase: Passphrase,
    },
    /// Goes back to the default certificate.
    Reset,
    /// Says what an upload of these files would say, and changes nothing.
    Check {
        /// One or two files, in any order.
        #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        passphrase: Passphrase,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigurationCommand {
    /// Says what a configuration would change of the one in force, and changes nothing. While the
    /// server is stopped, it is compared with the one that --config names.
    Plan {
        /// The TOML file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Passphrase {
    /// Reads what opens an encrypted key from the first line of standard input.
    #[arg(long)]
    passphrase_stdin: bool,
}

impl Passphrase {
    fn read(&self) -> anyhow::Result<Option<Zeroizing<String>>> {
        self.passphrase_stdin.then(first_line).transpose()
    }
}

/// Runs one console command on the data directory that `config` names and prints what it gives. `kinds` are
/// those that the appliance knows.
///
/// # Errors
/// Why it was not done, in one line.
pub(crate) fn run(
    arguments: ConsoleArguments,
    config: &Config,
    kinds: &Kinds,
) -> anyhow::Result<()> {
    let json = arguments.json;
    let data_dir = &config.data_dir;
    let reply = match arguments.command {
        ConsoleCommand::Certificate(CertificateCommand::Check { files, passphrase }) => {
            let passphrase = passphrase.read()?;
            judged(&check(&files, passphrase.as_deref().map(String::as_str))?)
        }
        ConsoleCommand::Certificate(CertificateCommand::Install {
            key,
            certificate,
            passphrase,
        }) => {
            let passphrase = passphrase.read()?;
            let (key, certificate) = (read_file(&key)?, read_file(&certificate)?);
            let judgement =
                judge(Some(&key), Some(&certificate), passphrase.as_deref().map(String::as_str))?;
            let request = Request::InstallCertificate {
                certificate: judgement.bundle.certificate_pem(),
                key: judgement.bundle.key_pem(),
            };
            let done = perform(&request, data_dir)?;
            let told = judged(&judgement);
            Reply {
                text: format!("{}{}", done.text, told.text),
                data: json!({ "done": done.data, "judgement": told.data }),
            }
        }
        ConsoleCommand::Configuration(ConfigurationCommand::Plan { file }) => {
            let (name, text) = (file.display().to_string(), read_text(&file)?);
            match connect(data_dir)? {
                Ok(stream) => ask(stream, &Request::PlanConfiguration { file: name, text })?,
                Err(_) => {
                    ensure!(
                        arguments.config.is_some(),
                        "the server is stopped; name the configuration to compare with, --config FILE"
                    );
                    let plan = InForce::new(config, kinds).plan(&name, &text)?;
                    answer::plan(&plan, false)
                }
            }
        }
        ConsoleCommand::Recover { revision } => {
            ensure!(
                socket::connect(data_dir).is_err(),
                "the server runs and knows its state: its next change writes all of it anew; to go back to another revision use rollback, or stop it first"
            );
            recover::recover(data_dir, revision)?
        }
        command => perform(&request_of(command)?, data_dir)?,
    };
    let mut out = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &reply.data)?;
        writeln!(out)?;
    } else {
        out.write_all(reply.text.as_bytes())?;
    }
    Ok(())
}

fn request_of(command: ConsoleCommand) -> anyhow::Result<Request> {
    Ok(match command {
        ConsoleCommand::Status => Request::Status,
        ConsoleCommand::ResetPassword => {
            Request::SetPassword { password: Zeroizing::new(DEFAULT_PASSWORD.to_owned()) }
        }
        ConsoleCommand::SetPassword { stdin } => {
            Request::SetPassword { password: new_password(stdin)? }
        }
        ConsoleCommand::Auth { state } => {
            Request::SetAuthentication { enabled: state == Switch::On }
        }
        ConsoleCommand::Http { state } => {
            Request::SetInsecurePorts { enabled: state == Switch::On }
        }
        ConsoleCommand::Certificate(CertificateCommand::Reset) => {
            Request::RestoreDefaultCertificate
        }
        ConsoleCommand::Certificate(_) => Request::ShowCertificate,
        ConsoleCommand::Reset { yes } => {
            ensure!(
                yes,
                "this sets the password to the default one and takes the certificate out; say --yes if that is meant"
            );
            Request::Reset
        }
        ConsoleCommand::History => Request::History,
        ConsoleCommand::Rollback { revision } => Request::Rollback { revision },
        ConsoleCommand::Configuration(_) | ConsoleCommand::Recover { .. } => {
            unreachable!("they are done elsewhere")
        }
    })
}

fn new_password(stdin: bool) -> anyhow::Result<Zeroizing<String>> {
    if stdin || !std::io::stdin().is_terminal() {
        return first_line();
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map(Zeroizing::new);
    let (first, second) = (ask("new admin password: ")?, ask("the same again: ")?);
    ensure!(first == second, "the two passwords differ; nothing was changed");
    Ok(first)
}

fn first_line() -> anyhow::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line).context("standard input cannot be read")?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// Asks the running server or, where none runs, works on the state directory.
fn perform(request: &Request, data_dir: &Path) -> anyhow::Result<Reply> {
    let unreachable = match connect(data_dir)? {
        Ok(stream) => return ask(stream, request),
        Err(err) => err,
    };
    let done = offline(request, data_dir);
    let in_use =
        |err: &anyhow::Error| matches!(err.downcast_ref(), Some(StoreError::Locked { .. }));
    match done {
        Err(err) if in_use(&err) => Err(err.context(format!(
            "{} cannot be reached ({unreachable}); if the appliance runs, it makes it anew within seconds, so try again",
            socket::path(data_dir).display()
        ))),
        done => done,
    }
}

/// Connects to the running server. The inner error: none runs, because nothing is there, nobody listens, or
/// something else has the name.
fn connect(data_dir: &Path) -> anyhow::Result<io::Result<UnixStream>> {
    match socket::connect(data_dir) {
        Err(err) if err.kind() == ErrorKind::PermissionDenied => {
            let shown = socket::path(data_dir);
            Err(err).with_context(|| format!("{} cannot be opened", shown.display()))
        }
        connected => Ok(connected),
    }
}

fn ask(mut stream: UnixStream, request: &Request) -> anyhow::Result<Reply> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = Zeroizing::new(serde_json::to_vec(request)?);
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).context("the running server did not answer")?;
    let answer: Answer = serde_json::from_str(&answer)
        .context("the running server's answer cannot be read; is it of another version?")?;
    answer.map_err(|reason| anyhow!(reason))
}

fn offline(request: &Request, data_dir: &Path) -> anyhow::Result<Reply> {
    let store: Arc<dyn StateStore> = Arc::new(open(data_dir)?);
    let loaded = match store.load() {
        Ok(Some(loaded)) => loaded,
        Ok(None) => bail!("there is no state in {}", data_dir.display()),
        // It asks for nothing of what was there.
        Err(_) if matches!(request, Request::Reset) => {
            Loaded { state: factory_state(), unusable_bundle: None }
        }
        Err(err) => return Err(err.with_remedy(data_dir).into()),
    };
    let state = loaded.state;
    let active = || -> anyhow::Result<ActiveCertificate> {
        let unusable = loaded.unusable_bundle.as_ref().map(StoreError::chain);
        Ok(resolve_certificate(&state, unusable, &load_or_generate(data_dir)?))
    };
    let Some(kind) = request.kind() else {
        return Ok(match request {
            Request::ShowCertificate => answer::certificate(&active()?),
            Request::History => answer::history(&store.history()?),
            _ => {
                credential_of(&state, data_dir)?;
                answer::status(&state, &active()?, None)
            }
        });
    };
    if let Some(told) = describe_open_modes(&close_to_others(data_dir)) {
        log::warn!("{told}");
    }
    let by = Requester::local("console");
    let audit = Audit::open(data_dir)?;
    let done = change_offline(request, data_dir, &by, &*store, &state);
    let outcome = if done.is_ok() { Outcome::Done } else { Outcome::Refused };
    let mut entry = AuditEntry::new(&by, kind.text(), outcome);
    match &done {
        Ok((_, next)) => {
            let new = resolve_certificate(next, None, &load_or_generate(data_dir)?);
            entry = entry.fingerprints(active()?.fingerprint(), new.fingerprint());
        }
        Err(err) => entry = entry.detail(format!("{err:#}")),
    }
    audit.record(entry);
    if !audit.flush(audit::AT_END) {
        let reason = storage::AUDIT.trouble().unwrap_or_else(|| "the disk does not answer".into());
        log::warn!("this is missing in the audit record: {reason}");
    }
    done.map(|(reply, _)| reply)
}

/// The appliance would not start with a stored password that cannot be used.
fn credential_of(state: &State, data_dir: &Path) -> Result<(), StoreError> {
    state.admin.check().map_err(|err| {
        let path = data_dir.join("state/current/management-auth-secret/users");
        let reason = format!("cannot be used: {err}");
        StoreError::Malformed { path, reason }.with_remedy(data_dir)
    })
}

/// Takes the lock of a data directory that was used before.
fn open(data_dir: &Path) -> anyhow::Result<FileStore> {
    ensure!(
        !FileStore::is_new(data_dir)?,
        "there is no state in {} yet; name the right one with --data-dir, or start the appliance once",
        data_dir.display()
    );
    Ok(FileStore::open(data_dir)?)
}

/// Makes a change on the state directory and gives the state after it.
fn change_offline(
    request: &Request,
    data_dir: &Path,
    by: &Requester,
    store: &dyn StateStore,
    state: &State,
) -> anyhow::Result<(Reply, State)> {
    let change = request.change(store, by).map_err(|reason| anyhow!(reason))?;
    let change = change.context("nothing is to be changed")?;
    let (next, revision) = change_stopped(store, data_dir, state, change, by)?;
    let done = request.done();
    let reply =
        Reply { text: format!("{done}\n"), data: json!({ "message": done, "revision": revision }) };
    Ok((reply, next))
}

fn read_file(path: &Path) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let shown = path.display();
    let file = std::fs::File::open(path).with_context(|| format!("{shown} cannot be opened"))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 << 10));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("{shown} cannot be read"))?;
    ensure!(bytes.len() as u64 <= MAX_FILE, "{shown} is larger than {MAX_FILE} bytes");
    Ok(bytes)
}

fn judge(
    keyfile: Option<&[u8]>,
    certfile: Option<&[u8]>,
    passphrase: Option<&str>,
) -> Result<Judgement, CertificateError> {
    let upload = Upload { keyfile, certfile, passphrase };
    CertificateBundle::from_upload(&upload, &Options::default(), OffsetDateTime::now_utc())
}

/// Judges one file or two in either order.
fn check(files: &[PathBuf], passphrase: Option<&str>) -> anyhow::Result<Judgement> {
    let contents = files.iter().map(|file| read_file(file)).collect::<anyhow::Result<Vec<_>>>()?;
    match &contents[..] {
        [one] => Ok(judge(None, Some(one), passphrase)?),
        [first, second, ..] => match judge(Some(first), Some(second), passphrase) {
            Err(err) => {
                // The other order may be what was meant; if neither fits, the first says why,
                // unless it only says that the two are swapped.
                let swapped = judge(Some(second), Some(first), passphrase);
                if err.code() == "swapped" { Ok(swapped?) } else { swapped.map_err(|_| err.into()) }
            }
            Ok(judgement) => Ok(judgement),
        },
        [] => bail!("name one file or two"),
    }
}

fn judged(judgement: &Judgement) -> Reply {
    let facts = judgement.bundle.facts();
    let mut text = format!(
        "good: {}, {}, valid until {}, chain of {}\nSHA-256 {}\n",
        facts.subject,
        facts.key_type,
        facts.not_after,
        facts.chain_length,
        facts.fingerprint_sha256
    );
    for warning in &judgement.warnings {
        text.push_str(&format!("warning: {}\n", warning.message));
    }
    let data = json!({ "certificate": facts, "warnings": judgement.warnings });
    Reply { text, data }
}
