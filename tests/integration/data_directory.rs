//! The data directory damaged in every way: each file, folder and link of it, missing, empty, cut,
//! of another kind, unreadable, somebody else's. Whatever is damaged, nothing opens that was
//! closed, nothing is removed, and what was damaged can be put back.
//!
//! `cargo test … -- data_directory --nocapture` prints the table.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::support::certificates::CertificateAuthority;
use crate::support::console::said;
use crate::support::http::Connection;
use crate::support::service::{Installation, Service, Setup};
use crate::support::stored::files_below;
use crate::support::tls::served_fingerprint;

/// Whom the directory belongs to: modes do not bind root.
const USER: u32 = 54_321;
const PASSWORD: &str = "written down";
const TOKEN: &str = "job-token-0123456789";
/// How many cases are tried at once.
const AT_ONCE: usize = 4;
/// A start that takes longer than this waits for something.
const QUICK: Duration = Duration::from_secs(20);

const LISTENERS: &str = r#"
[[listener]]
name = "http"
address = "127.0.0.1:0"
redirect_to = "https"
services = ["security", "management", "echo", "batch"]

[[listener]]
name = "https"
address = "127.0.0.1:0"
tls = true
services = ["security", "management", "echo", "batch"]

[speech]
engine = "upstream"
upstream = "ws://127.0.0.1:1"
"#;

/// What is damaged: `{n}` is the current revision, `{id}` the waiting key.
const FOLDERS_AND_LINKS: [&str; 11] = [
    "state",
    "state/current",
    "state/current.new",
    "state/revisions",
    "state/revisions/{n}",
    "state/revisions/{n}/management-auth-secret",
    "state/revisions/{n}/tls",
    "default-certificate",
    "waiting-keys",
    "waiting-keys/{id}",
    "audit",
];
const STATE_FILES: [&str; 11] = [
    "state/revisions/{n}/management-auth-secret/users",
    "state/revisions/{n}/management-auth-secret/disabled",
    "state/revisions/{n}/tls/tls.crt",
    "state/revisions/{n}/tls/tls.key",
    "state/revisions/{n}/tls/installed.json",
    "state/revisions/{n}/insecure-ports",
    "state/revisions/{n}/job-token",
    "state/revisions/{n}/settings.json",
    "state/revisions/{n}/change.json",
    "state/revisions/{n}/was-current",
    "state/reserve",
];
const OTHER_FILES: [&str; 11] = [
    "initialised",
    "lock",
    "console.sock",
    "default-certificate/tls.crt",
    "default-certificate/tls.key",
    "waiting-keys/{id}/key.pem",
    "waiting-keys/{id}/request.json",
    "audit/audit.jsonl",
    "log/portcullis.log",
    "jobs/jobs.sqlite",
    "running-time.json",
];

const DAMAGES: [Damage; 11] = [
    Damage::Removed,
    Damage::Emptied,
    Damage::Cut,
    Damage::Garbage,
    Damage::Folder,
    Damage::Pipe,
    Damage::DanglingLink,
    Damage::Loop,
    Damage::Unreadable,
    Damage::OtherOwner,
    Damage::Huge,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Removed,
    Emptied,
    /// The first half of it.
    Cut,
    /// A file with bytes that mean nothing; in place of a link its text.
    Garbage,
    Folder,
    Pipe,
    DanglingLink,
    /// A link to itself.
    Loop,
    Unreadable,
    OtherOwner,
    /// 5 GiB, all holes.
    Huge,
}

