//! An upload of arbitrary files is judged: it is refused in a short text, or what comes out can
//! be stored and read again.
//!
//! An input is one byte of flags, then up to three fields (keyfile, certfile, passphrase) with
//! [`SEPARATOR`] between them. `scripts/fuzz.sh` makes its seeds in that form.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis_actors::certificate::{
    CertificateBundle, Judgement, Options, Upload, WaitingKey, Warning,
};
use time::OffsetDateTime;

/// Stands between the fields; no PEM text and hardly a DER file holds it.
const SEPARATOR: &[u8] = b"\xff|\xff";

const WITHOUT_KEYFILE: u8 = 1;
const WITHOUT_CERTFILE: u8 = 2;
const WITHOUT_PASSPHRASE: u8 = 4;
const ALLOW_EXPIRED: u8 = 8;
const WITH_WAITING_KEYS: u8 = 16;
const ALLOW_LARGE: u8 = 32;

/// A clock that stands still, so that a finding can be played again: January 2027.
static NOW: LazyLock<OffsetDateTime> =
    LazyLock::new(|| OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a year we know"));

/// What an error or a warning may take; answers have to stay readable.
const LONGEST_MESSAGE: usize = 2048;

fuzz_target!(|data: &[u8]| {
    let Some((&flags, rest)) = data.split_first() else { return };
    let (keyfile, rest) = split(rest);
    let (certfile, passphrase) = split(rest);
    let given = |absent: u8| flags & absent == 0;
    let upload = Upload {
        keyfile: given(WITHOUT_KEYFILE).then_some(keyfile),
        certfile: given(WITHOUT_CERTFILE).then_some(certfile),
        passphrase: std::str::from_utf8(passphrase).ok().filter(|_| given(WITHOUT_PASSPHRASE)),
    };
    // A waiting key is DER that the appliance has written; here it is whatever the input says.
    let waiting_keys = [WaitingKey { id: "waiting".into(), pkcs8: passphrase.to_vec().into() }];
    let options = Options {
        allow_expired: flags & ALLOW_EXPIRED != 0,
        allow_large: flags & ALLOW_LARGE != 0,
        waiting_keys: if flags & WITH_WAITING_KEYS == 0 { &[] } else { &waiting_keys },
    };
    match CertificateBundle::from_upload(&upload, &options, *NOW) {
        Ok(judgement) => check(&judgement),
        Err(err) => {
            let text = err.to_string();
            assert!(text.len() <= LONGEST_MESSAGE, "an error of {} bytes", text.len());
            assert!(!text.contains('\u{0}'), "a NUL in an error");
        }
    }
});

/// What was accepted survives being stored, and says the same of itself afterwards.
fn check(judgement: &Judgement) {
    let stored = judgement.bundle.certificate_pem();
    let key = judgement.bundle.key_pem();
    let upload = Upload {
        keyfile: Some(key.as_bytes()),
        certfile: Some(stored.as_bytes()),
        passphrase: None,
    };
    let options = Options { allow_expired: true, ..Options::default() };
    let again = CertificateBundle::from_upload(&upload, &options, *NOW)
        .expect("an accepted bundle is accepted again");
    assert_eq!(judgement.bundle.facts(), again.bundle.facts());
    for Warning { message, .. } in &judgement.warnings {
        assert!(message.len() <= LONGEST_MESSAGE, "a warning of {} bytes", message.len());
    }
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(SEPARATOR.len()).position(|window| window == SEPARATOR);
    at.map_or((data, &[]), |at| (&data[..at], &data[at + SEPARATOR.len()..]))
}
