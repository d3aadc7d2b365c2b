//! The appliance's own log: to standard error, and to rotated files under the data directory.
//!
//! Standard error is written where a line is logged, files by a thread of their own, so that a
//! slow disk never holds up a request. Lines of a request carry its number.

mod files;
mod line;
mod window;

use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use env_logger::Logger as Filter;
use log::{LevelFilter, Log, Metadata, Record};
use tokio::sync::broadcast;

use self::files::Files;
pub use self::{files::Rotation, line::Format, window::Window};
use crate::settings::LogLevel;

/// What is logged where neither `RUST_LOG` nor an administrator says otherwise.
const DEFAULT_FILTER: &str = "info,actix_server=warn";
/// Lines that wait for the disk; more are counted and left out of the files.
const WAITING: usize = 16_384;
/// Lines that a follower may be behind before it misses some.
const FOLLOWED: usize = 4_096;

/// These print headers, and with them credentials, at debug and trace; they stay at info.
const HEADER_PRINTERS: [&str; 10] = [
    "actix_http",
    "actix_multipart",
    "actix_web",
    "h2",
    "hyper",
    "hyper_util",
    "rustls",
    "tokio_rustls",
    // The spans of h2 and hyper; following the log over HTTP/2 would feed itself with them.
    "tracing",
    "want",
];

/// These tell of each damaged byte of what anybody has sent; what came of it is told by the job.
const TALKERS: &str = "symphonia";

static LOGGER: OnceLock<Logger> = OnceLock::new();

/// What the writing thread is sent.
enum Order {
    Line(Arc<str>),
    /// Answered once everything before it is in the file.
    Flush(SyncSender<()>),
}

struct Logger {
    format: Format,
    base: String,
    filter: ArcSwap<Filter>,
    orders: SyncSender<Order>,
    waiting: Mutex<Option<Receiver<Order>>>,
    lost: AtomicU64,
    live: broadcast::Sender<Arc<str>>,
    file: OnceLock<PathBuf>,
}

/// Begins to log to standard error. A second call changes nothing.
pub fn init(format: Format) {
    let base = std::env::var("RUST_LOG").ok().filter(|text| !text.trim().is_empty());
    let base = base.unwrap_or_else(|| DEFAULT_FILTER.into());
    let filter = parse(&base);
    let (orders, waiting) = sync_channel(WAITING);
    let logger = Logger {
        format,
        base,
        filter: ArcSwap::from_pointee(filter),
        orders,
        waiting: Mutex::new(Some(waiting)),
        lost: AtomicU64::new(0),
        live: broadcast::channel(FOLLOWED).0,
        file: OnceLock::new(),
    };
    let max = logger.filter.load().filter();
    let logger = LOGGER.get_or_init(|| logger);
    if log::set_logger(logger).is_ok() {
        log::set_max_level(max);
    }
}

/// A filter as in `RUST_LOG`, by env_logger; it tells on standard error what it cannot parse.
fn parse(text: &str) -> Filter {
    env_logger::Builder::new().parse_filters(text).build()
}

/// Begins to write files into `dir` as well, with what has been logged so far. Blocks.
///
/// # Errors
/// The folder or the file cannot be made or written.
pub fn write_files(dir: &Path, rotation: Rotation) -> std::io::Result<()> {
    let Some(logger) = LOGGER.get() else { return Ok(()) };
    let Some(waiting) = lock(&logger.waiting).take() else { return Ok(()) };
    let files = Files::open(dir, rotation)?;
    let _ = logger.file.set(files.path().to_owned());
    std::thread::Builder::new().name("log".into()).spawn(move || write(files, &waiting))?;
    Ok(())
}

/// Waits until what has been logged so far is in the file, for two seconds at most. Blocks.
pub fn flush() {
    let Some(logger) = LOGGER.get() else { return };
    if logger.file.get().is_none() {
        return;
    }
    let (done, wait) = sync_channel(1);
    if logger.orders.send(Order::Flush(done)).is_ok() {
        let _ = wait.recv_timeout(Duration::from_secs(2));
    }
}

/// The file that is written now; older ones lie beside it as `….1`, `….2` and so on.
#[must_use]
pub fn current_file() -> Option<PathBuf> {
    LOGGER.get()?.file.get().cloned()
}

/// The lines that are logged from now on.
#[must_use]
pub fn follow() -> Option<broadcast::Receiver<Arc<str>>> {
    Some(LOGGER.get()?.live.subscribe())
}

/// Logs from `level` on, or as `RUST_LOG` or the default says.
pub fn set_level(level: Option<LogLevel>) {
    let Some(logger) = LOGGER.get() else { return };
    let filter = match level {
        Some(level) => env_logger::Builder::new().filter_level(level.into()).build(),
        None => parse(&logger.base),
    };
    log::set_max_level(filter.filter());
    logger.filter.store(Arc::new(filter));
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// These print a line at `error` for each malformed request, without its sender. Whoever has
/// accepted the connection tells of it now and then.
const ONE_FOR_EACH_REQUEST: [&str; 2] = ["actix_http::h1::decoder", "actix_http::h1::dispatcher"];

/// Whether lines of this module at this level are never logged: they may hold credentials, or
/// anybody could fill the disk with them.
fn is_left_out(metadata: &Metadata<'_>) -> bool {
    let module = metadata.target().split("::").next().unwrap_or_default();
    let may_hold_credentials =
        metadata.level() > log::Level::Info && HEADER_PRINTERS.contains(&module);
    may_hold_credentials
        || module.starts_with(TALKERS)
        || ONE_FOR_EACH_REQUEST.contains(&metadata.target())
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !is_left_out(metadata) && self.filter.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if is_left_out(record.metadata()) || !self.filter.load().matches(record) {
            return;
        }
        let line = self.format.line(record);
        // There is nobody to tell that standard error cannot be written.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
        let line: Arc<str> = line.into();
        if self.live.receiver_count() > 0 {
            let _ = self.live.send(line.clone());
        }
        if let Err(TrySendError::Full(_)) = self.orders.try_send(Order::Line(line)) {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {
        flush();
    }
}

fn write(mut files: Files, orders: &Receiver<Order>) {
    while let Ok(order) = orders.recv() {
        match order {
            Order::Line(line) => files.write(&line),
            Order::Flush(done) => {
                let _ = done.send(());
            }
        }
        if let Some(lost) = LOGGER.get().map(|logger| logger.lost.swap(0, Relaxed))
            && lost > 0
        {
            log::warn!("the disk is slow: {lost} lines are missing in the log file");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_that_print_headers_stay_at_info() {
        let metadata = |target, level| Metadata::builder().target(target).level(level).build();
        for target in ["h2", "h2::codec::framed_read", "actix_http::h1::decoder", "rustls::x"] {
            assert!(is_left_out(&metadata(target, log::Level::Trace)), "{target}");
            assert!(is_left_out(&metadata(target, log::Level::Debug)), "{target}");
        }
        for target in ["h2", "h2::codec::framed_read", "actix_http::h1::service", "rustls::x"] {
            assert!(!is_left_out(&metadata(target, log::Level::Info)), "{target}");
        }
        assert!(is_left_out(&metadata("actix_http::h1::dispatcher", log::Level::Error)));
        assert!(!is_left_out(&metadata("portcullis::access", log::Level::Debug)));
        assert!(!is_left_out(&metadata("h2o", log::Level::Debug)));
    }
}
