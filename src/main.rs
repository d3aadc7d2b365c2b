//! The portcullis appliance.

use std::process::ExitCode;

use portcullis::{Appliance, command_line};

/// Gives memory back after load; the allocator of the C library keeps what many threads have used.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    command_line(Appliance::new("portcullis", env!("CARGO_PKG_VERSION")))
}
