//! Uploads that people really make, as tables: files made with openssl, one printed line each.
#![allow(clippy::print_stdout)]

mod case;
mod chains;
mod given;
mod kinds;
mod promises;
mod workshop;
mod wrapped;

use case::Case;
use workshop::Workshop;

/// Runs a table; every row is tried even when one fails.
fn run_table(rows: &[Case]) {
    let workshop = Workshop::open();
    let mut failed = Vec::new();
    for row in rows {
        match row.run(&workshop) {
            Ok(line) => println!("{} ok: {line}", row.name),
            Err(line) => {
                println!("{} FAILED: {line}", row.name);
                failed.push(row.name);
            }
        }
    }
    println!("{} rows, {} failed", rows.len(), failed.len());
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_given_case_has_its_outcome() {
    run_table(given::ROWS);
}

#[test]
fn every_kind_of_key_file_is_understood_or_named() {
    run_table(kinds::KEYS);
}

#[test]
fn every_kind_of_password_is_opened_or_named() {
    run_table(kinds::PASSWORDS);
}

#[test]
fn every_kind_of_certificate_file_is_understood_or_named() {
    run_table(chains::CERTIFICATES);
}

#[test]
fn every_kind_of_base64_around_files_is_understood_or_named() {
    run_table(wrapped::WRAPPED);
}

#[test]
fn what_clients_refuse_is_warned_of_or_refused() {
    run_table(wrapped::FOR_CLIENTS);
}
