//! Panics, as lines of the log: what the standard library does instead waits for standard error.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::PanicHookInfo,
    thread,
};

use log::Level;

use super::{LOGGER, flush, rates};

const TARGET: &str = "portcullis::panic";

pub(super) fn log_them() {
    std::panic::set_hook(Box::new(log_it));
}

/// Logs a panic whatever level is set.
fn log_it(panic: &PanicHookInfo<'_>) {
    let Some(logger) = LOGGER.get() else { return };
    let (file, line) = panic.location().map_or(("?", 0), |place| (place.file(), place.line()));
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    if !logger.rates.admit(
        rates::hash((file, line)),
        TARGET,
        rates::LIBRARY,
        std::time::Instant::now(),
    ) {
        return;
    }
    let message = panic.payload_as_str().unwrap_or("it gives no reason");
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    logger.put(
        logger.format.line(
            &log::Record::builder()
                .level(Level::Error)
                .target(TARGET)
                .args(format_args!(
                    "thread `{name}` panicked at {file}:{line}: {message}{backtrace}"
                ))
                .build(),
        ),
    );
    // The process ends with this thread, and with it the lines that still wait.
    if name == "main" {
        flush();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Format, Rotation, init, write_files};

    #[test]
    fn a_panic_is_a_line_of_the_log_and_a_flood_of_them_is_not() {
        let dir = tempfile::tempdir().unwrap();
        init(Format::Text, "a-program").unwrap();
        write_files(dir.path(), Rotation::default()).unwrap();
        for _ in 0..100 {
            let thread = std::thread::Builder::new().name("rehearsal".into());
            let thread = thread.spawn(|| panic!("the curtain\nfell")).unwrap();
            assert!(thread.join().is_err());
        }
        let file = dir.path().join("portcullis.log");
        let told = |text: &str| text.matches("thread `rehearsal` panicked at").count();
        for _ in 0..500 {
            super::flush();
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if told(&text) >= 20 {
                assert_eq!(told(&text), 20, "{text}");
                assert!(
                    text.contains("panics.rs") && text.contains("the curtain\\nfell"),
                    "{text}"
                );
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the panics are not in the log");
    }
}
