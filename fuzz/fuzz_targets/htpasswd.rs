//! The `users` file, which operators edit by hand: its line, and the base64 around it.
//!
//! The first byte of an input chooses the way: even, the rest is an htpasswd text; odd, it is the
//! content of `management-auth-secret/users` in a data directory that is then loaded.

#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use portcullis_actors::{
    auth::Credential,
    store::{AdminAccess, ChangeNote, FileStore, State, StateStore},
};
use tempfile::TempDir;
use time::OffsetDateTime;

/// The lowest cost, at which a check takes a millisecond.
const CHEAP: &str = "$04$";

struct Store {
    store: FileStore,
    users: PathBuf,
    _dir: TempDir,
}

/// A data directory whose `users` file each input replaces.
static STORE: LazyLock<Store> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a folder to work in");
    let store = FileStore::open(dir.path()).expect("a store");
    let state = State {
        admin: AdminAccess::Htpasswd("admin:".into()),
        tls: None,
        insecure_ports: true,
        job_token: None,
        settings: Default::default(),
    };
    let note =
        ChangeNote { at: OffsetDateTime::UNIX_EPOCH, what: "fuzzed".into(), by: "fuzz".into() };
    store.commit(&state, &note).expect("a first revision");
    let users = store.current_dir().join("management-auth-secret/users");
    Store { store, users, _dir: dir }
});

fuzz_target!(|data: &[u8]| {
    let Some((way, rest)) = data.split_first() else { return };
    if way % 2 == 0 {
        let Ok(text) = std::str::from_utf8(rest) else { return };
        check(text);
        return;
    }
    std::fs::write(&STORE.users, rest).expect("the users file");
    match STORE.store.load() {
        Ok(Some(loaded)) => match loaded.state.admin {
            AdminAccess::Htpasswd(line) => check(&line),
            AdminAccess::Open => panic!("a users file has switched authentication off"),
        },
        Ok(None) => panic!("the revision has gone"),
        Err(err) => assert!(!err.to_string().is_empty()),
    }
});

/// A credential that is taken is one line, reads back as itself and can be verified.
fn check(text: &str) {
    match Credential::parse(text) {
        Ok(credential) => {
            let line = credential.line();
            assert!(line.starts_with("admin:$2") && !line.contains('\n'));
            assert!(Credential::parse(&line).expect("its own line is read") == credential);
            if line.contains(CHEAP) {
                let _ = credential.verify(b"admin");
            }
        }
        Err(err) => {
            let message = err.to_string();
            assert!(message.len() < 512, "an error of {} bytes", message.len());
        }
    }
}
