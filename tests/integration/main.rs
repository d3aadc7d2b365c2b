//! The promises of the appliance, kept or broken by the built binary in front of real clients.
//!
//! Each test starts a process of its own on free ports with a data directory of its own, so
//! they run side by side. `PORTCULLIS_BIN`, `PORTCULLIS_ECHO` and `PORTCULLIS_NOTES` name other binaries than the
//! ones that cargo has built beside the tests; `CRASH_ROUNDS` says how often the crash test
//! kills the service.

mod activation;
mod admission;
mod api_document;
mod audit_record;
mod authentication;
mod batch;
mod carried;
mod certificates;
mod clock;
mod command_line;
mod console;
mod console_certificate;
mod crash;
mod cross_site;
mod csr;
mod data_directory;
mod disk_space;
mod drain_limits;
mod edited_state;
mod events;
mod failing_disk;
mod forms_of_json;
mod guessing;
mod handover;
mod http2_drain;
mod intake;
mod interface;
mod job_token;
mod languages;
mod limits;
mod log;
mod malformed;
mod management;
mod manual;
mod memory;
mod monitoring;
mod mounts;
mod names;
mod notes;
mod password_flood;
mod ports;
mod prometheus;
mod realtime;
mod record_files;
mod redirect;
mod redirect_drain;
mod resumption;
mod secrets;
mod service_manager;
mod shutdown;
mod signals;
mod stalled;
mod stalled_log;
mod start_limits;
mod state;
mod support;
mod threads;
mod tls_policy;
mod upgrades;
mod uploads;
mod upstream;
mod watched_files;
