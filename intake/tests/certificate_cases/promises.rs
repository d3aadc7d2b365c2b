//! Promises that do not fit into a row: waiting keys, facts, hostile input.

use std::time::{Duration, Instant};

use portcullis_intake::{
    CertificateBundle, CertificateError, Judgement, Options, Upload, WaitingKey,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::case::{Case, describe_acceptance};
use crate::workshop::Workshop;

fn judge(upload: Upload<'_>, waiting_keys: &[WaitingKey]) -> Result<Judgement, CertificateError> {
    let options = Options { waiting_keys, ..Options::default() };
    CertificateBundle::from_upload(&upload, &options, OffsetDateTime::now_utc())
}

#[test]
fn a_certificate_alone_is_paired_with_the_key_that_waits_for_it() {
    let workshop = Workshop::open();
    workshop.run("openssl pkcs8 -topk8 -nocrypt -in leaf.key -outform DER -out w1; openssl pkcs8 -topk8 -nocrypt -in ec.key -outform DER -out w2");
    let waiting =
        |id: &str, file| WaitingKey { id: id.into(), pkcs8: Zeroizing::new(workshop.file(file)) };
    let keys = [waiting("second", "w2"), waiting("first", "w1")];
    let chain = workshop.file("chain.crt");
    let alone = Upload { certfile: Some(&chain), ..Upload::default() };

    let judged = judge(alone, &keys).expect("the key waits");
    assert_eq!(judged.waiting_key.as_deref(), Some("first"));
    assert!(judged.warnings.is_empty());
    println!("waiting key ok: {}", describe_acceptance(&judged));

    let err = judge(alone, &keys[..1]).expect_err("another key waits");
    assert_eq!(err.code(), "no-waiting-key");
    println!("waiting key ok: 400 {}: {err}", err.code());

    // An empty field comes from a browser; a key that was sent is the one that counts.
    assert!(judge(Upload { keyfile: Some(b""), ..alone }, &keys).is_ok());
    let key = workshop.file("ec.key");
    let err = judge(Upload { keyfile: Some(&key), ..alone }, &keys).err();
    assert_eq!(err.map(|err| err.code()), Some("key-mismatch"));
}

#[test]
fn facts_are_those_that_openssl_prints() {
    let workshop = Workshop::open();
    workshop.run(
        "x() { openssl x509 -in leaf.crt -noout \"$@\"; }
         { x -fingerprint -sha256; x -fingerprint -sha1; } | sed 's/.*=//' > facts
         x -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64 >> facts
         x -serial | sed 's/.*=//; s/../&:/g; s/:$//' >> facts
         x -dateopt iso_8601 -enddate 2>/dev/null | sed 's/.*=//; s/ /T/' >> facts || true",
    );
    let (chain, key) = (workshop.file("chain.crt"), workshop.file("leaf.key"));
    let judged =
        CertificateBundle::from_pem(&chain, &key, OffsetDateTime::now_utc()).expect("a pair");
    let facts = judged.bundle.facts();
    let printed = workshop.file("facts");
    let printed = String::from_utf8_lossy(&printed);
    for fact in [&facts.fingerprint_sha256, &facts.fingerprint_sha1, &facts.spki_sha256] {
        assert!(printed.contains(fact.as_str()), "{fact} is not in {printed}");
    }
    assert!(
        printed
            .lines()
            .any(|line| line.trim_start_matches("0") == facts.serial.trim_start_matches("0"))
    );
    assert_eq!(facts.subject, "CN=appliance.example.test");
    assert_eq!(facts.issuer, "CN=Example Test Issuing");
    assert_eq!(facts.sans, ["DNS:appliance.example.test", "DNS:localhost", "IP:127.0.0.1"]);
    assert_eq!((facts.key_type.as_str(), facts.key_bits), ("RSA", 2048));
    assert_eq!(facts.signature_algorithm, "sha256WithRSAEncryption");
    assert_eq!((facts.chain_length, facts.self_signed), (2, false));
    assert_eq!(facts.chain[1].subject, "CN=Example Test Issuing");
    assert!(facts.not_after() > facts.not_before() + Duration::from_secs(86400 * 2999));
    let json = serde_json::to_string(facts).expect("plain data");
    assert!(!json.contains("PRIVATE") && json.contains("\"not_after\":\"20"), "{json}");
}

#[test]
#[ignore = "making the key takes up to a minute"]
fn the_largest_rsa_key_is_taken() {
    let workshop = Workshop::open();
    let case = Case::new("K35-rsa8192", "openssl genrsa -out r8.key 8192; self r8.key r8.crt")
        .up("r8.key", "r8.crt")
        .gives(1, &["self-signed", "ca-as-server"]);
    println!("{} ok: {}", case.name, case.run(&workshop).expect("accepted"));
    let large = Case::new("rsa 8200", "openssl genrsa -out r9.key 8200; self r9.key r9.crt")
        .up("r9.key", "r9.crt")
        .refused("rsa-size", &["8200 bits", "at most 8192"]);
    println!("{} ok: {}", large.name, large.run(&workshop).expect("refused"));
}

/// Damaged files of every kind: an answer each time, and soon.
#[test]
fn no_damage_makes_the_intake_stumble() {
    let workshop = Workshop::open();
    workshop.run(
        "openssl pkcs12 -export -inkey leaf.key -in chain.crt -passout pass:secret -out b.pfx
         openssl pkcs12 -export -legacy -iter 1 -inkey leaf.key -in chain.crt -passout pass:secret -out o.pfx
         openssl pkcs12 -export -keypbe NONE -certpbe NONE -nomac -inkey ec.key -in ec.crt -passout pass: -out p.pfx
         openssl crl2pkcs7 -nocrl -certfile chain.crt -outform DER -out d.p7b
         openssl pkcs8 -topk8 -in ec.key -iter 1 -passout pass:secret -out e.key
         openssl rsa -in leaf.key -traditional -aes256 -passout pass:secret -out l.key
         openssl x509 -in leaf.crt -outform DER -out d.crt; openssl ec -in ec.key -outform DER -out d.key
         cat leaf.key chain.crt > all.pem",
    );
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut slowest = Duration::ZERO;
    let files = ["b.pfx", "o.pfx", "p.pfx", "d.p7b", "e.key", "l.key", "d.crt", "d.key", "all.pem"];
    let (chain, key) = (workshop.file("chain.crt"), workshop.file("leaf.key"));
    for name in files {
        let sound = workshop.file(name);
        for _ in 0..400 {
            let damaged = random.damage(&sound);
            for (keyfile, certfile) in [
                (None, Some(&damaged)),
                (Some(&damaged), Some(&chain)),
                (Some(&key), Some(&damaged)),
            ] {
                let upload = Upload {
                    keyfile: keyfile.map(Vec::as_slice),
                    certfile: certfile.map(Vec::as_slice),
                    passphrase: Some("secret"),
                };
                let begun = Instant::now();
                if let Err(err) = judge(upload, &[]) {
                    assert!(err.to_string().len() < 450, "{err}");
                }
                slowest = slowest.max(begun.elapsed());
            }
        }
    }
    println!("the slowest answer took {slowest:?}");
    assert!(slowest < Duration::from_secs(4));
}

/// A small generator with a fixed seed, so that a failure comes back.
struct Random(u64);

impl Random {
    fn next(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }

    fn damage(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.next(3) {
            let at = self.next(bytes.len());
            match self.next(5) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes.insert(at, self.next(256) as u8),
                2 => drop(bytes.drain(at..(at + self.next(40)).min(bytes.len()))),
                3 => bytes[at] = [0x30, 0x80, 0x84, 0xff, 0x00, 0x24, b'-', b'\n'][self.next(8)],
                _ => bytes[at] ^= 1 << self.next(8),
            }
            if bytes.is_empty() {
                bytes.push(0x30);
            }
        }
        bytes
    }
}