impl Damage {
    /// Does it; false where it means nothing for what is there.
    fn apply(self, path: &Path) -> bool {
        let found = fs::symlink_metadata(path).ok();
        let is_dir = found.as_ref().is_some_and(|found| found.is_dir());
        let is_file = found.as_ref().is_some_and(|found| found.is_file());
        let is_link = found.as_ref().is_some_and(|found| found.is_symlink());
        match self {
            Self::Removed => remove(path),
            Self::Emptied if is_dir => {
                entries(path).iter().for_each(|path| {
                    remove(path);
                });
                true
            }
            Self::Emptied => put(path, b""),
            Self::Cut if is_dir => {
                entries(path).iter().step_by(2).for_each(|path| {
                    remove(path);
                });
                true
            }
            Self::Cut if is_file => {
                let bytes = fs::read(path).expect("a file");
                bytes.len() > 1 && put(path, &bytes[..bytes.len() / 2])
            }
            Self::Cut if is_link => {
                remove(path);
                symlink("revision", path).is_ok()
            }
            Self::Cut => false,
            Self::Garbage if is_link => {
                let target = fs::read_link(path).expect("a link");
                put(path, target.to_str().expect("text").as_bytes())
            }
            Self::Garbage => put(path, &[0x80, 0xff, 0x00, b'{'].repeat(1024)),
            Self::Folder => {
                !is_dir
                    && (remove(path) || found.is_none())
                    && fs::create_dir(path).is_ok()
                    && give(path)
            }
            Self::Pipe => {
                remove(path);
                nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).is_ok() && give(path)
            }
            Self::DanglingLink => {
                remove(path);
                symlink("/nowhere/at/all", path).is_ok()
            }
            Self::Loop => {
                remove(path);
                symlink(path, path).is_ok()
            }
            Self::Unreadable => {
                (is_dir || is_file)
                    && fs::set_permissions(path, Permissions::from_mode(0o000)).is_ok()
            }
            Self::OtherOwner => {
                found.is_some() && is_root() && lchown(path, Some(0), Some(0)).is_ok()
            }
            Self::Huge => {
                is_file
                    && File::options()
                        .write(true)
                        .open(path)
                        .and_then(|file| file.set_len(5 << 30))
                        .is_ok()
            }
        }
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn remove(path: &Path) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).is_ok(),
        Ok(_) => fs::remove_file(path).is_ok(),
        Err(_) => false,
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn put(path: &Path, bytes: &[u8]) -> bool {
    remove(path);
    fs::write(path, bytes).is_ok() && give(path)
}

/// The service is another user than the one who runs the tests.
fn give(path: &Path) -> bool {
    !is_root() || chown(path, Some(USER), Some(USER)).is_ok()
}

