//! A TLS session that was begun under the replaced certificate ends with it.

use std::path::Path;

use crate::support::certificates::CertificateAuthority;
use crate::support::openssl::s_client;
use crate::support::service::Service;

/// A whole request, so that session tickets have arrived when the server closes.
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Connects with a stored session or without, and stores the session it ends with.
fn connect(port: u16, version: &str, stored: Option<&Path>, store: &Path) -> String {
    let text = |path: &Path| path.to_str().expect("a plain path").to_owned();
    let store = text(store);
    let mut arguments = vec![version, "-ign_eof", "-sess_out", &store];
    let stored = stored.map(text);
    if let Some(stored) = &stored {
        arguments.extend(["-sess_in", stored]);
    }
    let shown = s_client(port, &arguments, REQUEST);
    assert!(shown.text.contains("200 OK"), "{version}: no answer in {}", shown.text);
    shown.text
}

#[tokio::test]
async fn session_of_the_old_certificate_is_not_resumed_and_the_new_one_is_shown() {
    let service = Service::echo().start();
    let authority = CertificateAuthority::new();
    let (a, b) = (authority.pair_a(), authority.pair_b());
    for version in ["-tls1_2", "-tls1_3"] {
        service.admin().install(&a).await;
        let port = service.port("https");
        let [first, second, third] =
            ["first", "second", "third"].map(|name| service.path().join(name));
        assert!(connect(port, version, None, &first).contains("New, TLS"));
        // Without this the rest would show nothing.
        let again = connect(port, version, Some(&first), &second);
        assert!(again.contains("Reused, TLS"), "{version} is never resumed: {again}");

        service.admin().install(&b).await;
        // A resumed session of TLS 1.2 is stored no second time.
        for session in [&first, &second].into_iter().filter(|session| session.exists()) {
            let after = connect(port, version, Some(session), &third);
            assert!(after.contains("New, TLS"), "{version}: {after}");
            assert!(after.contains("pair-b.example.test"), "{version}: {after}");
        }
    }
}

#[test]
fn session_of_another_appliance_breaks_no_handshake() {
    let (one, other) = (Service::echo().start(), Service::echo().start());
    for version in ["-tls1_2", "-tls1_3"] {
        let [session, unused] = ["session", "unused"].map(|name| one.path().join(name));
        connect(one.port("https"), version, None, &session);
        let shown = connect(other.port("https"), version, Some(&session), &unused);
        assert!(shown.contains("New, TLS"), "{version}: {shown}");
    }
}
