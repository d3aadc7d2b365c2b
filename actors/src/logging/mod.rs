//! The appliance's own log: to standard error, and to rotated files under the data directory.
//!
//! Both are written by threads of their own from bounded queues, so that nobody who logs ever waits
//! for a disk or for the reader of a pipe; lines that are not taken in time are counted and left
//! out. Lines of a request carry its number.

mod files;
mod filter;
mod line;
mod panics;
mod queue;
mod rates;
mod stderr;
mod window;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use env_logger::Logger as Filter;
use log::{Level, LevelFilter, Log, Metadata, Record};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::broadcast;

use self::{
    files::Files,
    queue::{Item, Queue},
    rates::Rates,
};
pub use self::{files::Rotation, line::Format, window::Window};
use crate::{
    metrics::{LogLabels, METRICS},
    settings::LogLevel,
};

/// Lines that a follower may be behind before it misses some.
const FOLLOWED: usize = 4_096;
/// How long the end of the process, and whoever reads the log, waits for its last lines.
const FLUSH: Duration = Duration::from_secs(2);
/// How often the file is looked after though nothing is logged.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is told which lines were too many.
const TELL_RATES: Duration = Duration::from_secs(10);

static LOGGER: OnceLock<Logger> = OnceLock::new();

struct Logger {
    format: Format,
    program: String,
    base: Arc<Filter>,
    filter: ArcSwap<Filter>,
    rates: Rates,
    stderr: Arc<Outlet>,
    files: Arc<Outlet>,
    writes_files: AtomicBool,
    live: broadcast::Sender<Arc<str>>,
    file: OnceLock<PathBuf>,
}

/// Where lines go.
#[derive(Debug)]
struct Outlet {
    queue: Queue,
    left_out: AtomicU64,
    metric: Counter,
}

impl Outlet {
    fn new(metric: Counter) -> Self {
        Self { queue: Queue::new(), left_out: AtomicU64::new(0), metric }
    }

    fn put(&self, line: Arc<str>) {
        if !self.queue.push(line) {
            self.count_left_out();
        }
    }

    fn count_left_out(&self) {
        self.left_out.fetch_add(1, Relaxed);
        self.metric.inc();
    }
}

fn counter(outlet: &'static str) -> Counter {
    METRICS.log_lines_left_out.get_or_create_owned(&LogLabels { outlet })
}

/// Begins to log to standard error, panics included. `program` is the name of the program, whose
/// own modules may speak below info as ours may. A second call changes nothing.
///
/// # Errors
/// The thread that writes cannot be started.
pub fn init(format: Format, program: &str) -> io::Result<()> {
    if LOGGER.get().is_some() {
        return Ok(());
    }
    let program = program.replace('-', "_");
    let asked = std::env::var("RUST_LOG").ok();
    let (base, told) = filter::from_environment(asked.as_deref(), &program);
    let base = Arc::new(base);
    let stderr = Arc::new(Outlet::new(counter("stderr")));
    let outlet = stderr.clone();
    std::thread::Builder::new()
        .name("stderr".into())
        .spawn(move || stderr::write(&outlet, format))?;
    let logger = LOGGER.get_or_init(|| Logger {
        format,
        program,
        filter: ArcSwap::new(base.clone()),
        base,
        rates: Rates::default(),
        stderr,
        files: Arc::new(Outlet::new(counter("file"))),
        writes_files: AtomicBool::new(false),
        live: broadcast::channel(FOLLOWED).0,
        file: OnceLock::new(),
    });
    if log::set_logger(logger).is_ok() {
        log::set_max_level(logger.base.filter());
        panics::log_them();
    }
    for text in told {
        log::warn!("{text}");
    }
    Ok(())
}

/// Begins to write files into `dir` as well, with what has been logged so far. A file that cannot
/// be written now is tried again; health tells.
///
/// # Errors
/// The thread that writes cannot be started.
pub fn write_files(dir: &Path, rotation: Rotation) -> io::Result<()> {
    let Some(logger) = LOGGER.get() else { return Ok(()) };
    if logger.writes_files.swap(true, Relaxed) {
        return Ok(());
    }
    let files = Files::new(dir, rotation, logger.format);
    let _ = logger.file.set(files.path().to_owned());
    std::thread::Builder::new().name("log".into()).spawn(move || write(files, logger))?;
    Ok(())
}

/// Waits until what has been logged so far is written, for two seconds at most. Blocks.
pub fn flush() {
    let Some(logger) = LOGGER.get() else { return };
    let deadline = Instant::now() + FLUSH;
    if logger.writes_files.load(Relaxed) {
        logger.files.queue.flush(deadline);
    }
    logger.stderr.queue.flush(deadline);
}

/// Says `text` to whoever runs the command, behind what has been logged. It is not part of the log.
/// Waits until it is written, for two seconds at most.
pub fn say(text: &str) {
    match LOGGER.get() {
        Some(logger) => {
            logger.stderr.put(format!("{text}\n").into());
            flush();
        }
        None => eprintln!("{text}"),
    }
}

/// The file that is written now; older ones lie beside it as `….1`, `….2` and so on.
#[must_use]
pub fn current_file() -> Option<PathBuf> {
    LOGGER.get()?.file.get().cloned()
}

/// Lines that were left out since the start because standard error, and the log file, did not take
/// them in time.
#[must_use]
pub fn left_out() -> (u64, u64) {
    LOGGER.get().map_or((0, 0), |logger| {
        (logger.stderr.left_out.load(Relaxed), logger.files.left_out.load(Relaxed))
    })
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
        Some(level) => Arc::new(filter::from_level(level.into())),
        None => logger.base.clone(),
    };
    log::set_max_level(filter.filter());
    logger.filter.store(filter);
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

impl Logger {
    /// Hands a line on. Never waits.
    fn put(&self, line: String) {
        let line: Arc<str> = line.into();
        self.stderr.put(line.clone());
        if self.live.receiver_count() > 0 {
            let _ = self.live.send(line.clone());
        }
        self.files.put(line);
    }

    /// Whether one more line of this place is not too many. Whoever asks for debug lines gets all.
    fn admits(&self, place: u64, level: Level, target: &str) -> bool {
        let is_ours = filter::is_ours(target, &self.program);
        let limit = if is_ours { rates::OWN } else { rates::LIBRARY };
        level > Level::Info || self.rates.admit(place, target, limit, Instant::now())
    }

    fn tell_rates(&self) {
        for (target, lines) in self.rates.left_out() {
            counter("rate").inc_by(lines);
            let text = format!("{lines} lines like the last ones of {target} were left out");
            self.put(self.format.notice(&text));
        }
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        filter::may_speak(metadata, &self.program) && self.filter.load().enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let is_asked_for = filter::may_speak(record.metadata(), &self.program)
            && self.filter.load().matches(record);
        if is_asked_for && self.admits(rates::place_of(record), record.level(), record.target()) {
            self.put(self.format.line(record));
        }
    }

    fn flush(&self) {
        flush();
    }
}

fn write(mut files: Files, logger: &Logger) {
    let mut told = Instant::now();
    files.look_after();
    loop {
        match logger.files.queue.next(LOOK) {
            Some(item) => {
                match item {
                    Item::Line(line) => {
                        if !files.write(&line) {
                            logger.files.count_left_out();
                        }
                    }
                    Item::LeftOut(lines) => files.leave_out(lines),
                }
                logger.files.queue.done();
            }
            None => files.look_after(),
        }
        if told.elapsed() >= TELL_RATES {
            told = Instant::now();
            logger.tell_rates();
        }
    }
}
