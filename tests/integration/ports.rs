//! Ports that cannot be had, and ports that must be had again.

use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::certificates::CertificateAuthority;
use crate::support::curl::curl;
use crate::support::http::Connection;
use crate::support::seconds;
use crate::support::service::{Service, Setup};

/// Listeners on these ports; the second speaks TLS.
fn on(ports: [u16; 2]) -> Setup {
    let services = r#"services = ["security", "management", "echo"]"#;
    Service::echo().quiet().listeners(&format!(
        "[[listener]]\nname = \"first\"\naddress = \"127.0.0.1:{}\"\n{services}\n\n[[listener]]\nname = \"https\"\naddress = \"127.0.0.1:{}\"\ntls = true\n{services}\n",
        ports[0], ports[1]
    ))
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// The one line of a refusal, checked for being one.
fn one_line(stderr: &str) -> String {
    assert_eq!(stderr.lines().count(), 1, "not one line:\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr.to_lowercase()
}

#[test]
fn taken_port_ends_the_start_with_one_line_and_leaves_nothing_open() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port to hold");
    let taken = holder.local_addr().expect("its address").port();
    let other = free_port();
    let refused = on([other, taken]).prepare().try_start().err().expect("the port is taken");

    assert!(!refused.status.success());
    assert!(refused.after < seconds(5), "took {:?}", refused.after);
    let line = one_line(&refused.stderr);
    for word in ["127.0.0.1", &taken.to_string(), "in use"] {
        assert!(line.contains(word), "no {word} in {line}");
    }
    drop(TcpListener::bind(("127.0.0.1", other)).expect("the other port is free again"));

    drop(holder);
    let service = refused.installation.start();
    curl(&[&service.url("https", "/healthz")]).expect(200);
}

/// Run by an ordinary user it starts as that user, run by root as nobody.
#[test]
fn privileged_port_ends_the_start_with_one_line_that_names_the_capability() {
    let installation = on([free_port(), 1]).prepare();
    let mut command: Command = installation.command();
    let own = std::fs::metadata("/proc/self").expect("this process");
    if own.uid() == 0 {
        let nobody = 65534;
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(installation.path(), open).expect("open the folder");
        for path in [installation.path().to_owned(), installation.data_dir()] {
            chown(path, Some(nobody), Some(nobody)).expect("give the folder away");
        }
        command.uid(nobody).gid(nobody);
    }
    let begun = std::time::Instant::now();
    let output = command.output().expect("the service");
    assert!(!output.status.success());
    assert!(begun.elapsed() < seconds(5), "took {:?}", begun.elapsed());
    let line = one_line(&String::from_utf8_lossy(&output.stderr));
    for word in ["127.0.0.1:1", "not permitted", "cap_net_bind_service"] {
        assert!(line.contains(word), "no {word} in {line}");
    }
}

#[tokio::test]
async fn killed_service_starts_again_at_once_on_the_same_ports() {
    let ports = [free_port(), free_port()];
    let service = on(ports).start();
    for number in 0..20 {
        let connection = Connection::plain(ports[0]).await;
        let mut connection = connection.expect("a connection");
        if number % 2 == 0 {
            let close = [("connection", "close")];
            assert_eq!(connection.get("/healthz", &close).await.expect("an answer").status, 200);
        }
    }
    let open = Connection::tls(ports[1]).await.expect("a connection");
    let service = service.kill().start();
    drop(open);
    assert_eq!((service.port("first"), service.port("https")), (ports[0], ports[1]));
    curl(&[&service.url("https", "/healthz")]).expect(200);
}

#[tokio::test]
async fn upload_does_not_mind_ports_that_others_hold() {
    let service = on([free_port(), free_port()]).start();
    let _held = TcpListener::bind("127.0.0.1:0").expect("a port to hold");
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_b()).await;
}

#[test]
fn wildcard_address_is_reached_over_ipv4_and_ipv6() {
    let service = Service::echo()
        .listeners(
            "[[listener]]\nname = \"https\"\naddress = \"[::]:0\"\ntls = true\nservices = [\"management\"]\n",
        )
        .start();
    let port = service.port("https");
    for host in ["127.0.0.1", "[::1]"] {
        curl(&["-g", &format!("https://{host}:{port}/healthz")]).expect(200);
    }
}

#[test]
fn ready_file_names_the_process_and_every_listener() {
    let service = Service::echo().start();
    let ready = service.ready();
    assert_eq!(i32::try_from(ready.pid).expect("a pid"), service.pid().as_raw());
    let told = ready.listeners.iter().map(|one| (one.name.as_str(), one.tls)).collect::<Vec<_>>();
    assert_eq!(told, [("http", false), ("https", true), ("ws", false), ("wss", true)]);
    assert!(ready.listeners.iter().all(|one| one.address.port() != 0));
}

#[test]
fn address_may_name_an_interface_and_hosts_with_a_zone_are_served() {
    let services = r#"services = ["security", "management", "echo"]"#;
    let listener = |address: &str| {
        format!("[[listener]]\nname = \"zone\"\naddress = \"{address}\"\n{services}\n")
    };
    let service = Service::echo().listeners(&listener("[::1%lo]:0")).start();
    let url = format!("http://[::1]:{}/healthz", service.port("zone"));
    for host in ["[::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]:8443", "[fe80::1%2]"] {
        curl(&["-H", &format!("Host: {host}"), &url]).expect(200);
    }
    curl(&["-H", "Host: [fe80::1%]", &url]).expect(400);

    let refused = Service::echo().listeners(&listener("[fe80::1%no-such]:0")).prepare();
    let refused = refused.try_start().err().expect("there is no such interface");
    let line = one_line(&refused.stderr);
    assert!(
        line.contains("there is no network interface `no-such`") && line.contains("lo"),
        "{line}"
    );
}
