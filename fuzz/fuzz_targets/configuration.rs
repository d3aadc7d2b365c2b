//! The configuration file: it is read, or the error names a line of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::config::Config;

/// The services of the appliance as of today, and one of a program of its own.
const KNOWN: &[&str] =
    &["interface", "security", "management", "monitoring", "batch", "realtime", "echo"];

fuzz_target!(|text: &str| {
    match Config::parse("portcullis.toml", text, KNOWN) {
        Ok(config) => {
            assert!(!config.listeners.is_empty());
            for listener in &config.listeners {
                assert!((1..=64).contains(&listener.workers));
                for service in &listener.services {
                    assert!(KNOWN.contains(&service.as_str()), "an unknown service {service}");
                }
                if let Some(target) = &listener.redirect_to {
                    let mut names = config.listeners.iter().map(|other| &other.name);
                    assert!(names.any(|name| name == target), "no listener {target}");
                }
            }
        }
        Err(err) => {
            assert!(err.line <= text.lines().count() + 1, "line {} of the text", err.line);
            assert!(!err.reason.is_empty() && !err.to_string().is_empty());
        }
    }
});
