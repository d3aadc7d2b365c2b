//! Which versions, suites and protocols are spoken, and whose order wins.

use crate::support::certificates::CertificateAuthority;
use crate::support::openssl::s_client;
use crate::support::service::Service;

/// The suite that was agreed on.
fn agreed(port: u16, arguments: &[&str]) -> Option<String> {
    let shown = s_client(port, arguments, "").text;
    let (_, suite) = shown.split_once("Cipher is ")?;
    let suite = suite.split_whitespace().next()?;
    (suite != "(NONE)").then(|| suite.to_owned())
}

/// Offers the suites in the reverse of the expected order, and takes away the winner each time.
fn order_is(port: u16, version: &str, option: &str, expected: &[&str]) {
    for from in 0..expected.len() {
        let offered = expected[from..].iter().rev().copied().collect::<Vec<_>>().join(":");
        let suite = agreed(port, &[version, option, &offered]);
        assert_eq!(suite.as_deref(), Some(expected[from]), "offered {offered}");
    }
}

#[test]
fn suites_of_tls_1_3_are_chosen_in_the_order_of_the_server() {
    let service = Service::echo().start();
    let order =
        ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    for port in service.tls_ports() {
        order_is(port, "-tls1_3", "-ciphersuites", &order);
    }
}

#[tokio::test]
async fn suites_of_tls_1_2_are_chosen_in_the_order_of_the_server() {
    let service = Service::echo().start();
    let port = service.port("https");
    let order = |kind: &str| {
        ["CHACHA20-POLY1305", "AES128-GCM-SHA256", "AES256-GCM-SHA384"]
            .map(|suite| format!("ECDHE-{kind}-{suite}"))
    };
    let rsa = order("RSA");
    order_is(port, "-tls1_2", "-cipher", &rsa.each_ref().map(String::as_str));
    let authority = CertificateAuthority::new();
    service.admin().install(&authority.pair_b()).await;
    let ecdsa = order("ECDSA");
    order_is(port, "-tls1_2", "-cipher", &ecdsa.each_ref().map(String::as_str));
}

#[test]
fn nothing_older_or_weaker_is_spoken() {
    let service = Service::echo().start();
    for port in service.tls_ports() {
        for offer in [
            ["-tls1", "-cipher", "ALL:@SECLEVEL=0"],
            ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"],
            ["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256:ECDHE-RSA-AES256-SHA:@SECLEVEL=0"],
            ["-tls1_2", "-cipher", "AES128-GCM-SHA256:AES128-SHA:@SECLEVEL=0"],
            ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0"],
        ] {
            assert_eq!(agreed(port, &offer), None, "{offer:?}");
        }
    }
}

#[test]
fn http_2_is_offered_and_http_1_1_spoken_with_whoever_does_not_ask() {
    let service = Service::echo().start();
    let port = service.port("https");
    let both = s_client(port, &["-alpn", "h2,http/1.1"], "").text;
    assert!(both.contains("ALPN protocol: h2"), "{both}");
    let one = s_client(port, &["-alpn", "http/1.1"], "").text;
    assert!(one.contains("ALPN protocol: http/1.1"), "{one}");
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let none = s_client(port, &["-ign_eof"], request).text;
    assert!(none.contains("No ALPN negotiated") && none.contains("HTTP/1.1 200 OK"), "{none}");
}

#[test]
fn plain_request_to_a_tls_port_harms_nobody() {
    let service = Service::echo().start();
    let port = service.port("https");
    let plain = crate::support::curl::curl(&[&format!("http://127.0.0.1:{port}/healthz")]);
    assert_ne!(plain.status, 200);
    crate::support::curl::curl(&[&service.url("https", "/healthz")]).expect(200);
}
