//! One row of the table, and the promises that hold for every row.

use portcullis_intake::{CertificateBundle, CertificateError, Judgement, Options, Upload};
use time::OffsetDateTime;

use crate::workshop::Workshop;

pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Shell commands that make the files.
    pub(crate) make: &'static str,
    pub(crate) keyfile: Option<&'static str>,
    pub(crate) certfile: Option<&'static str>,
    pub(crate) passphrase: Option<&'static str>,
    pub(crate) force: bool,
    pub(crate) outcome: Outcome,
}

pub(crate) enum Outcome {
    /// So many certificates are served, with these warnings in any order.
    Accepted(usize, &'static [&'static str]),
    /// Refused with this code; the message has all these words.
    Refused(&'static str, &'static [&'static str]),
}

use Outcome::{Accepted, Refused};

impl Case {
    pub(crate) const fn new(name: &'static str, make: &'static str) -> Self {
        let outcome = Accepted(2, &[]);
        let (keyfile, certfile) = (Some("leaf.key"), Some("chain.crt"));
        Self { name, make, keyfile, certfile, passphrase: None, force: false, outcome }
    }

    pub(crate) const fn up(mut self, keyfile: &'static str, certfile: &'static str) -> Self {
        self.keyfile = Some(keyfile);
        self.certfile = Some(certfile);
        self
    }

    pub(crate) const fn only_key(mut self, keyfile: &'static str) -> Self {
        self.keyfile = Some(keyfile);
        self.certfile = None;
        self
    }

    pub(crate) const fn only_cert(mut self, certfile: &'static str) -> Self {
        self.keyfile = None;
        self.certfile = Some(certfile);
        self
    }

    pub(crate) const fn passphrase(mut self, passphrase: &'static str) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    pub(crate) const fn forced(mut self) -> Self {
        self.force = true;
        self
    }

    pub(crate) const fn gives(mut self, chain: usize, warnings: &'static [&'static str]) -> Self {
        self.outcome = Accepted(chain, warnings);
        self
    }

    pub(crate) const fn refused(
        mut self,
        code: &'static str,
        words: &'static [&'static str],
    ) -> Self {
        self.outcome = Refused(code, words);
        self
    }

    /// Makes the files, judges them and gives the line for the report.
    pub(crate) fn run(&self, workshop: &Workshop) -> Result<String, String> {
        workshop.run(self.make);
        let keyfile = self.keyfile.map(|name| workshop.file(name));
        let certfile = self.certfile.map(|name| workshop.file(name));
        let upload = Upload {
            keyfile: keyfile.as_deref(),
            certfile: certfile.as_deref(),
            passphrase: self.passphrase,
        };
        let options = Options { allow_expired: self.force, ..Options::default() };
        let begun = std::time::Instant::now();
        let judged = CertificateBundle::from_upload(&upload, &options, OffsetDateTime::now_utc());
        let took = begun.elapsed();
        if took.as_millis() > 2000 {
            return Err(format!("took {took:?}"));
        }
        let secret = [keyfile, certfile].map(Option::unwrap_or_default).concat();
        match (&self.outcome, judged) {
            (Accepted(chain, warnings), Ok(judgement)) => {
                check_acceptance(&judgement, *chain, warnings, workshop)?;
                Ok(describe_acceptance(&judgement))
            }
            (Refused(code, words), Err(err)) => {
                check_refusal(&err, code, words, &secret)?;
                Ok(format!("400 {}: {err}", err.code()))
            }
            (_, Ok(judgement)) => Err(format!("accepted: {}", describe_acceptance(&judgement))),
            (_, Err(err)) => Err(format!("refused: {}: {err}", err.code())),
        }
    }
}

pub(crate) fn describe_acceptance(judgement: &Judgement) -> String {
    let facts = judgement.bundle.facts();
    let warnings: Vec<String> = judgement
        .warnings
        .iter()
        .map(|warning| format!("[{}] {}", warning.code, warning.message))
        .collect();
    let (kind, bits, length) = (&facts.key_type, facts.key_bits, facts.chain_length);
    format!("200 {kind} {bits}, chain of {length}; {}", warnings.join("; "))
}

fn check_acceptance(
    judgement: &Judgement,
    chain: usize,
    warnings: &[&str],
    workshop: &Workshop,
) -> Result<(), String> {
    let bundle = &judgement.bundle;
    let mut codes: Vec<&str> = judgement.warnings.iter().map(|warning| warning.code).collect();
    let mut expected = warnings.to_vec();
    codes.sort_unstable();
    expected.sort_unstable();
    if codes != expected || bundle.facts().chain_length != chain {
        return Err(format!(
            "expected {chain} {warnings:?}, got {}",
            describe_acceptance(judgement)
        ));
    }
    let (certificates, key) = (bundle.certificate_pem(), bundle.key_pem());
    if certificates.contains("PRIVATE KEY") || format!("{bundle:?}").contains(&key[30..60]) {
        return Err("the key shows".to_owned());
    }
    let now = bundle.facts().not_before().max(OffsetDateTime::now_utc());
    let options = Options { allow_expired: true, ..Options::default() };
    let upload = Upload {
        keyfile: Some(key.as_bytes()),
        certfile: Some(certificates.as_bytes()),
        passphrase: None,
    };
    let again = CertificateBundle::from_upload(&upload, &options, now)
        .map_err(|err| format!("own output refused: {err}"))?;
    if again.bundle.facts() != bundle.facts() || *again.bundle.key_pem() != *key {
        return Err("own output reads differently".to_owned());
    }
    workshop.write("out.key", key.as_bytes());
    workshop.write("out.crt", certificates.as_bytes());
    workshop.run(
        "test \"$(openssl pkey -in out.key -pubout -check | grep -v valid)\" = \"$(openssl x509 -in out.crt -noout -pubkey | openssl pkey -pubin -ec_conv_form uncompressed 2>/dev/null || openssl x509 -in out.crt -noout -pubkey)\"
         if [ $(grep -c BEGIN out.crt) = 2 ]; then openssl verify -no_check_time -partial_chain -trusted int.crt out.crt || true; fi",
    );
    Ok(())
}

fn check_refusal(
    err: &CertificateError,
    code: &str,
    words: &[&str],
    secret: &[u8],
) -> Result<(), String> {
    let message = err.to_string();
    if err.code() != code {
        return Err(format!("expected {code}, got {}: {message}", err.code()));
    }
    let lower = message.to_lowercase();
    if let Some(word) = words.iter().find(|word| !lower.contains(&word.to_lowercase())) {
        return Err(format!("{word:?} is not in: {message}"));
    }
    if message.len() > 450 {
        return Err(format!("{} characters: {message}", message.len()));
    }
    let secret = String::from_utf8_lossy(secret);
    let shown = secret
        .lines()
        .map(str::trim)
        .filter(|line| line.len() > 20 && line.is_ascii() && !line.contains("-----"));
    for line in shown {
        if message.contains(&line[..16.min(line.len())]) {
            return Err(format!("quotes the upload: {message}"));
        }
    }
    Ok(())
}