const AS_USER: [&str; 6] = ["setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];

fn setup() -> Setup {
    let setup = Service::echo().quiet().listeners(LISTENERS);
    if is_root() { setup.wrapper(&AS_USER) } else { setup }
}

fn as_user(command: &Command) -> Command {
    let words: &[&str] = if is_root() { &AS_USER } else { &["env"] };
    let mut whole = Command::new(words[0]);
    whole.args(&words[1..]).arg(command.get_program()).args(command.get_args());
    whole.env_remove("RUST_LOG");
    whole
}

fn prepare() -> Installation {
    let installation = setup().prepare();
    fs::set_permissions(installation.path(), Permissions::from_mode(0o755)).expect("chmod");
    give(installation.path());
    give(&installation.data_dir());
    installation
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("run cp");
    assert!(done.success(), "cp -a");
}

/// A directory in which everything is set, and what tells its certificates apart.
struct Prepared {
    installation: Installation,
    installed: String,
    revision: String,
    waiting_key: String,
}

impl Prepared {
    async fn new() -> Self {
        let authority = CertificateAuthority::new();
        let service = prepare().start();
        let admin = service.admin().set_password(PASSWORD).await;
        let bundle = authority.pair_a();
        admin.install(&bundle).await;
        let set = |method: &'static str, path: &'static str, body: serde_json::Value| {
            let (admin, body) = (admin.clone(), body.to_string());
            async move {
                let answer = admin.try_request(method, path, "application/json", body.as_bytes());
                let answer = answer.await.expect("an answer");
                assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
            }
        };
        set("POST", "/v2/security/jobtoken", json!({ "user_token": TOKEN })).await;
        set("PUT", "/v2/management/settings", json!({ "drain_timeout": "1h" })).await;
        set("POST", "/v2/security/csr", json!({ "subject": {"common_name": "a.example.test"}, "names": ["a.example.test"], "key_type": "ec-p256" })).await;
        admin.set_insecure_ports(false).await;
        let installation = service.stop();
        let data_dir = installation.data_dir();
        let revision = fs::read_link(data_dir.join("state/current")).expect("the link");
        let name =
            |path: &Path| path.file_name().expect("a name").to_str().expect("text").to_owned();
        // Eight megabytes that need not be copied each time.
        remove(&data_dir.join("state/reserve"));
        let waiting_key = name(&entries(&data_dir.join("waiting-keys"))[0]);
        Self { revision: name(&revision), waiting_key, installed: bundle.fingerprint, installation }
    }

    fn place(&self, data_dir: &Path, place: &str) -> PathBuf {
        data_dir.join(place.replace("{n}", &self.revision).replace("{id}", &self.waiting_key))
    }

    /// Tries one damage; `None` where it means nothing.
    fn try_case(&self, place: &'static str, damage: Damage) -> Option<Tried> {
        let installation = prepare();
        let data_dir = installation.data_dir();
        copy(&self.installation.data_dir(), &data_dir);
        let path = self.place(&data_dir, place);
        if !damage.apply(&path) {
            return None;
        }
        let before = contents(&data_dir);
        let status = said(as_user(&installation.console().command(&["status"])), "");
        let mut tried = Tried {
            place,
            damage,
            console: if status.code == 0 { "sound".into() } else { status.stderr.trim().into() },
            outcome: String::new(),
            wrong: Vec::new(),
        };
        let installation = self.start(installation, &mut tried);
        for (path, hash) in &before {
            // Nobody's but the appliance's: it is made anew, with its key.
            let made_anew = path.ends_with("default-certificate/tls.crt");
            if !made_anew && !contents(&data_dir).iter().any(|(_, found)| found == hash) {
                tried.wrong.push(format!("{path} is gone"));
            }
        }
        if tried.outcome.starts_with("refused") {
            self.put_right(installation, &path, &mut tried);
        }
        Some(tried)
    }

    /// Starts, and looks at what is open then.
    fn start(&self, installation: Installation, tried: &mut Tried) -> Installation {
        let begun = Instant::now();
        let installation = match installation.try_start() {
            Ok(service) => {
                tried.outcome = "starts".into();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.expect("a runtime").block_on(self.look(&service, tried));
                service.kill()
            }
            Err(refused) => {
                let line = refused.stderr.trim_end().lines().last().unwrap_or_default().to_owned();
                if refused.status.code() != Some(1) || line.contains("panicked") {
                    tried.wrong.push(format!("{}: {}", refused.status, refused.stderr));
                }
                tried.outcome = format!("refused: {line}");
                refused.installation
            }
        };
        if begun.elapsed() > QUICK {
            tried.wrong.push(format!("it took {:?}", begun.elapsed()));
        }
        installation
    }

    async fn look(&self, service: &Service, tried: &mut Tried) {
        let admin = service.admin().with_password(PASSWORD);
        let about = admin.get("/v2/management/host/about").await;
        if about.status != 200 {
            tried.wrong.push(format!("the password gives {}", about.status));
        }
        if service.admin().about_status().await != 401 {
            tried.wrong.push("admin/admin opens".into());
        }
        let status = async |listener: &str, path: &str| {
            let port = service.port(listener);
            let connection = match listener {
                "http" => Connection::plain(port).await,
                _ => Connection::tls(port).await,
            };
            connection.expect("a connection").get(path, &[]).await.expect("an answer").status
        };
        for (listener, path, expected) in [
            ("https", "/v2/management/host/about", 401),
            ("http", "/healthz", 301),
            ("https", "/v2/jobs", 401),
            ("https", "/healthz", 200),
        ] {
            let found = status(listener, path).await;
            if found != expected {
                tried.wrong.push(format!("{listener} {path}: {found}, not {expected}"));
            }
        }
        if served_fingerprint(service.port("https")).await != self.installed {
            // The default one may serve, but never in silence.
            tried.outcome = "starts with the default certificate, told".into();
            if !about.text().contains("certificate-fallback") {
                tried.wrong.push("the default certificate serves in silence".into());
            }
        }
    }

    /// `recover` where it can, else the copy of what was damaged: all is as before then.
    fn put_right(&self, installation: Installation, path: &Path, tried: &mut Tried) {
        let data_dir = installation.data_dir();
        let recovered = said(as_user(&installation.console().command(&["recover"])), "");
        let repaired = recovered.code == 0 && recovered.stdout.contains("the state is that of");
        let outcome = if repaired {
            "recover"
        } else {
            let relative = path.strip_prefix(&data_dir).expect("below it");
            let original = self.installation.data_dir().join(relative);
            remove(path);
            if original.exists() {
                let done = Command::new("cp").arg("-a").arg(&original).arg(path).status();
                assert!(done.expect("run cp").success());
            }
            "backup"
        };
        let refused = std::mem::take(&mut tried.outcome);
        self.start(installation, tried);
        if !tried.outcome.starts_with("starts") {
            tried.wrong.push(format!("after {outcome}: {}", tried.outcome));
        }
        tried.outcome = format!("{refused}; put right by {outcome}");
    }
}

struct Tried {
    place: &'static str,
    damage: Damage,
    /// What `console status` said.
    console: String,
    outcome: String,
    wrong: Vec<String>,
}

/// What must not get lost: the hash of each file of the state, the keys and their certificates.
fn contents(data_dir: &Path) -> BTreeSet<(String, [u8; 32])> {
    let kept = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let counts = (1..1 << 20).contains(&found.len()) && !path.ends_with("reserve");
        let bytes = counts.then(|| fs::read(path).ok()).flatten()?;
        Some((path.display().to_string(), Sha256::digest(bytes).into()))
    };
    entries(data_dir)
        .iter()
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            ["state", "default-certificate", "waiting-keys"]
                .iter()
                .any(|known| name.starts_with(known))
        })
        .filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()))
        .flat_map(|folder| files_below(folder))
        .filter_map(|path| kept(&path))
        .collect()
}

