//! The portcullis appliance.

use std::process::ExitCode;

use portcullis::{Appliance, command_line};

fn main() -> ExitCode {
    command_line(Appliance::new("portcullis", env!("CARGO_PKG_VERSION")))
}
