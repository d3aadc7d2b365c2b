//! The configuration file: it is read, or the error names a line of it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::{Appliance, Mount, Service, internals::Config};

/// The service of a program of its own.
struct Echo;

impl Service for Echo {
    fn mounts(&self) -> Vec<Mount> {
        Vec::new()
    }
}

fuzz_target!(|text: &str| {
    let appliance = Appliance::new("portcullis", "0").service("echo", Echo);
    match Config::parse("portcullis.toml", text, appliance.kinds()) {
        Ok(config) => {
            assert!(!config.listeners.is_empty());
            assert!(config.workers >= 1);
            for listener in &config.listeners {
                for service in &listener.services {
                    let known = config.services.iter().any(|known| known.name == *service);
                    assert!(known, "an unknown service {service}");
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
