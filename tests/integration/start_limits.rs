//! A start that cannot have what it needs ends with one line; one that can goes on under pressure.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Command, Stdio};

use crate::support::curl::{curl, curl_as};
use crate::support::http::Connection;
use crate::support::service::Service;
use crate::support::{seconds, wait_until};

fn one_line(stderr: &str) -> &str {
    assert!(!stderr.contains("panicked"), "{stderr}");
    // The allocator has its own word about its own thread.
    let mut lines = stderr.lines().filter(|line| !line.starts_with("<jemalloc>"));
    let line = lines.next().expect("a line");
    assert_eq!(lines.next(), None, "not one line:\n{stderr}");
    line
}

#[test]
fn too_few_descriptors_end_the_start_with_one_line_that_says_what_to_raise() {
    for limit in ["10", "16", "24", "32", "40", "64"] {
        let shell = format!("ulimit -n {limit}; exec \"$@\"");
        let setup = Service::echo().quiet().wrapper(&["sh", "-c", &shell, "sh"]);
        let refused = setup.prepare().try_start().err().expect("too few");
        assert_eq!(refused.status.code(), Some(1), "{limit}: {}", refused.stderr);
        let line = one_line(&refused.stderr);
        for word in ["open files", limit, "LimitNOFILE"] {
            assert!(line.contains(word), "no {word} in {line}");
        }
        assert!(refused.after < seconds(5), "took {:?}", refused.after);
    }
}

/// Root may have any number of threads, so it starts as somebody else.
#[test]
fn too_few_threads_end_the_start_with_one_line_that_says_what_to_raise() {
    let user = 54_873;
    for limit in ["1", "5", "12"] {
        let installation = Service::echo().quiet().prepare();
        let command = installation.command();
        let mut limited = Command::new("setpriv");
        if std::fs::metadata("/proc/self").expect("this process").uid() == 0 {
            for path in [installation.path().to_owned(), installation.data_dir()] {
                chown(&path, Some(user), Some(user)).expect("give it away");
                std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("open it");
            }
            limited.arg(format!("--reuid={user}"));
            limited.args([&format!("--regid={user}"), "--clear-groups"]);
        }
        limited
            .args(["prlimit", &format!("--nproc={limit}"), "--"])
            .arg(command.get_program())
            .args(command.get_args())
            .env("RUST_LOG", "warn")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let refused = installation.try_start_by(limited).err().expect("too few");
        assert_eq!(refused.status.code(), Some(1), "{limit}: {}", refused.stderr);
        let line = one_line(&refused.stderr);
        assert!(line.contains("threads") && line.contains("TasksMax"), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_leave_descriptors_for_everything_else() {
    let shell = ["sh", "-c", "ulimit -n 160; exec \"$@\"", "sh"];
    let service = Service::echo().wrapper(&shell).start();
    let mut held = Vec::new();
    for number in 0..400 {
        let port = service.port(["http", "https", "ws", "wss"][number % 4]);
        held.extend(Connection::plain(port).await);
    }
    // Changes write files and start listeners.
    wait_until("a change is made beside them", seconds(20), async || {
        let url = service.url("https", "/v2/security/insecureports");
        let off = curl_as("admin", &["-d", r#"{"enable_insecure_ports": false}"#, &url]).status;
        let on = curl_as("admin", &["-d", r#"{"enable_insecure_ports": true}"#, &url]).status;
        (off, on) == (200, 200)
    })
    .await;
    drop(held);
    curl(&[&service.url("http", "/healthz")]).expect(200);
    assert!(!service.log().contains("panicked"), "{}", service.log());
}