/// Damages each of these places in every way that means something there.
async fn damage_each(places: [&'static str; 11], at_least: usize) {
    if !is_root() {
        eprintln!("not root: modes and owners are tried as far as that goes");
    }
    let prepared = Prepared::new().await;
    let cases = places.iter().flat_map(|place| DAMAGES.map(|damage| (*place, damage)));
    let cases = Mutex::new(cases.collect::<Vec<_>>().into_iter());
    let results = Mutex::new(Vec::new());
    let work = || {
        loop {
            let next = cases.lock().expect("the cases").next();
            let Some((place, damage)) = next else { return };
            if let Some(tried) = prepared.try_case(place, damage) {
                results.lock().expect("the results").push(tried);
            }
        }
    };
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(work);
            }
        });
    });
    let mut results = results.into_inner().expect("the results");
    results.sort_by_key(|tried| (tried.place, tried.damage as u8));
    for tried in &results {
        let Tried { place, damage, console, outcome, wrong } = tried;
        eprintln!("{place} | {damage:?} | {outcome} | console: {console} | {wrong:?}");
    }
    let wrong: Vec<_> = results
        .iter()
        .filter(|tried| !tried.wrong.is_empty())
        .map(|tried| format!("{} {:?}: {:?}", tried.place, tried.damage, tried.wrong))
        .collect();
    eprintln!("{} combinations, {} wrong", results.len(), wrong.len());
    assert!(results.len() >= at_least, "{} combinations", results.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_folders_and_links_open_nothing_and_lose_nothing() {
    damage_each(FOLDERS_AND_LINKS, 85).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_of_the_state_open_nothing_and_lose_nothing() {
    damage_each(STATE_FILES, 95).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_beside_the_state_open_nothing_and_lose_nothing() {
    damage_each(OTHER_FILES, 95).await;
}
